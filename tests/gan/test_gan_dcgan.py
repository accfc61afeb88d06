"""The published networks: shapes, sizes, spectral norm."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from scansynth.gan.dcgan import build_discriminator, build_generator, channels, noise
from scansynth.gan.families import count_weights
from scansynth.recipe import NetworkSettings

SMALL = NetworkSettings(noise=12, width=4)


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_noise_to_images_to_logits(size: int) -> None:
    generator, discriminator = build_generator(size, SMALL), build_discriminator(size, SMALL)
    images = generator(noise(2, 12, torch.Generator().manual_seed(0)))
    assert images.shape == (2, 1, size, size)
    assert images.abs().max() <= 1.0
    assert discriminator(images).shape == (2, 1, 1, 1)


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512, 1024])
def test_channels_double_downward_to_eight_widths(size: int) -> None:
    found = channels(size, 4)
    assert len(found) == {32: 3, 64: 4, 128: 5, 256: 6, 512: 7, 1024: 8}[size]
    assert found[-1] == 4
    assert max(found) == min(32, 4 * size // 8)
    assert all(before in (after, 2 * after) for before, after in itertools.pairwise(found))


def test_the_published_size_has_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        generator = build_generator(256, NetworkSettings())
        discriminator = build_discriminator(256, NetworkSettings())
    assert 11.5e6 < count_weights(generator) < 12.9e6
    assert 10.5e6 < count_weights(discriminator) < 11.5e6


def test_tanh_bounds_any_noise() -> None:
    generator = build_generator(32, SMALL)
    assert generator(1e4 * torch.randn(4, 12, 1, 1, generator=torch.Generator().manual_seed(0))).abs().max() <= 1.0


def test_weights_begin_as_the_paper_says() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        settings = NetworkSettings(width=32, spectral_norm=False)
        layers = [*build_generator(64, settings), *build_discriminator(64, settings)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            assert layer.weight.mean().abs() < 0.1 * 0.02
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert layer.bias is None or not layer.bias.any()
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.mean().item() == pytest.approx(1.0, abs=0.02)
            assert not layer.bias.any()


def after_convolutions(spectral_norm: bool) -> list[type]:
    layers = list(build_discriminator(64, NetworkSettings(width=8, spectral_norm=spectral_norm)))
    followers = zip(layers, [*layers[1:], None], strict=True)
    return [type(after) for layer, after in followers if isinstance(layer, nn.Conv2d)]


def test_spectral_norm_takes_the_place_of_batch_norm() -> None:
    assert after_convolutions(spectral_norm=True) == [nn.LeakyReLU] * 4 + [type(None)]


def test_without_it_batch_norm_stands_everywhere_but_at_both_ends() -> None:
    expected = [nn.LeakyReLU, nn.BatchNorm2d, nn.BatchNorm2d, nn.BatchNorm2d, type(None)]
    assert after_convolutions(spectral_norm=False) == expected


def test_with_spectral_norm_no_image_is_judged_by_its_neighbours() -> None:
    discriminator = build_discriminator(32, NetworkSettings(width=8)).train()
    images = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with parametrize.cached():  # the same weights for both
        together = discriminator(images)
        alone = torch.cat([discriminator(image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-6)


def singular_values(discriminator: nn.Module) -> list[float]:
    return [
        torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2).item()
        for layer in discriminator
        if isinstance(layer, nn.Conv2d)
    ]


def test_spectral_norm_brings_every_convolution_to_one() -> None:
    discriminator = build_discriminator(64, NetworkSettings(width=8))
    with torch.no_grad():
        for layer in discriminator:
            if isinstance(layer, nn.Conv2d):
                layer.parametrizations.weight.original.mul_(7.0)
                layer.bias is None or layer.bias.fill_(3.0)
        images = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
        for _ in range(60):  # a power iteration each
            discriminator(images)
    discriminator.eval()
    assert singular_values(discriminator) == pytest.approx([1.0] * 5, abs=0.02)


def test_without_the_switch_nothing_is_normalised() -> None:
    discriminator = build_discriminator(64, NetworkSettings(width=8, spectral_norm=False))
    assert not any(parametrize.is_parametrized(layer) for layer in discriminator)
    assert min(singular_values(discriminator)) < 0.8


def test_noise_is_standard_normal_and_repeats() -> None:
    first = noise(400, 100, torch.Generator().manual_seed(5))
    assert first.shape == (400, 100, 1, 1)
    assert abs(first.mean().item()) < 0.02
    assert first.std().item() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(first, noise(400, 100, torch.Generator().manual_seed(5)))
    assert not torch.equal(first, noise(400, 100, torch.Generator().manual_seed(6)))
