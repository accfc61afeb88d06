"""Does each patient group appear as often as it should? The claim `fairness.share`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.audit.fairness.figures import NEEDED, Rows
from scansynth.audit.fairness.groups import Attribute, stated_patients
from scansynth.claims.claim import Claim, Control, Measurement, decide, floor_of, percent, sensible
from scansynth.metrics.attributes import GroupPredictor, ShareMeter, Shares
from scansynth.statistics import Interval, Mask, Verdict

NAME = "fairness.share"
MARGIN = math.log(1.25)
SKEW = 3.0
"""The planted fault: the odds of a group, times or divided by this."""

CONTROL_DRAWS = 20  # of each group, and each way
PLANTABLE = 5
"""Test patients that a group needs to be planted in other shares."""

Floats = NDArray[np.float64]


def log_disparities(shares: Shares, real: Floats, z: float, images: int) -> tuple[Floats, Floats, Floats]:
    """log(share in the set / share among the reals), low, value and high, each (G,).

    The interval is taken on the share, where it is even, and then brought to the logarithm. Nothing is below half an
    image: of an empty group no logarithm is known.
    """
    least = 0.5 / images
    low, high = (np.clip(shares.value + side * z * shares.error, least, 1.0) for side in (-1.0, 1.0))
    return np.log(low / real), np.log(np.maximum(shares.value, least) / real), np.log(high / real)


def largest(low: Floats, value: Floats, high: Floats) -> tuple[float, Interval]:
    """The largest of the absolute values, with ends that hold for all of them at once."""
    nearest = np.maximum(np.maximum(low, -high), 0.0)
    furthest = np.maximum(np.abs(low), np.abs(high))
    return float(np.abs(value).max()), Interval(float(nearest.max()), float(furthest.max()))


def quantile(level: float, comparisons: int, patients: int) -> float:
    """Two-sided t quantile, shared out among the comparisons (Bonferroni)."""
    return float(stats.t.ppf(1.0 - (1.0 - level) / (2.0 * comparisons), max(patients - 1, 5)))


def counts(made: int, predictor: GroupPredictor) -> Mapping[str, int]:
    """What a claim says of the numbers behind it."""
    patients = len(np.unique(predictor.patients))
    return {"synthetic images": made, "training images": len(predictor.truth), "training patients": patients}


def assess(
    attribute: Attribute,
    predictor: GroupPredictor,
    synthetic: Floats,
    test: Floats,
    test_patients: NDArray[Any],
    halves: Mask,
    level: float,
    comparisons: int,
    rng: np.random.Generator,
) -> tuple[Claim, Rows]:
    """Shares of the groups of one attribute, by the rule in `docs/evidence.md`.

    Args:
        attribute: Two judged groups at least.
        predictor: Learned on the training images for which it is stated.
        synthetic: Its predictions for the set (m, G).
        test: Its predictions for the test images (n, G).
        test_patients: Patient of each (n,).
        halves: First half of the test patients in each draw (draws, n).
        level: Of all intervals together.
        comparisons: How many there are.
        rng: Draws the planted sets.
    """
    meter, judged = ShareMeter(predictor), slice(0, attribute.judged)
    real = np.bincount(predictor.truth, minlength=predictor.count) / len(predictor.truth)
    patients = min(stated_patients(predictor.truth, predictor.patients, g) for g in range(attribute.judged))
    z = quantile(level, comparisons, patients)

    def of(said: Floats) -> tuple[Floats, Floats, Floats]:
        found = log_disparities(meter(said), real, z, len(said))
        return found[0][judged], found[1][judged], found[2][judged]

    shares, (low, value, high) = meter(synthetic), of(synthetic)
    figure, interval = largest(low, value, high)
    floor = np.array([np.abs(of(said)[1]).max() for said in _even(attribute, test, halves, real, len(synthetic), rng)])
    control, by_group = _planted(attribute, test, test_patients, real, len(synthetic), of, rng)
    measured = Measurement(
        value=figure,
        interval=interval,
        level=level,
        floor=floor_of("test patients, sampled with the shares of the training patients", floor),
        control=(control,),
        margin=MARGIN,
        n=counts(len(synthetic), predictor),
    )
    rows = _rows(attribute, predictor, real, shares.value, (low, value, high), by_group)
    return _claim(attribute, measured, rows), rows


def _rows(
    attribute: Attribute,
    predictor: GroupPredictor,
    real: Floats,
    shares: Floats,
    disparities: tuple[Floats, Floats, Floats],
    found: Mapping[int, float],
) -> Rows:
    """A row for each judged group; `disparities` are low, value and high."""
    low, value, high = disparities
    return {
        attribute.groups[place]: {
            "share_real": round(float(real[place]), 4),
            "share_fake": round(float(shares[place]), 4),
            "log_disparity": round(float(value[place]), 4),
            "interval": [round(float(low[place]), 4), round(float(high[place]), 4)],
            "told_apart": round(float(predictor.auc[place]), 3),
            "skew_found": found.get(place),
            NAME: _row_verdict(low[place], high[place]).value,
        }
        for place in range(attribute.judged)
    }


def _row_verdict(low: float, high: float) -> Verdict:
    if low > MARGIN or high < -MARGIN:
        return Verdict.REFUTED
    return Verdict.SHOWN if low >= -MARGIN and high <= MARGIN else Verdict.NOT_SHOWN


def _drawn(codes: NDArray[np.int64], target: Floats, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places of `size` images, drawn with replacement so that the groups have the target shares."""
    held = np.bincount(codes[codes >= 0], minlength=len(target))
    weight = np.where(codes >= 0, (target / np.maximum(held, 1))[codes], 0.0)
    return np.asarray(rng.choice(len(codes), size, p=weight / weight.sum()), dtype=np.int64)


