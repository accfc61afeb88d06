"""The check of the screen: what readers said of theirs, sitting by sitting."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from scansynth.reader.server.tables import events

GOOD, POOR = "screen good", "screen poor"
"""Kinds of events."""


@dataclass(frozen=True)
class Screening:
    """The checks of one reader.

    Attributes:
        reader: r01, r02 and so on.
        good: Sittings in which both squares were seen.
        poor: Sittings in which they were not.
        last: What was said last: whether both were seen.
    """

    reader: str
    good: int
    poor: int
    last: bool

    @property
    def told(self) -> str:
        """In a few words."""
        many = self.good + self.poor
        if not self.poor:
            return f"both squares seen in {'the only sitting' if many == 1 else f'all {many} sittings'}"
        return f"not both squares seen in {self.poor} of {many} sitting{'s' if many > 1 else ''}"


def screenings(connection: Connection) -> tuple[Screening, ...]:
    """Of every reader who was asked, by name."""
    chosen = select(events.c.reader, events.c.kind).where(events.c.kind.in_((GOOD, POOR))).order_by(events.c.n)
    said: dict[str, list[bool]] = {}
    for row in connection.execute(chosen):
        said.setdefault(row.reader, []).append(row.kind == GOOD)
    return tuple(Screening(reader, sum(own), len(own) - sum(own), own[-1]) for reader, own in sorted(said.items()))
