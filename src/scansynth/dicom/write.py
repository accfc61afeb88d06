"""Synthetic images as DICOM: marked as synthetic, tied to the weights that drew them, free of any source attribute.

Sources: PS3.3 C.12.1 (SOP Common: SyntheticData, ContributingEquipmentSequence), A.3 (CT), A.4 (MR),
A.8.1 (Secondary Capture), C.7.1.1 (Patient), C.8.3.1 (MR Image), C.8.2.1 (CT Image); PS3.16 CID 7005.
"""

from __future__ import annotations

import datetime
import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from scansynth import __version__
from scansynth.dicom.modules import (
    RASTER,
    code,
    decimal,
    derive_uid,
    encode,
    put_mr_acquisition,
    put_pixels,
    put_plane,
    put_study,
    text_value,
)
from scansynth.errors import DicomError
from scansynth.files import write_part

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_STORAGE_CLASSES = {"MR": MR_IMAGE_STORAGE, "CT": CT_IMAGE_STORAGE}

INSIDE = "only the lesion is synthetic: the rest is the scan of a patient, for use inside the house only"
"""What an image says into which a lesion was put."""

_FULL = 65535  # largest stored value of the cohort's tensors
_LEVELS = 4095  # largest unsigned value of 12 bits
_FEW = 255  # fewer grey levels than this would show
_UID = re.compile(r"2\.25\.(0|[1-9][0-9]{0,38})")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def storage_class(modality: str, plane: str) -> str:
    """Storage class of a synthetic image: that of its sources, or Secondary Capture.

    MR and CT images must say their plane (Image Orientation (Patient) is of type 1, PS3.3 C.7.6.2). Where the cohort
    does not know it, or has several, a Secondary Capture claims none.

    Args:
        modality: Of the sources.
        plane: axial, coronal or sagittal; empty: not known.
    """
    return _STORAGE_CLASSES.get(modality, SECONDARY_CAPTURE) if plane else SECONDARY_CAPTURE


@dataclass(frozen=True)
class Uids:
    """Where an image stands in DICOM's model of the real world (PS3.3 A.1.2, 7.2); each is a `2.25.` UID.

    A study is of one patient, and a series has one frame of reference (PS3.3 C.7.4.1.1.1). Each synthetic image is a
    patient of its own, so it has a study, a series and a frame of reference of its own; see `image_uids`.
    """

    study: str
    series: str
    instance: str
    frame_of_reference: str

    def __post_init__(self) -> None:
        if not all(_UID.fullmatch(uid) for uid in (self.study, self.series, self.instance, self.frame_of_reference)):
            raise DicomError("not a 2.25 UID", "make UIDs of synthetic images with derive_uid")


def image_uids(weights_sha256: str, seed: int, index: int) -> Uids:
    """The UIDs of one image of a set, from what drew it: the same set has the same UIDs again.

    Args:
        weights_sha256: Of the generator's weight file.
        seed: Of the set.
        index: Of the image within the set.
    """
    study, series, instance, frame = (
        derive_uid(kind, weights_sha256, seed, index) for kind in ("study", "series", "instance", "frame of reference")
    )
    return Uids(study, series, instance, frame)


@dataclass(frozen=True)
class SyntheticFacts:
    """What a synthetic image's file says beside its pixels.

    Attributes:
        modality: Modality of the sources, for example MR or CT.
        sop_class_uid: See `storage_class`.
        low: Source units that stand for 0 of the tensor (Hounsfield units for CT).
        high: Source units that stand for 65535 of the tensor.
        spacing: Millimetres between rows, and between columns.
        label: The class that the generator was asked for.
        weights_sha256: SHA-256 of the generator's weight file, 64 hexadecimal digits.
        uids: Study, series, instance and frame of reference.
        number: Number of the image within its set, from 1.
        plane: axial, coronal or sagittal, in the raster orientation of `modules.RASTER`; empty: not known.
        body_part: BodyPartExamined (PS3.16 annex L), for example CHEST; empty: not stated.
        software_version: Version of the program that drew the image.
        created: Date and time to state; none: neither is written, and equal inputs give equal bytes.
        inserted: Only the lesion is synthetic, and the rest is the scan of a patient.
    """

    modality: str
    sop_class_uid: str
    low: float
    high: float
    spacing: tuple[float, float]
    label: str
    weights_sha256: str
    uids: Uids
    number: int
    plane: str
    body_part: str = ""
    software_version: str = __version__
    created: datetime.datetime | None = None
    inserted: bool = False

    def __post_init__(self) -> None:
        if self.plane and self.plane not in RASTER:
            raise DicomError("unknown plane", "give axial, coronal or sagittal, or nothing")
        if self.sop_class_uid != storage_class(self.modality, self.plane):
            raise DicomError("wrong storage class", f"a synthetic {self.modality} image is not stored in this class")
        if not _SHA256.fullmatch(self.weights_sha256):
            raise DicomError("no weights named", "give the SHA-256 of the generator's weight file, 64 digits")
        if min(self.spacing) <= 0 or not all(math.isfinite(step) for step in self.spacing):
            raise DicomError("no pixel spacing", "give millimetres above 0")
        if not 0 < self.number <= 2**31 - 1:
            raise DicomError("image number out of range", "count from 1")
        PixelScale.choose(self.modality, self.low, self.high)


