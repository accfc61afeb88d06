"""`readings.csv`: the readers' answers with the truth. Read strictly: a bad row stops the analysis."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.errors import ReaderError
from scansynth.files import read_csv, write_csv
from scansynth.reader.marks import NONE, canonical
from scansynth.reader.statistics.roc import Mask

COLUMNS = (
    "reader",
    "item",
    "position",
    "truth",
    "label",
    "case",
    "patient",
    "repeat_of",
    "answer",
    "second",
    "confidence",
    "seconds",
    "hidden_seconds",
    "window_changes",
    "locked_at",
    "first_answer",
    "comment",
    "arm",
    "marks",
)
"""Of readings.csv; practice is not in it. `truth` is 1 for synthetic, 0 for real."""

_FORMULA = ("=", "+", "-", "@")

_LONGEST = 31 * 86_400.0  # seconds; what the server takes, so that no answer that was locked ends the analysis


@dataclass(frozen=True)
class Reading:
    """One locked answer.

    Attributes:
        reader: Who.
        item: What the browser called the presentation.
        position: Place in the reader's order.
        synthetic: The truth.
        label: Of the image.
        case: Keyed hash of the case, or the index of the synthetic image.
        patient: Keyed hash; empty for synthetic images.
        repeat_of: Item of the first presentation; empty where this is it.
        answer: 1 (definitely real) to 6 (definitely synthetic).
        second: Of the second question, counted from 1; none where it was not asked.
        confidence: Of the second answer; none where it was not asked.
        seconds: On the page, hidden time included.
        hidden_seconds: With the page out of sight.
        window_changes: Of window and level.
        locked_at: When the server took the answer.
        first_answer: What was answered at first, where the reader took that back; times are those of the first look.
        comment: In free words.
        arm: 0 for real images, 1 for the study's set, 2 for the set that it is compared with.
        marks: Of findings, as `marks.written` gives them.
    """

    reader: str
    item: str
    position: int
    synthetic: bool
    label: str
    case: str
    patient: str
    repeat_of: str
    answer: int
    second: int | None
    confidence: int | None
    seconds: float
    hidden_seconds: float
    window_changes: int
    locked_at: str
    first_answer: int | None = None
    comment: str = ""
    arm: int = 0
    marks: str = NONE

    @property
    def image(self) -> tuple[bool, str]:
        """What was shown: a real case and a synthetic index never meet."""
        return self.synthetic, self.case

    @property
    def looked(self) -> float:
        """Seconds in sight."""
        return max(self.seconds - self.hidden_seconds, 0.0)


def read_readings(path: Path) -> tuple[Reading, ...]:
    """The rows of a readings.csv, checked.

    Raises:
        ReaderError: The file is missing, a column is missing, or a row is impossible.
    """
    try:
        rows = read_csv(path)
    except FileNotFoundError:
        raise ReaderError(f"there is no {path.name}; close the reader study first") from None
    except (UnicodeDecodeError, ValueError) as fault:
        raise ReaderError(f"{path.name} is not a table; close the reader study again") from fault
    return parse_rows(rows, path.name)


def parse_rows(rows: Iterable[Mapping[str, Any]], origin: str = "readings.csv") -> tuple[Reading, ...]:
    """Rows as CSV gives them, checked one by one and together.

    Raises:
        ReaderError: A column is missing, a value is impossible, or rows contradict each other.
    """
    readings = []
    for number, row in enumerate(rows, start=2):
        absent = [name for name in COLUMNS if row.get(name) is None]
        if absent:
            raise ReaderError(f"{origin}: row {number} has no {', '.join(absent)}; close the reader study again")
        try:
            readings.append(_reading(row))
        except (ValueError, TypeError) as fault:
            raise ReaderError(f"{origin}: row {number}: {fault}; close the reader study again") from None
    _check_together(readings, origin)
    return tuple(_first_shown(readings))


def write_readings(path: Path, readings: Iterable[Reading]) -> None:
    """Writes readings.csv, whole or not at all."""
    write_csv(path, COLUMNS, (_row(reading) for reading in readings))


def _row(reading: Reading) -> dict[str, Any]:
    row = {name: getattr(reading, name) for name in COLUMNS if name != "truth"}
    row |= {name: "" for name in ("second", "confidence", "first_answer") if row[name] is None}
    return {**row, "comment": unrunnable(reading.comment), "truth": int(reading.synthetic)}


def unrunnable(text: str) -> str:
    """Free words as a cell of a table: what a spreadsheet would run as a formula begins with a space."""
    return f" {text}" if text.startswith(_FORMULA) else text


def _whole(row: Mapping[str, Any], name: str, low: int, high: int) -> int:
    text = str(row[name]).strip()
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ValueError(f"{name} is {text!r}, and must be a whole number from {low} to {high}")
    return int(text)


def _optional(row: Mapping[str, Any], name: str) -> int | None:
    return None if str(row[name]).strip() == "" else _whole(row, name, 0, 1000)


def _seconds(row: Mapping[str, Any], name: str) -> float:
    try:
        value = float(row[name])
    except ValueError:
        raise ValueError(f"{name} is {row[name]!r}, and must be a number of seconds") from None
    if not math.isfinite(value) or not 0.0 <= value <= _LONGEST:
        raise ValueError(f"{name} is {value}, and must lie between 0 seconds and a month")
    return value


def _text(row: Mapping[str, Any], name: str) -> str:
    value = str(row[name]).strip()
    if not value:
        raise ValueError(f"{name} is empty")
    return value


def _reading(row: Mapping[str, Any]) -> Reading:
    """One row.

    Raises:
        ValueError: A value is impossible.
    """
    try:
        datetime.datetime.fromisoformat(str(row["locked_at"]))
    except ValueError:
        raise ValueError(f"locked_at is {row['locked_at']!r}, and must be an ISO time") from None
    return Reading(
        reader=_text(row, "reader"),
        item=_text(row, "item"),
        position=_whole(row, "position", 0, 10**6),
        synthetic=bool(_whole(row, "truth", 0, 1)),
        label=str(row["label"]),
        case=_text(row, "case"),
        patient=str(row["patient"]),
        repeat_of=str(row["repeat_of"]).strip(),
        answer=_whole(row, "answer", 1, 6),
        second=_optional(row, "second"),
        confidence=_optional(row, "confidence"),
        seconds=_seconds(row, "seconds"),
        hidden_seconds=_seconds(row, "hidden_seconds"),
        window_changes=_whole(row, "window_changes", 0, 10**6),
        locked_at=str(row["locked_at"]),
        first_answer=_optional(row, "first_answer"),
        comment=str(row["comment"]).strip(),
        arm=_whole(row, "arm", 0, 2),
        marks=canonical(str(row["marks"])),
    )


def _check_together(readings: list[Reading], origin: str) -> None:
    """Refuses rows that contradict each other."""
    by_item: dict[tuple[str, str], Reading] = {}
    places: set[tuple[str, int]] = set()
    shown: set[tuple[str, tuple[bool, str]]] = set()
    labels: dict[tuple[bool, str], str] = {}
    for reading in readings:
        key, place, view = (
            (reading.reader, reading.item),
            (reading.reader, reading.position),
            (reading.reader, reading.image),
        )
        if key in by_item or place in places:
            raise ReaderError(f"{origin}: a reader answered one item or one position twice; close the study again")
        if not reading.repeat_of and view in shown:
            raise ReaderError(
                f"{origin}: an image was shown twice to a reader without being a repeat; close the study again"
            )
        if labels.setdefault(reading.image, reading.label) != reading.label:
            raise ReaderError(f"{origin}: an image has two labels; close the study again")
        by_item[key] = reading
        places.add(place)
        if not reading.repeat_of:
            shown.add(view)
    for reading in readings:
        first = by_item.get((reading.reader, reading.repeat_of))
        if reading.repeat_of and first is not None and (first.image != reading.image or first.repeat_of):
            raise ReaderError(f"{origin}: a repeat shows another image; close the study again")


def _first_shown(readings: list[Reading]) -> list[Reading]:
    """Of an image that came twice the one that came first counts, whichever was called the repeat."""
    by_item = {(reading.reader, reading.item): reading for reading in readings}
    changed: dict[tuple[str, str], Reading] = {}
    for reading in readings:
        first = by_item.get((reading.reader, reading.repeat_of))
        if first is not None and reading.position < first.position:
            changed[reading.reader, reading.item] = replace(reading, repeat_of="")
            changed[first.reader, first.item] = replace(first, repeat_of=reading.item)
    return [changed.get((reading.reader, reading.item), reading) for reading in readings]


@dataclass(frozen=True)
class Table:
    """First answers of readers by image.

    Attributes:
        readers: In order of their names, (R,).
        images: (synthetic, case) in order, (C,).
        labels: Of the images, (C,).
        answers: 1..6; 0 where a reader did not answer, (R, C).
        synthetic: Class of each image, (C,).
    """

    readers: tuple[str, ...]
    images: tuple[tuple[bool, str], ...]
    labels: tuple[str, ...]
    answers: NDArray[np.int64]
    synthetic: Mask

    @property
    def scores(self) -> NDArray[np.float64]:
        """The answers, not a number where there is none, (R, C)."""
        return np.where(self.answers > 0, self.answers, np.nan)

    def only(self, chosen: Mask) -> Table:
        """The table of some of the images."""
        places = np.flatnonzero(chosen).tolist()
        return Table(
            self.readers,
            tuple(self.images[place] for place in places),
            tuple(self.labels[place] for place in places),
            self.answers[:, chosen],
            self.synthetic[chosen],
        )

    def complete(self) -> Table:
        """The table of the readers who answered all images."""
        kept = np.flatnonzero(np.all(self.answers > 0, axis=1)).tolist()
        names = tuple(self.readers[place] for place in kept)
        return Table(names, self.images, self.labels, self.answers[kept], self.synthetic)


def counted(readings: Iterable[Reading]) -> tuple[Reading, ...]:
    """Readings that count in the primary analysis: of each image what came first."""
    return tuple(reading for reading in readings if not reading.repeat_of)


def table(readings: Iterable[Reading]) -> Table:
    """Readers by images, from first answers; the order of the rows does not matter.

    Args:
        readings: Of any readers; repeats are passed over.

    Returns:
        Every image that any of them answered; it may be empty.
    """
    kept = counted(readings)
    readers = sorted({reading.reader for reading in kept})
    labels = {reading.image: reading.label for reading in kept}
    images = sorted(labels)
    rows, columns = ({name: place for place, name in enumerate(names)} for names in (readers, images))
    answers = np.zeros((len(readers), len(images)), dtype=np.int64)
    for reading in kept:
        answers[rows[reading.reader], columns[reading.image]] = reading.answer
    return Table(
        tuple(readers),
        tuple(images),
        tuple(labels[image] for image in images),
        answers,
        np.array([synthetic for synthetic, _ in images], dtype=np.bool_),
    )


def repeats(readings: Iterable[Reading], readers: Iterable[str]) -> list[NDArray[np.int64]]:
    """For each reader image number, first answer and second answer of what came twice, (k, 3)."""
    everything = tuple(readings)
    by_item = {(reading.reader, reading.item): reading for reading in everything}
    numbers = {image: number for number, image in enumerate(sorted({reading.image for reading in everything}))}
    found = []
    for reader in readers:
        again = [
            (numbers[reading.image], by_item[reader, reading.repeat_of].answer, reading.answer)
            for reading in everything
            if reading.reader == reader and (reader, reading.repeat_of) in by_item
        ]
        found.append(np.array(sorted(again), dtype=np.int64).reshape(-1, 3))
    return found
