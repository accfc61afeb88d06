"""Made-up readings with marks, and the lesions of their images."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import numpy as np
from made_readings import BEGUN

from scansynth.reader.marks import Mark, written
from scansynth.reader.statistics.readings import Reading

ROWS = 64


def reading(reader: str, number: int, synthetic: bool, position: int, marks: list[Mark], **changes: Any) -> Reading:
    one = Reading(
        reader=reader,
        item=f"{reader}-{number}-{synthetic}",
        position=position,
        synthetic=synthetic,
        label="nodule",
        case=f"{number:03d}",
        patient="" if synthetic else f"patient {number // 2}",
        repeat_of="",
        answer=3,
        second=None,
        confidence=None,
        seconds=4.0,
        hidden_seconds=0.0,
        window_changes=0,
        locked_at=(BEGUN + datetime.timedelta(seconds=5 * position)).isoformat(),
        arm=int(synthetic),
        marks=written(marks),
    )
    return replace(one, **changes)


def lesion_of(number: int) -> tuple[float, float, float]:
    return 10.0 + number % 30, 20.0 + number % 17, 4.0


def outlines(count: int = 40, every: int = 2, synthetic: bool = True) -> dict[tuple[bool, str], Any]:
    """Each second image has a lesion."""
    kinds = (False, True) if synthetic else (False,)
    return {
        (kind, f"{number:03d}"): (lesion_of(number),) if number % every == 0 else ()
        for kind in kinds
        for number in range(count)
    }


def study(
    readers: int, skill: dict[bool, float], alarms: float = 0.3, count: int = 40, every: int = 2, seed: int = 0
) -> list[Reading]:
    """Readers who find a lesion with a chance that hangs on the kind of image, and now and then mark something else."""
    rows = []
    for reader in range(readers):
        rng = np.random.default_rng([seed, reader])
        position = 0
        for synthetic in (False, True):
            for number in range(count):
                position += 1
                marks = []
                row, column, radius = lesion_of(number)
                if number % every == 0 and rng.random() < skill[synthetic]:
                    shift = rng.uniform(-2.0, 2.0, 2)
                    marks.append(Mark(row + shift[0], column + shift[1], radius * 1.5, int(rng.integers(2, 6))))
                if rng.random() < alarms:
                    marks.append(Mark(55.0, 55.0, 3.0, int(rng.integers(1, 5))))
                rows.append(reading(f"r{reader + 1:02d}", number, synthetic, position, marks))
    return rows
