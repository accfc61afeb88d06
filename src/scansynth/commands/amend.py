"""Commands on the readers of a study that is being read: who comes, who goes, and readings that are broken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scansynth import console
from scansynth.commands.reader import Address, Database, app, links_begin_with
from scansynth.commands.shared import StudyFolder

__all__ = ["app"]

if TYPE_CHECKING:
    from scansynth.study import Study

Name = Annotated[str, typer.Argument(metavar="READER", help="r01, r02 and so on.")]
Reason = Annotated[str, typer.Option(help="Why; printed in the report.")]
Served = Annotated[
    Path | None,
    typer.Option("--worklist", help="The copy of the worklist that is served, if not the study's own."),
]
Exclude = Annotated[
    bool,
    typer.Option("--exclude-answers", help="Leave out the answers given so far, however many they are."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command()
def add(
    study: StudyFolder,
    reason: Reason = "",
    address: Address = None,
    worklist: Served = None,
    yes: Yes = False,
) -> None:
    """Adds a reader to a study that is being read, in a seat that was prepared and sealed; prints the invitation."""
    _change(study, None, True, False, reason, address, worklist, None, yes)


@app.command()
def withdraw(
    study: StudyFolder,
    reader: Name,
    reason: Reason = "",
    exclude_answers: Exclude = False,
    worklist: Served = None,
    database: Database = None,
    yes: Yes = False,
) -> None:
    """Ends a reader's part; the answers given so far count by the protocol's rule."""
    _change(study, reader, False, exclude_answers, reason, None, worklist, database, yes)


@app.command()
def replace(
    study: StudyFolder,
    reader: Name,
    reason: Reason = "",
    exclude_answers: Exclude = False,
    address: Address = None,
    worklist: Served = None,
    database: Database = None,
    yes: Yes = False,
) -> None:
    """Withdraws a reader and adds another; prints the invitation."""
    _change(study, reader, True, exclude_answers, reason, address, worklist, database, yes)


def _change(
    study: Path,
    reader: str | None,
    add: bool,
    exclude: bool,
    reason: str,
    address: str | None,
    worklist: Path | None,
    database: str | None,
    yes: bool,
) -> None:
    """Says what a change does, asks, makes it, and prints a link where there is one."""
    from scansynth.reader.amend import make, require_reason, think
    from scansynth.study import open_study

    opened, begin = open_study(study), links_begin_with(address)
    require_reason(reason)
    with opened.lock():
        change = think(opened, reader=reader, add=add, exclude=exclude, worklist_folder=worklist, database_url=database)
        console.say(f"{change.effect}.")
        if not yes and not typer.confirm("Make this change? It cannot be undone.", err=True):
            console.result("nothing was changed")
            return
        token = make(opened, change, reason, worklist_folder=worklist, database_url=database)
    console.result(f"wrote {opened.reader / 'amendments.json'}; the report will print it")
    if token:
        console.result("the link below is shown once and not stored; send it to the reader")
        console.result(f"  {change.new}  {begin}/i/{token}")
        console.result(f"next: stop the server and start it again: scansynth reader serve {worklist or study}")
    else:
        console.result(f"next, when all readers have finished: scansynth reader close {study}")


@app.command("set-aside")
def set_aside(
    study: StudyFolder,
    name: Annotated[str, typer.Option(help="Who decides to go on without the broken readings; printed.")] = "",
    reason: Reason = "",
    worklist: Served = None,
    database: Database = None,
) -> None:
    """Sets aside readings that were changed after they were locked, with their evidence; they do not count."""
    from scansynth.reader.amend import set_aside as end
    from scansynth.study import open_study

    opened: Study = open_study(study)
    with opened.lock():
        lost = end(opened, name, reason, worklist_folder=worklist, database_url=database)
    for one in lost:
        console.warn(f"reading {one.n} of {one.reader} does not count; the row and a copy of it stay in the database")
    console.result(f"wrote {opened.reader / 'amendments.json'}; the report will print it")
    console.result(f"next: find out who can write to the database, then: scansynth reader close {study}")
