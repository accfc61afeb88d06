"""Closes a reader study: stops readings, checks the chain, opens the seal and joins truth and answers."""

from __future__ import annotations

import contextlib
import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.console import Progress, silent
from scansynth.data.tensors import load_facts
from scansynth.errors import ReaderError
from scansynth.files import read_json, read_json_lines, sha256_file, write_json
from scansynth.reader.amendments import read_amendments, seated
from scansynth.reader.buffers import decode
from scansynth.reader.machine import MachineReading, read_by_machine
from scansynth.reader.noticing import write_noticed
from scansynth.reader.protocol import read_protocol
from scansynth.reader.seal import default_seal_path, load_key, unseal
from scansynth.reader.server.clock import moment
from scansynth.reader.server.locked import Export, close_database, export_readings
from scansynth.reader.server.locked import Reading as Locked
from scansynth.reader.server.worklist import BUFFERS, CLOSED, Worklist, load_worklist
from scansynth.reader.statistics.outlined import write_lesions
from scansynth.reader.statistics.readings import Reading, write_readings
from scansynth.reader.truth import Entry, Outlined, Truth, from_json, reader_names
from scansynth.reader.unaware import checked_first
from scansynth.seeds import generator
from scansynth.study import CLOSING, LESIONS, MACHINE, PROTOCOL, READINGS, SEALED, WORKLIST_FOLDER, Study

STAGE = "reader close"
_STEPS = 3

Stored = NDArray[np.uint16]


@dataclass(frozen=True)
class Closed:
    """The result of closing.

    Attributes:
        readings: How many answers there are, practice left out.
        unfinished: Of each reader who had not finished: answers given, answers asked for.
        machine: The machine reading, an upper reference.
    """

    readings: int
    unfinished: Mapping[str, tuple[int, int]]
    machine: MachineReading


def close(
    study: Study,
    *,
    seal_file: Path | None = None,
    worklist_folder: Path | None = None,
    database_url: str | None = None,
    early: bool = False,
    now: datetime.datetime | None = None,
    progress: Progress = silent,
) -> Closed:
    """Closes the reader study; may be done again, with the same outcome. The caller holds the study's lock.

    The key is checked first: a wrong one leaves the study open.

    Args:
        study: The study.
        seal_file: File with the key of the seal; none: where `create` puts it by default.
        worklist_folder: The copy of the worklist that was served, where that is another than the study's own.
        database_url: As it was given to the server.
        early: Close although some readers have not finished; the report says so.
        now: Time of closing; none: the clock's.
        progress: Called with the number of steps done.

    Raises:
        ReaderError: The key does not open the truth, something was altered, the chain of readings is broken or
            another than at the first closing, there are no readings, or readers have not finished.
    """
    folder, place = study.reader, worklist_folder or study.reader / WORKLIST_FOLDER
    progress(0, _STEPS, "unsealing")
    worklist = load_worklist(place)
    protocol = _protocol(folder, worklist)
    decided = _decided(study, worklist, int(protocol["readers"]))
    truth = _unsealed(folder / SEALED, place, worklist, str(protocol["commitment"]), seal_file)
    progress(1, _STEPS, "readings")
    _expect_words(worklist, protocol)
    _expect_the_same(study, worklist, export_readings(place, database_url))
    locked, closing = _end_reading(place, worklist, database_url, early, now or datetime.datetime.now(datetime.UTC))
    readings = _with_truth(locked.readings, truth)
    tables = _write_tables(folder, readings, truth if worklist.marking else None)
    names = (*tables, *write_noticed(folder, locked, truth, _reading), MACHINE, PROTOCOL)
    progress(2, _STEPS, "machine reader")
    machine = _machine(study, place, truth, worklist, float(protocol["level"]))
    write_json(folder / MACHINE, machine.as_json())
    hashes = {f"{Path(name).stem}_sha256": sha256_file(folder / name) for name in names}
    write_json(folder / CLOSING, {**closing, "amendments": decided, **hashes, "chain": asdict(locked.end)})
    unfinished = {reader: (given, asked) for reader, (given, asked) in closing["unfinished"].items()}
    told = {"readings": len(readings), "changed": sum(one.first_answer is not None for one in readings)}
    study.log(STAGE, "written", inputs=hashes, early=bool(unfinished), **told, **_kept(worklist, locked))
    progress(_STEPS, _STEPS, "closed")
    return Closed(len(readings), unfinished, machine)


