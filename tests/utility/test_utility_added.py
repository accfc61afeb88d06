"""An image set that is added to a study keeps values, masks and labels where they fit, and is refused where not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_sets import change_set, put_set
from tiny_trial import SIDE, draw_image, facts_of, make_study

from scansynth.console import silent
from scansynth.data.elsewhere.added import add_set
from scansynth.data.elsewhere.foreign import reading_pool
from scansynth.data.elsewhere.taken import take_set
from scansynth.data.imageset import IMAGES, open_set
from scansynth.data.sets import load_set
from scansynth.data.tensors import load_facts
from scansynth.errors import CohortError

LABELS = ["nodule", "clear", "nodule"]


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    rng = np.random.default_rng(4)
    images, masks = zip(*(draw_image(rng, label == "nodule") for label in LABELS), strict=True)
    put_set(tmp_path / "theirs", facts_of(), np.stack(images), LABELS, np.stack(masks))
    return tmp_path / "theirs"


def test_a_set_of_the_same_size_and_scale_keeps_every_value(theirs: Path, tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    with reading_pool() as pool:
        added = add_set(study, theirs, "theirs", None, pool, silent)
    before, after = open_set(theirs), load_set(study.synthetic("theirs"), load_facts(study.cohort))
    assert (added.images, added.label, added.left, added.notes) == (3, "clear, nodule", {}, ())
    assert np.array_equal(before.images, after.images)
    assert before.masks is not None
    assert after.masks is not None
    assert after.masks.any(axis=(1, 2)).tolist() == [True, False, True]
    assert np.array_equal(before.masks, after.masks)
    assert after.labels == tuple(LABELS)


def test_what_the_user_says_of_labels_goes_before_the_set(theirs: Path, tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    with reading_pool() as pool:
        assert add_set(study, theirs, "theirs", "clear", pool, silent).label == "clear"
    assert open_set(study.synthetic("theirs")).labels == ("clear",) * 3


def test_masks_are_resized_with_their_images(theirs: Path) -> None:
    taken = take_set(theirs, facts_of(shape=(2 * SIDE, 2 * SIDE)))
    whole = open_set(theirs)
    assert taken.masks is not None
    assert whole.masks is not None
    assert np.array_equal(taken.masks, np.kron(whole.masks, np.ones((1, 2, 2), np.uint8)))
    assert taken.images.shape == (3, 2 * SIDE, 2 * SIDE)
    assert taken.notes == (f"images of {SIDE} x {SIDE} pixels were brought to {2 * SIDE} x {2 * SIDE} pixels",)


def test_hounsfield_units_stay_what_they_are_in_another_window(theirs: Path) -> None:
    change_set(theirs, images=np.full((3, SIDE, SIDE), 65535, np.uint16))  # 400 HU
    taken = take_set(theirs, facts_of(low=-1000.0, high=1800.0))
    assert np.allclose(taken.images, 65535 / 2, atol=1)


def test_labels_that_the_cohort_does_not_know_are_not_taken(theirs: Path) -> None:
    assert take_set(theirs, facts_of(labels=("clear", "mass"), positive="mass")).labels is None


@pytest.mark.parametrize(
    ("facts", "words"),
    [(facts_of(modality="MR"), "image set of CT"), (None, "cohort of real images"), ("altered", "altered")],
)
def test_what_cannot_be_added_is_one_line(theirs: Path, tmp_path: Path, facts: object, words: str) -> None:
    folder = theirs
    if facts is None:
        folder = make_study(tmp_path / "study").cohort
    if facts == "altered":
        with (theirs / IMAGES).open("r+b") as stream:
            stream.seek(-1, 2)
            stream.write(b"\x07")
    with pytest.raises(CohortError, match=words) as fault:
        take_set(folder, facts_of() if facts in (None, "altered") else facts)  # type: ignore[arg-type]
    assert "\n" not in str(fault.value)
