"""Readings, drafts and events: what a reader has done, added row by row and never changed.

The last answer can be taken back once, before the next is locked: the image is then answered again in a row of its own,
and the first answer stands until that is locked.

An answer is locked inside one transaction that holds the end of the chain: two tabs, a resend and two servers at
once come one after the other, and the second sees what the first has done.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from scansynth.errors import ReaderError
from scansynth.reader import marks as places
from scansynth.reader.server.chain import row_sha256
from scansynth.reader.server.comment import canonical
from scansynth.reader.server.database import Database
from scansynth.reader.server.refusals import OutOfTurn, closed, nothing_here
from scansynth.reader.server.served import Order, Part
from scansynth.reader.server.tables import drafts, events, head, readings, study, undone, withdrawn


@dataclass(frozen=True)
class Draft:
    """An answer that is not locked yet; all parts may be open.

    Attributes:
        answer: 1 to 6.
        second: Number of the option of the second question, from 1.
        confidence: In it, from 1.
        comment: In free words.
        marks: Of findings, as `marks.written` gives them.
    """

    answer: int | None
    second: int | None
    confidence: int | None
    comment: str = ""
    marks: str = places.NONE

    def __post_init__(self) -> None:
        """Brings comment and marks to their one form."""
        object.__setattr__(self, "comment", canonical(self.comment))
        object.__setattr__(self, "marks", places.canonical(self.marks))


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
        comment: In free words.
        marks: Of findings, as `marks.written` gives them.
        percent: Where a share is asked for.
    """

    answer: int
    second: int | None
    confidence: int | None
    seconds: float
    hidden_seconds: float
    window_changes: int
    zoomed: bool
    nonce: str
    comment: str = ""
    marks: str = places.NONE
    percent: int | None = None

    def __post_init__(self) -> None:
        """Brings times to the one form in which every database keeps them: whole milliseconds, and no -0.0.

        The hash of a row covers its values; SQLite stores -0.0 as 0.0, and the row would no longer fit its hash. The
        same holds for a comment: PostgreSQL takes no NUL.
        """
        object.__setattr__(self, "comment", canonical(self.comment))
        object.__setattr__(self, "marks", places.canonical(self.marks))
        for name in ("seconds", "hidden_seconds"):
            object.__setattr__(self, name, round(float(getattr(self, name)), 3) + 0.0)


@dataclass(frozen=True)
class Progress:
    """How far a reader is.

    Attributes:
        locked: How many places, practice included, are locked.
        draft: What was saved of the current one.
        closed: Whether the study takes no more readings, of anybody or of this reader.
        again: Whether the last of them was taken back, and is the current one until it is answered again.
        undoable: Whether it can be taken back.
    """

    locked: int
    draft: Draft | None
    closed: bool
    again: bool = False
    undoable: bool = False

    @property
    def place(self) -> int:
        """The place of the current image."""
        return self.locked - 1 if self.again else self.locked


def progress(connection: Connection, order: Order) -> Progress:
    """How far this reader is: one statement, so one view of the data."""
    reader = order.seat.reader
    rows = select(func.count()).select_from(readings).where(readings.c.reader == reader)
    back = select(func.count()).select_from(undone).where(undone.c.reader == reader)
    last = select(readings.c.item).where(readings.c.reader == reader).order_by(readings.c.n.desc()).limit(1)
    left = select(func.count()).select_from(withdrawn).where(withdrawn.c.reader == reader)
    kept = (drafts.c.item, *(drafts.c[name] for name in Draft.__dataclass_fields__))
    row = connection.execute(
        select(
            rows.where(readings.c.attempt == 1).scalar_subquery().label("locked"),
            rows.where(readings.c.attempt == 2).scalar_subquery().label("repeated"),
            back.scalar_subquery().label("undone"),
            back.where(undone.c.item == last.scalar_subquery()).scalar_subquery().label("last_undone"),
            left.scalar_subquery().label("withdrawn"),
            study.c.closed_at,
            *kept,
        ).select_from(study.outerjoin(drafts, drafts.c.reader == reader))
    ).one()
    if row.locked > len(order.places):
        raise ReaderError("the database holds more readings of a reader than the worklist has images; check both")
    undoable = row.locked > 0 and order.undoable(row.locked - 1) and not row.last_undone
    now = Progress(
        row.locked, None, row.closed_at is not None or row.withdrawn > 0, row.undone > row.repeated, undoable
    )
    current = order.places[now.place].item if now.place < len(order.places) else None
    if row.item is None or row.item != current:
        return now
    return replace(now, draft=_draft(row))


