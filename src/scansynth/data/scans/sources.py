"""Source files: what lies in the DICOM folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scansynth.errors import CohortError
from scansynth.files import sha256_json
from scansynth.study import is_study

_NOT_SCANS = frozenset({".csv", ".png", ".txt", ".md", ".json"})
"""Endings of the files that commonly lie beside scans: labels, masks, notes."""

_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
_NOTES = frozenset({".csv", ".txt", ".md"})


@dataclass(frozen=True)
class Source:
    """One candidate file.

    Attributes:
        path: Where it lies.
        relative: The same, relative to the DICOM folder, with forward slashes.
        size: Bytes.
        mtime_ns: Time of its last change, nanoseconds.
        ctime_ns: The same as the system keeps it for itself: no program sets it back.
    """

    path: Path
    relative: str
    size: int
    mtime_ns: int
    ctime_ns: int = 0


def find_sources(folder: Path) -> list[Source]:
    """Every file below `folder` that may be a scan, in a stable order.

    Any name counts, with an ending or without. Left out are hidden files and folders, DICOMDIR, the files
    that commonly lie beside scans, and folders that hold a `study.toml`: what a study wrote is never its own
    source. Linked folders are followed, each folder once: a circle ends where it began. A folder that may not be
    read stands for its files, so that it is named when it is read.

    Raises:
        CohortError: The folder is missing, or may not be read.
    """
    return _files(folder, _may_be_scan)


def find_images(folder: Path, option: str) -> list[Source]:
    """Every file below `folder` that may be a DICOM image or a picture, in a stable order; see `find_sources`.

    Args:
        folder: The folder.
        option: What the folder was given as, for the message.

    Raises:
        CohortError: The folder is missing, or holds no such file.
    """
    if not folder.is_dir():
        raise CohortError(f"{option} is not a folder; give the folder with the images")
    _check_leave(folder, option)
    if is_study(folder):
        raise CohortError(f"{option} is a study folder; give the folder with the images, such as its synthetic/SET")
    found = sorted(
        _walk(folder, lambda name: _may_be_scan(name) or is_picture(name)), key=lambda source: source.relative
    )
    if not found:
        raise CohortError(
            f"{option} holds no file that could be an image; give a folder with DICOM, or grey PNG, JPEG or TIFF files"
        )
    return found


def _files(folder: Path, wanted: Callable[[str], bool]) -> list[Source]:
    """Files below `folder` whose names are wanted, by their relative path."""
    if not folder.is_dir():
        raise CohortError(
            "the DICOM folder does not exist; set cohort.dicom in study.toml to the folder with the scans"
        )
    _check_leave(folder, "the DICOM folder")
    if is_study(folder):
        raise CohortError("the DICOM folder is a study folder; keep the scans in a folder of their own")
    return sorted(_walk(folder, wanted), key=lambda source: source.relative)


def _walk(root: Path, wanted: Callable[[str], bool]) -> Iterator[Source]:
    """Candidate files in `root` and below it, in no order; folders first that lie there, then linked ones by name."""
    # A link to a folder above would lead round in a circle, so those count as seen.
    seen = {_inode(above) for above in (root.resolve(), *root.resolve().parents)}
    folders, links = [(root, "")], dict[str, Path]()
    while folders or links:
        if folders:
            folder, prefix = folders.pop()
        else:
            prefix = min(links)
            folder = links.pop(prefix)
            if _inode(folder) in seen:
                continue
            seen.add(_inode(folder))
        try:
            entries = list(os.scandir(folder))
        except OSError:
            yield Source(folder, prefix.rstrip("/"), 0, 0)
            continue
        for entry in entries:
            relative = prefix + entry.name
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                path = Path(entry.path)
                if _is_study(path):
                    continue
                if entry.is_symlink():
                    links[relative + "/"] = path
                elif _inode(path) not in seen:
                    seen.add(_inode(path))
                    folders.append((path, relative + "/"))
            elif wanted(entry.name):
                yield from _file(entry, relative)


def _check_leave(root: Path, name: str) -> None:
    if not os.access(root, os.R_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise CohortError(f"{name} may not be read by this user; grant read permission for it and its contents")


def _inode(folder: Path) -> tuple[int, int]:
    """What a folder is, under whichever name."""
    found = folder.stat()
    return found.st_dev, found.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links that lead to each other
        return False


def _is_study(folder: Path) -> bool:
    try:
        return is_study(folder)
    except OSError:
        return False


def _file(entry: os.DirEntry[str], relative: str) -> Iterator[Source]:
    """The file, if it is one: no pipe, and no link that leads nowhere."""
    try:
        if entry.is_file():
            facts = entry.stat()
            yield Source(Path(entry.path), relative, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    except OSError:
        if not entry.is_symlink():  # in a folder that may be listed and not entered
            yield Source(Path(entry.path), relative, 0, 0)


def source_of(folder: Path, relative: str) -> Source | None:
    """The one file that a table names, whatever its ending; none when it is not there."""
    path = folder / relative
    if not path.is_file():
        return None
    facts = path.stat()
    return Source(path, relative, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a PNG, JPEG or TIFF file."""
    return _ending(name) in _PICTURES


def _ending(name: str) -> str:
    """As `Path.suffix` has it, in lower case; a path is not made for each of many names."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122


def _may_be_scan(name: str) -> bool:
    return name.upper() != "DICOMDIR" and _ending(name) not in _NOT_SCANS


def listing_digest(folder: Path) -> str:
    """SHA-256 over name, size and time of change of every scan and mask: tells whether sources changed.

    Contents are not read, so that staleness is known in seconds; `ingest` hashes every file it keeps.

    Raises:
        CohortError: The folder is missing.
    """
    found = _files(folder, lambda name: _ending(name) not in _NOTES)
    return sha256_json([[source.relative, source.size, source.mtime_ns] for source in found])
