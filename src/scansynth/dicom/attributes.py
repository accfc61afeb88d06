"""From a parsed dataset to a `Header`: the whitelist of attributes, each read with suspicion.

A value that is missing or malformed is none; only what the image cannot do without is refused.
"""

from __future__ import annotations

import math
import re
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from scansynth.dicom.header import FrameGroup, Header
from scansynth.errors import DicomError

MEDIA_STORAGE_SOP_CLASS_UID = Tag("MediaStorageSOPClassUID")
TRANSFER_SYNTAX_UID = Tag("TransferSyntaxUID")
SOP_CLASS_UID = Tag("SOPClassUID")
MODALITY_LUT_SEQUENCE = Tag("ModalityLUTSequence")
SHARED_FUNCTIONAL_GROUPS = Tag("SharedFunctionalGroupsSequence")
PER_FRAME_FUNCTIONAL_GROUPS = Tag("PerFrameFunctionalGroupsSequence")
FLOAT_PIXEL_DATA = Tag("FloatPixelData")
DOUBLE_PIXEL_DATA = Tag("DoubleFloatPixelData")
PIXEL_DATA = Tag("PixelData")
SYNTHETIC_DATA = Tag(0x0008, 0x001C)  # younger than pydicom's dictionary

_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
IDENTIFYING = (
    "PatientName", "OtherPatientNames", "PatientBirthName", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber",
    "StudyID", "StudyDate", "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName",
    "PatientMotherBirthName", "PatientAddress", "PatientTelephoneNumbers", "ResponsiblePerson", "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy", "RequestingPhysician",
)  # fmt: skip
"""What tells persons apart and a column of labels.csv must not repeat: compared, and written nowhere."""
COMPARED = ("InstitutionName", "IssuerOfPatientID", "FrameOfReferenceUID")
"""What tells persons and scans apart beside these."""
WHITELIST: tuple[BaseTag, ...] = (SYNTHETIC_DATA, *(
    Tag(keyword)
    for keyword in (
        "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality", "ConversionType", "Manufacturer",
        "PatientID", "PatientSex", "PatientAge", "BodyPartExamined", "MagneticFieldStrength",
        "SeriesInstanceUID", "InstanceNumber", "ImagePositionPatient", "SliceLocation",
        "ImageOrientationPatient", "PatientOrientation",
        "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", *_SPACINGS,
        "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
        "PixelPaddingRangeLimit", "BurnedInAnnotation", "RescaleIntercept", "RescaleSlope", "RescaleType",
        "VolumeBasedCalculationTechnique",
        "ModalityLUTSequence", "SharedFunctionalGroupsSequence", *COMPARED, *IDENTIFYING,
    )
))  # fmt: skip
"""All that is ever read of a header; everything else is skipped unread."""
_TAGS = {keyword_for_tag(tag): tag for tag in WHITELIST}

_VRS = {tag: "" if tag == SYNTHETIC_DATA else dictionary_VR(tag) for tag in WHITELIST}
_WORDS = frozenset({"AS", "CS", "DA", "LO", "PN", "SH", "UI"})
_NUMBERS = frozenset({"DS", "IS"})
_PLAIN = re.compile(rb"[ -<>-\[\]-~]*")
"""One value in the default repertoire (PS3.5 section 6.1.2.1): no backslash, and no = between the forms of a name."""

_AGE = re.compile(r"([0-9]{1,3})([DWMY])")
_YEARS_PER = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_MAX_TEXT = 1024
_OFF_UNIT = 0.01
"""How far direction cosines may be from unit length and from a right angle; writers round them to a few digits."""
_PATIENT_WAYS = frozenset({"CR", "DX", "RG", "RF", "XA", "CT", "MR", "PT", "NM"})
"""Modalities whose Patient Orientation is heeded; in a mammogram it says which breast it is, and may not be undone."""
_DIRECTIONS: dict[str, tuple[float, float, float]] = {
    "L": (1.0, 0.0, 0.0), "R": (-1.0, 0.0, 0.0), "P": (0.0, 1.0, 0.0), "A": (0.0, -1.0, 0.0), "H": (0.0, 0.0, 1.0),
    "F": (0.0, 0.0, -1.0),
}  # fmt: skip
"""Left, right, posterior, anterior, head, foot in the patient's coordinates (PS3.3 C.7.6.2.1.1)."""


