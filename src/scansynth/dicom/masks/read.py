"""A lesion's pixels from a file of any known kind, told by its first bytes. Runs in a child process: see `sandbox`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from scansynth.dicom.masks.coco import read_coco
from scansynth.dicom.masks.lidc import read_lidc
from scansynth.dicom.masks.nifti import read_nifti_mask
from scansynth.dicom.masks.raster import read_raster_mask
from scansynth.dicom.masks.rtstruct import read_rtstruct
from scansynth.dicom.masks.seg import read_seg
from scansynth.dicom.masks.target import Mask, Target
from scansynth.dicom.nifti import is_nifti
from scansynth.dicom.raster import kind_of_raster
from scansynth.errors import DicomError
from scansynth.files import sha256_file

_START = 544
_SEG = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})  # Segmentation, Label Map
_RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"

KNOWN = "PNG, TIFF, NIfTI, DICOM SEG, RTSTRUCT, LIDC XML or COCO JSON"


def read_mask_file(path: Path, target: Target, part: str | None = None) -> Mask:
    """The lesion's pixels on the grid of one stored image.

    Args:
        path: The file.
        target: The image.
        part: Segment, structure, category or label to take; `all`; none: the only one.

    Returns:
        (rows, columns) uint8, 0 or 1.

    Raises:
        DicomError: The file is of no known kind, or cannot be laid on the image.
    """
    with path.open("rb") as stream:
        start = stream.read(_START)
    try:
        mask = _reader(path, start)(path, target, part)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as fault:
        raise DicomError("damaged", type(fault).__name__) from None
    return np.ascontiguousarray(mask, np.uint8)


def _reader(path: Path, start: bytes) -> Callable[[Path, Target, str | None], Mask]:
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if kind_of_raster(start):
        return read_raster_mask
    if start[128:132] == b"DICM":
        storage = str(pydicom.dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True).SOPClassUID)
        if storage in _SEG:
            return read_seg
        if storage == _RTSTRUCT:
            return read_rtstruct
        raise DicomError("another kind of DICOM", "a mask is a Segmentation or an RT Structure Set")
    if is_nifti(start):
        return read_nifti_mask
    if text.startswith(b"<"):
        return read_lidc
    if text.startswith((b"{", b"[")):
        return read_coco
    raise DicomError("not a known kind of file", f"save it as {KNOWN}")


def mask_task(path: str, target: Mapping[str, Any], part: str | None) -> tuple[dict[str, Any], bytes]:
    """`read_mask_file` in the form in which `scansynth.dicom.child` calls it, with the file's hash."""
    return {"sha256": sha256_file(Path(path))}, read_mask_file(Path(path), Target.from_values(target), part).tobytes()
