"""Headers, images and masks of untrusted files, read in child processes; see `children`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from scansynth.dicom.children import Answer, Sandbox
from scansynth.dicom.counts import Counts
from scansynth.dicom.header import Header
from scansynth.dicom.masks.target import Target
from scansynth.dicom.raster import RasterHeader
from scansynth.dicom.read import Limits
from scansynth.dicom.text import MOST, Box
from scansynth.errors import DicomError

_INT16 = np.iinfo(np.int16)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Decoded:
    """One file, read once.

    Attributes:
        values: Its image (rows, columns): int16 where all values are whole numbers that fit, float32; uint16 of
            `decode_rasters`, uint8 of `read_masks`.
        file_sha256: Of its bytes.
        counts: How often each value occurs; none: of other values than int16.
        text: Places where text may stand in the image, where that was asked; see `scansynth.dicom.text`.
    """

    values: np.ndarray
    file_sha256: str
    text: tuple[Box, ...] = ()
    counts: Counts | None = None


_UNTOLD: Mapping[str, Any] = {
    **dict.fromkeys(("patient_id", "body_part", "sex", "manufacturer", "birth_date", "institution", "issuer"), ""),
    **dict.fromkeys(("name", "frame_of_reference_uid"), ""),
    **dict.fromkeys(("present", "identifying", "other_ids", "image_type", "groups"), ()),
}
"""Fields that no decoder needs: what a child is not sent it cannot give away, and need not read."""


def _told(header: Header) -> dict[str, Any]:
    """What a child must know of a header to decode its image."""
    return {**vars(header), **_UNTOLD}


def _boxes(values: Iterable[Iterable[int]], shape: tuple[int, ...]) -> tuple[Box, ...]:
    """Places within an image, as a child names them.

    Raises:
        ValueError: It names no such places.
    """
    boxes = []
    for top, end, first, last in values:
        if not (0 <= top < end <= shape[0] and 0 <= first < last <= shape[1]):
            raise ValueError
        boxes.append((int(top), int(end), int(first), int(last)))
    return tuple(boxes[:MOST])


class DecodePool:
    """Reads headers and decodes images in child processes, the same ones for both; a context manager.

    Args:
        workers: Child processes at a time.
        memory_bytes: Address space that one file may take; a file is mapped, and so counts.
        seconds: Time that one file may take.
    """

    def __init__(self, workers: int = 2, memory_bytes: int = 1 << 29, seconds: float = 30.0) -> None:
        self._sandbox: Sandbox[_Request] = Sandbox(
            "scansynth.dicom.tasks:perform", lambda job: job.arguments, workers, memory_bytes, seconds
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sandbox.close()

    def scan_all(self, paths: Iterable[Path], limits: Limits) -> Iterator[Header | DicomError]:
        """The headers of many files, in the order of the paths; see `scansynth.dicom.read.read_header`.

        Yields:
            The header, or why the file cannot be used.
        """
        bounds = asdict(limits)
        yield from self._headers({"task": "header", "path": str(path), "limits": bounds} for path in paths)

    def scan_pictures(self, jobs: Iterable[PictureJob], limits: Limits) -> Iterator[Header | DicomError]:
        """Headers made for files that are no DICOM, in the jobs' order; see `scansynth.dicom.picture`."""
        told = {"task": "picture header", "limits": asdict(limits)}
        yield from self._headers({**asdict(job), **told, "path": str(job.path)} for job in jobs)

    def _headers(self, arguments: Iterable[Mapping[str, Any]]) -> Iterator[Header | DicomError]:
        for _, outcome in self._sandbox.run(_Request(asked) for asked in arguments):
            if isinstance(outcome, DicomError):
                yield outcome
                continue
            try:
                yield Header.from_values(outcome.value)
            except (DicomError, TypeError):
                yield DicomError("bad header")

    def decode_all(self, jobs: Iterable[tuple[Path, Header]], *, text: bool = False) -> Iterator[Decoded | DicomError]:
        """The images of many files, in the order of the jobs; see `scansynth.dicom.pixels.decode`.

        Args:
            jobs: Each file with its header; taken as they are needed.
            text: Also look for places where text may stand.

        Yields:
            The image in output units, int16 or float32 (rows, columns), and the file's hash; or why there is none.
        """
        requests = (
            _Request(
                {"task": "image", "path": str(path), "header": _told(header), "text": text},
                (header.rows, header.columns),
            )
            for path, header in jobs
        )
        yield from self._decoded(requests, "<f4")

    def _decoded(self, requests: Iterable[_Request], dtype: str) -> Iterator[Decoded | DicomError]:
        """The answers to requests for images; an answer of another form is that of a child that broke."""
        for request, outcome in self._sandbox.run(requests):
            if isinstance(outcome, DicomError):
                yield outcome
                continue
            try:
                yield _image(outcome, request.shape, dtype)
            except (TypeError, ValueError, AttributeError):
                yield DicomError("decoder crashed")

    def scan_rasters(self, paths: Iterable[Path], limits: Limits) -> Iterator[RasterHeader | DicomError]:
        """Size and depth of many PNG, JPEG and TIFF files, in the order of the paths; see `scansynth.dicom.raster`."""
        bounds = asdict(limits)
        jobs = (_Request({"task": "raster header", "path": str(path), "limits": bounds}) for path in paths)
        for _, outcome in self._sandbox.run(jobs):
            if isinstance(outcome, DicomError):
                yield outcome
                continue
            try:
                yield RasterHeader(**outcome.value)
            except TypeError:
                yield DicomError("bad header")

    def decode_rasters(self, jobs: Iterable[tuple[Path, RasterHeader]]) -> Iterator[Decoded | DicomError]:
        """The images of such files, uint16 (rows, columns), with the files' hashes, or why there is none."""
        requests = (
            _Request(
                {"task": "raster image", "path": str(path), "header": asdict(header)}, (header.rows, header.columns)
            )
            for path, header in jobs
        )
        yield from self._decoded(requests, "<u2")

    def read_masks(self, jobs: Iterable[tuple[Path, Target, str | None]]) -> Iterator[Decoded | DicomError]:
        """Lesions, uint8 (rows, columns), or why there are none, in the jobs' order; see `scansynth.dicom.masks`.

        Args:
            jobs: Each file with the image that it is laid on and the part that is the lesion.
        """
        requests = (
            _Request({"task": "mask", "path": str(path), "target": asdict(target), "part": part}, target.shape)
            for path, target, part in jobs
        )
        yield from self._decoded(requests, "u1")


