"""Random distortions of images, from which an encoder learns what to overlook. Drawn from a local generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_RADIUS = 4  # pixels of the widest blur that is drawn


@dataclass(frozen=True)
class Ranges:
    """How far images are distorted; every figure is the end of a uniform draw.

    Attributes:
        degrees: Rotation either way.
        scale: Enlargement by this factor at most, and as much the other way.
        shift: Share of the width, either way, along both axes.
        blend: Share of another image mixed in.
        blend_odds: How often one is.
        blur: Standard deviation in pixels; in three images of ten.
        gamma: Logarithm of the power of the grey values, either way.
        contrast: Logarithm of the factor on them, either way; half of it is added as brightness.
        noise: Standard deviation as a share of the grey range; in every other image.
    """

    degrees: float = 8.0
    scale: float = 1.12
    shift: float = 0.125
    blend: float = 0.4
    blend_odds: float = 0.3
    blur: float = 1.0
    gamma: float = 0.4
    contrast: float = 0.2
    noise: float = 0.025


def distorted(images: Tensor, ranges: Ranges, random: torch.Generator) -> Tensor:
    """Each image distorted once, edges repeated: (n, 1, side, side) in [-1, 1], n and side as before."""
    count, side = len(images), images.shape[-1]

    def between(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=random) * (high - low) + low

    def now_and_then(odds: float) -> Tensor:
        return (torch.rand(count, generator=random) < odds).float()

    share = (between(0.0, ranges.blend) * now_and_then(ranges.blend_odds)).view(-1, 1, 1, 1)
    made = (1.0 - share) * images + share * images[torch.randperm(count, generator=random)]
    turned = between(-1.0, 1.0) * math.radians(ranges.degrees)
    size = torch.exp(between(-1.0, 1.0) * math.log(ranges.scale))
    # affine_grid measures in half widths
    right, down = between(-2.0, 2.0) * ranges.shift, between(-2.0, 2.0) * ranges.shift
    cosine, sine = torch.cos(turned) * size, torch.sin(turned) * size
    rows = torch.stack([cosine, -sine, right, sine, cosine, down], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(rows, [count, 1, side, side], align_corners=False)
    made = functional.grid_sample(made, grid, padding_mode="border", align_corners=False)
    made = blurred(made, between(0.1, ranges.blur) * now_and_then(0.3))
    power = torch.exp(between(-1.0, 1.0) * ranges.gamma).view(-1, 1, 1, 1)
    made = ((made + 1.0) / 2.0).clamp(1e-4, 1.0) ** power * 2.0 - 1.0
    factor = torch.exp(between(-1.0, 1.0) * ranges.contrast).view(-1, 1, 1, 1)
    made = made * factor + (between(-0.5, 0.5) * ranges.contrast).view(-1, 1, 1, 1)
    spread = (between(0.0, 2.0 * ranges.noise) * now_and_then(0.5)).view(-1, 1, 1, 1)
    return (made + spread * torch.randn(made.shape, generator=random)).clamp(-1.0, 1.0)


def blurred(images: Tensor, pixels: Tensor) -> Tensor:
    """Images (n, 1, side, side), each under a Gaussian of its own standard deviation (n,); 0 leaves it as it is."""
    count = len(images)
    places = torch.arange(-_RADIUS, _RADIUS + 1, device=images.device)
    bells = torch.exp(-(places**2) / (2.0 * pixels.clamp_min(0.05)[:, None] ** 2))
    bells = bells / bells.sum(dim=1, keepdim=True)
    wide = functional.pad(images.transpose(0, 1), (_RADIUS, _RADIUS, 0, 0), "replicate")
    wide = functional.conv2d(wide, bells[:, None, None, :], groups=count)
    tall = functional.pad(wide, (0, 0, _RADIUS, _RADIUS), "replicate")
    return functional.conv2d(tall, bells[:, None, :, None], groups=count).transpose(0, 1)
