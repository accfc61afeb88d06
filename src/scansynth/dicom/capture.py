"""Pictures of a result as DICOM: Secondary Capture Image Storage (PS3.3 A.8), marked as research.

Nothing of the source's header is taken over: the picture carries no name, and the table beside it says which file it
was made from.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import UID

from scansynth import __version__
from scansynth.dicom.modules import encode, put_study, text_value
from scansynth.dicom.write import SECONDARY_CAPTURE, Uids
from scansynth.errors import DicomError
from scansynth.files import write_part

RESEARCH_ONLY = "RESEARCH ONLY - not for diagnosis"
"""Stands in the header and in the pixels of every picture of a result."""


@dataclass(frozen=True)
class CaptureFacts:
    """What the file says beside its pixels.

    Attributes:
        uids: Study, series and instance; the frame of reference is not used.
        number: Number of the picture within its series, from 1.
        derivation: How it was made, in one line.
        comment: What it shows, in one line.
        series: Description of the series.
    """

    uids: Uids
    number: int
    derivation: str
    comment: str
    series: str

    def __post_init__(self) -> None:
        if not 0 < self.number <= 2**31 - 1:
            raise DicomError("image number out of range", "count from 1")


def build_capture(picture: npt.NDArray[np.uint8], facts: CaptureFacts) -> Dataset:
    """A picture as a DICOM dataset.

    Args:
        picture: (rows, columns, 3), red, green and blue; `RESEARCH_ONLY` must stand in it.
        facts: What the file says beside the pixels.

    Raises:
        DicomError: The picture has another form.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not 0 < max(picture.shape) <= 65535:
        raise DicomError("not one colour picture", "give uint8 of shape (rows, columns, 3)")
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID(SECONDARY_CAPTURE), UID(facts.uids.instance)
    dataset.Modality, dataset.ConversionType = "OT", "WSD"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    key = hashlib.sha256(facts.uids.study.encode()).hexdigest()[:12].upper()  # a study is of one patient
    dataset.PatientName, dataset.PatientID = "RESEARCH^ONLY", f"RESEARCH-{key}"
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "picture of a result: no attribute of the source was taken over"
    put_study(dataset, facts.uids.study, facts.uids.series, facts.number)
    dataset.PatientOrientation = ""
    dataset.SeriesDescription = text_value(facts.series)
    dataset.Laterality = ""
    dataset.Manufacturer = dataset.SecondaryCaptureDeviceManufacturer = "scansynth"
    dataset.SecondaryCaptureDeviceSoftwareVersions = text_value(__version__)
    dataset.DerivationDescription = text_value(f"{RESEARCH_ONLY}; {facts.derivation}", 1024)
    dataset.ImageComments = text_value(f"{RESEARCH_ONLY}. {facts.comment}", 1024)
    dataset.BurnedInAnnotation = "YES"  # the mark stands in the pixels
    dataset.LossyImageCompression = "00"
    _put_colour(dataset, picture)
    return dataset


def _put_colour(dataset: Dataset, picture: npt.NDArray[np.uint8]) -> None:
    """The Image Pixel Macro (PS3.3 C.7.6.3) for eight bits of red, green and blue, interleaved."""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.Rows, dataset.Columns = picture.shape[:2]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    data = np.ascontiguousarray(picture).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB"


def write_capture(path: Path, picture: npt.NDArray[np.uint8], facts: CaptureFacts) -> None:
    """Writes one picture as DICOM into a folder of `files.new_directory`; see `build_capture`.

    Raises:
        DicomError: The picture has another form.
        StorageError: The file cannot be written.
    """
    write_part(path, encode(build_capture(picture, facts)))
