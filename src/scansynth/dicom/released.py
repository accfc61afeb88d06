"""DICOM files of a release, read where nothing else is known of them: marks of a synthetic image, and no identifier.

Only what `write` and `write_seg` write is read: explicit little endian, no compression, no attribute but theirs.
"""

from __future__ import annotations

import functools
import io
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian

from scansynth.dicom.attributes import IDENTIFYING, SYNTHETIC_DATA
from scansynth.dicom.modules import RASTER, encode
from scansynth.dicom.write import PixelScale, SyntheticFacts, build_dataset, from_pixels, image_uids, storage_class
from scansynth.dicom.write_seg import build_segmentation
from scansynth.errors import DicomError

MOST_BYTES = 1 << 28
"""Of one file; a larger one is not read."""

_INVENTED = {"PatientID": "SYN-", "PatientName": "SYNTHETIC^"}
"""Attributes that name a person in a scan; here they name nobody, and begin so."""

_OF_THE_WRITER = frozenset({0x00020000, 0x00020013})
"""Length of the file's own attributes, and the version of the program, which may be another than this one."""

_VERSION = re.compile(r"SCANSYNTH_[0-9][0-9a-z.+]*")

_SYNTHESIZING = ("109100", "DCM")  # PS3.16 CID 7005


def read_released(path: Path) -> Dataset | None:
    """A file of a release; none where it is not a DICOM file as scansynth writes them."""
    if path.stat().st_size > MOST_BYTES:
        return None
    try:
        found = pydicom.dcmread(path)
        return found if found.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian else None
    except (InvalidDicomError, OSError, ValueError, AttributeError, KeyError, EOFError, NotImplementedError):
        return None


