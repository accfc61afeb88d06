"""Faults of texture are not taken for missing patients, and missing patients are not excused as faults of texture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from scipy import ndimage

from scansynth.audit.fairness.scene import usable
from scansynth.audit.fairness.shares import MARGIN
from scansynth.audit.fairness.texture import (
    Asked,
    Reading,
    Textures,
    coarse,
    confirmed,
    denoised,
    disagreement,
    distance,
    doubt,
    texture,
    weights,
)
from scansynth.metrics import planted
from scansynth.statistics import patient_halves

SIDE = 32
GRAIN = (0.02, 0.08)
"""Noise of the scanners of either field strength, on a grey scale from -1 to 1."""

Images = np.ndarray


def people(rng: np.random.Generator, count: int) -> Mapping[str, np.ndarray]:
    """Images whose sex shows in a large bright disc, and whose field strength in their grain alone."""
    sex, field = rng.integers(0, 2, count), rng.integers(0, 2, count)
    body = ndimage.gaussian_filter(rng.normal(size=(count, SIDE, SIDE)), (0, 4.0, 4.0)) * 3
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    disc = (rows**2 + columns**2 < 100).astype(float)
    grain = rng.normal(size=body.shape) * np.array(GRAIN)[field][:, None, None]
    images = np.clip(0.3 * body + 0.5 * disc * sex[:, None, None] - 0.3 + grain, -1, 1).astype(np.float32)
    return {"images": images, "sex": sex, "field": field}


@pytest.fixture(scope="module")
def cohort() -> Mapping[str, Mapping[str, np.ndarray]]:
    rng = np.random.default_rng(11)
    return {"train": people(rng, 240), "test": people(rng, 120), "others": people(rng, 600)}


def textures(cohort: Mapping[str, Mapping[str, np.ndarray]], made: Images) -> Textures:
    test = cohort["test"]["images"]
    spoiled = {
        "blur of 2 pixels": planted.blur(test, 2.0),
        "noise": planted.noise(test, 0.025, np.random.default_rng(3)),
    }
    return Textures(cohort["train"]["images"], made, test, spoiled, np.random.default_rng(4))


def asked(cohort: Mapping[str, Mapping[str, np.ndarray]], name: str) -> Asked:
    train, test = cohort["train"][name], cohort["test"][name]
    names = np.array([f"t{place}" for place in range(len(test))])
    halves = patient_halves(names, 60, np.random.default_rng(5))
    patients = np.array([f"p{place}" for place in range(len(train))])
    return Asked(("first", "second"), 2, train, patients, test, halves, 0.95, 7, name, usable)


def of_set(cohort: Mapping[str, Mapping[str, np.ndarray]], kept: np.ndarray | None = None) -> Images:
    """Images of other patients, all or some of them, at most 240."""
    images: Images = cohort["others"]["images"]
    return (images if kept is None else images[kept])[:240]


@pytest.mark.parametrize("name", ["sex", "field"])
def test_of_other_patients_nothing_is_doubted(cohort: Mapping[str, Mapping[str, np.ndarray]], name: str) -> None:
    assert doubt(asked(cohort, name), textures(cohort, of_set(cohort))) == ""


@pytest.mark.parametrize("name", ["sex", "field"])
@pytest.mark.parametrize("group", [0, 1])
def test_a_kind_of_patient_that_is_missing_is_no_fault_of_texture(
    cohort: Mapping[str, Mapping[str, np.ndarray]], name: str, group: int
) -> None:
    made = of_set(cohort, cohort["others"][name] == group)
    assert doubt(asked(cohort, name), textures(cohort, made)) == ""


@pytest.mark.parametrize("spoil", [denoised, planted.blur, lambda images: planted.blur(images, 0.7)])
def test_a_set_without_noise_is_no_set_without_a_field_strength(
    cohort: Mapping[str, Mapping[str, np.ndarray]], spoil: object
) -> None:
    made = textures(cohort, spoil(of_set(cohort)))  # type: ignore[operator]
    why = doubt(asked(cohort, "field"), made)
    assert "fine detail" in why
    # what shows without fine detail stays assessable
    assert doubt(asked(cohort, "sex"), made) == ""


def test_too_few_of_a_group_are_said(cohort: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    few = {**cohort, "train": {**cohort["train"], "sex": np.r_[1, 1, np.zeros(238, int)]}}
    assert "Too few training images" in doubt(asked(few, "sex"), textures(few, of_set(few)))


def test_versions_keep_the_size_and_lose_the_grain() -> None:
    rng = np.random.default_rng(0)
    images = (0.02 * rng.normal(size=(8, 34, 38))).astype(np.float32)
    for changed in (denoised(images), coarse(images, rng)):
        assert changed.shape == images.shape
        assert changed.dtype == np.float32
    assert denoised(images).std() < 0.6 * images.std()
    noisy = planted.noise(images, 0.025, rng)
    gap = [np.abs(texture(changed).mean(axis=0) - texture(other).mean(axis=0)).max() for changed, other in (
        (images, noisy), (coarse(images, rng), coarse(noisy, rng)))]  # fmt: skip
    assert gap[1] < gap[0] / 3


def test_weights_bring_the_groups_to_their_shares() -> None:
    codes = np.array([0, 0, 0, 1, -1])
    found = weights(codes, np.array([0.5, 0.5]))
    np.testing.assert_allclose([found[codes == 0].sum(), found[codes == 1].sum(), found[-1]], [0.5, 0.5, 0.0])


def test_distance_counts_in_spreads() -> None:
    real = np.array([[-1.0], [1.0]])
    assert distance(real + 0.5, real, np.ones(2)) == pytest.approx(0.5)
    assert distance(real, real, np.ones(2)) == 0.0


def reading(*values: float, half: float = 0.1) -> Reading:
    value = np.array(values)
    return Reading(value - half, value, value + half, np.exp(value) / np.exp(value).sum())


def test_readings_disagree_beyond_the_margin_and_their_errors() -> None:
    assert disagreement(reading(0.0, 0.0), reading(0.0, MARGIN + 0.1)) == 1
    assert disagreement(reading(0.0, 0.0), reading(0.0, MARGIN - 0.01, half=0.01)) is None
    assert disagreement(reading(0.0, 0.0, half=1.0), reading(0.0, 1.0)) is None


def test_what_is_refuted_must_be_found_again_on_the_same_side() -> None:
    assert confirmed(reading(0.0, 0.1), reading(0.0, 0.0))
    assert confirmed(reading(0.0, 1.0), reading(0.0, 0.3))
    assert not confirmed(reading(0.0, 1.0), reading(0.0, 0.05))
    assert not confirmed(reading(0.0, -1.0), reading(0.0, 0.3))
