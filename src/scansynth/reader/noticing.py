"""What the first part and the check of the screens left, written at the close and read by the analysis."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scansynth.errors import ReaderError
from scansynth.files import read_csv, write_csv
from scansynth.reader.server.locked import Export
from scansynth.reader.server.locked import Reading as Locked
from scansynth.reader.statistics.noticing import noticing
from scansynth.reader.statistics.readings import Reading, read_readings, write_readings
from scansynth.reader.statistics.said import SCREEN_COLUMNS, Said, read_said, write_said
from scansynth.reader.truth import Entry, Truth
from scansynth.study import SAID, SCREENS, UNAWARE

Joined = Callable[[Locked, Entry], Reading]


def write_noticed(folder: Path, locked: Export, truth: Truth, joined: Joined) -> tuple[str, ...]:
    """Writes screens.csv, and where there was a first part unaware.csv and said.csv.

    Args:
        folder: The reader study.
        locked: What was read.
        truth: What the images were.
        joined: Makes a row of an answer and its truth.

    Returns:
        The names of the files.
    """
    write_csv(folder / SCREENS, SCREEN_COLUMNS, [{**asdict(one), "last": int(one.last)} for one in locked.screens])
    if not truth.unaware:
        return (SCREENS,)
    entries = {(entry.reader, entry.item): entry for entry in truth.unaware}
    rows = [joined(one, entries[one.reader, one.item]) for one in locked.unaware]
    write_readings(folder / UNAWARE, sorted(rows, key=lambda one: (one.reader, one.position)))
    said = [
        Said(
            one.reader, one.reader in truth.controls, one.noticed, one.suspected, one.percent, one.words, one.locked_at
        )
        for one in locked.asked
    ]
    write_said(folder / SAID, sorted(said, key=lambda one: one.reader))
    return (SCREENS, UNAWARE, SAID)


def written(protocol: Mapping[str, Any]) -> tuple[str, ...]:
    """The files that `write_noticed` leaves in a study with this protocol."""
    return (SCREENS, UNAWARE, SAID) if protocol.get("unaware") else (SCREENS,)


def analyse_noticed(folder: Path, protocol: Mapping[str, Any], excluded: Collection[str]) -> dict[str, Any]:
    """The first part and the screens, as analysis.json holds them.

    Raises:
        ReaderError: A file is missing or damaged.
    """
    fixed = protocol.get("unaware")
    first = None
    if fixed is not None:
        readings, said = read_readings(folder / UNAWARE), read_said(folder / SAID)
        level = float(protocol["level"])
        first = noticing(readings, said, str(fixed["finding"]), int(fixed["images"]), level, excluded)
        first |= {"question": fixed["question"]}
    return {"unaware": first, "screens": _screens(folder / SCREENS)}


def _screens(path: Path) -> list[dict[str, Any]]:
    """What each reader said of the screen.

    Raises:
        ReaderError: The file is missing or damaged.
    """
    try:
        return [
            {"reader": row["reader"], **{name: int(row[name]) for name in SCREEN_COLUMNS[1:]}} for row in read_csv(path)
        ]
    except (FileNotFoundError, UnicodeDecodeError, ValueError, KeyError, TypeError):
        raise ReaderError(f"{path.name} is missing or damaged; close the reader study again") from None
