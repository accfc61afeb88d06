"""The first part: images read for the finding alone, by readers who do not know yet what the study compares.

After it readers are asked whether they noticed anything, and then told. Its images are others than those of the study
proper, of other patients, so that nothing learned here answers a question there. Some readers may be controls: their
images are all real, so that what they notice is what people notice where there is nothing.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.config import ReaderSettings
from scansynth.errors import ReaderError
from scansynth.files import sha256_bytes
from scansynth.metrics.telltales import as_readers_see
from scansynth.reader.buffers import encode
from scansynth.reader.design import SPARE_SEATS, Design, by_stratum, matched, most_of_a_kind, numbers_of, one_each
from scansynth.reader.pool import Pool, Subject
from scansynth.reader.server.asked import NOTICED, SHARE, SUSPECTED, WORDS
from scansynth.reader.server.hints import hints_in
from scansynth.reader.server.worklist import FirstPart, Place
from scansynth.reader.truth import Entry, Secret, Truth, reader_names
from scansynth.seeds import generator

FINDING_SCALE = (
    "definitely not",
    "probably not",
    "perhaps not",
    "perhaps",
    "probably",
    "definitely",
)
"""Answers for the finding, 1 to 6; 4 and more say that it is there."""

LEAST_IMAGES = 8
"""Fewest images of the first part."""

FIGURES = (
    "the share of the readers who said that something struck them as unusual, and of those who said to have suspected "
    "computer-generated images, with exact intervals over readers; the readers' AUC, sensitivity and specificity for "
    "the finding on real images less that on synthetic ones; none of it decides anything"
)
"""What is made of the first part; fixed with the protocol."""


@dataclass(frozen=True)
class First:
    """What is read in the first part, and by whom in which order.

    Attributes:
        subjects: Images, real and synthetic; those that controls alone see stand last.
        images: uint16 (n, rows, columns), as readers see them.
        names: Of the buffers.
        orders: For each seat, places in `subjects`.
        controls: Seats whose images are all real.
    """

    subjects: tuple[Subject, ...]
    images: NDArray[np.uint16]
    names: tuple[str, ...]
    orders: tuple[tuple[int, ...], ...]
    controls: frozenset[str]

    def as_bytes(self) -> dict[str, bytes]:
        """Every buffer by its name."""
        return {name: encode(image) for name, image in zip(self.names, self.images, strict=True)}


def first_part(settings: ReaderSettings) -> FirstPart | None:
    """What is asked of each image of the first part; none where there is none."""
    if not settings.unaware:
        return None
    return FirstPart(settings.question or "", FINDING_SCALE)


def write_up_first(settings: ReaderSettings, finding: str) -> dict[str, Any] | None:
    """The first part as the protocol holds it."""
    if not settings.unaware:
        return None
    return {
        "images": settings.unaware,
        "controls": settings.unaware_controls,
        "question": settings.question,
        "finding": finding,
        "scale": list(FINDING_SCALE),
        "noticed": [NOTICED, WORDS],
        "suspected": [SUSPECTED, SHARE],
        "figures": FIGURES,
    }


def require_silent(settings: ReaderSettings, address: str = "") -> None:
    """Checks, where there is a first part, that nothing which readers meet before its end says what is compared.

    Args:
        settings: With title and question.
        address: At which readers reach the server.

    Raises:
        ReaderError: The question is missing, or a text says it.
    """
    if not settings.unaware:
        return
    if settings.question is None:
        raise ReaderError(
            'images before readers are told need a question about the finding; set reader.question = "Is there ...?"'
        )
    for name, text in (
        ("reader.title", settings.title),
        ("reader.question", settings.question),
        ("--address", address),
    ):
        if told := hints_in(text):
            raise ReaderError(
                f"{name} says {' and '.join(repr(one) for one in told)}, which would tell readers what is compared "
                "before the first part is over; give another"
            )


def check_room(pool: Pool, settings: ReaderSettings) -> None:
    """Passes when images are left for the first part, whatever numbers may be drawn; so a refusal tells nothing.

    Raises:
        ReaderError: There are too few patients or synthetic images.
    """
    count = settings.unaware
    if not count:
        return
    if count < LEAST_IMAGES:
        raise ReaderError(f"reader.unaware is {count}; give at least {LEAST_IMAGES} images, or 0 for no first part")
    if settings.unaware_controls >= settings.readers:
        raise ReaderError(
            f"reader.unaware_controls is {settings.unaware_controls} of {settings.readers} readers; give fewer, since "
            "controls see no synthetic image"
        )
    most, first = most_of_a_kind(settings), most_of_a_kind(settings.model_copy(update={"images": count}))
    patients = len({subject.patient for subject in pool.reals})
    needed = most + (count if settings.unaware_controls else first)
    if patients < needed:
        raise ReaderError(
            f"there are {patients} test patients, and {settings.images} images after {count} before readers are told "
            f"may need {needed}, one image of each; set reader.unaware or reader.images lower"
        )
    sets, half = len(pool.sets), math.ceil(settings.practice / 2)
    wanted = math.ceil(most / sets) + math.ceil(half / sets) + first
    if len(pool.synthetic) < wanted:
        raise ReaderError(
            f"the set has {len(pool.synthetic)} synthetic images, and {settings.images} images with {count} before "
            f"readers are told may need {wanted}; generate more, or set reader.unaware lower"
        )


def draw_first(pool: Pool, settings: ReaderSettings, design: Design, seed: int, secret: Secret) -> First | None:
    """Chooses images of patients and of the set that are not read later, and every reader's order.

    Args:
        pool: What may be shown.
        settings: Numbers.
        design: Of the study proper.
        seed: The study's: which images.
        secret: Sealed: how many of each kind, the orders, the controls, and the noise.
    """
    count = settings.unaware
    if not count:
        return None
    hidden = generator(secret.seed, "unaware", "numbers")
    most = most_of_a_kind(settings.model_copy(update={"images": count}))
    made_count = int(hidden.integers(count - most, most + 1))
    reals, made = _left(pool, design)
    groups = one_each(replace(pool, reals=reals), generator(seed, "unaware", "patients"))
    chosen, spare = matched(groups, numbers_of(groups, count - made_count), generator(seed, "unaware", "reals"))
    drawn, _ = matched(by_stratum(made), numbers_of(groups, made_count), generator(seed, "unaware", "synthetic"))
    lacking = made_count - len(drawn)
    if lacking > 0:
        raise ReaderError("the set has too few images of a label for the first part; generate more of them")
    extra = spare[:made_count] if settings.unaware_controls else []
    subjects = (*chosen, *drawn, *extra)
    names = reader_names(settings.readers + SPARE_SEATS)
    places = hidden.permutation(settings.readers)[: settings.unaware_controls].tolist()
    controls = frozenset(names[place] for place in places)
    mixed, plain = np.arange(count), np.array([*range(len(chosen)), *range(count, len(subjects))])
    orders = tuple(
        tuple(
            generator(secret.seed, "unaware", "order", name).permutation(plain if name in controls else mixed).tolist()
        )
        for name in names
    )
    stored = np.array([pool.image(subject) for subject in subjects], np.uint16)
    images = as_readers_see(stored, generator(secret.seed, "unaware", "noise"))
    return First(subjects, images, tuple(secrets.token_hex(16) for _ in subjects), orders, controls)


def _left(pool: Pool, design: Design) -> tuple[tuple[Subject, ...], tuple[Subject, ...]]:
    """Real images of patients, and synthetic images, that are shown nowhere else."""
    used = {subject.patient for subject in design.subjects if not subject.synthetic}
    seen = {subject.case for subject in (*design.subjects, *design.practice) if subject.synthetic}
    reals = tuple(subject for subject in pool.reals if subject.patient not in used)
    return reals, tuple(subject for subject in pool.synthetic if subject.case not in seen)


def set_out_first(first: First, study: str, secret: Secret) -> tuple[Entry, ...]:
    """What each item of the first part is, reader by reader, in the order of the reading."""
    entries = []
    for reader, order in zip(reader_names(len(first.orders)), first.orders, strict=True):
        for position, place in enumerate(order, start=1):
            subject = first.subjects[place]
            entries.append(
                Entry(
                    reader=reader,
                    item=secret.item(study, reader, -position),
                    position=position,
                    buffer=first.names[place],
                    synthetic=subject.synthetic,
                    label=subject.label,
                    case=subject.case,
                    patient=subject.patient,
                    repeat_of="",
                    arm=subject.arm,
                )
            )
    return tuple(entries)


def with_first(truth: Truth, first: First | None) -> Truth:
    """The truth, with that of the first part."""
    if first is None:
        return truth
    buffers = {name: sha256_bytes(data) for name, data in first.as_bytes().items()}
    return replace(
        truth,
        unaware=set_out_first(first, truth.study, truth.secret),
        controls=tuple(sorted(first.controls)),
        buffers={**truth.buffers, **buffers},
    )


def first_places(entries: Sequence[Entry], reader: str) -> tuple[Place, ...]:
    """The first part of one reader, as the worklist has it."""
    return tuple(Place(entry.item, entry.buffer) for entry in entries if entry.reader == reader)


def first_questions(study: str, secret: Secret, reader: str, images: int) -> tuple[str, ...]:
    """Items of the two questions after the first part; none where there is no such part."""
    return tuple(secret.item(study, reader, -images - number) for number in (1, 2)) if images else ()


def checked_first(first: FirstPart | None, protocol: Mapping[str, Any]) -> bool:
    """Whether a worklist asked in the first part what the protocol says."""
    fixed = protocol.get("unaware")
    if first is None or fixed is None:
        return first is None and fixed is None
    return (first.question, list(first.scale)) == (fixed["question"], fixed["scale"])
