"""The arm copy-paste: lesions of train patients in clear scans of train patients, and not a grey value beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_sets import change_set, put_cohort
from scipy import ndimage
from tiny_trial import PATIENTS, facts_of, make_study

from scansynth.data.fractions import train_part
from scansynth.data.imageset import open_set
from scansynth.data.placements import moved_mask
from scansynth.data.placing import cut_out
from scansynth.data.tensors import Cohort, load_cohort
from scansynth.errors import CohortError
from scansynth.ledger import Role
from scansynth.phantom.cohort import draw_images, draw_patient
from scansynth.report.utility.contrasts import ARM_WORDS
from scansynth.study import Study
from scansynth.utility.grid import check_study, declare, images_needed
from scansynth.utility.job import run_job
from scansynth.utility.paste import Pasted, blend, paste_lesions
from scansynth.utility.pools import divide, gather
from scansynth.utility.statistics.rulings import contrast_names

SIDE, SEED = 96, 5
ROLES = (Role.TRAIN,) * 6 + (Role.CALIBRATE,) * 2 + (Role.TEST,) * 2
ARMS = ("basic", "basic-synthetic", "duplicates", "copy-paste")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Chests with nodules, each on the scale of its own grey levels."""
    folder = tmp_path_factory.mktemp("phantom")
    rows, images, masks = [], [], []
    for number, role in enumerate(ROLES, start=1):
        for place, one in enumerate(draw_images(draw_patient(number, SEED), SIDE, SEED)):
            low, high = np.percentile(one.pixels, [0.5, 99.5])
            images.append((np.clip((one.pixels - low) / (high - low), 0.0, 1.0) * 65535).astype(np.uint16))
            masks.append(np.zeros((SIDE, SIDE), np.uint8) if one.mask is None else one.mask.astype(np.uint8))
            rows.append(
                {
                    "id": f"{number:06d}{place:06d}", "patient": f"{number:016d}", "role": role.value,
                    "label": "clear" if one.mask is None else "nodule", "low": 0.0, "high": 1.0,
                    "spacing_row": one.spacing, "spacing_col": one.spacing, "source_side": SIDE,
                }
            )  # fmt: skip
    put_cohort(folder, facts_of(shape=(SIDE, SIDE), modality="MR"), rows, np.stack(images), np.stack(masks))
    return load_cohort(folder)


@pytest.fixture(scope="module")
def pasted(phantom: Cohort) -> Pasted:
    return paste_lesions(phantom, divide(phantom, train_part(phantom, 1.0, 0)).train, 20, 7)


def hull(image: np.ndarray) -> np.ndarray:
    """Where something bright lies on all four sides: the body, by another rule than that of the arm."""
    bright = ndimage.binary_opening(image > 0.15 * 65535, np.ones((3, 3)))
    return np.logical_and.reduce(
        [
            np.logical_or.accumulate(bright, 0),
            np.logical_or.accumulate(bright[::-1], 0)[::-1],
            np.logical_or.accumulate(bright, 1),
            np.logical_or.accumulate(bright[:, ::-1], 1)[:, ::-1],
        ]
    )


def test_lesions_lie_in_the_body_and_nothing_else_of_a_clear_train_scan_changes(
    phantom: Cohort, pasted: Pasted
) -> None:
    clear = [case.index for case in phantom.cases if case.role is Role.TRAIN and case.label == "clear"]
    scans = np.asarray(phantom.images.images)[clear, 0]
    assert pasted.images.shape == (20, 1, SIDE, SIDE)
    bases = []
    for image, mask in zip(pasted.images[:, 0], pasted.masks, strict=True):
        changed = image != scans
        bases.append(int(changed.sum(axis=(1, 2)).argmin()))
        difference = changed[bases[-1]]
        assert mask.any()
        assert difference.any()
        assert not difference[ndimage.distance_transform_edt(mask == 0) > 8.0].any(), "beyond the margin"
        assert hull(scans[bases[-1]])[mask > 0].all()
    assert len(set(bases)) > 4


