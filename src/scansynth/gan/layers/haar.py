"""Images as Haar bands: the domain in which the family compact judges images, and the scale in which it makes them.

One level turns each 2 x 2 block of pixels into four numbers: its mean and its three differences (Haar 1910). The
transform is orthonormal, so lengths are those of the pixels. A level more is the same again on all bands, as in a
wavelet packet (Coifman and Wickerhauser 1992): four times as many bands, at half the sides.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_SIDE = 20
"""Side of a band that is aimed at; it is met within a factor of the square root of 2."""

_FLOOR = 1.0 / 128.0
"""Least scale of a band: a grey level of 256. What is finer was not measured, and must not decide."""

_LEAST_REACH = 0.1
"""Least reach of the generator at a place, over the spread of the band."""

_KEPT = ((50, 1), (200, 8))
"""Places on either axis that are kept of the mean image: one below 50 patients, 8 below 200; beyond, every place."""

_MASK_WEIGHT = 0.5
"""Weight of a lesion mask's bands beside those of a grey channel."""

_KNEE = 2.0
"""Values up to about so many scales pass nearly unchanged; beyond, their logarithm counts."""


def levels_for(shape: tuple[int, int]) -> int:
    """How many levels bring the bands of an image of `shape` to sides of 14 to 28, at least 1."""
    return max(1, round(math.log2(math.sqrt(shape[0] * shape[1]) / _SIDE)))


def split(images: Tensor, levels: int) -> Tensor:
    """Images (n, channels, rows, columns) to bands (n, 4^levels channels, rows / 2^levels, columns / 2^levels).

    The first `channels` bands are the means of the blocks, times 2^levels. Both sides must be multiples of 2^levels.
    """
    for _ in range(levels):
        a, b = images[:, :, 0::2, 0::2], images[:, :, 0::2, 1::2]
        c, d = images[:, :, 1::2, 0::2], images[:, :, 1::2, 1::2]
        images = 0.5 * torch.cat([a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d], 1)
    return images


def octave_sizes(levels: int) -> Tensor:
    """How many bands share the octave of each of the 4^levels bands: 1 for the mean, 3 the coarsest, 12, 48 and so on.

    The first split finds the finest octave; its place is the last digit, to base 4, of a band's number.
    """
    sizes = []
    for number in range(4**levels):
        first = next((level for level in range(levels) if number >> (2 * level) & 3), None)
        sizes.append(1.0 if first is None else 3.0 * 4.0 ** (levels - 1 - first))
    return torch.tensor(sizes)


