"""What every question receives: the images compared, the judges, and the random draws that all share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.compared import MOST_IMAGES, Compared, Images, Reals
from scansynth.audit.encoders import Encoder, Encoders
from scansynth.config import EvidenceSettings
from scansynth.seeds import generator
from scansynth.statistics import Mask, patient_halves

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """The features of one judge.

    Attributes:
        judge: Its name.
        encode: Its features of other images.
        synthetic: Features of the context's synthetic images (m, d).
        real: Features of the context's test images (n, d).
    """

    judge: str
    encode: Encoder
    synthetic: Floats
    real: Floats


@dataclass(frozen=True)
class Context:
    """One set under audit.

    Attributes:
        compared: All images gathered; the copy search and membership inference use all of them.
        settings: Draws, level, pairs.
        seed: All random numbers derive from it.
        synthetic: At most `MOST_IMAGES` synthetic images.
        real: At most `MOST_IMAGES` test images, none where there are too few.
        halves: First half of the test patients in each draw (draws, n).
        views: One for each judge; none where there is nothing to compare.
        embed: See `Encoders`.
    """

    compared: Compared
    settings: EvidenceSettings
    seed: int
    synthetic: Images
    real: Reals
    halves: Mask
    views: tuple[View, ...]
    embed: Encoder | None

    def rng(self, *what: str) -> np.random.Generator:
        """Random numbers for one purpose, independent of all others."""
        return generator(self.seed, "evidence", *what)


def at_most(count: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Sorted indices of at most `most` of `count` items, drawn without replacement."""
    chosen: NDArray[np.int64] = np.sort(rng.permutation(count)[:most])
    return chosen


def open_context(compared: Compared, encoders: Encoders, settings: EvidenceSettings, seed: int) -> Context:
    """The context; the test role must hold at least two patients. Without encoders there are no views."""
    made = compared.synthetic[at_most(len(compared.synthetic), MOST_IMAGES, generator(seed, "evidence", "set"))]
    kept = at_most(len(compared.test.images), MOST_IMAGES, generator(seed, "evidence", "test"))
    real = _part(compared.test, kept)
    several = real.patient_count > 1
    halves = (
        patient_halves(real.patients, settings.draws, generator(seed, "evidence", "halves"))
        if several
        else np.zeros((0, len(kept)), dtype=np.bool_)
    )
    views = tuple(
        View(judge.name, judge.encode, judge.encode(made), judge.encode(real.images))
        for judge in encoders.judges
        if several
    )
    return Context(compared, settings, seed, made, real, halves, views, encoders.embed)


def _part(reals: Reals, places: NDArray[Any]) -> Reals:
    return Reals(tuple(reals.cases[place] for place in places), reals.images[places])