def _protocol(folder: Path, worklist: Worklist) -> dict[str, Any]:
    """What was fixed before the reading of this worklist.

    Raises:
        ReaderError: The protocol was changed, or there is none: the worklist is for teaching.
    """
    if worklist.teaching:
        raise ReaderError("these images are for teaching and were read with their truth; close a reader study instead")
    return read_protocol(folder, worklist.protocol_sha256)


def _unsealed(sealed: Path, place: Path, worklist: Worklist, commitment: str, seal_file: Path | None) -> Truth:
    """The truth, checked to be the one that was sealed and to match buffers and orders.

    Raises:
        ReaderError: The key is wrong, or something was altered.
    """
    key = load_key(seal_file or default_seal_path(worklist.study))
    try:
        data = sealed.read_bytes()
    except OSError:
        raise ReaderError(f"the study has no {SEALED}; restore the file") from None
    truth = from_json(unseal(data, key, worklist.study, commitment), worklist.study)
    for name, digest in truth.buffers.items():
        path = place / BUFFERS / f"{name}.bin"
        if not path.exists() or sha256_file(path) != digest:
            raise ReaderError("an image of the worklist is not the one that was sealed; restore the worklist")
    orders = [(seat.reader, place.item, place.buffer) for seat in worklist.readers for place in seat.sequence]
    orders += [(seat.reader, place.item, place.buffer) for seat in worklist.readers for place in seat.unaware]
    seats, known = {seat.reader for seat in worklist.readers}, (*truth.entries, *truth.unaware)
    if orders != [(entry.reader, entry.item, entry.buffer) for entry in known if entry.reader in seats]:
        raise ReaderError("the orders of the worklist are not those that were sealed; restore worklist.json")
    return truth


def _decided(study: Study, worklist: Worklist, readers: int) -> list[dict[str, Any]]:
    """What was decided about readers since the protocol, when the worklist has those readers and no others.

    Raises:
        ReaderError: It has others, or the amendments were altered.
    """
    amendments = read_amendments(study, worklist.protocol_sha256)
    if tuple(seat.reader for seat in worklist.readers) != reader_names(seated(readers, amendments)):
        raise ReaderError(
            "the readers of the worklist are not those of the protocol and its amendments; restore worklist.json"
        )
    return [asdict(one) for one in amendments]


def _expect_words(worklist: Worklist, protocol: Mapping[str, Any]) -> None:
    """Checks that readers were asked what the protocol says, with the scale in that order: 6 must mean synthetic.

    Raises:
        ReaderError: The worklist asked something else.
    """
    second = worklist.second_question and {
        **asdict(worklist.second_question),
        "options": list(worklist.second_question.options),
    }
    marking = worklist.marking and {**asdict(worklist.marking), "levels": list(worklist.marking.levels)}
    asked = (protocol["scale"], protocol["second_question"], protocol["marking"])
    first = checked_first(worklist.first, protocol)
    if not first or (list(worklist.scale), second, marking) != asked:
        raise ReaderError("the questions of the worklist are not those of the protocol; restore worklist.json")


def _end_reading(
    place: Path, worklist: Worklist, database_url: str | None, early: bool, now: datetime.datetime
) -> tuple[Export, dict[str, Any]]:
    """Stops accepting readings, in the database first, and returns them with the record of the closing.

    The database alone says whether and when that was: the mark in the worklist tells the server, and proves nothing.

    Raises:
        ReaderError: There are no readings, or readers have not finished.
    """
    locked = export_readings(place, database_url)
    unfinished = _unfinished(worklist, locked)
    if unfinished and not (early or locked.closed):
        told = ", ".join(f"{reader} has answered {given} of {asked}" for reader, (given, asked) in unfinished.items())
        raise ReaderError(f"readers have not finished: {told}; wait, or give --early, which the report will state")
    close_database(place, database_url, lambda: now)
    # an answer may have been locked between the two: what counts is what is there now
    locked = export_readings(place, database_url)
    closed = moment(locked.closed).isoformat(timespec="seconds")
    values = {"closed": closed, "unfinished": _unfinished(worklist, locked)}
    write_json(place / CLOSED, values)
    return locked, {**values, "set_aside": [asdict(one) for one in locked.set_aside]}


