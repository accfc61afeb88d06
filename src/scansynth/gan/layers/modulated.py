"""A convolution that a style modulates, shared by the batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from scansynth.gan.layers.batch_norm import BatchNorm2d

SLOPE = 0.2
"""Of every leaky ReLU."""

_GAIN = math.sqrt(2.0)
"""Brings what a leaky ReLU lets through back to about unit strength."""


class Modulated(nn.Module):
    """A 3 x 3 convolution of styled channels and of styled noise, brought back to unit strength over the batch.

    The style scales what goes in; each channel of what comes out is brought to mean 0 and variance 1 over the batch and
    its places, by batch norm, Ioffe and Szegedy 2015 (arXiv 1502.03167). With each image brought to unit strength by
    itself instead, as in arXiv 1912.04958, equation 3, images became alike (docs/results/compact.md): a channel that is
    the same for all passes there, and here its mean is taken away.
    """

    def __init__(self, before: int, after: int, style: int, grain: int) -> None:
        """From `before` to `after` channels, with styles of length `style` and `grain` channels of noise."""
        super().__init__()
        spread = 1.0 / math.sqrt(9 * (before + grain))
        self.weight = nn.Parameter(torch.randn(after, before, 3, 3) * spread)
        self.grain = nn.Parameter(torch.randn(after, grain, 3, 3) * (0.1 * spread))
        self.bias = nn.Parameter(torch.zeros(after))
        self.scales = scales_of(style, before + grain)
        self.norm = BatchNorm2d(after, affine=False)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """Maps (n, before, h, w), styles (n, style) and noise (n, grain, h, w) to maps (n, after, h, w)."""
        scales = self.scales(style)[:, :, None, None].to(x.dtype)
        styled, grain = scales.split([x.shape[1], noise.shape[1]], 1)
        # two convolutions: were the noise joined to the maps, the backward pass of the enlargement would be slow
        y = functional.conv2d(x * styled, self.weight, padding=1)
        if noise.shape[1]:
            y = y + functional.conv2d(noise.to(x.dtype) * grain, self.grain, padding=1)
        y = _GAIN * self.norm(y) + self.bias.to(y.dtype)[:, None, None]
        return functional.leaky_relu(y, SLOPE)


def linear(before: int, after: int) -> nn.Linear:
    """A layer that passes on numbers of mean square 1 as such, without a bias at first."""
    layer = nn.Linear(before, after)
    nn.init.normal_(layer.weight, 0.0, 1.0 / math.sqrt(before))
    nn.init.zeros_(layer.bias)
    return layer


def scales_of(style: int, channels: int) -> nn.Linear:
    """Styles to a scale for each channel, about 1 at first."""
    layer = nn.Linear(style, channels)
    nn.init.normal_(layer.weight, 0.0, 0.3 / math.sqrt(style))
    nn.init.ones_(layer.bias)
    return layer
