"""DCGAN: Radford, Metz, Chintala 2016 (arXiv 1511.06434), with spectral normalisation.

Spectral normalisation of the discriminator after Miyato et al. 2018 (arXiv 1802.05957), equation 8.
Both networks are chains of 4 x 4 convolutions with stride 2. At 256 pixels and width 64 they have about
12 and 11 million weights. Labels are taken and not looked at.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from scansynth.config import Settings
from scansynth.errors import ConfigError
from scansynth.gan.layers.batch_norm import BatchNorm2d
from scansynth.gan.losses import LossSettings
from scansynth.gan.models.family import Batch, Family, Form, Networks
from scansynth.gan.state import TrainingState
from scansynth.gan.step import round_of_steps
from scansynth.learning.device import Device
from scansynth.recipe import Change, Recipe

_SETTLING = 200
"""Power iterations until a singular value stands: an untrained matrix has many near the largest."""

_LEAST_SIDE = 32
_LEAST_MAP = 4
"""Sides of the smallest feature map are 4 to 7; in the paper 4."""

_FIRST_PENALTY = 1.0
_STRONGER = 4.0


class NetworkSettings(Settings):
    """Settings of both networks."""

    noise: int = Field(100, ge=1, description="Length of the noise vector.")
    width: int = Field(
        64, ge=4, description="Channels at the largest feature map; doubled at each smaller one, up to 8 times."
    )
    spectral_norm: bool = Field(True, description="Spectral normalisation of the discriminator's convolutions.")


class Dcgan(Family):
    """The published baseline."""

    changes: ClassVar[frozenset[Change]] = frozenset(Change)
    network: NetworkSettings = NetworkSettings()
    loss: LossSettings = LossSettings()

    def build(self, shape: tuple[int, int], channels: int, classes: int, conditions: int = 0) -> Networks:
        """See `Family.build`; neither `classes` nor `conditions` are looked at."""
        generator = build_generator(shape, channels, self.network)
        return Networks(generator, build_discriminator(shape, channels, self.network), self.network.noise)

    def step(self, state: TrainingState, batch: Batch, recipe: Recipe, device: Device) -> Tensor:
        """See `Family.step`: cross-entropy with softened targets, replay, and R1 where it is on."""
        return round_of_steps(state, batch, self.loss, recipe, device)

    def layers(self, discriminator: nn.Module) -> Sequence[nn.Module]:
        """See `Family.layers`: the convolutions, but for the last, which gives the logit."""
        return [layer for layer in discriminator.children() if isinstance(layer, nn.Conv2d)][:-1]

    def altered(self, change: Change) -> Self | None:
        """See `Family.altered`: spectral normalisation switched on, or a stronger penalty."""
        if change is Change.PENALTY:
            before = self.loss.penalty
            penalty = before * _STRONGER if before else _FIRST_PENALTY
            return self.model_copy(update={"loss": self.loss.model_copy(update={"penalty": penalty})})
        if change is Change.SPECTRAL_NORM and not self.network.spectral_norm:
            return self.model_copy(update={"network": self.network.model_copy(update={"spectral_norm": True})})
        return None

    def carried_over(self, discriminator: nn.Module, form: Form) -> nn.Module:
        """See `Family.carried_over`: built again only where spectral normalisation was switched on."""
        before = any(parametrize.is_parametrized(layer) for layer in discriminator.modules())
        if before or not self.network.spectral_norm:
            return discriminator
        return with_spectral_norm(discriminator, form.shape, form.channels, self.network)

    def narrowed(self, width: int) -> Self | None:
        """See `Family.narrowed`."""
        return self.model_copy(update={"network": self.network.model_copy(update={"width": width})})

    @property
    def width(self) -> int:
        """See `Family.width`."""
        return self.network.width


def halvings(shape: tuple[int, int]) -> int:
    """How often the discriminator halves the sides, until the shorter one is 4 to 7.

    Raises:
        ConfigError: A side is too short, or cannot be halved so often.
    """
    count = max(0, (min(shape) // _LEAST_MAP).bit_length() - 1)
    step = 1 << count
    if min(shape) < _LEAST_SIDE or any(side % step for side in shape):
        step = max(step, _LEAST_SIDE // _LEAST_MAP)
        near = " x ".join(str(max(_LEAST_SIDE, side // step * step)) for side in shape)
        raise ConfigError(
            f"the family dcgan has no networks for {shape[0]} x {shape[1]} pixels: both sides must be {_LEAST_SIDE} "
            f"or more and, beside a shorter side of {min(shape)}, multiples of {step}; set cohort.size to {near}, for "
            "example, and ingest again"
        )
    return count


def channels_of(levels: int, width: int) -> list[int]:
    """Channels from the smallest map upward: `width` at the widest map, doubled at each smaller map, up to 8 times."""
    return [min(8 * width, width << (levels - 1 - level)) for level in range(levels)]


class _Generator(nn.Sequential):
    """The chain of layers, whose weights are named by their place in it."""

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Noise (n, noise) to images (n, channels, rows, columns)."""
        images: Tensor = super().forward(noise[:, :, None, None])  # type: ignore[no-untyped-call]  # torch has no types here
        return images


