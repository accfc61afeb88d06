"""Runs independent jobs where the settings say."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from scansynth.config import EngineSettings
from scansynth.console import Progress, silent
from scansynth.engine.cluster import on_ray
from scansynth.engine.job import A, Job, Outcome
from scansynth.engine.processes import in_processes


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
        run = in_processes if not settings.address else on_ray
        for index, outcome in run(function, jobs, settings):
            ended[index] = outcome
            progress(len(ended), len(jobs), _note(outcome, len(ended), len(jobs), time.monotonic() - began))
    return tuple(ended[index] for index in range(len(jobs)))


def _note(outcome: Outcome, done: int, total: int, seconds: float) -> str:
    """The note after the progress bar."""
    words = f"{outcome.name} {'done' if outcome.succeeded else 'failed'}"
    left = seconds / done * (total - done)
    return words if done == total else f"{words}; about {max(1, round(left / 60.0))} min left"
