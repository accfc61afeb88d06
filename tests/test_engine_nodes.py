"""Jobs on a Ray of two nodes: one of them is killed in mid-run, and every job is done, and counted once."""

from __future__ import annotations

import importlib.util
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scansynth.config import DEVICE, EngineSettings
from scansynth.engine.job import Job
from scansynth.engine.run import run_jobs

JOBS = 6
_CHANCES = 4


@dataclass(frozen=True)
class Task:
    """A folder, and a number."""

    folder: str
    number: int


def work(task: Task) -> None:
    """Says on which node it began, works for a while, and writes what it made under its name at once."""
    import ray  # noqa: PLC0415 (an extra)

    place = Path(task.folder)
    node = ray.get_runtime_context().get_node_id()
    with (place / f"begun-{task.number}").open("a") as stream:
        stream.write(f"{node}\n")
    time.sleep(3.0)
    unfinished = place / f".made-{task.number}-{os.getpid()}"
    unfinished.write_text(str(task.number**2))
    unfinished.rename(place / f"made-{task.number}")


def two_nodes() -> tuple[Any, Any]:
    """A cluster on this machine with two nodes of one core each, and the second of them.

    Ray gives a node 30 seconds to start, which a loaded machine may need more than once.
    """
    from ray.cluster_utils import Cluster  # noqa: PLC0415 (an extra)

    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    for chance in reversed(range(_CHANCES)):
        cluster = Cluster()
        try:
            cluster.add_node(**small, include_dashboard=False)
            other = cluster.add_node(**small)
            cluster.wait_for_nodes(timeout=300)
            return cluster, other
        except Exception:  # Ray raises plain ones
            cluster.shutdown()
            if not chance:
                raise
    raise AssertionError


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray (an extra) is not installed")
def test_a_killed_node_costs_only_the_jobs_that_it_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv(DEVICE, "cpu")
    cluster, other = two_nodes()
    try:
        killed: list[float] = []

        def kill_once(done: int, total: int, note: str = "") -> None:
            """Kills the second node while it holds a job: after the first job has ended, before the last ones begin."""
            begun = [path.read_text().split() for path in tmp_path.glob("begun-*")]
            if done >= 1 and not killed and any(other.node_id in nodes for nodes in begun):
                killed.append(done)
                cluster.remove_node(other, allow_graceful=False)

        jobs = [Job(f"job {number}", Task(str(tmp_path), number)) for number in range(JOBS)]
        outcomes = run_jobs(work, jobs, EngineSettings(address=cluster.address, workers=2), kill_once)
    finally:
        cluster.shutdown()
    assert killed
    assert [outcome.name for outcome in outcomes if not outcome.succeeded] == []
    assert {path.name: path.read_text() for path in tmp_path.glob("made-*")} == {
        f"made-{number}": str(number**2) for number in range(JOBS)
    }
    assert [outcome.name for outcome in outcomes] == [job.name for job in jobs]
    begun = [len((tmp_path / f"begun-{number}").read_text().split()) for number in range(JOBS)]
    assert sum(count > 1 for count in begun) <= 1  # a node of one core held one job
    assert all(count <= outcome.tries for count, outcome in zip(begun, outcomes, strict=True))
