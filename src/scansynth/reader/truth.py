"""The truth: what each item is. It exists in memory while a study is created, then only sealed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scansynth.errors import ReaderError
from scansynth.files import sha256_bytes
from scansynth.reader.buffers import Rendered
from scansynth.reader.design import Design
from scansynth.reader.pool import Subject
from scansynth.reader.server.worklist import REAL, SYNTHETIC, Place

FORMAT = 2

Outlined = tuple[tuple[float, float, float], ...]
"""Row, column and radius of each lesion of an image, in pixels."""


@dataclass(frozen=True)
class Secret:
    """256 bits from which everything hidden derives; sealed with the truth. It shows in no message."""

    value: bytes

    def __repr__(self) -> str:
        return "Secret(...)"

    @property
    def seed(self) -> int:
        """Of everything hidden that is drawn."""
        return int.from_bytes(self.value, "big")

    def item(self, study: str, reader: str, ordinal: int) -> str:
        """What the browser calls one presentation: HMAC-SHA-256 (RFC 2104), 128 bits of it as 32 digits."""
        message = f"{study}|{reader}|{ordinal}".encode()
        return hmac.new(self.value, message, hashlib.sha256).hexdigest()[:32]


@dataclass(frozen=True)
class Entry:
    """What one item of the reading is.

    Attributes:
        reader: Who is shown it.
        item: What the browser calls it.
        position: Its place in the reader's order, from 1.
        buffer: Its buffer.
        synthetic: The answer.
        label: What it shows.
        case: Hash of the real case, or the synthetic image's number in the set.
        patient: Hash of the patient; empty for a synthetic image.
        repeat_of: The reader's earlier item of the same image; empty for a first showing.
        arm: 0 for real images, 1 for the study's set, 2 for the set that it is compared with.
    """

    reader: str
    item: str
    position: int
    buffer: str
    synthetic: bool
    label: str
    case: str
    patient: str
    repeat_of: str
    arm: int = 0


@dataclass(frozen=True)
class Truth:
    """All of it.

    Attributes:
        study: Random name of the reader study.
        secret: From which numbers, orders, noise and items derive.
        entries: Reader by reader, in the order of the reading.
        buffers: SHA-256 of each buffer, by its name: what readers were shown.
        lesions: Row, column and radius of each lesion, by buffers of images of which it is known where they have any;
            empty where nothing is to be marked.
        unaware: Of the part before readers are told; may be none.
        controls: Readers whose images of that part are all real.
    """

    study: str
    secret: Secret
    entries: tuple[Entry, ...]
    buffers: Mapping[str, str]
    lesions: Mapping[str, Outlined]
    unaware: tuple[Entry, ...] = ()
    controls: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What is sealed."""
        return {
            "format": FORMAT,
            "study": self.study,
            "secret": self.secret.value.hex(),
            "entries": [asdict(entry) for entry in self.entries],
            "buffers": dict(self.buffers),
            "lesions": dict(self.lesions),
            "unaware": [asdict(entry) for entry in self.unaware],
            "controls": list(self.controls),
        }


def reader_names(count: int) -> tuple[str, ...]:
    """r01, r02 and so on."""
    return tuple(f"r{number:02d}" for number in range(1, count + 1))


def set_out(
    design: Design, rendered: Rendered, study: str, secret: Secret, lesions: Sequence[Outlined | None] = ()
) -> Truth:
    """Names every item of every reader, and says what it is.

    Args:
        design: Who sees what in which order.
        rendered: The buffers.
        study: Random name of the reader study.
        secret: From which the names derive.
        lesions: Of each subject, none where it is not known; empty where nothing is to be marked.
    """
    shown = enumerate(rendered.names) if lesions else ()
    outlined = {name: lesions[design.place_of(number)] for number, name in shown}
    entries = []
    for reader, order in zip(reader_names(len(design.orders)), design.orders, strict=True):
        seen: dict[int, str] = {}
        for position, presentation in enumerate(order, start=1):
            subject, place = design.subject_of(presentation), design.place_of(presentation)
            item = secret.item(study, reader, len(design.practice) + position)
            entries.append(
                Entry(
                    reader=reader,
                    item=item,
                    position=position,
                    buffer=rendered.names[presentation],
                    synthetic=subject.synthetic,
                    label=subject.label,
                    case=subject.case,
                    patient=subject.patient,
                    repeat_of=seen.get(place, ""),
                    arm=subject.arm,
                )
            )
            seen.setdefault(place, item)
    return Truth(
        study,
        secret,
        tuple(entries),
        {name: sha256_bytes(data) for name, data in rendered.as_bytes().items()},
        {name: found for name, found in outlined.items() if found is not None},
    )


def practice_places(design: Design, rendered: Rendered, study: str, secret: Secret, reader: str) -> tuple[Place, ...]:
    """The practice of one reader, with its answers: they are told, and not counted."""
    return told_places(design.practice, rendered, lambda number: secret.item(study, reader, number))


def told_places(practice: Sequence[Subject], rendered: Rendered, item: Callable[[int], str]) -> tuple[Place, ...]:
    """Images whose truth is told, with what stands beside each.

    Args:
        practice: The images, in the order in which they are shown.
        rendered: Their buffers, in the same order.
        item: Names the item of a number from 1.
    """
    buffers = zip(rendered.practice_names, rendered.nearest_names, rendered.mask_names, strict=True)
    return tuple(
        Place(item(number), name, SYNTHETIC if subject.synthetic else REAL, near, mask)
        for number, (subject, (name, near, mask)) in enumerate(zip(practice, buffers, strict=True), start=1)
    )


def from_json(values: Any, study: str) -> Truth:
    """The truth as it was sealed.

    Raises:
        ReaderError: It is of another version or of another study.
    """
    try:
        if values["format"] == FORMAT and values["study"] == study:
            entries, unaware = (tuple(Entry(**entry) for entry in values[name]) for name in ("entries", "unaware"))
            lesions = {
                name: tuple((row, column, radius) for row, column, radius in found)
                for name, found in values["lesions"].items()
            }
            secret, controls = Secret(bytes.fromhex(values["secret"])), tuple(values["controls"])
            return Truth(study, secret, entries, values["buffers"], lesions, unaware, controls)
    except (KeyError, TypeError, ValueError):
        pass
    raise ReaderError(
        "the sealed truth is of another version or study; close it with the scansynth version that created it"
    )
