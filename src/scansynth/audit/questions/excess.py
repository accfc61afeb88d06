"""Do more images lie near to one training patient alone than chance brings? The excess of `copies.flag_rate`.

A set of which one image in twenty repeats a patient is known by the many images of it that lie near to one patient
alone, also where none of them can be named with certainty. What chance brings is known from more patients than set the
threshold of single images: each training image, held against the training images of all other patients, is an image of
a patient who was not searched, as a calibrate image is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from scansynth.audit.compared import Compared
from scansynth.claims.claim import percent
from scansynth.metrics.alone import open_alone
from scansynth.metrics.ncc import Flip, Nearest
from scansynth.statistics import (
    Interval,
    clustered_share_variance,
    difference_of_shares,
    effective_trials,
    upper_quantile,
)

ALONE = "nearness to one patient alone"
"""What pairs.json calls it."""

QUANTILE = 0.99
STEADY = 0.95
LEVEL = 0.975
"""Of its interval: it is a second way to `refuted`, so it errs at half the rate of the first."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Unsearched:
    """Real images held against training patients who are not theirs.

    Attributes:
        nearness: To one patient alone, -1..1, (n,).
        patients: Patient of each (n,).
        nearest: Patient that each is nearest to (n,).
        train: Which are training images (n,).
    """

    nearness: Floats
    patients: NDArray[Any]
    nearest: NDArray[Any]
    train: NDArray[np.bool_]


@dataclass(frozen=True)
class Excess:
    """What a set has beyond chance.

    Attributes:
        value: Share of its images above the threshold, less that of real images.
        interval: Of it.
        share: Of its images that are above.
        chance: Of the real ones.
        real: Number of the real ones.
        images: Of the set.
        threshold: Of the nearness.
        stands: Calibrate images have no excess over training images, so that one of the set says something.
    """

    value: float
    interval: Interval
    share: float
    chance: float
    real: int
    images: int
    threshold: float
    stands: bool = True

    @property
    def found(self) -> bool:
        """More than chance brings."""
        return self.stands and self.interval.low > 0.0

    def sentence(self) -> str:
        """For the claim."""
        number = round(max(self.value, 0.0) * self.images)
        told = (
            f"{percent(self.share)} of the set lie as near to one training patient alone as {percent(self.chance)} of "
            f"{self.real} real images of other patients do: an excess of {_points(self.value)} points "
            f"({LEVEL:.1%} interval {_points(self.interval.low)} to {_points(self.interval.high)}), "
            f"about {number} images."
        )
        return told if self.stands else f"{told} It says nothing here: real images of new patients have one as well."

    def figures(self) -> dict[str, float | bool]:
        """For distributions.json."""
        rounded = {"value": self.value, "low": self.interval.low, "high": self.interval.high, "chance": self.chance}
        return {**{name: round(value, 5) for name, value in rounded.items()}, "stands": self.stands}


@dataclass(frozen=True)
class Nearness:
    """Nearness of a set to one training patient alone.

    Attributes:
        excess: Beyond chance.
        found: The training image that each is nearest to (m,).
        chance: Share of real images of other patients that are as near, as a p value (m,).
        score: Nearness of each, -1..1 (m,).
    """

    excess: Excess
    found: Nearest
    chance: Floats
    score: Floats

    @property
    def named(self) -> NDArray[np.bool_]:
        """Images above the threshold, where there are more of them than chance brings (m,)."""
        return (self.score > self.excess.threshold) & self.excess.found


def nearness(compared: Compared, flips: Sequence[Flip]) -> Nearness:
    """Searches the set, and real images among patients who are not theirs."""
    train, calibrate = compared.train, compared.calibrate
    search = open_alone(train.images, train.patients, flips)
    own, _, nearest = search.own_left_out(train.images)
    held, _, place = search.nearest(calibrate.images)
    real = Unsearched(
        np.concatenate([own, held]),
        np.concatenate([train.patients, calibrate.patients]),
        train.patients[np.concatenate([nearest, place])],
        np.arange(len(own) + len(held)) < len(own),
    )
    score, cosine, index = search.nearest(compared.synthetic)
    as_near = len(real.nearness) - np.searchsorted(np.sort(real.nearness), score, side="left")
    unmoved = np.zeros((len(score), 2), dtype=np.int64)
    found = Nearest(cosine, index, unmoved, (Flip.NONE,) * len(score))
    chance = np.asarray((1.0 + as_near) / (len(real.nearness) + 1.0), dtype=np.float64)
    return Nearness(excess(score, real), found, chance, score)


def excess(synthetic: Floats, real: Unsearched) -> Excess:
    """By the rule in `docs/evidence.md`.

    Args:
        synthetic: Nearness of each image of the set to one training patient alone (m,).
        real: What chance brings.
    """
    of_set = _beyond(synthetic, None, real)
    held = _part(real, ~real.train)
    alike = _beyond(held.nearness, held.patients, _part(real, real.train)).interval.low <= 0.0
    return replace(of_set, stands=alike)


def _part(real: Unsearched, chosen: NDArray[np.bool_]) -> Unsearched:
    return Unsearched(real.nearness[chosen], real.patients[chosen], real.nearest[chosen], real.train[chosen])


def _beyond(nearness: Floats, patients: NDArray[Any] | None, real: Unsearched) -> Excess:
    """Excess of images, of independent ones or of patients, over real ones."""
    count = len(real.nearness)
    threshold = upper_quantile(real.nearness, QUANTILE)
    # a new image lies above the r-th smallest of n with the chance 1 - r / (n + 1)
    chance = 1.0 - int((real.nearness <= threshold).sum()) / (count + 1)
    share = float((nearness > threshold).mean())
    trials = float(len(nearness)) if patients is None else _independent(nearness, patients)
    others = _independent(real.nearness, _linked(real))
    value, interval = difference_of_shares((share * trials, trials), (chance * others, others), LEVEL)
    return Excess(value, interval, share, chance, count, len(nearness), threshold)


def _independent(nearness: Floats, groups: NDArray[Any]) -> float:
    """Effective number of images: by how alike those of a patient are in being above the `STEADY` quantile.

    Above the threshold itself lie too few to tell.
    """
    above = nearness > np.quantile(nearness, STEADY)
    if not above.any() or len(np.unique(groups)) < 2:
        return float(len(np.unique(groups)))
    variance = clustered_share_variance(above.astype(np.float64), groups)
    return effective_trials(float(above.mean()), variance, len(nearness))


def _linked(real: Unsearched) -> NDArray[Any]:
    """Patients; two of whom one has an image above the threshold, nearest to the other, are one: it counts twice."""
    names, numbers = np.unique(np.concatenate([real.patients, real.nearest]), return_inverse=True)
    own, other = np.split(numbers, 2)
    hits = real.nearness > upper_quantile(real.nearness, QUANTILE)
    links = coo_array((np.ones(hits.sum()), (own[hits], other[hits])), shape=(len(names), len(names)))
    return np.asarray(connected_components(links, directed=False)[1][own])


def _points(share: float) -> str:
    return f"{100 * share:.1f}"