def test_lesions_stand_out_from_their_new_surroundings_as_from_their_own(phantom: Cohort, pasted: Pasted) -> None:
    def contrast(image: np.ndarray, mask: np.ndarray) -> float:
        away = ndimage.distance_transform_edt(mask == 0)
        return float(image[mask > 0].mean() - image[(away > 1) & (away < 4)].mean()) / 65535

    own = [case.index for case in phantom.cases if case.role is Role.TRAIN and case.label == "nodule"]
    images, masks = np.asarray(phantom.images.images)[own, 0], phantom.masks([phantom.cases[place] for place in own])
    assert masks is not None
    before = [contrast(image, mask) for image, mask in zip(images, masks, strict=True)]
    after = [contrast(image, mask) for image, mask in zip(pasted.images[:, 0], pasted.masks, strict=True)]
    assert np.median(before) > 0.05
    assert 0.6 < np.median(after) / np.median(before) < 1.6


def test_only_train_patients_of_the_subset_are_read(phantom: Cohort, pasted: Pasted, tmp_path: Path) -> None:
    """The images of all others are made noise, and nothing of what is pasted changes."""
    subset = train_part(phantom, 0.5, 1)
    assert 0 < len(subset) < ROLES.count(Role.TRAIN)
    half = paste_lesions(phantom, divide(phantom, subset).train, 6, 7)
    noise = np.random.default_rng(0).integers(0, 65536, phantom.images.planes.shape).astype(np.uint16)
    for kept, count, wanted in ((train_part(phantom, 1.0, 0), 20, pasted), (subset, 6, half)):
        own = np.array([case.patient in kept for case in phantom.cases])
        images = np.where(own[:, None, None], phantom.images.planes, noise)
        folder = tmp_path / str(count)
        put_cohort(folder, phantom.facts, phantom.images.rows, images, np.asarray(phantom.images.masks))
        other = load_cohort(folder)
        again = paste_lesions(other, divide(other, kept).train, count, 7)
        assert np.array_equal(again.images, wanted.images)
        assert np.array_equal(again.masks, wanted.masks)


def test_the_same_seed_gives_the_same_and_another_gives_others(phantom: Cohort, pasted: Pasted) -> None:
    train = divide(phantom, train_part(phantom, 1.0, 0)).train
    again, other = (paste_lesions(phantom, train, 8, seed) for seed in (7, 8))
    assert np.array_equal(again.images, pasted.images[:8]), "fewer are the first ones of more"
    assert not np.array_equal(other.images, again.images)


def test_blending_keeps_differences_inside_and_values_outside() -> None:
    rng = np.random.default_rng(0)
    source, target = rng.integers(20000, 30000, (2, 1, 40, 40)).astype(np.uint16)
    mask = np.zeros((40, 40), np.uint8)
    mask[18:22, 15:21] = 1
    (lesion,) = cut_out(source[None], mask[None])
    assert np.array_equal(blend(source, lesion, lesion.corner), source), "back where it was, nothing changes"
    corner = (5, 9)
    made, box = blend(target, lesion, corner)[0], lesion.box((5, 9))
    outside = np.ones((40, 40), np.bool_)
    outside[box] = ~lesion.region
    assert np.array_equal(made[outside], target[0][outside])
    laplace = [ndimage.laplace(one.astype(float))[lesion.region] for one in (made[box], lesion.image[0])]
    assert np.abs(laplace[0] - laplace[1]).max() <= 8 * 0.5, "rounding of a pixel and of its neighbours"
    assert moved_mask(lesion, corner, (40, 40)).sum() == mask.sum()
    brighter = blend((target + 9000).astype(np.uint16), lesion, corner)[0]
    assert np.abs(brighter.astype(int) - made - 9000).max() <= 1, "the lesion takes the level of where it is put"


