"""FROC against cases worked by hand, and MONAI's as a foil with its known fault."""

import math

import numpy as np
import pytest
from monai.metrics import compute_froc_curve_data, compute_froc_score

from scansynth.errors import EvidenceError
from scansynth.metrics.marks import Candidates, Lesions, Marks, mark
from scansynth.utility.statistics.froc import (
    CURVE,
    POINTS,
    Detections,
    Froc,
    cpm,
    dealt_anew,
    measure_froc,
    sensitivities,
)
from scansynth.utility.statistics.resampling import once, patient_draws


def at(image: list, row: list, column: list, last: list, kind: type) -> Lesions | Candidates:
    return kind(np.array(image, dtype=np.int64), *(np.array(x, dtype=np.float64) for x in (row, column, last)))


# Two images with lesions of radius 5 at (10, 10) and (40, 40), two without any.
LESIONS = at([0, 1], [10, 40], [10, 40], [5, 5], Lesions)
IMAGES = 4


def marks(image: list, row: list, column: list, score: list) -> Marks:
    return mark(at(image, row, column, score, Candidates), LESIONS, IMAGES)


def test_all_found_and_nothing_else() -> None:
    found = marks([0, 1], [10, 44], [10, 43], [0.9, 0.1])  # the second lies on the rim: 4, 3, so 5 away
    assert found.found.tolist() == [0.9, 0.1]
    assert len(found.false) == 0
    assert cpm(found) == 1.0


def test_none_found() -> None:
    assert cpm(marks([], [], [], [])) == 0.0
    beside = marks([0, 2], [16, 10], [10, 10], [0.9, 0.8])  # one too far, one at the right place of another image
    assert cpm(beside) == 0.0
    assert sorted(beside.false.tolist()) == [0.8, 0.9]


def test_two_candidates_on_one_lesion_count_once_and_neither_is_false() -> None:
    found = marks([0, 0], [10, 12], [10, 10], [0.3, 0.8])
    assert found.found.tolist() == [0.8, -np.inf]
    assert len(found.false) == 0
    assert cpm(found) == 0.5


def test_a_curve_worked_by_hand() -> None:
    """Scores 0.9 hit, 0.8 false, 0.7 false, 0.6 hit, 0.5 false; four images: 1, 2, 3 false are 1/4, 1/2, 3/4 each."""
    found = marks([0, 2, 3, 1, 2], [10, 0, 0, 40, 50], [10, 0, 0, 40, 50], [0.9, 0.8, 0.7, 0.6, 0.5])
    values = sensitivities(found, once(IMAGES), (0.0, 0.125, 0.25, 0.49, 0.5, 0.75, 8.0))[:, 0]
    assert values.tolist() == [0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0]
    assert cpm(found) == pytest.approx((0.5 + 0.5 + 1.0 + 4 * 1.0) / 7)


def test_tied_scores_are_called_together() -> None:
    """A hit and two false alarms share a score: the hit cannot be had without both, half an alarm an image."""
    found = marks([0, 2, 3], [10, 0, 0], [10, 0, 0], [0.5, 0.5, 0.5])
    assert sensitivities(found, once(IMAGES), (0.25, 0.5))[:, 0].tolist() == [0.0, 0.5]


def test_a_candidate_in_two_lesions_finds_both() -> None:
    both = at([0, 0], [10, 14], [10, 10], [5, 5], Lesions)
    found = mark(at([0], [12], [10], [0.5], Candidates), both, 1)
    assert cpm(found) == 1.0


def test_the_order_of_candidates_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    image, place, score = rng.integers(0, 4, 60), rng.integers(0, 60, (2, 60)), rng.random(60).round(1)
    order = rng.permutation(60)
    one = marks(image.tolist(), place[0].tolist(), place[1].tolist(), score.tolist())
    two = marks(image[order].tolist(), place[0][order].tolist(), place[1][order].tolist(), score[order].tolist())
    assert (sensitivities(one, once(IMAGES)) == sensitivities(two, once(IMAGES))).all()


