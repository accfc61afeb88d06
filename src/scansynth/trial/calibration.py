"""Do the detector's probabilities mean what they say? Temperature, reliability, and two errors with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from scansynth.trial.effects import Estimate, Outcome
from scansynth.trial.outcomes import Block
from scansynth.trial.resampling import Counts, once, patient_draws

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

BINS = 10
_EDGE = 1e-7
"""Probabilities nearer to 0 or 1 are taken for this near: their logit would have no end."""

_LEAST_LOG, _MOST_LOG = -4.0, 4.0
"""Of the temperature's natural logarithm: scores that part the classes wholly would have it 0."""


def logits(probabilities: Floats) -> Floats:
    """Log odds of probabilities, finite."""
    return np.asarray(logit(np.clip(probabilities, _EDGE, 1.0 - _EDGE)), dtype=np.float64)


def fit_temperature(probabilities: Floats, positive: Mask) -> float:
    """The temperature T with the least log loss of sigmoid(logit / T) (Guo et al., ICML 2017, section 4.2).

    The two classes weigh the same, because the detector learned from batches of one half each.

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

    Both classes weigh the same, as in training: the probability is that among as many positives as negatives.

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
    said, true, weight = (part[:, 0] for part in _binned(probabilities, positive, once(len(positive))))
    return Reliability(said, true, weight)


def _weights(positive: Mask, times: Counts) -> Floats:
    """Weight of each image in each draw: each class adds up to one half (n, draws)."""
    rows = np.zeros(times.shape)
    for chosen in (positive, ~positive):
        with np.errstate(invalid="ignore", divide="ignore"):
            rows[chosen] = 0.5 * times[chosen] / times[chosen].sum(axis=0)
    return rows


def _binned(probabilities: Floats, positive: Mask, times: Counts) -> tuple[Floats, Floats, Floats]:
    weights = _weights(positive, times)
    bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    member = (np.arange(BINS)[:, None] == bins[None, :]).astype(np.float64)
    weight = member @ weights
    with np.errstate(invalid="ignore", divide="ignore"):
        return (member * probabilities) @ weights / weight, (member * positive) @ weights / weight, weight


def calibration_errors(probabilities: Floats, positive: Mask, times: Counts) -> tuple[Floats, Floats]:
    """Expected calibration error and Brier score in each draw, 2 x (draws,), with both classes weighing the same.

    ECE: sum over bins of weight * |true - said| (Naeini et al., AAAI 2015). Brier: mean of (p - y)^2 (1950).
    """
    said, true, weight = _binned(probabilities, positive, times)
    brier = ((probabilities - positive) ** 2) @ _weights(positive, times)
    return np.nansum(weight * np.abs(true - said), axis=0), np.asarray(brier, dtype=np.float64)


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

    def as_json(self) -> dict[str, Any]:
        """JSON as it stands; an empty bin has no figures."""
        bins = [
            {"said": float(said), "true": float(true), "weight": float(weight)}
            for said, true, weight in zip(self.curve.said, self.curve.true, self.curve.weight, strict=True)
            if weight > 0
        ]
        figures = {
            name: {"value": one.value, "interval": [one.interval.low, one.interval.high]}
            for name, one in (("ece", self.ece), ("brier", self.brier), ("raw_ece", self.raw_ece))
        }
        return {"temperatures": list(self.temperatures), **figures, "bins": bins}


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
    drawn, plain = patient_draws(block.test.patients, draws, rng), once(count)
    people = min(block.test.patients_with(True), block.test.patients_with(False))
    found = {}
    for place, arm in enumerate(block.arms):
        temperatures = [
            fit_temperature(block.calibrate.scores[place, k], block.calibrate.positive) for k in range(block.pairs)
        ]
        raw = block.test.scores[place]
        after = np.stack([tempered(raw[k], temperatures[k]) for k in range(block.pairs)])
        values = np.array([[calibration_errors(p, positive, plain) for p in (*after, *raw)]])[0, :, :, 0]
        errors = np.array([calibration_errors(p, positive, drawn) for p in (*after, *raw)])
        whole = np.isfinite(errors).all(axis=(0, 1))

        def of(row: int, first: int, values: Floats = values, errors: Floats = errors[..., whole]) -> Estimate:
            span = slice(first, first + block.pairs)
            return Outcome(values[None, span, row], errors[None, span, row], people, count).arm(0, level)

        curve = reliability(after.ravel(), np.tile(positive, block.pairs))
        found[arm] = ArmCalibration(tuple(temperatures), of(0, 0), of(1, 0), of(0, block.pairs), curve)
    return found
