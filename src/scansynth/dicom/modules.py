"""Parts of a DICOM file that every writer here shares: UIDs, texts, modules, encoding."""

from __future__ import annotations

import hashlib
import io
import re
from typing import Any

import numpy.typing as npt
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from scansynth import __version__
from scansynth.errors import DicomError

_IMPLEMENTATION = "2.25.110281741512961312498719311734960823377"

RASTER = {"axial": (1, 0, 0, 0, 1, 0), "coronal": (1, 0, 0, 0, 0, -1), "sagittal": (0, 1, 0, 0, 0, -1)}
"""Image Orientation (Patient) of each plane, as radiologists hang them: axial slices are seen from the feet and coronal
ones from the front, the patient's right at the left; sagittal ones have the front at the left. Cohorts are brought to
it, and synthetic images say it. The patient's x runs to the left, y to the back, z to the head (PS3.3 C.7.6.2.1.1)."""

_LETTERS = {"axial": ["L", "P"], "coronal": ["L", "F"], "sagittal": ["P", "F"]}


def derive_uid(*names: object) -> str:
    """A `2.25.` UID (PS3.5 B.2) for a name: the first 128 bits of the names' SHA-256, with the marks of a UUID."""
    digest = bytearray(hashlib.sha256("\x1f".join(str(name) for name in names).encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80  # version 8: free form
    digest[8] = digest[8] & 0x3F | 0x80  # variant of RFC 9562
    return f"2.25.{int.from_bytes(digest, 'big')}"


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a code sequence (PS3.3 table 8.8-1)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def decimal(value: float) -> str:
    """A number as a Decimal String of at most 16 characters (PS3.5 6.2)."""
    for digits in range(15, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    raise DicomError("number does not fit", "a decimal string holds 16 characters")


def text_value(value: str, limit: int = 64) -> str:
    r"""Free text made fit for a Long String: no backslash, no control character, at most `limit` characters."""
    return re.sub(r"[\\\x00-\x1f\x7f]+", " ", value).strip()[:limit]


def put_pixels(dataset: Dataset, pixels: npt.NDArray[Any], bits: int) -> None:
    """The Image Pixel Macro (PS3.3 C.7.6.3) for one grey image of shape (rows, columns), 16 bits allocated."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OW"


def encode(dataset: Dataset) -> bytes:
    """A dataset as a DICOM file: explicit VR little endian, preamble of zeros, equal bytes for equal datasets."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(_IMPLEMENTATION)
    meta.ImplementationVersionName = f"SCANSYNTH_{__version__}"[:16]
    dataset.file_meta = meta
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    data = buffer.getvalue()
    return bytes(128) + data[128:]


def put_plane(dataset: Dataset, spacing: tuple[float, float], corner: tuple[float, float, float], plane: str) -> None:
    """The Image Plane and Frame of Reference modules of a slice (PS3.3 C.7.6.2, C.7.4.1), with Patient Orientation.

    Args:
        dataset: Gets the attributes.
        spacing: Millimetres between rows, and between columns.
        corner: Image Position (Patient), mm.
        plane: One of `RASTER`.
    """
    dataset.PixelSpacing = [decimal(step) for step in spacing]
    dataset.ImageOrientationPatient = [*RASTER[plane]]
    dataset.ImagePositionPatient = [decimal(part) for part in corner]
    dataset.PatientOrientation = _LETTERS[plane]
    dataset.PositionReferenceIndicator = ""


def put_study(dataset: Dataset, study: str, series: str, number: int) -> None:
    """The General Study, Series and Image modules, their dates empty (PS3.3 C.7.2.1, C.7.3.1, C.7.6.1)."""
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.StudyDate = dataset.StudyTime = dataset.ContentDate = dataset.ContentTime = ""
    dataset.AccessionNumber = dataset.ReferringPhysicianName = dataset.StudyID = ""
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.AcquisitionNumber = 1, number, 1
    dataset.PatientOrientation = ""  # not known; `put_plane` says it (PS3.3 C.7.6.1.1.1)


def put_mr_acquisition(
    dataset: Dataset, sequence: str, variant: str, echo_ms: float | None, repeat_ms: float | None
) -> None:
    """The attributes that the MR Image module wants (PS3.3 C.8.3.1); none: present and empty."""
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = sequence, variant, ""
    dataset.MRAcquisitionType = "2D"
    dataset.EchoTime = "" if echo_ms is None else decimal(echo_ms)
    dataset.RepetitionTime = "" if repeat_ms is None else decimal(repeat_ms)
    dataset.EchoTrainLength = "" if echo_ms is None else 1
