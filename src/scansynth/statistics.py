"""Intervals, subsampling and verdicts: numpy and scipy, nothing else.

Resampling is by patient (a *group*) and without replacement: sampling with replacement makes duplicates, which
kernel and neighbour figures mistake for a difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Verdict(StrEnum):
    """The verdict of a claim; see `docs/evidence.md`."""

    SHOWN = "shown"
    REFUTED = "refuted"
    NOT_SHOWN = "not shown"
    NOT_ASSESSABLE = "not assessable"


class Direction(StrEnum):
    """The good side of a margin; includes the margin itself."""

    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True)
class Interval:
    """Two ends, in the unit of the figure."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:  # also catches NaN
            raise ValueError(f"an interval needs low <= high, not {self.low} and {self.high}")


def verdict(interval: Interval, margin: float, direction: Direction) -> Verdict:
    """`shown` when the whole interval is on the right side, `refuted` on the wrong side, else `not shown`.

    Never `not assessable`: that comes from controls and missing data.

    Raises:
        ValueError: The margin is not a number.
    """
    if math.isnan(margin):
        raise ValueError("a verdict needs a margin")
    if direction is Direction.AT_MOST:
        right, wrong = interval.high <= margin, interval.low > margin
    else:
        right, wrong = interval.low >= margin, interval.high < margin
    if right:
        return Verdict.SHOWN
    return Verdict.REFUTED if wrong else Verdict.NOT_SHOWN


def _check_counts(successes: float, trials: float, level: float) -> None:
    if not (trials > 0 and 0 <= successes <= trials):
        raise ValueError(f"need 0 <= successes <= trials and trials > 0, not {successes} of {trials}")
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, not {level}")


def binomial_upper(successes: float, trials: float, level: float = 0.95) -> float:
    """One-sided upper bound of a share (Clopper and Pearson, Biometrika 26, 1934).

    The `level` quantile of Beta(x + 1, n - x). Counts may be fractional (effective numbers).

    Raises:
        ValueError: The counts are impossible.
    """
    from scipy import special  # noqa: PLC0415 (as long as all else that a status imports, and only evidence needs it)

    _check_counts(successes, trials, level)
    return 1.0 if successes >= trials else float(special.betaincinv(successes + 1, trials - successes, level))


def binomial_lower(successes: float, trials: float, level: float = 0.95) -> float:
    """One-sided lower bound of a share; see `binomial_upper`."""
    return 1.0 - binomial_upper(trials - successes, trials, level)


def clopper_pearson(successes: float, trials: float, level: float = 0.95) -> Interval:
    """Exact two-sided interval of a share: each tail has (1 - level)/2.

    Raises:
        ValueError: The counts are impossible.
    """
    one_sided = 1.0 - (1.0 - level) / 2.0
    low, high = binomial_lower(successes, trials, one_sided), binomial_upper(successes, trials, one_sided)
    return Interval(max(low, 0.0), min(high, 1.0))


def wilson(successes: float, trials: float, level: float = 0.95) -> Interval:
    """Score interval of a share (Wilson, JASA 22, 1927).

    Raises:
        ValueError: The counts are impossible.
    """
    from scipy import special  # noqa: PLC0415 (as above)

    _check_counts(successes, trials, level)
    z = float(special.ndtri(1.0 - (1.0 - level) / 2.0))
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return Interval(max(centre - half, 0.0), min(centre + half, 1.0))


def difference_of_shares(
    first: tuple[float, float], second: tuple[float, float], level: float = 0.95
) -> tuple[float, Interval]:
    """First share less the second, and its interval.

    Ends of the two exact intervals, squared and added (Newcombe, Statistics in Medicine 17, 1998, method 10, with the
    limits of Clopper and Pearson in the place of Wilson's).

    Args:
        first: Successes and trials; may be fractional (effective numbers).
        second: The same of the share that is taken away.
        level: Of the interval.

    Raises:
        ValueError: Counts are impossible.
    """
    rates = [successes / trials for successes, trials in (first, second)]
    ends = [clopper_pearson(successes, trials, level) for successes, trials in (first, second)]
    down = math.hypot(rates[0] - ends[0].low, ends[1].high - rates[1])
    up = math.hypot(ends[0].high - rates[0], rates[1] - ends[1].low)
    value = rates[0] - rates[1]
    return value, Interval(value - down, value + up)


