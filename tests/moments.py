"""Work that is done many times, each time in a fork of its own, and dies at a moment that is asked for.

Moments are files opened for writing, renamed or removed, and what the work says of its progress.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir"}


class Moments:
    """Counts the moments of a process, and kills it at one of them; 0: at none."""

    def __init__(self, folder: Path, dies_at: int) -> None:
        """What is written in or below `folder` counts from now on, as long as the process lives."""
        self.count, self._folder, self._dies_at = 0, str(folder), dies_at
        sys.addaudithook(self._heard)

    def passed(self, *_: Any) -> None:
        """One more; takes what a progress bar is told."""
        self.count += 1
        if self.count == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _heard(self, event: str, given: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in _CHANGES) and self._folder in str(given[0]):
            self.passed()


def serve(work: Callable[[Path, int], Any]) -> None:
    """In the process that `in_forks` starts: `work(folder, dies_at)` for each line of stdin; tells what came of it."""
    for line in sys.stdin:
        folder, dies_at = json.loads(line)
        child = os.fork()
        if not child:
            print(json.dumps({"told": work(Path(folder), dies_at)}), flush=True)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps({"ended": code}), flush=True)


def in_forks(
    script: str, given: Sequence[str], jobs: Sequence[tuple[Path, int]], seconds: float
) -> tuple[list[tuple[int, Any]], str]:
    """Runs a script that ends with `serve`; status and result of each job (none: killed before), and stderr.

    Raises:
        subprocess.TimeoutExpired: It hangs.
    """
    lines = "".join(json.dumps([str(folder), dies_at]) + "\n" for folder, dies_at in jobs)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(HERE)!r})\n{script}", *given],
        input=lines, capture_output=True, text=True, errors="replace", timeout=seconds, check=False,
    )  # fmt: skip
    ended: list[tuple[int, Any]] = []
    told = None
    for line in done.stdout.splitlines():
        said = json.loads(line)
        if "ended" in said:
            ended.append((said["ended"], told))
            told = None
        else:
            told = said["told"]
    return ended, done.stderr
