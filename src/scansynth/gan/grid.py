"""Sample grids: many small images as one picture."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def columns_for(size: int) -> int:
    """Images in a row so that a grid stays near 512 pixels wide: 8 at 64 pixels, 4 at 128, at least 4."""
    return max(4, min(8, 512 // size))


def grid(images: NDArray[np.float32], columns: int) -> NDArray[np.uint8]:
    """Images side by side, row by row.

    Args:
        images: (n, rows, columns) in [-1, 1]; n a multiple of `columns`.
        columns: Images in a row.

    Returns:
        One grey picture, -1 black and 1 white.
    """
    count, height, width = images.shape
    rows = count // columns
    tiles = images[: rows * columns].reshape(rows, columns, height, width).transpose(0, 2, 1, 3)
    grey = np.rint((tiles.reshape(rows * height, columns * width) + 1.0) * 127.5)
    picture: NDArray[np.uint8] = np.clip(grey, 0, 255).astype(np.uint8)
    return picture


def png(grey: NDArray[np.uint8]) -> bytes:
    """A grey picture as the bytes of a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, format="PNG", optimize=True)
    return stream.getvalue()
