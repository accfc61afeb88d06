"""Terminal output: lines, warnings, refusals and progress bars; all on stderr except results.

`Progress` is how long-running work reports its progress.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)
_PLAIN_SECONDS = 30.0  # between two lines of progress where there is no terminal, as in a log file


class Progress(Protocol):
    """Called by long-running work; the command line shows a bar."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Reports that `done` of `total` units are finished; `note` is shown after the bar."""


def silent(done: int, total: int, note: str = "") -> None:
    """Shows nothing."""


def say(line: str) -> None:
    """Prints one line for the user."""
    _err.print(f"  {escape(line)}")


def result(line: str) -> None:
    """Prints a line that a script may want to read, on stdout."""
    _out.print(escape(line))


def warn(line: str) -> None:
    """Prints one warning."""
    _err.print(f"  [yellow]note[/yellow]  {escape(line)}")


def refuse(line: str) -> None:
    """Prints a refusal: one line."""
    _err.print(f"[red]scansynth:[/red] {escape(' '.join(line.split()))}")


def heading(line: str) -> None:
    """Prints the title of the next step."""
    _err.print(f"[bold]{escape(line)}[/bold]")


class Bar:
    """Shows progress; without a terminal, prints a line now and then."""

    def __init__(self, drawn: RichProgress | None, title: str) -> None:
        self._drawn = drawn
        self._title = title
        self._task = None if drawn is None else drawn.add_task(title, total=None, note="")
        self._shown_at = time.monotonic()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Moves the bar to `done` of `total`."""
        if self._drawn is not None and self._task is not None:
            self._drawn.update(self._task, completed=done, total=total, note=escape(note))
        elif time.monotonic() - self._shown_at > _PLAIN_SECONDS or done == total:
            self._shown_at = time.monotonic()
            _err.print(f"  {self._title}: {done:,} of {total:,}  {escape(note)}".rstrip())


@contextlib.contextmanager
def bar(title: str) -> Iterator[Bar]:
    """A progress bar with elapsed and remaining time and a note."""
    if not _err.is_terminal:
        yield Bar(None, title)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}[/dim]"),
    )
    with RichProgress(*columns, console=_err) as drawn:
        yield Bar(drawn, title)