def effective_trials(share: float, variance: float, trials: float) -> float:
    """Effective sample size of clustered trials (Korn and Graubard, Survey Methodology 24, 1998).

    p(1 - p) / variance, at least 1 and never more than `trials`.

    Args:
        share: Estimated share, 0..1.
        variance: Variance of the estimate, including clustering.
        trials: Number of trials counted.
    """
    binomial = share * (1.0 - share)
    if variance <= 0.0 or binomial <= 0.0:
        return float(trials)
    return float(min(max(binomial / variance, 1.0), trials))


def clustered_share_variance(hits: Floats, groups: NDArray[Any]) -> float:
    """Variance of a share with images clustered by patient: the ratio estimator's, by linearisation.

    G/(G - 1) * sum_g (x_g - p n_g)^2 / n^2 (Cochran, Sampling Techniques, section 9A.2).

    Args:
        hits: 0..1 for each image, shape (n,).
        groups: Patient of each image, shape (n,); two patients at least.
    """
    members = group_masks(groups).astype(np.float64)
    share = float(hits.mean())
    residuals = members @ (hits - share)
    count = len(members)
    return float(count / (count - 1) * np.sum(residuals**2) / len(hits) ** 2)


def jackknife_interval(estimate: float, *replicates: Floats, level: float = 0.95) -> Interval:
    """Delete-one-group jackknife interval; independent samples add their variances.

    variance = sum over samples of (G - 1)/G * sum_g (theta_(g) - mean theta_(.))^2 (Arvesen, Ann. Math. Stat.
    40, 1969); t quantile with Welch's degrees of freedom.

    Args:
        estimate: The figure from all data; the interval's centre.
        replicates: For each sample, the figure with one group left out, shape (G,), G >= 2.
        level: Of the interval.

    Raises:
        ValueError: A sample has fewer than two groups.
    """
    from scipy import special  # noqa: PLC0415 (as above)

    if any(len(sample) < 2 for sample in replicates) or not replicates:
        raise ValueError("a jackknife needs two groups at least")
    parts = [(len(r) - 1) / len(r) * float(np.sum((r - r.mean()) ** 2)) for r in replicates]
    total = sum(parts)
    if total == 0.0:
        return Interval(estimate, estimate)
    freedom = total**2 / sum(part**2 / (len(r) - 1) for part, r in zip(parts, replicates, strict=True))
    half = float(special.stdtrit(freedom, 1.0 - (1.0 - level) / 2.0)) * math.sqrt(total)
    return Interval(estimate - half, estimate + half)


def group_masks(groups: NDArray[Any]) -> Mask:
    """For each group, in sorted order, which items belong to it: shape (G, n)."""
    names, place = np.unique(groups, return_inverse=True)
    masks: Mask = np.arange(len(names))[:, None] == place[None, :]
    return masks


def blocks(count: int, largest: int = 100) -> NDArray[np.int64]:
    """Group labels that divide `count` exchangeable items into at most `largest` even blocks, shape (count,)."""
    return np.arange(count, dtype=np.int64) % min(count, largest)


def subsamples(count: int, size: int, draws: int, rng: np.random.Generator) -> Mask:
    """Draws of `size` of `count` items without replacement, shape (draws, count).

    Raises:
        ValueError: More is asked for than there is.
    """
    if not 0 < size <= count:
        raise ValueError(f"cannot draw {size} of {count} without replacement")
    masks = np.zeros((draws, count), dtype=np.bool_)
    for mask in masks:
        mask[rng.permutation(count)[:size]] = True
    return masks


def patient_halves(groups: NDArray[Any], draws: int, rng: np.random.Generator) -> Mask:
    """Random halves of the patients: True for the images of the first half, shape (draws, n).

    With an odd number of patients the second half has one more.

    Raises:
        ValueError: There are fewer than two patients.
    """
    members = group_masks(groups)
    if len(members) < 2:
        raise ValueError("halves need two patients at least")
    return np.asarray(subsamples(len(members), len(members) // 2, draws, rng) @ members, dtype=np.bool_)


def upper_quantile(values: Sequence[float] | Floats, share: float) -> float:
    """The `ceil(share (n + 1))`-th smallest of n values, or the largest when that lies beyond it.

    A new value of the same source exceeds it with probability at most 1 - share, or 1/(n + 1) where n is too small
    (Vovk et al., Algorithmic Learning in a Random World, 2005, section 2.2).
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    rank = min(math.ceil(share * (len(ordered) + 1)), len(ordered))
    return float(ordered[rank - 1])
