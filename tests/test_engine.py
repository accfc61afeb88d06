"""Independent jobs: all run, wherever; one that fails or is killed costs nothing but itself."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from scansynth.config import DEVICE, EngineSettings
from scansynth.engine import cluster, processes
from scansynth.engine.job import Job
from scansynth.engine.processes import beside, worker_count
from scansynth.engine.run import run_jobs
from scansynth.errors import CohortError, ConfigError

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray (an extra) is not installed")
LOCAL = EngineSettings(workers=2)
RAY = EngineSettings(workers=2, address="local")


@dataclass(frozen=True)
class Task:
    """What the jobs of these tests get: a folder, a number, and how to behave."""

    folder: str
    number: int
    behave: str = "well"


def work(task: Task) -> None:
    place = Path(task.folder)
    with (place / f"begun-{task.number}").open("a") as stream:
        stream.write("x")
    if task.behave == "refuse":
        raise CohortError("there is no\ncohort; make one")
    if task.behave == "break":
        raise ZeroDivisionError("planted")
    killed_before = (place / f"begun-{task.number}").read_text() != "x"
    if task.behave == "die" or (task.behave == "die once" and not killed_before):
        os.kill(os.getpid(), signal.SIGKILL)
    (place / f"made-{task.number}").write_text(f"{task.number**2} {os.environ['OMP_NUM_THREADS']}")


def sleep(task: Task) -> None:
    Path(task.folder, f"pid-{os.getpid()}").touch()
    time.sleep(600)


def jobs(folder: Path, behaviours: list[str]) -> list[Job[Task]]:
    return [Job(f"job {number}", Task(str(folder), number, how)) for number, how in enumerate(behaviours)]


def made(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("made-*")}


def begun(folder: Path, number: int) -> int:
    return len((folder / f"begun-{number}").read_text())


def check_mixed_jobs(folder: Path, settings: EngineSettings) -> None:
    told: list[tuple[int, int, str]] = []
    behaviours = ["well", "refuse", "die once", "break", "die", "well"]
    outcomes = run_jobs(work, jobs(folder, behaviours), settings, lambda *told_now: told.append(told_now))
    assert [outcome.name for outcome in outcomes] == [f"job {number}" for number in range(6)]
    assert [outcome.succeeded for outcome in outcomes] == [True, False, True, False, False, True]
    assert made(folder) == {"made-0": "0 1", "made-2": "4 1", "made-5": "25 1"}
    assert outcomes[1].reason == "there is no cohort; make one"
    assert outcomes[1].refused
    assert outcomes[3].reason == "ZeroDivisionError: planted"
    assert not outcomes[3].refused
    assert "in work" in outcomes[3].trace
    assert "engine.workers" in outcomes[4].reason
    assert [begun(folder, number) for number in range(6)] == [1, 1, 2, 1, 2, 1]
    assert [outcome.tries for outcome in outcomes] == [1, 1, 2, 1, 2, 1]
    assert [row[0] for row in told] == list(range(7))
    assert {row[1] for row in told} == {6}


def test_local_processes_run_all_jobs_but_the_faulty(tmp_path: Path) -> None:
    check_mixed_jobs(tmp_path, LOCAL)


@needs_ray
def test_ray_runs_the_same_jobs_with_the_same_ends(tmp_path: Path) -> None:
    check_mixed_jobs(tmp_path, RAY)


def test_order_of_the_jobs_does_not_change_what_they_make(tmp_path: Path) -> None:
    for name, reverse in (("forth", False), ("back", True)):
        (tmp_path / name).mkdir()
        ordered = jobs(tmp_path / name, ["well"] * 5)
        run_jobs(work, ordered[::-1] if reverse else ordered, LOCAL)
    assert made(tmp_path / "forth") == made(tmp_path / "back")
    assert len(made(tmp_path / "forth")) == 5


def test_no_jobs_start_nothing() -> None:
    assert run_jobs(work, [], RAY) == ()


@pytest.mark.parametrize(("workers", "expected"), [(1, 1), (3, 3), (100, 7)])
def test_worker_count_is_as_asked_and_no_more_than_jobs(workers: int, expected: int) -> None:
    assert worker_count(EngineSettings(workers=workers), 7) == expected


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], None]:
    """Makes this machine seem to have so many GPUs, and `SCANSYNTH_DEVICE` say so."""

    def pretend(count: int, device: str = "") -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setenv(DEVICE, device)

    return pretend


def test_worker_count_follows_the_cores_when_not_asked(gpus: Callable[..., None]) -> None:
    gpus(0)
    assert worker_count(EngineSettings(), 10_000) == len(os.sched_getaffinity(0))
    gpus(8, "cpu")
    assert worker_count(EngineSettings(), 10_000) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("count", "device", "workers", "expected"),
    [
        (4, "auto", 0, ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]),
        (4, "", 0, ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]),
        (3, "cuda", 2, ["cuda:0", "cuda:1"]),
        (2, "auto", 4, ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]),  # as asked, in turns
        (4, "cuda:2", 0, ["cuda:2"]),  # one GPU is named: one worker, there
        (1, "auto", 0, ["cuda:0"]),
    ],
)
def test_each_worker_has_a_gpu_of_its_own(
    gpus: Callable[..., None], count: int, device: str, workers: int, expected: list[str]
) -> None:
    gpus(count, device)
    started = worker_count(EngineSettings(workers=workers), 100)
    assert [processes._place(number)[DEVICE] for number in range(started)] == expected


def test_a_worker_on_the_cpu_is_given_no_gpu(gpus: Callable[..., None]) -> None:
    gpus(4, "cpu")
    assert DEVICE not in processes._place(3)  # and it inherits the variable, which says cpu
    gpus(0)
    assert DEVICE not in processes._place(0)


def tell_device(path: str) -> None:
    Path(path).write_text(os.environ.get(DEVICE, ""))


def test_the_device_reaches_the_workers(tmp_path: Path, gpus: Callable[..., None]) -> None:
    gpus(2)
    paths = [tmp_path / str(number) for number in range(2)]
    run_jobs(tell_device, [Job(path.name, str(path)) for path in paths], EngineSettings())
    assert {path.read_text() for path in paths} <= {"cuda:0", "cuda:1"}


def test_missing_ray_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'scansynth\[ray\]'"):
        run_jobs(work, jobs(tmp_path, ["well"]), RAY)
    assert made(tmp_path) == {}


@needs_ray
def test_unreachable_ray_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray  # noqa: PLC0415

    def unreachable(**_: object) -> None:
        raise ConnectionError("Could not find any running\nRay instance")

    monkeypatch.setattr(ray, "init", unreachable)
    with pytest.raises(ConfigError, match=r"no Ray at engine.address 127.0.0.1:1 .*any running Ray"):
        run_jobs(work, jobs(tmp_path, ["well"]), EngineSettings(address="127.0.0.1:1"))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path: Path, end: signal.Signals) -> None:
    program = (
        "import signal, sys, test_engine as t\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "    t.run_jobs(t.sleep, t.jobs(__import__('pathlib').Path(sys.argv[1]), ['well'] * 4), t.LOCAL)\n"
    )
    (tmp_path / "program.py").write_text(program)
    paths = os.pathsep.join([str(Path(__file__).parent), *(place for place in sys.path if place)])
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py"), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": paths},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    pids = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
    parent.send_signal(end)
    _, errors = parent.communicate(timeout=60)
    wait_for(lambda: not any(alive(pid) for pid in pids))
    assert errors.count("Traceback") <= 1, "the workers say nothing"


def wait_for(condition: object, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if condition():  # type: ignore[operator]
                return
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def test_environment_of_the_parent_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    run_jobs(work, jobs(tmp_path, ["well"]), LOCAL)
    assert made(tmp_path) == {"made-0": "0 1"}
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ
    assert cluster.LOCAL_RAY == "local"


# one function beside the rest


def doubled(task: Task) -> tuple[int, int]:
    """Twice the number and the process; the behaviour is that of a child alone."""
    if os.getpid() != int(task.folder):
        if task.behave == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if task.behave == "fails":
            raise CohortError("never seen")
        if task.behave == "sleeps":
            time.sleep(600)
    return 2 * task.number, os.getpid()


def test_beside_works_in_another_process_while_this_one_goes_on() -> None:
    with beside(doubled, Task(str(os.getpid()), 21)) as result:
        number, place = result()
    assert number == 42
    assert place != os.getpid()


@pytest.mark.parametrize("behave", ["dies", "fails"])
def test_a_process_that_is_lost_beside_costs_only_its_time(behave: str) -> None:
    with beside(doubled, Task(str(os.getpid()), 4, behave)) as result:
        assert result() == (8, os.getpid())


def test_a_fault_of_what_is_done_beside_is_seen_here() -> None:
    task = Task("0", 1, "fails")
    with pytest.raises(CohortError, match="never seen"), beside(doubled, task) as result:
        result()


def test_what_is_not_awaited_ends_with_the_block() -> None:
    began = time.monotonic()
    with beside(doubled, Task(str(os.getpid()), 1, "sleeps")):
        pass
    assert time.monotonic() - began < 300  # it would sleep for 600
