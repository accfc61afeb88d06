"""DCGAN: Radford, Metz, Chintala 2016 (arXiv 1511.06434), with spectral normalisation.

Spectral normalisation of the discriminator after Miyato et al. 2018 (arXiv 1802.05957), equation 8.
Both networks are chains of 4 x 4 convolutions with stride 2. At 256 pixels and width 64 they have about
12 and 11 million weights.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from scansynth.recipe import NetworkSettings

_SETTLING = 200
"""Power iterations until a singular value stands: an untrained matrix has many near the largest."""


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


def folded(discriminator: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Weights (out, in, 4, 4) and biases (out,) of convolutions that do what convolutions and batch norms did.

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
def with_spectral_norm(discriminator: nn.Module, size: int, settings: NetworkSettings) -> nn.Module:
    """A discriminator with spectral normalisation that goes on from one without.

    Each batch norm goes into the convolution before it. Normalising then divides the convolutions, so each bias is
    divided by the product of what its own and all earlier convolutions were divided by: leaky ReLU passes
    such a factor through, and every logit is that of the old discriminator (by its running statistics) times one
    positive number.

    Args:
        discriminator: As `build_discriminator` gives it without spectral normalisation; left as it is.
        size: Side of the images in pixels.
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
        network = build_discriminator(size, settings.model_copy(update={"spectral_norm": True}))
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


def noise(count: int, length: int, random: torch.Generator) -> torch.Tensor:
    """Noise (count, length, 1, 1) from N(0, 1), drawn where `random` lives."""
    return torch.randn(count, length, 1, 1, generator=random, device=random.device)
