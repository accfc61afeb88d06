"""Decoded scans as images of a cohort: on its grid and grey scale, or why not."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from scansynth.config import CohortSettings
from scansynth.data.scans.duplicates import pixel_digest
from scansynth.data.scans.eligibility import lacks_air, why_implausible
from scansynth.data.scans.join import Left, Scan
from scansynth.data.scans.orientation import turn_of
from scansynth.data.tensors import to_stored
from scansynth.data.transforms import resize, series_window, to_window
from scansynth.dicom.picture import FULL_RANGE, PICTURE_KINDS
from scansynth.dicom.sandbox import Decoded
from scansynth.errors import DicomError


@dataclass(frozen=True)
class Made:
    """One image as it goes into the cohort."""

    scan: Scan
    image: npt.NDArray[np.uint16]
    low: float
    high: float
    source_sha256: str
    airless: bool
    pixels: str


def made_images(
    decoded: Iterable[tuple[Scan, Decoded | DicomError]], modality: str, settings: CohortSettings
) -> Iterator[Made | Left]:
    """Each scan as a cohort image, in order, or why it makes none.

    A fixed window needs one image at a time; percentiles need a whole series.

    Args:
        decoded: Scans with their images, the scans of a series one after the other.
        modality: The study's Modality.
        settings: The study's.
    """
    fixed = settings.hu_window if modality == "CT" else None
    for _, series in itertools.groupby(decoded, key=lambda pair: (pair[0].patient, pair[0].header.series_instance_uid)):
        if fixed is not None:
            for scan, result in series:
                yield _made(scan, result, fixed, settings.shape)
            continue
        together = list(series)
        good = [result.values for _, result in together if not isinstance(result, DicomError)]
        counts = [result.counts for _, result in together if not isinstance(result, DicomError)]
        window = series_window(good, settings.percentiles, counts) if good else (0.0, 0.0)
        if together[0][0].header.transfer_syntax_uid in PICTURE_KINDS:
            window = FULL_RANGE  # it has no unit, and a set of pictures that is added later has the same scale
        del good
        for scan, result in together:
            yield _made(scan, result, window, settings.shape)


def _made(scan: Scan, result: Decoded | DicomError, window: tuple[float, float], shape: tuple[int, int]) -> Made | Left:
    """One decoded scan on the study's grid and scale."""
    if isinstance(result, DicomError):
        return Left(scan.source, result.reason, result.detail, scan.patient)
    low, high = window
    least = result.values.min() if result.counts is None else result.counts.least
    most = result.values.max() if result.counts is None else result.counts.most
    if not low < high or least == most:
        return Left(scan.source, "constant image", "all pixels have one value", scan.patient)
    fault = why_implausible(result.values, scan.header.modality)
    if fault is not None:
        return Left(scan.source, fault.reason, fault.detail, scan.patient)
    turned = turn_of(scan.header).apply(result.values)
    if turned.dtype == np.int16 and turned.shape == shape and result.counts is not None:
        # each grey value is brought to the scale once, and not each pixel
        scale = _scale(result.counts.least, result.counts.most, low, high)
        image = scale.take(turned.astype(np.intp) - result.counts.least)
    else:
        image = to_stored(resize(to_window(turned, low, high), shape))
    return Made(scan, image, low, high, result.file_sha256, lacks_air(result.values), pixel_digest(turned))


@lru_cache(maxsize=8)
def _scale(least: int, most: int, low: float, high: float) -> npt.NDArray[np.uint16]:
    """Stored values of the whole numbers from `least` to `most`."""
    return to_stored(to_window(np.arange(least, most + 1).astype(np.float32), low, high))
