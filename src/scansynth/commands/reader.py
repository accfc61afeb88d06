"""Commands of the blinded reader study, from creation to verdict."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scansynth import console
from scansynth.commands.shared import StudyFolder
from scansynth.errors import ReaderError

if TYPE_CHECKING:
    from scansynth.reader.create import Created
    from scansynth.study import Study

app = typer.Typer(help="The blinded reader study.", no_args_is_help=True)

_HOST_AND_PATH = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]*\w)(:\d{1,5})?(/[\w.~/-]*)?")
"""What may stand behind the scheme of an address: a host, a port, a path."""

HOST, PORT = "127.0.0.1", 8765

SealFile = Annotated[
    Path | None,
    typer.Option("--seal", help="File with the key of the sealed truth; default: beside the institution's key."),
]
WorklistFolder = Annotated[
    Path,
    typer.Argument(metavar="STUDY", help="Folder of the study, or a copy of its reader/worklist on another machine."),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="SCANSYNTH_READER_DATABASE",
        help="Database of the readings: postgresql://user@host/name; default: readings.db in the worklist.",
    ),
]

Address = Annotated[
    str | None, typer.Option(help="Address at which readers will reach the server; default: this machine.")
]


@app.command()
def create(
    study: StudyFolder,
    seal: SealFile = None,
    address: Address = None,
    unaware: Annotated[
        int | None, typer.Option(help="Images read for the finding alone, before readers are told; default: as set.")
    ] = None,
    override_name: Annotated[
        str | None, typer.Option(help="Who overrules the probe's refusal; printed in the report.")
    ] = None,
    override_reason: Annotated[
        str | None, typer.Option(help="Why the probe's refusal is overruled; printed in the report.")
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Replace a reader study that was never served; the old one is kept beside it."),
    ] = False,
) -> None:
    """Creates and seals a reader study, if the probe finds no processing traces; prints the invitations."""
    from scansynth.study import open_study

    opened = open_study(study)
    links_begin_with(address)
    settings = opened.config.reader if unaware is None else opened.config.reader.model_copy(update={"unaware": unaware})
    from scansynth.reader.create import create as make
    from scansynth.reader.probe import Override
    from scansynth.reader.unaware import require_silent

    override = None
    if override_name is not None or override_reason is not None:
        override = Override(override_name or "", override_reason or "")
    require_silent(settings, address or "")
    with opened.lock(), console.bar("reader study") as progress:
        made = make(opened, settings, seal_file=seal, override=override, replace=replace, progress=progress)
    say_created(made, study, address)


def links_begin_with(address: str | None) -> str:
    """What stands before the path of a link.

    Raises:
        ReaderError: The address has no scheme, or cannot begin a link.
    """
    if address is None:
        return f"http://{HOST}:{PORT}"
    if "://" not in address and _HOST_AND_PATH.fullmatch(address):
        raise ReaderError(f"--address {address} does not say how readers connect; give https://{address} or http://")
    scheme, _, rest = address.partition("://")
    if scheme.lower() not in {"http", "https"} or not _HOST_AND_PATH.fullmatch(rest):
        raise ReaderError(f"--address {address!r} cannot begin a link; give it as https://reading.example.org")
    return address.rstrip("/")


def say_created(made: Created, study: Path, address: str | None = None) -> None:
    """Prints what was made, and the links, which are shown only once."""
    address = links_begin_with(address)
    if made.probed.refusal:
        console.warn(f"created although the probe refused, which the report will say: {made.probed.refusal}")
    console.result(f"wrote {made.folder}: {made.presentations} images for each of {len(made.invitations)} readers")
    console.result(f"keep the seal's key where the server cannot read it: {made.seal}")
    if made.unaware:
        console.result(
            f"before that, {made.unaware} images for the finding alone; say nothing to readers of what is compared"
        )
    console.result("the links below are shown once and not stored; send one to each reader")
    for reader, token in made.invitations.items():
        console.result(f"  {reader}  {address}/i/{token}")
    console.result(f"  administrator  {address}/admin  with the token  {made.administrator}")
    console.result(f"next: scansynth reader serve {study}    (then open a link)")


@app.command()
def serve(
    study: WorklistFolder,
    host: Annotated[str, typer.Option(help="Address to listen on; default: this machine only.")] = HOST,
    port: Annotated[int, typer.Option(help="Port; 0: any free one.", min=0, max=65535)] = PORT,
    database: Database = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate and its chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's private key, PEM.")] = None,
    without_tls: Annotated[bool, typer.Option("--without-tls", help="Listen on a public address without TLS.")] = False,
    behind_tls: Annotated[
        bool, typer.Option("--behind-tls", help="Readers connect by https through a reverse proxy.")
    ] = False,
    proxy: Annotated[
        list[str] | None,
        typer.Option(help="Address of a reverse proxy that says in X-Forwarded-For who asks; may be given again."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Host name that readers use; requests for other names are refused.")
    ] = None,
) -> None:
    """Serves the reading page until you press Ctrl-C; reads only the worklist, nothing else of the study."""
    import datetime

    from scansynth.reader.server.serve import Address as Where
    from scansynth.reader.server.serve import serve as run
    from scansynth.reader.server.worklist import mark_served

    worklist = worklist_of(study)

    def ready(address: str) -> None:
        mark_served(worklist, datetime.datetime.now(datetime.UTC))
        console.result(f"serving {address}, administrator page {address}admin; stop with Ctrl-C")
        console.result(f"next, when all readers have finished: scansynth reader close {study}")

    names, proxies = (name,) if name else (), tuple(proxy or ())
    where = Where(host, port, tls_cert, tls_key, without_tls, behind_tls, proxies, names)
    run(worklist, where, database, ready)


def worklist_of(folder: Path) -> Path:
    """The worklist of a study, or the folder itself if it is a worklist."""
    from scansynth.study import READER, WORKLIST_FOLDER, is_study

    return folder / READER / WORKLIST_FOLDER if is_study(folder) else folder


@app.command()
def teach(
    study: StudyFolder,
    images: Annotated[int, typer.Option(help="Images, real and synthetic in equal parts.", min=2)] = 40,
    people: Annotated[int, typer.Option(help="Number of people who learn.", min=1, max=100)] = 1,
    address: Annotated[str | None, typer.Option(help="Address at which they will reach the server.")] = None,
) -> None:
    """Makes images for teaching: the truth after each answer, beside the nearest real scan. Nothing is analysed."""
    from scansynth.reader.teach import make_teaching
    from scansynth.study import open_study

    opened, where = open_study(study), links_begin_with(address)
    with opened.lock():
        made = make_teaching(opened, images, people)
    console.result(f"wrote {made.worklist}: {made.images} images for each of {len(made.invitations)} people")
    for person, token in made.invitations.items():
        console.result(f"  {person}  {where}/i/{token}")
    console.result(f"  administrator  {where}/admin  with the token  {made.administrator}")
    console.result(f"next: scansynth reader serve {made.worklist}    (then open a link)")


@app.command()
def code(
    study: WorklistFolder,
    reader: Annotated[str, typer.Argument(metavar="READER", help="r01, r02 and so on.")],
    database: Database = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, also where the reader has begun.")] = False,
) -> None:
    """Prints a new personal code for a reader who lost the invitation or code; older ones are revoked."""
    from scansynth.reader.server.locked import begun, new_code

    locked = begun(worklist_of(study), reader, database)
    if locked is not None and not yes:
        answers = "1 answer" if locked == 1 else f"{locked} answers"
        console.say(f"{reader} has begun and locked {answers}; a new code signs out whoever reads there now")
        if not typer.confirm("Make a new code?", err=True):
            console.result("nothing was changed")
            return
    made = new_code(worklist_of(study), reader, database)
    console.result(f"personal code of {reader}, shown once and not stored: {made}")
    console.result("next: send it to the reader, who enters it on the page /resume")


@app.command()
def close(
    study: StudyFolder,
    seal: SealFile = None,
    worklist: Annotated[
        Path | None, typer.Option(help="The copy of the worklist that was served, if not the study's own.")
    ] = None,
    database: Database = None,
    early: Annotated[
        bool, typer.Option("--early", help="Close although some readers have not finished; the report says so.")
    ] = False,
) -> None:
    """Closes the study, opens the seal, runs the machine reading, and analyses."""
    from scansynth.study import open_study

    opened = open_study(study)
    from scansynth.reader.close import close as end

    with opened.lock():
        with console.bar("closing") as progress:
            closed = end(
                opened, seal_file=seal, worklist_folder=worklist, database_url=database, early=early, progress=progress
            )
        for reader, (given, asked) in closed.unfinished.items():
            console.warn(f"{reader} had answered {given} of {asked} images")
        console.result(f"wrote {closed.readings} readings: {opened.reader / 'readings.csv'}")
        _analyse(opened, study)


@app.command()
def analyse(study: StudyFolder) -> None:
    """Analyses the readings of a closed study again, by the protocol fixed before reading began."""
    from scansynth.study import open_study

    opened = open_study(study)
    with opened.lock():
        _analyse(opened, study)


def _analyse(opened: Study, study: Path) -> None:
    """Analyses, and prints the verdict."""
    from scansynth.reader.conclude import conclude

    found = conclude(opened)
    console.say(f"{found.decision.outcome.value}: {found.decision.why}")
    for note in found.notes:
        console.warn(note)
    console.result(f"wrote {opened.reader / 'analysis.json'}, claims.json and readings.imrmc beside it")
    console.result(f"next: scansynth report {study}")
