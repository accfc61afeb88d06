"""Lesions cut out of real images by their masks, and places of other images where one could lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.signal import fftconvolve

Images = NDArray[np.uint16]
Mask = NDArray[np.bool_]

_TOUCHING = np.ones((3, 3), np.bool_)
_LEVELS = 256
_MARGIN, _LEAST_MARGIN, _MOST_MARGIN = 0.6, 2, 8
"""What is blended around a lesion: this share of its radius, within so many pixels, as far as its image reaches."""

_ALIKE = 0.02
"""Share of the possible places, those whose surroundings are most alike, of which one is drawn."""

_DEEP, _MOST_DEEP = 0.5, 0.125
"""How deep in the body a lesion is put at least: this share of how deep it lay, and at most so much of the image's
longer side."""

_INSIDE = 0.95
"""Share of the lesions that must lie within what is taken for the body; else it is not the body."""


@dataclass(frozen=True)
class Cutout:
    """One lesion with its surroundings, or several that lie so near that none can be cut out alone.

    Attributes:
        image: uint16 (channels, h, w): the region and a pixel around it.
        mask: (h, w): the lesion.
        region: (h, w): the lesion and the margin around it; never the outermost pixels.
        corner: Row and column of its first pixel in the image that it was cut from.
        depth: Least distance of its pixels from the edge of the body there, in pixels; 0 outside.
        source: Place of that image among those given.
    """

    image: Images
    mask: Mask
    region: Mask
    corner: tuple[int, int]
    depth: float
    source: int

    @property
    def ring(self) -> Mask:
        """(h, w): what lies around the lesion; a pixel beside it may still be half lesion."""
        whole = ndimage.binary_dilation(self.region, _TOUCHING)
        return np.asarray(whole & ~ndimage.binary_dilation(self.mask, _TOUCHING))

    def box(self, corner: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns that it takes up with its first pixel at a corner."""
        return slice(corner[0], corner[0] + self.mask.shape[0]), slice(corner[1], corner[1] + self.mask.shape[1])


def cut_out(images: Images, masks: NDArray[np.uint8]) -> list[Cutout]:
    """The lesions of images; one whose margin leaves its image is left out, since its surroundings are not known.

    Args:
        images: uint16 (n, channels, rows, columns).
        masks: uint8 (n, rows, columns), 0 or 1.
    """
    return [found for source, mask in enumerate(masks) for found in _of_image(images[source], mask > 0, source)]


def _of_image(image: Images, mask: Mask, source: int) -> list[Cutout]:
    regions = np.zeros_like(mask)
    parts, _ = ndimage.label(mask, _TOUCHING)
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        part = parts == number
        radius = float(np.sqrt(part.sum() / np.pi))
        wanted = int(np.clip(round(_MARGIN * radius), _LEAST_MARGIN, _MOST_MARGIN))
        margin = max(_LEAST_MARGIN, min(wanted, _room(box, mask.shape)))
        near = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)
        # pixels within the margin of the lesion, by their distance from it
        regions[near] |= ndimage.distance_transform_edt(~part[near]) <= margin
    found, depth = [], depth_of(image)
    groups, _ = ndimage.label(regions, _TOUCHING)
    for number, box in enumerate(ndimage.find_objects(groups), start=1):
        if any(side.start < 1 or side.stop > length - 1 for side, length in zip(box, mask.shape, strict=True)):
            continue
        rows, columns = (slice(side.start - 1, side.stop + 1) for side in box)
        region = groups[rows, columns] == number
        own, corner = mask[rows, columns] & region, (rows.start, columns.start)
        deep = float(depth[rows, columns][own].min())
        found.append(Cutout(image[:, rows, columns].copy(), own, region, corner, deep, source))
    return found


def _room(box: tuple[slice, ...], shape: tuple[int, ...]) -> int:
    """Pixels between a box and the outermost pixels of its image, on the side where there are fewest."""
    sides = zip(box, shape, strict=True)
    return min(min(int(side.start) - 1, length - 1 - int(side.stop)) for side, length in sides)


