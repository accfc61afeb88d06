"""`said.csv` and `screens.csv`: what readers said before they were told, and of their screens. Read strictly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scansynth.errors import ReaderError
from scansynth.files import read_csv, write_csv
from scansynth.reader.statistics.readings import unrunnable

COLUMNS = ("reader", "control", "noticed", "suspected", "percent", "words", "locked_at")
"""Of said.csv; 1 is yes, 0 is no, and empty is not answered."""

SCREEN_COLUMNS = ("reader", "good", "poor", "last")
"""Of screens.csv: sittings in which the test picture was seen as it should be, and not; the last of them."""


@dataclass(frozen=True)
class Said:
    """What one reader said between the first part and being told.

    Attributes:
        reader: Who.
        control: Whether all images of the first part were real.
        noticed: Whether anything struck the reader as unusual.
        suspected: Whether the reader says to have suspected generated images; none: not answered.
        percent: How many of them, as the reader thinks; none: not answered.
        words: What was unusual, in free words.
        locked_at: When the server took the first answer.
    """

    reader: str
    control: bool
    noticed: bool
    suspected: bool | None
    percent: int | None
    words: str
    locked_at: str


def write_said(path: Path, said: Iterable[Said]) -> None:
    """Writes said.csv, whole or not at all."""
    write_csv(path, COLUMNS, (_row(one) for one in said))


def _row(one: Said) -> dict[str, Any]:
    return {
        "reader": one.reader,
        "control": int(one.control),
        "noticed": int(one.noticed),
        "suspected": "" if one.suspected is None else int(one.suspected),
        "percent": "" if one.percent is None else one.percent,
        "words": unrunnable(one.words),
        "locked_at": one.locked_at,
    }


def read_said(path: Path) -> tuple[Said, ...]:
    """The rows of a said.csv, checked.

    Raises:
        ReaderError: The file is missing or a row is impossible.
    """
    try:
        found = tuple(_said(row) for row in read_csv(path))
    except FileNotFoundError:
        raise ReaderError(f"there is no {path.name}; close the reader study first") from None
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ReaderError(f"{path.name} is damaged ({fault}); close the reader study again") from None
    if len({one.reader for one in found}) < len(found):
        raise ReaderError(f"{path.name}: a reader stands there twice; close the reader study again")
    return found


def _said(row: Mapping[str, str]) -> Said:
    percent = _whole(row["percent"], 100)
    control, noticed = _whole(row["control"], 1), _whole(row["noticed"], 1)
    if not row["reader"] or control is None or noticed is None:
        raise ValueError("reader, control or noticed is empty")
    suspected = _whole(row["suspected"], 1)
    return Said(
        row["reader"],
        bool(control),
        bool(noticed),
        None if suspected is None else bool(suspected),
        percent,
        row["words"].strip(),
        row["locked_at"],
    )


def _whole(text: str, most: int) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) > most:
        raise ValueError(f"{text!r} is not a whole number from 0 to {most}")
    return int(text)
