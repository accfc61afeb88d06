"""Bootstrap by patient: thresholds, rates and AUC under many resamples of the patients at once.

A draw gives every patient a multiplicity, and every image that of its patient, so the images of one patient are never
split. One patient fewer than there are is drawn: the variance over such draws is unbiased, where as many as there are
give (G - 1)/G of it (Rao and Wu, JASA 83, 1988, section 2.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int32]


def once(count: int) -> Counts:
    """The data as they are: one draw in which each image counts once (n, 1)."""
    return np.ones((count, 1), dtype=np.int32)


def patient_draws(patients: NDArray[Any], draws: int, rng: np.random.Generator) -> Counts:
    """How often each image counts in each draw, (n, draws).

    The draws depend on the sorted names of the patients alone, not on the order of the images.

    Args:
        patients: Of each image (n,).
        draws: How many.
        rng: Of this purpose.
    """
    names, place = np.unique(patients, return_inverse=True)
    count = len(names)
    drawn = rng.integers(0, count, (max(count - 1, 1), draws)) * draws + np.arange(draws)
    times = np.bincount(drawn.ravel(), minlength=count * draws).reshape(count, draws)
    return np.asarray(times.astype(np.int32)[place], dtype=np.int32)


@dataclass(frozen=True)
class Ranked:
    """Scores in ascending order, and how many images lie below each, in every draw.

    Attributes:
        scores: Ascending (n,).
        below: Images among the first k, for k from 0 to n (n + 1, draws).
    """

    scores: Floats
    below: Counts

    @property
    def total(self) -> Counts:
        """Images of each draw (draws,)."""
        return np.asarray(self.below[-1], dtype=np.int32)

    def thresholds(self, rate: float) -> Floats:
        """The smallest score that at most `rate` of the images reach, in each draw (draws,).

        An image is called positive when its score *reaches* the threshold, so images with the same score are called
        together. Of n images at most floor(rate n) are called here, and of new ones at most rate n / (n + 1) are to be
        expected. The threshold lies just above all scores where even the highest is reached by too many. NaN where a
        draw is empty.

        Args:
            rate: Share of false alarms that is allowed, 0..1.
        """
        allowed = np.floor(rate * self.total + 1e-9).astype(np.int32)
        first = np.searchsorted(self.scores, self.scores, side="left")  # tied scores are reached by all of them
        there = self.below[1:] > self.below[:-1]
        fits = there & (self.total - self.below[first] <= allowed)
        found = np.where(
            fits.any(axis=0),
            self.scores[fits.argmax(axis=0)],
            np.nextafter(self.scores[len(self.scores) - 1 - there[::-1].argmax(axis=0)], np.inf),
        )
        return np.asarray(np.where(self.total > 0, found, np.nan), dtype=np.float64)

    def shares_reaching(self, threshold: Floats) -> Floats:
        """Share of the images that reach the threshold of each draw (draws,); NaN where a draw is empty.

        Args:
            threshold: Of each draw (draws,).
        """
        return self._beyond(np.searchsorted(self.scores, threshold, side="left"), threshold)

    def ceilings(self, rate: float) -> Floats:
        """The smallest score *above* which at most `rate` of the images lie, in each draw (draws,), for ROC curves.

        Args:
            rate: Share of false alarms that is allowed, 0..1.
        """
        allowed = np.floor(rate * self.total + 1e-9).astype(np.int32)
        place = np.minimum((self.below[1:] < self.total - allowed).sum(axis=0), len(self.scores) - 1)
        return np.asarray(np.where(self.total > 0, self.scores[place], np.nan), dtype=np.float64)

    def shares_above(self, ceiling: Floats) -> Floats:
        """Share of the images above the ceiling of each draw (draws,); NaN where a draw is empty.

        Args:
            ceiling: Of each draw (draws,).
        """
        return self._beyond(np.searchsorted(self.scores, ceiling, side="right"), ceiling)

    def _beyond(self, place: NDArray[np.int64], end: Floats) -> Floats:
        under = np.take_along_axis(self.below, place[None, :], axis=0)[0]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (self.total - under) / self.total
        return np.where(np.isnan(end), np.nan, share)


def rank(scores: Floats, times: Counts) -> Ranked:
    """Scores of some images (n,) that count so often in each draw (n, draws)."""
    order = np.argsort(scores, kind="stable")
    below = np.zeros((len(scores) + 1, times.shape[1]), dtype=np.int32)
    np.cumsum(times[order], axis=0, dtype=np.int32, out=below[1:])
    return Ranked(scores[order], below)


def aucs(scores: Floats, times: Counts, negatives: Ranked) -> Floats:
    """Chance that a positive scores above a negative, a tie counting half, in each draw (draws,).

    NaN where a draw lacks a class. Mann and Whitney 1947, with multiplicities as weights.

    Args:
        scores: Of the positive images (n,).
        times: How often each counts (n, draws).
        negatives: In the same draws.
    """
    beaten = negatives.below[np.searchsorted(negatives.scores, scores, side="left")]
    beaten = beaten + negatives.below[np.searchsorted(negatives.scores, scores, side="right")]
    won = np.einsum("ij,ij->j", times, beaten, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(won / (2.0 * times.sum(axis=0) * negatives.total), dtype=np.float64)


def least_negatives(rate: float) -> int:
    """Negatives that a rate of false alarms needs at least: with fewer, not one of them may be above."""
    return math.ceil(1.0 / rate - 1e-9)