def whitelisted(dataset: Dataset, syntax: str, pixel_offset: int, pixel_length: int | None) -> Header:
    """The header of a dataset that holds pixel data.

    Raises:
        DicomError: A UID or a value that decides about the pixels is malformed.
    """
    bits_allocated = _required(dataset, "BitsAllocated")
    bits_stored = _integer(dataset, "BitsStored", bits_allocated)
    signed = _integer(dataset, "PixelRepresentation", 0)
    return Header(
        sop_class_uid=text(dataset, SOP_CLASS_UID),
        sop_instance_uid=_text(dataset, "SOPInstanceUID"),
        series_instance_uid=_text(dataset, "SeriesInstanceUID"),
        patient_id=_text(dataset, "PatientID"),
        modality=_code(dataset, "Modality"),
        transfer_syntax_uid=syntax,
        rows=_required(dataset, "Rows"),
        columns=_required(dataset, "Columns"),
        frames=max(1, _integer(dataset, "NumberOfFrames", 1)),
        samples_per_pixel=_integer(dataset, "SamplesPerPixel", 1),
        photometric_interpretation=_code(dataset, "PhotometricInterpretation"),
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        high_bit=_integer(dataset, "HighBit", bits_stored - 1),
        pixel_representation=signed,
        padding=_padding(dataset, bits_allocated, signed == 1),
        burned_in_annotation=_code(dataset, "BurnedInAnnotation"),
        conversion_type=_code(dataset, "ConversionType"),
        synthetic_data=text(dataset, SYNTHETIC_DATA).upper() == "YES",
        instance_number=_optional_integer(dataset, "InstanceNumber"),
        slice_location=_float(dataset, "SliceLocation"),
        body_part=_text(dataset, "BodyPartExamined"),
        sex=_code(dataset, "PatientSex"),
        age_years=_age(dataset),
        manufacturer=_text(dataset, "Manufacturer"),
        magnetic_field_strength=_float(dataset, "MagneticFieldStrength"),
        pixel_offset=pixel_offset,
        pixel_length=pixel_length,
        **vars(frame_group(dataset)),
        **_person(dataset),
    )


def frame_group(dataset: Dataset) -> FrameGroup:
    """What may differ from frame to frame: of a file of one image, or of one frame's functional groups laid flat.

    Raises:
        DicomError: Rescale Slope or Intercept is malformed.
    """
    spacing, spacing_source = _spacing(dataset)
    return FrameGroup(
        rescale_slope=_rescale(dataset, "RescaleSlope", 1.0),
        rescale_intercept=_rescale(dataset, "RescaleIntercept", 0.0),
        rescale_stated=all(_text(dataset, keyword) for keyword in ("RescaleSlope", "RescaleIntercept")),
        rescale_type=_code(dataset, "RescaleType") or ("?" if _short(dataset, "RescaleType") else ""),
        pixel_spacing=spacing,
        spacing_source=spacing_source,
        image_type=_image_type(dataset),
        position=_position(dataset),
        orientation=_orientation(dataset),
    )


def text(dataset: Dataset, tag: BaseTag) -> str:
    """A value as text without padding; several values joined by a backslash; empty when missing.

    Raises:
        DicomError: The value is longer than any whitelisted attribute may be.
    """
    value = _value(dataset, tag)
    if value is None:
        return ""
    parts = value if isinstance(value, MultiValue | list | tuple) else [value]
    joined = "\\".join(str(part) for part in parts).strip(" \0\t\r\n")
    if len(joined) > _MAX_TEXT:
        raise DicomError("bad header", "a value is far longer than DICOM allows")
    return joined