def body_of(image: Images) -> Mask:
    """(rows, columns): all but the dark surroundings, which reach the image's edge.

    Dark is what lies below the threshold that parts the image's grey levels best (Otsu, IEEE Trans. SMC 9, 1979). Lungs
    are as dark as air, and no part of the surroundings, because the chest wall closes around them.

    Args:
        image: uint16 (channels, rows, columns).
    """
    grey = image.astype(np.float64).mean(axis=0)
    bright = ndimage.binary_closing(np.pad(grey > _otsu(grey), 2), _TOUCHING, iterations=2)[2:-2, 2:-2]
    dark, _ = ndimage.label(~bright)
    edge = np.concatenate([dark[0], dark[-1], dark[:, 0], dark[:, -1]])
    body: Mask = ~np.isin(dark, edge[edge > 0])
    return body


def _otsu(grey: NDArray[np.float64]) -> float:
    counts, edges = np.histogram(grey, _LEVELS)
    middles = (edges[1:] + edges[:-1]) / 2.0
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * middles)
    means = total / np.maximum(below, 1), (total[-1] - total) / np.maximum(above, 1)
    return float(edges[1:][np.argmax(below * above * (means[0] - means[1]) ** 2)])


def depth_of(image: Images) -> NDArray[np.float64]:
    """(rows, columns): distance of each pixel of the body from the surroundings, in pixels; 0 in these.

    Infinite where an image has none.

    Args:
        image: uint16 (channels, rows, columns).
    """
    body = body_of(image)
    if body.all():
        return np.full(body.shape, np.inf)
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(body)
    return depth


def bodies_hold(lesions: Sequence[Cutout]) -> bool:
    """Whether lesions lie within what `body_of` takes for the body: in a cohort where they do not, it is not one."""
    return sum(lesion.depth > 0.0 for lesion in lesions) >= _INSIDE * len(lesions)


def allowed_for(lesion: Cutout, image: Images) -> Mask:
    """(rows, columns): where in an image a lesion's region may lie.

    Within the body, and not much nearer to its edge than the lesion lay.
    """
    depth = depth_of(image)
    return np.asarray(depth >= max(1.0, min(_DEEP * lesion.depth, _MOST_DEEP * max(depth.shape))))


@dataclass(frozen=True)
class Place:
    """Where a lesion could lie.

    Attributes:
        corner: Row and column of its first pixel.
        apart: Root mean square of the difference of the surroundings, 0..1 for the whole grey scale.
    """

    corner: tuple[int, int]
    apart: float


def places_for(lesion: Cutout, image: Images, allowed: Mask, near: float | None = None) -> list[Place]:
    """Places in an image where a lesion could lie, those with the likest surroundings of all possible ones, best first.

    Args:
        lesion: The lesion.
        image: uint16 (channels, rows, columns).
        allowed: (rows, columns) where its pixels may lie.
        near: Greatest distance from where it was, in pixels; none: anywhere.
    """
    if any(part > whole for part, whole in zip(lesion.mask.shape, allowed.shape, strict=True)):
        return []
    outside = _slid((~allowed).astype(np.float64), lesion.region.astype(np.float64))
    possible = outside < 0.5
    if near is not None:
        rows, columns = np.indices(possible.shape)
        possible &= np.hypot(rows - lesion.corner[0], columns - lesion.corner[1]) <= near
    if not possible.any():
        return []
    ring = lesion.ring.astype(np.float64)
    apart = np.zeros(possible.shape)
    for one, other in zip(image, lesion.image, strict=True):
        target, own = one / 65535.0, other / 65535.0
        apart += _slid(target**2, ring) - 2.0 * _slid(target, own * ring) + float((own**2 * ring).sum())
    order = np.argsort(np.where(possible, apart, np.inf), axis=None, kind="stable")
    kept = order[: max(1, round(_ALIKE * int(possible.sum())))]
    spread = np.sqrt(np.maximum(apart.reshape(-1)[kept], 0.0) / (ring.sum() * len(image)))
    corners = (divmod(int(place), possible.shape[1]) for place in kept)
    return [Place(corner, float(one)) for corner, one in zip(corners, spread, strict=True)]


def _slid(image: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of the kernel times what it covers, for each corner at which it lies within the image."""
    slid: NDArray[np.float64] = fftconvolve(image, kernel[::-1, ::-1], mode="valid")
    return slid
