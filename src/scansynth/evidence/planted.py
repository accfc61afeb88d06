"""Faults planted to prove that a measurement would have found them.

All take and give images (n, side, side) in [-1, 1]; random ones draw from the generator that they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Images = NDArray[np.float32]

GREY_RANGE = 2.0  # from -1 to 1


def _within(images: NDArray[Any]) -> Images:
    clipped: Images = np.clip(images, -1.0, 1.0).astype(np.float32)
    return clipped


def blur(images: Images, pixels: float = 1.0) -> Images:
    """Gaussian blur with a standard deviation in pixels."""
    return _within(ndimage.gaussian_filter(images, (0.0, pixels, pixels), mode="nearest"))


def noise(images: Images, share: float, rng: np.random.Generator) -> Images:
    """Gaussian noise whose standard deviation is a share of the grey range."""
    return _within(images + rng.normal(0.0, share * GREY_RANGE, images.shape))


def gamma(images: Images, power: float = 1.3) -> Images:
    """Grey values, taken from 0 to 1, to a power."""
    return _within(((images + 1.0) / 2.0) ** power * 2.0 - 1.0)


def shift(images: Images, rows: float = 2.0, columns: float = 3.0) -> Images:
    """Moved by pixels; the edge is repeated."""
    return _within(ndimage.shift(images, (0.0, rows, columns), order=1, mode="nearest"))


def rotate(images: Images, degrees: float = 3.0) -> Images:
    """Turned about the centre; the edge is repeated."""
    return _within(ndimage.rotate(images, degrees, axes=(2, 1), reshape=False, order=1, mode="nearest"))


def halfway_to_mean(images: Images) -> Images:
    """Half the variation: each image halfway to the mean of all."""
    return _within((images + images.mean(axis=0, keepdims=True)) / 2.0)


def few_images(images: Images, kinds: int, count: int, rng: np.random.Generator) -> Images:
    """`count` images that are `kinds` of the given ones, repeated with slight noise (1% of the grey range)."""
    chosen = images[rng.permutation(len(images))[:kinds]]
    return noise(chosen[np.arange(count) % len(chosen)], 0.01, rng)


def copies(images: Images, top_bottom: bool, rng: np.random.Generator) -> Mapping[str, Images]:
    """Copies of images, kind by kind, as a generator might hide them."""
    kinds: dict[str, Callable[[Images], Images]] = {
        "exact": lambda x: x,
        "noise": lambda x: noise(x, 0.05, rng),
        "blur": blur,
        "gamma": gamma,
        "shift": shift,
        "rotation": rotate,
        "flip left-right": lambda x: x[:, :, ::-1],
    }
    if top_bottom:
        kinds["flip top-bottom"] = lambda x: x[:, ::-1, :]
    return {kind: change(images) for kind, change in kinds.items()}
