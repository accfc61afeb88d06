"""Arms differ in one thing: what joins the reals. Known answers for each, and nothing of a test patient in any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_sets import change_set
from tiny_trial import PATIENTS, SIDE, make_set, make_study, put_images, synthetic_images

from scansynth.config import ARMS
from scansynth.data.fractions import train_part
from scansynth.data.imageset import open_set
from scansynth.data.tensors import load_cohort
from scansynth.errors import CohortError, ConfigError, LedgerError, StudyError
from scansynth.ledger import Role
from scansynth.metrics.ncc import Flip
from scansynth.stage import StageRecord, hash_outputs, write_record
from scansynth.study import Study
from scansynth.utility.arms import ARM_PLANS, Sources, has_ratio, images_asked, phases_of, reads_set
from scansynth.utility.filter import LEAST_TUNE, choose, nearest_of
from scansynth.utility.job import pair_seed
from scansynth.utility.pools import divide, gather
from scansynth.utility.provenance import check_apart, check_set

SETS = {"synthetic", "basic-synthetic", "nearest", "shuffled", "synthetic-only", "pretrained", "filtered"}
REAL, EXTRA = (np.arange(6), np.arange(6, 14)), (np.arange(20, 29), np.arange(0))


def test_every_arm_of_the_settings_has_a_plan() -> None:
    assert set(ARM_PLANS) == set(ARMS)
    assert {arm for arm in ARMS if reads_set(arm)} == SETS
    assert {arm for arm in ARMS if has_ratio(arm)} == SETS | {"duplicates", "copy-paste"}


@pytest.mark.parametrize("arm", ARMS)
def test_shares_of_the_steps_add_up_and_both_classes_are_there(arm: str) -> None:
    phases = phases_of(arm, Sources(REAL, EXTRA), 1.5, 0)
    assert sum(phase.share for phase in phases) == 1.0
    assert all(len(phase.positives) and len(phase.negatives) for phase in phases)
    assert all(phase.augmented == (arm not in {"real", "synthetic"}) for phase in phases)


def test_real_arms_see_reals_alone() -> None:
    for arm in ("real", "basic"):
        (phase,) = phases_of(arm, Sources(REAL), 1.0, 0)
        assert phase.positives.tolist() == REAL[0].tolist()
        assert phase.negatives.tolist() == REAL[1].tolist()


def test_duplicates_are_the_same_images_as_many_as_the_synthetic_would_be() -> None:
    (phase,) = phases_of("duplicates", Sources(REAL), 1.5, 0)
    assert len(phase.positives) == len(REAL[0]) + 9
    assert set(phase.positives.tolist()) == set(REAL[0].tolist())
    counts = np.bincount(phase.positives)
    assert set(counts.tolist()) == {2, 3}, "none a third time before each had its second"
    assert phase.negatives.tolist() == REAL[1].tolist()


def test_shuffled_deals_one_label_half_and_half_and_two_labels_as_before() -> None:
    (phase,) = phases_of("shuffled", Sources(REAL, EXTRA), 1.5, 0)
    dealt = (
        set(phase.positives.tolist()) - set(REAL[0].tolist()),
        set(phase.negatives.tolist()) - set(REAL[1].tolist()),
    )
    assert [len(part) for part in dealt] == [4, 5]
    assert dealt[0] | dealt[1] == set(EXTRA[0].tolist())
    both = Sources(REAL, (np.arange(20, 120), np.arange(120, 150)))
    (phase,) = phases_of("shuffled", both, 1.0, 0)
    assert len(phase.positives) == 106
    wrong = np.sum(phase.positives >= 120)
    assert 10 <= wrong <= 30, "30 of 130 are negative, so about 23 of 100 positives are"


def test_synthetic_only_and_pretrained_see_no_real_lesion_first() -> None:
    (only,) = phases_of("synthetic-only", Sources(REAL, EXTRA), 1.0, 0)
    assert only.positives.tolist() == EXTRA[0].tolist()
    assert only.negatives.tolist() == REAL[1].tolist()
    first, second = phases_of("pretrained", Sources(REAL, EXTRA), 1.0, 0)
    assert (first.share, second.share) == (0.5, 0.5)
    assert first.positives.tolist() == EXTRA[0].tolist()
    assert second.positives.tolist() == REAL[0].tolist()
    clear = Sources(REAL, (EXTRA[0], np.arange(30, 33)))
    assert phases_of("synthetic-only", clear, 1.0, 0)[0].negatives.tolist() == [30, 31, 32]


def test_a_class_without_images_is_refused() -> None:
    with pytest.raises(ConfigError, match="no positive image"):
        phases_of("basic", Sources((np.arange(0), REAL[1])), 1.0, 0)


@pytest.mark.parametrize(("arm", "asked"), [("basic", 0), ("duplicates", 0), ("synthetic", 25), ("filtered", 50)])
def test_images_asked_follow_the_ratio(arm: str, asked: int) -> None:
    assert images_asked(arm, 100, 0.25) == asked


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make_study(tmp_path / "study")


def everyone(study: Study) -> frozenset[str]:
    return train_part(load_cohort(study.cohort), 1.0, 0)


@pytest.mark.parametrize("arm", ARMS)
def test_no_test_image_is_learned_from_in_any_arm(tmp_path: Path, arm: str) -> None:
    study = make_study(tmp_path / "study", masks=True)
    cohort = load_cohort(study.cohort)
    made = make_set(study, "trial", synthetic_images(60))
    division = divide(cohort, everyone(study))
    pools = gather(cohort, division, arm, 1.0, [made], "small", False, 0)
    phases = phases_of(arm, pools.sources, 1.0, 0)
    places = np.concatenate([part for phase in phases for part in (phase.positives, phase.negatives)])
    learned = {pools.material.images[place].tobytes() for place in places}
    assert not learned & {image.tobytes() for image in division.test.images}
    assert not learned & {image.tobytes() for image in division.calibrate.images}
    from_reserve = learned & {image.tobytes() for image in division.reserve.images}
    assert len(from_reserve) == (2 * PATIENTS[Role.RESERVE] if arm == "reserve" else 0)
    from_set = learned & {image.tobytes() for image in synthetic_images(60)}
    expected = {"nearest": 0, "filtered": 24}.get(arm, PATIENTS[Role.TRAIN] if reads_set(arm) else 0)
    assert len(from_set) == expected
    only_synthetic = arm == "synthetic-only"
    reals = learned & {image.tobytes() for image in division.train.images}
    assert len(reals) == PATIENTS[Role.TRAIN] * (1 if only_synthetic else 2)


def test_a_subset_is_all_that_is_learned_from(study: Study) -> None:
    cohort = load_cohort(study.cohort)
    subset = train_part(cohort, 0.25, 5)
    division = divide(cohort, subset)
    assert set(division.train.patients) == set(subset)
    assert len(division.train.cases) == 12
    assert len(division.test.cases) == 2 * PATIENTS[Role.TEST]


def test_nearest_is_the_image_that_was_copied() -> None:
    train = synthetic_images(30, seed=1)
    copies = np.clip(train[[4, 17, 29]].astype(int) + 500, 0, 65535).astype(np.uint16)[:, :, ::-1]
    assert nearest_of(copies, train, (Flip.NONE, Flip.LEFT_RIGHT)).tolist() == [4, 17, 29]


def test_filter_drops_copies_and_what_does_not_look_real() -> None:
    train, tune = synthetic_images(40, seed=1), synthetic_images(30, seed=2)
    good, copies = synthetic_images(20, seed=3), train[:8]  # of other seeds, one good image may pass for a copy
    noise = np.random.default_rng(0).integers(0, 65536, (12, SIDE, SIDE)).astype(np.uint16)
    choice = choose(np.concatenate([noise, good, copies]), 20, train, tune, (Flip.NONE,))
    kept = set(choice.places.tolist())
    assert choice.copies == 8
    assert kept == set(range(12, 32)), "neither noise nor a copy, and every good image"
    with pytest.raises(CohortError, match=f"{LEAST_TUNE} images"):
        choose(good, 10, train, tune[:5], (Flip.NONE,))


def test_too_few_synthetic_images_are_refused_with_their_numbers(study: Study) -> None:
    cohort = load_cohort(study.cohort)
    made = make_set(study, "trial", synthetic_images(20))
    with pytest.raises(CohortError, match=r"takes 24 synthetic positive images, and the sets have 20"):
        gather(cohort, divide(cohort, everyone(study)), "synthetic", 1.0, [made], "small", False, 0)


def test_synthetic_clear_images_enter_as_negatives(study: Study) -> None:
    cohort = load_cohort(study.cohort)
    sets = [
        make_set(study, "lesions", synthetic_images(30)),
        make_set(study, "clear", synthetic_images(30, False), label="clear"),
    ]
    division = divide(cohort, everyone(study))
    pools = gather(cohort, division, "basic-synthetic", 0.5, sets, "small", False, 0)
    assert [len(part) for part in pools.sources.extra] == [12, 12]
    (phase,) = phases_of("basic-synthetic", pools.sources, 0.5, 0)
    joined = {pools.material.images[place].tobytes() for place in phase.negatives}
    assert len(joined & {image.tobytes() for image in synthetic_images(30, False)}) == 12


def test_a_class_missing_in_a_role_is_one_clear_line(study: Study) -> None:
    rows = [dict(row) for row in open_set(study.cohort).rows]
    for row in rows:
        if row["role"] == "calibrate":
            row["label"] = "clear"
    change_set(study.cohort, rows=rows)
    with pytest.raises(
        CohortError, match=r"the role calibrate has no positive image \(24 images; positive means nodule"
    ):
        divide(load_cohort(study.cohort), everyone(study))


def test_a_patient_in_two_roles_is_refused(study: Study) -> None:
    rows = [dict(row) for row in open_set(study.cohort).rows]
    next(row for row in rows if row["role"] == "test")["patient"] = rows[0]["patient"]
    change_set(study.cohort, rows=rows)
    with pytest.raises(LedgerError, match="1 patients are both in test and in train"):
        divide(load_cohort(study.cohort), everyone(study))
    check_apart(a=frozenset("xy"), b=frozenset("z"))


def test_a_set_of_this_cohort_passes_and_of_another_is_refused(study: Study, tmp_path: Path) -> None:
    cohort, subset = load_cohort(study.cohort), everyone(study)
    made = make_set(study, "trial", synthetic_images(4))
    assert check_set(study, cohort, made, subset).known
    other = make_study(tmp_path / "other", name="other")
    foreign = make_set(other, "theirs", synthetic_images(4))
    taken = study.synthetic("theirs")
    foreign.rename(taken)
    with pytest.raises(LedgerError, match="not trained on this study's cohort"):
        check_set(study, cohort, taken, subset)
    (other.folder / "gan" / "theirs").rename(study.folder / "gan" / "theirs")  # its run, of another cohort
    with pytest.raises(LedgerError, match="not trained on this study's cohort"):
        check_set(study, cohort, taken, subset)
    with pytest.raises(StudyError, match="no synthetic set none"):
        check_set(study, cohort, study.synthetic("none"), subset)


def test_a_generator_of_other_train_patients_is_refused(study: Study) -> None:
    cohort = load_cohort(study.cohort)
    whole = make_set(study, "whole", synthetic_images(4))
    quarter = make_set(study, "quarter", synthetic_images(4), fraction=0.25, pair=1)
    assert pair_seed(3, 0) == 3, "the study's own generator serves the first pair"
    right = train_part(cohort, 0.25, pair_seed(3, 1))
    assert check_set(study, cohort, quarter, right).known
    with pytest.raises(LedgerError, match="learned from 24 patients, of whom 18 are not among the 6"):
        check_set(study, cohort, whole, right)
    with pytest.raises(LedgerError, match="learned from 6 patients"):
        check_set(study, cohort, quarter, train_part(cohort, 0.25, pair_seed(3, 2)))


def test_an_added_set_passes_and_is_marked(study: Study) -> None:
    folder = study.synthetic("theirs")
    put_images(folder, synthetic_images(4), "nodule", "")
    write_record(folder, StageRecord("add-set", {}, {}, hash_outputs(folder, folder.rglob("*.csv")), 0))
    assert not check_set(study, load_cohort(study.cohort), folder, everyone(study)).known


def test_the_place_of_a_synthetic_lesion_is_known_where_its_set_has_masks(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", masks=True)
    cohort, images = load_cohort(study.cohort), synthetic_images(30)
    sets = [make_set(study, "lesions", images), make_set(study, "clear", synthetic_images(30, False), label="clear")]
    division = divide(cohort, everyone(study))

    def of_extra(known_places: np.ndarray) -> list[tuple[bool, bool]]:
        """Of each synthetic lesion, then of each clear image: whether its lesions are known, and whether it has one."""
        if known_places.any():
            change_set(sets[0], masks=known_places)
        pools = gather(cohort, division, "basic-synthetic", 0.5, sets, "small", True, 0)
        targets, known = pools.material.targets, pools.material.known
        assert targets is not None
        assert known is not None
        assert known[: len(division.train.cases)].all(), "every real lesion of this study has a mask"
        own = np.concatenate(pools.sources.extra)
        assert pools.material.images[own[:12]].tobytes() == images[:12].tobytes()
        peaks = [np.unravel_index(targets[place].argmax(), targets[place].shape) for place in own[:12]]
        factor = SIDE // targets.shape[1]
        for (row, column), mask in zip(peaks, known_places, strict=False):
            if mask.any():
                assert mask[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor].any()
        return [(bool(known[place]), bool(targets[place].any())) for place in own]

    masks = np.zeros((30, SIDE, SIDE), np.uint8)
    assert of_extra(masks) == [(False, False)] * 12 + [(True, False)] * 12
    for place in range(1, 30):  # the first lesion stays without an outline
        masks[place, 2 + place % 20 : 6 + place % 20, 10:14] = 1
    assert of_extra(masks) == [(False, False)] + [(True, True)] * 11 + [(True, False)] * 12