def _blurred(masks: Tensor) -> Tensor:
    """Masks (n, 1, rows, columns), each pixel a mean of its 3 x 3 neighbours with weights 1, 2, 1 on either axis."""
    row = torch.tensor([0.25, 0.5, 0.25], dtype=masks.dtype, device=masks.device)
    padded = functional.pad(masks, (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded, torch.outer(row, row)[None, None])


def coarser(maps: Tensor, patients: int) -> Tensor:
    """Maps (n, rows, columns) of so many patients, no finer than may be kept of them.

    A mean image gives away whose mean it is, the more the finer it is and the fewer they are (Homer et al. 2008, doi
    10.1371/journal.pgen.1000167): what was measured stands in docs/data_protection.md.
    """
    places = next((places for most, places in _KEPT if patients < most), None)
    if places is None or places >= min(maps.shape[1:]):
        return maps
    few = functional.adaptive_avg_pool2d(maps[None], places)
    return functional.interpolate(few, size=maps.shape[1:], mode="bilinear", align_corners=False)[0]


class _Clamp(torch.autograd.Function):
    """Values kept within -1 and 1; beyond, a gradient passes where a step down it leads back inside."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """Clamps."""
        ctx.save_for_backward(values)
        return values.clamp(-1.0, 1.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """A step goes against the gradient: above 1 a positive one leads back, below -1 a negative one."""
        values: Tensor = ctx.saved_tensors[0]
        return gradient * ((values.abs() <= 1.0) | (gradient * values > 0.0))


def clamp(values: Tensor) -> Tensor:
    """`values` within [-1, 1], of any shape.

    Many real pixels are exactly -1 or 1, air and bone beyond the window, and tanh cannot make them. The gradient of a
    plain clamp is 0 outside, so that what has left never comes back; see `_Clamp`.
    """
    clamped: Tensor = _Clamp.apply(values)  # type: ignore[no-untyped-call]  # torch's stub has no types here
    return clamped


class Bands(nn.Module):
    """Between images and their bands: what the generator makes, and what the discriminator reads.

    The generator makes pixels, in units of their spread at each place about the mean image: where all training images
    are black it begins black, and an edge begins where edges are. Made as bands of one level, images had a mesh of 2
    pixels, since nothing holds the four parts of a block together (docs/results/compact.md).

    The discriminator reads bands of all levels, each divided by its spread. Every octave counts alike, and its bands
    share its weight: were every band to count alike, the many fine ones would drown the shape. What lies many spreads
    out is read by its logarithm, since a band of mostly flat images has few but great values.

    A lesion mask is one channel more. It is read through a slight blur, so that the steps of its edge, which a
    generator finds hardest, do not give it away; and counts half as much as a grey channel.

    Attributes:
        shape: Rows and columns of the images.
        levels: Of the transform that the discriminator reads.
        grid: Rows and columns of its bands.
        count: Bands that it reads.
        fine: Rows and columns of what the generator makes: whole blocks.
        mean: Of each band that is read; 0 but for those of the grey.
        scale: Spread of each, where there is something to see.
        share: Weight of each, by its octave.
        centre: The mean image.
        reach: Spread of the pixels at each place.
    """

    mean: Tensor
    scale: Tensor
    centre: Tensor
    reach: Tensor
    share: Tensor

    def __init__(self, shape: tuple[int, int], channels: int, *, masks: bool = False) -> None:
        """Of images (n, channels, *shape), and a mask as the last channel; nothing is known of them until `fit`."""
        super().__init__()
        grey, channels = channels, channels + masks
        self.shape, self.levels = shape, levels_for(shape)
        step = 1 << self.levels
        self.grid = (-(-shape[0] // step), -(-shape[1] // step))
        self.count = channels << (2 * self.levels)
        self._grey, self.channels = grey, channels
        self.register_buffer("mean", torch.zeros(self.count, 1, 1))
        self.register_buffer("scale", torch.ones(self.count, 1, 1))
        share = octave_sizes(self.levels).repeat_interleave(channels).rsqrt()
        weights = torch.ones(channels)
        weights[grey:] = _MASK_WEIGHT
        self.register_buffer("share", (share * weights.repeat(len(share) // channels))[:, None, None])
        self.fine = (self.grid[0] * step, self.grid[1] * step)
        self.register_buffer("centre", torch.zeros(channels, *self.fine))
        self.register_buffer("reach", torch.ones(channels, *self.fine))

    def split(self, images: Tensor) -> Tensor:
        """Images (n, channels, *shape) to their bands (n, count, *grid), not at scale."""
        return split(self._filled(images), self.levels)

    def _filled(self, images: Tensor) -> Tensor:
        """Images (n, channels, *fine): the last pixels are repeated until they fill a block."""
        missing = (0, self.fine[1] - self.shape[1], 0, self.fine[0] - self.shape[0])
        return functional.pad(images, missing, mode="replicate") if any(missing) else images

    def read(self, images: Tensor) -> Tensor:
        """Images (n, channels, *shape) to what the discriminator reads, (n, count, *grid)."""
        far = (self.split(self._seen(images)) - self.mean) / (self.scale * _KNEE)
        return _KNEE * torch.asinh(far) * self.share

    def _seen(self, images: Tensor) -> Tensor:
        """Images with their mask as it is read."""
        if self._grey == self.channels:
            return images
        return torch.cat([images[:, : self._grey], _blurred(images[:, self._grey :])], 1)

    def write(self, pixels: Tensor) -> Tensor:
        """What the generator makes, (n, channels, *fine), to images (n, channels, *shape) in [-1, 1]."""
        images = pixels.float() * self.reach + self.centre
        return clamp(images[:, :, : self.shape[0], : self.shape[1]])

    @torch.no_grad()
    def fit(self, images: list[Tensor], patients: int) -> None:
        """Takes mean and spread of bands and pixels from images of so many patients in [-1, 1], given in parts."""
        first = torch.arange(self.count) < self.channels  # the means of the channels
        total, square = (torch.zeros(self.centre.shape, dtype=torch.float64) for _ in range(2))
        plain, strong, seen = (torch.zeros(self.count, dtype=torch.float64) for _ in range(3))
        images_seen = 0
        for part in images:
            fine, bands = self._filled(part).double(), self.split(self._seen(part)).double()
            total += fine.sum(0)
            square += fine.square().sum(0)
            details = bands[:, ~first].reshape(len(bands), -1, self.channels, *self.grid)
            something = (details.square().mean(1) > _FLOOR**2).double().repeat(1, self.count // self.channels, 1, 1)
            weight = torch.where(first[:, None, None], torch.ones_like(something), something)
            plain += bands.sum((0, 2, 3))
            strong += (bands.square() * weight).sum((0, 2, 3))
            seen += weight.sum((0, 2, 3))
            images_seen += len(part)
        mean = torch.where(first, plain / seen.clamp(min=1.0), torch.zeros_like(plain))
        spread = (strong / seen.clamp(min=1.0) - mean.square()).clamp(min=0.0).sqrt()
        self.mean.copy_(mean[:, None, None])
        self.scale.copy_(spread.clamp(min=_FLOOR)[:, None, None])
        exact = total / images_seen
        centre = coarser(exact, patients)
        # about what is kept of the mean, so that the generator reaches what is not
        places = coarser(square / images_seen - 2.0 * centre * exact + centre.square(), patients).clamp(min=0.0)
        least = (_LEAST_REACH * places.mean((1, 2), keepdim=True).sqrt()).clamp(min=_FLOOR)
        self.centre.copy_(centre)
        self.reach.copy_(torch.maximum(places.sqrt(), least))
