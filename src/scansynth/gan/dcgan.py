"""DCGAN: Radford, Metz, Chintala 2016 (arXiv 1511.06434), with spectral normalisation.

Spectral normalisation of the discriminator after Miyato et al. 2018 (arXiv 1802.05957), equation 8.
Both networks are chains of 4 x 4 convolutions with stride 2. At 256 pixels and width 64 they have about
12 and 11 million weights.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn.utils import parametrizations

from scansynth.recipe import NetworkSettings


def channels(size: int, width: int) -> list[int]:
    """Channels at sides 4, 8, ... size / 2: `width` at the widest map, doubled downward, at most 8 times."""
    sides = [4 << level for level in range((size // 4).bit_length() - 1)]
    return [min(8 * width, width * (size // 2) // side) for side in sides]


def _initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02), section 4 of the paper; batch norm's scales from N(1, 0.02)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def build_generator(size: int, settings: NetworkSettings) -> nn.Module:
    """Noise (N, noise, 1, 1) from N(0, 1) -> images (N, 1, size, size) in [-1, 1].

    Args:
        size: Side of the images in pixels, a power of two from 32.
        settings: Noise length and width.
    """
    stages = channels(size, settings.width)
    layers: list[nn.Module] = [nn.ConvTranspose2d(settings.noise, stages[0], 4, 1, 0, bias=False)]
    for before, after in itertools.pairwise(stages):
        layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
    layers += [nn.BatchNorm2d(stages[-1]), nn.ReLU(), nn.ConvTranspose2d(stages[-1], 1, 4, 2, 1), nn.Tanh()]
    generator = nn.Sequential(*layers)
    generator.apply(_initialise)
    return generator


def build_discriminator(size: int, settings: NetworkSettings) -> nn.Module:
    """Images (N, 1, size, size) in [-1, 1] -> logits (N, 1, 1, 1).

    Spectral normalisation bounds every convolution's largest singular value by 1, and takes the place of batch
    norm, as in Miyato et al.: with both, a 256-pixel discriminator told whole batches apart at once, and the
    generator learned nothing. Without it there is batch norm, but for the first and the last layer (section 3
    of the DCGAN paper).
    """
    stages = channels(size, settings.width)[::-1]
    layers: list[nn.Module] = [nn.Conv2d(1, stages[0], 4, 2, 1), nn.LeakyReLU(0.2)]
    for before, after in itertools.pairwise(stages):
        layers.append(nn.Conv2d(before, after, 4, 2, 1, bias=settings.spectral_norm))
        if not settings.spectral_norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.LeakyReLU(0.2))
    layers += [nn.Conv2d(stages[-1], 1, 4, 1, 0)]
    discriminator = nn.Sequential(*layers)
    discriminator.apply(_initialise)
    if settings.spectral_norm:
        for layer in discriminator:
            if isinstance(layer, nn.Conv2d):
                parametrizations.spectral_norm(layer)
    return discriminator


def noise(count: int, length: int, random: torch.Generator) -> torch.Tensor:
    """Noise (count, length, 1, 1) from N(0, 1), drawn where `random` lives."""
    return torch.randn(count, length, 1, 1, generator=random, device=random.device)
