"""FROC and LROC over readers: against all pairs by hand, and against the ROC where places do not matter."""

from __future__ import annotations

import numpy as np
import pytest

from scansynth.errors import ReaderError
from scansynth.metrics.marks import Candidates, Lesions
from scansynth.reader.statistics.arms import compare
from scansynth.reader.statistics.mrmc import areas, mean_of
from scansynth.reader.statistics.where import free_response, localised

COUNT = 24
"""Images; those below 12 have lesions, the first four of them two."""


def lesions() -> Lesions:
    image = np.array([*range(12), *range(4)])
    return Lesions(image, np.r_[np.full(12, 20.0), np.full(4, 60.0)], np.full(16, 30.0), np.full(16, 5.0))


def marks(seed: int, skill: float = 0.8) -> Candidates:
    """A reader who marks a lesion with a chance, and now and then something else."""
    rng = np.random.default_rng(seed)
    found = []
    all_lesions = lesions()
    for image, row in zip(all_lesions.image, all_lesions.row, strict=True):
        if rng.random() < skill:
            found.append((image, row + rng.uniform(-3, 3), 30.0, rng.integers(2, 4)))
    found += [(image, 90.0, 90.0, rng.integers(1, 3)) for image in range(COUNT) if rng.random() < 0.4]
    columns = np.array(found, dtype=float).T
    return Candidates(columns[0].astype(np.int64), columns[1], columns[2], columns[3])


PATIENTS = np.arange(COUNT) // 2


def by_hand(own: Candidates, kept: np.ndarray, localise: bool) -> float:
    """Chance over all pairs of a lesion, or an image with one, and an image without."""
    truth = lesions()
    best: dict[int, list[float]] = {image: [] for image in range(COUNT)}
    wrong = dict.fromkeys(range(COUNT), -np.inf)
    hit = np.full(len(truth.image), -np.inf)
    for image, row, column, score in zip(own.image, own.row, own.column, own.score, strict=True):
        near = [
            n for n in range(len(hit)) if truth.image[n] == image and np.hypot(row - truth.row[n], column - 30) <= 5
        ]
        for lesion in near:
            hit[lesion] = max(hit[lesion], score)
            best[image].append(score)
        if not near:
            wrong[image] = max(wrong[image], score)
    free = [image for image in range(12, COUNT) if kept[image]]
    won = []
    if localise:
        for image in range(12):
            if kept[image]:
                top = max(best[image], default=-np.inf)
                right = np.isfinite(top) and top >= wrong[image]
                won += [0.0 if not right else float(top > wrong[f]) + (top == wrong[f]) / 2 for f in free]
    else:
        for lesion, score in enumerate(hit):
            if kept[truth.image[lesion]]:
                won += [float(score > wrong[f]) + (score == wrong[f]) / 2 for f in free]
    return float(np.mean(won))


@pytest.mark.parametrize("localise", [False, True])
def test_both_areas_are_the_share_of_won_pairs_with_and_without_each_patient(localise: bool) -> None:
    readers = [marks(seed) for seed in range(4)]
    found = (localised if localise else free_response)(readers, lesions(), PATIENTS)
    for place, own in enumerate(readers):
        assert found.values[place] == pytest.approx(by_hand(own, np.ones(COUNT, dtype=bool), localise))
        for patient in range(12):
            assert found.left_out[place, patient] == pytest.approx(by_hand(own, patient != PATIENTS, localise))


def test_one_mark_an_image_that_always_hits_is_the_roc() -> None:
    rng = np.random.default_rng(1)
    one = Lesions(np.arange(12), np.full(12, 20.0), np.full(12, 30.0), np.full(12, 5.0))
    scores = rng.integers(1, 7, (3, COUNT)).astype(float)
    readers = [Candidates(np.arange(COUNT), np.full(COUNT, 20.0), np.full(COUNT, 30.0), own) for own in scores]
    plain = areas(scores, np.arange(COUNT) < 12, np.arange(COUNT))
    for figure in (free_response, localised):
        found = figure(readers, one, np.arange(COUNT))
        assert found.values == pytest.approx(plain.values)
        assert found.covariance == pytest.approx(plain.covariance)


def test_a_mark_beside_the_lesion_loses_the_place_and_never_wins() -> None:
    away = Candidates(np.arange(12), np.full(12, 80.0), np.full(12, 30.0), np.full(12, 3.0))
    assert localised([away], lesions(), PATIENTS).values[0] == 0.0
    assert free_response([away], lesions(), PATIENTS).values[0] == 0.5  # nothing is marked on images without


def test_readers_are_averaged_and_compared_as_with_any_figure() -> None:
    good, poor = ([marks(seed, skill) for seed in range(5)] for skill in (0.95, 0.3))
    first, second = (free_response(readers, lesions(), PATIENTS) for readers in (good, poor))
    found = compare(first, second)
    assert found.value == pytest.approx(first.values.mean() - second.values.mean())
    assert found.interval(0.95).low > 0
    assert mean_of(first.values, first.covariance, 12, first.fewest).general.auc > 0.8


def test_images_that_were_not_read_are_not_images_without_marks() -> None:
    readers = [marks(seed) for seed in range(2)]
    read = np.ones((2, COUNT), dtype=bool)
    read[0, [0, 1, 20]] = False
    kept = np.ones(COUNT, dtype=bool)
    kept[[0, 1, 20]] = False
    for figure, localise in ((free_response, False), (localised, True)):
        assert figure(readers, lesions(), PATIENTS, read).values[0] == pytest.approx(
            by_hand(readers[0], kept, localise)
        )
    with pytest.raises(ReaderError, match="two images of each class"):
        free_response(readers, lesions(), PATIENTS, read & (np.arange(COUNT) < 12))
