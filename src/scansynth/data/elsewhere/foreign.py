"""Images of any origin: a folder of DICOM files, or of grey PNG, JPEG and TIFF files, brought to one size and scale.

DICOM goes the way of ingest: CT by a fixed window of Hounsfield units, everything else by percentiles of its series.
Pictures have no units: 0..255 (8 bits) or 0..65535 (16 bits) is -1..1. Every file is read in a confined process.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scansynth.console import Progress, silent
from scansynth.data.elsewhere.taken import is_image_set
from scansynth.data.scans.duplicates import pixel_digest
from scansynth.data.scans.eligibility import commonest_modality, why_left_out, why_not_in_units
from scansynth.data.scans.join import Left
from scansynth.data.scans.orientation import turn_of
from scansynth.data.scans.sources import Source, find_images, is_picture
from scansynth.data.tensors import to_stored
from scansynth.data.transforms import Shape, resize, series_window, to_window
from scansynth.dicom.header import Header
from scansynth.dicom.raster import RasterHeader
from scansynth.dicom.read import Limits
from scansynth.dicom.sandbox import Decoded, DecodePool
from scansynth.errors import CohortError, DicomError

PICTURES = "pictures"
"""Stands for the Modality of a folder of PNG, JPEG and TIFF files, which have none."""

DARK = 65535 // 8
"""A folder of pictures that stays below this was hardly written over its whole range."""

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scaling:
    """How DICOM values become [-1, 1]: see `config.CohortSettings`."""

    hu_window: tuple[float, float]
    percentiles: tuple[float, float]


@dataclass(frozen=True)
class Survey:
    """What a folder holds, before any image is decoded.

    Attributes:
        usable: Each file with its header; all DICOM or all pictures.
        left: Files left out, and why.
        modality: Of the DICOM files; `PICTURES` for a folder of PNG, JPEG and TIFF files.
        found: Candidate files.
    """

    usable: tuple[tuple[Source, Header | RasterHeader], ...]
    left: tuple[Left, ...]
    modality: str
    found: int

    @property
    def side(self) -> int:
        """The commonest longest side in pixels; the smaller one of two equally common."""
        counts = Counter(max(header.rows, header.columns) for _, header in self.usable)
        return min(counts, key=lambda side: (-counts[side], side))

    @property
    def shapes(self) -> int:
        """How many different sizes there are."""
        return len({(header.rows, header.columns) for _, header in self.usable})

    @property
    def reach(self) -> float | None:
        """Median of the length that an image's longest side shows, mm; none where fewer than half of the files say."""
        known = [
            max(header.rows * header.pixel_spacing[0], header.columns * header.pixel_spacing[1])
            for _, header in self.usable
            if isinstance(header, Header) and header.pixel_spacing
        ]
        return float(np.median(known)) if 2 * len(known) >= len(self.usable) else None

    @property
    def bits(self) -> tuple[int, ...]:
        """Bit depths that occur, sorted."""
        depths = {header.bits if isinstance(header, RasterHeader) else header.bits_stored for _, header in self.usable}
        return tuple(sorted(depths))


@dataclass(frozen=True)
class Foreign:
    """Images of a folder in the order of their paths.

    Attributes:
        sources: The files, n.
        headers: Of each.
        images: uint16 (n, rows, columns), 0 is -1 and 65535 is 1.
        files: SHA-256 of each file.
        pixels: SHA-256 of each image's values as decoded, before any change of scale or size; empty for an image of
            one grey value.
        left: Files left out, and why.
        modality: As in `Survey`.
    """

    sources: tuple[Source, ...]
    headers: tuple[Header | RasterHeader, ...]
    images: npt.NDArray[np.uint16]
    files: tuple[str, ...]
    pixels: tuple[str, ...]
    left: tuple[Left, ...]
    modality: str

    @property
    def reasons(self) -> Mapping[str, int]:
        """Number of files left out, by reason."""
        return dict(Counter(item.reason for item in self.left))


