"""Controls of a reader study: planted differences, use of the scale, and the chance level."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.claims.claim import Control, Floor, floor_of
from scansynth.reader.statistics.course import QUICK
from scansynth.reader.statistics.mrmc import average
from scansynth.reader.statistics.readings import Reading, Table
from scansynth.reader.statistics.roc import Floats, Mask
from scansynth.reader.statistics.verdict import Outcome, decide

PLANTED_DRAWS, PLANTED_NEEDED = 100, 0.8
SHUFFLES = 1000
MONOTONE = 0.95
"""A reader who gives one answer to more of the images than this did not use the scale."""

LOOKED_NEEDED = 0.95
"""Share of the answers that need more than `QUICK` seconds of looking."""

_LARGEST = 0.4  # planted distance from chance, however wide the margin


def floor(table: Table, rng: np.random.Generator) -> Floor:
    """Distance of the readers' mean AUC from 0.5 when the truth is shuffled among the images."""
    seen = table.answers > 0
    ranks = np.where(seen, stats.rankdata(table.scores, axis=1, nan_policy="omit"), 0.0)
    draws = np.empty(SHUFFLES)
    for place in range(SHUFFLES):
        synthetic = table.synthetic[rng.permutation(len(table.synthetic))].astype(np.float64)
        made = seen @ synthetic
        real = seen.sum(axis=1) - made
        pairs = ranks @ synthetic - made * (made + 1.0) / 2.0
        draws[place] = abs(float(np.mean(pairs / (made * real))) - 0.5)
    return floor_of("the same answers, with randomly permuted truth", draws)


def plant(answers: NDArray[np.int64], synthetic: Mask, distance: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Answers of readers who see something: to some of the synthetic images the highest of several own answers.

    The highest of k + 1 answers beats another one with chance (k + 1)/(k + 2), so that in a share of the images it
    makes the AUC 0.5 + `distance`, less what ties blunt. A reader who always says the same is not changed.

    Args:
        answers: Without any difference; 0 where there is none, (R, C).
        synthetic: Class of each image, (C,).
        distance: Of the AUC from 0.5, at most 0.4.
        rng: Draws which images and answers.
    """
    more = max(math.ceil((0.5 + distance) / (0.5 - distance)) - 1, 1)
    share = distance / ((more + 1) / (more + 2) - 0.5)
    planted = answers.copy()
    for own in planted:
        given = own[own > 0]
        raised = np.flatnonzero(synthetic & (own > 0) & (rng.random(len(own)) < share))
        others = given[rng.integers(len(given), size=(more, len(raised)))]
        own[raised] = np.maximum(own[raised], others.max(axis=0))
    return planted


def found_when_planted(table: Table, margin: float, level: float, rng: np.random.Generator) -> Control:
    """Share of the draws in which a difference of twice the margin is found in the readers' own answers.

    The truth is shuffled first, so that what is planted is all there is.
    """
    distance = min(2.0 * margin, _LARGEST)
    found = 0
    for _ in range(PLANTED_DRAWS):
        synthetic = table.synthetic[rng.permutation(len(table.synthetic))]
        planted = plant(table.answers, synthetic, distance, rng)
        estimate = average(np.where(planted > 0, planted, np.nan), synthetic).general
        found += decide(estimate, margin, level).outcome is Outcome.DISTINGUISHABLE
    return Control(f"an AUC of {0.5 + distance:.2f} planted in the answers", found / PLANTED_DRAWS, PLANTED_NEEDED)


def used_the_scale(answers: NDArray[np.int64]) -> Floats:
    """Whether each reader gave more than one answer often enough, 1 or 0, (R,); an answer of 0 is none."""
    most = [np.bincount(own[own > 0]).max() / (own > 0).sum() for own in answers]
    return (np.array(most) <= MONOTONE).astype(np.float64)


def asked_of_readers(
    table: Table, readings: tuple[Reading, ...], longest: Mapping[tuple[str, str], float]
) -> tuple[Control, ...]:
    """That all readers used the scale, and that answers were looked for.

    Args:
        table: Of the readers who count.
        readings: The answers that count.
        longest: What each can have taken at most; see `arrival.longest`.
    """
    kept = set(table.readers)
    looked = [
        min(reading.seconds, longest[reading.reader, reading.item]) - reading.hidden_seconds >= QUICK
        for reading in readings
        if reading.reader in kept
    ]
    return (
        Control("readers who used more than one answer", float(used_the_scale(table.answers).mean()), 1.0),
        Control(f"answers after {QUICK:g} second of looking or more", float(np.mean(looked)), LOOKED_NEEDED),
    )
