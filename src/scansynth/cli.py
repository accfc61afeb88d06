"""The command line: its commands come from `commands/`; a refusal is one line and exit code 2."""

from __future__ import annotations

import os
import sys
import time

import typer
from typer.exceptions import TyperException

from scansynth import console
from scansynth.commands import archives, comparing, plan, release, sets, study, sweep, trial, trying
from scansynth.commands.shared import together
from scansynth.errors import ScansynthError

app = typer.Typer(
    name="scansynth",
    help="Synthetic medical scans from a small private cohort, with evidence of what they are worth.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
_WAIT_SECONDS = 60.0
for group in (trying.app, study.app, sweep.app, sets.app, trial.app, release.app, archives.app):
    app.add_typer(group)
app.add_typer(plan.app, name="plan")
app.add_typer(comparing.app, name="reader")


def main() -> None:
    """Runs the command line; a refusal is one line on stderr and exit code 2."""
    if together() and sys.argv[1:2] != ["train"]:
        _refuse_together()
    try:
        app(standalone_mode=False)
    except ScansynthError as fault:
        console.refuse(str(fault))
        sys.exit(fault.exit_code)
    except TyperException as fault:
        console.refuse(f"{fault.format_message().rstrip('.')}; see: scansynth --help")
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        console.refuse("interrupted; finished work is kept, run the same command again to continue")
        sys.exit(2)
    except OSError as fault:
        if fault.filename is None:
            raise
        console.refuse(f"{fault.filename}: {fault.strerror}; fix this and run the same command again")
        sys.exit(2)


def _refuse_together() -> None:
    """Refuses what torchrun cannot start: once, and the other processes wait until torchrun ends them."""
    if os.environ["RANK"] == "0":
        console.refuse("torchrun is for scansynth train alone; start other commands without it")
    else:
        time.sleep(_WAIT_SECONDS)
    sys.exit(2)


if __name__ == "__main__":
    main()