def reading_pool() -> DecodePool:
    """Confined processes with the bounds of ingest, one for each core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return DecodePool(max(cores, 1), (1 << 29) + Limits().max_file_bytes, 30.0)


def survey(
    folder: Path, option: str, pool: DecodePool, modality: str | None, synthetic: bool, progress: Progress = silent
) -> Survey:
    """Looks at every file of a folder.

    Args:
        folder: The folder.
        option: What it was given as, for messages.
        pool: The confined processes.
        modality: Modality that DICOM files must have; none: the commonest. pictures are always taken.
        synthetic: The images are synthetic: marks of a synthetic or derived image leave none out.
        progress: Told of each file.

    Raises:
        CohortError: The folder holds no image that can be used.
    """
    sources = find_images(folder, option)
    drawn = [source for source in sources if is_picture(source.relative)]
    scans = [source for source in sources if not is_picture(source.relative)]
    left: list[Left] = []
    dicom: list[tuple[Source, Header]] = []
    for source, header in zip(scans, pool.scan_all([source.path for source in scans], Limits()), strict=True):
        progress(len(left) + len(dicom), len(sources), "reading headers")
        if isinstance(header, DicomError):
            left.append(Left(source, header.reason, header.detail))
        else:
            dicom.append((source, header))
    modality = modality or commonest_modality(header for _, header in dicom) or PICTURES
    usable: list[tuple[Source, Header | RasterHeader]] = []
    for source, header in dicom:
        fault = _unfit(header, modality, synthetic)
        if fault is None:
            usable.append((source, header))
        else:
            left.append(Left(source, fault.reason, fault.detail))
    if usable:
        left += [Left(source, "picture beside DICOM", "such files are commonly masks") for source in drawn]
    else:
        modality = PICTURES
        for source, size in zip(drawn, pool.scan_rasters([source.path for source in drawn], Limits()), strict=True):
            progress(len(left) + len(usable), len(sources), "reading headers")
            if isinstance(size, DicomError):
                left.append(Left(source, size.reason, size.detail))
            else:
                usable.append((source, size))
    if not usable:
        raise _nothing(folder, option, left)
    return Survey(tuple(usable), tuple(left), modality, len(sources))


def _nothing(folder: Path, option: str, left: Sequence[Left]) -> CohortError:
    """No image of a folder can be used."""
    if is_image_set(folder):
        return CohortError(
            f"{option} is an image set without DICOM or picture files; write it as files with scansynth export, or add "
            "it to a study with scansynth add-set"
        )
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(item.reason for item in left).most_common(3))
    return CohortError(
        f"{option} holds no image that can be read ({reasons}); give DICOM, or grey PNG, JPEG or TIFF files"
    )


def _unfit(header: Header, modality: str, synthetic: bool) -> DicomError | None:
    """Why a DICOM image is left out; nothing here needs millimetres, and synthetic images are marked as such."""
    if header.frames > 1:
        return DicomError("multi-frame", "only files with one image each are read here")
    if synthetic:
        return why_not_in_units(header) if header.modality == modality else DicomError("other modality")
    fault = why_left_out(header, modality)
    return None if fault is not None and fault.reason == "no pixel spacing" else fault


def read(
    found: Survey,
    shape: Shape,
    scaling: Scaling,
    pool: DecodePool,
    keep_constant: bool,
    progress: Progress = silent,
) -> Foreign:
    """Decodes the images of a survey.

    Args:
        found: The survey.
        shape: Rows and columns of the result in pixels.
        scaling: How DICOM values become [-1, 1].
        pool: The confined processes.
        keep_constant: Keep images of one grey value: in a synthetic set they count, a real one is no scan.
        progress: Told of each image.

    Returns:
        The images that could be decoded; none at all when no file could be.
    """
    left = list(found.left)
    images = np.empty((len(found.usable), *shape), np.uint16)
    kept: dict[str, tuple[Source, int, str, str]] = {}
    for done, (source, result, window) in enumerate(_decoded(found, scaling, pool), start=1):
        progress(done, len(found.usable), "decoding")
        if isinstance(result, DicomError):
            left.append(Left(source, result.reason, result.detail))
            continue
        values = result.values
        constant = values.min() == values.max() or not window[0] < window[1]
        if constant and not keep_constant:
            left.append(Left(source, "constant image", "all pixels have one value"))
            continue
        place = len(kept)
        low, high = window if window[0] < window[1] else (window[0] - 1.0, window[0] + 1.0)
        images[place] = to_stored(resize(to_window(values, low, high), shape))
        kept[source.relative] = (source, place, "" if constant else pixel_digest(values), result.file_sha256)
    order = [kept[name] for name in sorted(kept)]
    headers = {source.relative: header for source, header in found.usable}
    return Foreign(
        sources=tuple(source for source, _, _, _ in order),
        headers=tuple(headers[source.relative] for source, _, _, _ in order),
        images=images[[place for _, place, _, _ in order]],
        files=tuple(file for _, _, _, file in order),
        pixels=tuple(digest for _, _, digest, _ in order),
        left=tuple(left),
        modality=found.modality,
    )


def _decoded(
    found: Survey, scaling: Scaling, pool: DecodePool
) -> Iterator[tuple[Source, Decoded | DicomError, tuple[float, float]]]:
    """Each file with its values, or why there are none, and the window that is to be -1..1."""
    drawn = [(source, header) for source, header in found.usable if isinstance(header, RasterHeader)]
    results = pool.decode_rasters((source.path, header) for source, header in drawn)
    for (source, _), image in zip(drawn, results, strict=True):
        yield source, image, (0.0, 65535.0)
    scans = [(source, header) for source, header in found.usable if isinstance(header, Header)]
    series_of = _series([header for _, header in scans])
    scans.sort(key=lambda pair: (series_of(pair[1]), pair[0].relative))
    decoded = zip(scans, _turned(scans, pool), strict=True)
    again: list[tuple[_Scan, tuple[float, float]]] = []
    for _, series in itertools.groupby(decoded, key=lambda pair: series_of(pair[0][1])):
        if found.modality == "CT":
            for (source, _), image in series:
                yield source, image, scaling.hu_window
            continue
        held, later, window = _look_at(series, scaling)
        again += [(scan, window) for scan in later]
        for (source, _), image in held:
            yield source, image, window
    for ((source, _), window), image in zip(again, _turned([scan for scan, _ in again], pool), strict=True):
        yield source, image, window


def _series(headers: Iterable[Header]) -> Callable[[Header], str]:
    """What shares a window with an image: its series; the set, for a synthetic image that is alone in its series.

    Each image of a set is a patient, and so a series, of its own (`scansynth.dicom.write.image_uids`), yet all were
    drawn on one scale: percentiles of each alone would stretch dark ones.
    """
    images = Counter(header.series_instance_uid for header in headers)
    return lambda header: (
        "" if header.synthetic_data and images[header.series_instance_uid] == 1 else header.series_instance_uid
    )


_Scan = tuple[Source, Header]


def _turned(scans: Sequence[_Scan], pool: DecodePool) -> Iterator[Decoded | DicomError]:
    """Each scan in the raster orientation of its plane, as in a cohort."""
    decoded = pool.decode_all((source.path, header) for source, header in scans)
    for (_, header), image in zip(scans, decoded, strict=True):
        if isinstance(image, DicomError):
            yield image
        elif not np.isfinite(image.values).all():
            yield DicomError("values that are not numbers", "after rescale slope and intercept")
        else:
            yield replace(image, values=turn_of(header).apply(image.values))


_HELD = 1 << 25
"""Pixels of a series that are kept in memory; of a longer one, other files are read again once its window is known."""

_SAMPLED = 1 << 12
"""Pixels of each image of a long series that set its window."""


def _look_at(
    series: Iterator[tuple[_Scan, Decoded | DicomError]], scaling: Scaling
) -> tuple[list[tuple[_Scan, Decoded | DicomError]], list[_Scan], tuple[float, float]]:
    """The first images of a series, the others without their values, and the window that all of them set.

    A synthetic set is often one series of many thousand images: memory must not grow with their size.
    """
    held: list[tuple[_Scan, Decoded | DicomError]] = []
    later: list[_Scan] = []
    samples: list[_Floats] = []
    pixels, low, high = 0, np.inf, -np.inf
    for scan, image in series:
        if isinstance(image, DicomError):
            held.append((scan, image))
            continue
        pixels += image.values.size
        low, high = min(low, float(image.values.min())), max(high, float(image.values.max()))
        if pixels <= _HELD:
            held.append((scan, image))
        else:
            later.append(scan)
            samples.append(_sample(image.values))
    good = [image.values for _, image in held if not isinstance(image, DicomError)]
    everything = [*(_sample(values) for values in good), *samples] if later else good
    if not everything:
        return held, later, (0.0, 0.0)
    window = series_window(everything, scaling.percentiles)
    return held, later, window if window[0] < window[1] else (low, high)  # a sample may miss the few bright pixels


def _sample(values: _Floats) -> _Floats:
    """Every k-th pixel of an image, so that long series stay small in memory."""
    return values.reshape(-1)[:: -(-values.size // _SAMPLED) | 1].copy()


def printable(name: str) -> str:
    """A file's name as text that can be written down, whatever bytes it has."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def reasons_in_words(foreign: Foreign) -> str:
    """Files left out, by reason: `3 truncated, 1 colour image`."""
    counts = Counter(item.reason for item in foreign.left)
    return ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
