"""The header of one usable image: the whitelist of what training needs, and nothing else."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

from scansynth.dicom.image_type import WITH_TEXT, kind_of
from scansynth.errors import DicomError

_UID = re.compile(r"[0-9]{1,63}(\.[0-9]{1,62})+", re.ASCII)
ULTRASOUND = frozenset({"US", "IVUS"})
"""Modalities whose pixels commonly name the patient."""

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# PS3.3 C.8.6.1: workstation, scanned document, scanned image, drawing, digital video; DF (film) and DI stay
_CAPTURED = frozenset({"WSD", "SD", "SI", "DRW", "DV", "SYN"})


def valid_uid(uid: str) -> bool:
    """Whether `uid` has the form of PS3.5 section 9.1: digits and dots, 64 characters at most.

    Leading zeros, which the standard forbids and old scanners write, are let through.
    """
    return len(uid) <= 64 and _UID.fullmatch(uid) is not None


@dataclass(frozen=True)
class FrameGroup:
    """What the functional groups of a multi-frame file say of one image (PS3.3 C.7.6.16); as in `Header`."""

    rescale_slope: float
    rescale_intercept: float
    rescale_stated: bool
    rescale_type: str
    pixel_spacing: tuple[float, float] | None
    spacing_source: str
    image_type: tuple[str, ...] = field(repr=False)
    position: tuple[float, float, float] | None
    orientation: tuple[float, float, float, float, float, float] | None


@dataclass(frozen=True)
class Header:
    """What is kept of a DICOM header. One that exists has well-formed UIDs.

    Identifying values (patient and instance identifiers) stay out of its `repr`.

    Attributes:
        sop_class_uid: Storage class.
        sop_instance_uid: Raw; for `InstitutionKey` only.
        series_instance_uid: Raw; for grouping within this process only.
        patient_id: Raw, may be empty; for `InstitutionKey` only.
        modality: For example MR.
        transfer_syntax_uid: As named, or as found where the file names none.
        rows: Pixels.
        columns: Pixels.
        frames: Images in the file.
        samples_per_pixel: Always 1 for now.
        photometric_interpretation: MONOCHROME1 or MONOCHROME2.
        bits_allocated: 8 or 16.
        bits_stored: Bits that hold the value.
        high_bit: Place of the highest of them.
        pixel_representation: 0 unsigned, 1 two's complement.
        rescale_slope: Output units per stored unit; 1 where the file names none.
        rescale_intercept: Output units (HU for CT); 0 where the file names none.
        rescale_stated: The file names both.
        rescale_type: Unit of the output: HU, US and so on; "?": one that is no code; empty: the modality's own.
        padding: Stored values outside the image: lowest and highest, or none.
        pixel_spacing: Row and column spacing in mm, or none.
        spacing_source: Which attribute gave the spacing: "PixelSpacing" (at the patient),
            "ImagerPixelSpacing" (at the detector, magnified), "NominalScannedPixelSpacing", or "".
        image_type: Values of Image Type, and how the image was computed from a volume (0008,9207), where it was.
        burned_in_annotation: YES, NO or empty.
        conversion_type: Of a secondary capture, or empty.
        synthetic_data: Whether the image says of itself that it is synthetic (PS3.3 C.12.1).
        instance_number: Or none.
        position: Image Position (Patient) in mm, or none.
        orientation: Direction cosines along a row and down a column (PS3.3 C.7.6.2.1.1), or none when they are missing
            or are not at right angles.
        slice_location: mm, or none.
        body_part: Body Part Examined, or empty.
        sex: As written, or empty; `deidentify.facts` gives what may leave.
        age_years: Whole years, or none.
        manufacturer: As written; `deidentify.facts` gives what may leave.
        magnetic_field_strength: Tesla, or none.
        pixel_offset: Byte in the file at which the pixel data begin.
        pixel_length: Their bytes, or none where the length is undefined (compressed).
        present: Tags of the elements before the pixel data, read or skipped, as numbers.
        groups: What a multi-frame file says of each of its images; empty for a file of one, and in `images`.
        frame: Which of the file's images this header is of, from 0.
        birth_date: Raw, may be empty; tells persons of one Patient ID apart within this process, and goes no further.
        institution: Raw, may be empty; as `birth_date`.
        identifying: Raw names, numbers and dates of the patient and the study; a column of labels.csv that repeats
            them is not kept. As `birth_date`.
        issuer: Raw Issuer of Patient ID, may be empty: a Patient ID is one person's within its issuer alone. As
            `birth_date`.
        name: Raw, may be empty; as `birth_date`.
        other_ids: Raw; further numbers of the same person. As `birth_date`.
        frame_of_reference_uid: Raw, may be empty: positions of another one are those of another scan.
    """

    sop_class_uid: str
    sop_instance_uid: str = field(repr=False)
    series_instance_uid: str = field(repr=False)
    patient_id: str = field(repr=False)
    modality: str
    transfer_syntax_uid: str
    rows: int
    columns: int
    frames: int
    samples_per_pixel: int
    photometric_interpretation: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    pixel_representation: int
    rescale_slope: float
    rescale_intercept: float
    rescale_stated: bool
    rescale_type: str
    padding: tuple[int, int] | None
    pixel_spacing: tuple[float, float] | None
    spacing_source: str
    image_type: tuple[str, ...] = field(repr=False)
    burned_in_annotation: str
    conversion_type: str
    synthetic_data: bool
    instance_number: int | None
    position: tuple[float, float, float] | None
    orientation: tuple[float, float, float, float, float, float] | None
    slice_location: float | None
    body_part: str = field(repr=False)
    sex: str = field(repr=False)
    age_years: int | None = field(repr=False)
    manufacturer: str = field(repr=False)
    magnetic_field_strength: float | None
    pixel_offset: int
    pixel_length: int | None
    present: tuple[int, ...] = field(default=(), repr=False)
    groups: tuple[FrameGroup, ...] = ()
    frame: int = 0
    birth_date: str = field(default="", repr=False)
    institution: str = field(default="", repr=False)
    identifying: tuple[str, ...] = field(default=(), repr=False)
    issuer: str = field(default="", repr=False)
    name: str = field(default="", repr=False)
    other_ids: tuple[str, ...] = field(default=(), repr=False)
    frame_of_reference_uid: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        for name in ("sop_class_uid", "sop_instance_uid", "series_instance_uid"):
            if not valid_uid(getattr(self, name)):
                raise DicomError("bad UID", f"{name} is missing or malformed")

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """The header from its fields as JSON gives them back (tuples as lists).

        Raises:
            DicomError: A UID is malformed.
            TypeError: The fields are not those of a header.
        """
        groups = tuple(FrameGroup(**_tuples(group)) for group in values.get("groups", ()))
        return cls(**{**_tuples(values), "groups": groups})

    @property
    def image_uid(self) -> str:
        """What tells this image from every other: the SOP Instance UID, and the number of the frame where it needs one.

        Raw, for `InstitutionKey` only.
        """
        return self.sop_instance_uid if self.frames == 1 else f"{self.sop_instance_uid}#{self.frame + 1}"

    @property
    def images(self) -> tuple[Self, ...]:
        """A header for each image of the file, with what its functional groups say."""
        if not self.groups:
            return (self,)
        return tuple(
            replace(self, groups=(), frame=number, **asdict(group)) for number, group in enumerate(self.groups)
        )


@lru_cache(maxsize=4096)
def _one_of_equals(values: tuple[Any, ...], _kinds: tuple[type, ...]) -> tuple[Any, ...]:
    """The files of a series say much the same: their headers share one tuple. 1 and 1.0 stay two."""
    return values


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with lists as tuples; equal texts and tuples are one object, as many files say the same."""
    return {key: _shared(value) for key, value in values.items()}


def _shared(value: Any) -> Any:
    if isinstance(value, str):
        return sys.intern(value)
    if not isinstance(value, list):
        return value
    try:
        return _one_of_equals(tuple(value), tuple(map(type, value)))
    except TypeError:  # a list within: of the groups, which are read apart
        return tuple(value)


SUSPECT = frozenset({"burned-in annotation", "secondary capture", *WITH_TEXT})
"""What `quarantine` says."""


def quarantine(header: Header) -> str | None:
    """Why an image must be looked at by a person before it may be used, or none.

    Text may stand in the pixels: burned-in annotation, secondary captures, screenshots, protocol and dose pages.
    """
    if header.burned_in_annotation == "YES":
        return "burned-in annotation"
    kind = kind_of(header.image_type)
    if kind in WITH_TEXT:
        return kind
    captured = header.sop_class_uid == _SECONDARY_CAPTURE or header.sop_class_uid.startswith(f"{_SECONDARY_CAPTURE}.")
    if captured or header.conversion_type in _CAPTURED:
        return "secondary capture"
    return None
