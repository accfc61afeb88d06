"""How far each reader is, and what each said of the screen: for the study team, who must see no answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from scansynth.reader.server.screening import Screening, screenings
from scansynth.reader.server.served import Order
from scansynth.reader.server.tables import invitations, readings, sessions, withdrawn


@dataclass(frozen=True)
class Row:
    """One reader.

    Attributes:
        reader: r01, r02 and so on.
        opened: When the invitation was used; none: it was not.
        last_seen: When a session was last seen; none: never.
        first_done: Images and questions answered before the reader is told; 0 of 0 where there is no such part.
        first_total: Of them, all.
        practice_done: Practice images answered.
        practice_total: All of them.
        done: Images of the study proper answered.
        total: All of them.
        finished: Whether everything is answered.
        withdrawn: Whether the reader reads no more.
        screen: What was said of the screen; none: it was not checked yet.
    """

    reader: str
    opened: str | None
    last_seen: str | None
    first_done: int
    first_total: int
    practice_done: int
    practice_total: int
    done: int
    total: int
    finished: bool
    withdrawn: bool
    screen: str | None

    @property
    def state(self) -> str:
        """In a word or two."""
        if self.finished:
            return "finished"
        if self.withdrawn:
            return "withdrawn"
        if self.opened is None:
            return "not begun"
        if self.first_done < self.first_total:
            return "first part"
        return "practice" if self.practice_done < self.practice_total else "reading"


def overview(connection: Connection, orders: Iterable[Order]) -> tuple[Row, ...]:
    """Every reader; the columns of answers are not even read."""
    screens = {one.reader: one for one in screenings(connection)}
    gone = {row.reader for row in connection.execute(select(withdrawn.c.reader))}
    return tuple(_row(connection, order, screens, order.seat.reader in gone) for order in orders)


def _row(connection: Connection, order: Order, screens: Mapping[str, Screening], gone: bool) -> Row:
    reader = order.seat.reader
    mine = (readings.c.reader == reader) & (readings.c.attempt == 1)
    locked = connection.execute(select(func.count()).where(mine)).scalar_one()
    opened = select(invitations.c.spent_at).where(invitations.c.reader == reader)
    seen = select(func.max(sessions.c.seen_at)).where(sessions.c.reader == reader)
    return Row(
        reader=reader,
        opened=connection.execute(opened).scalar_one_or_none(),
        last_seen=connection.execute(seen).scalar_one(),
        first_done=min(locked, order.told),
        first_total=order.told,
        practice_done=min(max(0, locked - order.told), order.practice),
        practice_total=order.practice,
        done=max(0, locked - order.told - order.practice),
        total=len(order.places) - order.told - order.practice,
        finished=locked == len(order.places),
        withdrawn=gone,
        screen=screens[reader].told if reader in screens else None,
    )
