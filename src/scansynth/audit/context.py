"""What every question hears: the exhibits, the judges, and the draws that all of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.encoders import Encoder, Panel
from scansynth.audit.material import MOST_IMAGES, Exhibits, Images, Reals
from scansynth.config import EvidenceSettings
from scansynth.seeds import generator
from scansynth.statistics import Mask, patient_halves

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """What one judge sees.

    Attributes:
        judge: Its name.
        encode: Its features of other images.
        synthetic: Features of the hearing's synthetic images (m, d).
        real: Features of the hearing's test images (n, d).
    """

    judge: str
    encode: Encoder
    synthetic: Floats
    real: Floats


@dataclass(frozen=True)
class Hearing:
    """One set before the court.

    Attributes:
        exhibits: Everything that was gathered; the search for copies and membership look at all of it.
        settings: Draws, level, pairs.
        seed: Every draw derives from it.
        synthetic: At most `MOST_IMAGES` synthetic images.
        real: At most `MOST_IMAGES` test images, none where there are too few.
        halves: First half of the test patients in each draw (draws, n).
        views: One for each judge; none where there is nothing to compare.
        embed: See `Panel`.
    """

    exhibits: Exhibits
    settings: EvidenceSettings
    seed: int
    synthetic: Images
    real: Reals
    halves: Mask
    views: tuple[View, ...]
    embed: Encoder | None

    def rng(self, *what: str) -> np.random.Generator:
        """Random numbers for one purpose, the same whatever else is drawn."""
        return generator(self.seed, "evidence", *what)


def at_most(count: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places of at most `most` of `count` items, drawn without replacement, in order."""
    chosen: NDArray[np.int64] = np.sort(rng.permutation(count)[:most])
    return chosen


def open_hearing(exhibits: Exhibits, panel: Panel, settings: EvidenceSettings, seed: int) -> Hearing:
    """The hearing of exhibits whose test role holds two patients at least; an empty panel encodes nothing."""
    made = exhibits.synthetic[at_most(len(exhibits.synthetic), MOST_IMAGES, generator(seed, "evidence", "set"))]
    kept = at_most(len(exhibits.test.images), MOST_IMAGES, generator(seed, "evidence", "test"))
    real = _part(exhibits.test, kept)
    several = real.patient_count > 1
    halves = (
        patient_halves(real.patients, settings.draws, generator(seed, "evidence", "halves"))
        if several
        else np.zeros((0, len(kept)), dtype=np.bool_)
    )
    views = tuple(
        View(judge.name, judge.encode, judge.encode(made), judge.encode(real.images))
        for judge in panel.judges
        if several
    )
    return Hearing(exhibits, settings, seed, made, real, halves, views, panel.embed)


def _part(reals: Reals, places: NDArray[Any]) -> Reals:
    return Reals(tuple(reals.cases[place] for place in places), reals.images[places])
