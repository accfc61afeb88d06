"""Pulls series from an archive into a folder: resumable, checked image by image, complete or not to be seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from scansynth.console import Progress
from scansynth.dicom.archive.folder import PullFolder, open_folder
from scansynth.dicom.archive.identity import Identifier
from scansynth.dicom.archive.remote import Archive, Arrived, Image, Missed, Series, list_series
from scansynth.dicom.archive.wanted import Wanted
from scansynth.errors import ArchiveError, DicomError
from scansynth.files import sha256_json

Bar = Callable[[str], AbstractContextManager[Progress]]
"""Opens a progress bar with a title."""

_OTHER = "not the image that was asked for"


@dataclass(frozen=True)
class Pulled:
    """What was pulled.

    Attributes:
        scans: The folder of scans.
        images: In it.
        fetched: How many of them came now.
        series: They form.
        malformed: Answers of the archive with a UID that is none; they were not fetched.
        missed: Why images did not come, counted; empty unless that was accepted.
    """

    scans: Path
    images: int
    fetched: int
    series: int
    malformed: int
    missed: Mapping[str, int]


def pull(
    archive: Archive, address: str, wanted: Wanted, root: Path, bar: Bar, *, accept_missing: bool = False
) -> Pulled:
    """Pulls what is wanted and is not there yet; then reads every file again and compares its hash.

    Args:
        archive: Connected.
        address: Its address, to tell one pull from another.
        wanted: Which series.
        root: Folder; see `scansynth.dicom.archive.folder`.
        bar: Opens a progress bar.
        accept_missing: Finish although some images did not come: an archive may hold images that it cannot deliver.

    Raises:
        ArchiveError: Nothing matches, or something did not come; what came is kept for the next time.
        StorageError: The folder cannot be written.
    """
    with open_folder(root, sha256_json({"address": address, **asdict(wanted)})) as folder:
        with bar("asking the archive") as progress:
            listing = list_series(archive, wanted, lambda images: progress(images, 0, "images found"))
        if not listing.series:
            raise ArchiveError("the archive holds nothing that matches; check --modality, the dates and --list")
        _set_aside_damaged(folder, bar)
        before = len(folder)
        missing = [(series, [image for image in series.images if image not in folder]) for series in listing.series]
        missing = [(series, images) for series, images in missing if images]
        missed: Mapping[str, int] = {}
        if missing or not folder.scans.exists():
            folder.begin()
            with bar("pulling images") as progress:
                missed = _fetch_all(archive, folder, missing, listing.images, progress)
            if missed and not (accept_missing and len(folder)):
                raise _incomplete(len(folder), listing.images, missed)
            if any(_changed(folder, bar, "verifying")):
                raise ArchiveError("a file changed on the disk while it was written; check it, and run this again")
        pulled = Pulled(
            folder.scans, len(folder), len(folder) - before, len(listing.series), listing.malformed, dict(missed)
        )
        folder.finish({name: value for name, value in asdict(pulled).items() if name not in {"scans", "fetched"}})
        return pulled


def _set_aside_damaged(folder: PullFolder, bar: Bar) -> None:
    """What was pulled before and has changed since is pulled again."""
    if len(folder):
        _changed(folder, bar, "checking what is already here")


def _changed(folder: PullFolder, bar: Bar, title: str) -> list[bool]:
    found, total = list[bool](), len(folder)
    with bar(title) as progress:
        for number, bad in enumerate(folder.damaged(), 1):
            found.append(bad)
            progress(number, total)
    return found


def _fetch_all(
    archive: Archive,
    folder: PullFolder,
    missing: Sequence[tuple[Series, Sequence[Image]]],
    total: int,
    progress: Progress,
) -> Mapping[str, int]:
    """Fetches series after series; why images did not come, counted."""
    missed = Counter[str]()
    with Identifier() as identifier:
        progress(len(folder), total)
        for series, images in missing:
            for one in archive.fetch(series, images, folder.inbox):
                why = one.why if isinstance(one, Missed) else _take(one, folder, identifier)
                missed.update([why] if why else [])
                progress(len(folder), total, f"{missed.total()} did not come" if missed else "")
    return missed


def _take(one: Arrived, folder: PullFolder, identifier: Identifier) -> str:
    """Keeps an image when it is whole and the one that was asked for; else why not."""
    found = next(identifier([one.file]))
    image = one.image
    if isinstance(found, DicomError):
        one.file.unlink(missing_ok=True)
        return found.reason
    named = (found.study, found.series, found.instance)
    if named != (image.study, image.series, image.instance) or image.sop_class not in {"", found.sop_class}:
        one.file.unlink(missing_ok=True)
        return _OTHER
    folder.add(image, one.file)
    return ""


def _incomplete(held: int, total: int, missed: Mapping[str, int]) -> ArchiveError:
    reasons = ", ".join(f"{count} x {why}" for why, count in sorted(missed.items(), key=lambda item: -item[1]))
    return ArchiveError(
        f"{held} of {total} images came ({reasons}); they are kept: run the same command again, or add "
        "--accept-missing when the others cannot be had"
    )