def _even(
    attribute: Attribute, test: Floats, halves: Mask, real: Floats, size: int, rng: np.random.Generator
) -> list[Floats]:
    """Predictions of real sets that hold the groups as the training patients do, from half of the test patients."""
    parts = [np.where(half, attribute.test, -1) for half in halves]
    return [test[_drawn(codes, real, size, rng)] for codes in parts if (codes >= 0).any()]


def _planted(
    attribute: Attribute,
    test: Floats,
    patients: NDArray[Any],
    real: Floats,
    size: int,
    of: Any,
    rng: np.random.Generator,
) -> tuple[Control, Mapping[int, float]]:
    """The share of skewed real sets that are told from even ones and lie beyond the margin, in all and by group."""
    found: dict[int, float] = {}
    for group in range(attribute.judged):
        if stated_patients(attribute.test, patients, group) < PLANTABLE:
            continue
        hits = []
        for odds in (SKEW, 1.0 / SKEW):
            target = skewed(real, group, odds)
            for _ in range(CONTROL_DRAWS):
                low, value, high = of(test[_drawn(attribute.test, target, size, rng)])
                uneven = (low > 0.0) | (high < 0.0)
                hits.append(bool((uneven & (np.abs(value) > MARGIN)).any()))
        found[group] = round(float(np.mean(hits)), 3)
    least = min(found.values(), default=0.0)
    return Control("a group three times, or a third, as likely", least, NEEDED), found


def skewed(real: Floats, group: int, odds: float) -> Floats:
    """The shares (G,) with the odds of one group changed by a factor, the others in proportion."""
    own = real[group] / (1.0 - real[group]) * odds
    target = real * (1.0 / (1.0 + own)) / (1.0 - real[group])
    target[group] = own / (1.0 + own)
    return np.asarray(target, dtype=np.float64)


def _claim(attribute: Attribute, measured: Measurement, rows: Rows) -> Claim:
    group, row = max(rows.items(), key=lambda item: abs(item[1]["log_disparity"]))
    low, high = measured.interval.low, measured.interval.high
    start = (
        f"The largest difference is in the group {group}: {percent(row['share_real'])} of the training images and an "
        f"estimated {percent(row['share_fake'])} of the set. The shares differ by a factor of "
        f"{sensible(math.exp(measured.value))} ({measured.level:.0%} interval, joint over all groups, "
        f"{sensible(math.exp(low))} to {sensible(math.exp(high))}); the margin is a factor of 1.25."
    )
    return decide(
        NAME,
        measured,
        {
            Verdict.SHOWN: f"{start} So the set represents the groups by {attribute.name} as the training patients do.",
            Verdict.REFUTED: f"{start} So the set does not represent the groups by {attribute.name} as it should.",
            Verdict.NOT_SHOWN: f"{start} The data are inconclusive; more synthetic images or training "
            "patients would help.",
        },
    )
