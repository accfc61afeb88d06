"""Commands that exchange images with an archive."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scansynth import console
from scansynth.commands.shared import StudyFolder

# an enumeration of few values, and one that knows nothing of pynetdicom
from scansynth.dicom.archive.retrieval import Retrieval

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from scansynth.dicom.archive.remote import Archive

app = typer.Typer()

Pacs = Annotated[str | None, typer.Option("--pacs", help="Archive by DIMSE: TITLE@HOST:PORT.")]
Web = Annotated[
    str | None,
    typer.Option("--dicomweb", help="Archive by DICOMweb: its address, such as https://archive.example/dicom-web."),
]
Title = Annotated[str, typer.Option("--aet", help="Our AE title, as the archive knows it.")]
Rate = Annotated[float, typer.Option(help="Most images and queries per second; 0: no limit.", min=0.0)]
LoginFile = Annotated[
    Path | None,
    typer.Option(
        "--login",
        help="DICOMweb: TOML file with token, or user and password; default: SCANSYNTH_ARCHIVE_TOKEN, or "
        "SCANSYNTH_ARCHIVE_USER and SCANSYNTH_ARCHIVE_PASSWORD.",
    ),
]
Authority = Annotated[
    Path | None, typer.Option("--ca", help="Certificates (PEM) to trust beside the system's, for TLS.")
]
Tls = Annotated[bool, typer.Option("--tls", help="DIMSE over TLS.")]


@app.command()
def pull(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the scans; the same again to resume.")],
    pacs: Pacs = None,
    dicomweb: Web = None,
    modality: Annotated[str | None, typer.Option(help="Modality of the series, such as MR.")] = None,
    since: Annotated[str | None, typer.Option(help="First day of the studies, such as 2024-01-31.")] = None,
    until: Annotated[str | None, typer.Option(help="Last day of the studies.")] = None,
    description: Annotated[str | None, typer.Option(help="Series description; * and ? stand for any letters.")] = None,
    listed: Annotated[
        Path | None,
        typer.Option(
            "--list",
            help="CSV of the studies: StudyInstanceUID, AccessionNumber or PatientID, and SeriesInstanceUID beside it.",
        ),
    ] = None,
    most: Annotated[int, typer.Option(help="Most series to pull; 0: all.", min=0)] = 0,
    accept_missing: Annotated[
        bool,
        typer.Option("--accept-missing", help="Finish although some images did not arrive; says how many, and why."),
    ] = False,
    by: Annotated[
        Retrieval, typer.Option(help="DIMSE: get over our own association, or have the archive send to us.")
    ] = Retrieval.GET,
    aet: Title = "SCANSYNTH",
    listen: Annotated[str, typer.Option(help="For --by move: where we receive images, HOST:PORT.")] = "0.0.0.0:11112",
    rate: Rate = 25.0,
    login: LoginFile = None,
    ca: Authority = None,
    tls: Tls = False,
) -> None:
    """Pulls scans from an archive; resumes, checks every image, and shows the folder when all are there."""
    from scansynth.dicom.archive.pull import pull as fetch
    from scansynth.dicom.archive.wanted import Wanted, as_day, read_list

    each = () if listed is None else read_list(listed)
    wanted = Wanted(modality or "", as_day(since), as_day(until), description or "", each, most)
    with _archive(pacs, dicomweb, f"{aet}@{listen}", by, rate, login, ca, tls=tls) as archive:
        pulled = fetch(archive, pacs or dicomweb or "", wanted, folder, console.bar, accept_missing=accept_missing)
    if pulled.malformed:
        console.warn(f"left out: {pulled.malformed} x invalid UID")
    for why, count in pulled.missed.items():
        console.warn(f"did not arrive: {count} x {why}")
    console.result(f"wrote {pulled.images} images of {pulled.series} series, {pulled.fetched} of them now: {folder}")
    console.result(f"next: scansynth init STUDY --dicom {pulled.scans} --labels-template labels.csv")


@app.command()
def push(
    study: StudyFolder,
    name: Annotated[
        str | None, typer.Argument(metavar="SET", help="Name of the synthetic set; default: the study's.")
    ] = None,
    pacs: Pacs = None,
    dicomweb: Web = None,
    aet: Title = "SCANSYNTH",
    rate: Rate = 25.0,
    login: LoginFile = None,
    ca: Authority = None,
    tls: Tls = False,
) -> None:
    """Pushes an audited synthetic set into an archive, without images too close to real ones; resumes."""
    from scansynth.data.outgoing import outgoing
    from scansynth.dicom.archive.push import push as send
    from scansynth.study import open_study

    opened = open_study(study)
    chosen = name or opened.config.synthetic.name
    with opened.lock():
        leaving = outgoing(opened, chosen)
        with _archive(pacs, dicomweb, f"{aet}@127.0.0.1:0", Retrieval.GET, rate, login, ca, tls=tls) as archive:
            pushed = send(archive, leaving.files, opened.pushed(chosen, pacs or dicomweb or ""), console.bar)
        opened.log("push", "finished", files=pushed.files, sent=pushed.sent, kept_back=leaving.kept_back)
    if leaving.kept_back:
        console.warn(f"kept back {leaving.kept_back} images too close to real ones")
    console.result(f"{pushed.files} files of the set {chosen} are in the archive, {pushed.sent} of them sent now")
    console.result("next: look at them in the archive's viewer; each says that it is synthetic")


def _archive(
    pacs: str | None,
    dicomweb: str | None,
    own: str,
    by: Retrieval,
    rate: float,
    login: Path | None,
    authority: Path | None,
    *,
    tls: bool,
) -> AbstractContextManager[Archive]:
    """The connection that the options describe."""
    from scansynth.dicom.archive.address import Login, Node, load_login, tls_context
    from scansynth.dicom.archive.remote import Pace
    from scansynth.errors import ArchiveError

    if (pacs is None) == (dicomweb is None):
        raise ArchiveError("name one archive: --pacs TITLE@HOST:PORT, or --dicomweb https://archive.example/dicom-web")
    if dicomweb is not None:
        from scansynth.dicom.archive.web import WebArchive

        return WebArchive(dicomweb, load_login(login, os.environ), Pace(rate), tls_context(authority))
    from scansynth.dicom.archive.dimse import DimseArchive

    if load_login(login, {}) != Login():
        raise ArchiveError("DIMSE has no login: the archive identifies us by AE title and address; leave out --login")
    context = tls_context(authority) if tls else None
    return DimseArchive(Node.parse(pacs or ""), Node.parse(own), by, Pace(rate), context)
