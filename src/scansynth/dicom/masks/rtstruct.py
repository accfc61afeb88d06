"""A lesion as contours of an RT Structure Set (PS3.3 A.19, C.8.8.6)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset

from scansynth.dicom.masks.target import Floats, Mask, Named, Target, check_frame, choose, fill_polygon
from scansynth.errors import DicomError

_APART = 0.2  # mm between a contour and the plane of the image that it was drawn on
_XOR = frozenset({"CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR"})  # the standard's word, and what some write
_CLOSED = frozenset({"CLOSED_PLANAR", *_XOR})
_CORNERS = 3


def read_rtstruct(path: Path, target: Target, part: str | None) -> Mask:
    """Pixels whose centres lie within the contours of a structure on the image.

    Contours that name the image belong to it; those that name no image, or its file and not which image of that, belong
    to it where they lie in its plane, unless the structure is of another frame of reference. A contour that lies wholly
    within what the larger ones of its structure cover is a hole, as planning systems draw them; contours that overlap
    add up, and one that is there twice counts once. Those of kind CLOSEDPLANAR_XOR exclude each other
    (PS3.3 C.8.8.6.3).

    Raises:
        DicomError: No structure or several are meant, or the image does not say where it lies.
    """
    contours = _open(path, path.stat().st_mtime_ns)
    chosen = choose(contours.names, part)
    mask = np.zeros(target.shape, np.bool_)
    for number in sorted(chosen):
        drawn = []
        for images, points, exclusive in contours.of.get(number, []):
            named = target.named_by(images)
            if images and named not in {Named.THIS, Named.FILE}:
                continue
            pixels, distance = target.project(points)
            if named is Named.THIS or distance.max() <= _APART:
                check_frame(contours.frames.get(number, ""), target, named is Named.THIS)
                drawn.append((fill_polygon(pixels, target.shape), exclusive))
        mask |= _structure(drawn, target.shape)
    return mask.astype(np.uint8)


def _structure(drawn: list[tuple[npt.NDArray[np.bool_], bool]], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Filled contours of one structure as one area, the largest first."""
    structure = np.zeros(shape, np.bool_)
    done: list[npt.NDArray[np.bool_]] = []
    for filled, exclusive in sorted(drawn, key=lambda one: -int(one[0].sum())):
        if exclusive or not structure[filled].all():
            structure = structure ^ filled if exclusive else structure | filled
        elif not any(np.array_equal(filled, other) for other in done):
            structure &= ~filled
        done.append(filled)
    return structure


class _Contours:
    """The structures of a file: name of each, and its closed contours with the images that they name."""

    def __init__(self, dataset: Dataset) -> None:
        self.names = {int(item.ROINumber): str(item.get("ROIName", "")) for item in dataset.StructureSetROISequence}
        self.frames = {
            int(item.ROINumber): str(item.get("ReferencedFrameOfReferenceUID", ""))
            for item in dataset.StructureSetROISequence
        }
        self.of: dict[int, list[tuple[tuple[Dataset, ...], Floats, bool]]] = {}
        for item in dataset.ROIContourSequence:
            self.of[int(item.ReferencedROINumber)] = [
                (
                    tuple(contour.get("ContourImageSequence", [])),
                    _points(contour),
                    contour.ContourGeometricType in _XOR,
                )
                for contour in item.get("ContourSequence", [])
                if contour.get("ContourGeometricType") in _CLOSED and len(contour.ContourData) >= 3 * _CORNERS
            ]
        self.names = {number: name for number, name in self.names.items() if self.of.get(number)} or self.names


@lru_cache(maxsize=2)
def _open(path: Path, _changed: int) -> _Contours:
    try:
        return _Contours(pydicom.dcmread(path, force=True))
    except MemoryError:
        raise
    except Exception as fault:  # its words may quote the file
        raise DicomError("no readable structure set", type(fault).__name__) from None


def _points(contour: Dataset) -> Floats:
    return np.array([float(value) for value in contour.ContourData]).reshape(-1, 3)
