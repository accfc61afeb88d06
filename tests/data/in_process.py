"""The decoder of scans in the process of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from scansynth.dicom.header import Header
from scansynth.dicom.masks.read import read_mask_file
from scansynth.dicom.masks.target import Target
from scansynth.dicom.picture import picture_header
from scansynth.dicom.pixels import decode
from scansynth.dicom.read import Limits, read_header
from scansynth.dicom.sandbox import Decoded, PictureJob
from scansynth.dicom.text import text_places
from scansynth.errors import DicomError
from scansynth.files import sha256_file


class InProcessPool:
    """The decoder without its child processes, whose start would take most of a test's time."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> InProcessPool:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def scan_all(self, paths: Iterable[Path], limits: Limits) -> Iterator[Any]:
        return (attempt(read_header, path, limits) for path in paths)

    def decode_all(self, jobs: Iterable[tuple[Path, Header]], *, text: bool = False) -> Iterator[Any]:
        return (attempt(_decoded, *job, text) for job in jobs)

    def scan_pictures(self, jobs: Iterable[PictureJob], limits: Limits) -> Iterator[Any]:
        return (
            attempt(picture_header, job.path, job.name, limits, job.modality, job.spacing, job.plane) for job in jobs
        )

    def read_masks(self, jobs: Iterable[tuple[Path, Target, str | None]]) -> Iterator[Any]:
        return (attempt(_masked, *job) for job in jobs)


def _masked(path: Path, target: Target, part: str | None) -> Decoded:
    return Decoded(read_mask_file(path, target, part), sha256_file(path))


def _decoded(path: Path, header: Header, text: bool) -> Decoded:
    values = decode(path, header)
    return Decoded(values, sha256_file(path), tuple(text_places(values)) if text else ())


def attempt(task: Callable[..., Any], *arguments: object) -> Any:
    try:
        return task(*arguments)
    except DicomError as fault:
        return fault