@dataclass(frozen=True)
class PixelScale:
    """How tensor values become stored pixels: units = stored * slope + intercept (PS3.3 C.11.1.1.2)."""

    low: float
    high: float
    slope: float
    intercept: float
    bits: int
    signed: bool

    @classmethod
    def choose(cls, modality: str, low: float, high: float) -> PixelScale:
        """The scale for a modality and its range of units.

        CT keeps whole Hounsfield units in signed 16 bits. Others get unsigned 12 bits: whole source units, as
        the sources themselves have, where `low` to `high` fits and leaves 256 levels or more; else 4096 levels
        over the range, with a rescale slope and intercept.

        Raises:
            DicomError: The range is empty, not finite, or does not fit the pixel type.
        """
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise DicomError("no range of values", "low must lie below high")
        if modality == "CT":
            if low < -(2**15) or high > 2**15 - 1:
                raise DicomError("range does not fit 16 bits", "give Hounsfield units for CT")
            return cls(low, high, 1.0, 0.0, 16, True)
        if low >= 0 and high <= _LEVELS and high - low >= _FEW:
            return cls(low, high, 1.0, 0.0, 12, False)
        # rounded to what a Decimal String of 16 characters holds, so that a reader computes with the same numbers
        return cls(low, high, float(f"{(high - low) / _LEVELS:.9e}"), float(f"{low:.8e}"), 12, False)

    @property
    def unit(self) -> bool:
        """Whether stored values are the units themselves."""
        return self.slope == 1.0 and self.intercept == 0.0


def to_pixels(image: npt.NDArray[np.uint16], scale: PixelScale) -> npt.NDArray[np.int16] | npt.NDArray[np.uint16]:
    """Tensor values 0..65535 as stored pixels, rounded to the nearest.

    Args:
        image: uint16, any shape; 0 stands for `scale.low`, 65535 for `scale.high`.
        scale: From `PixelScale.choose`.
    """
    units = scale.low + image.astype(np.float64) * ((scale.high - scale.low) / _FULL)
    stored = np.rint((units - scale.intercept) / scale.slope)
    if scale.signed:
        return stored.astype(np.int16)
    return np.clip(stored, 0, 2**scale.bits - 1).astype(np.uint16)


def from_pixels(stored: npt.NDArray[np.int16] | npt.NDArray[np.uint16], scale: PixelScale) -> npt.NDArray[np.uint16]:
    """Stored pixels as tensor values 0..65535; `to_pixels` of the result gives `stored` again, exactly."""
    units = stored.astype(np.float64) * scale.slope + scale.intercept
    values = np.rint((units - scale.low) * (_FULL / (scale.high - scale.low)))
    return np.clip(values, 0, _FULL).astype(np.uint16)


def as_written(image: npt.NDArray[np.uint16], facts: SyntheticFacts) -> npt.NDArray[np.uint16]:
    """Tensor values 0..65535 as the file of the image will show them: on the grey levels that the file can hold.

    `to_pixels` of the result loses nothing, so an image set of such values and its DICOM files say the same.
    """
    scale = PixelScale.choose(facts.modality, facts.low, facts.high)
    return from_pixels(to_pixels(image, scale), scale)


def _put_origin(dataset: Dataset, facts: SyntheticFacts) -> None:
    """That the image is synthetic, and what drew it (PS3.3 C.12.1)."""
    dataset.add_new(0x0008001C, "CS", "YES")  # SyntheticData
    dataset.Manufacturer = dataset.ManufacturerModelName = "scansynth"
    dataset.SoftwareVersions = text_value(facts.software_version)
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = Sequence([code("109100", "DCM", "Synthesizing Equipment")])
    item.Manufacturer = item.ManufacturerModelName = "scansynth"
    item.SoftwareVersions = text_value(facts.software_version)
    item.ContributionDescription = f"drawn by a trained generator, weights SHA-256 {facts.weights_sha256}"
    dataset.ContributingEquipmentSequence = Sequence([item])
    what = "synthetic lesion in the scan of a patient" if facts.inserted else "synthetic image"
    dataset.DerivationDescription = f"{what}; generator weights SHA-256 {facts.weights_sha256}"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = (
        "de-identified scan of a patient; only the lesion is synthetic"
        if facts.inserted
        else "synthetic image: no patient was scanned"
    )
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    if facts.created is not None:
        dataset.InstanceCreationDate = facts.created.strftime("%Y%m%d")
        dataset.InstanceCreationTime = facts.created.strftime("%H%M%S")


