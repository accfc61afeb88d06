"""Phantom images as an archive would hand them over: MR Image Storage, marked as a phantom (PS3.3 A.4)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from scansynth import __version__
from scansynth.dicom.modules import decimal, encode, put_mr_acquisition, put_pixels, put_plane, put_study
from scansynth.dicom.write import MR_IMAGE_STORAGE
from scansynth.errors import DicomError

_PROTON_MHZ_PER_TESLA = 42.577  # gyromagnetic ratio of hydrogen over 2 pi
_BITS = 12


@dataclass(frozen=True)
class PhantomFacts:
    """What a phantom image's file says beside its pixels.

    Attributes:
        patient: Number of the phantom patient, from 1.
        sex: F or M.
        age: Years.
        manufacturer: Maker of the imagined scanner.
        model: Its model.
        field_strength: Tesla.
        study_uid: UID of the study.
        series_uid: UID of the series; the slices of one patient share it.
        instance_uid: UID of this image.
        frame_uid: UID of the frame of reference that the slices share.
        number: Number of the slice within the series, from 1.
        position: Height of the slice, millimetres toward the head.
        thickness: Millimetres.
        spacing: Millimetres between pixels, both ways.
        echo_ms: Echo time.
        repeat_ms: Repetition time.
        phase_direction: Direction of phase encoding in the image, ROW or COL.
    """

    patient: int
    sex: str
    age: int
    manufacturer: str
    model: str
    field_strength: float
    study_uid: str
    series_uid: str
    instance_uid: str
    frame_uid: str
    number: int
    position: float
    thickness: float
    spacing: float
    echo_ms: float
    repeat_ms: float
    phase_direction: str

    def __post_init__(self) -> None:
        if self.sex not in {"F", "M"} or not 0 <= self.age <= 130:
            raise DicomError("phantom facts out of range", "sex is F or M, age 0 to 130 years")


def _put_patient(dataset: Dataset, facts: PhantomFacts) -> None:
    """The Patient, Patient Study and Equipment modules (PS3.3 C.7.1.1, C.7.2.2, C.7.5.1)."""
    dataset.PatientName = f"PHANTOM^{facts.patient:04d}"
    dataset.PatientID = f"PHANTOM-{facts.patient:04d}"
    dataset.PatientBirthDate, dataset.PatientSex = "", facts.sex
    dataset.PatientAge = f"{facts.age:03d}Y"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "computed phantom: no patient was scanned"
    dataset.Manufacturer, dataset.ManufacturerModelName = facts.manufacturer, facts.model
    dataset.SoftwareVersions = f"scansynth {__version__}"


def phantom_dataset(pixels: npt.NDArray[np.uint16], facts: PhantomFacts) -> Dataset:
    """A phantom image as a DICOM dataset.

    Args:
        pixels: uint16 of shape (rows, columns), values of 12 bits.
        facts: What the file says beside the pixels.

    Raises:
        DicomError: The pixels are not one grey image of 12 bits.
    """
    if pixels.dtype != np.uint16 or pixels.ndim != 2 or pixels.max(initial=0) >= 2**_BITS:
        raise DicomError("not one grey image of 12 bits", "give uint16 of shape (rows, columns), below 4096")
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.SOPClassUID, dataset.SOPInstanceUID = MR_IMAGE_STORAGE, facts.instance_uid
    dataset.Modality, dataset.BodyPartExamined = "MR", "CHEST"
    _put_patient(dataset, facts)
    put_study(dataset, facts.study_uid, facts.series_uid, facts.number)
    dataset.StudyDescription = "PHANTOM chest"
    dataset.SeriesDescription = "PHANTOM T1 axial"
    dataset.ImageComments = "computed phantom, not a patient"
    put_mr_acquisition(dataset, "GR", "SP", facts.echo_ms, facts.repeat_ms)
    dataset.SequenceName = "phantom_gre2d"
    dataset.MagneticFieldStrength = decimal(facts.field_strength)
    dataset.ImagingFrequency = decimal(round(facts.field_strength * _PROTON_MHZ_PER_TESLA, 4))
    dataset.ImagedNucleus, dataset.FlipAngle = "1H", "12"
    dataset.InPlanePhaseEncodingDirection, dataset.PatientPosition = facts.phase_direction, "HFS"
    dataset.SliceThickness = decimal(facts.thickness)
    rows, columns = pixels.shape
    # the corner is the centre of the first pixel; the field of view is centred on the body (PS3.3 C.7.6.2.1.1)
    corner = (-facts.spacing * (columns - 1) / 2, -facts.spacing * (rows - 1) / 2, facts.position)
    put_plane(dataset, (facts.spacing, facts.spacing), corner, "axial")
    dataset.FrameOfReferenceUID, dataset.SliceLocation = facts.frame_uid, decimal(facts.position)
    put_pixels(dataset, pixels, _BITS)
    high = max(float(np.percentile(pixels, 99.5)), 1.0)
    dataset.WindowCenter, dataset.WindowWidth = decimal(round(high / 2)), decimal(max(round(high), 1))
    return dataset


def write_phantom(path: Path, pixels: npt.NDArray[np.uint16], facts: PhantomFacts) -> None:
    """Writes one phantom image as DICOM; the caller owns the folder and its atomicity.

    Args:
        path: The file; its folder exists.
        pixels: uint16 of shape (rows, columns), values of 12 bits.
        facts: What the file says beside the pixels.

    Raises:
        DicomError: The pixels are not one grey image of 12 bits.
    """
    path.write_bytes(encode(phantom_dataset(pixels, facts)))
