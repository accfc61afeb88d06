"""The empirical ROC area of each reader, with variance and covariances. Scores are answers on the scale, 1 to 6.

AUC is the probability that a synthetic image gets a higher score than a real one; ties count half. 0.5 is guessing;
below 0.5 the synthetic images look more real to the reader than the real ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.errors import ReaderError
from scansynth.metrics import roc
from scansynth.metrics.roc import Placements
from scansynth.statistics import Interval, clopper_pearson

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """An AUC and how well it is known.

    Attributes:
        auc: The area.
        error: Standard error.
        freedom: Degrees of freedom of the t quantile; infinite for the normal one.
        fewest: Images of the rarer class.
    """

    auc: float
    error: float
    freedom: float
    fewest: int

    def interval(self, level: float) -> Interval:
        """Two-sided interval, cut to 0..1.

        Where nothing varies because all answers were right (or all wrong), the exact binomial interval of as many
        trials as the rarer class has images stands in: no standard error can be told from one.
        """
        if self.error == 0.0 and self.auc in (0.0, 1.0):
            return clopper_pearson(self.auc * self.fewest, self.fewest, level)
        half = quantile((1.0 + level) / 2.0, self.freedom) * self.error
        return Interval(max(self.auc - half, 0.0), min(self.auc + half, 1.0))

    def equivalence(self, margin: float) -> float:
        """P value of the two one-sided tests that AUC lies within 0.5 +- margin (Schuirmann, 1987).

        The larger of the two: below the level, both bounds are excluded.
        """
        if self.error == 0.0:
            return 0.0 if abs(self.auc - 0.5) < margin else 1.0
        above = (self.auc - (0.5 - margin)) / self.error
        below = ((0.5 + margin) - self.auc) / self.error
        return max(tail(above, self.freedom), tail(below, self.freedom))


def quantile(share: float, freedom: float) -> float:
    """Of Student's t, or of the normal distribution when `freedom` is infinite."""
    return float(stats.norm.ppf(share) if math.isinf(freedom) else stats.t.ppf(share, freedom))


def tail(value: float, freedom: float) -> float:
    """Chance of more than `value` under Student's t, or the normal distribution."""
    return float(stats.norm.sf(value) if math.isinf(freedom) else stats.t.sf(value, freedom))


def placements(scores: NDArray[Any], synthetic: Mask) -> Placements:
    """Where each image stands among those of the other class, by reader; synthetic images are the positive ones.

    Args:
        scores: Higher means more synthetic, (R, C).
        synthetic: Class of each image, (C,).

    Raises:
        ReaderError: One class has fewer than two images.
    """
    scores = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    ones, zeros = scores[:, synthetic], scores[:, ~synthetic]
    if min(ones.shape[1], zeros.shape[1]) < 2:
        raise ReaderError(
            f"an AUC needs two images of each class, not {ones.shape[1]} synthetic and {zeros.shape[1]} real"
        )
    return roc.placements(ones, zeros)


def delong(placed: Placements) -> Floats:
    """Covariance of the readers' AUCs from the same images, (R, R) (DeLong et al. 1988)."""
    parts = (placed.positive, placed.negative)
    return np.asarray(sum(np.atleast_2d(np.cov(part)) / part.shape[1] for part in parts), dtype=np.float64)


def reader_estimates(scores: NDArray[Any], synthetic: Mask) -> tuple[Estimate, ...]:
    """Each reader's AUC with DeLong's standard error: of this reader, on images like these.

    Raises:
        ReaderError: One class has fewer than two images.
    """
    placed = placements(scores, synthetic)
    errors = np.sqrt(np.diag(delong(placed)))
    fewest = int(min(synthetic.sum(), (~synthetic).sum()))
    return tuple(
        Estimate(float(auc), float(error), math.inf, fewest) for auc, error in zip(placed.auc, errors, strict=True)
    )
