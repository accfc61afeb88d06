"""Can it be told who was among the training patients? Figures of two groups of scores, one score a patient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.metrics.roc import auc_and_variance
from scansynth.statistics import Interval, clopper_pearson

Floats = NDArray[np.float64]

_LEAST_DISTANCE = 1e-3
"""Under this two images are the same: the logarithm needs an end."""


def group_means(values: Floats, groups: NDArray[Any]) -> Floats:
    """Mean value of each group, in sorted order (G,).

    Not the largest: of twenty images of one patient the largest is high by chance, and the mere number would tell.
    """
    place = np.unique(groups, return_inverse=True)[1]
    means: Floats = np.bincount(place, values) / np.bincount(place)
    return means


def closeness(to_set: NDArray[Any], to_reals: NDArray[Any]) -> Floats:
    """How many times nearer the nearest synthetic image is than the nearest real one of another patient, as a log.

    log(d_real / d_set) with the distance d = 1 - correlation. An image that lies in a crowd is near to everything,
    to synthetic images too; the division takes that out (calibration by difficulty: Watson et al., ICLR 2022,
    arXiv:2111.08440).

    Args:
        to_set: Correlation with the nearest synthetic image (n,).
        to_reals: Correlation with the nearest real image of another patient (n,).

    Returns:
        (n,); 0 is as near to a synthetic image as to a real one.
    """
    real, made = (np.maximum(1.0 - np.asarray(x, np.float64), _LEAST_DISTANCE) for x in (to_reals, to_set))
    result: Floats = np.log(real) - np.log(made)
    return result


def auc_interval(members: Floats, others: Floats, level: float) -> tuple[float, Interval]:
    """AUC with its interval (DeLong et al., Biometrics 44, 1988), on both sides' patients.

    The t quantile has as many degrees of freedom as the smaller side has patients, less one: few widen it.
    """
    scores = np.concatenate([members, others])
    value, variance = auc_and_variance(scores, np.arange(len(scores)) < len(members), np.arange(len(scores)))
    freedom = min(len(members), len(others)) - 1
    half = float(stats.t.ppf(0.5 + level / 2.0, freedom)) * math.sqrt(variance)
    return value, Interval(max(value - half, 0.0), min(value + half, 1.0))


@dataclass(frozen=True)
class Exposed:
    """How many members stand out, at a threshold that hardly any other patient passes.

    Attributes:
        share: Of the members that pass, 0..1.
        interval: Of the share (Clopper and Pearson 1934).
        passing: Others that pass the threshold.
        others: All others: no rate below 1 in so many can be resolved.
    """

    share: float
    interval: Interval
    passing: int
    others: int


def exposed(members: Floats, others: Floats, false_share: float, level: float) -> Exposed:
    """Members above the threshold that at most `false_share` of the others pass (Carlini et al., IEEE S&P 2022).

    With fewer than 1 / false_share others none of them may pass. A score equal to the threshold does not pass.
    """
    allowed = math.floor(false_share * len(others) + 1e-9)
    threshold = np.sort(others)[::-1][allowed]
    found = int((members > threshold).sum())
    return Exposed(
        found / len(members),
        clopper_pearson(found, len(members), level),
        int((others > threshold).sum()),
        len(others),
    )
