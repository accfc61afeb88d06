"""Pushes a synthetic set into an archive: each file checked to be synthetic, sent once, and found there again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scansynth.dicom.archive.identity import Identifier
from scansynth.dicom.archive.pull import Bar
from scansynth.dicom.archive.remote import Archive, Image, images_of
from scansynth.errors import ArchiveError, DicomError
from scansynth.files import append_json_line, read_json_lines, sha256_file


@dataclass(frozen=True)
class Outgoing:
    """A file of a synthetic set, with the hash that its manifest names."""

    file: Path
    sha256: str
    image: Image = field(default_factory=lambda: Image("", "", ""), repr=False)


@dataclass(frozen=True)
class Pushed:
    """What was pushed: files in the archive now, and how many of them were sent this time."""

    files: int
    sent: int


def push(archive: Archive, files: Sequence[Outgoing], sent_file: Path, bar: Bar) -> Pushed:
    """Sends the files that were not sent before, then asks the archive for each of them.

    Args:
        archive: Connected.
        files: Of a synthetic set.
        sent_file: Notes which files this archive took.
        bar: Opens a progress bar.

    Raises:
        ArchiveError: A file is not synthetic or has changed (nothing is sent then); or the archive did not accept or
            does not hold all of them.
    """
    checked = _checked(files, bar)
    sent = {line.get("instance"): line.get("sha256") for line in read_json_lines(sent_file)}
    todo = [one for one in checked if sent.get(one.image.instance) != one.sha256]
    refused = Counter[str]()
    with bar("sending files") as progress:
        for number, one in enumerate(todo, 1):
            why = archive.send(one.file, one.image)
            if why:
                refused[why] += 1
            else:
                append_json_line(sent_file, {"instance": one.image.instance, "sha256": one.sha256})
            progress(number, len(todo), f"{refused.total()} refused" if refused else "")
    if refused:
        reasons = ", ".join(f"{count} x {why}" for why, count in refused.most_common())
        raise ArchiveError(f"the archive did not accept {refused.total()} of {len(todo)} files ({reasons})")
    _find_again(archive, checked, sent_file, bar)
    return Pushed(len(checked), len(todo))


def _checked(files: Sequence[Outgoing], bar: Bar) -> list[Outgoing]:
    """The files with what they hold; refuses all when one is not a synthetic image of the set."""
    checked = []
    with bar("checking files") as progress, Identifier() as identifier:
        for number, (one, found) in enumerate(zip(files, identifier(one.file for one in files), strict=True), 1):
            if isinstance(found, DicomError):
                raise ArchiveError(f"{one.file.name} cannot be read ({found.reason}); generate the set again")
            if not found.synthetic:
                raise ArchiveError(f"{one.file.name} does not say that it is synthetic; real scans are never pushed")
            if sha256_file(one.file) != one.sha256:
                raise ArchiveError(f"{one.file.name} has changed since it was generated; generate the set again")
            image = Image(found.study, found.series, found.instance, found.sop_class)
            checked.append(Outgoing(one.file, one.sha256, image))
            progress(number, len(files))
    return checked


def _find_again(archive: Archive, files: Sequence[Outgoing], sent_file: Path, bar: Bar) -> None:
    """Asks the archive for each file; one that it took and does not hold is sent again the next time.

    Raises:
        ArchiveError: Some are not there.
    """
    series: dict[tuple[str, str], set[str]] = {}
    for one in files:
        series.setdefault((one.image.study, one.image.series), set()).add(one.image.instance)
    lost = set[str]()
    with bar("finding them again") as progress:
        for number, ((study, uid), instances) in enumerate(series.items(), 1):
            lost |= instances - {image.instance for image in images_of(archive, study, uid)}
            progress(number, len(series))
    if lost:
        for instance in sorted(lost):
            append_json_line(sent_file, {"instance": instance, "sha256": ""})
        raise ArchiveError(f"the archive took {len(lost)} files that it does not list; run the same command again")