def _value(dataset: Dataset, tag: BaseTag) -> Any:
    """A value as the parser gives it, or none when it is missing, too long or malformed.

    A single plain text or number is taken from its bytes, as the parser would, which takes half the time;
    the text of a number stays one, for `_number` to read.
    """
    if tag not in dataset.keys():  # noqa: SIM118 - a dataset's own test makes a tag of the tag first, and takes longer
        return None
    try:
        raw = dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and raw.value is not None:
            vr = _VRS.get(tag, "") if raw.VR is None else raw.VR
            if vr in _WORDS | _NUMBERS and _PLAIN.fullmatch(value := raw.value.rstrip(b" \0")):
                return value.decode("ascii")
            if vr == "US" and len(raw.value) == 2:
                return int.from_bytes(raw.value, "little" if raw.is_little_endian else "big")
        return dataset[tag].value
    except Exception:  # a malformed value may raise anything while it is converted
        return None


def _text(dataset: Dataset, keyword: str) -> str:
    return text(dataset, _TAGS[keyword])


def _position(dataset: Dataset) -> tuple[float, float, float] | None:
    position = _floats(dataset, "ImagePositionPatient", 3)
    return None if position is None else (position[0], position[1], position[2])


def _person(dataset: Dataset) -> dict[str, Any]:
    """What tells persons apart, as the last fields of a `Header`."""
    values = [_short(dataset, keyword) for keyword in ("PatientID", *IDENTIFYING)]
    return {
        "birth_date": _short(dataset, "PatientBirthDate"),
        "institution": _short(dataset, "InstitutionName"),
        "identifying": tuple(value for value in values if value),
        "issuer": _short(dataset, "IssuerOfPatientID"),
        "name": _short(dataset, "PatientName"),
        "other_ids": tuple(filter(None, _short(dataset, "OtherPatientIDs").split("\\"))),
        "frame_of_reference_uid": _short(dataset, "FrameOfReferenceUID"),
    }


def _short(dataset: Dataset, keyword: str) -> str:
    """A value as text; empty when it is far too long: the image does not depend on it."""
    try:
        return _text(dataset, keyword)
    except DicomError:
        return ""


def _code(dataset: Dataset, keyword: str) -> str:
    """A code string: upper case, or empty when it has another form than PS3.5 table 6.2-1 gives it."""
    code = _text(dataset, keyword).upper()
    return code if re.fullmatch(r"[A-Z0-9_ ]{1,16}", code) else ""


def _number(value: Any) -> float | None:
    """A finite number, or none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _float(dataset: Dataset, keyword: str) -> float | None:
    return _number(_value(dataset, _TAGS[keyword]))


def _floats(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers, or none."""
    value = _value(dataset, _TAGS[keyword])
    if not isinstance(value, MultiValue | list | tuple) or len(value) != count:
        return None
    numbers = [number for number in map(_number, value) if number is not None]
    return tuple(numbers) if len(numbers) == count else None


def _optional_integer(dataset: Dataset, keyword: str) -> int | None:
    number = _float(dataset, keyword)
    return int(number) if number is not None and abs(number) < 2**31 and number == int(number) else None


def _integer(dataset: Dataset, keyword: str, default: int) -> int:
    """A whole number; `default` when the attribute is missing or empty.

    Raises:
        DicomError: It is there and malformed.
    """
    value = _value(dataset, _TAGS[keyword])
    if value is None or value == "":
        raw = dataset.get_item(_TAGS[keyword])  # still raw where its conversion failed
        if value is None and isinstance(raw, RawDataElement) and raw.length:
            raise DicomError("bad header", f"{keyword} is malformed")
        return default
    number = _number(value)
    if number is None or number != int(number) or abs(number) >= 2**31:
        raise DicomError("bad header", f"{keyword} is malformed")
    return int(number)


