"""What a browser says of its times, held to the server's clock.

The page measures how long an image was looked at, and a script in its place may say anything. Between two answers of a
reader the server's clock shows how much time there was at most.
"""

from __future__ import annotations

import datetime
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

from scansynth.reader.statistics.readings import Reading

TOLERANCE = 2.0
"""Seconds by which a reported time may exceed what there was: answers travel, and not all equally fast."""


def longest(readings: Iterable[Reading]) -> Mapping[tuple[str, str], float]:
    """Seconds that each answer can have taken at most, by reader and item.

    The time since the reader's answer before, and what that one left of its own: without a network the page keeps one
    answer and lets the next be given, and then sends both at once. A reader's first answer has no bound, nor has the
    second, which may have waited with it.

    Args:
        readings: All of a study, repeats included, since each takes time.
    """
    own: dict[str, list[Reading]] = defaultdict(list)
    for reading in readings:
        own[reading.reader].append(reading)
    found: dict[tuple[str, str], float] = {}
    for reader, given in own.items():
        given.sort(key=lambda reading: reading.position)
        spare = math.inf
        found[reader, given[0].item] = math.inf
        for before, reading in pairwise(given):
            passed = max((_moment(reading) - _moment(before)).total_seconds(), 0.0)
            found[reader, reading.item] = passed + spare
            spare = max(passed - reading.seconds, 0.0)
    return found


def impossible(readings: Iterable[Reading]) -> Mapping[str, int]:
    """Answers of each reader that report more time than there was."""
    kept = tuple(readings)
    most = longest(kept)
    return Counter(
        reading.reader for reading in kept if reading.seconds > most[reading.reader, reading.item] + TOLERANCE
    )


def _moment(reading: Reading) -> datetime.datetime:
    return datetime.datetime.fromisoformat(reading.locked_at)
