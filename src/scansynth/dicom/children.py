"""Untrusted files are read in child processes: what one file breaks, costs only that file.

Each child is the fork of a fresh Python that knows nothing of this process (no fork of its threads, no import of
its main module; see `forks`), and is replaced when it crashes, hangs or takes too much memory. The verdict on a
file never depends on the files before it: when a child fails on a later file than its first, a fresh child tries
that file again.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from scansynth.dicom.child import MEMORY, READY
from scansynth.dicom.forks import fork_server
from scansynth.errors import DicomError

_START_SECONDS = 120.0
_MAX_ANSWER = 1 << 23  # bytes of JSON: the header of a file with thousands of frames
_MAX_IMAGE = 1 << 30  # bytes of one decoded image
_AHEAD = 2  # jobs that a child has: the one that it works on, and the next, so that it need not wait
_SMALL = 1 << 15  # bytes of a request that always fit into a socket, whose other end may be busy
_START_FAILURES = 3  # in a row, before it is a fault of the installation

J = TypeVar("J")


@dataclass(frozen=True)
class Answer:
    """What a task gave back: a JSON value and raw bytes."""

    value: Mapping[str, Any]
    payload: bytes


Outcome = Answer | DicomError


@dataclass(frozen=True)
class _Job(Generic[J]):
    index: int
    item: J
    request: bytes


def _one_line(words: object, length: int) -> str:
    """A child's words as one printable line, whatever became of the child."""
    return "".join(letter if letter.isprintable() else " " for letter in str(words)[:length])


_NONSENSE = (EOFError, OSError, ValueError, KeyError, TypeError, RecursionError)
"""What is raised when a child is dead, stops in the middle of an answer, or answers in another form."""


class _Child(Generic[J]):
    """One child process and the jobs it has: it works on the first, and the next waits in its socket."""

    def __init__(self, task: str, memory_bytes: int, seconds: float) -> None:
        ours, theirs = socket.socketpair()
        # a child that stops in the middle of an answer must not stop its parent
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(seconds) + 1, 0))
        self._server = fork_server(task)
        with theirs:
            self._number = self._server.fork(theirs, memory_bytes, seconds)
        self.connection = Connection(ours.detach())
        self.seconds = seconds
        self.started = False
        self.answered = 0
        self.jobs: deque[_Job[J]] = deque()
        self.deadline = time.monotonic() + _START_SECONDS

    def takes(self, job: _Job[J]) -> bool:
        """Whether it may be sent this job now."""
        return not self.jobs or (len(self.jobs) < _AHEAD and len(job.request) <= _SMALL)

    def give(self, job: _Job[J]) -> None:
        """Sends a job; a child that is still starting finds it in its socket."""
        if self.started and not self.jobs:
            self.deadline = time.monotonic() + self.seconds
        self.jobs.append(job)
        with contextlib.suppress(OSError):  # a dead child is noticed when its answer is awaited
            self.connection.send_bytes(job.request)

    def receive(self) -> Outcome | None:
        """What the child sent: an answer, a refusal, or none for the word that it has started.

        Raises:
            EOFError: It is dead; or one of `_NONSENSE`.
        """
        message = self.connection.recv_bytes(_MAX_ANSWER)
        if not self.started:
            if message != READY:
                raise ValueError
            self.started = True
            self.deadline = time.monotonic() + self.seconds
            return None
        answer = json.loads(message)
        if "reason" in answer:
            return DicomError(_one_line(answer["reason"], 80), _one_line(answer["detail"], 200))
        payload = self.connection.recv_bytes(_MAX_IMAGE) if answer["bytes"] else b""
        return Answer(answer["value"], payload)

    def settle(self) -> _Job[J]:
        """The job that it has answered; the time of the next one begins."""
        self.answered += 1
        self.deadline = time.monotonic() + self.seconds
        return self.jobs.popleft()

    def end(self) -> None:
        """Kills the process."""
        self.connection.close()
        self._server.end(self._number)


