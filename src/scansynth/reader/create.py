"""Creates a reader study: design, render, probe, seal; completely or not at all."""

from __future__ import annotations

import contextlib
import datetime
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scansynth.config import ReaderSettings
from scansynth.console import Progress, silent
from scansynth.errors import ReaderError
from scansynth.files import new_directory, sha256_bytes, sha256_file, write_bytes, write_json
from scansynth.ledger import PERMITTED, Use
from scansynth.reader.buffers import Rendered, render
from scansynth.reader.design import Design, draw
from scansynth.reader.outlines import outlines, require_outlines
from scansynth.reader.pool import Pool, gather, with_second
from scansynth.reader.probe import Override, Probed, probe, require
from scansynth.reader.protocol import SCALE, Fixed, marking, presets, require_whole, second_question, write_up
from scansynth.reader.seal import Sealed, default_seal_path, new_key, seal
from scansynth.reader.server.invitations import expiry, new_token, token_sha256
from scansynth.reader.server.worklist import (
    Display,
    Place,
    Seat,
    Worklist,
    load_worklist,
    places_as_json,
    was_served,
    write_worklist,
)
from scansynth.reader.truth import Secret, Truth, practice_places, reader_names, set_out
from scansynth.reader.unaware import (
    First,
    check_room,
    draw_first,
    first_part,
    first_places,
    first_questions,
    require_silent,
    with_first,
)
from scansynth.seeds import derive_seed, generator
from scansynth.stage import StageRecord, hash_outputs, plain, read_record, versions, write_record
from scansynth.study import PROBE, PROTOCOL, SEALED, SPARES, WORKLIST_FOLDER, Study

STAGE = "reader create"
_STEPS = 4


@dataclass(frozen=True)
class Created:
    """A new reader study, and what is shown once and not stored.

    Attributes:
        folder: The reader study.
        seal: File with the key of the seal.
        invitations: Token of each reader, by name.
        administrator: Token of the administrator's page.
        presentations: Images that each reader answers, repeats included.
        probed: What the probe found.
        unaware: Images that each reader answers before, for the finding alone.
    """

    folder: Path
    seal: Path
    invitations: Mapping[str, str]
    administrator: str
    presentations: int
    probed: Probed
    unaware: int = 0


@dataclass(frozen=True)
class _Plan:
    """All that is written, before any of it is."""

    study: Study
    settings: ReaderSettings
    pool: Pool
    design: Design
    rendered: Rendered
    first: First | None
    probed: Probed
    override: Override | None
    truth: Truth
    now: datetime.datetime
    started: float


def create(
    study: Study,
    settings: ReaderSettings | None = None,
    *,
    seal_file: Path | None = None,
    override: Override | None = None,
    replace: bool = False,
    now: datetime.datetime | None = None,
    progress: Progress = silent,
) -> Created:
    """Creates the reader study of a study's synthetic set; the caller holds the study's lock.

    Args:
        study: The study; its set was audited.
        settings: Other than those of the study.
        seal_file: Where the key of the seal is written; none: beside the institution key.
        override: Who overrules the probe's refusal, and why; unused where it does not refuse.
        replace: Put it in the place of one that was never served, which is kept beside it.
        now: Time of creation; none: the clock's.
        progress: Called with the number of steps done.

    Raises:
        ReaderError: There is a reader study already, images are too few, or the probe refuses.
        CohortError: The cohort or the set is missing or damaged.
        StorageError: The disk is full, or a folder cannot be written.
    """
    started, now = time.monotonic(), now or datetime.datetime.now(datetime.UTC)
    settings = settings or study.config.reader
    _refuse_a_second(study.reader, replace)
    plan = _plan(study, settings, override, now, started, progress)
    progress(3, _STEPS, "sealing")
    tokens = {reader: new_token() for reader in reader_names(settings.readers)}
    administrator = new_token()
    seal_path = seal_file or default_seal_path(plan.truth.study)
    key = new_key(seal_path, study.folder)
    try:
        with _set_aside(study.reader), new_directory(study.reader) as folder:
            _write(folder, plan, seal(plan.truth.as_json(), key, plan.truth.study), tokens, administrator)
    except BaseException:
        seal_path.unlink(missing_ok=True)  # the key of nothing would only stand in the way
        raise
    progress(_STEPS, _STEPS, "sealed")
    record = read_record(study.reader)
    told = {"readers": settings.readers, "images": settings.images, "overridden": bool(plan.probed.refusal)}
    study.log(STAGE, "written", **told, **(record.logged if record else {}))
    return Created(
        study.reader, seal_path, tokens, administrator, plan.design.presentations, plan.probed, settings.unaware
    )


