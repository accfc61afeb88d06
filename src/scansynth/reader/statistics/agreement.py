"""Agreement: of two readers on one image, and of one reader on an image shown twice.

Low agreement is expected of readers who guess. It says that answers do not come from the images; it does not say why.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.reader.statistics.detection import FIRST_SYNTHETIC
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
    return float(_kappas(table, weights(kind, categories)))


def _kappas(tables: Floats, cost: Floats) -> Floats:
    """Kappa of each table of counts, (..., k, k) to (...); not a number where it does not exist."""
    total = tables.sum(axis=(-2, -1))
    seen = (tables * cost).sum(axis=(-2, -1))
    by_chance = np.einsum("...i,ij,...j->...", tables.sum(axis=-1), cost, tables.sum(axis=-2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(by_chance > 0.0, 1.0 - seen * total / by_chance, np.nan), dtype=np.float64)


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
_NAMES = (*_COSTS, "same", "same_side")
_PAIRS_AT_ONCE = 50  # tables of a thousand draws and this many pairs take 14 MB


def _figures(tables: Floats) -> dict[str, Floats]:
    """Each figure of tables (draws, pairs, 6, 6), (draws, pairs)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {name: _kappas(tables, cost) for name, cost in _COSTS.items()}
        total = tables.sum(axis=(-2, -1))
        found["same"] = np.trace(tables, axis1=-2, axis2=-1) / total
        found["same_side"] = 1.0 - (tables * _COSTS["two answers"]).sum(axis=(-2, -1)) / total
    return found


def _means(codes: list[Answers], places: list[Answers], times: Floats) -> dict[str, Floats]:
    """Means over the pairs, (draws,); a pair whose figure does not exist in a draw counts for nothing in it.

    Args:
        codes: For each pair, 6 (first - 1) + second - 1 of each shared image.
        places: For each pair, which image that is.
        times: How often each image counts, (draws, images).
    """
    cells = ANSWERS * ANSWERS
    sums = {name: np.zeros((2, len(times))) for name in _NAMES}
    for start in range(0, len(codes), _PAIRS_AT_ONCE):
        part = range(start, min(start + _PAIRS_AT_ONCE, len(codes)))
        marks = np.zeros((len(part), times.shape[1], cells))
        for own, pair in zip(marks, part, strict=True):
            np.add.at(own, (places[pair], codes[pair]), 1.0)
        tables = np.tensordot(times, marks, axes=(1, 1)).reshape(len(times), len(part), ANSWERS, ANSWERS)
        for name, values in _figures(tables).items():
            known = ~np.isnan(values)
            sums[name] += np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: total / count for name, (total, count) in sums.items()}


def _agreement(
    what: str, codes: list[Answers], places: list[Answers], images: int, level: float, rng: np.random.Generator
) -> Agreement:
    """Agreement of pairs of answers, and its bootstrap over images: what is drawn twice counts twice."""
    found = {name: float(values[0]) for name, values in _means(codes, places, np.ones((1, images))).items()}
    times = rng.multinomial(images, np.full(images, 1.0 / images), size=DRAWS).astype(np.float64)
    intervals = {}
    for name, values in _means(codes, places, times).items():
        kept = values[~np.isnan(values)]
        if name != "same" and len(kept) > DRAWS // 2 and not np.isnan(found[name]):
            low, high = np.quantile(kept, ((1 - level) / 2, (1 + level) / 2))
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
    """Agreement within readers on images that came twice; none where no image did.

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
    return _agreement("within readers", codes, places, len(names), level, rng)