def test_a_patch_keeps_its_lesion_about_where_it_was(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", masks=True)
    for view, far in (("patch", 4.3), ("any", 99.0)):
        cohort = load_cohort(study.cohort)
        put_cohort(
            study.cohort, facts_of(view=view), cohort.images.rows, np.array(cohort.images.planes),
            np.array(cohort.images.masks),
        )  # fmt: skip
        cohort = load_cohort(study.cohort)
        train = divide(cohort, train_part(cohort, 1.0, 0)).train
        masks = cohort.masks(train.cases)
        assert masks is not None
        centres = np.array([ndimage.center_of_mass(mask) for mask in masks if mask.any()])
        made = paste_lesions(cohort, train, 24, 0).masks
        moved = [np.hypot(*(centres - ndimage.center_of_mass(mask)).T).min() for mask in made]
        assert max(moved) < far


@pytest.fixture
def masked(tmp_path: Path) -> Study:
    return make_study(tmp_path / "study", masks=True, steps=10, arms=ARMS)


def without_masks(study: Study, roles: set[str]) -> None:
    found = open_set(study.cohort)
    masks = np.array(found.masks)
    masks[[row["role"] in roles for row in found.rows]] = 0
    change_set(study.cohort, masks=masks)


def test_a_trial_without_outlined_train_lesions_is_refused_beforehand(masked: Study, tmp_path: Path) -> None:
    check_study(masked)
    without_masks(masked, {"test", "tune", "calibrate", "reserve"})
    check_study(masked)
    without_masks(masked, {"train"})
    line = "the arm copy-paste cuts lesions out by their masks, and no train image with a lesion has one"
    with pytest.raises(CohortError, match=line):
        check_study(masked)
    with pytest.raises(CohortError, match=line):
        check_study(make_study(tmp_path / "bare", arms=ARMS))
    cohort = load_cohort(masked.cohort)
    everywhere = np.ones_like(cohort.images.masks)
    change_set(masked.cohort, masks=everywhere)
    with pytest.raises(CohortError, match="needs train images without a lesion"):
        check_study(masked)
    rows = [dict(row) for row in cohort.images.rows]
    full = np.zeros_like(everywhere)
    full[[row["label"] == "nodule" for row in rows]] = 1
    change_set(masked.cohort, masks=full)
    cohort = load_cohort(masked.cohort)
    with pytest.raises(CohortError, match="found no lesion of the train images that fits"):
        paste_lesions(cohort, divide(cohort, train_part(cohort, 1.0, 0)).train, 4, 0)


def test_a_job_of_the_arm_is_declared_and_learns_from_pasted_lesions(masked: Study) -> None:
    reals = PATIENTS[Role.TRAIN]
    without = masked.config.utility.model_copy(update={"arms": ("basic", "copy-paste"), "ratios": (0.5,)})
    study = Study(masked.folder, masked.config.model_copy(update={"utility": without}))
    assert images_needed(study, load_cohort(study.cohort), 1.0, 0) == {}, "it takes no synthetic set"
    grid = declare(study, lambda fraction, pair, left: ())
    (spec,) = [spec for spec in grid.specs if spec.arm == "copy-paste"]
    assert (spec.name, spec.sets) == ("f100-r0.5-copy-paste-p0", ())
    run_job(spec)
    told = (spec.folder / "fit.json").read_text()
    assert f'"extra_positive": {reals // 2}' in told
    assert "clear scans got lesions of" in told


def test_detectors_of_lesions_learn_where_a_pasted_one_lies(masked: Study) -> None:
    cohort = load_cohort(masked.cohort)
    division = divide(cohort, train_part(cohort, 1.0, 0))
    pools = gather(cohort, division, "copy-paste", 0.5, [], "small", True, 3)
    masks = paste_lesions(cohort, division.train, 12, 3).masks
    targets, known, own = pools.material.targets, pools.material.known, pools.sources.extra[0]
    assert targets is not None
    assert known is not None
    assert (len(own), len(pools.sources.extra[1])) == (12, 0), "as lesions, and none as a clear image"
    assert known[own].all()
    factor = masks.shape[1] // targets.shape[1]
    for target, mask in zip(targets[own], masks, strict=True):
        row, column = (int(place) * factor for place in np.unravel_index(target.argmax(), target.shape))
        assert mask[row : row + factor, column : column + factor].any()


def test_the_arm_is_compared_and_has_words() -> None:
    names = contrast_names(ARMS)
    assert ("basic-synthetic", "copy-paste") in names
    assert ("copy-paste", "basic") in names
    assert "blended into their clear scans" in ARM_WORDS["copy-paste"][1]
