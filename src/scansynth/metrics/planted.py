"""Faults planted to prove that a measurement would have found them.

All take and give images (n, side, side) in [-1, 1]; random ones draw from the generator that they are given.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
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


def finer(images: Images, share: float = 0.02, beyond: float = 0.25) -> Images:
    """Power of the finer half of the spectrum, beyond so many cycles per pixel, lowered by a share."""
    rows, columns = np.fft.fftfreq(images.shape[1]), np.fft.rfftfreq(images.shape[2])
    factor = np.where(np.hypot(rows[:, None], columns[None, :]) > beyond, np.sqrt(1.0 - share), 1.0)
    return _within(np.fft.irfft2(np.fft.rfft2(images) * factor, s=images.shape[1:]))


def eight_bits(images: Images) -> Images:
    """Grey values rounded to 256 steps."""
    return _within(np.round((images + 1.0) / GREY_RANGE * 255.0) / 255.0 * GREY_RANGE - 1.0)


def gamma(images: Images, power: float = 1.3) -> Images:
    """Grey values, taken from 0 to 1, to a power."""
    return _within(((images + 1.0) / 2.0) ** power * 2.0 - 1.0)


def shift(images: Images, rows: float = 2.0, columns: float = 3.0) -> Images:
    """Moved by pixels; the edge is repeated."""
    return moved(images, np.array([[rows, columns]]))


def rotate(images: Images, degrees: float = 3.0) -> Images:
    """Turned about the centre; the edge is repeated."""
    return moved(images, degrees=degrees)


def moved(
    images: Images,
    shifts: NDArray[Any] | float = 0.0,
    degrees: NDArray[Any] | float = 0.0,
    zoom: float = 1.0,
) -> Images:
    """Each image enlarged and turned about its centre, then shifted; linear between pixels, the edge is repeated.

    Args:
        images: (n, side, side).
        shifts: Rows and columns, pixels, (n, 2).
        degrees: Turn (n,).
        zoom: Above 1 enlarges.
    """
    centre = (np.array(images.shape[1:]) - 1.0) / 2.0
    shifts = np.broadcast_to(shifts, (len(images), 2))
    turns = np.deg2rad(np.broadcast_to(degrees, len(images)))
    placed = np.empty_like(images)
    for place, (image, shift, turn) in enumerate(zip(images, shifts, turns, strict=True)):
        # affine_transform asks where each pixel of the result comes from
        back = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / zoom
        offset = centre - back @ (centre + shift)
        placed[place] = ndimage.affine_transform(image, back, offset, order=1, mode="nearest")
    return _within(placed)


def halfway_to_mean(images: Images) -> Images:
    """Half the variation: each image halfway to the mean of all."""
    return _within((images + images.mean(axis=0, keepdims=True)) / 2.0)


def few_images(images: Images, kinds: int, count: int, rng: np.random.Generator) -> Images:
    """`count` images that are `kinds` of the given ones, repeated with slight noise (1% of the grey range)."""
    chosen = images[rng.permutation(len(images))[:kinds]]
    return noise(chosen[np.arange(count) % len(chosen)], 0.01, rng)


def jpeg(images: Images, quality: int = 90) -> Images:
    """Rounded to 8 bits, compressed as JPEG (ITU-T T.81, baseline), and read back."""
    read = []
    for image in np.rint((images + 1.0) * 127.5).astype(np.uint8):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="JPEG", quality=quality)
        read.append(np.asarray(Image.open(stream), np.float64))
    return _within(np.stack(read) / 127.5 - 1.0)


def copies(images: Images, top_bottom: bool, rng: np.random.Generator) -> Mapping[str, Images]:
    """Copies of images, kind by kind, as a generator might hide them; all must be found.

    Args:
        images: (n, side, side).
        top_bottom: Whether images mirrored top-bottom belong to them.
        rng: Draws noise, shifts and the sense of a turn.
    """
    count, side = len(images), images.shape[2]
    sixteenth = side / 16
    kinds: dict[str, Images] = {
        "exact": images,
        "noise": noise(images, 0.05, rng),
        "blur": blur(images, side / 64),
        "gamma": gamma(images),
        "any shift up to 1/16": moved(images, rng.uniform(-sixteenth, sixteenth, (count, 2))),
        "shift of 1/16": moved(images, rng.choice((-sixteenth, sixteenth), (count, 2))),
        "rotation of 3 degrees": moved(images, degrees=rng.choice((-3.0, 3.0), count)),
        "flip left-right": images[:, :, ::-1],
    }
    if top_bottom:
        kinds["flip top-bottom"] = images[:, ::-1, :]
    return kinds


def far_copies(images: Images, others: Images, rng: np.random.Generator) -> Mapping[str, Images]:
    """Copies that were changed more, kind by kind: how many are found is published, and none need be.

    Args:
        images: (n, side, side).
        others: As many, of other patients, to be blended in.
        rng: Draws shifts and the sense of a turn.
    """
    count, side = len(images), images.shape[2]
    eighth = side / 8
    return {
        "any shift up to 1/8": moved(images, rng.uniform(-eighth, eighth, (count, 2))),
        "rotation of 5 degrees": moved(images, degrees=rng.choice((-5.0, 5.0), count)),
        "rotation of 10 degrees": moved(images, degrees=rng.choice((-10.0, 10.0), count)),
        "shrunk by 5%": moved(images, zoom=0.95),
        "enlarged by 5%": moved(images, zoom=1.05),
        "centre 80% enlarged": moved(images, zoom=1.25),
        "80/20 blend of two patients": _within(0.8 * images + 0.2 * others),
        "60/40 blend of two patients": _within(0.6 * images + 0.4 * others),
    }
