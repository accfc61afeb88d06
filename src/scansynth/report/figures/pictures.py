"""Images -> small PNG data URIs, real and synthetic alike through one fixed map."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation

GROUND = 14
"""Grey level of the gaps between images: a dark light box, the same in light and dark."""

MIRRORS: Mapping[str, tuple[int, ...]] = {"": (), "left-right": (1,), "top-bottom": (0,), "both": (0, 1)}
"""Axes along which an image is mirrored, by the `flip` of pairs.json; empty: not at all."""

OUTLINE = (255, 176, 0)
"""Colour of the line around a lesion: seen on black, grey and white."""

_BUDGET = 5_000_000
"""Pixels that all grids of real and synthetic images may hold together, so that the page stays small."""


@dataclass(frozen=True)
class Picture:
    """One inline picture.

    Attributes:
        uri: A PNG as a data URI.
        width: Pixels of the PNG.
        height: Pixels of the PNG.
    """

    uri: str
    width: int
    height: int


def to_grey(images: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The one fixed map from the cohort's scale to 8 bits: 0..65535 to 0..255, rounded.

    Nothing is stretched per image: equal stored values look equal, whether real or synthetic.

    Args:
        images: (..., H, W) stored values.
    """
    return ((images.astype(np.uint32) + 128) // 257).clip(0, 255).astype(np.uint8)


def png(image: Image.Image) -> Picture:
    """A picture as a PNG data URI; equal pixels give equal bytes."""
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    text = base64.b64encode(stream.getvalue()).decode("ascii")
    return Picture(f"data:image/png;base64,{text}", image.width, image.height)


def shrink_factor(size: int, grids: int, tiles: int) -> int:
    """By what whole number every image is made smaller so that all grids fit the page.

    Args:
        size: Side of an image in pixels.
        grids: Number of grids.
        tiles: Images in a grid.
    """
    factor = 1
    while grids * tiles * (size // factor) ** 2 > _BUDGET and size // factor > 32:
        factor *= 2
    return factor


def _resize(images: NDArray[np.uint8], factor: int, least: int) -> NDArray[np.uint8]:
    """Box means by `factor`, then whole repeats of pixels until a side reaches `least`.

    Small images get each pixel as an even square, which the browser then scales smoothly: the pixels
    stay visible, and no row or column comes out wider than its neighbour.
    """
    if factor > 1:
        n, height, width = images.shape
        height, width = height // factor, width // factor
        blocks = images[:, : height * factor, : width * factor].reshape(n, height, factor, width, factor)
        images = (blocks.mean(axis=(2, 4)) + 0.5).astype(np.uint8)
    repeats = -(-least // images.shape[1])
    return images.repeat(repeats, axis=1).repeat(repeats, axis=2) if repeats > 1 else images


def montage(
    images: NDArray[np.uint16], columns: int, factor: int = 1, masks: NDArray[np.uint8] | None = None
) -> Picture:
    """Images in rows, with narrow dark gaps.

    Args:
        images: (n, H, W) stored values; a last row may be short. Channels stand below each other.
        columns: Images in a row.
        factor: Box means of so many pixels; see `shrink_factor`.
        masks: uint8 (n, H of one channel, W), 1 where a lesion is: a line is drawn around it, just outside.
    """
    tiles = _resize(to_grey(images), factor, least=160)
    if masks is None or not masks.any():
        return _tiled(tiles, columns)
    channels = images.shape[1] // masks.shape[1]
    lesions = _resize(np.tile(masks, (1, channels, 1)) * np.uint8(255), factor, least=160) >= 128
    return _tiled(_outlined(tiles, lesions), columns)


def _outlined(tiles: NDArray[np.uint8], lesions: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Grey tiles (n, H, W) in colour (n, H, W, 3), with a line around each lesion that leaves the lesion free."""
    thick = max(1, tiles.shape[2] // 128)
    around = np.stack([binary_dilation(lesion, iterations=thick) & ~lesion for lesion in lesions])
    coloured = tiles[..., None].repeat(3, axis=3)
    coloured[around] = OUTLINE
    return coloured


def _tiled(tiles: NDArray[np.uint8], columns: int) -> Picture:
    """Tiles (n, H, W), or with three colours (n, H, W, 3), on one canvas."""
    n, height, width = tiles.shape[:3]
    gap = max(2, width // 40)
    rows = -(-n // columns)
    columns = min(columns, n)
    size = (rows * (height + gap) - gap, columns * (width + gap) - gap)
    canvas = np.full((*size, *tiles.shape[3:]), GROUND, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = tile
    return png(Image.fromarray(canvas))


def single(image: NDArray[np.uint16], flip: str = "") -> Picture:
    """One image, large enough to look at.

    Args:
        image: (H, W) stored values.
        flip: Show it mirrored: one of `MIRRORS`.
    """
    factor = 1 if image.shape[0] <= 256 else image.shape[0] // 256
    return png(Image.fromarray(np.flip(_resize(to_grey(image)[None], factor, least=256)[0], MIRRORS[flip]).copy()))


def sheet(path: Path, size: int, side: int) -> Picture:
    """The upper left corner of a sample grid of the study, as the montages look; its metadata is left behind.

    Args:
        path: A PNG of images side by side, without gaps.
        size: Side of an image in it, pixels.
        side: Images in a row and in a column to show.
    """
    with Image.open(path) as source:
        grey = np.asarray(source.convert("L"))
    rows, columns = min(side, grey.shape[0] // size), min(side, grey.shape[1] // size)
    if rows == 0 or columns == 0:
        return png(Image.fromarray(grey))
    tiles = grey[: rows * size, : columns * size].reshape(rows, size, columns, size).swapaxes(1, 2)
    return _tiled(_resize(tiles.reshape(-1, size, size), max(1, size // 128), least=128), columns)
