"""Marks: where a reader sees findings, in the one form in which they are hashed and stored.

Places are in pixels of the image: the middle of its first pixel is row 0, column 0, as in masks and in the utility
trial, so that the image reaches from -0.5 to half a pixel before its number of rows, and of columns. A radius counts
pixels along a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

_DIGITS = 2  # a hundredth of a pixel

NONE = "[]"
"""No marks, as they are stored."""


class Placed(Protocol):
    """Whatever has the fields of a mark."""

    @property
    def row(self) -> float:
        """Of its centre, in pixels."""

    @property
    def column(self) -> float:
        """Of its centre."""

    @property
    def radius(self) -> float:
        """In pixels along a row."""

    @property
    def confidence(self) -> int | None:
        """That there is a finding, from 1; none while it is not said yet."""


@dataclass(frozen=True)
class Mark:
    """One mark; see `Placed`."""

    row: float
    column: float
    radius: float
    confidence: int | None


def written(marks: Iterable[Placed]) -> str:
    """Marks as they are hashed and stored: JSON, hundredths of a pixel, no -0.0; in the order in which they were set.

    What is hashed must be what every database stores and gives back.
    """
    rows = [[*(round(one, _DIGITS) + 0.0 for one in (m.row, m.column, m.radius)), m.confidence] for m in marks]
    return json.dumps(rows, separators=(",", ":"), allow_nan=False)


def read(text: str) -> tuple[Mark, ...]:
    """The marks of what `written` made.

    Raises:
        ValueError: It is something else.
    """
    try:
        found = tuple(Mark(float(r), float(c), float(size), confidence) for r, c, size, confidence in json.loads(text))
    except (TypeError, ValueError):
        raise ValueError(f"{text[:40]!r} is no list of marks") from None
    if written(found) != text:
        raise ValueError(f"{text[:40]!r} is no list of marks")
    return found


def canonical(text: str) -> str:
    """Marks in their one form. Applied twice, the same."""
    return written(read(text))