class _Discriminator(nn.Sequential):
    """The chain of layers, whose weights are named by their place in it."""

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (n, channels, rows, columns) to logits (n, 1, 1, 1)."""
        logits: Tensor = super().forward(images)  # type: ignore[no-untyped-call]  # torch has no types here
        return logits


class _SpectralNorm(parametrizations._SpectralNorm):
    """As torch registers it by `spectral_norm`, but networks that have only a shape have no largest singular value.

    There its 15 rounds of power iteration would change nothing, and take longer than a training step.
    """

    def _power_method(self, weight_mat: Tensor, n_power_iterations: int) -> None:
        if not weight_mat.is_meta:
            super()._power_method(weight_mat, n_power_iterations)


def _initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02), section 4 of the paper; batch norm's scales from N(1, 0.02)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def build_generator(shape: tuple[int, int], channels: int, settings: NetworkSettings) -> nn.Module:
    """Noise (n, noise) from N(0, 1) -> images (n, channels, rows, columns) in [-1, 1].

    Args:
        shape: Rows and columns of the images.
        channels: Of the images.
        settings: Noise length and width.

    Raises:
        ConfigError: There are no networks for this shape.
    """
    levels = halvings(shape)
    stages = channels_of(levels, settings.width)
    smallest = (shape[0] >> levels, shape[1] >> levels)
    layers: list[nn.Module] = [nn.ConvTranspose2d(settings.noise, stages[0], smallest, 1, 0, bias=False)]
    for before, after in itertools.pairwise(stages):
        layers += [BatchNorm2d(before), nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
    layers += [BatchNorm2d(stages[-1]), nn.ReLU(), nn.ConvTranspose2d(stages[-1], channels, 4, 2, 1), nn.Tanh()]
    generator = _Generator(*layers)
    generator.apply(_initialise)
    return generator


def build_discriminator(shape: tuple[int, int], channels: int, settings: NetworkSettings) -> nn.Module:
    """Images (n, channels, rows, columns) in [-1, 1] -> logits (n, 1, 1, 1).

    Spectral normalisation bounds every convolution's largest singular value by 1, and takes the place of batch
    norm, as in Miyato et al.: with both, a 256-pixel discriminator told whole batches apart at once, and the
    generator learned nothing. Without it there is batch norm, but for the first and the last layer (section 3
    of the DCGAN paper).

    Raises:
        ConfigError: There are no networks for this shape.
    """
    levels = halvings(shape)
    stages = channels_of(levels, settings.width)[::-1]
    layers: list[nn.Module] = [nn.Conv2d(channels, stages[0], 4, 2, 1), nn.LeakyReLU(0.2)]
    for before, after in itertools.pairwise(stages):
        layers.append(nn.Conv2d(before, after, 4, 2, 1, bias=settings.spectral_norm))
        if not settings.spectral_norm:
            layers.append(BatchNorm2d(after))
        layers.append(nn.LeakyReLU(0.2))
    layers += [nn.Conv2d(stages[-1], 1, (shape[0] >> levels, shape[1] >> levels), 1, 0)]
    discriminator = _Discriminator(*layers)
    discriminator.apply(_initialise)
    if settings.spectral_norm:
        for layer in discriminator:
            if isinstance(layer, nn.Conv2d):
                parametrize.register_parametrization(layer, "weight", _SpectralNorm(layer.weight))
    return discriminator


def folded(discriminator: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Weights (out, in, rows, columns) and biases (out,) of convolutions that do what convolutions and batch norms did.

    With its running statistics, batch norm is scale * (x - mean) / sqrt(var + eps) + shift, equation in algorithm 2
    of Ioffe and Szegedy 2015 (arXiv 1502.03167): a factor and a shift of each channel of the convolution before it.

    Args:
        discriminator: Built without spectral normalisation.
    """
    found: list[tuple[Tensor, Tensor]] = []
    for layer in discriminator.children():
        if isinstance(layer, nn.Conv2d):
            weight = layer.weight.detach()
            found.append((weight, weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach()))
        elif isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None:
            weight, bias = found.pop()
            factor = layer.weight.detach() / (layer.running_var + layer.eps).sqrt()
            shift = layer.bias.detach() - factor * layer.running_mean
            found.append((weight * factor.view(-1, 1, 1, 1), bias * factor + shift))
    return found


