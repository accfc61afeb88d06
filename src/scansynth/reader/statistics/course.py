"""The course of a reading: learning, fatigue, time, and the effect of breaks.

Figures of description: none of them decides anything, and no p value here is corrected for the number of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.reader.statistics.detection import FIRST_SYNTHETIC, Share
from scansynth.reader.statistics.readings import Reading

QUARTERS = 4
AFTER_BREAK = 5
"""Images after a proposed break that are compared with all others."""

QUICK = 1.0
"""Seconds in sight; an answer given sooner was hardly looked for."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trend:
    """Whether a figure rises or falls along the reading.

    Attributes:
        per_hundred: Change over a hundred images, in the figure's unit.
        z: Of the test, positive for a rise.
        p: Two-sided.
    """

    per_hundred: float
    z: float
    p: float

    def as_row(self) -> dict[str, float]:
        """The trend as JSON holds it."""
        return {"per_hundred_images": self.per_hundred, "z": self.z, "p": self.p}


def trend(places: Sequence[Floats], values: Sequence[Floats]) -> Trend | None:
    """Linear trend within readers, stratified by reader.

    The sum over readers of sum (x - mean x)(y - mean y), compared with its variance when every order of the values is
    as likely: sum S_xx S_yy / (n - 1) (Mantel, JASA 58, 1963; of yes and no it is the Cochran-Armitage test).

    Args:
        places: Position of each answer, one array a reader.
        values: The figure at each.

    Returns:
        None where nothing varies.
    """
    joint = variance = spread = 0.0
    for x, y in zip(places, values, strict=True):
        if len(x) < 2:
            continue
        dx, dy = x - x.mean(), y - y.mean()
        joint += float(dx @ dy)
        spread += float(dx @ dx)
        variance += float(dx @ dx) * float(dy @ dy) / (len(x) - 1)
    if variance == 0.0:
        return None
    z = joint / math.sqrt(variance)
    return Trend(100.0 * joint / spread, z, 2.0 * float(stats.norm.sf(abs(z))))


def by_reader(readings: Sequence[Reading]) -> list[list[Reading]]:
    """Each reader's answers in the order in which they were given."""
    names = sorted({reading.reader for reading in readings})
    order = sorted(readings, key=lambda reading: (reading.reader, reading.position))
    return [[reading for reading in order if reading.reader == name] for name in names]


def right(reading: Reading) -> bool:
    """Whether the image was called what it is."""
    return (reading.answer >= FIRST_SYNTHETIC) == reading.synthetic


def course(readings: Sequence[Reading], break_every: int, level: float) -> dict[str, Any]:
    """Learning, fatigue, time and breaks as JSON holds them.

    Args:
        readings: First answers (repeats would be known to the reader), of any readers.
        break_every: Images after which a break was proposed; 0: never.
        level: Of the intervals.
    """
    sides = by_reader(readings)
    places = [np.array([float(reading.position) for reading in own]) for own in sides]
    correct = [np.array([float(right(reading)) for reading in own]) for own in sides]
    called = [np.array([float(reading.answer >= FIRST_SYNTHETIC) for reading in own]) for own in sides]
    times = [np.array([math.log(max(reading.looked, 0.1)) for reading in own]) for own in sides]
    trends = {
        "right": trend(places, correct),
        "called_synthetic": trend(places, called),
        "log_seconds": trend(places, times),
    }
    return {
        "trends": {name: None if found is None else found.as_row() for name, found in trends.items()},
        "quarters": [_part(own, level) for own in _quarters(sides)],
        "seconds": _times(readings),
        "after_breaks": _breaks(sides, break_every, level),
        "readers": {own[0].reader: _reader(own) for own in sides},
    }


def _quarters(sides: list[list[Reading]]) -> list[list[Reading]]:
    """All readers' first quarters together, and so on."""
    parts: list[list[Reading]] = [[] for _ in range(QUARTERS)]
    for own in sides:
        for place, reading in enumerate(own):
            parts[place * QUARTERS // len(own)].append(reading)
    return [part for part in parts if part]


def _part(readings: Sequence[Reading], level: float) -> dict[str, Any]:
    """Share right, share called synthetic and middle time of some answers; the intervals pool readers."""
    good = Share(sum(right(reading) for reading in readings), len(readings))
    called = Share(sum(reading.answer >= FIRST_SYNTHETIC for reading in readings), len(readings))
    return {
        "answers": len(readings),
        "right": good.value,
        "right_interval": [good.wilson(level).low, good.wilson(level).high],
        "called_synthetic": called.value,
        "seconds": float(np.median([reading.looked for reading in readings])),
    }


def _times(readings: Sequence[Reading]) -> dict[str, Any]:
    """Middle seconds in sight by class and by being right, and how many answers were quick."""
    groups = {
        "all": list(readings),
        "synthetic": [reading for reading in readings if reading.synthetic],
        "real": [reading for reading in readings if not reading.synthetic],
        "right": [reading for reading in readings if right(reading)],
        "wrong": [reading for reading in readings if not right(reading)],
    }
    found: dict[str, Any] = {}
    for name, own in groups.items():
        if own:
            low, middle, high = np.quantile([reading.looked for reading in own], (0.1, 0.5, 0.9))
            found[name] = {"low": float(low), "median": float(middle), "high": float(high)}
    found["quick"] = sum(reading.looked < QUICK for reading in readings) / len(readings) if readings else None
    return found


def _breaks(sides: list[list[Reading]], break_every: int, level: float) -> dict[str, Any] | None:
    """The first images after a proposed break against all others; none where no break was proposed."""
    after: list[Reading] = []
    others: list[Reading] = []
    for own in sides:
        for reading in own:
            before = reading.position - 1  # positions count from 1, repeats with them
            fresh = break_every > 0 and before >= break_every and before % break_every < AFTER_BREAK
            (after if fresh else others).append(reading)
    if not after or not others:
        return None
    return {"after": _part(after, level), "others": _part(others, level), "images_each": AFTER_BREAK}


def _reader(own: Sequence[Reading]) -> dict[str, Any]:
    """One reader's trend and habits."""
    place = np.array([float(reading.position) for reading in own])
    found = trend([place], [np.array([float(right(reading)) for reading in own])])
    return {
        "right": None if found is None else found.as_row(),
        "seconds": float(np.median([reading.looked for reading in own])),
        "hidden_seconds": float(sum(reading.hidden_seconds for reading in own)),
        "window_changes": float(np.mean([reading.window_changes for reading in own])),
        "quick": float(np.mean([reading.looked < QUICK for reading in own])),
    }
