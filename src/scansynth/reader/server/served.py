"""A worklist as the server has it: checked to the last field, with the order of each reader at hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Order:
    """What one reader is shown, practice first; an answer is locked before the next is shown.

    Attributes:
        seat: The reader.
        places: Practice and sequence, in their order.
        index: Where each item stands in `places`.
    """

    seat: Seat
    places: tuple[Place, ...]
    index: dict[str, int]

    @property
    def practice(self) -> int:
        """How many places are practice."""
        return len(self.seat.practice)

    def position(self, place: int) -> int:
        """Place in the practice, or in the sequence, from 1."""
        return place + 1 if place < self.practice else place - self.practice + 1


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
    places = [place for seat in seats for place in (*seat.practice, *seat.sequence)]
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
    if not all(_ITEM.fullmatch(place.item) for place in places) or len({p.item for p in places}) < len(places):
        yield "an item is not valid, or occurs twice"
    if not all(_BUFFER.fullmatch(name) for name in worklist.buffers) or any(not place.buffer for place in places):
        yield "the name of a buffer"
    answers = {place.answer for seat in seats for place in seat.practice}
    told = (place for seat in seats for place in seat.sequence if place.answer or place.nearest or place.mask)
    if not answers <= {REAL, SYNTHETIC} or any(told):
        yield "practice cases need an answer, other images must have none"


def _check_buffers(folder: Path, worklist: Worklist, size: int) -> None:
    for name in worklist.buffers:
        try:
            found = (folder / BUFFERS / f"{name}.bin").stat().st_size
        except OSError:
            raise ReaderError("an image of the worklist is missing; copy the worklist again") from None
        if found != size:
            raise ReaderError("an image of the worklist has another length than the others; copy the worklist again")


def _order(seat: Seat) -> Order:
    places = (*seat.practice, *seat.sequence)
    return Order(seat, places, {place.item: number for number, place in enumerate(places)})
