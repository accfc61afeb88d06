"""Jobs on Ray: one that is started here, or a cluster of several machines that see the same files."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from scansynth.config import DEVICE, EngineSettings
from scansynth.engine.job import ONE_THREAD, TRIES, A, Job, Outcome, attempt, counted
from scansynth.engine.processes import worker_count
from scansynth.errors import ConfigError

LOCAL_RAY = "local"
"""The address that starts a Ray of its own on this machine."""


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
def cluster(settings: EngineSettings, jobs: int) -> Iterator[Any]:
    """Ray, connected; one that was started here ends with the block.

    Raises:
        ConfigError: There is no Ray at the address.
    """
    ray, asked = _ray(), os.environ.get(DEVICE, "") or "auto"
    if ":" in asked:
        raise ConfigError(f"Ray assigns each job its GPU, but device is {asked}; set device to auto, cuda or cpu")
    variables = {**ONE_THREAD, DEVICE: asked}
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
    except Exception as fault:  # Ray raises what it likes: also when a machine is too busy to start it in time
        words = " ".join(str(fault).split())[:200]
        raise ConfigError(
            f"there is no Ray at engine.address {settings.address} ({words}); correct the address"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def on_ray(
    function: Callable[[A], None], jobs: Sequence[Job[A]], settings: EngineSettings
) -> Iterator[tuple[int, Outcome]]:
    """As `in_processes`, on the workers of a Ray cluster, which see the same files."""
    with cluster(settings, len(jobs)) as ray:
        gpus = 0.0 if os.environ.get(DEVICE) == "cpu" else ray.cluster_resources().get("GPU", 0.0)
        share = min(1.0, gpus / (settings.workers or 1))  # one each; a task of another share would see all GPUs or none
        task = ray.remote(num_cpus=1, num_gpus=share, max_retries=0)(attempt)
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
                if outcome is None and tries[index] < TRIES:
                    waiting.appendleft(index)
                else:
                    yield index, counted(outcome, jobs[index].name, tries[index])
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
