"""Images as Haar bands of like weight, and back: the domain in which the family compact makes and judges images.

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


def join(bands: Tensor, levels: int) -> Tensor:
    """The inverse of `split`: an orthonormal transform is undone by its transpose."""
    for _ in range(levels):
        mean, across, down, both = bands.chunk(4, 1)
        pixels = [mean + across + down + both, mean - across + down - both]
        pixels += [mean + across - down - both, mean - across - down + both]
        count, channels, rows, columns = mean.shape
        blocks = 0.5 * torch.stack(pixels, -1).view(count, channels, rows, columns, 2, 2)
        bands = blocks.permute(0, 1, 2, 4, 3, 5).reshape(count, channels, 2 * rows, 2 * columns)
    return bands


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
    """Between images and their bands at scale.

    Each band is divided by its spread over the training images, so that grain counts as much as shape. The spread is
    taken where there is something to see: were flat background counted, edges would reach many spreads,
    and the discriminator would look at nothing else. For the same reason the discriminator reads what lies far out by
    its logarithm.

    Attributes:
        shape: Rows and columns of the images.
        levels: Of the transform.
        grid: Rows and columns of a band.
        count: Bands of an image.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, int], channels: int) -> None:
        """Of images (n, channels, *shape); not at scale until `fit`."""
        super().__init__()
        self.shape, self.levels = shape, levels_for(shape)
        step = 1 << self.levels
        self.grid = (-(-shape[0] // step), -(-shape[1] // step))
        self.count = channels << (2 * self.levels)
        self._channels = channels
        self.register_buffer("mean", torch.zeros(self.count, 1, 1))
        self.register_buffer("scale", torch.ones(self.count, 1, 1))

    def split(self, images: Tensor) -> Tensor:
        """Images to bands (n, count, *grid), not at scale; the last pixels are repeated until they fill a block."""
        step = 1 << self.levels
        missing = (0, self.grid[1] * step - self.shape[1], 0, self.grid[0] * step - self.shape[0])
        return split(functional.pad(images, missing, mode="replicate") if any(missing) else images, self.levels)

    def read(self, images: Tensor) -> Tensor:
        """Images (n, channels, *shape) to what the discriminator reads, (n, count, *grid)."""
        far = (self.split(images) - self.mean) / (self.scale * _KNEE)
        return _KNEE * torch.asinh(far)

    def write(self, bands: Tensor) -> Tensor:
        """What the generator makes, bands at scale (n, count, *grid), to images (n, channels, *shape) in [-1, 1]."""
        images = join(bands.float() * self.scale + self.mean, self.levels)
        return clamp(images[:, :, : self.shape[0], : self.shape[1]])

    @torch.no_grad()
    def fit(self, images: list[Tensor]) -> None:
        """Takes mean and spread of the bands from training images in [-1, 1], given in parts."""
        grey = torch.arange(self.count) < self._channels
        total, square, seen, busy = (torch.zeros(self.count, dtype=torch.float64) for _ in range(4))
        for part in images:
            bands = self.split(part).double()
            something = (bands[:, ~grey].square().mean(1, keepdim=True) > _FLOOR**2).double()
            weight = torch.where(grey[:, None, None], torch.ones_like(something), something)
            total += bands.sum((0, 2, 3))
            square += (bands.square() * weight).sum((0, 2, 3))
            busy += weight.sum((0, 2, 3))
            seen += bands[:, 0].numel()
        mean = torch.where(grey, total / seen, torch.zeros_like(total))
        spread = (square / busy.clamp(min=1.0) - mean.square()).clamp(min=0.0).sqrt()
        self.mean.copy_(mean[:, None, None])
        self.scale.copy_(spread.clamp(min=_FLOOR)[:, None, None])
