"""How long work tells how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called by long work; the command line draws a bar with it."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Says that `done` of `total` units are ready; `note` is shown behind the bar."""


def silent(done: int, total: int, note: str = "") -> None:
    """Shows nothing."""
