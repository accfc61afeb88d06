"""A worklist as the server has it: checked to the last field, with the order of each reader at hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from scansynth.errors import ReaderError
from scansynth.reader.server.worklist import (
    BUFFERS,
    CLOSED,
    REAL,
    SYNTHETIC,
    WORKLIST,
    Place,
    Seat,
    Worklist,
    load_worklist,
)

_ITEM = re.compile(r"[0-9a-f]{32}")
_BUFFER = re.compile(r"[0-9A-Za-z_-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_READER = re.compile(r"[0-9A-Za-z_-]{1,32}")
_MOST_PIXELS = 1 << 26
_CHECKS = TypeAdapter(Worklist)


class Part(StrEnum):
    """The parts of what one reader does, in their order."""

    UNAWARE = "unaware"
    NOTICED = "noticed"
    SUSPECTED = "suspected"
    PRACTICE = "practice"
    READING = "reading"

    @property
    def asks(self) -> bool:
        """Whether it is a question without an image."""
        return self in {Part.NOTICED, Part.SUSPECTED}

    @property
    def told(self) -> bool:
        """Whether the reader knows what the study compares."""
        return self in {Part.PRACTICE, Part.READING}


@dataclass(frozen=True)
class Order:
    """What one reader is shown, in this order; an answer is locked before the next is shown.

    Attributes:
        seat: The reader.
        places: The images before the reader is told and the two questions after them, practice, and sequence.
        index: Where each item stands in `places`.
    """

    seat: Seat
    places: tuple[Place, ...]
    index: dict[str, int]

    @property
    def told(self) -> int:
        """The place from which on the reader knows what the study compares; 0 where there is nothing before."""
        return len(self.seat.unaware) + len(self.seat.questions)

    @property
    def practice(self) -> int:
        """How many places are practice."""
        return len(self.seat.practice)

    def part(self, place: int) -> Part:
        """To which part a place belongs."""
        if place < len(self.seat.unaware):
            return Part.UNAWARE
        if place < self.told:
            return Part.NOTICED if place < self.told - 1 else Part.SUSPECTED
        return Part.PRACTICE if place < self.told + self.practice else Part.READING

    def position(self, place: int) -> int:
        """Place within its part, from 1."""
        part = self.part(place)
        if part.asks:
            return 1
        before = {Part.UNAWARE: 0, Part.PRACTICE: self.told}.get(part, self.told + self.practice)
        return place - before + 1

    def undoable(self, last: int) -> bool:
        """Whether an answer may be taken back: the practice told its truth, and a question the first part's end."""
        part = self.part(last)
        return part is Part.READING or (part is Part.UNAWARE and self.part(last + 1) is part)


@dataclass(frozen=True)
class ServedWorklist:
    """A worklist that was checked.

    Attributes:
        folder: Where it lies; nothing outside is read.
        worklist: What `worklist.json` holds.
        size: Bytes of each buffer.
        orders: By the reader's name.
    """

    folder: Path
    worklist: Worklist
    size: int
    orders: dict[str, Order]

    def closed(self) -> bool:
        """Whether `reader close` has left its mark in the worklist."""
        return (self.folder / CLOSED).exists()

    def buffer(self, name: str) -> bytes:
        """The bytes of one buffer.

        Raises:
            ReaderError: The file is gone or of another length.
        """
        path = self.folder / BUFFERS / f"{name}.bin"
        try:
            data = path.read_bytes()
        except OSError:
            data = b""
        if len(data) != self.size:
            raise ReaderError("an image of the worklist is missing or damaged; copy the worklist again")
        return data


def open_worklist(folder: Path) -> ServedWorklist:
    """Reads and checks a worklist: types, names, lengths of all buffers; the buffers themselves stay on disk.

    Raises:
        ReaderError: It is missing, of another version, or damaged; says what.
    """
    worklist = load_worklist(folder)
    values = {key: value for key, value in worklist.as_json().items() if key != "format"}
    try:
        _CHECKS.validate_json(json.dumps(values, allow_nan=False), strict=True)
    except ValidationError as fault:
        where = ".".join(str(part) for part in fault.errors()[0]["loc"])
        raise _damaged(f"{where} is of the wrong kind") from None
    except ValueError:
        raise _damaged("a number is not finite") from None
    for what in _faults(worklist):
        raise _damaged(what)
    size = worklist.image.rows * worklist.image.columns * 2
    _check_buffers(folder, worklist, size)
    return ServedWorklist(folder, worklist, size, {seat.reader: _order(seat) for seat in worklist.readers})


