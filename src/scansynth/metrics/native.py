"""Enlarged images brought back to the size at which they were taken."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def enlargement(side: int, size: int) -> Floats:
    """The matrix (size, side) that enlarges one axis: bilinear, corners not aligned, edges repeated.

    Output pixel i looks at input position (i + 1/2) side / size - 1/2, as ingest does it.

    Raises:
        ValueError: Nothing is enlarged.
    """
    if not 0 < side <= size:
        raise ValueError(f"{side} pixels are not enlarged to {size}")
    place = np.clip((np.arange(size) + 0.5) * side / size - 0.5, 0.0, side - 1.0)
    low = np.minimum(place.astype(np.int64), side - 1)
    share = place - low
    matrix = np.zeros((size, side))
    np.add.at(matrix, (np.arange(size), low), 1.0 - share)
    np.add.at(matrix, (np.arange(size), np.minimum(low + 1, side - 1)), share)
    return matrix


def at_native_size(images: NDArray[Any], side: int) -> NDArray[np.float32]:
    """The images of the native size that come closest when they are enlarged: least squares, axis by axis.

    An image that was enlarged comes back exactly; of any other, what no enlarged image can hold is left out. So a
    classifier sees the scans as they were taken, and not the trace of their enlargement.

    Args:
        images: (n, size, size) in [-1, 1].
        side: The native side in pixels, at most `size`.

    Returns:
        (n, side, side) float32 in [-1, 1].

    Raises:
        ValueError: `side` is larger than the images.
    """
    back = np.linalg.pinv(enlargement(side, images.shape[-1]))
    found = back @ images.astype(np.float64) @ back.T
    return np.asarray(np.clip(found, -1.0, 1.0), dtype=np.float32)
