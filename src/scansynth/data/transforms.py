"""Spatial and intensity transforms of images and masks."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import label

from scansynth.dicom.counts import Counts, Ranks, together

if TYPE_CHECKING:
    from monai.transforms import Compose

Floats = npt.NDArray[np.float32]
Grey = npt.NDArray[np.float32] | npt.NDArray[np.int16]
"""An image in source units: whole numbers that fit are int16."""

_SAMPLE = 1 << 24
"""Values of a series above which its percentiles come from every k-th pixel: bounds the memory."""

_WHOLE = float(1 << 23)  # below it float32 holds every whole number, and those beside it

_WIDENINGS = 24
"""Halvings of the tails after which less than one of `_SAMPLE` values is outside."""


def series_window(
    images: Sequence[Grey], percentiles: tuple[float, float], counts: Sequence[Counts | None] = ()
) -> tuple[float, float]:
    """Source values of a series that map to -1 and +1: its percentiles over all pixels.

    Where these are one value (a few bright pixels on an empty background), they are moved outward, each to half its
    distance from the end, until they differ; at last they are the lowest and the highest value.

    Args:
        images: The series' slices, each (rows, columns), in source units.
        percentiles: Two numbers in [0, 100], rising.
        counts: How often each value occurs in each image, where that is known of all of them.
    """
    known = [one for one in counts if one is not None]
    ranks = _ranks(images, known)
    low, high = (ranks.percentile(percentile) for percentile in percentiles)
    if low < high:
        return float(low), float(high)
    ends = float(min(image.min() for image in images)), float(max(image.max() for image in images))
    below, above = percentiles[0], 100.0 - percentiles[1]
    for _ in range(_WIDENINGS if ends[0] < ends[1] else 0):
        below, above = below / 2, above / 2
        # values that occur: between two of them the scale would hang on how many pixels are bright
        low, high = ranks.occurring(below, up=False), ranks.occurring(100.0 - above, up=True)
        if low < high:
            return float(low), float(high)
    return ends


class _Sorted:
    """Values that are no whole numbers, asked as `counts.Ranks` is; they may be reordered."""

    def __init__(self, values: Floats) -> None:
        self._values = values

    def percentile(self, percentile: float) -> float:
        return float(np.percentile(self._values, percentile, overwrite_input=True))

    def occurring(self, percentile: float, *, up: bool) -> float:
        method: Literal["higher", "lower"] = "higher" if up else "lower"
        return float(np.percentile(self._values, percentile, method=method, overwrite_input=True))


def _ranks(images: Sequence[Grey], counts: Sequence[Counts]) -> Ranks | _Sorted:
    """The values of a series by their ranks: counted where they are whole numbers, which is far quicker."""
    if len(counts) == len(images):
        return Ranks(together(counts))
    total = sum(image.size for image in images)
    step = 1 if total <= _SAMPLE else (total // _SAMPLE + 1) | 1
    values = np.concatenate([image.reshape(-1)[::step] for image in images])
    least, most = float(values.min()), float(values.max())
    if least > -_WHOLE and most < _WHOLE and most - least < values.size:
        whole = values.astype(np.int32)
        if np.array_equal(whole, values):
            return Ranks(Counts.of(whole))
    return _Sorted(values.astype(np.float32, copy=False))


def to_window(values: Grey, low: float, high: float) -> Floats:
    """Source values to [-1, 1]: `low` to -1, `high` to +1, clipped. The inverse is `from_window`.

    Raises:
        ValueError: The window is empty.
    """
    if not low < high:
        raise ValueError("the window must rise")
    scaled = values.astype(np.float64)
    scaled -= low
    scaled *= 2.0 / (high - low)
    scaled -= 1.0
    return np.clip(scaled, -1.0, 1.0, out=scaled).astype(np.float32)


def from_window(x: Floats, low: float, high: float) -> Floats:
    """[-1, 1] to source values; undoes `to_window` except for what was clipped."""
    return ((x.astype(np.float64) + 1.0) * 0.5 * (high - low) + low).astype(np.float32)


Shape = tuple[int, int]
"""Rows and columns in pixels."""


def _within(shape: Shape, target: Shape) -> tuple[Shape, float]:
    """Rows and columns of an image of `shape` once it fits into `target` with its aspect kept, and the scale."""
    scale = min(target[0] / shape[0], target[1] / shape[1])
    rows, columns = (max(min(round(side * scale), most), 1) for side, most in zip(shape, target, strict=True))
    return (rows, columns), scale


@lru_cache(maxsize=64)
def _spatial(shape: Shape, target: Shape, fill: float, mode: str) -> Compose:
    """As large as fits into `target`, aspect kept, then padded to it."""
    from monai.transforms import (  # noqa: PLC0415 (four seconds, and images that have their size already need it not)
        BorderPad,
        CenterSpatialCrop,
        Compose,
        GaussianSmooth,
        Resize,
        SpatialPad,
    )

    inner, scale = _within(shape, target)
    corners = False if mode == "bilinear" else None
    steps = [
        Resize(inner, mode=mode, align_corners=corners),
        SpatialPad(target, mode="constant", value=fill),
    ]
    if mode == "bilinear" and scale < 1.0:
        # Width of the smoothing as in skimage.transform.resize. MONAI's own anti_aliasing pads with zeros, which
        # leaves a grey rim of half the contrast; with the edge repeated there is none.
        sigma = (1.0 / scale - 1.0) / 2.0
        rim = math.ceil(4.0 * sigma)
        steps = [BorderPad(rim, mode="edge"), GaussianSmooth(sigma), CenterSpatialCrop(shape), *steps]
    return Compose(steps)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch with one thread: several wait for each other in busy loops, which costs much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _light() -> Iterator[None]:
    """One thread, and MONAI without its record of applied transforms.

    For one small image both cost more than the work, and the other cores are decoding.
    """
    from monai.data import get_track_meta, set_track_meta  # noqa: PLC0415 (as above)

    history = get_track_meta()
    set_track_meta(False)
    try:
        with one_thread():
            yield
    finally:
        set_track_meta(history)


def _apply(image: npt.NDArray[np.floating], target: Shape, fill: float, mode: str) -> Floats:
    rows, columns = image.shape
    with torch.inference_mode(), _light():
        source = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None]
        made = _spatial((rows, columns), target, fill, mode)(source)
        return np.ascontiguousarray(made[0].numpy(), np.float32)


def resize(image: Floats, shape: Shape) -> Floats:
    """An image brought to `shape`, aspect kept, padded with its low value.

    Args:
        image: (rows, columns) in [-1, 1].
        shape: Rows and columns of the result in pixels.

    Returns:
        float32 in [-1, 1]: smoothed before shrinking so that nothing aliases, bilinear when enlarged, untouched when
        it has the shape already.
    """
    if image.shape == shape:
        return image
    return np.clip(_apply(image, shape, -1.0, "bilinear"), -1.0, 1.0)


def resize_mask(mask: npt.NDArray[np.uint8], shape: Shape) -> npt.NDArray[np.uint8]:
    """A mask moved as `resize` moves its image: nearest when enlarged, at least half the area when shrunk.

    A lesion too small for half of any pixel keeps the pixel that it covers most, so that none is lost, also where
    another one is larger.

    Args:
        mask: (rows, columns), 0 or 1.
        shape: Rows and columns of the result in pixels.

    Returns:
        uint8, 0 or 1.
    """
    if mask.shape == shape:
        return (mask > 0).astype(np.uint8)
    rows, columns = mask.shape
    shrink = _within((rows, columns), shape)[1] < 1.0
    cover = _apply((mask > 0).astype(np.float32), shape, 0.0, "area" if shrink else "nearest-exact")
    least = min(0.5, float(cover.max()))
    kept = ((cover >= least) & (cover > 0)).astype(np.uint8)
    return _with_each_lesion(mask, kept) if shrink else kept


def _with_each_lesion(mask: npt.NDArray[np.uint8], kept: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A shrunk mask with a pixel at least of every lesion (8-connected) of the original, also of small ones."""
    lesions, count = label(mask > 0, np.ones((3, 3)))
    if count < 2:
        return kept
    inner, _ = _within(mask.shape, kept.shape)
    places = np.nonzero(lesions)
    corner = [(whole - part) // 2 for whole, part in zip(kept.shape, inner, strict=True)]
    row, column = (
        first + (place * part // side)
        for first, place, part, side in zip(corner, places, inner, mask.shape, strict=True)
    )
    for number in range(1, count + 1):
        own = lesions[places] == number
        if not kept[row[own], column[own]].any():
            covered, pixels = np.unique(np.stack([row[own], column[own]]), axis=1, return_counts=True)
            most = covered[:, pixels.argmax()]
            kept[most[0], most[1]] = 1
    return kept


def resized_spacing(shape: Shape, spacing: tuple[float, float], target: Shape) -> tuple[float, float]:
    """Pixel spacing (between rows, between columns) in mm after `resize`.

    Args:
        shape: (rows, columns) before.
        spacing: Pixel Spacing before, mm, in DICOM's order (row spacing first).
        target: (rows, columns) after.
    """
    # sides are whole pixels, so the spacing of the shorter one changes by a little more or less
    (rows, columns), _ = _within(shape, target)
    return spacing[0] * shape[0] / rows, spacing[1] * shape[1] / columns
