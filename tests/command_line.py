"""The command line as a user has it, in this process."""

from __future__ import annotations

import sys

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
