"""The server's time: set once from the machine's clock, then counted, so that nobody can turn it back."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable

Clock = Callable[[], datetime.datetime]


def steady_clock() -> Clock:
    """A clock that reads the machine's time now and goes on by the monotonic counter.

    A change of the machine's clock while the server runs, by hand or by a time service, moves no time that is
    recorded. Across restarts the order of the readings is their number in the chain, never a time.
    """
    start = datetime.datetime.now(datetime.UTC)
    zero = time.monotonic()

    def now() -> datetime.datetime:
        return start + datetime.timedelta(seconds=time.monotonic() - zero)

    return now


def stamp(moment: datetime.datetime) -> str:
    """UTC in ISO 8601 with milliseconds; such texts sort as their times do."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="milliseconds")


def moment(text: str) -> datetime.datetime:
    """The time of a stamp."""
    return datetime.datetime.fromisoformat(text)