def _damaged(what: str) -> ReaderError:
    return ReaderError(f"{WORKLIST} of the reader study is damaged: {what}; copy the worklist again")


def _faults(worklist: Worklist) -> Iterator[str]:
    """What is wrong with the values of a worklist, in a few words each."""
    seats = worklist.readers
    places = [place for seat in seats for place in seat.shown]
    hashes = [worklist.administrator_sha256, *(seat.invitation_sha256 for seat in seats)]
    image = worklist.image
    if min(image.rows, image.columns) < 1 or image.rows * image.columns > _MOST_PIXELS or image.low >= image.high:
        yield "the image has no size, or no range"
    if len(worklist.scale) != 6 or any(preset.width <= 0 for preset in worklist.presets) or not worklist.presets:
        yield "the scale needs six labels, and windows a width"
    if worklist.break_every < 0 or (worklist.second_question and len(worklist.second_question.options) < 2):
        yield "break_every or the second question"
    if worklist.marking and not (worklist.marking.finding and 2 <= len(worklist.marking.levels) <= 9):
        yield "marks need a name, and two levels of confidence or more"
    if not seats or any(not (seat.practice if worklist.teaching else seat.sequence) for seat in seats):
        yield "a reader has no images"
    if worklist.teaching and any(seat.sequence for seat in seats):
        yield "teaching has images to read"
    if len({seat.reader for seat in seats}) < len(seats) or not all(_READER.fullmatch(seat.reader) for seat in seats):
        yield "names of readers"
    if not all(_SHA256.fullmatch(text) for text in (*hashes, worklist.protocol_sha256)) or len(set(hashes)) < len(
        hashes
    ):
        yield "a hash is not valid, or occurs twice"
    items = [place.item for place in places] + [item for seat in seats for item in seat.questions]
    if not all(map(_ITEM.fullmatch, items)) or len(set(items)) < len(items):
        yield "an item is not valid, or occurs twice"
    if not all(_BUFFER.fullmatch(name) for name in worklist.buffers) or any(not place.buffer for place in places):
        yield "the name of a buffer"
    answers = {place.answer for seat in seats for place in seat.practice}
    blind = (place for seat in seats for place in (*seat.unaware, *seat.sequence))
    told = (place for place in blind if place.answer or place.nearest or place.mask)
    if not answers <= {REAL, SYNTHETIC} or any(told):
        yield "practice cases need an answer, other images must have none"
    yield from _faults_of_first(worklist)


def _faults_of_first(worklist: Worklist) -> Iterator[str]:
    """The same, of the part before readers are told."""
    asked = [(len(seat.unaware) > 0, len(seat.questions)) for seat in worklist.readers]
    if set(asked) != ({(True, 2)} if worklist.first else {(False, 0)}) or (worklist.first and worklist.teaching):
        yield "the part before readers are told"
    if worklist.first and len(worklist.first.scale) != 6:
        yield "the scale of the first part needs six labels"


def _check_buffers(folder: Path, worklist: Worklist, size: int) -> None:
    for name in worklist.buffers:
        try:
            found = (folder / BUFFERS / f"{name}.bin").stat().st_size
        except OSError:
            raise ReaderError("an image of the worklist is missing; copy the worklist again") from None
        if found != size:
            raise ReaderError("an image of the worklist has another length than the others; copy the worklist again")


def _order(seat: Seat) -> Order:
    questions = (Place(item, "") for item in seat.questions)
    places = (*seat.unaware, *questions, *seat.practice, *seat.sequence)
    return Order(seat, places, {place.item: number for number, place in enumerate(places)})
