"""Figures of several readers with readers and images both random, whether or not every reader saw every image.

The analysis of Obuchowski and Rockette with jackknife covariances and Hillis's degrees of freedom: each reader has a
figure, leaving out one patient after the other gives its covariance with every other reader's, and the readers' own
spread does the rest. Where all readers saw all images, it is the two-way analysis of Dorfman, Berbaum and Metz (Hillis
et al., Stat. Med. 24, 2005). Why this one: `docs/reader_statistics.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.errors import ReaderError
from scansynth.metrics import roc
from scansynth.reader.statistics.roc import Estimate, Floats, Mask, placements

FEW_READERS = 5
"""With fewer, Hillis's degrees of freedom promise too much: intervals at 95% held the truth in 87% to 89% of
simulated studies with two readers and in 92% to 93% with three. R - 1 takes their place: see
docs/results/reader_error_rates.json."""


@dataclass(frozen=True)
class Figures:
    """One figure of each reader, such as an AUC, and what it would be without each patient.

    Attributes:
        values: (R,).
        left_out: Without the k-th of K patients; the figure itself where the reader saw none of that patient, (R, K).
        fewest: Images of the rarer class, of the reader who saw fewest.
    """

    values: Floats
    left_out: Floats
    fewest: int

    @property
    def covariance(self) -> Floats:
        """Jackknife covariance of the figures over patients, (R, R) (Efron and Stein, Ann. Stat. 9, 1981)."""
        count = self.left_out.shape[1]
        away = self.left_out - self.left_out.mean(axis=1, keepdims=True)
        return np.asarray((count - 1) / count * away @ away.T, dtype=np.float64)


@dataclass(frozen=True)
class Average:
    """The readers' mean figure.

    Attributes:
        general: Of readers and images like these: both are random.
        these: Of these very readers, on images like these: images alone are random.
        between: Variance of the readers' figures about their mean, MS(R).
        own: Mean variance of one reader's figure over images.
        shared: Mean covariance of two readers' figures over images, Cov2.
        hillis: Hillis's degrees of freedom, with however few readers.
    """

    general: Estimate
    these: Estimate
    between: float
    own: float
    shared: float
    hillis: float

    @property
    def spread(self) -> float:
        """Standard deviation between the true figures of readers, estimated, at least 0.

        The expected value of MS(R) is the readers' variance and what images add, own less shared.
        """
        return math.sqrt(max(self.between - self.own + self.shared, 0.0))


def average(scores: NDArray[Any], synthetic: Mask, patients: NDArray[Any] | None = None) -> Average:
    """The readers' mean AUC from the answers of at least two readers.

    Args:
        scores: Higher means more synthetic; not a number where a reader did not see an image, (R, C).
        synthetic: Class of each image, (C,).
        patients: Whose images belong together, (C,); none: each is a patient of its own.

    Raises:
        ReaderError: There is one reader, or a reader saw fewer than two images of a class.
    """
    found = areas(scores, synthetic, patients)
    return mean_of(found.values, found.covariance, found.left_out.shape[1], found.fewest)


def mean_of(values: Floats, covariance: Floats, patients: int, fewest: int) -> Average:
    """The mean of figures that were computed by any means.

    The variance of the mean is (MS(R) + R max(Cov2, 0)) / R with
    (MS(R) + R max(Cov2, 0))^2 / (MS(R)^2 / (R - 1)) degrees of freedom (Hillis, Stat. Med. 26, 2007). MS(R) is the
    variance of the readers' figures. It holds for readers who saw different numbers of images as well: the
    expected value of MS(R) / R + Cov2 is the variance of the mean, whatever the readers' own variances are.

    Args:
        values: Of each reader, (R,).
        covariance: Over images, (R, R).
        patients: How many were left out one by one.
        fewest: Images of the rarer class.

    Raises:
        ReaderError: There is one reader.
    """
    readers = len(values)
    if readers < 2:
        raise ReaderError(f"an analysis of variance needs two readers, not {readers}")
    mean, between = float(values.mean()), float(values.var(ddof=1))
    own = float(np.diag(covariance).mean())
    shared = float(covariance[~np.eye(readers, dtype=bool)].mean())
    total = between + readers * max(shared, 0.0)
    # answers that agree wholly leave a rest of rounding, and no spread of readers
    hillis = total**2 / (between**2 / (readers - 1)) if between > 0.0 else math.inf
    return Average(
        Estimate(mean, math.sqrt(total / readers), hillis if readers >= FEW_READERS else readers - 1.0, fewest),
        # with fixed readers only the images vary
        Estimate(mean, math.sqrt(max(float(covariance.mean()), 0.0)), patients - 1, fewest),
        between,
        own,
        shared,
        hillis,
    )


def areas(scores: NDArray[Any], synthetic: Mask, patients: NDArray[Any] | None = None) -> Figures:
    """Each reader's AUC with and without each patient; arguments as of `average`.

    Raises:
        ReaderError: A reader saw fewer than two images, or patients, of a class.
    """
    scores = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    seen = np.isfinite(scores)
    if patients is None and seen.all():
        return _crossed(scores, synthetic)
    groups = np.arange(scores.shape[1]) if patients is None else np.unique(patients, return_inverse=True)[1]
    for own in seen:
        made, real = (len(set(groups[own & part].tolist())) for part in (synthetic, ~synthetic))
        if min(made, real) < 2:
            raise ReaderError(f"an AUC needs two images of each class for each reader, not {made} and {real}")
    count = int(groups.max()) + 1
    rows = [_area(own[kept], synthetic[kept], groups[kept], count) for own, kept in zip(scores, seen, strict=True)]
    fewest = min(int(min((own & synthetic).sum(), (own & ~synthetic).sum())) for own in seen)
    return Figures(np.array([value for value, _ in rows]), np.array([left for _, left in rows]), fewest)


def _crossed(scores: Floats, synthetic: Mask) -> Figures:
    """The same, all readers at once, where each saw every image and each image is a patient's only one."""
    placed = placements(scores, synthetic)
    left_out = np.empty_like(scores)
    for chosen, part in ((synthetic, placed.positive), (~synthetic, placed.negative)):
        count = part.shape[1]
        left_out[:, chosen] = (count * placed.auc[:, None] - part) / (count - 1)
    return Figures(placed.auc, left_out, min(placed.positive.shape[1], placed.negative.shape[1]))


