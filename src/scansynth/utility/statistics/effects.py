"""What an arm gains: rates at the arm's own threshold, paired contrasts, and intervals that hold.

Patients and detectors are both drawn at random, so both are part of the variance. Pairs are to the trial what
readers are to a reader study, and the interval is that of Obuchowski and Rockette (Commun. Stat. Simul. 24, 1995)
with the degrees of freedom of Hillis (Stat. Med. 26, 2007), with the variance over patients taken from the
bootstrap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.statistics import Interval
from scansynth.utility.statistics.outcomes import Part
from scansynth.utility.statistics.resampling import Counts, aucs, once, patient_draws, rank

Floats = NDArray[np.float64]

LEAST_KEPT = 0.95
"""Share of the draws that must hold both classes; a draw that lacks one is left out."""


@dataclass(frozen=True)
class Estimate:
    """A figure, mean over pairs, with the interval over patients and pairs.

    Attributes:
        value: Mean over pairs.
        interval: Two-sided.
        error: Standard error.
        freedom: Degrees of freedom of the t quantile.
        p: Two-sided, of no effect.
        pairs: The figure of each pair.
        pair_spread: Standard deviation between pairs beyond what their patients explain.
    """

    value: float
    interval: Interval
    error: float
    freedom: float
    p: float
    pairs: tuple[float, ...]
    pair_spread: float


@dataclass(frozen=True)
class Outcome:
    """One figure of every arm and pair, in the data and in each draw of the patients.

    Attributes:
        values: (arms, pairs).
        draws: (arms, pairs, draws), without draws that lack a class.
        patients: Patients on whom the figure rests.
        images: Images (or lesions) on which it rests.
    """

    values: Floats
    draws: Floats
    patients: int
    images: int

    def pairs(self, chosen: slice) -> Outcome:
        """The figure of some pairs."""
        return replace(self, values=self.values[:, chosen], draws=self.draws[:, chosen])

    def arm(self, arm: int, level: float = 0.95) -> Estimate:
        """The figure of one arm, 0..1."""
        found = estimate(self.values[arm], self.draws[arm], self.patients, self.images, level)
        return replace(found, interval=Interval(max(found.interval.low, 0.0), found.interval.high))

    def contrast(self, arm: int, other: int, level: float = 0.95) -> Estimate:
        """Mean over pairs of one arm less the other, pair by pair."""
        values, draws = self.values[arm] - self.values[other], self.draws[arm] - self.draws[other]
        return estimate(values, draws, self.patients, self.images, level)


@dataclass(frozen=True)
class Outcomes:
    """All figures of a block.

    Attributes:
        sensitivity: Share of the positive test images that reach the threshold.
        false_alarms: Share of the negative test images that reach it.
        auc: On test.
        thresholds: From the negatives of calibrate (arms, pairs).
        kept: Share of the draws that held both classes in both roles.
    """

    sensitivity: Outcome
    false_alarms: Outcome
    auc: Outcome
    thresholds: Floats
    kept: float


def measure(calibrate: Part, test: Part, rate: float, draws: int, rng: np.random.Generator) -> Outcomes:
    """Rates and AUC of every arm and pair, with calibrate and test patients drawn jointly.

    The same draws serve all arms and pairs, and each draw derives its own thresholds.

    Args:
        calibrate: Must hold a negative.
        test: Must hold both classes.
        rate: Of false alarms on calibrate, 0..1.
        draws: Of the patients.
        rng: Of this purpose.
    """
    shape = test.scores.shape[:2]
    negative = ~calibrate.positive
    drawn = (patient_draws(calibrate.patients, draws, rng), patient_draws(test.patients, draws, rng))
    plain = (once(len(calibrate.patients)), once(len(test.patients)))
    figures: list[Floats] = []
    at = np.empty(shape)
    for here, (of_calibrate, of_test) in enumerate((plain, drawn)):
        found = np.empty((3, *shape, of_test.shape[1]))
        for arm, pair in np.ndindex(shape):
            limit = rank(calibrate.scores[arm, pair, negative], of_calibrate[negative]).thresholds(rate)
            found[:, arm, pair] = _figures(test.scores[arm, pair], test.positive, of_test, limit)
            if here == 0:
                at[arm, pair] = limit[0]
        figures.append(found)
    whole = np.isfinite(figures[1]).all(axis=(0, 1, 2))
    people = [test.patients_with(True), test.patients_with(False)]
    images = [int(test.positive.sum()), int((~test.positive).sum())]
    kept = figures[1][..., whole]
    people.append(min(people))
    images.append(min(images))
    gain, alarms, auc = (Outcome(figures[0][row, ..., 0], kept[row], people[row], images[row]) for row in range(3))
    return Outcomes(gain, alarms, auc, at, float(whole.mean()))


def _figures(scores: Floats, positive: NDArray[np.bool_], times: Counts, limit: Floats) -> Floats:
    """Sensitivity, false alarms and AUC of one detector in each draw (3, draws)."""
    found, negatives = rank(scores[positive], times[positive]), rank(scores[~positive], times[~positive])
    area = aucs(scores[positive], times[positive], negatives)
    return np.stack([found.shares_reaching(limit), negatives.shares_reaching(limit), area])


def estimate(values: Floats, draws: Floats, patients: int, images: int, level: float = 0.95) -> Estimate:
    """A figure over pairs and patients.

    With S2 the variance between pairs, and cov the mean covariance over patients of the figures of two pairs (from the
    draws), the variance of the mean of K pairs is S2/K + max(cov, 0): S2 holds what is a pair's own, whether luck or
    patients, and cov what all pairs owe to the same patients. Drawing the K pairs with replacement as well would give
    (K - 1)/K of S2, and a normal quantile where S2 has K - 1 degrees of freedom. Degrees of freedom by Satterthwaite.

    The error is never less than one image of the test: where two arms never differ, nothing else would be left of it,
    and so many images cannot tell less.

    Args:
        values: Of each pair (K,), two at least.
        draws: Of each pair in each draw of the patients (K, draws).
        patients: On whom the figure rests; their number less one is the freedom of cov.
        images: On which the figure rests.
        level: Of the interval.
    """
    pairs = len(values)
    value, own = float(values.mean()), float(values.var(ddof=1)) / pairs
    over_patients = float(draws.mean(axis=0).var())
    within = float((draws - draws.mean(axis=1, keepdims=True)).var(axis=0, ddof=1).mean())
    common = max(over_patients - within / pairs, images**-2.0 - own, 0.0)
    variance = own + common
    freedom = variance**2 / (own**2 / (pairs - 1) + common**2 / max(patients - 1, 1))
    error = math.sqrt(variance)
    half = float(stats.t.ppf(0.5 + level / 2.0, freedom)) * error
    return Estimate(
        value=value,
        interval=Interval(max(value - half, -1.0), min(value + half, 1.0)),
        error=error,
        freedom=freedom,
        p=float(2.0 * stats.t.sf(abs(value) / error, freedom)),
        pairs=tuple(float(one) for one in values),
        pair_spread=math.sqrt(max(own * pairs - within, 0.0)),
    )