def test_draws_are_the_curve_of_images_written_out() -> None:
    rng = np.random.default_rng(1)
    image, place, score = rng.integers(0, 4, 60), rng.integers(0, 60, (2, 60)), rng.random(60).round(1)
    found = marks(image.tolist(), place[0].tolist(), place[1].tolist(), score.tolist())
    times = patient_draws(np.arange(IMAGES), 20, rng)
    ours = sensitivities(found, times)
    for draw in range(20):
        written = np.repeat(np.arange(IMAGES), times[:, draw])
        lesions = [lesion for image in written for lesion in np.flatnonzero(found.lesion_image == image)]
        false = [alarm for image in written for alarm in np.flatnonzero(found.false_image == image)]
        if not lesions:
            assert np.isnan(ours[:, draw]).all()
            continue
        for row, point in enumerate(POINTS):
            limits = np.unique(np.concatenate([found.found[lesions], found.false[false]]))
            reached = [
                (found.found[lesions] >= limit).mean()
                for limit in limits[np.isfinite(limits)]
                if (found.false[false] >= limit).sum() <= point * len(written)
            ]
            assert ours[row, draw] == pytest.approx(max(reached, default=0.0))


def test_monai_drops_the_lowest_threshold() -> None:
    """Both lesions are found without any false alarm: 1.0. MONAI leaves the lower of the two scores out: 0.5."""
    found = marks([0, 1], [10, 40], [10, 40], [0.9, 0.1])
    curve = compute_froc_curve_data(found.false, found.found, num_targets=2, num_images=IMAGES)
    assert compute_froc_score(*curve, eval_thresholds=POINTS) == pytest.approx(0.5)
    assert cpm(found) == 1.0


def test_monai_agrees_where_its_fault_does_not_matter() -> None:
    """With one false alarm below all others MONAI drops only that; the steps are compared at their own places."""
    rng = np.random.default_rng(2)
    found = Marks(rng.random(30), np.arange(30), rng.random(200), rng.integers(0, 50, 200), 50)
    found = Marks(found.found, found.lesion_image, np.r_[found.false, -1.0], np.r_[found.false_image, 0], 50)
    alarms, hits = compute_froc_curve_data(found.false, found.found, num_targets=30, num_images=50)
    ours = sensitivities(found, once(50), alarms)[:, 0]
    best = [hits[alarms <= alarm + 1e-9].max() for alarm in alarms]
    assert ours == pytest.approx(best)


def froc_of_equals(patients: int, rng: np.random.Generator) -> Froc:
    """Two arms of the same skill, five detectors each, one lesion and one false candidate for each patient."""
    place, skill = np.arange(patients), 0.7 * rng.normal(size=patients)
    rows = tuple(
        tuple(
            Marks(1.0 + skill + 0.7 * rng.normal(size=patients), place, rng.normal(size=patients), place, patients)
            for _ in range(5)
        )
        for _ in range(2)
    )
    return measure_froc(Detections(place.astype(str), rows, rows[0]), 200, rng)


def test_the_interval_of_a_change_holds_none_and_the_band_narrows_with_patients() -> None:
    changes = [froc_of_equals(60, np.random.default_rng(seed)).cpm.contrast(0, 1).interval for seed in range(40)]
    assert sum(one.low <= 0.0 <= one.high for one in changes) >= 35
    widths = []
    for patients in (40, 160):
        points = [froc_of_equals(patients, np.random.default_rng(seed)).points[CURVE.index(0.5)] for seed in range(8)]
        widths.append(np.mean([one.arm(0).interval.high - one.arm(0).interval.low for one in points]))
    assert widths[1] < 0.75 * widths[0]


def blind_marks(rng: np.random.Generator, images: int, apart: float, most: int = 6) -> Candidates:
    """One to six marks in each image of 64 pixels, anywhere, no two of an image near each other."""
    rows = []
    for image in range(images):
        places: list[np.ndarray] = []
        for place in rng.uniform(0, 64, (200, 2)):
            if len(places) == most:
                break
            if all(math.dist(place, other) >= apart for other in places):
                places.append(place)
        rows += [(image, *place, rng.random()) for place in places[: rng.integers(1, most + 1)]]
    image, row, column, score = (np.array(values) for values in zip(*rows, strict=True))
    return Candidates(image.astype(np.int64), row, column, score)


