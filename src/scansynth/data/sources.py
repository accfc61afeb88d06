"""Source files: what lies in the DICOM folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scansynth.errors import CohortError
from scansynth.files import sha256_json

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
    """

    path: Path
    relative: str
    size: int
    mtime_ns: int


def find_sources(folder: Path) -> list[Source]:
    """Every file below `folder` that may be a scan, in a stable order.

    Any name counts, with an ending or without. Left out are hidden files and folders, DICOMDIR, the files
    that commonly lie beside scans, linked folders (they may run in circles), and folders that hold a
    `study.toml`: what a study wrote is never its own source.

    Raises:
        CohortError: The folder is missing.
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
    if (folder / "study.toml").exists():
        raise CohortError(f"{option} is a study folder; give the folder with the images, such as its synthetic/SET")
    found = sorted(
        _walk(folder, "", lambda name: _may_be_scan(name) or is_picture(name)),
        key=lambda source: source.relative,
    )
    if not found:
        raise CohortError(
            f"{option} holds no file that may be an image; give a folder with DICOM, or grey PNG, JPEG or TIFF files"
        )
    return found


def _files(folder: Path, wanted: Callable[[str], bool]) -> list[Source]:
    """Files below `folder` whose names are wanted, by their relative path."""
    if not folder.is_dir():
        raise CohortError(
            "the DICOM folder does not exist; set cohort.dicom in study.toml to the folder with the scans"
        )
    if (folder / "study.toml").exists():
        raise CohortError("the DICOM folder is a study folder; keep the scans in a folder of their own")
    return sorted(_walk(folder, "", wanted), key=lambda source: source.relative)


def _walk(folder: Path, prefix: str, wanted: Callable[[str], bool]) -> Iterator[Source]:
    """Candidate files in `folder` and below it, in no order."""
    with os.scandir(folder) as entries:
        for entry in entries:
            relative = prefix + entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if not (Path(entry.path) / "study.toml").exists():
                    yield from _walk(Path(entry.path), relative + "/", wanted)
            elif entry.is_file() and wanted(entry.name):
                facts = entry.stat()
                yield Source(Path(entry.path), relative, facts.st_size, facts.st_mtime_ns)


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a PNG, JPEG or TIFF file."""
    return Path(name).suffix.lower() in _PICTURES


def _may_be_scan(name: str) -> bool:
    return name.upper() != "DICOMDIR" and Path(name).suffix.lower() not in _NOT_SCANS


def listing_digest(folder: Path) -> str:
    """SHA-256 over name, size and time of change of every scan and mask: tells whether sources changed.

    Contents are not read, so that staleness is known in seconds; `ingest` hashes every file it keeps.

    Raises:
        CohortError: The folder is missing.
    """
    found = _files(folder, lambda name: Path(name).suffix.lower() not in _NOTES)
    return sha256_json([[source.relative, source.size, source.mtime_ns] for source in found])
