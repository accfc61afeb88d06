import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from scansynth.audit.compared import Compared, Reals
from scansynth.audit.context import Context
from scansynth.audit.questions import identical
from scansynth.audit.questions.identical import ALIKE, answer, likeness_of_patients, nearest, pictures, value_digests
from scansynth.claims.claim import Finding
from scansynth.config import EvidenceSettings
from scansynth.console import silent
from scansynth.data.tensors import Case
from scansynth.ledger import Role
from scansynth.metrics import planted
from scansynth.statistics import Verdict

SIDE = 48
Images = Any


def scans(count: int, seed: int) -> Images:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(count, SIDE, SIDE)), (0, 3, 3)) * 4
    return np.clip(smooth * 0.4 + rng.normal(0, 0.03, smooth.shape), -1, 1).astype(np.float32)


def reals(images: Images, role: Role) -> Reals:
    cases = tuple(
        Case(i, f"{role}{i}", f"{role}-{i // 2}", role, "", 0.0, 1.0, (1.0, 1.0), {}) for i in range(len(images))
    )
    return Reals(cases, images)


def compared(synthetic: Images) -> Compared:
    return Compared(
        files=tuple(f"{i}.dcm" for i in range(len(synthetic))),
        synthetic=synthetic,
        labels=("",),
        view="any",
        unlabelled=False,
        train=reals(scans(60, 1), Role.TRAIN),
        calibrate=reals(scans(30, 2), Role.CALIBRATE),
        test=reals(scans(30, 3), Role.TEST),
        inputs={},
    )


def asked(compared: Compared) -> Finding:
    none = np.zeros((0, 1), np.bool_)
    context = Context(compared, EvidenceSettings(), 0, compared.synthetic, compared.test, none, (), None)
    (finding,) = answer(context, silent)
    return finding


@pytest.fixture(scope="module")
def honest() -> Compared:
    return compared(scans(80, 9))


def with_image(honest: Compared, image: Images) -> Compared:
    made = honest.synthetic.copy()
    made[5] = image
    return replace(honest, synthetic=made)


def test_new_patients_are_shown_with_every_control_met(honest: Compared) -> None:
    finding = asked(honest)
    assert finding.claim.verdict is Verdict.SHOWN
    assert (finding.claim.value, finding.claim.margin, finding.flagged) == (0.0, 0.0, ())
    assert len(finding.claim.control) == 4
    assert finding.claim.floor is not None
    assert finding.claim.floor.mean == 0
    assert finding.figures["limit"] == ALIKE


@pytest.mark.parametrize("role", ["train", "calibrate", "test"])
def test_a_real_image_of_any_role_is_refuted_and_flagged(honest: Compared, role: str) -> None:
    finding = asked(with_image(honest, getattr(honest, role).images[3]))
    assert finding.claim.verdict is Verdict.REFUTED
    assert finding.claim.value == pytest.approx(1 / 80)
    assert finding.flagged == ({"image": "5.dcm", "nearest": f"{role}3", "score": 1.0, "p": ""},)


def eight_bits(image: Images) -> Images:
    return np.rint((image + 1) * 127.5) / 127.5 - 1


def other_window(image: Images) -> Images:
    return np.clip(image * 0.6 - 0.2, -1, 1)


def resized(image: Images) -> Images:
    large = Image.fromarray(image).resize((2 * SIDE, 2 * SIDE), Image.Resampling.LANCZOS)
    return np.clip(np.asarray(large.resize((SIDE, SIDE), Image.Resampling.BICUBIC)), -1, 1)


def compressed(image: Images) -> Images:
    stream = io.BytesIO()
    Image.fromarray(np.rint((image + 1) * 127.5).astype(np.uint8)).save(stream, format="JPEG", quality=85)
    return np.asarray(Image.open(stream)).astype(np.float32) / 127.5 - 1


@pytest.mark.parametrize("rewrite", [eight_bits, other_window, resized, compressed])
def test_a_real_image_written_anew_is_found(honest: Compared, rewrite: Callable[[Images], Images]) -> None:
    finding = asked(with_image(honest, rewrite(honest.train.images[7])))
    assert finding.claim.verdict is Verdict.REFUTED
    assert "1 re-encoded" in finding.claim.why
    (row,) = finding.flagged
    assert (row["image"], row["nearest"]) == ("5.dcm", "train7")
    assert ALIKE < row["score"] <= 1


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image[:, ::-1],
        lambda image: np.roll(image, 2, axis=0),
        lambda image: planted.rotate(image[None])[0],
        np.zeros_like,
    ],
)
def test_what_was_moved_or_is_empty_is_no_real_file(honest: Compared, change: Callable[[Images], Images]) -> None:
    assert asked(with_image(honest, change(honest.train.images[7]))).claim.verdict is Verdict.SHOWN


def test_the_hash_of_a_file_refutes_whatever_its_image_shows(honest: Compared) -> None:
    finding = asked(replace(honest, same_files={4: "case-of-another-label"}))
    assert finding.claim.verdict is Verdict.REFUTED
    assert finding.flagged[0]["nearest"] == "case-of-another-label"


def test_where_two_patients_look_the_same_only_the_same_picture_counts() -> None:
    """A scan of nothing but shading: different patients correlate above the fixed limit."""
    rows, columns = np.mgrid[-1:1:48j, -1:1:48j]
    rng = np.random.default_rng(4)
    shading = 0.8 * rows + 0.1 * columns
    images = np.stack([shading + 0.004 * rng.normal(size=(48, 48)) for _ in range(40)]).astype(np.float32)
    patients = np.arange(40)
    limit = likeness_of_patients(pictures(images), patients)
    assert limit > ALIKE
    twice = np.concatenate([images, images[:1]])  # one scan under two names is no likeness
    assert likeness_of_patients(pictures(twice), np.arange(41)) == pytest.approx(limit, abs=1e-5)
    assert not asked(replace(compared(images[:10]), train=reals(images[10:], Role.TRAIN))).flagged


def test_a_search_that_misses_what_was_planted_is_not_assessable(
    honest: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identical, "REWRITTEN", {"mirrored": lambda images: images[:, :, ::-1]})
    assert asked(honest).claim.verdict is Verdict.NOT_ASSESSABLE
    found = asked(with_image(honest, honest.train.images[7]))
    assert found.claim.verdict is Verdict.REFUTED  # what is found is found


def test_pictures_forget_brightness_and_contrast_and_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = scans(20, 5)
    np.testing.assert_allclose(pictures(images * 0.3 + 0.2), pictures(images), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(pictures(images), axis=1), 1, atol=1e-5)
    assert (pictures(np.full((2, 40, 40), 0.5)) == 0).all()
    queries, references = pictures(images[:7]), pictures(images)
    whole = nearest(queries, references)
    np.testing.assert_array_equal(whole[0], np.arange(7))
    monkeypatch.setattr(identical, "_TILE", 3)
    parts = nearest(queries, references)
    np.testing.assert_array_equal(parts[0], whole[0])
    np.testing.assert_allclose(parts[1], (queries @ references.T).max(axis=1), atol=1e-6)


def test_digests_are_of_values_and_a_flat_image_has_none() -> None:
    images = scans(3, 6)
    assert value_digests(images) == value_digests(images.astype(np.float64))
    assert len(set(value_digests(images))) == 3
    assert value_digests(np.zeros((1, 8, 8))) == [""]
