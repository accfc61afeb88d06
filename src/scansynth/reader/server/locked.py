"""The readings of a study as the analysis takes them: closed, checked, in the order in which they were locked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from scansynth.errors import ReaderError
from scansynth.reader.server.access import renew_code
from scansynth.reader.server.chain import ChainEnd, verify_chain
from scansynth.reader.server.clock import Clock, stamp, steady_clock
from scansynth.reader.server.database import UNREACHABLE, open_database
from scansynth.reader.server.refusals import Refused
from scansynth.reader.server.served import ServedWorklist, open_worklist
from scansynth.reader.server.store import close_readings
from scansynth.reader.server.tables import readings, study, undone


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
    first_answer: int | None = None


@dataclass(frozen=True)
class Export:
    """All readings of a study, practice left out.

    Attributes:
        readings: By the order in which they were locked.
        end: Of the chain, practice included.
        closed: When the database was closed, UTC; empty while it takes readings.
    """

    readings: tuple[Reading, ...]
    end: ChainEnd
    closed: str = ""


def export_readings(worklist: Path, database_url: str | None = None) -> Export:
    """The readings of a worklist, when the chain holds and they are those of this worklist.

    Args:
        worklist: Folder of the worklist.
        database_url: As it was given to the server.

    Raises:
        ReaderError: The worklist is damaged, the database cannot be used, or a reading was tampered with.
    """
    served = open_worklist(worklist)
    if served.worklist.teaching:
        raise ReaderError("these images are for teaching: the truth was told with each, so there is nothing to analyse")
    database = open_database(worklist, served.worklist, database_url)
    try:
        with database.snapshot() as connection:
            end = verify_chain(connection)
            rows = [row._asdict() for row in connection.execute(select(readings).order_by(readings.c.n))]
            closed = connection.execute(select(study.c.closed_at)).scalar_one()
            back = {(row.reader, row.item) for row in connection.execute(select(undone))}
    except UNREACHABLE:
        raise ReaderError("the database cannot be read; check that it can be reached, and try again") from None
    finally:
        database.close()
    _check_against(served, rows, back)
    again = {(row["reader"], row["item"]): row for row in rows if row["attempt"] == 2}
    kept = (row for row in rows if row["attempt"] == 1 and not row["practice"])
    return Export(tuple(_reading(row, again.get((row["reader"], row["item"]))) for row in kept), end, closed or "")


def _reading(row: Mapping[str, Any], again: Mapping[str, Any] | None) -> Reading:
    """What counts of an image: the answer given last, with the times of the first look."""
    first = Reading(**{name: row[name] for name in Reading.__dataclass_fields__ if name != "first_answer"})
    if again is None:
        return first
    said = {name: again[name] for name in ("answer", "second", "confidence", "comment")}
    return replace(first, **said, first_answer=first.answer)


def close_database(worklist: Path, database_url: str | None = None, clock: Clock | None = None) -> ChainEnd:
    """Closes a study in its database: when this returns, no answer can be locked any more, by any server.

    Returns:
        The end of the chain, to be kept with the protocol of the closing.

    Raises:
        ReaderError: The worklist is damaged, the database cannot be used, or a reading was tampered with.
    """
    served = open_worklist(worklist)
    database = open_database(worklist, served.worklist, database_url)
    try:
        close_readings(database, stamp((clock or steady_clock())()))
        with database.snapshot() as connection:
            return verify_chain(connection)
    except UNREACHABLE:
        raise ReaderError("the database cannot be written; check that it can be reached, and try again") from None
    finally:
        database.close()


def new_code(worklist: Path, reader: str, database_url: str | None = None) -> str:
    """A new personal code for a reader who lost the old one, or whose invitation went astray; the old ones end.

    Raises:
        ReaderError: There is no such reader, or the worklist or the database cannot be used.
    """
    served = open_worklist(worklist)
    database = open_database(worklist, served.worklist, database_url)
    try:
        return renew_code(served.worklist, database, reader, steady_clock()())
    except Refused as refusal:
        names = ", ".join(seat.reader for seat in served.worklist.readers)
        raise ReaderError(f"{refusal.sentence[:-1]}; the readers are {names}") from None
    except UNREACHABLE:
        raise ReaderError("the database cannot be written; check that it can be reached, and try again") from None
    finally:
        database.close()


def answers_of(worklist: Path, reader: str, database_url: str | None = None) -> int:
    """How many answers a reader has locked, practice included; 0 for one who has not begun, or does not exist.

    Raises:
        ReaderError: The worklist or the database cannot be used.
    """
    served = open_worklist(worklist)
    database = open_database(worklist, served.worklist, database_url)
    try:
        with database.read() as connection:
            mine = (readings.c.reader == reader) & (readings.c.attempt == 1)
            return int(connection.execute(select(func.count()).where(mine)).scalar_one())
    except UNREACHABLE:
        raise ReaderError("the database cannot be read; check that it can be reached, and try again") from None
    finally:
        database.close()


def _check_against(
    served: ServedWorklist, rows: Sequence[Mapping[str, Any]], back: Collection[tuple[str, str]]
) -> None:
    """Each reading must stand where the worklist's order says: also a chain that was made again cannot name others.

    An answer given again must follow the very one that was taken back.
    """
    count: dict[str, int] = {}
    for row in rows:
        reader, item, again = row["reader"], row["item"], row["attempt"] == 2
        place = count.get(reader, 0) - again
        count[reader] = place + 1
        order = served.orders.get(reader)
        fits = order is not None and 0 <= place < len(order.places) and order.places[place].item == item
        told = (row["position"], row["practice"])
        fits = fits and not (again and (row["practice"] or (reader, item) not in back))
        if order is None or not fits or (order.position(place), place < order.practice) != told:
            raise ReaderError("the readings do not agree with the worklist; give the database of this very study")
