"""Do the detector's probabilities mean what they say? Temperature, reliability, and two errors with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from scansynth.utility.statistics.effects import Estimate, Outcome
from scansynth.utility.statistics.outcomes import Block
from scansynth.utility.statistics.resampling import Counts, once, patient_draws

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

BINS = 10
_EDGE = 1e-12
"""Probabilities nearer to 0 or 1 are taken for this near: their logit would have no end."""

_LEAST_LOG, _MOST_LOG = -4.0, 4.0
"""Of the temperature's natural logarithm: scores that part the classes wholly would have it 0."""


def logits(probabilities: Floats) -> Floats:
    """Log odds of probabilities, finite."""
    return np.asarray(logit(np.clip(probabilities, _EDGE, 1.0 - _EDGE)), dtype=np.float64)


def fit_temperature(probabilities: Floats, positive: Mask) -> float:
    """The temperature T with the least log loss of sigmoid(logit / T) (Guo et al., ICML 2017, section 4.2).

    The two classes have equal weight, because the detector learned from batches of one half each.

    Args:
        probabilities: Of the images of calibrate (n,), both classes among them.
        positive: Which show a lesion (n,).
    """
    z = logits(probabilities) * np.where(positive, 1.0, -1.0)

    def loss(log_temperature: float) -> float:
        each = np.logaddexp(0.0, -z / np.exp(log_temperature))
        return float(each[positive].mean() + each[~positive].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(_LEAST_LOG, _MOST_LOG), method="bounded").x))


def tempered(probabilities: Floats, temperature: float) -> Floats:
    """Probabilities after the temperature."""
    return np.asarray(expit(logits(probabilities) / temperature), dtype=np.float64)


@dataclass(frozen=True)
class Reliability:
    """How often it is true what is said to be so probable, in even bins of the probability.

    Both classes have equal weight, as in training: the probability at a prevalence of one half.

    Attributes:
        said: Mean probability of each bin (BINS,), NaN where it is empty.
        true: Share of positives in it (BINS,).
        weight: Share of the images in it (BINS,).
    """

    said: Floats
    true: Floats
    weight: Floats


def reliability(probabilities: Floats, positive: Mask) -> Reliability:
    """Of one detector."""
    said, true, weight = (
        part[:, 0] for part in _binned(probabilities, positive, class_weights(positive, once(len(positive))))
    )
    return Reliability(said, true, weight)


def class_weights(positive: Mask, times: Counts) -> Floats:
    """Weight of each image in each draw: each class adds up to one half (n, draws); NaN where it is absent."""
    rows = np.zeros(times.shape)
    for chosen in (positive, ~positive):
        with np.errstate(invalid="ignore", divide="ignore"):
            rows[chosen] = 0.5 * times[chosen] / times[chosen].sum(axis=0)
    return rows


def _binned(probabilities: Floats, positive: Mask, weights: Floats) -> tuple[Floats, Floats, Floats]:
    bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    member = (np.arange(BINS)[:, None] == bins[None, :]).astype(np.float64)
    weight = member @ weights
    with np.errstate(invalid="ignore", divide="ignore"):
        return (member * probabilities) @ weights / weight, (member * positive) @ weights / weight, weight


def calibration_errors(probabilities: Floats, positive: Mask, weights: Floats) -> Floats:
    """Expected calibration error and Brier score in each draw (2, draws).

    ECE: sum over bins of weight * |true - said| (Naeini et al., AAAI 2015). Brier: mean of (p - y)^2 (1950).

    Args:
        probabilities: Of the images (n,).
        positive: Which show a lesion (n,).
        weights: From `class_weights` (n, draws).
    """
    said, true, weight = _binned(probabilities, positive, weights)
    filled = np.where(weight == 0.0, 0.0, weight * np.abs(true - said))  # an empty bin errs in nothing
    return np.stack([filled.sum(axis=0), ((probabilities - positive) ** 2) @ weights])


@dataclass(frozen=True)
class ArmCalibration:
    """Of one arm.

    Attributes:
        temperatures: Fitted on calibrate, one a pair.
        ece: On test, after the temperature.
        brier: Likewise.
        raw_ece: Before the temperature.
        curve: Reliability over the images of all pairs, after the temperature.
    """

    temperatures: tuple[float, ...]
    ece: Estimate
    brier: Estimate
    raw_ece: Estimate
    curve: Reliability


def calibrations(block: Block, draws: int, level: float, rng: np.random.Generator) -> Mapping[str, ArmCalibration]:
    """Calibration of every arm on test; scores are probabilities 0..1.

    The temperature stays as it was fitted; patients of test are drawn.

    Args:
        block: Both classes in calibrate and test.
        draws: Of the patients.
        level: Of the intervals.
        rng: Of this purpose.
    """
    positive, count = block.test.positive, len(block.test.positive)
    drawn = class_weights(positive, patient_draws(block.test.patients, draws, rng))
    drawn, plain = drawn[:, np.isfinite(drawn).all(axis=0)], class_weights(positive, once(count))
    people = min(block.test.patients_with(True), block.test.patients_with(False))
    found = {}
    for place, arm in enumerate(block.arms):
        temperatures = [
            fit_temperature(block.calibrate.scores[place, k], block.calibrate.positive) for k in range(block.pairs)
        ]
        raw = block.test.scores[place]
        after = np.stack([tempered(raw[k], temperatures[k]) for k in range(block.pairs)])
        both = (*after, *raw)
        values = np.stack([calibration_errors(p, positive, plain) for p in both], axis=1)[..., 0]
        errors = np.stack([calibration_errors(p, positive, drawn) for p in both], axis=1)
        ece, brier = (Outcome(values[None, k], errors[None, k], people, count) for k in range(2))
        curve = reliability(after.ravel(), np.tile(positive, block.pairs))
        first, last = slice(block.pairs), slice(block.pairs, None)
        found[arm] = ArmCalibration(
            tuple(temperatures),
            ece.pairs(first).arm(0, level),
            brier.pairs(first).arm(0, level),
            ece.pairs(last).arm(0, level),
            curve,
        )
    return found