def _refuse_a_second(folder: Path, replace: bool) -> None:
    """Checks that nothing is overwritten that may have been read.

    Raises:
        ReaderError: There is a reader study already.
    """
    if not folder.exists():
        return
    if was_served(folder / WORKLIST_FOLDER):
        raise ReaderError(
            "the reader study was served and may have readings; move its folder reader/ away to create another"
        )
    if not replace:
        raise ReaderError("a reader study already exists; give --replace, or move its folder reader/ away")


@contextlib.contextmanager
def _set_aside(folder: Path) -> Iterator[None]:
    """Moves an older reader study away, and back when the block ends with a fault: a copy may be served elsewhere."""
    if not folder.exists():
        yield
        return
    aside = folder.with_name(f"{folder.name}-{load_worklist(folder / WORKLIST_FOLDER).study[:8]}")
    folder.rename(aside)
    try:
        yield
    except BaseException:
        aside.rename(folder)
        raise


def _plan(
    study: Study,
    settings: ReaderSettings,
    override: Override | None,
    now: datetime.datetime,
    started: float,
    progress: Progress,
) -> _Plan:
    """Designs, renders and probes.

    Raises:
        ReaderError: Images are too few, or the probe refuses.
    """
    progress(0, _STEPS, "drawing")
    require_silent(settings)
    pool, secret = gather(study), Secret(secrets.token_bytes(32))
    if settings.against is not None:
        pool = with_second(pool, study, settings.against)
    if settings.marks is not None:
        require_outlines(pool)
    require_whole(settings, pool.facts.labels)
    check_room(pool, settings)
    design = draw(pool, settings, study.config.seed, secret.seed)
    first = draw_first(pool, settings, design, study.config.seed, secret)
    progress(1, _STEPS, "rendering")
    rendered = render(design, pool, generator(secret.seed, "reader", "noise"))
    progress(2, _STEPS, "probing")
    probed = _probe(design, pool, rendered, settings.level, derive_seed(secret.seed, "reader", "probe"))
    if probed.refusal:  # each attempt uses new random numbers, so attempts are recorded
        study.log(STAGE, "refused by the probe", overridden=override is not None)
    require(probed, override)
    lesions = outlines(design, pool) if settings.marks is not None else ()
    truth = with_first(set_out(design, rendered, secrets.token_hex(16), secret, lesions), first)
    return _Plan(study, settings, pool, design, rendered, first, probed, override, truth, now, started)


def _probe(design: Design, pool: Pool, rendered: Rendered, level: float, seed: int) -> Probed:
    """Looks for traces in the first buffer of each image."""
    synthetic = np.array([subject.synthetic for subject in design.subjects])
    shown = rendered.shown[: len(synthetic)]
    originals = np.array([pool.image(subject) for subject in design.subjects if not subject.synthetic])
    return probe((shown[~synthetic], shown[synthetic]), originals, pool.claims, level, seed)


