"""Workers on Ray that stay: each holds something that is slow to start, and answers question after question."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any, Self

from scansynth.config import EngineSettings
from scansynth.engine.cluster import cluster
from scansynth.engine.processes import worker_count
from scansynth.errors import ConfigError

_MANY = 1 << 16
_LIVES = 2  # further ones of a worker whose process or machine is gone; a question that it had is asked again


class Crew:
    """One worker a core of the cluster, or as many as set; a context manager.

    Args:
        kind: A class of the module level; each worker holds one object of it.
        arguments: What makes it.
        settings: The cluster, and how many workers.
    """

    def __init__(self, kind: type[Any], arguments: tuple[Any, ...], settings: EngineSettings) -> None:
        self._kind, self._arguments, self._settings = kind, arguments, settings
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Starts the workers.

        Raises:
            ConfigError: Ray is not installed, or cannot be reached.
        """
        self._ray = self._stack.enter_context(cluster(self._settings, worker_count(self._settings, _MANY)))
        self.size = self._settings.workers or max(1, int(self._ray.cluster_resources().get("CPU", 1.0)))
        worker = self._ray.remote(num_cpus=1, max_restarts=_LIVES, max_task_retries=_LIVES)(self._kind)
        self._turns = itertools.cycle([worker.remote(*self._arguments) for _ in range(self.size)])
        return self

    def __exit__(self, *fault: Any) -> None:
        self._stack.close()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Asks the next worker, each in its turn; returns what `answer` takes."""
        return getattr(next(self._turns), method).remote(*arguments)

    def answer(self, asked: Any) -> Any:
        """The answer, once it is there.

        Raises:
            ConfigError: The worker cannot start, or was lost several times.
        """
        try:
            return self._ray.get(asked)
        except self._ray.exceptions.RayError as fault:
            words = " ".join(str(getattr(fault, "cause", None) or fault).split())[:200]
            raise ConfigError(f"a worker of Ray failed ({words}); look at the cluster, and run again") from None
