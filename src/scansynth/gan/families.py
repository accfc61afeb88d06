"""The families of networks that a recipe can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from scansynth.gan import dcgan
from scansynth.recipe import NetworkSettings


@dataclass(frozen=True)
class Family:
    """How to build both networks of a family, from the images' side and the recipe's settings.

    Attributes:
        build_generator: Noise to images.
        build_discriminator: Images to logits.
        with_spectral_norm: A discriminator with spectral normalisation that goes on from one without.
    """

    build_generator: Callable[[int, NetworkSettings], nn.Module]
    build_discriminator: Callable[[int, NetworkSettings], nn.Module]
    with_spectral_norm: Callable[[nn.Module, int, NetworkSettings], nn.Module]


FAMILIES: Mapping[str, Family] = {
    "dcgan": Family(dcgan.build_generator, dcgan.build_discriminator, dcgan.with_spectral_norm),
}


def count_weights(network: nn.Module) -> int:
    """Trainable numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
