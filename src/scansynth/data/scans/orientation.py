"""Slices of one plane brought to one raster orientation, by Image Orientation (Patient) (PS3.3 C.7.6.2.1.1).

The patient's x runs to the left, y to the back, z to the head, however the patient lies in the scanner: head or feet
first, on the back or on the belly. So the direction cosines alone say which side of a picture is which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from scansynth.dicom.header import Header
from scansynth.dicom.modules import RASTER

_AXES = ("sagittal", "coronal", "axial")
"""The plane whose normal is the x, y or z axis."""

_TIE = 1e-6
Cosines = tuple[float, float, float, float, float, float]
_Kind = TypeVar("_Kind", bound=np.generic)
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class Turn:
    """Moves that bring a picture to its plane's raster orientation: exact, no pixel is resampled.

    Attributes:
        transpose: Swap rows and columns; first.
        flip_rows: Then turn upside down.
        flip_columns: Then mirror left and right.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def __bool__(self) -> bool:
        """Whether anything moves."""
        return self.transpose or self.flip_rows or self.flip_columns

    def apply(self, image: npt.NDArray[_Kind]) -> npt.NDArray[_Kind]:
        """A picture or a mask (rows, columns), turned."""
        if not self:
            return image
        turned = image.T if self.transpose else image
        return np.ascontiguousarray(turned[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1])

    def pair(self, values: tuple[_Number, _Number]) -> tuple[_Number, _Number]:
        """Rows and columns, or their spacings, after the turn."""
        return (values[1], values[0]) if self.transpose else values


def plane_of(header: Header) -> str | None:
    """axial, coronal or sagittal: the nearest one, so that a tilted gantry stays axial; none when it is not said."""
    return None if header.orientation is None else _plane(header.orientation)


@lru_cache(maxsize=4096)
def _plane(cosines: Cosines) -> str:
    """The plane of an image with these direction cosines; the images of a series have the same."""
    return _AXES[int(np.abs(np.cross(cosines[:3], cosines[3:])).argmax())]


def turn_of(header: Header) -> Turn:
    """How an image comes to the raster orientation of its plane; no move where the orientation is not said."""
    return Turn() if header.orientation is None else _turn(header.orientation)


@lru_cache(maxsize=4096)
def _turn(cosines: Cosines) -> Turn:
    """The move of an image with these direction cosines."""
    plane = _plane(cosines)
    (across, across_sign), (down, down_sign) = _axis(RASTER[plane][:3]), _axis(RASTER[plane][3:])
    row, column = cosines[:3], cosines[3:]
    transpose = abs(row[down]) + abs(column[across]) > abs(row[across]) + abs(column[down]) + _TIE
    if transpose:
        row, column = column, row
    return Turn(transpose, column[down] * down_sign < 0, row[across] * across_sign < 0)


def _axis(direction: Sequence[int]) -> tuple[int, int]:
    """The axis along which a direction runs, and its sign."""
    axis = int(np.abs(direction).argmax())
    return axis, direction[axis]


def orientation_notes(headers: Sequence[Header]) -> list[str]:
    """What the user should know of how the kept images were stored; a sentence each."""
    notes = []
    said = [plane for header in headers if (plane := plane_of(header)) is not None]
    planes, unsaid = Counter(said), len(headers) - len(said)
    turned = sum(bool(turn_of(header)) for header in headers)
    if turned:
        notes.append(f"{turned} images were stored mirrored, upside down or on their side; they were turned")
    if len(planes) > 1:
        found = ", ".join(f"{count} {plane}" for plane, count in sorted(planes.items()))
        notes.append(f"the images are of several planes ({found}); set cohort.plane to keep those of one")
    if unsaid:
        what = "no image says" if unsaid == len(headers) else f"{unsaid} images do not say"
        notes.append(f"{what} how the patient lies (Image Orientation (Patient)): mirrored ones cannot be recognised")
    return notes