def _image(outcome: Answer, shape: tuple[int, int], dtype: str) -> Decoded:
    """An answer as an image.

    Raises:
        TypeError, ValueError, AttributeError: It has another form.
    """
    digest, bins = str(outcome.value.get("sha256")), outcome.value.get("bins", 0)
    whole = dtype == "<f4" and bins > 0
    kind = np.dtype("<i2" if whole else dtype)
    size = math.prod(shape)
    if not _SHA256.fullmatch(digest) or len(outcome.payload) != size * kind.itemsize + 4 * bins * whole:
        raise ValueError
    # a copy, which may be written and holds no more than the image
    values = np.frombuffer(outcome.payload, kind, size).copy().reshape(shape)
    counts = None
    if whole:
        often = np.frombuffer(outcome.payload, "<u4", offset=size * kind.itemsize)
        counts = Counts(int(outcome.value["least"]), often)
        if counts.total != size or not (_INT16.min <= counts.least <= counts.most <= _INT16.max) or 0 in often[[0, -1]]:
            raise ValueError
    return Decoded(values, digest, _boxes(outcome.value.get("text", ()), shape), counts)


@dataclass(frozen=True)
class PictureJob:
    """A file that is no DICOM, and what the user says of it; see `scansynth.dicom.picture.picture_header`."""

    path: Path
    name: str
    modality: str
    spacing: tuple[float, float] | None
    plane: str


@dataclass(frozen=True)
class _Request:
    """What a child is asked, and the shape of the image that is expected of it."""

    arguments: Mapping[str, Any]
    shape: tuple[int, int] = (0, 0)


def scan_all(
    paths: Iterable[Path], limits: Limits, workers: int = 2, memory_bytes: int = 1 << 29, seconds: float = 10.0
) -> Iterator[Header | DicomError]:
    """The headers of many files when no image is wanted after; see `DecodePool.scan_all`."""
    with DecodePool(workers, memory_bytes, seconds) as pool:
        yield from pool.scan_all(paths, limits)
