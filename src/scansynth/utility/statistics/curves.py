"""ROC curves of the arms, with bands over patients and pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scansynth.utility.statistics.effects import Estimate, Outcome
from scansynth.utility.statistics.outcomes import Block, Part
from scansynth.utility.statistics.resampling import Counts, once, patient_draws, rank

Floats = NDArray[np.float64]

GRID: tuple[float, ...] = (*np.round(np.linspace(0.0, 0.2, 11), 3), *np.round(np.linspace(0.25, 1.0, 16), 3))
"""Rates of false alarms at which curves are drawn; finer where thresholds lie."""


@dataclass(frozen=True)
class Curve:
    """A curve on a fixed grid.

    Attributes:
        x: The grid.
        y: Mean over pairs.
        low: Lower end of the band, point by point.
        high: Upper end.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def curve_of(x: tuple[float, ...], points: list[Estimate]) -> Curve:
    """A curve from the estimates at its points."""
    return Curve(
        tuple(float(one) for one in x),
        tuple(one.value for one in points),
        tuple(one.interval.low for one in points),
        tuple(one.interval.high for one in points),
    )


def roc(part: Part, arm: int, pair: int, times: Counts) -> Floats:
    """Sensitivity at each rate of the grid, in each draw (grid, draws).

    Threshold and sensitivity are both of this part: the curve describes it, and decides nothing. Each point is the
    most that a threshold finds with no more false alarms; tied scores are called together.
    """
    scores, positive = part.scores[arm, pair], part.positive
    negatives, positives = (rank(scores[rows], times[rows]) for rows in (~positive, positive))
    rows = [positives.shares_above(negatives.ceilings(rate)) for rate in GRID if rate < 1.0]
    return np.stack([*rows, np.where(np.isnan(rows[0]), np.nan, 1.0)])


def roc_curves(block: Block, draws: int, level: float, rng: np.random.Generator) -> Mapping[str, Curve]:
    """The curve of every arm on test.

    Args:
        block: Both classes in test.
        draws: Of the patients.
        level: Of the bands, point by point.
        rng: Of this purpose.
    """
    test, plain = block.test, once(len(block.test.patients))
    drawn = patient_draws(test.patients, draws, rng)
    people, images = test.patients_with(True), int(test.positive.sum())
    found = {}
    for place, arm in enumerate(block.arms):
        values = np.stack([roc(test, place, pair, plain)[:, 0] for pair in range(block.pairs)])
        errors = np.stack([roc(test, place, pair, drawn) for pair in range(block.pairs)])
        errors = errors[..., np.isfinite(errors).all(axis=(0, 1))]
        found[arm] = curve_of(
            GRID,
            [Outcome(values[None, :, g], errors[None, :, g], people, images).arm(0, level) for g in range(len(GRID))],
        )
    return found
