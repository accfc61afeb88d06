"""Who counts: readers who answered enough of the images, by a rule fixed before anybody reads."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

from scansynth.reader.statistics.readings import Reading, Table, counted

LEAST_SHARE = 0.5
"""Of the images; a reader who answered fewer does not count, and one who answered more counts with what is there.

The order of each reader is random, so what was read before somebody left is a random part of the images."""

LEAST_IMAGES = 10
"""Of either class, for there to be a verdict at all."""


def counting(readings: Iterable[Reading], images: int, excluded: Collection[str] = ()) -> frozenset[str]:
    """The readers who count.

    Args:
        readings: Of all readers; repeats are passed over.
        images: That each was asked for, repeats not counted.
        excluded: Readers whose answers were set aside when they left, before the seal was opened.

    Returns:
        Whoever answered all images, or at least `LEAST_SHARE` of them with `LEAST_IMAGES` of either class.
    """
    seen: dict[str, Counter[bool]] = defaultdict(Counter)
    for reading in counted(readings):
        seen[reading.reader][reading.synthetic] += 1
    return frozenset(
        reader
        for reader, own in seen.items()
        if reader not in excluded
        and (
            own.total() >= images
            or (own.total() >= math.ceil(LEAST_SHARE * images) and min(own[True], own[False]) >= LEAST_IMAGES)
        )
    )


def finished(table: Table, images: int) -> tuple[str, ...]:
    """The readers who answered all images."""
    given = (table.answers > 0).sum(axis=1).tolist()
    return tuple(name for name, amount in zip(table.readers, given, strict=True) if amount >= images)
