"""Readings, drafts and events: what a reader has done, added row by row and never changed.

An answer is locked inside one transaction that holds the end of the chain: two tabs, a resend and two servers at
once come one after the other, and the second sees what the first has done.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from scansynth.errors import ReaderError
from scansynth.reader.server.chain import row_sha256
from scansynth.reader.server.database import Database
from scansynth.reader.server.refusals import OutOfTurn, closed, nothing_here
from scansynth.reader.server.served import Order
from scansynth.reader.server.tables import drafts, events, head, readings, study


@dataclass(frozen=True)
class Draft:
    """An answer that is not locked yet; all parts may be open.

    Attributes:
        answer: 1 to 6.
        second: Number of the option of the second question, from 1.
        confidence: In it, from 1.
    """

    answer: int | None
    second: int | None
    confidence: int | None


@dataclass(frozen=True)
class Answer:
    """An answer as it is locked, with what the page measured.

    Attributes:
        answer: 1 to 6; 6 is definitely synthetic.
        second: Number of the option of the second question, from 1; none where none is asked.
        confidence: In it, from 1.
        seconds: From the first sight of the image to the lock, pauses left out.
        hidden_seconds: How long of it the page was out of sight.
        window_changes: How often the window was changed.
        zoomed: Whether the image was enlarged.
        nonce: Made by the page, once for each lock; a resend has the same.
    """

    answer: int
    second: int | None
    confidence: int | None
    seconds: float
    hidden_seconds: float
    window_changes: int
    zoomed: bool
    nonce: str

    def __post_init__(self) -> None:
        """Brings times to the one form in which every database keeps them: whole milliseconds, and no -0.0.

        The hash of a row covers its values; SQLite stores -0.0 as 0.0, and the row would no longer fit its hash.
        """
        for name in ("seconds", "hidden_seconds"):
            object.__setattr__(self, name, round(float(getattr(self, name)), 3) + 0.0)


@dataclass(frozen=True)
class Progress:
    """How far a reader is.

    Attributes:
        locked: How many places, practice included, are locked.
        draft: What was saved of the current one.
        closed: Whether the study takes no more readings.
    """

    locked: int
    draft: Draft | None
    closed: bool


def progress(connection: Connection, order: Order) -> Progress:
    """How far this reader is: one statement, so one view of the data."""
    reader = order.seat.reader
    count = select(func.count()).select_from(readings).where(readings.c.reader == reader).scalar_subquery()
    kept = (drafts.c.item, drafts.c.answer, drafts.c.second, drafts.c.confidence)
    row = connection.execute(
        select(count.label("locked"), study.c.closed_at, *kept).select_from(
            study.outerjoin(drafts, drafts.c.reader == reader)
        )
    ).one()
    if row.locked > len(order.places):
        raise ReaderError("the database holds more readings of a reader than the worklist has images; check both")
    current = order.places[row.locked].item if row.locked < len(order.places) else None
    draft = Draft(row.answer, row.second, row.confidence) if row.item is not None and row.item == current else None
    return Progress(row.locked, draft, row.closed_at is not None)


def is_closed(connection: Connection) -> bool:
    """Whether the database has been closed."""
    return connection.execute(select(study.c.closed_at)).scalar_one() is not None


def close_readings(database: Database, now: str) -> None:
    """Ends the taking of readings: once this returns, no lock can come in any more."""
    with database.write() as connection:
        connection.execute(select(head).with_for_update()).one()
        connection.execute(update(study).where(study.c.closed_at.is_(None)).values(closed_at=now))


def lock_answer(
    database: Database, order: Order, item: str, answer: Answer, now: str, marked: bool = False
) -> Progress:
    """Locks an answer for good; changes nothing when this very lock was received before.

    Args:
        database: Where.
        order: Of the reader.
        item: Must be the reader's current one.
        answer: What is locked.
        now: When it was received.
        marked: Whether the worklist bears the mark of the closing; the database is asked in any case.

    Returns:
        How far the reader is then.

    Raises:
        Refused: There is no such item for this reader.
        OutOfTurn: It is locked already, is not the current one, the nonce was used for another, or the study is closed.
    """
    reader = order.seat.reader
    with database.write() as connection:
        end = connection.execute(select(head).with_for_update()).one()
        now_at = progress(connection, order)
        either = (readings.c.nonce == answer.nonce) | (readings.c.n == end.rows)
        found = connection.execute(select(readings).where(either)).all()
        if any(_is_this(row, reader, item, answer) for row in found if row.nonce == answer.nonce):
            return now_at
        locked = _expect_current(now_at, order, item, marked)
        last = max((row.locked_at for row in found), default=now)
        row: dict[str, Any] = {
            "n": end.rows + 1,
            "reader": reader,
            "item": item,
            "practice": locked < order.practice,
            "position": order.position(locked),
            **asdict(answer),
            "locked_at": max(now, last),  # a clock set back between two servers turns no order round
            "previous": end.sha256,
        }
        row["sha256"] = row_sha256(row)
        connection.execute(insert(readings).values(row))
        connection.execute(update(head).values(rows=row["n"], sha256=row["sha256"]))
        if now_at.draft is not None:
            connection.execute(delete(drafts).where(drafts.c.reader == reader))
        return Progress(locked + 1, None, closed=False)


def save_draft(database: Database, order: Order, item: str, draft: Draft, now: str, marked: bool = False) -> None:
    """Keeps what the reader has chosen so far for the current item; arguments as of `lock_answer`.

    Raises:
        Refused: There is no such item for this reader.
        OutOfTurn: It is locked already, is not the current one, or the study is closed.
    """
    reader = order.seat.reader
    with database.write(synced=False) as connection:  # the browser keeps it, too
        _expect_current(progress(connection, order), order, item, marked)
        row = {"reader": reader, "item": item, "saved_at": now, **asdict(draft)}
        upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        statement = upsert(drafts).values(row)
        connection.execute(statement.on_conflict_do_update(index_elements=[drafts.c.reader], set_=row))


def note_event(connection: Connection, reader: str, kind: str, now: str, seconds: float | None = None) -> None:
    """Adds one event: opened, resumed, paused, unpaused, left."""
    connection.execute(insert(events).values(reader=reader, kind=kind, at=now, seconds=seconds))


def _expect_current(now_at: Progress, order: Order, item: str, marked: bool) -> int:
    """The place of the current item, when it is the one named."""
    locked, place = now_at.locked, order.index.get(item)
    if place is None or place > locked + 1:  # what was not shown yet is as unknown as another reader's
        raise nothing_here()
    if place < locked:
        raise OutOfTurn("This answer is locked and can no longer be changed.")
    if marked or now_at.closed:
        raise closed()
    if place > locked:
        raise OutOfTurn("Another image comes first; the page now shows it.")
    return locked


def _is_this(row: Row[Any], reader: str, item: str, answer: Answer) -> bool:
    """True: this very lock came in before.

    Raises:
        OutOfTurn: The nonce came in with something else.
    """
    if (row.reader, row.item) != (reader, item) or any(
        getattr(row, name) != value for name, value in asdict(answer).items()
    ):
        raise OutOfTurn("This was already sent with another answer; reload the page.")
    return True