def _required(dataset: Dataset, keyword: str) -> int:
    number = _integer(dataset, keyword, -1)
    if number < 0:
        raise DicomError("bad header", f"{keyword} is missing")
    return number


def _rescale(dataset: Dataset, keyword: str, default: float) -> float:
    """Rescale slope or intercept (PS3.3 C.11.1.1.2); a slope of 0 would wipe the image.

    Raises:
        DicomError: It is there and no number, or a slope of 0.
    """
    if not _text(dataset, keyword):
        return default
    number = _float(dataset, keyword)
    if number is None or (number == 0.0 and default != 0.0) or abs(number) > 1e9:
        raise DicomError("bad header", f"{keyword} is malformed")
    return number


def _padding(dataset: Dataset, bits_allocated: int, signed: bool) -> tuple[int, int] | None:
    """Stored values that pad the image (PS3.3 C.7.5.1.1.2), as lowest and highest.

    Writers disagree on whether the value is signed, so it is taken as bits and read as the pixels are.
    """
    ends = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        value = _value(dataset, _TAGS[keyword])
        if isinstance(value, bytes) and len(value) == 2:
            value = int.from_bytes(value, "little")  # implicit VR leaves "US or SS" unread
        number = _number(value)
        if number is not None:
            bits = int(number) % (1 << bits_allocated) if bits_allocated in {8, 16} else 0
            ends.append(bits - (1 << bits_allocated) if signed and bits >> (bits_allocated - 1) else bits)
    # a range limit without a padding value means nothing
    return (min(ends), max(ends)) if ends and _TAGS["PixelPaddingValue"] in dataset else None


def _spacing(dataset: Dataset) -> tuple[tuple[float, float] | None, str]:
    """Row and column spacing in mm, from the attribute nearest to the patient, and its keyword."""
    for keyword in _SPACINGS:
        found = _floats(dataset, keyword, 2)
        if found and all(1e-4 < value < 1e3 for value in found):
            return (found[0], found[1]), keyword
    return None, ""


def _orientation(dataset: Dataset) -> tuple[float, float, float, float, float, float] | None:
    """Unit vectors along a row and down a column; where no numbers say it, from the letters of Patient Orientation."""
    found = _floats(dataset, "ImageOrientationPatient", 6)
    if found is None and _code(dataset, "Modality") in _PATIENT_WAYS:
        # PS3.3 C.7.6.1.1.1: where the first row and the first column lead to, the main direction first
        letters = [part.strip()[:1].upper() for part in _text(dataset, "PatientOrientation").split("\\")]
        if len(letters) == 2 and all(letter in _DIRECTIONS for letter in letters):
            found = (*_DIRECTIONS[letters[0]], *_DIRECTIONS[letters[1]])
    if found is None:
        return None
    row, column = found[:3], found[3:]
    if any(abs(math.hypot(*vector) - 1.0) > _OFF_UNIT for vector in (row, column)):
        return None
    if abs(sum(a * b for a, b in zip(row, column, strict=True))) > _OFF_UNIT:
        return None
    return (row[0], row[1], row[2], column[0], column[1], column[2])


def _image_type(dataset: Dataset) -> tuple[str, ...]:
    """Image Type, and the technique by which an image was computed from a volume (PS3.3 C.8.16.2.1.4)."""
    values = [part.strip() for part in _text(dataset, "ImageType").split("\\")]
    technique = _code(dataset, "VolumeBasedCalculationTechnique")
    return (*values, technique) if technique not in {"", "NONE"} else tuple(values)


def _age(dataset: Dataset) -> int | None:
    """Patient's Age (PS3.5 table 6.2-1, AS) in whole years."""
    match = _AGE.fullmatch(_text(dataset, "PatientAge").upper())
    return int(int(match[1]) * _YEARS_PER[match[2]]) if match else None
