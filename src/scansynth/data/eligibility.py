"""Which files make a case, and in which words the others are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from scansynth.dicom.header import ULTRASOUND, Header, quarantine
from scansynth.errors import DicomError

_NEVER_GUESSED = ULTRASOUND | {"SC", "OT", "SR", "PR", "KO", "SEG", "RTSTRUCT", "DOC", "REG", "XC", "ES", "GM", "SM"}
_SMALLEST = 8
_IMAGE_TYPES = {  # value of Image Type (0008,0008), PS3.3 C.7.6.1.1.2: why it is no slice of a patient
    "LOCALIZER": "localizer",
    "SCOUT": "localizer",
    "PROJECTION IMAGE": "projection",
    "MIP": "projection",
    "MPR": "reformatted",
}


def commonest_modality(headers: Iterable[Header]) -> str | None:
    """The Modality of most files, ultrasound and non-images aside; ties go to the first in the alphabet.

    Ultrasound is never guessed: its images commonly carry the patient's name in the pixels.
    """
    counts = Counter(header.modality for header in headers if header.modality not in _NEVER_GUESSED)
    counts.pop("", None)
    return min(counts, key=lambda modality: (-counts[modality], modality)) if counts else None


def why_left_out(header: Header, modality: str) -> DicomError | None:
    """Why a file makes no case, or none when it does.

    Args:
        header: What the file says.
        modality: The study's Modality.
    """
    if header.modality != modality:
        reason = "ultrasound" if header.modality in ULTRASOUND else "other modality"
        return DicomError(reason, f"{header.modality[:16] or 'no Modality'}, and the study is of {modality}")
    if header.synthetic_data:
        return DicomError("synthetic image", "SyntheticData (0008,001C) says so; it cannot stand for a patient")
    suspect = quarantine(header)
    if suspect is not None:
        return DicomError(suspect, "the pixels may name a patient; a person must look at them first")
    kinds = [_IMAGE_TYPES[value.upper()] for value in header.image_type if value.upper() in _IMAGE_TYPES]
    if kinds:
        return DicomError(kinds[0], "Image Type (0008,0008) says so")
    if min(header.rows, header.columns) < _SMALLEST:
        return DicomError("too small", f"{header.rows} x {header.columns} pixels")
    if header.pixel_spacing is None:
        return DicomError("no pixel spacing", "Pixel Spacing (0028,0030) is missing")
    return None
