"""Readers who come and go while a study is read: added, withdrawn, replaced; and readings that were set aside.

Seats for others were prepared and sealed when the study was created, so that nobody opens the seal to add a reader.
What a change does to the analysis follows from the rule that the protocol fixed; it is said before, and kept.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scansynth.errors import ReaderError
from scansynth.files import read_json, sha256_file
from scansynth.reader.amendments import (
    ADDED,
    SET_ASIDE,
    WITHDRAWN,
    Amendment,
    about_readings,
    amend,
    now,
    read_amendments,
    seated,
)
from scansynth.reader.protocol import read_protocol
from scansynth.reader.server.invitations import expiry, new_token, token_sha256
from scansynth.reader.server.locked import SetAside, export_readings, set_broken_aside, withdraw_reader
from scansynth.reader.server.worklist import CLOSED, Worklist, load_worklist, replace_worklist, seat_from_json
from scansynth.reader.statistics.counting import LEAST_IMAGES, LEAST_SHARE
from scansynth.reader.statistics.verdict import LEAST_READERS
from scansynth.reader.truth import reader_names
from scansynth.study import CLOSING, SPARES, WORKLIST_FOLDER, Study


@dataclass(frozen=True)
class Change:
    """A change that was thought through and not yet made.

    Attributes:
        reader: Who is withdrawn; empty where nobody is.
        new: Who is added; empty where nobody is.
        answers: How many the reader has locked, practice left out.
        excluded: Whether they are left out of the analysis.
        effect: What it does to the analysis; a sentence without its full stop.
    """

    reader: str
    new: str
    answers: int
    excluded: bool
    effect: str


def think(
    study: Study,
    *,
    reader: str | None = None,
    add: bool = False,
    exclude: bool = False,
    worklist_folder: Path | None = None,
    database_url: str | None = None,
) -> Change:
    """What a change of the readers would do; changes nothing.

    Args:
        study: The study.
        reader: Who is to be withdrawn; none: nobody.
        add: Seat another reader.
        exclude: Leave out the answers of the one who is withdrawn.
        worklist_folder: The copy of the worklist that is served, where that is another than the study's own.
        database_url: As it was given to the server; needed to withdraw.

    Raises:
        ReaderError: The study is closed, there is no such reader, or no seat is left.
    """
    place = worklist_folder or study.reader / WORKLIST_FOLDER
    worklist = _open(study, place)
    protocol = read_protocol(study.reader, worklist.protocol_sha256)
    amendments = read_amendments(study, worklist.protocol_sha256)
    new = _next_seat(study, int(protocol["readers"]), seated(int(protocol["readers"]), amendments)) if add else ""
    gone = {one.reader for one in amendments if one.kind == WITHDRAWN}
    if reader is None:
        left = len(worklist.readers) + 1 - len(gone)
        return Change("", new, 0, False, f"{new} was added; {_left(left, int(protocol['readers']))}")
    names = [seat.reader for seat in worklist.readers if seat.reader not in gone]
    if reader not in names:
        raise ReaderError(f"there is no reader {reader} to withdraw; those who read are {', '.join(names)}")
    export = export_readings(place, database_url)
    if export.closed:
        raise ReaderError(_CLOSED)
    given = sum(one.reader == reader for one in export.readings)
    left = len(names) - 1 + bool(new)
    images = int(protocol["images"])
    effect = f"{_counts(given, images, exclude)}; {_left(left, int(protocol['readers']))}"
    return Change(reader, new, given, exclude, effect)


_CLOSED = "the reader study is closed; readers can come and go only while it is read"


def _open(study: Study, place: Path) -> Worklist:
    """The worklist of a study that is not closed.

    Raises:
        ReaderError: It is closed, or there is none.
    """
    worklist = load_worklist(place)
    if (place / CLOSED).exists() or (study.reader / CLOSING).exists():
        raise ReaderError(_CLOSED)
    return worklist


def _counts(given: int, images: int, exclude: bool) -> str:
    """What becomes of the answers of one who leaves."""
    told = f"{given} answer{'s' if given != 1 else ''}"
    if exclude:
        return f"The {told} given so far {'do' if given != 1 else 'does'} not count"
    if given < LEAST_SHARE * images:
        return f"With {told}, fewer than {LEAST_SHARE:.0%} of the {images} images, the reader does not count"
    return (
        f"The reader has given {told}, and counts with them if at least {LEAST_SHARE:.0%} of the {images} "
        f"images and {LEAST_IMAGES} of either kind are among them"
    )


def _left(left: int, planned: int) -> str:
    """How many go on, and what follows from that."""
    readers = "1 reader goes" if left == 1 else f"{left or 'no'} readers go"
    told = f"{readers} on, {planned} {'was' if planned == 1 else 'were'} planned"
    if left < LEAST_READERS:
        return f"{told}, and with fewer than {LEAST_READERS} who count there is no verdict on readers in general"
    return f"{told}, and with fewer readers the intervals are wider" if left < planned else told


def _next_seat(study: Study, first: int, seats: int) -> str:
    """Name of the next prepared seat.

    Raises:
        ReaderError: All are taken.
    """
    prepared = len(_spares(study))
    if seats - first >= prepared:
        raise ReaderError(f"all {prepared} seats that were prepared for other readers are taken; nobody can be added")
    return reader_names(seats + 1)[-1]


def _spares(study: Study) -> dict[str, dict[str, Any]]:
    """The prepared seats, by name.

    Raises:
        ReaderError: They are missing or were changed.
    """
    path = study.reader / SPARES
    worklist = load_worklist(study.reader / WORKLIST_FOLDER)
    protocol = read_protocol(study.reader, worklist.protocol_sha256)
    try:
        if sha256_file(path) == protocol["spares_sha256"]:
            return dict(read_json(path))
    except (FileNotFoundError, ValueError, KeyError):
        pass
    raise ReaderError(f"{SPARES}, the seats for other readers, is missing or was changed; restore the file")


def make(
    study: Study,
    change: Change,
    reason: str,
    *,
    worklist_folder: Path | None = None,
    database_url: str | None = None,
    moment: datetime.datetime | None = None,
) -> str:
    """Makes a change; arguments as of `think`. The caller holds the study's lock.

    A command that was killed halfway is given again, and does the same: the amendment is kept last.

    Returns:
        The invitation's token of the reader who was added; empty where nobody was.

    Raises:
        ReaderError: There is no reason, or the worklist or the database cannot be written.
    """
    reason = require_reason(reason)
    folders = {study.reader / WORKLIST_FOLDER, worklist_folder or study.reader / WORKLIST_FOLDER}
    protocol_sha256 = load_worklist(study.reader / WORKLIST_FOLDER).protocol_sha256
    if change.reader:
        withdraw_reader(worklist_folder or study.reader / WORKLIST_FOLDER, change.reader, database_url)
    kind = WITHDRAWN if change.reader else ADDED
    amendment = Amendment(
        kind, change.reader or change.new, change.new if change.reader else "", change.answers, change.excluded,
        reason, change.effect, now(),
    )  # fmt: skip
    token = new_token() if change.new else ""
    if change.new:
        _seat(study, folders, change.new, token, moment or datetime.datetime.now(datetime.UTC))
    amend(study, protocol_sha256, amendment)
    return token


def _seat(study: Study, folders: set[Path], reader: str, token: str, moment: datetime.datetime) -> None:
    """Puts a prepared seat into the worklists, with an invitation."""
    protocol = read_protocol(study.reader, load_worklist(study.reader / WORKLIST_FOLDER).protocol_sha256)
    expires = expiry(moment, float(protocol["expiry_days"]))
    prepared = _spares(study)[reader]
    seat = seat_from_json({"reader": reader, "invitation_sha256": token_sha256(token), "expires": expires, **prepared})
    for folder in sorted(folders):
        worklist = load_worklist(folder)
        kept = tuple(one for one in worklist.readers if one.reader != reader)
        replace_worklist(folder, replace(worklist, readers=(*kept, seat), expires=max(worklist.expires, expires)))


def set_aside(
    study: Study,
    name: str,
    reason: str,
    *,
    worklist_folder: Path | None = None,
    database_url: str | None = None,
) -> tuple[SetAside, ...]:
    """Sets aside the readings that do not fit their hash, with their evidence. The caller holds the study's lock.

    Raises:
        ReaderError: A name or a reason is missing, no reading is broken, or the chain itself is.
    """
    if not name.strip():
        raise ReaderError("give --name NAME: who decided to go on without the broken readings")
    reason, place = require_reason(reason), worklist_folder or study.reader / WORKLIST_FOLDER
    worklist = load_worklist(place)
    lost = set_broken_aside(place, name.strip(), reason, database_url)
    effect = f"{about_readings(lost)}, by decision of {name.strip()}"
    amend(study, worklist.protocol_sha256, Amendment(SET_ASIDE, "", "", len(lost), True, reason, effect, now()))
    return lost


def require_reason(reason: str) -> str:
    """The reason, in one line.

    Raises:
        ReaderError: There is none.
    """
    if not reason.strip():
        raise ReaderError("give --reason REASON; the report prints it")
    return " ".join(reason.split())
