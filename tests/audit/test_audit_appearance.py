"""Curves of appearance beside their band: real against real within it, faults outside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from scansynth.audit import appearance
from scansynth.audit.compared import Compared, Reals
from scansynth.data.tensors import Case
from scansynth.ledger import Role
from scansynth.metrics import planted


def textures(rng: np.random.Generator, n: int) -> np.ndarray:
    smooth = ndimage.gaussian_filter(rng.normal(size=(n, 32, 32)), (0, 1.2, 1.2))
    return np.clip(1.5 * smooth + rng.normal(0, 0.05, smooth.shape), -1, 1).astype(np.float32)


def reals(rng: np.random.Generator, role: Role, patients: int) -> Reals:
    cases = tuple(
        Case(
            index=2 * patient + image,
            case=f"{role.value}{patient}-{image}",
            patient=f"{role.value}{patient}",
            role=role,
            label="nodule",
            low=0.0,
            high=1.0,
            spacing=(1.0, 1.0),
            attributes={},
        )
        for patient in range(patients)
        for image in range(2)
    )
    return Reals(cases, textures(rng, len(cases)))


@pytest.fixture(scope="module")
def compared() -> Compared:
    rng = np.random.default_rng(3)
    made = textures(rng, 120)
    return Compared(
        files=tuple(f"{index}.dcm" for index in range(len(made))),
        synthetic=made,
        labels=("nodule",),
        view="patch",
        unlabelled=False,
        train=reals(rng, Role.TRAIN, 10),
        calibrate=reals(rng, Role.CALIBRATE, 10),
        test=reals(rng, Role.TEST, 40),
        inputs={},
    )


def outside(compared: Compared, curve: str) -> float:
    (row,) = appearance.row(compared, 1)
    made, low, high = (np.array(row["figures"][curve][key]) for key in ("synthetic", "low", "high"))
    return float(np.mean((made < low) | (made > high)))


def test_images_of_the_same_source_lie_within_the_band(compared: Compared) -> None:
    assert outside(compared, "spectrum") < 0.15
    assert outside(compared, "histogram") < 0.15
    (row,) = appearance.row(compared, 1)
    assert (row["claim"], row["judge"], row["attribute"]) == ("appearance", "", "")
    for curve in (row["figures"]["spectrum"], row["figures"]["histogram"]):
        assert len({len(curve[key]) for key in ("x", "synthetic", "low", "high")}) == 1
        assert np.all(np.array(curve["low"]) <= curve["high"])


def test_faults_leave_the_band(compared: Compared) -> None:
    blurred = replace(compared, synthetic=planted.blur(compared.synthetic, 0.7))
    assert outside(blurred, "spectrum") > 0.5
    assert outside(replace(compared, synthetic=compared.synthetic * 0.7), "histogram") > 0.5
    black = replace(compared, synthetic=np.full_like(compared.synthetic, -1.0))
    assert outside(black, "spectrum") == 1.0


def test_the_same_seed_gives_the_same_curves_and_the_order_does_not_matter(compared: Compared) -> None:
    assert appearance.row(compared, 1) == appearance.row(compared, 1)
    (one,), (other,) = (appearance.row(e, 1) for e in (compared, replace(compared, synthetic=compared.synthetic[::-1])))
    assert one["figures"]["spectrum"]["synthetic"] == pytest.approx(other["figures"]["spectrum"]["synthetic"])


def test_too_few_images_give_no_curve(compared: Compared) -> None:
    assert appearance.row(replace(compared, synthetic=compared.synthetic[:49]), 1) == []
    few = Reals(compared.test.cases[:16], compared.test.images[:16])
    assert appearance.row(replace(compared, test=few), 1) == []
