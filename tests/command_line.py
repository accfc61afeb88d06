"""The command line as a user has it, in this process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
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
import json, os, pathlib, sys
import scansynth.study
from scansynth.cli import main
told = pathlib.Path(sys.argv[1])
for number, arguments in enumerate(json.load(sys.stdin)):
    if os.fork():
        os.wait()
        continue
    code, sys.argv = 0, ["scansynth", *arguments]
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    (told / str(number)).write_text(json.dumps([code, list(sys.modules)]))
    os._exit(0)
"""


def imported(*commands: Sequence[object]) -> list[tuple[int, frozenset[str]]]:
    """Runs each command in a process of its own; their exit codes, and all modules that each imported.

    The processes are forks of one that has imported what a command that names a study needs first, and nothing else.
    What that imports counts for each of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked = json.dumps([[str(word) for word in command] for command in commands])
        subprocess.run([sys.executable, "-c", _LIST, folder], check=True, input=asked, text=True, capture_output=True)
        found = [json.loads(Path(folder, str(number)).read_text()) for number in range(len(commands))]
    return [(code, frozenset(modules)) for code, modules in found]
