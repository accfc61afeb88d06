"""How alike answers are: of two readers on one image, and of one reader on an image that came twice.

Low agreement is expected of readers who guess. It says that answers do not come from the images; it does not say why.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.reader.detection import FIRST_SYNTHETIC
from scansynth.statistics import Interval

ANSWERS = 6
DRAWS = 1000
Floats = NDArray[np.float64]
Answers = NDArray[np.int64]


class Weights(StrEnum):
    """How much a disagreement counts, by its distance on the scale."""

    PLAIN = "plain"
    LINEAR = "linear"
    QUADRATIC = "quadratic"


def weights(kind: Weights, categories: int) -> Floats:
    """Cost of each pair of answers, 0 on the diagonal, (k, k) (Cohen, Psychol. Bull. 70, 1968)."""
    distance = np.abs(np.subtract.outer(np.arange(categories), np.arange(categories))).astype(np.float64)
    powers = {Weights.PLAIN: np.minimum(distance, 1.0), Weights.LINEAR: distance, Weights.QUADRATIC: distance**2}
    return np.asarray(powers[kind], dtype=np.float64)


def kappa(first: Answers, second: Answers, kind: Weights = Weights.PLAIN, categories: int = ANSWERS) -> float:
    """Cohen's kappa: 1 - observed cost / cost expected by chance (Cohen 1960, 1968).

    Not a number where chance alone explains everything: both gave one and the same answer to all images.

    Args:
        first: Answers 1..categories, (n,), n >= 1.
        second: The other's, (n,).
        kind: How disagreements are weighted.
        categories: Of the scale.
    """
    table = np.zeros((categories, categories))
    np.add.at(table, (first - 1, second - 1), 1.0)
    return _kappa(table, weights(kind, categories))


def _kappa(table: Floats, cost: Floats) -> float:
    expected = float(table.sum(axis=1) @ cost @ table.sum(axis=0)) / float(table.sum())
    return float("nan") if expected == 0.0 else 1.0 - float((table * cost).sum()) / expected


@dataclass(frozen=True)
class Agreement:
    """Mean over pairs of readers, or over readers.

    Attributes:
        what: Between whom.
        pairs: How many pairs the mean is over.
        images: Images that a pair shares, on average.
        same: Share of the images with the same answer of six.
        same_side: Share with the same of real and synthetic.
        kappas: Of the answers by weighting, and `two answers` for real against synthetic; only numbers.
        intervals: Of each kappa and of `same_side`, percentiles over images; only where they exist.
    """

    what: str
    pairs: int
    images: float
    same: float
    same_side: float
    kappas: dict[str, float]
    intervals: dict[str, Interval]

    def as_row(self) -> dict[str, Any]:
        """The agreement as JSON holds it."""
        return {
            "what": self.what,
            "pairs": self.pairs,
            "images": self.images,
            "same": self.same,
            "same_side": self.same_side,
            "kappas": self.kappas,
            "intervals": {name: [i.low, i.high] for name, i in self.intervals.items()},
        }


_COSTS = {kind.value: weights(kind, ANSWERS) for kind in Weights}
_TWO = np.arange(ANSWERS) + 1 >= FIRST_SYNTHETIC
_COSTS["two answers"] = (_TWO[:, None] != _TWO[None, :]).astype(np.float64)


def _figures(tables: Floats) -> dict[str, float]:
    """Means over tables (pairs, 6, 6); tables without any image count for nothing."""
    full = [table for table in tables if table.sum() > 0]
    found: dict[str, list[float]] = {name: [_kappa(table, cost) for table in full] for name, cost in _COSTS.items()}
    found["same"] = [float(np.trace(table) / table.sum()) for table in full]
    found["same_side"] = [float(1.0 - (table * _COSTS["two answers"]).sum() / table.sum()) for table in full]
    return {name: float(np.nanmean(v)) if not np.all(np.isnan(v)) else float("nan") for name, v in found.items()}


def _agreement(
    what: str, codes: list[Answers], places: list[Answers], images: int, level: float, rng: np.random.Generator
) -> Agreement:
    """Agreement of pairs of answers, and its bootstrap over images.

    Args:
        what: Between whom.
        codes: For each pair of readers, 6 (first - 1) + second - 1 of each shared image.
        places: For each pair, which image that is.
        images: Number of different images.
        level: Of the intervals.
        rng: Draws the images with replacement; what is drawn twice counts twice.
    """
    cells = ANSWERS * ANSWERS

    def tables(times: Floats) -> Floats:
        counted = [np.bincount(c, weights=times[p], minlength=cells) for c, p in zip(codes, places, strict=True)]
        return np.stack(counted).astype(np.float64).reshape(-1, ANSWERS, ANSWERS)

    found = _figures(tables(np.ones(images)))
    drawn = [
        _figures(tables(np.bincount(rng.integers(images, size=images), minlength=images).astype(np.float64)))
        for _ in range(DRAWS)
    ]
    intervals = {}
    for name in (*_COSTS, "same_side"):
        values = np.array([draw[name] for draw in drawn])
        values = values[~np.isnan(values)]
        if len(values) > DRAWS // 2 and not np.isnan(found[name]):
            low, high = np.quantile(values, ((1 - level) / 2, (1 + level) / 2))
            intervals[name] = Interval(float(low), float(high))
    kappas = {name: found[name] for name in _COSTS if not np.isnan(found[name])}
    shared = float(np.mean([len(place) for place in places]))
    return Agreement(what, len(codes), shared, found["same"], found["same_side"], kappas, intervals)


def between(answers: Answers, level: float, rng: np.random.Generator) -> Agreement | None:
    """Agreement between readers on the same images, the mean over all pairs; none with one reader.

    Args:
        answers: 1..6, (R, C).
        level: Of the intervals.
        rng: For the bootstrap over images.
    """
    readers, images = answers.shape
    if readers < 2:
        return None
    couples = list(itertools.combinations(range(readers), 2))
    codes = [ANSWERS * (answers[a] - 1) + answers[b] - 1 for a, b in couples]
    return _agreement("between readers", codes, [np.arange(images)] * len(couples), images, level, rng)


def within(pairs: list[NDArray[Any]], level: float, rng: np.random.Generator) -> Agreement | None:
    """Agreement of readers with themselves on images that came twice; none where no image did.

    Args:
        pairs: For each reader rows of image, first answer, second answer, (k, 3); k may be 0.
        level: Of the intervals.
        rng: For the bootstrap over images.
    """
    kept = [np.asarray(rows, dtype=np.int64) for rows in pairs if len(rows)]
    if not kept:
        return None
    names = np.unique(np.concatenate([rows[:, 0] for rows in kept]))
    codes = [ANSWERS * (rows[:, 1] - 1) + rows[:, 2] - 1 for rows in kept]
    places: list[Answers] = [np.asarray(np.searchsorted(names, rows[:, 0]), dtype=np.int64) for rows in kept]
    return _agreement("of readers with themselves", codes, places, len(names), level, rng)