def faults_of(found: Dataset) -> list[str]:
    """Why a file is not an image that says it is synthetic and names nobody; a few words each.

    No value is named: one that should not be there may be a person's name.
    """
    faults = []
    if found.get(SYNTHETIC_DATA) is None or found[SYNTHETIC_DATA].value != "YES":
        faults.append("SyntheticData (0008,001C) is not YES")
    if not _names_equipment(found):
        faults.append("no Contributing Equipment of the purpose Synthesizing Equipment")
    if found.get("PatientIdentityRemoved") != "YES":
        faults.append("Patient Identity Removed is not YES")
    for keyword, start in _INVENTED.items():
        if not str(found.get(keyword, "")).startswith(start):
            faults.append(f"{keyword} is not an invented one")
    faults += [f"{word} is filled in" for word in IDENTIFYING if word not in _INVENTED and str(found.get(word) or "")]
    if bytes(found.preamble or b"").strip(b"\0"):
        faults.append("the preamble is not empty")
    strange = sorted({int(element.tag) for element in found.iterall() if element.tag.is_private} | _unknown(found))
    faults += [f"unexpected attribute ({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in strange]
    return faults


def stored_pixels(found: Dataset) -> npt.NDArray[np.int16] | npt.NDArray[np.uint16] | None:
    """The stored values of a released image, (rows, columns), int16 or uint16; none where its header lies."""
    kind = np.dtype("<i2" if found.get("PixelRepresentation") == 1 else "<u2")
    rows, columns, data = int(found.get("Rows", 0)), int(found.get("Columns", 0)), found.get("PixelData", b"")
    if found.get("BitsAllocated") != 16 or len(data) - rows * columns * 2 not in {0, 1}:
        return None
    return np.frombuffer(data, kind, rows * columns).reshape(rows, columns)


def free_facts(found: Dataset) -> tuple[str, tuple[float, float], str]:
    """What no table of a release says of an image, and its file may choose: plane, spacing, part of the body.

    Raises:
        DicomError: The file says no spacing.
    """
    orientation = [float(value) for value in found.get("ImageOrientationPatient") or ()]
    plane = next((name for name, raster in RASTER.items() if orientation == [*raster]), "")
    spacing = [float(value) for value in found.get("PixelSpacing") or ()]
    if len(spacing) != 2:
        raise DicomError("no pixel spacing", "it has two values")
    return plane, (spacing[0], spacing[1]), "CHEST" if found.get("BodyPartExamined") == "CHEST" else ""


def departures(found: Dataset, mask: Dataset | None, facts: SyntheticFacts) -> tuple[list[str], list[str]]:
    """Attributes of an image and its mask that are not as they are written for these facts and these pixels.

    Any text, date or number that a person put into a file, or into a sequence of it, stands out so; no value is named.

    Args:
        found: The image, whose stored pixels are taken as they are.
        mask: Its DICOM SEG, whose lesion is taken as it is; none: it has none.
        facts: What the image's file should say.

    Raises:
        DicomError: The header does not fit the pixels.
    """
    stored = stored_pixels(found)
    if stored is None:
        raise DicomError("its pixels do not fit its header")
    image = from_pixels(stored, PixelScale.choose(facts.modality, facts.low, facts.high))
    of_mask = [] if mask is None else _apart(mask, build_segmentation(image, _lesion(mask, image.shape), facts))
    return _apart(found, build_dataset(image, facts)), of_mask


def _lesion(mask: Dataset, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The lesion of a DICOM SEG of one frame of single bits (PS3.5 8.1.1)."""
    bits = np.unpackbits(np.frombuffer(mask.get("PixelData", b""), np.uint8), bitorder="little")
    if bits.size < shape[0] * shape[1]:
        raise DicomError("its pixels do not fit its header")
    return bits[: shape[0] * shape[1]].reshape(shape)


def _apart(found: Dataset, wanted: Dataset) -> list[str]:
    """Attributes of one dataset that are not as in another, the file's own among them."""
    again = pydicom.dcmread(io.BytesIO(encode(wanted)))
    faults = []
    for one, other in ((found.file_meta, again.file_meta), (found, again)):
        for tag in sorted({int(tag) for part in (one, other) for tag in part.keys()} - _OF_THE_WRITER):  # noqa: SIM118
            if tag not in one or tag not in other or one[tag] != other[tag]:
                name = keyword_for_tag(tag)
                faults.append(
                    f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {name}".rstrip() + " is not as scansynth writes it"
                )
    version = str(found.file_meta.get("ImplementationVersionName", ""))
    return faults if _VERSION.fullmatch(version) else [*faults, "(0002,0013) names another program than scansynth"]


def instance_uid(found: Dataset) -> str:
    """SOP Instance UID."""
    return str(found.get("SOPInstanceUID", ""))


def _names_equipment(found: Dataset) -> bool:
    for item in found.get("ContributingEquipmentSequence") or ():
        for purpose in item.get("PurposeOfReferenceCodeSequence") or ():
            if (purpose.get("CodeValue"), purpose.get("CodingSchemeDesignator")) == _SYNTHESIZING:
                return True
    return False


def _unknown(found: Dataset) -> set[int]:
    return {int(tag) for tag in found.keys()} - _known()  # noqa: SIM118  # a Dataset iterates over elements


@functools.cache
def _known() -> frozenset[int]:
    """Every attribute that the writers write, in any kind of image."""
    image = np.zeros((16, 16), np.uint16)
    tags: set[int] = set()
    for modality, low, high in (("MR", 0.0, 1200.0), ("MR", 0.0, 9000.0), ("CT", -1000.0, 400.0)):
        for plane, part in (("axial", "CHEST"), ("", "")):
            facts = SyntheticFacts(
                modality, storage_class(modality, plane), low, high, (1.0, 1.0), "x", "0" * 64,
                image_uids("0" * 64, 0, 0), 1, plane, part,
            )  # fmt: skip
            mask = (np.indices(image.shape).sum(0) == 0).astype(np.uint8)
            for made in (build_dataset(image, facts), build_segmentation(image, mask, facts)):
                tags |= {int(tag) for tag in made.keys()}  # noqa: SIM118
    assert all(keyword_for_tag(tag) for tag in tags)
    return frozenset(tags)
