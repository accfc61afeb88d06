"""A desk as the server has it: checked to the last field, with the order of each reader at hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from scansynth.errors import ReaderError
from scansynth.reader.server.desk import BUFFERS, CLOSED, DESK, REAL, SYNTHETIC, Desk, Place, Seat, load_desk

_ITEM = re.compile(r"[0-9a-f]{32}")
_BUFFER = re.compile(r"[0-9A-Za-z_-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_READER = re.compile(r"[0-9A-Za-z_-]{1,32}")
_MOST_PIXELS = 1 << 26
_CHECKS = TypeAdapter(Desk)


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
class ServedDesk:
    """A desk that was checked.

    Attributes:
        folder: Where it lies; nothing outside is read.
        desk: What `desk.json` holds.
        size: Bytes of each buffer.
        orders: By the reader's name.
    """

    folder: Path
    desk: Desk
    size: int
    orders: dict[str, Order]

    def closed(self) -> bool:
        """Whether `reader close` has left its mark in the desk."""
        return (self.folder / CLOSED).exists()

    def buffer(self, place: Place) -> bytes:
        """The bytes of one presentation.

        Raises:
            ReaderError: The file is gone or of another length.
        """
        path = self.folder / BUFFERS / f"{place.buffer}.bin"
        try:
            data = path.read_bytes()
        except OSError:
            data = b""
        if len(data) != self.size:
            raise ReaderError("an image of the desk is missing or damaged; copy the desk again")
        return data


def open_desk(folder: Path) -> ServedDesk:
    """Reads and checks a desk: types, names, lengths of all buffers; the buffers themselves stay on disk.

    Raises:
        ReaderError: It is missing, of another version, or damaged; says what.
    """
    desk = load_desk(folder)
    values = {key: value for key, value in desk.as_json().items() if key != "format"}
    try:
        _CHECKS.validate_json(json.dumps(values, allow_nan=False), strict=True)
    except ValidationError as fault:
        where = ".".join(str(part) for part in fault.errors()[0]["loc"])
        raise _damaged(f"{where} is of the wrong kind") from None
    except ValueError:
        raise _damaged("a number is not finite") from None
    for what in _faults(desk):
        raise _damaged(what)
    size = desk.image.rows * desk.image.columns * 2
    _check_buffers(folder, desk, size)
    return ServedDesk(folder, desk, size, {seat.reader: _order(seat) for seat in desk.readers})


def _damaged(what: str) -> ReaderError:
    return ReaderError(f"{DESK} of the reader study is damaged: {what}; copy the desk again")


def _faults(desk: Desk) -> Iterator[str]:
    """What is wrong with the values of a desk, in a few words each."""
    seats = desk.readers
    places = [place for seat in seats for place in (*seat.practice, *seat.sequence)]
    hashes = [desk.administrator_sha256, *(seat.invitation_sha256 for seat in seats)]
    image = desk.image
    if min(image.rows, image.columns) < 1 or image.rows * image.columns > _MOST_PIXELS or image.low >= image.high:
        yield "the image has no size, or no range"
    if len(desk.scale) != 6 or any(preset.width <= 0 for preset in desk.presets) or not desk.presets:
        yield "the scale needs six labels, and windows a width"
    if desk.break_every < 0 or (desk.second_question and len(desk.second_question.options) < 2):
        yield "break_every or the second question"
    if not seats or any(not seat.sequence for seat in seats):
        yield "a reader has nothing to read"
    if len({seat.reader for seat in seats}) < len(seats) or not all(_READER.fullmatch(seat.reader) for seat in seats):
        yield "names of readers"
    if not all(_SHA256.fullmatch(text) for text in (*hashes, desk.protocol_sha256)) or len(set(hashes)) < len(hashes):
        yield "a hash is not one, or stands there twice"
    if not all(_ITEM.fullmatch(place.item) for place in places) or len({p.item for p in places}) < len(places):
        yield "an item is not one, or stands there twice"
    if not all(_BUFFER.fullmatch(place.buffer) for place in places):
        yield "the name of a buffer"
    answers = {place.answer for seat in seats for place in seat.practice}
    if not answers <= {REAL, SYNTHETIC} or any(place.answer for seat in seats for place in seat.sequence):
        yield "practice cases need an answer, and other images none"


def _check_buffers(folder: Path, desk: Desk, size: int) -> None:
    for name in {place.buffer for seat in desk.readers for place in (*seat.practice, *seat.sequence)}:
        try:
            found = (folder / BUFFERS / f"{name}.bin").stat().st_size
        except OSError:
            raise ReaderError("an image of the desk is missing; copy the desk again") from None
        if found != size:
            raise ReaderError("an image of the desk has another length than the others; copy the desk again")


def _order(seat: Seat) -> Order:
    places = (*seat.practice, *seat.sequence)
    return Order(seat, places, {place.item: number for number, place in enumerate(places)})
