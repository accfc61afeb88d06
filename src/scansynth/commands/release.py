"""Commands for what leaves: release a set, verify a release, recognise an image, and the journal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scansynth import console
from scansynth.commands.shared import StudyFolder

if TYPE_CHECKING:
    from scansynth.release.package import Override

app = typer.Typer()


@app.command()
def release(
    study: StudyFolder,
    out: Annotated[Path, typer.Option(help="New folder of the release.")],
    sign: Annotated[
        Path | None, typer.Option("--sign", metavar="KEY", help="The institution's EC key, a PEM file.")
    ] = None,
    png: Annotated[bool, typer.Option("--png", help="Write 16-bit PNG files beside the DICOM files.")] = False,
    policy: Annotated[Path | None, typer.Option(help="TOML file with what may remain open; default: nothing.")] = None,
    override: Annotated[
        str | None, typer.Option(metavar="REASON", help="Release in spite of the reasons found; needs --by.")
    ] = None,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who answers for the override.")] = None,
) -> None:
    """Releases the synthetic set with its generator and evidence, if the gate finds no reason against it."""
    from scansynth.errors import ReleaseError
    from scansynth.release.package import Refused, Wishes
    from scansynth.release.package import release as write_release
    from scansynth.release.policy import read_policy
    from scansynth.release.signature import load_private
    from scansynth.study import open_study

    opened = open_study(study)
    wishes = Wishes(out, read_policy(policy), _override(override, by), png, load_private(sign) if sign else None)
    with opened.lock(), console.bar("releasing") as progress:
        done = write_release(opened, wishes, progress)
    if isinstance(done, Refused):
        for reason in done.reasons:
            console.refuse(reason.text + ("" if reason.open else " (no override lifts this)"))
        raise ReleaseError(
            f"not released: {len(done.reasons)} {'reason stands' if len(done.reasons) == 1 else 'reasons stand'} above"
        )
    for reason in done.overridden:
        console.warn(f"overridden: {reason.text}")
    if done.manifest.kept_back:
        console.warn(f"kept back {done.manifest.kept_back} images too close to real ones")
    signed = f"signed with the key {done.signed_with}" if done.signed_with else "not signed"
    console.result(f"wrote {done.manifest.images} images and their generator, {signed}: {out}")
    console.result(f"next: scansynth verify {out}")


def _override(reason: str | None, by: str | None) -> Override | None:
    from scansynth.release.package import Override

    return None if reason is None and by is None else Override(by or "", reason or "")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A release.")],
    public_key: Annotated[
        Path | None, typer.Option(help="The institution's public key, a PEM file from the institution itself.")
    ] = None,
    images: Annotated[int, typer.Option(help="Least number of images to draw again from the weights.", min=0)] = 64,
) -> None:
    """Verifies a release, without a study: files, signature, DICOM marks, and images drawn again."""
    from scansynth.errors import ReleaseError
    from scansynth.release.manifest import read_manifest

    read_manifest(folder)  # what is no release is refused before anything slow is loaded
    from scansynth.release.verify import verify as check

    with console.bar("verifying") as progress:
        found = check(folder, public_key, images, progress)
    for note in found.notes:
        console.warn(note)
    for fault in found.faults:
        console.refuse(fault)
    if found.faults:
        raise ReleaseError(f"not verified: {len(found.faults)} fault{'s' if len(found.faults) > 1 else ''}, see above")
    console.result(f"verified {found.images} images, {found.drawn} of them drawn again: {folder}")
    console.result(f"next: read {folder / 'report' / 'index.html'}, and what the release may be used for")


@app.command()
def whose(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="DICOM, PNG, JPEG or TIFF.")],
    folder: Annotated[
        Path, typer.Argument(metavar="STUDY_OR_RELEASE", help="A study that made a release, or a release.")
    ],
) -> None:
    """Says whether an image is one that was released: by its UID, by its pixels, or by likeness."""
    from scansynth.errors import ReleaseError
    from scansynth.study import is_study, open_study

    if not file.is_file():
        raise ReleaseError(f"{file} is not a file; give the image that you want to know about")
    if not folder.is_dir():
        raise ReleaseError(f"{folder} is not a folder; give a study that made a release, or a release")
    from scansynth.release.register import registers_of
    from scansynth.release.register import whose as look_up

    known = look_up(file, registers_of(open_study(folder)) if is_study(folder) else (folder,))
    if known is None:
        console.result(f"{file.name} is not known: no released image is like it")
    elif known.ours:
        console.result(
            f"{file.name} is the synthetic image {known.image} of the release {known.release}, by {known.by} "
            f"(likeness {known.likeness:.2f})"
        )
    else:
        console.result(
            f"{file.name} bears the UID of the image {known.image} of the release {known.release}, and its pixels are "
            f"not that image's (likeness {known.likeness:.2f})"
        )


@app.command()
def journal(study: StudyFolder) -> None:
    """Shows what was done in a study, when and by whom, and checks that no line was changed."""
    from scansynth.errors import StudyError
    from scansynth.files import PREVIOUS, broken_links, read_json_lines
    from scansynth.release.register import journal_cut_off
    from scansynth.study import open_study

    opened = open_study(study)
    told = ("time", "stage", "event", "user", "settings", PREVIOUS)
    try:
        lines = read_json_lines(opened.journal)
    except UnicodeDecodeError:
        raise StudyError("the journal was changed: it holds bytes that are no text") from None
    for line in lines:
        if not isinstance(line, dict):
            continue  # the chain names it below
        rest = ", ".join(f"{key} {_short(value)}" for key, value in line.items() if key not in told and value)
        who = f" by {line['user']}" if line.get("user") else ""
        console.result(
            f"{line.get('time', '')}  {line.get('stage', '')}: {line.get('event', '')}{who}  {rest}".rstrip()
        )
    broken = broken_links(opened.journal)
    if broken:
        raise StudyError(
            f"the journal was changed: line {', '.join(map(str, broken))} does not follow from the line before"
        )
    if lost := journal_cut_off(opened):
        raise StudyError(f"the journal was cut off or changed at its end: it no longer holds the line {lost}")
    console.result(f"the chain of lines is whole; its end is {opened.journal_head() or 'empty'}")


def _short(value: object) -> str:
    """A fact of the journal for people: of a hash its first digits."""
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {_short(one)}" for name, one in value.items()) + ")"
    text = str(value)
    return text[:12] if len(text) == 64 and text.isalnum() else text
