"""Where a detector looks: a map over the image, as a picture for a person.

A lesion detector draws its map itself. For one that judges images, the map says how far its logit falls when a place
is covered (Zeiler and Fergus, ECCV 2014, section 4.2): that is what the network leans on, which need not be the lesion.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from torch import nn

from scansynth.dicom.capture import RESEARCH_ONLY
from scansynth.learning.device import Device
from scansynth.utility.detector.detector import score_images

_COVER = 8  # the cover's side is this share of the image's
_STRIDE = 2  # covers overlap by this share of their side
_LEAST_SIDE = 384  # of a picture, pixels: smaller images are enlarged by a whole number
_BANNER = 34
_STRONGEST = 0.6  # share of the colour where the map is highest

Images = NDArray[np.uint16]


def occlusion_map(network: nn.Module, image: Images, device: Device) -> NDArray[np.float32]:
    """How far the logit falls when a place is covered by its blurred self, (rows, columns), at least 0.

    Args:
        network: A detector in evaluation mode, on the device.
        image: uint16 (rows, columns).
        device: Where it is.
    """
    cover = max(2, min(image.shape) // _COVER)
    step = max(1, cover // _STRIDE)
    blurred = ndimage.gaussian_filter(image.astype(np.float32), cover).astype(np.uint16)
    rows, columns = (sorted({*range(0, side - cover + 1, step), side - cover}) for side in image.shape)
    places = [(row, column) for row in rows for column in columns]
    covered = np.repeat(image[None], len(places) + 1, axis=0)
    for number, (row, column) in enumerate(places):
        window = (slice(row, row + cover), slice(column, column + cover))
        covered[number][window] = blurred[window]
    logits = score_images(network, covered, device).logits
    fall, count = np.zeros(image.shape), np.zeros(image.shape)
    for number, (row, column) in enumerate(places):
        window = (slice(row, row + cover), slice(column, column + cover))
        fall[window] += logits[-1] - logits[number]
        count[window] += 1.0
    return np.maximum(fall / count, 0.0).astype(np.float32)


def draw_overlay(image: Images, seen: NDArray[np.float32], top: float, lines: tuple[str, str]) -> NDArray[np.uint8]:
    """The image, the map over it in red, and a banner that says that this is research.

    Args:
        image: uint16 (rows, columns).
        seen: Map, (rows, columns), at least 0.
        top: Value of the map that gets the full colour.
        lines: What the banner says under `RESEARCH_ONLY`, and what stands at the bottom.

    Returns:
        uint8 (rows, columns, 3).
    """
    enlarge = max(1, -(-_LEAST_SIDE // min(image.shape)))
    grey = (image >> 8).astype(np.float32).repeat(enlarge, axis=0).repeat(enlarge, axis=1)
    share = ndimage.zoom(np.clip(seen / max(top, 1e-9), 0.0, 1.0), enlarge, order=1)[: len(grey), : grey.shape[1]]
    weight = (_STRONGEST * np.clip(share, 0.0, 1.0))[..., None]
    colour = np.stack([np.full_like(share, 255.0), 220.0 * (1.0 - share), np.zeros_like(share)], axis=-1)
    body = grey[..., None] * (1.0 - weight) + colour * weight
    picture = np.zeros((len(grey) + 2 * _BANNER, grey.shape[1], 3), np.uint8)
    picture[_BANNER:-_BANNER] = np.rint(np.clip(body, 0.0, 255.0)).astype(np.uint8)
    drawn = Image.fromarray(picture)
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(12)
    pen.text((6, 2), RESEARCH_ONLY, fill=(255, 200, 0), font=font)
    pen.text((6, 17), lines[0], fill=(230, 230, 230), font=font)
    pen.text((6, len(picture) - _BANNER + 9), lines[1], fill=(230, 230, 230), font=font)
    return np.asarray(drawn)


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    """A picture (rows, columns, 3) as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return stream.getvalue()
