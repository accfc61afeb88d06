"""The area under the empirical ROC curve, its variance, and where each score stands among those of the other class.

Higher scores speak for the positive class; a tie counts half. Draws of patients with multiplicities have a form of
their own in `utility/statistics/resampling.py`, compared with this one by a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]


@dataclass(frozen=True)
class Placements:
    """Where each item stands among those of the other class, by each of R scores.

    Attributes:
        auc: (R,).
        positive: Share of the negative items below each positive one, ties half, (R, n1).
        negative: Share of the positive items above each negative one, ties half, (R, n0).
    """

    auc: Floats
    positive: Floats
    negative: Floats


def placements(positive: NDArray[Any], negative: NDArray[Any]) -> Placements:
    """Structural components from midranks (DeLong et al., Biometrics 44, 1988; Sun and Xu, IEEE SPL 21, 2014).

    Args:
        positive: Scores (R, n1), n1 >= 1.
        negative: Scores (R, n0), n0 >= 1.
    """
    count = positive.shape[1]
    ranks = rankdata(np.concatenate([positive, negative], axis=1), axis=1)
    above = (ranks[:, :count] - rankdata(positive, axis=1)) / negative.shape[1]
    below = (ranks[:, count:] - rankdata(negative, axis=1)) / count
    return Placements(above.mean(axis=1), above, 1.0 - below)


def auc(positive: Floats, negative: Floats) -> float:
    """Chance that a positive scores above a negative, by rank sums (Mann and Whitney, Ann. Math. Stat. 18, 1947).

    Args:
        positive: Scores (n1,), n1 >= 1.
        negative: Scores (n0,), n0 >= 1.
    """
    count = len(positive)
    ranks = rankdata(np.concatenate([positive, negative]))[:count]
    return float((ranks.sum() - count * (count + 1) / 2.0) / (count * len(negative)))


def auc_and_variance(scores: Floats, labels: Labels, groups: NDArray[Any]) -> tuple[float, float]:
    """Area under the ROC curve, and its variance over groups.

    Structural components (DeLong et al. 1988, equations 4 and 5), summed by group (Obuchowski, Biometrics 53, 1997).
    A side of one group adds no variance.

    Args:
        scores: Higher for True (n,).
        labels: (n,), both occur.
        groups: All items of a group have one label (n,).
    """
    placed = placements(scores[None, labels], scores[None, ~labels])
    area, variance = float(placed.auc[0]), 0.0
    for component, members in ((placed.positive[0], groups[labels]), (placed.negative[0], groups[~labels])):
        names, place = np.unique(members, return_inverse=True)
        sums = np.bincount(place, component - area) / len(component)
        count = len(names)
        variance += float(count / (count - 1) * np.sum(sums**2)) if count > 1 else 0.0
    return area, variance
