"""The image that a mask is laid on, and what several readers of masks share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from scansynth.errors import DicomError

Mask = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

ALL = "all"
"""What the column mask_part says when every part of a file is lesion."""


class Named(Enum):
    """What references say of an image."""

    THIS = "this image"
    OTHER_FRAME = "another image of its file"
    FILE = "its file, and not which image of it"
    NOT = "other files, or none"


@dataclass(frozen=True)
class Target:
    """One source image as stored: a mask is turned, cropped and resized with its image later.

    Attributes:
        rows: Pixels.
        columns: Pixels.
        name: Its path relative to the DICOM folder; COCO names images by files.
        sop_instance_uid: SEG, RTSTRUCT and LIDC name images by this.
        position: Centre of the first pixel in the patient, mm (PS3.3 C.7.6.2.1.1), or none.
        orientation: Cosines along a row and down a column, or none.
        spacing: mm between rows, and between columns, or none.
        frame_of_reference_uid: Of its position; empty: not said.
        frame: Which image of a multi-frame file it is, from 1 as DICOM counts; 0: the file has one.
    """

    rows: int
    columns: int
    name: str
    sop_instance_uid: str
    position: tuple[float, float, float] | None
    orientation: tuple[float, float, float, float, float, float] | None
    spacing: tuple[float, float] | None
    frame: int = 0
    frame_of_reference_uid: str = ""

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """The target from its fields as JSON gives them back (tuples as lists)."""
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**fields)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.rows, self.columns

    @property
    def placed(self) -> bool:
        """The image says where it lies in the patient."""
        return self.position is not None and self.orientation is not None and self.spacing is not None

    def grid(self) -> tuple[Floats, Floats, Floats]:
        """Corner, step along a row and step down a column, each (3,) in mm of the patient (PS3.3 equation C.7.6.2.1-1).

        Raises:
            DicomError: The image does not say where it lies.
        """
        if self.position is None or self.orientation is None or self.spacing is None:
            raise DicomError("the image does not say where it lies", "give the mask as PNG on the image's grid")
        cosines = np.array(self.orientation)
        return np.array(self.position), cosines[:3] * self.spacing[1], cosines[3:] * self.spacing[0]

    def named_by(self, references: Iterable[Dataset]) -> Named:
        """What items of a Source Image or Contour Image Sequence say of this image (PS3.3 10.3, table 10-3)."""
        own = [item for item in references if str(item.ReferencedSOPInstanceUID) == self.sop_instance_uid]
        frames = [item.get("ReferencedFrameNumber") for item in own]
        if not own:
            return Named.NOT
        if not self.frame or any(self.frame in _numbers(said) for said in frames if said is not None):
            return Named.THIS
        # no number means all frames, which a lesion drawn on one of them cannot mean
        return Named.FILE if any(said is None for said in frames) else Named.OTHER_FRAME

    def points(self) -> Floats:
        """Centre of every pixel in the patient, mm, (rows, columns, 3)."""
        corner, across, down = self.grid()
        row, column = np.mgrid[: self.rows, : self.columns]
        return np.asarray(corner + column[..., None] * across + row[..., None] * down)

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Column and row of points (n, 3) in mm, as (n, 2); and their distance from the image's plane, mm, (n,)."""
        corner, across, down = self.grid()
        away = points - corner
        columns, rows = away @ across / (across @ across), away @ down / (down @ down)
        normal = np.cross(across, down)
        return np.stack([columns, rows], axis=1), np.abs(away @ (normal / np.linalg.norm(normal)))


def _numbers(said: Any) -> set[int]:
    return {int(one) for one in (said if isinstance(said, MultiValue | list | tuple) else [said])}


def need_single(target: Target, kind: str) -> None:
    """Passes when the image is the only one of its file: a kind of mask cannot say which one it means.

    Raises:
        DicomError: The file has several.
    """
    if target.frame:
        raise DicomError(
            "no image of the file named",
            f"{kind} does not say which image of a multi-frame file it means; give DICOM SEG, RTSTRUCT or NIfTI",
        )