def _draft(row: Row[Any]) -> Draft:
    return Draft(**{name: getattr(row, name) for name in Draft.__dataclass_fields__})


def practice_answers(connection: Connection, reader: str) -> dict[str, Draft]:
    """What a reader answered in the practice, by item."""
    mine = (readings.c.reader == reader) & readings.c.practice
    return {row.item: _draft(row) for row in connection.execute(select(readings).where(mine))}


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
        place = _expect_current(now_at, order, item, marked)
        last = max((row.locked_at for row in found), default=now)
        row: dict[str, Any] = {
            "n": end.rows + 1,
            "reader": reader,
            "item": item,
            "attempt": 2 if now_at.again else 1,
            "unaware": place < order.told,
            "practice": order.part(place) is Part.PRACTICE,
            "position": order.position(place),
            **asdict(answer),
            "locked_at": max(now, last),  # a clock set back between two servers turns no order round
            "previous": end.sha256,
        }
        row["sha256"] = row_sha256(row)
        connection.execute(insert(readings).values(row))
        connection.execute(update(head).values(rows=row["n"], sha256=row["sha256"]))
        if now_at.draft is not None:
            connection.execute(delete(drafts).where(drafts.c.reader == reader))
        return Progress(place + 1, None, closed=False, undoable=order.undoable(place) and not now_at.again)


def undo_answer(database: Database, order: Order, item: str, now: str, marked: bool = False) -> Progress:
    """Takes back the reader's last answer, which becomes the draft of the one to come; arguments as of `lock_answer`.

    Practice is excepted: its truth was told.

    Raises:
        Refused: There is no such item for this reader.
        OutOfTurn: It is not the last answer, or was taken back before, or the study is closed.
    """
    reader = order.seat.reader
    with database.write() as connection:
        connection.execute(select(head).with_for_update()).one()
        now_at, place = progress(connection, order), order.index.get(item)
        if place is None or place > now_at.locked:
            raise nothing_here()
        if now_at.again and place == now_at.place:
            return now_at  # a resend
        if marked or now_at.closed:
            raise closed()
        if not now_at.undoable or place != now_at.locked - 1:
            raise OutOfTurn("Only the last answer can be changed, and only once.")
        mine = (readings.c.reader == reader) & (readings.c.item == item)
        first = connection.execute(select(readings).where(mine)).one()
        connection.execute(insert(undone).values(reader=reader, item=item, at=now))
        draft = _draft(first)
        _keep_draft(connection, reader, item, draft, now)
        return Progress(now_at.locked, draft, closed=False, again=True)


def save_draft(database: Database, order: Order, item: str, draft: Draft, now: str, marked: bool = False) -> None:
    """Keeps what the reader has chosen so far for the current item; arguments as of `lock_answer`.

    Raises:
        Refused: There is no such item for this reader.
        OutOfTurn: It is locked already, is not the current one, or the study is closed.
    """
    reader = order.seat.reader
    with database.write(synced=False) as connection:  # the browser keeps it, too
        _expect_current(progress(connection, order), order, item, marked)
        _keep_draft(connection, reader, item, draft, now)


def _keep_draft(connection: Connection, reader: str, item: str, draft: Draft, now: str) -> None:
    row = {"reader": reader, "item": item, "saved_at": now, **asdict(draft)}
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = upsert(drafts).values(row)
    connection.execute(statement.on_conflict_do_update(index_elements=[drafts.c.reader], set_=row))


def note_event(connection: Connection, reader: str, kind: str, now: str, seconds: float | None = None) -> None:
    """Adds one event: opened, resumed, paused, unpaused, left, screen good, screen poor."""
    connection.execute(insert(events).values(reader=reader, kind=kind, at=now, seconds=seconds))


def _expect_current(now_at: Progress, order: Order, item: str, marked: bool) -> int:
    """The place of the current item, when it is the one named."""
    current, place = now_at.place, order.index.get(item)
    if place is None or place > current + 1:  # what was not shown yet is as unknown as another reader's
        raise nothing_here()
    if place < current:
        raise OutOfTurn("This answer is locked and can no longer be changed.")
    if marked or now_at.closed:
        raise closed()
    if place > current:
        raise OutOfTurn("Another image comes first; the page now shows it.")
    return current


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
