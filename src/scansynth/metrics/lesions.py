"""Lesions of a mask, one by one: for detectors, which learn them, and for whoever is scored against them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True)
class Lesion:
    """One connected lesion of a mask: its centre and radius in pixels of the image."""

    row: float
    column: float
    radius: float


def find_lesions(mask: NDArray[np.uint8]) -> tuple[Lesion, ...]:
    """Connected parts of a mask (rows, columns), touching corners included, in reading order.

    The radius is that of a circle of the same area.
    """
    parts, count = ndimage.label(mask > 0, structure=np.ones((3, 3)))
    found = []
    for part in range(1, count + 1):
        rows, columns = np.nonzero(parts == part)
        found.append(Lesion(float(rows.mean()), float(columns.mean()), float(np.sqrt(len(rows) / np.pi))))
    return tuple(found)