def check_frame(uid: str, target: Target, named: bool) -> None:
    """Passes when positions of a frame of reference are the image's (PS3.3 C.7.4.1.1.1), or the image is named.

    Raises:
        DicomError: They are of another scan.
    """
    own = target.frame_of_reference_uid
    if not named and uid and own and uid != own:
        raise DicomError(
            "another frame of reference", "it was drawn on another scan, and names no image; give the mask of this one"
        )


def check_size(shape: tuple[int, int], target: Target) -> None:
    """Passes when a mask is of the image's size.

    Raises:
        DicomError: It is of another.
    """
    if shape != target.shape:
        raise DicomError(
            "other size",
            f"it has {shape[0]} x {shape[1]} pixels and the image {target.rows} x {target.columns}; make it on the "
            "source image's grid",
        )


def choose(names: Mapping[int, str], wanted: str | None, kinds: int | None = None) -> frozenset[int]:
    """Which parts of a file are the lesion.

    Args:
        names: Name of each part, by its number.
        wanted: A name or a number, `ALL`, or none: the only one.
        kinds: How many different things the parts are; none: as many as there are names.

    Raises:
        DicomError: There is no such part, or there are several and none is named.
    """
    if wanted is None:
        if (len(set(names.values())) if kinds is None else kinds) > 1:
            raise DicomError("several parts", "name the one that is the lesion in a column mask_part, or write all")
        return frozenset(names)
    if wanted.casefold() == ALL:
        return frozenset(names)
    found = frozenset(
        number for number, name in names.items() if wanted.casefold() in {name.strip().casefold(), str(number)}
    )
    if not found:
        raise DicomError("no such part", "mask_part names none of the parts of the file; correct it")
    return found


def fill_polygon(corners: Floats, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Pixels whose centres lie within a polygon, by the even-odd rule.

    Args:
        corners: (n, 2), column and row; the centre of the first pixel is (0, 0).
        shape: (rows, columns) of the result.
    """
    inside = np.zeros(shape, np.bool_)
    ends = np.stack([corners, np.roll(corners, -1, axis=0)])
    # an edge that is drawn forth and back, as the cut of a keyhole to its hole, must cross a row at one place
    upward = ends[0, :, 1] <= ends[1, :, 1]
    (x0, y0), (x1, y1) = (one.T for one in np.where(upward[:, None], ends, ends[::-1]))
    first, last = max(int(np.ceil(y0.min())), 0), min(int(np.floor(y1.max())), shape[0] - 1)
    for row in range(first, last + 1):
        crossed = (y0 <= row) != (y1 <= row)
        edges = np.sort(x0[crossed] + (row - y0[crossed]) * (x1 - x0)[crossed] / (y1 - y0)[crossed])
        starts = np.clip(np.ceil(edges), 0, shape[1]).astype(int)
        for left, right in zip(starts[::2], starts[1::2], strict=True):
            inside[row, left:right] ^= True
    return inside


def sample(values: npt.NDArray[Any], to_index: Floats, target: Target) -> npt.NDArray[Any]:
    """The voxel nearest to each pixel of an image; 0 outside the volume.

    Args:
        values: (i, j, k).
        to_index: (4, 4), from mm of the patient to voxel indices.
        target: The image.

    Raises:
        DicomError: The image does not say where it lies, or lies wholly outside the volume.
    """
    points = target.points()
    index = np.floor(points @ to_index[:3, :3].T + to_index[:3, 3] + 0.5).astype(np.int64)
    within = ((index >= 0) & (index < np.array(values.shape))).all(axis=-1)
    if not within.any():
        raise DicomError("other place", "no part of it lies where the image lies; is it of another scan?")
    i, j, k = index[within].T
    taken = np.zeros(target.shape, values.dtype)
    taken[within] = values[i, j, k]
    return taken