class Sandbox(Generic[J]):
    """Child processes that run one task on many untrusted files; a context manager.

    Args:
        task: Where the task is, as `module:function`; see `scansynth.dicom.child.Task`.
        request: A job to the task's named arguments, as JSON values.
        workers: Child processes at a time.
        memory_bytes: Address space that one file may take.
        seconds: Time that one file may take.
    """

    def __init__(
        self, task: str, request: Callable[[J], Mapping[str, Any]], workers: int, memory_bytes: int, seconds: float
    ) -> None:
        self._task = task
        self._memory_bytes = memory_bytes
        self._request = request
        self._seconds = seconds
        self._children: list[_Child[J] | None] = [None] * max(1, workers)
        self._failed_starts = 0
        self._next: _Job[J] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all children."""
        for place in range(len(self._children)):
            self._end(place)

    def run(self, jobs: Iterable[J]) -> Iterator[tuple[J, Outcome]]:
        """Each job with its answer or refusal, in the order of the jobs.

        At most two jobs a child are under way or waiting to be taken, so memory stays flat.

        Raises:
            RuntimeError: The child program does not start: a fault of the installation.
        """
        source = (_Job(index, item, json.dumps(dict(self._request(item))).encode()) for index, item in enumerate(jobs))
        done: dict[int, tuple[J, Outcome]] = {}
        given = taken = 0
        try:
            while True:
                while taken in done:
                    taken += 1
                    yield done.pop(taken - 1)
                given += self._hand_out(source, 2 * len(self._children) - (given - taken))
                if not self._busy():
                    return
                self._collect(done)
        finally:
            self._next = None
            for place, _child in self._busy():
                self._end(place)

    def _busy(self) -> list[tuple[int, _Child[J]]]:
        return [(place, child) for place, child in enumerate(self._children) if child and child.jobs]

    def _hand_out(self, source: Iterator[_Job[J]], most: int) -> int:
        """Gives jobs to the children that may have one more, idle ones first, at most `most`; how many were given."""
        given = 0
        for ahead in range(_AHEAD):
            for place, child in enumerate(self._children):
                self._next = self._next or (next(source, None) if given < most else None)
                if self._next is None or given >= most:
                    return given
                if len(child.jobs if child else ()) <= ahead and (child is None or child.takes(self._next)):
                    self._give(place, self._next)
                    self._next, given = None, given + 1
        return given

    def _give(self, place: int, job: _Job[J]) -> None:
        child = self._children[place] or _Child(self._task, self._memory_bytes, self._seconds)
        self._children[place] = child
        child.give(job)

    def _collect(self, done: dict[int, tuple[J, Outcome]]) -> None:
        """Waits until a child answers, dies or has had its time, and settles its job."""
        busy = self._busy()
        until = min(child.deadline for _, child in busy)
        readable = wait([child.connection for _, child in busy], max(0.0, until - time.monotonic()))
        for place, child in busy:
            if child.connection in readable:
                try:
                    outcome = child.receive()
                except _NONSENSE:
                    self._replace(place, child, done, DicomError("decoder crashed"))
                    continue
                if isinstance(outcome, DicomError) and outcome.reason == MEMORY:
                    self._replace(place, child, done, DicomError("decoding needs too much memory"))
                elif outcome is not None:
                    self._failed_starts = 0
                    job = child.settle()
                    done[job.index] = (job.item, outcome)
            elif time.monotonic() >= child.deadline:
                refusal = DicomError("decoding took too long", f"more than {self._seconds:g} s")
                self._replace(place, child, done, refusal, final=child.started)

    def _replace(
        self,
        place: int,
        child: _Child[J],
        done: dict[int, tuple[J, Outcome]],
        refusal: DicomError,
        final: bool = False,
    ) -> None:
        """Ends a failed child; its file is refused, or tried once more by a fresh child, which has its next job too."""
        fresh = child.started and child.answered == 0
        self._end(place)
        if not child.started:
            self._failed_starts += 1
            if self._failed_starts >= _START_FAILURES:
                raise RuntimeError("the program that reads DICOM files does not start: scansynth.dicom.child")
        if fresh or final:
            job = child.jobs.popleft()
            done[job.index] = (job.item, refusal)
        for job in child.jobs:
            self._give(place, job)

    def _end(self, place: int) -> None:
        child, self._children[place] = self._children[place], None
        if child:
            child.end()
