"""Which files make a case, and in which words the others are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from scansynth.data.scans.orientation import plane_of
from scansynth.dicom.header import ULTRASOUND, Header, quarantine
from scansynth.dicom.image_type import kind_of
from scansynth.errors import DicomError

_NEVER_GUESSED = ULTRASOUND | {"SC", "OT", "SR", "PR", "KO", "SEG", "RTSTRUCT", "DOC", "REG", "XC", "ES", "GM", "SM"}
_TERMS = frozenset(
    {"AR", "ASMT", "AU", "BDUS", "BI", "BMD", "CFM", "CR", "CT", "CTPROTOCOL", "DG", "DMS", "DOC", "DX", "ECG", "EEG",
     "EMG", "EOG", "EPS", "ES", "FID", "GM", "HC", "HD", "IO", "IOL", "IVOCT", "IVUS", "KER", "KO", "LEN", "LS",
     "M3D", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPM", "OPT", "OPTBSV", "OPTENF", "OPV", "OSS", "OT", "PA",
     "PLAN", "POS", "PR", "PT", "PX", "REG", "RESP", "RF", "RG", "RTDOSE", "RTIMAGE", "RTINTENT", "RTPLAN",
     "RTRAD", "RTRECORD", "RTSEGANN", "RTSTRUCT", "RWV", "SEG", "SM", "SMR", "SR", "SRF", "STAIN", "TEXTUREMAP",
     "TG", "US", "VA", "XA", "XAPROTOCOL", "XC"}
)  # fmt: skip
"""Defined terms of Modality (PS3.3 C.7.3.1.1.1); another value may be anything: it is neither guessed nor repeated."""

_SMALLEST = 8
_HOUNSFIELD = frozenset({"", "HU", "HOUNSFIELD", "HOUNSFIELD UNIT", "HOUNSFIELD UNITS"})
"""Rescale Types (0028,1054) of CT values in Hounsfield units; a CT image without one has them (PS3.3 C.8.2.1)."""

_OTHER_QUANTITY = frozenset({"EFF_ATOMIC_NUM", "ELECTRON_DENSITY", "MAT_SPECIFIC", "MAT_FRACTIONAL", "MAT_VALUE_BASED"})
"""Values of Image Type of multi-energy CT whose unit only the Rescale Type tells (PS3.3 C.8.15.3.1)."""

_AIR, _LUNG, _DENSEST = -1024, -300, 3071
"""Hounsfield units: the lowest and the highest value of 12 bits, and what no lung is denser than."""


def commonest_modality(headers: Iterable[Header]) -> str | None:
    """The Modality of most files, ultrasound and non-images aside; ties go to the first in the alphabet.

    Ultrasound is never guessed: its images commonly carry the patient's name in the pixels.
    """
    counts = Counter(header.modality for header in headers if header.modality in _TERMS - _NEVER_GUESSED)
    return min(counts, key=lambda modality: (-counts[modality], modality)) if counts else None


def why_left_out(header: Header, modality: str, plane: str | None = None) -> DicomError | None:
    """Why a file makes no case, or none when it does.

    Args:
        header: What the file says.
        modality: The study's Modality.
        plane: The study's plane; none: any.
    """
    if header.modality != modality:
        reason = "ultrasound" if header.modality in ULTRASOUND else "other modality"
        said = header.modality if header.modality in _TERMS else "none of DICOM's" if header.modality else "no Modality"
        return DicomError(reason, f"{said}, and the study is of {modality}")
    if header.synthetic_data:
        return DicomError("synthetic image", "SyntheticData (0008,001C) says so; it cannot stand for a patient")
    suspect = quarantine(header)
    if suspect is not None:
        return DicomError(suspect, "the pixels may name a patient; a person must look at them first")
    kind = kind_of(header.image_type)
    if kind is not None:
        return DicomError(kind, "Image Type (0008,0008) says so")
    if plane is not None and plane_of(header) != plane:
        return DicomError("other plane", f"{plane_of(header) or 'not said'}, and cohort.plane is {plane}")
    if min(header.rows, header.columns) < _SMALLEST:
        return DicomError("too small", f"{header.rows} x {header.columns} pixels")
    if header.pixel_spacing is None:
        return DicomError("no pixel spacing", "Pixel Spacing (0028,0030) is missing")
    return why_not_in_units(header)


def why_not_in_units(header: Header) -> DicomError | None:
    """Why the values of a CT image are no Hounsfield units, or none when they are, or when it is no CT.

    Rescale Slope and Intercept are required of a CT image (PS3.3 C.8.2.1): without them the stored values mean nothing.
    """
    if header.modality != "CT":
        return None
    if not header.rescale_stated:
        return DicomError("bad header", "Rescale Slope or Rescale Intercept is missing: no Hounsfield units")
    if header.rescale_type not in _HOUNSFIELD:
        return DicomError("no Hounsfield units", "Rescale Type (0028,1054) names another unit")
    if not header.rescale_type and _OTHER_QUANTITY & {value.upper() for value in header.image_type}:
        return DicomError("no Hounsfield units", "Image Type (0008,0008) names another quantity, and no unit is given")
    return None


def why_implausible(values: npt.NDArray[np.float32], modality: str) -> DicomError | None:
    """Why an image's values cannot be what they are said to be, or none: a CT that lies wholly beyond air or bone.

    Args:
        values: In output units.
        modality: The study's Modality.
    """
    if modality == "CT" and (values.max() < _AIR or values.min() > _DENSEST):
        return DicomError("no Hounsfield units", f"all values lie outside {_AIR} to {_DENSEST}")
    return None


def lacks_air(values: npt.NDArray[np.float32]) -> bool:
    """Whether a CT image holds next to nothing as thin as lung: a whole chest slice does, so its rescale is suspect."""
    return bool(np.count_nonzero(values < _LUNG) < 0.01 * values.size)
