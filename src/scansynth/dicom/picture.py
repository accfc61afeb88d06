"""PNG, JPEG, TIFF and NIfTI files in the place of scans: a header in DICOM's words, made of what the user says.

Such files name no patient, no modality and, pictures, no spacing: these come from the table. A NIfTI volume is a file
of many images, as a multi-frame DICOM file is. Call it through `scansynth.dicom.sandbox`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scansynth.dicom.header import FrameGroup, Header
from scansynth.dicom.modules import derive_uid
from scansynth.dicom.nifti import Volume, is_nifti, read_volume
from scansynth.dicom.raster import RasterHeader, decode_raster, kind_of_raster, read_raster_header
from scansynth.dicom.read import Limits
from scansynth.errors import DicomError

NIFTI = "NIfTI"
"""Stands for the transfer syntax of a volume; pictures have `RasterHeader.kind`."""

PICTURE_KINDS = frozenset({"PNG", "JPEG", "TIFF"})
FULL_RANGE = (0.0, 65535.0)
"""Values of a picture, which has no unit."""

_STORAGE = derive_uid("picture storage")
_START = 544
_AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The patient's axis that a plane's slices follow each other along."""


def picture_header(
    path: Path, name: str, limits: Limits, modality: str, spacing: tuple[float, float] | None, plane: str
) -> Header:
    """A header of a file that is no DICOM.

    Args:
        path: The file.
        name: Its name within the cohort; UIDs are derived from it.
        limits: Bounds on the file and on each image.
        modality: What the user says it is.
        spacing: mm between rows, and between columns; none: a volume's own.
        plane: Of a volume: axial, coronal or sagittal slices, whichever of its axes is nearest.

    Raises:
        DicomError: The file is no picture and no volume within `limits`.
    """
    with path.open("rb") as stream:
        start = stream.read(_START)
    if kind_of_raster(start):
        found = read_raster_header(path, limits)
        return _header(name, modality, found.kind, (found.rows, found.columns), found.bits, [_group(spacing)])
    if not is_nifti(start):
        raise DicomError("not a picture", "PNG, JPEG, TIFF and NIfTI are read in place of DICOM")
    volume = read_volume(path)
    axis = _axis(volume, plane)
    shape = tuple(side for place, side in enumerate(volume.raw.shape) if place != axis)[::-1]
    if shape[0] * shape[1] > limits.max_pixels:
        raise DicomError("too large", f"{shape[0]} x {shape[1]} pixels, the limit is {limits.max_pixels}")
    groups = [_slice_group(volume, axis, number, spacing, modality) for number in range(volume.raw.shape[axis])]
    return _header(name, modality, f"{NIFTI} {axis}", (shape[0], shape[1]), 16, groups)


def _header(name: str, modality: str, kind: str, shape: tuple[int, int], bits: int, groups: list[FrameGroup]) -> Header:
    """What such a file can say; everything else is empty."""
    return Header(
        sop_class_uid=_STORAGE, sop_instance_uid=derive_uid("picture", name),
        series_instance_uid=derive_uid("picture series", name), patient_id="", modality=modality,
        transfer_syntax_uid=kind, rows=shape[0], columns=shape[1], frames=len(groups), samples_per_pixel=1,
        photometric_interpretation="MONOCHROME2", bits_allocated=bits, bits_stored=bits, high_bit=bits - 1,
        pixel_representation=0, padding=None, burned_in_annotation="", conversion_type="", synthetic_data=False,
        instance_number=None, slice_location=None, body_part="", sex="", age_years=None, manufacturer="",
        magnetic_field_strength=None, pixel_offset=0, pixel_length=None,
        groups=tuple(groups) if len(groups) > 1 else (), **asdict(groups[0]),
    )  # fmt: skip


def _group(spacing: tuple[float, float] | None) -> FrameGroup:
    return FrameGroup(1.0, 0.0, False, "", spacing, "table" if spacing else "", (), None, None)


def _axis(volume: Volume, plane: str) -> int:
    """The axis of the array along which slices of a plane follow each other."""
    steps = np.abs(volume.to_patient[:3, :3]) / np.linalg.norm(volume.to_patient[:3, :3], axis=0)
    return int(steps[_AXES[plane]].argmax())


def _slice_group(
    volume: Volume, axis: int, number: int, spacing: tuple[float, float] | None, modality: str
) -> FrameGroup:
    """Where one slice lies: its columns run along the first of the other two axes, its rows along the second."""
    across, down = (volume.to_patient[:3, place] for place in range(3) if place != axis)
    sizes = float(np.linalg.norm(down)), float(np.linalg.norm(across))
    index = np.zeros(4)
    index[axis], index[3] = number, 1.0
    corner = volume.to_patient @ index
    cosines = [*(across / sizes[1]), *(down / sizes[0])]
    placed = volume.placed and abs(float(across @ down)) < 1e-3 * sizes[0] * sizes[1]
    return FrameGroup(
        rescale_slope=volume.slope,
        rescale_intercept=volume.intercept,
        rescale_stated=True,
        rescale_type="HU" if modality == "CT" else "",
        pixel_spacing=spacing or sizes,
        spacing_source="table" if spacing else NIFTI,
        image_type=(),
        position=(float(corner[0]), float(corner[1]), float(corner[2])) if placed else None,
        orientation=tuple(float(value) for value in cosines) if placed else None,  # type: ignore[arg-type]
    )


def decode_picture(path: Path, header: Header) -> npt.NDArray[np.float32]:
    """The image of such a file, or one slice of a volume, float32 (rows, columns).

    Raises:
        DicomError: A picture is not grey, or the file is not the one of the header.
    """
    if header.transfer_syntax_uid in PICTURE_KINDS:
        known = RasterHeader(header.rows, header.columns, header.bits_stored, header.transfer_syntax_uid)
        return decode_raster(path, known).astype(np.float32)
    volume = read_volume(path)
    stored = np.take(volume.raw, header.frame, axis=int(header.transfer_syntax_uid.split()[1]))
    values = (stored.T.astype(np.float64) * volume.slope + volume.intercept).astype(np.float32)
    if values.shape != (header.rows, header.columns) or not np.isfinite(values).all():
        raise DicomError("cannot be decoded", "values that are not numbers, or another size than the header")
    return np.ascontiguousarray(values)


def header_task(
    path: str, name: str, limits: Mapping[str, int], modality: str, spacing: list[float] | None, plane: str
) -> tuple[dict[str, Any], bytes]:
    """`picture_header` in the form in which `scansynth.dicom.child` calls it."""
    steps = None if spacing is None else (spacing[0], spacing[1])
    return asdict(picture_header(Path(path), name, Limits(**limits), modality, steps, plane)), b""


def decode_with_hash(path: str, header: Header) -> tuple[npt.NDArray[np.float32], str]:
    """`decode_picture` with the file's SHA-256."""
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return decode_picture(Path(path), header), digest
