"""The readings of a study as the analysis takes them: closed, checked, in the order in which they were locked."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select

from scansynth.errors import ReaderError
from scansynth.reader.marks import NONE
from scansynth.reader.server.access import renew_code, withdraw
from scansynth.reader.server.asked import Asked, asked_of
from scansynth.reader.server.chain import ChainEnd, as_found, broken_rows, verify_chain
from scansynth.reader.server.clock import Clock, stamp, steady_clock
from scansynth.reader.server.database import UNREACHABLE, Database, open_database
from scansynth.reader.server.overview import Row, overview
from scansynth.reader.server.refusals import Refused
from scansynth.reader.server.screening import Screening, screenings
from scansynth.reader.server.served import Order, Part, ServedWorklist, open_worklist
from scansynth.reader.server.store import close_readings
from scansynth.reader.server.tables import invitations, readings, set_aside, study, undone, withdrawn


@dataclass(frozen=True)
class Reading:
    """One locked answer.

    Attributes:
        reader: r01, r02 and so on.
        item: The presentation.
        position: In this reader's sequence, from 1.
        answer: 1 to 6; 6 is definitely synthetic.
        second: Number of the option of the second question, from 1; none where none is asked.
        confidence: In it, from 1.
        seconds: From the first sight to the lock as the page measured them, pauses left out.
        hidden_seconds: How long of it the page was out of sight.
        window_changes: How often the window was changed.
        zoomed: Whether the image was enlarged.
        locked_at: The server's time, UTC; never earlier than that of the reading before in the chain.
        comment: In free words.
        marks: Of findings, as `marks.written` gives them.
        first_answer: What the reader answered at first, where that was taken back; times are those of the first look.
    """

    reader: str
    item: str
    position: int
    answer: int
    second: int | None
    confidence: int | None
    seconds: float
    hidden_seconds: float
    window_changes: int
    zoomed: bool
    locked_at: str
    comment: str = ""
    marks: str = NONE
    first_answer: int | None = None


@dataclass(frozen=True)
class SetAside:
    """A reading that did not fit its hash and does not count; its row stays in the database.

    Attributes:
        n: Its number in the chain.
        reader: Whose it is, as the row says.
        name: Who decided to go on without it.
        reason: Why.
        at: When, UTC.
    """

    n: int
    reader: str
    name: str
    reason: str
    at: str


@dataclass(frozen=True)
class Export:
    """All readings of a study, practice left out.

    Attributes:
        readings: By the order in which they were locked.
        end: Of the chain, practice included.
        closed: When the database was closed, UTC; empty while it takes readings.
        withdrawn: Readers who read no more, and since when.
        set_aside: Readings that did not fit their hash.
        unaware: Those of the part before readers were told, which no figure of the study rests on.
        asked: What readers said at its end.
        screens: What readers said of their screens.
    """

    readings: tuple[Reading, ...]
    end: ChainEnd
    closed: str = ""
    withdrawn: Mapping[str, str] = field(default_factory=dict)
    set_aside: tuple[SetAside, ...] = ()
    unaware: tuple[Reading, ...] = ()
    asked: tuple[Asked, ...] = ()
    screens: tuple[Screening, ...] = ()


@contextlib.contextmanager
def _opened(worklist: Path, database_url: str | None, verb: str) -> Iterator[tuple[ServedWorklist, Database]]:
    """A worklist with its database, for one use.

    Raises:
        ReaderError: The worklist is damaged, or the database cannot be used.
    """
    served = open_worklist(worklist)
    database = open_database(worklist, served.worklist, database_url)
    try:
        yield served, database
    except Refused as refusal:
        names = ", ".join(seat.reader for seat in served.worklist.readers)
        raise ReaderError(f"{refusal.sentence[:-1]}; the readers are {names}") from None
    except UNREACHABLE:
        raise ReaderError(f"the database cannot be {verb}; check that it can be reached, and try again") from None
    finally:
        database.close()


def export_readings(worklist: Path, database_url: str | None = None) -> Export:
    """The readings of a worklist, when the chain holds and they are those of this worklist.

    Args:
        worklist: Folder of the worklist.
        database_url: As it was given to the server.

    Raises:
        ReaderError: The worklist is damaged, the database cannot be used, or a reading was tampered with.
    """
    with _opened(worklist, database_url, "read") as (served, database), database.snapshot() as connection:
        if served.worklist.teaching:
            raise ReaderError(
                "these images are for teaching: the truth was told with each, so there is nothing to analyse"
            )
        end = verify_chain(connection)
        rows = [row._asdict() for row in connection.execute(select(readings).order_by(readings.c.n))]
        closed = connection.execute(select(study.c.closed_at)).scalar_one()
        back = {(row.reader, row.item) for row in connection.execute(select(undone))}
        left = {row.reader: row.at for row in connection.execute(select(withdrawn))}
        aside = {row.n: row for row in connection.execute(select(set_aside))}
        screens = screenings(connection)
    whole = [row for row in rows if row["n"] not in aside]
    _check_against(served, whole, back, sorted(aside))
    lost = tuple(
        SetAside(row["n"], str(row["reader"]), aside[row["n"]].name, aside[row["n"]].reason, aside[row["n"]].at)
        for row in rows
        if row["n"] in aside
    )
    gone = back if aside else ()
    read, unaware = (_counted(_of(served, whole, part), gone) for part in (Part.READING, Part.UNAWARE))
    return Export(read, end, closed or "", left, lost, unaware, asked_of(whole, served.orders), screens)


def _of(served: ServedWorklist, rows: Sequence[Mapping[str, Any]], part: Part) -> list[Mapping[str, Any]]:
    """The rows of one part."""
    orders = served.orders
    return [row for row in rows if orders[row["reader"]].part(orders[row["reader"]].index[row["item"]]) is part]


def _counted(rows: Sequence[Mapping[str, Any]], back: Collection[tuple[str, str]]) -> tuple[Reading, ...]:
    """One reading for each image that was answered.

    Args:
        rows: In their order, without those that were set aside.
        back: Answers that were taken back, where the ones given again may be among those that were set aside.
    """
    again = {(row["reader"], row["item"]): row for row in rows if row["attempt"] == 2}
    kept = [row for row in rows if row["attempt"] == 1]
    keys = [(row["reader"], row["item"]) for row in kept]
    return tuple(
        _reading(row, again.get(key)) for row, key in zip(kept, keys, strict=True) if key in again or key not in back
    )


def _reading(row: Mapping[str, Any], again: Mapping[str, Any] | None) -> Reading:
    """What counts of an image: the answer given last, with the times of the first look."""
    first = Reading(**{name: row[name] for name in Reading.__dataclass_fields__ if name != "first_answer"})
    if again is None:
        return first
    said = {name: again[name] for name in ("answer", "second", "confidence", "comment", "marks")}
    return replace(first, **said, first_answer=first.answer)


def close_database(worklist: Path, database_url: str | None = None, clock: Clock | None = None) -> ChainEnd:
    """Closes a study in its database: when this returns, no answer can be locked any more, by any server.

    Returns:
        The end of the chain, to be kept with the protocol of the closing.

    Raises:
        ReaderError: The worklist is damaged, the database cannot be used, or a reading was tampered with.
    """
    with _opened(worklist, database_url, "written") as (_, database):
        close_readings(database, stamp((clock or steady_clock())()))
        with database.snapshot() as connection:
            return verify_chain(connection)


def new_code(worklist: Path, reader: str, database_url: str | None = None) -> str:
    """A new personal code for a reader who lost the old one, or whose invitation went astray; the old ones end.

    Raises:
        ReaderError: There is no such reader, or the worklist or the database cannot be used.
    """
    with _opened(worklist, database_url, "written") as (served, database):
        return renew_code(served.worklist, database, reader, steady_clock()())


def withdraw_reader(worklist: Path, reader: str, database_url: str | None = None) -> None:
    """Ends a reader's part, now and whatever server runs; what was locked stays.

    Raises:
        ReaderError: There is no such reader, or the worklist or the database cannot be used.
    """
    with _opened(worklist, database_url, "written") as (served, database):
        withdraw(served.worklist, database, reader, steady_clock()())


def begun(worklist: Path, reader: str, database_url: str | None = None) -> int | None:
    """How many answers a reader who has begun has locked, practice included.

    None for one whose invitation was not used and who got no code, or who does not exist.

    Raises:
        ReaderError: The worklist or the database cannot be used.
    """
    with _opened(worklist, database_url, "read") as (_, database), database.read() as connection:
        spent = select(invitations.c.spent_at).where(invitations.c.reader == reader)
        if connection.execute(spent).scalar_one_or_none() is None:
            return None
        mine = (readings.c.reader == reader) & (readings.c.attempt == 1)
        return int(connection.execute(select(func.count()).where(mine)).scalar_one())


def how_far(worklist: Path, database_url: str | None = None) -> tuple[Row, ...]:
    """How far each reader is, and what each said of the screen; no answer is read.

    Raises:
        ReaderError: The worklist or the database cannot be used.
    """
    with _opened(worklist, database_url, "read") as (served, database), database.snapshot() as connection:
        return overview(connection, served.orders.values())


def set_broken_aside(worklist: Path, name: str, reason: str, database_url: str | None = None) -> tuple[SetAside, ...]:
    """Sets aside every reading whose values do not fit its hash; the rows stay as they are, and are copied beside.

    Only what was changed can be set aside. Where rows are missing or were exchanged, the chain itself is broken, and
    nothing that is left can be trusted.

    Args:
        worklist: Folder of the worklist.
        name: Who decided.
        reason: Why.
        database_url: As it was given to the server.

    Returns:
        Those that were set aside now.

    Raises:
        ReaderError: None is broken, the chain is broken beyond that, or the database cannot be used.
    """
    with _opened(worklist, database_url, "written") as (_, database), database.write() as connection:
        at, known = stamp(steady_clock()()), {row.n for row in connection.execute(select(set_aside))}
        found = [row for row in broken_rows(connection) if row["n"] not in known]
        for row in found:
            values = {"n": row["n"], "found": as_found(row), "name": name, "reason": reason, "at": at}
            connection.execute(insert(set_aside).values(values))
        verify_chain(connection)  # a fault takes the whole transaction back
        if not found:
            raise ReaderError("every reading fits its hash; there is nothing to set aside")
        return tuple(SetAside(row["n"], str(row["reader"]), name, reason, at) for row in found)


def _check_against(
    served: ServedWorklist,
    rows: Sequence[Mapping[str, Any]],
    back: Collection[tuple[str, str]],
    aside: Sequence[int] = (),
) -> None:
    """Each reading must stand where the worklist's order says: also a chain that was made again cannot name others.

    An answer given again must follow the very one that was taken back. A reading that was set aside leaves one place
    open, before those that were locked after it.
    """
    count: dict[str, int] = {}
    skipped = 0
    for row in rows:
        reader, item, again = row["reader"], row["item"], row["attempt"] == 2
        order, place = served.orders.get(reader), count.get(reader, 0) - again
        jump = order.index.get(item, -1) - place if order else -1
        if 0 < jump <= sum(n < row["n"] for n in aside) - skipped:
            place, skipped = place + jump, skipped + jump
        count[reader] = place + 1
        fits = order is not None and 0 <= place < len(order.places) and order.places[place].item == item
        told = (row["position"], row["practice"], row["unaware"])
        fits = fits and not (again and (not order.undoable(place) or (reader, item) not in back)) if order else False
        if order is None or not fits or _stands(order, place) != told:
            raise ReaderError("the readings do not agree with the worklist; give the database of this very study")


def _stands(order: Order, place: int) -> tuple[int, bool, bool]:
    """Position, practice and unaware of a place, as its row has them."""
    return order.position(place), order.part(place) is Part.PRACTICE, place < order.told