@torch.no_grad()
def with_spectral_norm(
    discriminator: nn.Module, shape: tuple[int, int], channels: int, settings: NetworkSettings
) -> nn.Module:
    """A discriminator with spectral normalisation that goes on from one without.

    Each batch norm goes into the convolution before it. Normalising then divides the convolutions, so each bias is
    divided by the product of what its own and all earlier convolutions were divided by: leaky ReLU passes
    such a factor through, and every logit is that of the old discriminator (by its running statistics) times one
    positive number.

    Args:
        discriminator: As `build_discriminator` gives it without spectral normalisation; left as it is.
        shape: Rows and columns of the images.
        channels: Of the images.
        settings: Width; whether they ask for spectral normalisation does not matter.

    Returns:
        As `build_discriminator` gives it with spectral normalisation, on the same device, in the same memory format
        and mode, its singular values settled. The same weights give the same result: nothing is drawn
        from the global generator.

    Raises:
        ValueError: The discriminator has spectral normalisation already.
    """
    if any(parametrize.is_parametrized(layer) for layer in discriminator.modules()):
        raise ValueError("the discriminator has spectral normalisation already")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_discriminator(shape, channels, settings.model_copy(update={"spectral_norm": True}))
    convolutions = [layer for layer in network.children() if isinstance(layer, nn.Conv2d)]
    divided = torch.ones(())
    for layer, (weight, bias) in zip(convolutions, folded(discriminator), strict=True):
        layer.weight = weight.cpu().clone()  # the parametrisation takes it over as what it normalises
        divided = divided * weight.cpu().norm() / _settled(layer).norm()
        if layer.bias is not None:
            layer.bias.copy_(bias.cpu() / divided)
    like = next(discriminator.parameters())
    network.to(device=like.device)
    network.to(memory_format=_memory_format(discriminator))  # type: ignore[call-overload]  # torch's stub lacks this form
    return network.train(discriminator.training)


def _settled(layer: nn.Conv2d) -> Tensor:
    """The normalised weight of a convolution, after as many power iterations as it takes."""
    (norm,) = layer.parametrizations.weight  # type: ignore[union-attr, misc]  # made by parametrize at run time
    norm.n_power_iterations = _SETTLING
    try:
        return layer.weight
    finally:
        norm.n_power_iterations = 1


def _memory_format(network: nn.Module) -> torch.memory_format:
    """The layout of a network's convolutions; of a weight with one channel both say yes."""
    weights = [value for value in network.parameters() if value.dim() == 4]
    contiguous = all(value.is_contiguous() for value in weights)
    return torch.contiguous_format if contiguous else torch.channels_last
