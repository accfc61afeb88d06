"""Lesions found against false alarms for each image (FROC), and CPM, its mean at seven points.

As in LUNA16 (Setio et al., Med. Image Anal. 42, 2017): a candidate within the radius of a lesion finds it, further
candidates on the same lesion count neither as found nor as false, and the score is the mean sensitivity at 1/8, 1/4,
1/2, 1, 2, 4 and 8 false alarms for each image. Candidates with the same score are called together, at every threshold,
the lowest included. The sensitivity at a point is what some threshold in fact reaches with no more false alarms;
LUNA16 draws straight lines between thresholds, which is never less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.errors import EvidenceError
from scansynth.metrics.marks import Candidates, Marks, Places
from scansynth.utility.statistics.effects import Outcome
from scansynth.utility.statistics.resampling import Counts, once, patient_draws

Floats = NDArray[np.float64]

POINTS: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False alarms for each image at which sensitivity is averaged."""

CURVE: tuple[float, ...] = (0.0625, 0.0884, 0.125, 0.177, 0.25, 0.354, 0.5, 0.707, 1.0, 1.41, 2.0, 2.83, 4.0, 5.66, 8.0)
"""Where curves are drawn: half steps of an octave."""


def dealt_anew(
    candidates: Candidates, patients: NDArray[Any], positive: NDArray[np.bool_], rng: np.random.Generator
) -> Candidates:
    """The marks with places of other patients: what a detector finds that knows nothing of where, in this image.

    Each image gets all places of one other image, so that they lie as far apart as marks do, and keeps its scores: the
    most suspicious mark stands where the other image's most suspicious one stood. Images with a lesion deal among
    themselves, and so do those without; where lesions lie in general is kept. Where they always lie in the middle,
    these marks find them anyway.

    Args:
        candidates: Of one detector.
        patients: Of each image (images,).
        positive: Which images show a lesion (images,).
        rng: Of the deal.
    """
    order = np.lexsort((-candidates.score, candidates.image))
    rows = np.split(order, np.searchsorted(candidates.image[order], np.arange(1, len(positive))))
    giver = np.arange(len(positive))
    for kind in (True, False):
        own = rng.permutation(np.flatnonzero(positive == kind))
        together = own[np.argsort(_in_random_order(patients[own], rng), kind="stable")]
        _, counts = np.unique(patients[own], return_counts=True)
        giver[together] = np.roll(together, counts.max(initial=0))  # past the largest patient: to other patients
    image = np.concatenate([np.full(len(rows[giver[one]]), one) for one in range(len(positive))])
    score = [_scores(candidates.score[rows[one]], candidates.score[rows[giver[one]]]) for one in range(len(positive))]
    places = np.concatenate([rows[one] for one in giver])
    return Candidates(image, candidates.row[places], candidates.column[places], np.concatenate(score))


def _in_random_order(patients: NDArray[Any], rng: np.random.Generator) -> Places:
    """A number for each patient's images, at random."""
    names, number = np.unique(patients, return_inverse=True)
    order: Places = rng.permutation(len(names))[number]
    return order


def _scores(own: Floats, giver: Floats) -> Floats:
    """An image's own scores for the places that it was given; where it has fewer, no higher ones than its last."""
    if not len(own):
        return giver * 0.0
    return np.concatenate([own[: len(giver)], np.minimum(giver[len(own) :], own[-1])])


def sensitivities(marks: Marks, times: Counts, points: Sequence[float] | Floats = POINTS) -> Floats:
    """Share of the lesions found at each number of false alarms for each image, in each draw (points, draws).

    NaN where a draw holds no lesion.

    Args:
        marks: Of one detector.
        times: How often each image counts (images, draws).
        points: False alarms for each image.
    """
    seen = np.isfinite(marks.found)
    scores = np.concatenate([marks.found[seen], marks.false])
    count = times[np.concatenate([marks.lesion_image[seen], marks.false_image])]
    total = times[marks.lesion_image].sum(axis=0)
    values, place = np.unique(-scores, return_inverse=True)  # the highest score first, ties together
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(values)))
    real = (np.arange(len(scores)) < seen.sum())[order, None]
    steps = np.zeros((2, len(values) + 1, times.shape[1]), dtype=np.int64)
    if len(scores):
        for row, part in enumerate((real, ~real)):
            steps[row, 1:] = np.cumsum(np.add.reduceat(np.where(part, count[order], 0), starts, axis=0), axis=0)
    hits, alarms = steps
    result = np.empty((len(points), times.shape[1]))
    for row, point in enumerate(points):
        last = (alarms <= point * times.sum(axis=0) + 1e-9).sum(axis=0) - 1
        with np.errstate(invalid="ignore", divide="ignore"):
            result[row] = np.take_along_axis(hits, last[None, :], axis=0)[0] / total
    return result


def cpm(marks: Marks) -> float:
    """Mean sensitivity at the seven points."""
    return float(sensitivities(marks, once(marks.images)).mean())


@dataclass(frozen=True)
class Detections:
    """What all detectors of a block found.

    Attributes:
        patients: Of each image (images,).
        marks: Of each arm and pair, on the same images.
        dealt: Of the arm basic with places of other images (`dealt_anew`), for each pair.
    """

    patients: NDArray[Any]
    marks: tuple[tuple[Marks, ...], ...]
    dealt: tuple[Marks, ...]


@dataclass(frozen=True)
class Froc:
    """FROC of all arms and pairs.

    Attributes:
        cpm: Mean sensitivity at the seven points; the last row is that of shuffled places.
        points: Sensitivity at each of `CURVE`, with the same rows.
    """

    cpm: Outcome
    points: tuple[Outcome, ...]


def measure_froc(detections: Detections, draws: int, rng: np.random.Generator) -> Froc:
    """CPM and FROC curves of all arms and pairs under resamples of the patients.

    Args:
        detections: Of a block.
        draws: Of the patients; the same for all arms and pairs.
        rng: Of this purpose.

    Raises:
        EvidenceError: There is no lesion.
    """
    marks, first = (*detections.marks, detections.dealt), detections.marks[0][0]
    if not len(first.found):
        raise EvidenceError("there is no lesion in the test images, so none can be found; give masks or boxes")
    times = patient_draws(detections.patients, draws, rng)
    shape = (len(marks), len(marks[0]), len(CURVE))
    values, drawn = np.empty((*shape, 1)), np.empty((*shape, draws))
    for arm, pair in np.ndindex(shape[:2]):
        values[arm, pair] = sensitivities(marks[arm][pair], once(first.images), CURVE)
        drawn[arm, pair] = sensitivities(marks[arm][pair], times, CURVE)
    drawn = drawn[..., np.isfinite(drawn).all(axis=(0, 1, 2))]
    people = len(np.unique(detections.patients[first.lesion_image]))

    def outcome(value: Floats, draw: Floats) -> Outcome:
        return Outcome(value[..., 0], draw, people, len(first.found))

    seven = [CURVE.index(point) for point in POINTS]
    return Froc(
        outcome(values[:, :, seven].mean(axis=2), drawn[:, :, seven].mean(axis=2)),
        tuple(outcome(values[:, :, k], drawn[:, :, k]) for k in range(len(CURVE))),
    )