def _write(folder: Path, plan: _Plan, sealed: Sealed, tokens: Mapping[str, str], administrator: str) -> None:
    """Writes the whole reader study into a new folder; the record last."""
    write_bytes(folder / SEALED, sealed.data)
    write_json(folder / PROBE, plan.probed.as_json(plan.override))
    write_json(folder / SPARES, _spares(plan))
    write_json(folder / PROTOCOL, write_up(plan.settings, _fixed(folder, plan, sealed), plan.now))
    worklist = _worklist(plan, sha256_file(folder / PROTOCOL), tokens, administrator)
    shown = plan.rendered.as_bytes() | (plan.first.as_bytes() if plan.first else {})
    write_worklist(folder / WORKLIST_FOLDER, worklist, shown)
    named = [folder / SEALED, folder / PROBE, folder / SPARES, folder / PROTOCOL]
    readers = (Use.READER_STUDY, Use.READER_PRACTICE)
    record = StageRecord(
        stage=STAGE,
        inputs=plan.pool.inputs,
        settings=plain(plan.settings.model_dump()),
        outputs=hash_outputs(folder, named),
        seed=plan.study.config.seed,
        roles=tuple(sorted({role.value for reader in readers for role in PERMITTED[reader]})),
        patients=plan.pool.patients,
        seconds=round(time.monotonic() - plan.started, 1),
        versions=versions(),
    )
    write_record(folder, record)


def _fixed(folder: Path, plan: _Plan, sealed: Sealed) -> Fixed:
    return Fixed(
        study=plan.truth.study,
        images=len(plan.design.subjects),
        repeated=len(plan.design.repeated),
        labels=plan.pool.labels,
        inputs=plan.pool.inputs,
        synthetic_set=plan.study.config.synthetic.name,
        commitment=sealed.commitment,
        sealed_sha256=sha256_bytes(sealed.data),
        probe_sha256=sha256_file(folder / PROBE),
        spares_sha256=sha256_file(folder / SPARES),
        override=plan.probed.as_json(plan.override)["override"],
        finding=plan.settings.finding or plan.pool.facts.positive or "",
    )


def _spares(plan: _Plan) -> dict[str, Any]:
    """What readers will see who are added later: orders, as in the worklist, and no invitation."""
    everyone = reader_names(len(plan.design.orders))
    return {reader: places_as_json(_seat(plan, reader)) for reader in everyone[plan.settings.readers :]}


def _seat(plan: _Plan, reader: str, invitation_sha256: str = "", expires: str = "") -> Seat:
    """What one reader is shown."""
    truth = plan.truth
    return Seat(
        reader,
        invitation_sha256,
        expires,
        practice_places(plan.design, plan.rendered, truth.study, truth.secret, reader),
        tuple(Place(entry.item, entry.buffer) for entry in truth.entries if entry.reader == reader),
        first_places(truth.unaware, reader),
        first_questions(truth.study, truth.secret, reader, plan.settings.unaware),
    )


def _worklist(plan: _Plan, protocol_sha256: str, tokens: Mapping[str, str], administrator: str) -> Worklist:
    """What the server gets: orders and buffers, and no answer but those of the practice."""
    facts, truth, settings = plan.pool.facts, plan.truth, plan.settings
    expires = expiry(plan.now, settings.expiry_days)
    seats = [_seat(plan, reader, token_sha256(token), expires) for reader, token in tokens.items()]
    unit = "HU" if facts.modality == "CT" else ""
    rows, columns = plan.rendered.shown.shape[1:]
    return Worklist(
        study=truth.study,
        title=settings.title,
        protocol_sha256=protocol_sha256,
        expires=expires,
        image=Display(rows, columns, facts.low, facts.high, unit, facts.spacing),
        presets=presets(facts),
        scale=SCALE,
        second_question=second_question(settings),
        break_every=settings.break_every,
        administrator_sha256=token_sha256(administrator),
        readers=tuple(seats),
        comments=settings.comments,
        references=plan.rendered.reference_names,
        marking=marking(settings),
        first=first_part(settings),
    )
