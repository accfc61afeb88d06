"""The mean AUC of the readers with readers and images both random.

The analysis of Dorfman, Berbaum and Metz with Hillis's degrees of freedom: a two-way ANOVA, readers by images, over
the jackknife pseudovalues of the AUCs. For this statistic it is the analysis of Obuchowski and Rockette with jackknife
covariances (Hillis et al., Stat. Med. 24, 2005). Why this one: `docs/reader_statistics.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.errors import ReaderError
from scansynth.reader.statistics.roc import Estimate, Floats, Mask, placements, pseudovalues

FEW_READERS = 5
"""With fewer, Hillis's degrees of freedom promise too much: intervals at 95% held the truth in 87% to 89% of
simulated studies with two readers and in 92% to 93% with three. R - 1 takes their place: see
docs/results/reader_error_rates.json."""


@dataclass(frozen=True)
class Squares:
    """Mean squares of a readers x images table with one value a cell.

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


@dataclass(frozen=True)
class Average:
    """The readers' mean AUC.

    Attributes:
        general: Of readers and images like these: both are random.
        these: Of these very readers, on images like these: images alone are random.
        squares: The ANOVA of the pseudovalues.
        spread: Standard deviation between the true AUCs of readers, estimated, at least 0.
    """

    general: Estimate
    these: Estimate
    squares: Squares
    spread: float


def average(scores: NDArray[Any], synthetic: Mask) -> Average:
    """The readers' mean AUC from the answers of at least two readers to the same images.

    Args:
        scores: Higher means more synthetic, (R, C); every reader saw every image.
        synthetic: Class of each image, (C,).

    Raises:
        ReaderError: There is one reader, or a class with fewer than two images.
    """
    placed = placements(scores, synthetic)
    values = pseudovalues(placed)
    found = squares(values)
    readers, images = found.shape
    fewest = int(min(synthetic.sum(), (~synthetic).sum()))
    auc = float(placed.auc.mean())
    freedom = found.freedom if readers >= FEW_READERS else readers - 1.0
    # with fixed readers only the images vary: the variance of the mean pseudovalue of an image
    fixed = math.sqrt(found.images / (readers * images))
    # E(MS_R) = C (var R) + E(MS_RC), one reading a cell
    between = math.sqrt(max(found.readers - found.rest, 0.0) / images)
    return Average(
        Estimate(auc, math.sqrt(found.variance), freedom, fewest),
        Estimate(auc, fixed, images - 1, fewest),
        found,
        between,
    )
