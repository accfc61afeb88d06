"""The lesion of a synthetic image as DICOM Segmentation (PS3.3 A.51), written by highdicom.

It stands in the study of its image and in a series of its own, with the image's frame of reference where that has one,
and names the image as its source. Like the image it says that it is synthetic.
"""

from __future__ import annotations

from pathlib import Path

import highdicom.seg
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from scansynth.dicom.modules import derive_uid, encode, text_value
from scansynth.dicom.write import SyntheticFacts, build_dataset
from scansynth.errors import DicomError
from scansynth.files import write_part

_SERIES = 2  # the image's is 1


def build_segmentation(image: npt.NDArray[np.uint16], mask: npt.NDArray[np.uint8], facts: SyntheticFacts) -> Dataset:
    """A lesion as a DICOM dataset: one binary segment over one image.

    Args:
        image: uint16 (rows, columns), as the image's file was made from.
        mask: uint8 (rows, columns), 0 or 1; an empty one gives a segment of zeros.
        facts: What the image's file says; the UIDs are derived from its own.

    Raises:
        DicomError: The mask is not of the image's size.
    """
    if mask.shape != image.shape or mask.max(initial=0) > 1:
        raise DicomError("not a mask of the image", "give 0 and 1 in the image's rows and columns")
    source = build_dataset(image, facts)
    source.SliceThickness = "1"  # highdicom wants a number; the image itself states none
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="scansynth", version=text_value(facts.software_version), family=codes.DCM.ArtificialIntelligence
    )
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=text_value(f"synthetic {facts.label}") or "synthetic lesion",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
    )
    made = highdicom.seg.Segmentation(
        source_images=[source],
        pixel_array=mask[None],
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=derive_uid("segmentation series", facts.uids.instance),
        series_number=_SERIES,
        sop_instance_uid=derive_uid("segmentation", facts.uids.instance),
        instance_number=facts.number,
        manufacturer="scansynth",
        manufacturer_model_name="scansynth",
        software_versions=text_value(facts.software_version),
        device_serial_number="none",
        content_label="LESION",
        content_description="lesion of a synthetic image",
        omit_empty_frames=False,
    )
    return _as_synthetic(Dataset(made), source)


def _as_synthetic(made: Dataset, source: Dataset) -> Dataset:
    """The marks of a synthetic object, and nothing that changes from run to run."""
    made.add_new(0x0008001C, "CS", "YES")  # SyntheticData
    if "FrameOfReferenceUID" not in made:
        made.PatientOrientation = ""  # required, and not known, without an orientation in space (PS3.3 C.7.6.1)
    made.ContributingEquipmentSequence = source.ContributingEquipmentSequence
    for keyword in ("PatientIdentityRemoved", "DeidentificationMethod", "SeriesDescription"):
        setattr(made, keyword, source[keyword].value)
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "SeriesDate", "SeriesTime"):
        if keyword in made:
            delattr(made, keyword)
    # the date of the content must be filled, and the image has none: a fixed day gives equal inputs equal bytes
    made.ContentDate, made.ContentTime = "19000101", "000000"
    dimensions = derive_uid("segmentation dimensions", str(made.SOPInstanceUID))
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions
    return made


def write_segmentation(
    path: Path, image: npt.NDArray[np.uint16], mask: npt.NDArray[np.uint8], facts: SyntheticFacts
) -> bytes:
    """Writes a lesion as DICOM into a folder of `files.new_directory`, and gives the bytes back for hashing.

    Raises:
        DicomError: See `build_segmentation`.
        StorageError: The file cannot be written.
    """
    data = encode(build_segmentation(image, mask, facts))
    write_part(path, data)
    return data
