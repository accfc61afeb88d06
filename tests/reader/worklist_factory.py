"""A small worklist from arrays, made in well under a second: for the tests of the server, the page and the readings."""

from __future__ import annotations

import datetime
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scansynth.reader.protocol import SCALE
from scansynth.reader.server.invitations import expiry, new_token, token_sha256
from scansynth.reader.server.worklist import (
    REAL,
    SYNTHETIC,
    Display,
    FirstPart,
    Place,
    Preset,
    Seat,
    SecondQuestion,
    Worklist,
    write_worklist,
)
from scansynth.reader.unaware import FINDING_SCALE

NOW = datetime.datetime(2026, 11, 27, 12, 0, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Kit:
    """A worklist, and what only its administrator and the sealed truth know.

    Attributes:
        folder: The worklist, as the server gets it.
        worklist: The same, as values.
        tokens: Invitation of each reader, by name.
        administrator: The administrator's token.
        truth: Whether each item is synthetic, practice included.
    """

    folder: Path
    worklist: Worklist
    tokens: dict[str, str]
    administrator: str
    truth: dict[str, bool]


def pictures(count: int, side: int, seed: int = 0) -> np.ndarray:
    """Smooth blobs with noise, uint16 (count, side, side), multiples of 257; no two are equal."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    made = []
    for _ in range(count):
        a, b, c = rng.uniform(0.25, 0.75, 3)
        blob = np.exp(-((y - a) ** 2 + (x - b) ** 2) / (0.02 + 0.1 * c)) + 0.05 * rng.standard_normal((side, side))
        made.append(np.rint(np.clip(blob * 0.8 + 0.1, 0.0, 1.0) * 255) * 257)
    return np.array(made, np.uint16)


def disc(rows: int, columns: int) -> np.ndarray:
    """A mask as buffers hold it: 65535 within a quarter of the side around the middle."""
    y, x = np.mgrid[:rows, :columns]
    return (np.hypot(y - rows / 2, x - columns / 2) < columns / 4).astype(np.uint16) * 65535


def make_worklist(
    folder: Path,
    images: np.ndarray | None = None,
    readers: int = 2,
    count: int = 12,
    practice: int = 3,
    side: int = 64,
    second_question: bool | SecondQuestion = False,
    now: datetime.datetime | None = None,
    days: float = 14.0,
    seed: int = 0,
    told: bool = False,
    masked: bool = True,
    references: int = 0,
    beside: np.ndarray | None = None,
    unaware: int = 0,
    **changes: Any,
) -> Kit:
    """Writes a worklist into `folder`.

    Args:
        folder: A folder that is not there yet.
        images: uint16 (practice + count, rows, columns), the practice first; none: `pictures`.
        readers: How many.
        count: Images that each reads, when `images` is none.
        practice: Practice cases.
        side: Of the drawn pictures.
        second_question: Ask a second question with confidence, or this one.
        now: When it is made; none: the clock's time, so that invitations are valid.
        days: Until the invitations end.
        seed: Of truth and orders.
        told: Practice cases have an image nearest to them.
        masked: They have a mask, too: a disc in the middle.
        references: How many real images to look at beside.
        unaware: Images read for the finding alone, before readers are told.
        beside: uint16 (1 + references, rows, columns), the nearest first; none: `pictures`.
        changes: Fields of `Worklist` set otherwise, such as `break_every=5`.
    """
    rng = np.random.default_rng(seed)
    images = pictures(practice + count, side, seed) if images is None else images
    synthetic = rng.permutation(np.arange(len(images)) % 2).astype(bool)
    names = [secrets.token_hex(16) for _ in images]
    first_images = images[:0] if not unaware else images[np.arange(unaware) % len(images)] ^ np.uint16(257)
    first_names = [secrets.token_hex(16) for _ in range(unaware)]
    expires = expiry(now or datetime.datetime.now(datetime.UTC), days)
    tokens, truth, seats = {}, {}, []
    square = images.shape[1] == images.shape[2]
    drawn = pictures(1 + references, images.shape[1], seed + 99) if square else images[:1]
    aside = drawn if beside is None else beside
    extra = {secrets.token_hex(16): picture for picture in aside}
    nearest = next(iter(extra)) if told else ""
    mask = secrets.token_hex(16) if told and masked else ""
    for number in range(1, readers + 1):
        reader = f"r{number:02d}"
        tokens[reader] = new_token()
        items = [secrets.token_hex(16) for _ in images]
        truth |= {item: bool(is_synthetic) for item, is_synthetic in zip(items, synthetic, strict=True)}
        cases = [
            Place(items[k], names[k], SYNTHETIC if synthetic[k] else REAL, nearest, mask)
            for k in rng.permutation(practice).tolist()
        ]
        order = (practice + rng.permutation(len(images) - practice)).tolist()
        sequence = tuple(Place(items[k], names[k]) for k in order)
        earlier = tuple(Place(secrets.token_hex(16), first_names[k]) for k in rng.permutation(unaware).tolist())
        questions = tuple(secrets.token_hex(16) for _ in range(2)) if unaware else ()
        truth |= {place.item: first_names.index(place.buffer) % 2 == 1 for place in earlier}
        seats.append(Seat(reader, token_sha256(tokens[reader]), expires, tuple(cases), sequence, earlier, questions))
    administrator = new_token()
    second = SecondQuestion("Is there a nodule?", ("Yes", "No", "Cannot say"), True) if second_question else None
    second = second_question if isinstance(second_question, SecondQuestion) else second
    rows, columns = images.shape[1:]
    values: dict[str, Any] = {
        "study": secrets.token_hex(16),
        "title": "Chest MR reading",
        "protocol_sha256": secrets.token_hex(32),
        "expires": expires,
        "image": Display(rows, columns, 0.0, 1500.0, "", (1.5, 1.5)),
        "presets": (Preset("Full range", 750.0, 1500.0), Preset("Soft tissue", 600.0, 700.0)),
        "scale": SCALE,
        "second_question": second,
        "break_every": 40,
        "administrator_sha256": token_sha256(administrator),
        "readers": tuple(seats),
    }
    values["references"] = tuple(extra)[1:]
    values["first"] = FirstPart("Is there a nodule?", FINDING_SCALE) if unaware else None
    worklist = Worklist(**(values | changes))
    first = dict(zip(first_names, first_images, strict=True))
    shown = {**dict(zip(names, images, strict=True)), **first, **extra, mask: disc(rows, columns)}
    write_worklist(
        folder,
        worklist,
        {name: image.astype("<u2").tobytes() for name, image in shown.items() if name in worklist.buffers},
    )
    return Kit(folder, worklist, tokens, administrator, truth)
