"""The course of a training run: what was kept, what roll-backs discarded, and the events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.files import read_json_lines
from scansynth.gan import run_log
from scansynth.gan.watching.health import Level

Columns = Mapping[str, NDArray[np.float64]]
Rows = Sequence[Mapping[str, Any]]

_RETURN = "return"  # marks a row that only says from where an attempt began


class Kind(StrEnum):
    """What can happen to a training."""

    WARNING = "warning"
    COLLAPSE = "collapse"
    OVER = "over"
    BACK = "back"


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        kind: What.
        images: Images seen; of a roll-back those to which it went back.
        attempt: In which attempt; of a roll-back the one that it began.
        level: How the training stood then; empty for a roll-back.
        reasons: Why, as the monitor says it.
        change: What a roll-back changed.
        left_at: Images at which a roll-back left the attempt before.
    """

    kind: Kind
    images: int
    attempt: int
    level: str = ""
    reasons: tuple[str, ...] = ()
    change: str = ""
    left_at: int = 0


@dataclass(frozen=True)
class Course:
    """What the log tells, as columns of equal length in each part; figures that a line lacks are not numbers.

    Attributes:
        log: The training as it stands.
        given_up: Parts that roll-backs gave up, each from the last line before it on.
        events: What happened, in order of time.
        level: How it stood at the last look; empty before the first.
    """

    log: Columns
    given_up: tuple[Columns, ...]
    events: tuple[Event, ...]
    level: str

    @property
    def roll_backs(self) -> tuple[Event, ...]:
        """Each return to an earlier state."""
        return tuple(event for event in self.events if event.kind is Kind.BACK)


def read_course(folder: Path) -> Course:
    """The course of the run in `folder`; lines that are damaged are passed over."""
    rows = _placed(read_json_lines(folder / run_log.LOG))
    events = tuple(_event(row) for row in _placed(read_json_lines(folder / run_log.ALARMS)))
    stands = standing(rows, events)
    names = sorted({name for row in rows for name, value in row.items() if isinstance(value, (int, float))})
    return Course(
        log=_columns(stands, names),
        given_up=tuple(_columns(part, names) for part in _given_up(rows, stands, events)),
        events=events,
        level=str(stands[-1].get("level", "")) if stands else "",
    )


def standing(rows: Rows, events: Iterable[Event]) -> list[dict[str, Any]]:
    """Those of `rows`, each with `attempt` and `images`, that no roll-back gave up; in order of the images.

    Roll-backs are told by `events` too: an attempt that has no row yet gives up what it left anyway.
    """
    returns = [
        {"attempt": event.attempt, "images": event.images + 1, _RETURN: True}
        for event in events
        if event.kind is Kind.BACK
    ]
    ordered = sorted([*returns, *rows], key=_moment)
    return [row for row in run_log.surviving(ordered) if _RETURN not in row]


def _moment(row: Mapping[str, Any]) -> tuple[int, int]:
    """Sorts rows by time: images may fall when an attempt begins."""
    return row["attempt"], row["images"]


def _given_up(rows: Rows, stands: Rows, events: Sequence[Event]) -> list[Rows]:
    """What does not stand, by attempts; each part begins with the line that came before it."""
    kept = {_moment(row) for row in stands}
    lost = [row for row in rows if _moment(row) not in kept]
    parts: list[Rows] = []
    for attempt in sorted({row["attempt"] for row in lost}):
        part = [row for row in lost if row["attempt"] == attempt]
        earlier = [row for row in rows if _moment(row) < _moment(part[0])]
        before = standing(earlier, [event for event in events if event.attempt <= attempt])
        parts.append([*before[-1:], *part])
    return parts


def _placed(rows: Iterable[Any]) -> list[Mapping[str, Any]]:
    """Rows that say where they belong."""
    return [
        row
        for row in rows
        if isinstance(row, Mapping) and all(isinstance(row.get(key), int) for key in ("images", "attempt"))
    ]


def _event(row: Mapping[str, Any]) -> Event:
    images, attempt = row["images"], row["attempt"]
    if row.get("event") == "roll-back":
        left_at = row.get("left_at")
        left = left_at if isinstance(left_at, int) else images
        return Event(Kind.BACK, images, attempt, change=str(row.get("change", "")), left_at=left)
    level = str(row.get("level", ""))
    reasons = row.get("reasons")
    told = tuple(str(reason) for reason in reasons) if isinstance(reasons, list) else ()
    alarm = Kind.COLLAPSE if level == Level.CRITICAL else Kind.WARNING
    return Event(Kind.OVER if row.get("event") == "over" else alarm, images, attempt, level, told)


def _columns(rows: Rows, names: Iterable[str]) -> Columns:
    return {name: np.array([_figure(row.get(name)) for row in rows], dtype=np.float64) for name in names}


def _figure(value: Any) -> float:
    """A figure of the log; not a number where the line has none."""
    return float(value) if isinstance(value, (int, float)) else float("nan")
