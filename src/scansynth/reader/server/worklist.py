"""The worklist: everything that the server may read, and nothing that says what an image is.

`worklist/` may be copied to another machine. It holds `worklist.json` and `buffers/<name>.bin`, one buffer for each
time that an image is presented. An image and its hidden repeat have two buffers with noise of their own, so no two are
equal. The only words "real" and "synthetic" in it are the answers of the practice cases.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.errors import ReaderError
from scansynth.files import read_json, storage_faults, write_json

FORMAT = 1
WORKLIST, BUFFERS, CLOSED, SERVED = "worklist.json", "buffers", "closed.json", "served.json"
"""Files of a worklist; besides, the database of the readings where none is named."""

REAL, SYNTHETIC = "real", "synthetic"

_EPOCH_NS = 946_684_800 * 10**9  # 2000-01-01: every buffer was changed at the same moment, whatever it shows

Stored = NDArray[np.uint16]


@dataclass(frozen=True)
class Display:
    """How stored values of a buffer are read: v stands for low + v / 65535 * (high - low).

    Attributes:
        rows: Of each buffer.
        columns: Of each buffer.
        low: Source value of 0.
        high: Source value of 65535.
        unit: Of the source values, as people read it; may be empty.
        spacing: Distance between rows, and between columns, in mm.
    """

    rows: int
    columns: int
    low: float
    high: float
    unit: str
    spacing: tuple[float, float]


@dataclass(frozen=True)
class Preset:
    """A window that the page offers, in source values (DICOM PS3.3, C.11.2.1.2)."""

    name: str
    center: float
    width: float


@dataclass(frozen=True)
class SecondQuestion:
    """Another question to each image.

    Attributes:
        text: The question.
        options: The answers to choose from; the first is 1.
        confidence: Ask how sure the reader is, too.
    """

    text: str
    options: tuple[str, ...]
    confidence: bool


@dataclass(frozen=True)
class Marking:
    """Findings are to be marked in each image.

    Attributes:
        finding: What is marked, such as nodule.
        levels: Labels of the confidence in a mark; the first is 1.
    """

    finding: str
    levels: tuple[str, ...]


@dataclass(frozen=True)
class FirstPart:
    """What is asked of each image before readers are told what the study compares.

    Attributes:
        question: About the finding.
        scale: Labels of the answers 1 to 6; 6 is the surest yes.
    """

    question: str
    scale: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """One presentation.

    Attributes:
        item: What the browser calls it: 32 hexadecimal digits, of one reader and one place only.
        buffer: Name of its file in `buffers/`, without the ending.
        answer: Of a practice case, real or synthetic; empty for every other.
        nearest: Of a practice case, the buffer of the most similar real image of another patient; may be empty.
        mask: Of a practice case, the buffer of its mask, 0 or 65535; may be empty.
    """

    item: str
    buffer: str
    answer: str = ""
    nearest: str = ""
    mask: str = ""

    @property
    def buffers(self) -> tuple[str, ...]:
        """Every buffer that it names."""
        return tuple(name for name in (self.buffer, self.nearest, self.mask) if name)


@dataclass(frozen=True)
class Seat:
    """One reader.

    Attributes:
        reader: r01, r02 and so on.
        invitation_sha256: Hash of the token in the invitation.
        expires: ISO time after which the invitation opens nothing.
        practice: Cases with an answer, before the reading.
        sequence: What is read, in this reader's order.
        unaware: What is read for the finding alone, before anything else; may be none.
        questions: Items of the two questions that follow it; none where there is no such part.
    """

    reader: str
    invitation_sha256: str
    expires: str
    practice: tuple[Place, ...]
    sequence: tuple[Place, ...]
    unaware: tuple[Place, ...] = ()
    questions: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[Place, ...]:
        """Every image, in the order in which they come."""
        return (*self.unaware, *self.practice, *self.sequence)


@dataclass(frozen=True)
class Worklist:
    """What the server knows of a study.

    Attributes:
        study: A random name; tells nothing of the cohort.
        title: For the pages.
        protocol_sha256: Of the file protocol.json.
        expires: ISO time after which no invitation opens anything.
        image: How buffers are read.
        presets: Windows that the page offers; the first is used at the beginning.
        scale: Labels of the answers 1 to 6.
        second_question: None where only one is asked.
        break_every: Images after which a break is proposed; 0: never.
        administrator_sha256: Hash of the administrator's token.
        readers: In the order of their names.
        comments: Whether readers may write a comment to each image.
        references: Buffers of real images of other patients that may be looked at beside each image.
        teaching: All images are practice, and nothing is read for a study.
        marking: What is to be marked in each image; none: nothing.
        first: What is asked in the part before readers are told; none where there is no such part.
    """

    study: str
    title: str
    protocol_sha256: str
    expires: str
    image: Display
    presets: tuple[Preset, ...]
    scale: tuple[str, ...]
    second_question: SecondQuestion | None
    break_every: int
    administrator_sha256: str
    readers: tuple[Seat, ...]
    comments: bool = True
    references: tuple[str, ...] = ()
    teaching: bool = False
    marking: Marking | None = None
    first: FirstPart | None = None

    @property
    def buffers(self) -> frozenset[str]:
        """Names of all buffers."""
        places = (place for seat in self.readers for place in seat.shown)
        return frozenset((*self.references, *(name for place in places for name in place.buffers)))

    def as_json(self) -> dict[str, Any]:
        """As `worklist.json` holds it."""
        seats = [{**asdict(seat), **places_as_json(seat)} for seat in self.readers]
        return {"format": FORMAT, **asdict(self), "readers": seats}


def places_as_json(seat: Seat) -> dict[str, Any]:
    """What one reader is shown, as `worklist.json` holds it: an answer stands with the practice alone."""
    unaware, sequence = (
        [{"item": place.item, "buffer": place.buffer} for place in places] for places in (seat.unaware, seat.sequence)
    )
    practice = [asdict(place) for place in seat.practice]
    return {"unaware": unaware, "questions": list(seat.questions), "practice": practice, "sequence": sequence}


def write_worklist(folder: Path, worklist: Worklist, buffers: Mapping[str, bytes]) -> None:
    """Writes a worklist into an empty folder, which is put in its place by the caller.

    Buffers are written in the order of their random names and get one time of change, so that neither tells anything.

    Args:
        folder: The new folder.
        worklist: What `worklist.json` shall hold.
        buffers: Bytes of each buffer, by its name without the ending.

    Raises:
        ReaderError: Buffers differ in length, or are not those that the worklist names.
        StorageError: The folder cannot be written.
    """
    size = worklist.image.rows * worklist.image.columns * 2
    if worklist.buffers != buffers.keys() or any(len(data) != size for data in buffers.values()):
        raise ReaderError("the images of the worklist do not agree with its list; create the reader study again")
    with storage_faults(folder):
        (folder / BUFFERS).mkdir(parents=True)
        for name in sorted(buffers):
            path = folder / BUFFERS / f"{name}.bin"
            path.write_bytes(buffers[name])
            os.utime(path, ns=(_EPOCH_NS, _EPOCH_NS))
    write_json(folder / WORKLIST, worklist.as_json())


def load_worklist(folder: Path) -> Worklist:
    """The worklist in `folder`; its buffers stay on disk.

    Raises:
        ReaderError: There is none, it is of another version, or it is damaged.
    """
    try:
        values = read_json(folder / WORKLIST)
        if values.pop("format") != FORMAT:
            raise ReaderError("the worklist is of another version; serve it with the scansynth version that created it")
        return _worklist(values)
    except (FileNotFoundError, NotADirectoryError):
        raise ReaderError(f"{folder} holds no {WORKLIST}; run: scansynth reader create STUDY") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise ReaderError(f"{WORKLIST} of the reader study is damaged; copy the worklist again") from None


def replace_worklist(folder: Path, worklist: Worklist) -> None:
    """Writes `worklist.json` again, whole or not at all; the buffers stay."""
    write_json(folder / WORKLIST, worklist.as_json())


def mark_served(folder: Path, when: datetime.datetime) -> None:
    """Notes that the worklist was served once: from then on there may be readings, perhaps in a database elsewhere."""
    if not (folder / SERVED).exists():
        write_json(folder / SERVED, {"since": when.astimezone(datetime.UTC).isoformat(timespec="seconds")})


def was_served(folder: Path) -> bool:
    """Whether there may be readings: the worklist holds more than what was written when it was made."""
    return folder.is_dir() and any(path.name not in {WORKLIST, BUFFERS} for path in folder.iterdir())


def _worklist(values: dict[str, Any]) -> Worklist:
    second, first, marking = (values[name] for name in ("second_question", "first", "marking"))
    return Worklist(
        **{
            **values,
            "image": Display(**{**values["image"], "spacing": tuple(values["image"]["spacing"])}),
            "presets": tuple(Preset(**preset) for preset in values["presets"]),
            "scale": tuple(values["scale"]),
            "references": tuple(values["references"]),
            "second_question": second and SecondQuestion(**{**second, "options": tuple(second["options"])}),
            "marking": marking and Marking(**{**marking, "levels": tuple(marking["levels"])}),
            "first": first and FirstPart(**{**first, "scale": tuple(first["scale"])}),
            "readers": tuple(seat_from_json(seat) for seat in values["readers"]),
        }
    )


def seat_from_json(values: dict[str, Any]) -> Seat:
    """A seat as `worklist.json` holds it.

    Raises:
        ValueError: The time is none.
        KeyError: A value is missing.
        TypeError: A value is not known.
    """
    datetime.datetime.fromisoformat(values["expires"])
    places = {key: tuple(Place(**place) for place in values[key]) for key in ("unaware", "practice", "sequence")}
    return Seat(**{**values, **places, "questions": tuple(values["questions"])})