def build_dataset(image: npt.NDArray[np.uint16], facts: SyntheticFacts) -> Dataset:
    """A synthetic image as a DICOM dataset.

    Args:
        image: uint16 of shape (rows, columns) on the cohort's scale, 0 is `facts.low`, 65535 is `facts.high`.
        facts: What the file says beside the pixels.

    Raises:
        DicomError: The image is not two-dimensional uint16 of 1 to 65535 pixels a side.
    """
    if image.dtype != np.uint16 or image.ndim != 2 or not 0 < min(image.shape) <= max(image.shape) <= _FULL:
        raise DicomError("not one grey image", "give uint16 of shape (rows, columns)")
    scale = PixelScale.choose(facts.modality, facts.low, facts.high)
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID(facts.sop_class_uid), UID(facts.uids.instance)
    dataset.Modality = facts.modality
    key = hashlib.sha256(facts.uids.study.encode()).hexdigest()[:12].upper()
    name = "SYNTHETIC LESION" if facts.inserted else "SYNTHETIC"
    dataset.PatientName, dataset.PatientID = f"{name}^{key}", f"SYN-{key}"
    dataset.PatientBirthDate = dataset.PatientSex = ""
    put_study(dataset, facts.uids.study, facts.uids.series, facts.number)
    dataset.SeriesDescription = text_value(f"synthetic {facts.label}{' in the scan of a patient' * facts.inserted}")
    dataset.ImageComments = INSIDE if facts.inserted else "synthetic image, not a patient"
    _put_origin(dataset, facts)
    _put_modality(dataset, facts, scale)
    put_pixels(dataset, to_pixels(image, scale), scale.bits)
    dataset.WindowCenter = decimal((facts.low + facts.high) / 2)
    dataset.WindowWidth = decimal(max(facts.high - facts.low, 1.0))
    return dataset


def _put_modality(dataset: Dataset, facts: SyntheticFacts, scale: PixelScale) -> None:
    """What the storage class wants: image type, plane, acquisition, rescale."""
    if facts.body_part:
        dataset.BodyPartExamined = text_value(facts.body_part.upper(), 16)
    else:
        dataset.ImageLaterality = "U"  # a validator wants Laterality where the body part is not stated
    image_type = ["DERIVED", "SECONDARY"]
    if facts.sop_class_uid == SECONDARY_CAPTURE:
        dataset.ConversionType = "WSD"
        dataset.PixelSpacing = [decimal(step) for step in facts.spacing]
    else:
        image_type.append("OTHER" if facts.modality == "MR" else "AXIAL")
        put_plane(dataset, facts.spacing, (0.0, 0.0, 0.0), facts.plane)
        dataset.FrameOfReferenceUID = facts.uids.frame_of_reference
        dataset.SliceThickness = dataset.PatientPosition = ""
    if facts.sop_class_uid == MR_IMAGE_STORAGE:
        put_mr_acquisition(dataset, "RM", "NONE", None, None)
    if facts.sop_class_uid == CT_IMAGE_STORAGE:
        dataset.KVP = ""
    if facts.modality == "CT" or not scale.unit:
        dataset.RescaleSlope, dataset.RescaleIntercept = decimal(scale.slope), decimal(scale.intercept)
        dataset.RescaleType = "HU" if facts.modality == "CT" else "US"
    dataset.ImageType = image_type


def write_synthetic(path: Path, image: npt.NDArray[np.uint16], facts: SyntheticFacts) -> bytes:
    """Writes one synthetic image as DICOM and gives the bytes back for hashing.

    Args:
        path: The file, in a folder of `files.new_directory`: the set is whole or not there at all.
        image: uint16 of shape (rows, columns) on the cohort's scale, 0..65535.
        facts: What the file says beside the pixels.

    Raises:
        DicomError: The image is not one grey image.
        StorageError: The file cannot be written.
    """
    data = encode(build_dataset(image, facts))
    write_part(path, data)
    return data