def _area(scores: Floats, synthetic: Mask, groups: NDArray[Any], count: int) -> tuple[float, Floats]:
    """One reader's AUC, and without each of `count` groups of images, (count,).

    The pairs that a group takes with it are known from placement values; those that both its own images make were
    taken twice.
    """
    made, real = int(synthetic.sum()), int((~synthetic).sum())
    placed = roc.placements(scores[None, synthetic], scores[None, ~synthetic])
    mine, theirs = groups[synthetic], groups[~synthetic]
    pairs = np.bincount(mine, placed.positive[0] * real, count) + np.bincount(theirs, placed.negative[0] * made, count)
    for group in np.intersect1d(mine, theirs).tolist():
        one, other = scores[synthetic & (groups == group)], scores[~synthetic & (groups == group)]
        pairs[group] -= float(((np.sign(one[:, None] - other[None, :]) + 1.0) / 2.0).sum())
    left_made, left_real = made - np.bincount(mine, minlength=count), real - np.bincount(theirs, minlength=count)
    area = float(placed.auc[0])
    left = (area * made * real - pairs) / (left_made * left_real)
    # where nothing was left out, nothing changed: not even by rounding
    return area, np.where((left_made == made) & (left_real == real), area, left)


@dataclass(frozen=True)
class Squares:
    """Mean squares of a readers x images table with one value a cell, for shares that are means of their cells.

    Attributes:
        readers: MS_R.
        images: MS_C.
        rest: MS_RC.
        shape: Readers, images.
    """

    readers: float
    images: float
    rest: float
    shape: tuple[int, int]

    @property
    def variance(self) -> float:
        """Of the table's mean: (MS_R + max(MS_C - MS_RC, 0)) / (R C) (Hillis, Stat. Med. 26, 2007)."""
        readers, images = self.shape
        return (self.readers + max(self.images - self.rest, 0.0)) / (readers * images)

    @property
    def freedom(self) -> float:
        """(MS_R + max(MS_C - MS_RC, 0))^2 / (MS_R^2 / (R - 1)) (Hillis 2007, ddf_H of one modality)."""
        if self.readers <= 0.0:
            return math.inf
        total = self.readers + max(self.images - self.rest, 0.0)
        return total**2 / (self.readers**2 / (self.shape[0] - 1))


def squares(table: Floats) -> Squares:
    """Mean squares of a table, (R, C).

    Raises:
        ReaderError: There are fewer than two readers or images.
    """
    readers, images = table.shape
    if min(readers, images) < 2:
        raise ReaderError(f"an analysis of variance needs two readers and two images, not {readers} and {images}")
    by_reader, by_image = table.mean(axis=1), table.mean(axis=0)
    mean = table.mean()
    left = table - by_reader[:, None] - by_image[None, :] + mean
    return Squares(
        float(images * np.sum((by_reader - mean) ** 2) / (readers - 1)),
        float(readers * np.sum((by_image - mean) ** 2) / (images - 1)),
        float(np.sum(left**2) / ((readers - 1) * (images - 1))),
        (readers, images),
    )