def _expect_the_same(study: Study, worklist: Worklist, now: Export) -> None:
    """Checks that the study was not closed before, or with the same readings.

    The journal knows of each closing too, so that taking the record of the first one away helps nobody.

    Raises:
        ReaderError: The chain is whole, and another than that of an earlier closing: it was made again since.
    """
    for before in _closings(study, worklist):
        if before != asdict(now.end):
            raise ReaderError(
                f"the readings differ from those with which the study was closed: then {before['rows']} rows ending "
                f"with {before['sha256'][:12]}, now {now.end.rows} ending with {now.end.sha256[:12]}; give the "
                "database of then, unchanged"
            )


def _kept(worklist: Worklist, locked: Export) -> dict[str, Any]:
    """What the journal keeps of a closing: of which protocol, and with which chain."""
    return {"protocol": worklist.protocol_sha256, "chain": asdict(locked.end)}


def _closings(study: Study, worklist: Worklist) -> Iterator[dict[str, Any]]:
    """The end of the chain at each earlier closing, by its record and by the journal."""
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        yield read_json(study.reader / CLOSING)["chain"]
    for line in read_json_lines(study.journal):
        if line.get("stage") == STAGE and line.get("protocol") == worklist.protocol_sha256 and "chain" in line:
            yield line["chain"]


def _unfinished(worklist: Worklist, locked: Export) -> dict[str, tuple[int, int]]:
    """Of each reader who has not finished and may still: answers given, answers asked for.

    Raises:
        ReaderError: There are no readings.
    """
    given = Counter(reading.reader for reading in locked.readings)
    if not given and (locked.unaware or locked.asked):
        raise ReaderError("nobody has begun the part after readers are told, so there is nothing to analyse; wait")
    if not given:
        raise ReaderError("there are no readings; give the database that the server used: --database URL")
    lost = Counter(one.reader for one in locked.set_aside)
    asked = {seat.reader: len(seat.sequence) for seat in worklist.readers if seat.reader not in locked.withdrawn}
    return {reader: (given[reader], count) for reader, count in asked.items() if given[reader] + lost[reader] < count}


def _with_truth(locked: Iterable[Locked], truth: Truth) -> list[Reading]:
    """Each answer with what the image was, reader by reader, in the order of the reading."""
    entries = {(entry.reader, entry.item): entry for entry in truth.entries}
    readings = [_reading(one, entries[one.reader, one.item]) for one in locked]
    return sorted(readings, key=lambda reading: (reading.reader, reading.position))


def _write_tables(folder: Path, readings: Iterable[Reading], marked: Truth | None) -> tuple[str, ...]:
    """Writes the readings, and the lesions where findings were marked; gives the names of the tables."""
    write_readings(folder / READINGS, readings)
    if marked is None:
        return (READINGS,)
    write_lesions(folder / LESIONS, _outlined(marked))
    return READINGS, LESIONS


def _outlined(truth: Truth) -> dict[tuple[bool, str], Outlined]:
    """The lesions of each image of which it is known where it has any."""
    known = (entry for entry in truth.entries if entry.buffer in truth.lesions)
    return {(entry.synthetic, entry.case): truth.lesions[entry.buffer] for entry in known}


def _reading(locked: Locked, entry: Entry) -> Reading:
    return Reading(
        reader=entry.reader,
        item=entry.item,
        position=entry.position,
        synthetic=entry.synthetic,
        label=entry.label,
        case=entry.case,
        patient=entry.patient,
        repeat_of=entry.repeat_of,
        answer=locked.answer,
        second=locked.second,
        confidence=locked.confidence,
        seconds=locked.seconds,
        hidden_seconds=locked.hidden_seconds,
        window_changes=locked.window_changes,
        locked_at=locked.locked_at,
        first_answer=locked.first_answer,
        comment=locked.comment,
        arm=entry.arm,
        marks=locked.marks,
    )


def _machine(study: Study, place: Path, truth: Truth, worklist: Worklist, level: float) -> MachineReading:
    """The machine reader on the first buffer of each image; the first reader's, which shows what all others saw."""
    first = truth.entries[0].reader
    shown: dict[bool, list[Stored]] = {False: [], True: []}
    for entry in truth.entries:
        if entry.reader == first and not entry.repeat_of and entry.arm < 2:
            data = (place / BUFFERS / f"{entry.buffer}.bin").read_bytes()
            shown[entry.synthetic].append(decode(data, worklist.image.rows, worklist.image.columns))
    rng = generator(study.config.seed, "reader", "machine")
    return read_by_machine(np.array(shown[False]), np.array(shown[True]), load_facts(study.cohort), level, rng)