def test_places_dealt_anew_are_whole_sets_of_other_patients() -> None:
    rng, images = np.random.default_rng(0), 60
    own = blind_marks(rng, images, apart=10.0)
    patients, positive = np.repeat([f"p{k}" for k in range(20)], 3), rng.random(images) < 0.5
    shuffled = rng.permutation(len(own.image))
    own = Candidates(*(getattr(own, name)[shuffled] for name in ("image", "row", "column", "score")))
    dealt = dealt_anew(own, patients, positive, rng)
    sets = {frozenset(zip(own.row[own.image == k], own.column[own.image == k], strict=True)): k for k in range(images)}
    givers = [
        sets[frozenset(zip(dealt.row[dealt.image == k], dealt.column[dealt.image == k], strict=True))]
        for k in range(images)
    ]
    assert sorted(givers) == list(range(images)), "each set is given away once"
    assert (patients[givers] != patients).all()
    assert (positive[givers] == positive).all()
    for image, giver in enumerate(givers):
        mine, theirs = (np.sort(own.score[own.image == k])[::-1] for k in (image, giver))
        kept = min(len(mine), len(theirs))
        scores = np.sort(dealt.score[dealt.image == image])[::-1]
        assert scores[:kept] == pytest.approx(mine[:kept])
        assert (scores[kept:] <= mine[-1]).all()
        best = [np.argmax(np.where(one.image == k, one.score, -1.0)) for one, k in ((dealt, image), (own, giver))]
        assert dealt.row[best[0]] == own.row[best[1]], "the most suspicious mark stands where the other one stood"


def test_a_blind_detector_is_no_better_than_its_floor() -> None:
    """Marks keep apart from each other, and cover more than marks that clump: the floor must not lose by that."""
    changes = []
    for seed in range(30):
        rng, images = np.random.default_rng(seed), 120
        patients, positive = np.repeat([f"p{k}" for k in range(40)], 3), np.arange(images) % 2 == 0
        where = np.flatnonzero(positive)
        lesions = Lesions(where, *rng.uniform(0, 64, (2, len(where))), np.full(len(where), 12.0))
        found = [blind_marks(rng, images, apart=14.0) for _ in range(4)]
        rows = tuple(mark(one, lesions, images) for one in found)
        dealt = tuple(mark(dealt_anew(one, patients, positive, rng), lesions, images) for one in found)
        changes.append(measure_froc(Detections(patients, (rows,), dealt), 200, rng).cpm.contrast(0, 1))
    assert abs(np.mean([one.value for one in changes])) < 0.01
    assert sum(one.interval.low > 0.0 for one in changes) <= 3


def test_places_dealt_anew_lose_lesions_that_move_and_keep_those_that_do_not() -> None:
    rng, images = np.random.default_rng(0), 60
    place, score = np.arange(images), rng.random(images)
    for reach, least, most in ((0.0, 1.0, 1.0), (40.0, 0.0, 0.2)):
        row, column = 50.0 + rng.uniform(-reach, reach, (2, images))
        lesions = Lesions(place, row, column, np.full(images, 5.0))
        found = Candidates(place, row, column, score)
        assert cpm(mark(found, lesions, images)) == 1.0
        assert least <= cpm(mark(dealt_anew(found, place.astype(str), place < images, rng), lesions, images)) <= most


def test_without_lesions_there_is_no_curve() -> None:
    none = Marks(np.empty(0), np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64), 3)
    with pytest.raises(EvidenceError, match="no lesion"):
        measure_froc(Detections(np.array(["a", "b", "c"]), ((none,),), (none,)), 200, np.random.default_rng(0))


def test_the_curve_passes_through_the_seven_points() -> None:
    assert set(POINTS) < set(CURVE)
