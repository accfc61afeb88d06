"""A lesion mask as DICOM Segmentation (PS3.3 A.51), read by highdicom and laid on an image by where both lie."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from scansynth.dicom.masks.target import Floats, Mask, Named, Target, check_frame, check_size, choose, need_single
from scansynth.errors import DicomError

_APART = 0.1  # mm between the planes of a frame and of an image that are one, where the frame names no thickness


def read_seg(path: Path, target: Target, part: str | None) -> Mask:
    """The union of the frames of a segment that belong to the image.

    Frames that name the image as their source belong to it; where none does, those that lie in its plane, unless they
    name other images of its file. Each is
    laid on the image by its own position, orientation and spacing; without those it must have the image's size.

    Raises:
        DicomError: No segment or several are meant, or the frames and the image cannot be brought together.
    """
    seg = _open(path, path.stat().st_mtime_ns)
    chosen = _segments(seg, part)
    mask = np.zeros(target.shape, np.uint8)
    for number in _frames_of(seg, target, chosen):
        mask |= _laid(seg, number, target, chosen)
    return mask


@lru_cache(maxsize=2)
def _open(path: Path, _changed: int) -> Any:
    import highdicom.seg  # noqa: PLC0415 - takes a second, and only files of this kind need it

    try:
        return highdicom.seg.segread(path)
    except MemoryError:
        raise
    except Exception as fault:  # its words may quote the file
        raise DicomError("no readable segmentation", type(fault).__name__) from None


def _segments(seg: Dataset, part: str | None) -> frozenset[int]:
    described = [item for item in seg.SegmentSequence if int(item.SegmentNumber) > 0]
    kinds = {
        (str(code.get("CodeValue", "")), str(code.get("CodingSchemeDesignator", "")))
        for item in described
        for code in item.get("SegmentedPropertyTypeCodeSequence", [])
    }
    names = {int(item.SegmentNumber): str(item.get("SegmentLabel", "")) for item in described}
    return choose(names, part, len(kinds) if kinds else None)


def _frames_of(seg: Dataset, target: Target, chosen: frozenset[int]) -> list[int]:
    """Numbers of the frames that belong to an image, from 0."""
    groups = seg.PerFrameFunctionalGroupsSequence
    wanted = [
        number for number, group in enumerate(groups)
        if _segment_of(group) is None or _segment_of(group) in chosen
    ]  # fmt: skip
    said = {number: target.named_by(_sources(seg, number)) for number in wanted}
    named = [number for number in wanted if said[number] is Named.THIS]
    if named or Named.OTHER_FRAME in said.values():
        return named
    found = []
    check_frame(str(seg.get("FrameOfReferenceUID", "")), target, named=False)
    for number in wanted:
        corner, across, down = _frame(seg, number) or (None, None, None)
        if corner is None or across is None or down is None or not target.placed:
            if said[number] is Named.FILE:
                need_single(target, "a frame of the segmentation")
            continue
        _, distance = target.project(np.stack([corner, corner + across, corner + down]))
        if distance.max() <= max(_thickness(seg, number) / 2, _APART):
            found.append(number)
    return found


def _segment_of(group: Dataset) -> int | None:
    """The segment that a frame shows; none for a label map, whose frames show all of them."""
    sequence = group.get("SegmentIdentificationSequence")
    return int(sequence[0].ReferencedSegmentNumber) if sequence else None


def _sources(seg: Dataset, number: int) -> list[Dataset]:
    """References to what a frame was derived from (PS3.3 C.7.6.16.2.6)."""
    items = seg.PerFrameFunctionalGroupsSequence[number].get("DerivationImageSequence", [])
    return [source for item in items for source in item.get("SourceImageSequence", [])]


def _macro(seg: Dataset, number: int, keyword: str) -> Dataset | None:
    """A functional group of one frame, or of all."""
    for group in (seg.PerFrameFunctionalGroupsSequence[number], seg.SharedFunctionalGroupsSequence[0]):
        sequence = group.get(keyword)
        if sequence:
            item: Dataset = sequence[0]
            return item
    return None


def _frame(seg: Dataset, number: int) -> tuple[Floats, Floats, Floats] | None:
    """Corner and steps of a frame in mm, as `Target.grid`; none when it does not say."""
    where = _macro(seg, number, "PlanePositionSequence")
    way = _macro(seg, number, "PlaneOrientationSequence")
    size = _macro(seg, number, "PixelMeasuresSequence")
    if where is None or way is None or size is None or "PixelSpacing" not in size:
        return None
    cosines = np.array([float(value) for value in way.ImageOrientationPatient])
    rows, columns = (float(value) for value in size.PixelSpacing)
    corner = np.array([float(value) for value in where.ImagePositionPatient])
    return corner, cosines[:3] * columns, cosines[3:] * rows


def _thickness(seg: Dataset, number: int) -> float:
    size = _macro(seg, number, "PixelMeasuresSequence")
    return 0.0 if size is None else float(size.get("SpacingBetweenSlices") or size.get("SliceThickness") or 0.0)


def _laid(seg: Any, number: int, target: Target, chosen: frozenset[int]) -> Mask:
    """A frame on the image's grid: the pixel of the frame that is nearest to each pixel of the image."""
    stored = np.asarray(seg.get_stored_frame(number + 1))
    if str(seg.SegmentationType) == "FRACTIONAL":
        lesion = stored >= int(seg.MaximumFractionalValue) / 2
    elif _segment_of(seg.PerFrameFunctionalGroupsSequence[number]) is None:
        lesion = np.isin(stored, sorted(chosen))
    else:
        lesion = stored > 0
    frame = _frame(seg, number)
    if frame is None or not target.placed:
        check_size((stored.shape[0], stored.shape[1]), target)
        return lesion.astype(np.uint8)
    corner, across, down = frame
    away = target.points() - corner
    column = np.floor(away @ across / (across @ across) + 0.5).astype(int)
    row = np.floor(away @ down / (down @ down) + 0.5).astype(int)
    within = (row >= 0) & (row < stored.shape[0]) & (column >= 0) & (column < stored.shape[1])
    mask = np.zeros(target.shape, np.uint8)
    mask[within] = lesion[row[within], column[within]]
    return mask
