"""Two sets that the same readers read among the same real images: which of them is told apart more easily."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from scansynth.reader.statistics.arms import Compared, compare_areas, judge
from scansynth.reader.statistics.counting import LEAST_IMAGES
from scansynth.reader.statistics.readings import Reading, table
from scansynth.reader.statistics.verdict import equivalence_level
from scansynth.statistics import Interval

SECOND = 2
"""The arm of the set that the study's own is compared with."""


def of_own_set(readings: Sequence[Reading]) -> tuple[list[Reading], int]:
    """The readings of real images and of the study's own set, and how many images the other set has."""
    others = {reading.image for reading in readings if reading.arm == SECOND}
    return [reading for reading in readings if reading.arm != SECOND], len(others)


def compare_sets(
    readings: Sequence[Reading], kept: Collection[str], names: tuple[str, str], margin: float, level: float
) -> dict[str, Any] | None:
    """The comparison as JSON holds it; none where one set was read.

    Args:
        readings: Of all readers, both sets.
        kept: The readers who count.
        names: Of the sets, the study's own first.
        margin: Largest difference of the AUC that does not matter.
        level: Of the intervals.
    """
    arms = {reading.image: reading.arm for reading in readings}
    if SECOND not in arms.values():
        return None
    whole = table(reading for reading in readings if reading.reader in kept)
    of_second = np.array([arms[image] == SECOND for image in whole.images], dtype=np.bool_)
    of_first = whole.synthetic & ~of_second
    seen = whole.answers > 0
    least = min((int(seen[:, part].sum(axis=1).min()) for part in (of_first, of_second, ~whole.synthetic)), default=0)
    row: dict[str, Any] = {"sets": list(names), "margin": margin, "outcome": Compared.NOT_ASSESSABLE.value}
    if len(whole.readers) < 2 or least < LEAST_IMAGES:
        return row | {"why": f"{LEAST_IMAGES} images of each set, and of the real ones, are needed of two readers."}
    first, second = (np.where(part[None, :], np.nan, whole.scores) for part in (of_second, of_first))
    found = compare_areas(first, second, whole.synthetic)
    verdict = judge(found, margin, level, names)
    wide, narrow = found.interval(level), found.interval(equivalence_level(level))
    return row | {
        "outcome": verdict.outcome.value,
        "why": verdict.why,
        "difference": found.value,
        "interval": _pair(wide),
        "equivalence_interval": _pair(narrow),
        "p": found.p,
        "equivalence_p": found.equivalence(margin),
        "standard_error": found.error,
        "degrees_of_freedom": min(found.freedom, 1e9),
        "auc": [arm.general.auc for arm in found.arms],
        "auc_intervals": [_pair(arm.general.interval(level)) for arm in found.arms],
        "readers": found.readers,
    }


def _pair(interval: Interval) -> list[float]:
    return [interval.low, interval.high]
