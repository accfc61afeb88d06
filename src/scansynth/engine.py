"""Where independent jobs run: processes on this machine, or Ray.

A job is a module-level function and one argument of plain values (paths, numbers, text); it writes its results to
files, so that only an address decides where it runs. Every worker has one thread: two jobs on two cores gain more
than two threads in one job, and one thread sums in a fixed order.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any, Generic, TypeVar

from scansynth.config import DEVICE, EngineSettings
from scansynth.console import Progress, silent
from scansynth.errors import ConfigError, ScansynthError

A = TypeVar("A")

LOCAL_RAY = "local"
"""The address that starts a Ray of its own on this machine."""

_TRIES = 2  # of a job whose process was killed: memory may be short only briefly
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_KILLED = "its process was killed twice (most often for lack of memory); lower engine.workers and run again"


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
    return {**_ONE_THREAD, DEVICE: gpus[number % len(gpus)]} if gpus else _ONE_THREAD


def run_jobs(
    function: Callable[[A], None], jobs: Sequence[Job[A]], settings: EngineSettings, progress: Progress = silent
) -> tuple[Outcome, ...]:
    """Runs every job where the settings say, and waits for all.

    A failed job does not stop the others. A job whose process was killed is tried once more. Ctrl-C ends the
    workers; files of finished jobs are kept.

    Args:
        function: Of the module level; it does one job and writes what it makes.
        jobs: In the order in which they should begin.
        settings: How many workers, and where.
        progress: Called when a job ends.

    Returns:
        Outcomes, in the order of the jobs.

    Raises:
        ConfigError: Ray is asked for and not installed, or cannot be reached.
    """
    ended: dict[int, Outcome] = {}
    began = time.monotonic()
    progress(0, len(jobs))
    if jobs:
        run = _in_processes if not settings.address else _on_ray
        for index, outcome in run(function, jobs, settings):
            ended[index] = outcome
            progress(len(ended), len(jobs), _note(outcome, len(ended), len(jobs), time.monotonic() - began))
    return tuple(ended[index] for index in range(len(jobs)))


def _note(outcome: Outcome, done: int, total: int, seconds: float) -> str:
    """The note after the progress bar."""
    words = f"{outcome.name} {'done' if outcome.succeeded else 'failed'}"
    left = seconds / done * (total - done)
    return words if done == total else f"{words}; about {max(1, round(left / 60.0))} min left"


def _attempt(function: Callable[[A], None], name: str, argument: A) -> Outcome:
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


# Processes of this machine


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
            connection.send(_attempt(function, name, argument))


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, for whatever reason."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


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


def _in_processes(
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
                again = outcome is None and tries[index] < _TRIES
                if again:
                    waiting.appendleft(index)
                _hand_on(worker, waiting, tries, jobs)
                if not again:
                    yield index, _counted(outcome, jobs[index].name, tries[index])
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


def _counted(outcome: Outcome | None, name: str, tries: int) -> Outcome:
    """The outcome with its number of tries; none: its process was killed."""
    if outcome is None:
        return Outcome(name, _KILLED, True, tries=tries)
    return replace(outcome, tries=tries)


# Ray


def _ray() -> Any:
    """The library, with usage reporting off.

    Raises:
        ConfigError: It is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: PLC0415 (an extra: only those who ask for it have it)
    except ImportError:
        raise ConfigError(
            "engine.address needs Ray, which is not installed; run: pip install 'scansynth[ray]', or remove the "
            "address to use processes on this machine"
        ) from None
    return ray


@contextlib.contextmanager
def _cluster(settings: EngineSettings, jobs: int) -> Iterator[Any]:
    """Ray, connected; one that was started here ends with the block.

    Raises:
        ConfigError: There is no Ray at the address.
    """
    ray, asked = _ray(), os.environ.get(DEVICE, "") or "auto"
    if ":" in asked:
        raise ConfigError(f"Ray assigns each job its GPU, but device is {asked}; set device to auto, cuda or cpu")
    variables = {**_ONE_THREAD, DEVICE: asked}
    if settings.address == LOCAL_RAY:  # the same modules as here; another machine has its own installation
        variables["PYTHONPATH"] = os.pathsep.join(place for place in sys.path if place)
    quiet = {"log_to_driver": False, "logging_level": "error", "runtime_env": {"env_vars": variables}}
    try:
        if settings.address == LOCAL_RAY:
            # on the loopback alone, with a store as small as Ray allows: jobs hand over files, not objects
            own = {"_node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20, "include_dashboard": False}
            ray.init(address="local", num_cpus=worker_count(settings, jobs), **own, **quiet)
        else:
            ray.init(address=settings.address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as fault:
        words = " ".join(str(fault).split())[:200]
        raise ConfigError(
            f"there is no Ray at engine.address {settings.address} ({words}); correct the address"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _on_ray(
    function: Callable[[A], None], jobs: Sequence[Job[A]], settings: EngineSettings
) -> Iterator[tuple[int, Outcome]]:
    """As `_in_processes`, on the workers of a Ray cluster, which see the same files."""
    with _cluster(settings, len(jobs)) as ray:
        gpus = 0.0 if os.environ.get(DEVICE) == "cpu" else ray.cluster_resources().get("GPU", 0.0)
        share = min(1.0, gpus / (settings.workers or 1))  # one each; a task of another share would see all GPUs or none
        task = ray.remote(num_cpus=1, num_gpus=share, max_retries=0)(_attempt)
        most = settings.workers or len(jobs)
        waiting, tries = deque(range(len(jobs))), [0] * len(jobs)
        under_way: dict[Any, int] = {}
        try:
            while waiting or under_way:
                while waiting and len(under_way) < most:
                    index = waiting.popleft()
                    tries[index] += 1
                    under_way[task.remote(function, jobs[index].name, jobs[index].argument)] = index
                ready, _ = ray.wait(list(under_way), num_returns=1)
                index = under_way.pop(ready[0])
                outcome = _fetched(ray, ready[0], jobs[index].name)
                if outcome is None and tries[index] < _TRIES:
                    waiting.appendleft(index)
                else:
                    yield index, _counted(outcome, jobs[index].name, tries[index])
        finally:
            for reference in under_way:
                ray.cancel(reference, force=True)


def _fetched(ray: Any, reference: Any, name: str) -> Outcome | None:
    """How a task ended; none when its process, or its whole machine, is gone."""
    try:
        outcome: Outcome = ray.get(reference)
        return outcome
    except ray.exceptions.RayTaskError as fault:  # the worker could not start: a different installation, for example
        words = " ".join(str(fault.cause or fault).split())
        return Outcome(name, f"the worker could not start: {words[:200]}", trace=str(fault))
    except ray.exceptions.RayError:
        return None
