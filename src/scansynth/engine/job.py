"""One independent job, and how it ended.

A job is a module-level function and one argument of plain values (paths, numbers, text); it writes its results to
files, so that only an address decides where it runs. Every worker has one thread: two jobs on two cores gain more
than two threads in one job, and one thread sums in a fixed order.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from scansynth.errors import ScansynthError

A = TypeVar("A")

TRIES = 2
"""Of a job whose process was killed: memory may be short only briefly."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
KILLED = "its process was killed twice (often: too little memory); lower engine.workers and run again"


@dataclass(frozen=True)
class Job(Generic[A]):
    """One independent job: its name, for the progress bar, and the argument of its function."""

    name: str
    argument: A


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        name: Of the job.
        reason: Why it failed, one line; empty when it succeeded.
        refused: The failure is a refusal (`ScansynthError`), not a fault of the program.
        trace: Traceback of a program fault.
        seconds: Time of work.
        tries: Number of attempts.
    """

    name: str
    reason: str = ""
    refused: bool = False
    trace: str = ""
    seconds: float = 0.0
    tries: int = 1

    @property
    def succeeded(self) -> bool:
        """Whether the job did its work."""
        return not self.reason


def attempt(function: Callable[[A], None], name: str, argument: A) -> Outcome:
    """Runs one job here; a failure becomes text, which crosses process boundaries."""
    began = time.monotonic()
    try:
        function(argument)
    except ScansynthError as fault:
        return Outcome(name, " ".join(str(fault).split()), True, "", time.monotonic() - began)
    except Exception as fault:  # any fault is reported, and the other jobs continue
        words = " ".join(f"{type(fault).__name__}: {fault}".split())
        return Outcome(name, words, False, traceback.format_exc(), time.monotonic() - began)
    return Outcome(name, seconds=time.monotonic() - began)


def counted(outcome: Outcome | None, name: str, tries: int) -> Outcome:
    """The outcome with its number of tries; none: its process was killed."""
    if outcome is None:
        return Outcome(name, KILLED, True, tries=tries)
    return replace(outcome, tries=tries)
