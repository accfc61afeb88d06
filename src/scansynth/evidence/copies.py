"""Does the set give away training patients? The claim `copies.flag_rate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.evidence.claims import Claim, Control, Finding, Measurement, decide, floor_of, percent
from scansynth.statistics import (
    Verdict,
    binomial_upper,
    clopper_pearson,
    clustered_share_variance,
    effective_trials,
    patient_halves,
    upper_quantile,
)

NAME = "copies.flag_rate"
NEEDED = 0.95
"""Share of the planted copies of each kind that must pass the threshold."""

QUANTILE = 0.99
SPLITS = 100
LARGEST_MARGIN = 0.10
"""A set with more than one flagged image in ten is never called free of copies, however few patients there are."""

CONTROL_IMAGES = 100

HELD_OUT = "images kept for thresholds"
"""What a claim calls the number of calibrate images."""

LEAST_PATIENTS = 20
LEAST_IMAGES = 40
"""Of the role calibrate: with half as many, one honest set in five reads `refuted` (`docs/evidence.md`)."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Thresholds:
    """Thresholds from half of the calibrate patients, and what they do to the other half.

    Attributes:
        values: One for each half of each split (2 splits,).
        held_out: Share of the held-out images above each (2 splits,).
        hits: How often each image was above its threshold when held out, 0..1, (n,).
    """

    values: Floats
    held_out: Floats
    hits: Floats

    def rates(self, scores: Floats) -> Floats:
        """Share of scores above each threshold, (2 splits,)."""
        ordered = np.sort(scores)
        rates: Floats = 1.0 - np.searchsorted(ordered, self.values, side="right") / len(ordered)
        return rates


def cross_fit(scores: Floats, patients: NDArray[Any], rng: np.random.Generator) -> Thresholds:
    """Thresholds and held-out rates from calibrate patients, each half in turn.

    Args:
        scores: Nearest-training score of each calibrate image (n,).
        patients: Patient of each (n,), two at least.
        rng: Draws the halves.
    """
    values, held_out, hits = [], [], np.zeros(len(scores))
    for half in patient_halves(patients, SPLITS, rng):
        for fit in (half, ~half):
            threshold = upper_quantile(scores[fit], QUANTILE)
            above = scores[~fit] > threshold
            values.append(threshold)
            held_out.append(above.mean())
            hits[~fit] += above / SPLITS
    return Thresholds(np.array(values), np.array(held_out), hits)


def assess(
    synthetic: Floats,
    calibrate: Floats,
    patients: NDArray[Any],
    planted: Mapping[str, Floats],
    n: Mapping[str, int],
    level: float,
    rng: np.random.Generator,
) -> Finding:
    """Flag rate of a set, by the rule in `docs/evidence.md`.

    Args:
        synthetic: Nearest-training score of each synthetic image (m,).
        calibrate: The same of each calibrate image (h,).
        patients: Patient of each calibrate image (h,).
        planted: Scores of planted copies, by kind.
        n: Numbers of images and patients of the training role, to be shown.
        level: Of the interval.
        rng: Draws the halves.
    """
    fitted = cross_fit(calibrate, patients, rng)
    # the luck of the set is in the interval, the luck of the calibrate patients in the margin: each counts once
    value, made = float(fitted.rates(synthetic).mean()), len(synthetic)
    chance = float(fitted.hits.mean())
    independent = effective_trials(chance, clustered_share_variance(fitted.hits, patients), len(calibrate))
    bound = binomial_upper(chance * independent, independent)
    measured = Measurement(
        value=value,
        interval=clopper_pearson(value * made, made, level),
        level=level,
        floor=floor_of(
            "images of patients kept for setting thresholds that pass the threshold by chance", fitted.held_out
        ),
        control=tuple(Control(kind, float(fitted.rates(scores).mean()), NEEDED) for kind, scores in planted.items()),
        margin=min(bound, LARGEST_MARGIN),
        n={
            "synthetic images": len(synthetic),
            **n,
            HELD_OUT: len(calibrate),
            "patients kept for thresholds": len(np.unique(patients)),
        },
    )
    pictures = {
        "synthetic": [round(float(score), 5) for score in synthetic],
        "held_out": [round(float(score), 5) for score in calibrate],
        "threshold": float(np.median(fitted.values)),
    }
    return Finding(_claim(measured, chance), {"nearest_train_ncc": pictures})


def tail(scores: Floats, calibrate: Floats) -> Floats:
    """How rare such closeness is by chance: (1 + calibrate images as close) / (H + 1), (m,)."""
    as_close = len(calibrate) - np.searchsorted(np.sort(calibrate), scores, side="left")
    return np.asarray((1.0 + as_close) / (len(calibrate) + 1.0), dtype=np.float64)


def _claim(measured: Measurement, chance: float) -> Claim:
    interval, held_out = measured.interval, measured.n[HELD_OUT]
    start = (
        f"{percent(measured.value)} of the synthetic images are unusually close to a training image "
        f"({measured.level:.0%} interval {percent(interval.low)} to {percent(interval.high)}). "
        f"Of real images of patients never trained on, {percent(chance)} are. The limit is {percent(measured.margin)}. "
        f"With {held_out} such images, nothing finer than 1 in {held_out + 1} can be told."
    )
    return decide(
        NAME,
        measured,
        {
            Verdict.SHOWN: f"{start} So no more are close than by chance; this is no proof of anonymity.",
            Verdict.REFUTED: f"{start} So some are likely copies: look at the pairs, and do not release the set.",
            Verdict.NOT_SHOWN: f"{start} The data do not decide; look at the pairs.",
        },
    )
