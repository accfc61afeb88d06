"""The conclusion of a closed study: the analysis fixed in advance, and its files."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scansynth.claims.judged import write_claims
from scansynth.data.tensors import cases_for, load_cohort
from scansynth.errors import ReaderError, StudyError
from scansynth.files import read_json, sha256_file, write_json
from scansynth.ledger import Use
from scansynth.reader.amendments import SET_ASIDE, Amendment, about_readings, excluded, seated
from scansynth.reader.noticing import analyse_noticed, written
from scansynth.reader.placed import conclude_where
from scansynth.reader.protocol import read_protocol
from scansynth.reader.server.locked import SetAside
from scansynth.reader.server.worklist import load_worklist
from scansynth.reader.statistics.analysis import Analysis, Protocol, analyse, read_protocol_values
from scansynth.reader.statistics.imrmc import write_imrmc, write_rjafroc
from scansynth.reader.statistics.readings import Reading, read_readings
from scansynth.stage import RECORD, StageRecord, hash_outputs, read_record, versions, write_record
from scansynth.study import (
    ANALYSIS,
    CLAIMS_FILE,
    CLOSING,
    IMRMC,
    LESIONS,
    MACHINE,
    PROBE,
    PROTOCOL,
    READINGS,
    RJAFROC,
    SAID,
    SCREENS,
    UNAWARE,
    WORKLIST_FOLDER,
    Study,
)

STAGE = "reader analyse"


@dataclass(frozen=True)
class Closed:
    """A closed study, checked to be as it was when it was closed.

    Attributes:
        closing: What was noted then.
        protocol: As it was fixed before anybody read.
        rule: The analysis's part of it, with what was decided about readers since.
        remarks: What the report must say of that.
        readings: Of all readers.
    """

    closing: Mapping[str, Any]
    protocol: Mapping[str, Any]
    rule: Protocol
    remarks: tuple[str, ...]
    readings: tuple[Reading, ...]


def read_closed(study: Study) -> Closed:
    """What a closed study holds.

    Raises:
        ReaderError: It is not closed, or protocol or readings were changed since.
    """
    folder, closing = study.reader, _closing(study)
    protocol = read_protocol(folder, load_worklist(folder / WORKLIST_FOLDER).protocol_sha256)
    readings = read_readings(folder / READINGS)
    return Closed(closing, protocol, *_amended(read_protocol_values(protocol), closing), readings)


def conclude(study: Study) -> Analysis:
    """Analyses a closed study and writes what it found, with the record; the caller has the lock.

    Raises:
        ReaderError: The study is not closed, or protocol, probe or readings were changed since.
    """
    started, folder = time.monotonic(), study.reader
    closed, before = read_closed(study), _before(study)
    closing, protocol, readings = closed.closing, closed.protocol, closed.readings
    rule, remarks = closed.rule, closed.remarks
    test = cases_for(load_cohort(study.cohort), Use.READER_STUDY)
    attributes = {case.case: case.attributes for case in test if case.attributes}
    machine = read_json(folder / MACHINE)
    inputs = {name.partition(".")[0]: sha256_file(folder / name) for name in (PROTOCOL, READINGS, MACHINE, PROBE)}
    inputs |= {name.partition(".")[0]: sha256_file(folder / name) for name in written(protocol)}
    found = analyse(readings, rule, machine, attributes, before.seed, inputs, remarks)
    told = {"closing": closing, "probe": _probe(folder, protocol), "protocol": _told(protocol)}
    told |= analyse_noticed(folder, protocol, rule.excluded)
    where, claims = conclude_where(study, protocol, rule, readings, before.seed, inputs)
    write_json(folder / ANALYSIS, {**found.as_json(), "where": where, **told})
    write_claims(folder / CLAIMS_FILE, (found.claim, *claims))
    write_imrmc(folder / IMRMC, readings)
    write_rjafroc(folder / RJAFROC, readings)
    record = StageRecord(
        stage=STAGE,
        inputs=inputs,
        settings=before.settings,
        outputs=hash_outputs(folder, [path for path in folder.iterdir() if path.is_file() and path.name != RECORD]),
        seed=before.seed,
        roles=before.roles,
        patients=before.patients,
        seconds=round(time.monotonic() - started, 1),
        versions=versions(),
    )
    write_record(folder, record)
    study.log(STAGE, "written", verdict=found.decision.outcome.value, **record.logged)
    return found


def _amended(rule: Protocol, closing: Mapping[str, Any]) -> tuple[Protocol, tuple[str, ...]]:
    """What was decided about readers since the protocol was fixed, and what the report must say of it.

    Raises:
        ReaderError: The record of the closing is damaged.
    """
    try:
        decided = tuple(Amendment(**values) for values in closing["amendments"])
        lost = tuple(SetAside(**values) for values in closing["set_aside"])
    except (KeyError, TypeError):
        raise ReaderError(f"{CLOSING} is damaged; run: scansynth reader close STUDY") from None
    remarks = [one.told for one in decided if one.kind != SET_ASIDE]
    if lost:
        by = "; ".join(sorted({f"{one.name}, {one.reason.rstrip('.')}" for one in lost}))
        remarks.append(f"{about_readings(lost)}. They were set aside by decision of: {by}.")
    return replace(rule, excluded=excluded(decided), seats=seated(rule.readers, decided)), tuple(remarks)


def _before(study: Study) -> StageRecord:
    """The record of the creation: its seed stays that of the analysis, whatever study.toml says by now.

    Raises:
        ReaderError: It is missing or damaged.
    """
    with contextlib.suppress(StudyError):  # its advice is to remove the folder, and the readings lie there
        if (found := read_record(study.reader)) is not None:
            return found
    raise ReaderError(f"{RECORD} of the reader study is missing or damaged; restore the file")


def _closing(study: Study) -> Mapping[str, Any]:
    """How the study was closed, when protocol, readings and machine are still those of then.

    Raises:
        ReaderError: It is not closed, or a file was changed since.
    """
    folder = study.reader
    try:
        closing: dict[str, Any] = read_json(folder / CLOSING)
        # lesions where findings were marked, and the others where there was a first part
        more = [name for name in (LESIONS, SAID, UNAWARE) if _hash_of(name) in closing]
        names = (READINGS, MACHINE, PROTOCOL, SCREENS, *more)
        changed = [name for name in names if sha256_file(folder / name) != closing[_hash_of(name)]]
    except FileNotFoundError:
        raise ReaderError("the reader study is not closed; run: scansynth reader close STUDY") from None
    except (ValueError, KeyError, TypeError):
        raise ReaderError(f"{CLOSING} is damaged; run: scansynth reader close STUDY") from None
    if PROTOCOL in changed:
        raise ReaderError(f"{PROTOCOL} was changed after the study was closed; restore the file")
    if changed:
        raise ReaderError(
            "the readings were changed after the study was closed; run scansynth reader close STUDY to export them "
            "from the database again"
        )
    return closing


def _hash_of(name: str) -> str:
    """Under which name the closing keeps the hash of a file."""
    return f"{name.partition('.')[0]}_sha256"


def _probe(folder: Path, protocol: Mapping[str, Any]) -> Any:
    """What the probe found, as the protocol knows it: the report prints what was overridden.

    Raises:
        ReaderError: The file is missing, or was changed since.
    """
    try:
        if sha256_file(folder / PROBE) == protocol["probe_sha256"]:
            return read_json(folder / PROBE)
    except FileNotFoundError:
        pass
    raise ReaderError(f"{PROBE} is missing or was changed after the study was created; restore the file")


def _told(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """What of the protocol the report repeats."""
    names = ("title", "created", "mix", "repeated", "presentations", "synthetic_set", "commitment", "override", "scale")
    return {name: protocol.get(name) for name in names}
