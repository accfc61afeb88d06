"""Enhanced multi-frame files: what the functional groups say of each image (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from scansynth.dicom import attributes as attr
from scansynth.dicom.header import FrameGroup
from scansynth.errors import DicomError

ENHANCED = frozenset(f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2.1", "2.2", "4.1", "4.4", "130", "128.1"))
"""Enhanced CT, MR and PET Image Storage, and their legacy converted forms: each frame is one slice."""

MOST_FRAMES = 1 << 13

_MACROS = {
    "PixelMeasuresSequence": ("PixelSpacing",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "CTImageFrameTypeSequence": ("FrameType", "VolumeBasedCalculationTechnique"),
    "MRImageFrameTypeSequence": ("FrameType", "VolumeBasedCalculationTechnique"),
    "PETFrameTypeSequence": ("FrameType", "VolumeBasedCalculationTechnique"),
}
"""Functional group macros that are read, each with its attributes; all others are passed over."""

_OF_WHOLE = (
    "Modality", "ImageType", "PatientOrientation", "PixelSpacing", "ImageOrientationPatient",
    "RescaleSlope", "RescaleIntercept", "RescaleType",
)  # fmt: skip
"""What holds for every frame where its groups do not say it: converters leave some of it outside of them."""


def frame_groups(dataset: Dataset, whole: Dataset, frames: int) -> tuple[FrameGroup, ...]:
    """What is said of each frame: by its own functional groups, else by the shared ones, else by the whole file.

    Args:
        dataset: Holds the two sequences of functional groups.
        whole: The whitelisted attributes of the file.
        frames: Number of Frames.

    Raises:
        DicomError: The groups are missing, or are not as many as there are frames.
    """
    own = _items(dataset, attr.PER_FRAME_FUNCTIONAL_GROUPS)
    shared = _items(dataset, attr.SHARED_FUNCTIONAL_GROUPS)
    if len(own) != frames or len(shared) > 1:
        raise DicomError("bad header", "the functional groups are not as many as the frames")
    return tuple(attr.frame_group(_flat([whole, *shared, group])) for group in own)


def _items(dataset: Dataset, tag: BaseTag) -> Sequence[Dataset]:
    element = dataset.get(tag)
    return () if element is None or element.value is None else element.value


def _flat(sources: Sequence[Dataset]) -> Dataset:
    """The attributes of the macros as a file of one image would have them; later sources go before earlier ones."""
    whole, *groups = sources
    flat = Dataset()
    for keyword in _OF_WHOLE:
        if keyword in whole:
            flat[keyword] = whole[keyword]
    for group in groups:
        for macro, keywords in _MACROS.items():
            if macro not in group or not group[macro].value:
                continue
            item = group[macro].value[0]
            for keyword in keywords:
                if keyword in item:
                    setattr(flat, "ImageType" if keyword == "FrameType" else keyword, item[keyword].value)
    return flat
