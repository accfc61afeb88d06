"""The command line as a user has it, in this process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from scansynth.cli import main


def scansynth(*arguments: object) -> int:
    """Runs a command; its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["scansynth", *map(str, arguments)])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


_LIST = """
import atexit, pathlib, sys
listed = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: listed.write_text(" ".join(sys.modules)))
from scansynth.cli import main
main()
"""


def imported(*arguments: object) -> tuple[int, frozenset[str]]:
    """Runs a command in a fresh interpreter; its exit code, and all modules that it imported."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "modules"
        command = [sys.executable, "-c", _LIST, str(listed), *map(str, arguments)]
        code = subprocess.run(command, check=False, capture_output=True).returncode
        return code, frozenset(listed.read_text().split())
