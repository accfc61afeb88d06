"""Jobs in processes of this machine, and one function beside the rest."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any, Generic, TypeVar

from scansynth.config import DEVICE, EngineSettings
from scansynth.engine.job import ONE_THREAD, TRIES, A, Job, Outcome, attempt, counted

R = TypeVar("R")


def worker_count(settings: EngineSettings, jobs: int) -> int:
    """Processes to start: as set, else one for each GPU, or for each core without one; no more than jobs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(settings.workers or len(_gpus()) or cores, jobs))


def _gpus() -> tuple[str, ...]:
    """GPUs that jobs may use, as `SCANSYNTH_DEVICE` limits them; none on a machine without, or when it says cpu."""
    asked = os.environ.get(DEVICE, "") or "auto"
    if asked not in {"auto", "cuda"}:
        return () if asked == "cpu" else (asked,)
    import torch  # noqa: PLC0415 (two seconds, which only those pay who start workers)

    return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))


def _place(number: int) -> dict[str, str]:
    """Environment of the worker `number`: one thread and, where there are GPUs, one of them, in turns."""
    gpus = _gpus()
    return {**ONE_THREAD, DEVICE: gpus[number % len(gpus)]} if gpus else ONE_THREAD


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables for the children started in the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _serve(connection: Connection, function: Callable[[Any], None], environment: dict[str, str]) -> None:
    """A worker's life: job after job until the connection closes. Ctrl-C is its parent's to answer.

    Args:
        connection: Jobs come in, outcomes go out.
        function: Does one job.
        environment: All environment variables: the fork server has those of its own start.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(environment)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while True:
            name, argument = connection.recv()
            connection.send(attempt(function, name, argument))


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, for whatever reason."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def beside(function: Callable[[A], R], argument: A) -> Iterator[Callable[[], R]]:
    """One function at work in a process of its own while the block does something else.

    Args:
        function: Of the module level; what it gives crosses to this process.
        argument: Of the function.

    Yields:
        What waits for the result. Where the process failed or was killed, the function is run here, and a fault shows
        as it would without `beside`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    ours, theirs = context.Pipe(duplex=False)
    environment = {**os.environ, **ONE_THREAD}
    process = context.Process(target=_send, args=(theirs, function, argument, environment), daemon=True)
    process.start()
    theirs.close()

    def result() -> R:
        try:
            made: R = ours.recv()
        except (EOFError, OSError):
            return function(argument)
        return made

    try:
        yield result
    finally:
        process.kill()
        process.join()
        ours.close()


def _send(connection: Connection, function: Callable[[A], R], argument: A, environment: dict[str, str]) -> None:
    """What a process of `beside` does. A fault closes the connection, and says nothing: the parent meets it again."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(environment)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(Exception):
        connection.send(function(argument))


class _Worker(Generic[A]):
    """One process, and the job that it has.

    Attributes:
        number: Its place among the workers, which decides about its GPU; a worker that follows on a dead one has it.
    """

    def __init__(self, function: Callable[[A], None], number: int) -> None:
        self.number = number
        # Forked from a process that imported what the job needs and did nothing else: a torch that has worked may hang
        # in its threads when it is forked, and importing it in each worker takes seconds.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([function.__module__])  # by the first start alone
        self.connection, theirs = context.Pipe()
        with _environment(_place(number)):
            self.process: ForkServerProcess = context.Process(
                target=_serve, args=(theirs, function, dict(os.environ)), daemon=True
            )
            self.process.start()
        theirs.close()
        self.index = -1

    def give(self, index: int, job: Job[A]) -> None:
        """Hands over a job; that a worker is dead is noticed when its answer is awaited."""
        self.index = index
        with contextlib.suppress(OSError):
            self.connection.send((job.name, job.argument))

    def answer(self) -> Outcome | None:
        """How the job ended; none when the process is dead."""
        try:
            outcome: Outcome = self.connection.recv()
            return outcome
        except (EOFError, OSError):
            return None

    def end(self) -> None:
        """Kills the process; safe to call twice."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def in_processes(
    function: Callable[[A], None], jobs: Sequence[Job[A]], settings: EngineSettings
) -> Iterator[tuple[int, Outcome]]:
    """Each job's place and how it ended, as they end."""
    waiting = deque(range(len(jobs)))
    tries = [0] * len(jobs)
    workers: list[_Worker[A]] = []
    try:
        workers += [_Worker(function, number) for number in range(worker_count(settings, len(jobs)))]
        for worker in workers:
            _hand_on(worker, waiting, tries, jobs)
        while busy := {worker.connection: worker for worker in workers if worker.index >= 0}:
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                index, outcome = worker.index, worker.answer()
                if outcome is None:  # it was killed
                    worker.end()
                    workers.remove(worker)
                    worker = _Worker(function, worker.number)
                    workers.append(worker)
                again = outcome is None and tries[index] < TRIES
                if again:
                    waiting.appendleft(index)
                _hand_on(worker, waiting, tries, jobs)
                if not again:
                    yield index, counted(outcome, jobs[index].name, tries[index])
    finally:
        for worker in workers:
            worker.end()


def _hand_on(worker: _Worker[A], waiting: deque[int], tries: list[int], jobs: Sequence[Job[A]]) -> None:
    """Gives a worker the next job, if there is one."""
    worker.index = -1
    if waiting:
        index = waiting.popleft()
        tries[index] += 1
        worker.give(index, jobs[index])
