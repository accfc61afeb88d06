"""Teaching: images with their truth after each answer. No study: nothing is sealed, closed or analysed.

Real images are of the role train alone; the test patients stay unseen for a study.
"""

from __future__ import annotations

import datetime
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scansynth.errors import ReaderError
from scansynth.files import new_directory, sha256_bytes
from scansynth.ledger import PERMITTED, Use
from scansynth.reader.buffers import Rendered, render_told
from scansynth.reader.pool import Pool, Subject, gather
from scansynth.reader.protocol import SCALE, marking, presets
from scansynth.reader.server.invitations import expiry, new_token, token_sha256
from scansynth.reader.server.worklist import WORKLIST, Display, Place, Seat, Worklist, write_worklist
from scansynth.reader.truth import reader_names, told_places
from scansynth.seeds import generator
from scansynth.stage import StageRecord, hash_outputs, versions, write_record
from scansynth.study import WORKLIST_FOLDER, Study

STAGE = "reader teach"


@dataclass(frozen=True)
class Taught:
    """New teaching images, and what is shown once and not stored.

    Attributes:
        worklist: Folder to serve.
        images: How many.
        invitations: Token of each person, by name.
        administrator: Token of the administrator's page.
    """

    worklist: Path
    images: int
    invitations: Mapping[str, str]
    administrator: str


def make_teaching(study: Study, images: int, people: int = 1, now: datetime.datetime | None = None) -> Taught:
    """Draws images of both kinds, half and half, for people to learn from; the caller holds the study's lock.

    Args:
        study: The study; its set was audited.
        images: How many, both kinds together.
        people: How many learn; each has an own order.
        now: Time of creation; none: the clock's.

    Raises:
        ReaderError: There are teaching images already, or too few train patients or synthetic images.
        CohortError: The cohort or the set is missing or damaged.
        StorageError: The folder cannot be written.
    """
    started, now = time.monotonic(), now or datetime.datetime.now(datetime.UTC)
    if study.teaching.exists():
        raise ReaderError("teaching images already exist; remove the folder teaching/ to draw others")
    pool = gather(study, (Use.READER_PRACTICE,))
    rng = generator(study.config.seed, "reader", "teaching")
    subjects = _drawn(pool, images, rng)
    rendered = render_told(pool, subjects, (), rng, pool.real_images)
    tokens = {reader: new_token() for reader in reader_names(people)}
    administrator = new_token()
    with new_directory(study.teaching) as folder:
        worklist = _worklist(study, pool, rendered, subjects, rng, now, tokens, administrator)
        write_worklist(folder / WORKLIST_FOLDER, worklist, rendered.as_bytes())
        record = StageRecord(
            stage=STAGE,
            inputs=pool.inputs,
            settings={"images": images, "people": people},
            outputs=hash_outputs(folder, [folder / WORKLIST_FOLDER / WORKLIST]),
            seed=study.config.seed,
            roles=tuple(sorted(role.value for role in PERMITTED[Use.READER_PRACTICE])),
            patients=pool.patients,
            seconds=round(time.monotonic() - started, 1),
            versions=versions(),
        )
        write_record(folder, record)
    study.log(STAGE, "written", images=len(subjects), people=people)
    return Taught(study.teaching / WORKLIST_FOLDER, len(subjects), tokens, administrator)


def _drawn(pool: Pool, images: int, rng: np.random.Generator) -> tuple[Subject, ...]:
    """Half real and half synthetic, at random.

    Raises:
        ReaderError: There are too few of either.
    """
    half = images // 2
    most = 2 * min(len(pool.practice), len(pool.synthetic))
    if most < 2 * (images - half):
        raise ReaderError(
            f"there are {len(pool.practice)} train patients and {len(pool.synthetic)} synthetic images; give --images "
            f"{most} or fewer"
        )
    reals = [pool.practice[place] for place in rng.permutation(len(pool.practice))[: images - half].tolist()]
    made = [pool.synthetic[place] for place in rng.permutation(len(pool.synthetic))[:half].tolist()]
    return (*reals, *made)


def _worklist(
    study: Study,
    pool: Pool,
    rendered: Rendered,
    subjects: tuple[Subject, ...],
    rng: np.random.Generator,
    now: datetime.datetime,
    tokens: Mapping[str, str],
    administrator: str,
) -> Worklist:
    settings, facts = study.config.reader, pool.facts
    expires = expiry(now, settings.expiry_days)
    seats = []
    for reader, token in tokens.items():
        places = told_places(subjects, rendered, lambda _: secrets.token_hex(16))
        order: tuple[Place, ...] = tuple(places[number] for number in rng.permutation(len(places)).tolist())
        seats.append(Seat(reader, token_sha256(token), expires, order, ()))
    name = secrets.token_hex(16)
    rows, columns = rendered.practice.shape[1:]
    return Worklist(
        study=name,
        title=f"{settings.title}: teaching",
        protocol_sha256=sha256_bytes(f"teaching {name}".encode()),  # there is no protocol
        expires=expires,
        image=Display(rows, columns, facts.low, facts.high, "HU" if facts.modality == "CT" else "", facts.spacing),
        presets=presets(facts),
        scale=SCALE,
        second_question=None,
        break_every=settings.break_every,
        administrator_sha256=token_sha256(administrator),
        readers=tuple(seats),
        comments=False,
        teaching=True,
        marking=marking(settings) if pool.practice_masks is not None else None,
    )
