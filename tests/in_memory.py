"""Tests write to memory where the system offers it: thousands of files are synced, each 10 ms on a disk.

A user's TMPDIR goes before. The folder of a run in which something failed stays until the next run.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from multiprocessing.util import Finalize
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")
_PREFIX = "scansynth-"
_LEAST = 4 << 30
"""Bytes that must be free there; what tests hold at once is less."""


def _alive(process: str) -> bool:
    return Path("/proc", process).exists()


def _folder() -> Path | None:
    """A new folder in memory, after those of runs that have ended are removed."""
    if "TMPDIR" in os.environ or not _MEMORY.is_dir():
        return None
    for left in _MEMORY.glob(f"{_PREFIX}*"):
        if left.owner() == Path("/proc/self").owner() and not _alive(left.name.removeprefix(_PREFIX)):
            shutil.rmtree(left, ignore_errors=True)
    about = os.statvfs(_MEMORY)
    if about.f_bavail * about.f_frsize < _LEAST or about.f_flag & os.ST_NOEXEC:
        return None
    made = _MEMORY / f"{_PREFIX}{os.getpid()}"
    made.mkdir()
    made.chmod(0o1777)  # as /tmp: tests start servers as other users
    return made


_made = _folder()
if _made is not None:  # before anything asks for a temporary folder; inherited by workers and children
    os.environ["TMPDIR"] = tempfile.tempdir = str(_made)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Gives the memory back, when multiprocessing has taken its own folder (at -100) out of it."""
    if _made is not None and exitstatus == pytest.ExitCode.OK:
        Finalize(None, shutil.rmtree, args=(_made, True), exitpriority=-200)
