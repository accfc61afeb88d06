"""The published networks: shapes, sizes, spectral norm."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from scansynth.gan.layers.batch_norm import BatchNorm2d
from scansynth.gan.models.dcgan import (
    NetworkSettings,
    build_discriminator,
    build_generator,
    channels_of,
    folded,
    halvings,
    with_spectral_norm,
)
from scansynth.gan.models.families import count_weights

SMALL = NetworkSettings(noise=12, width=4)


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_noise_to_images_to_logits(size: int) -> None:
    generator, discriminator = build_generator((size, size), 1, SMALL), build_discriminator((size, size), 1, SMALL)
    images = generator(torch.randn(2, 12, generator=torch.Generator().manual_seed(0)))
    assert images.shape == (2, 1, size, size)
    assert images.abs().max() <= 1.0
    assert discriminator(images).shape == (2, 1, 1, 1)


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512, 1024])
def test_channels_double_downward_to_eight_widths(size: int) -> None:
    found = channels_of(halvings((size, size)), 4)
    assert len(found) == {32: 3, 64: 4, 128: 5, 256: 6, 512: 7, 1024: 8}[size]
    assert found[-1] == 4
    assert max(found) == min(32, 4 * size // 8)
    assert all(before in (after, 2 * after) for before, after in itertools.pairwise(found))


def test_the_published_size_has_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        generator = build_generator((256, 256), 1, NetworkSettings())
        discriminator = build_discriminator((256, 256), 1, NetworkSettings())
    assert 11.5e6 < count_weights(generator) < 12.9e6
    assert 10.5e6 < count_weights(discriminator) < 11.5e6


def test_tanh_bounds_any_noise() -> None:
    generator = build_generator((32, 32), 1, SMALL)
    assert generator(1e4 * torch.randn(4, 12, generator=torch.Generator().manual_seed(0))).abs().max() <= 1.0


def test_weights_begin_as_the_paper_says() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        settings = NetworkSettings(width=32, spectral_norm=False)
        layers = [*build_generator((64, 64), 1, settings), *build_discriminator((64, 64), 1, settings)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            assert layer.weight.mean().abs() < 0.1 * 0.02
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert layer.bias is None or not layer.bias.any()
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.mean().item() == pytest.approx(1.0, abs=0.02)
            assert not layer.bias.any()


def after_convolutions(spectral_norm: bool) -> list[type]:
    layers = list(build_discriminator((64, 64), 1, NetworkSettings(width=8, spectral_norm=spectral_norm)))
    followers = zip(layers, [*layers[1:], None], strict=True)
    return [type(after) for layer, after in followers if isinstance(layer, nn.Conv2d)]


def test_spectral_norm_takes_the_place_of_batch_norm() -> None:
    assert after_convolutions(spectral_norm=True) == [nn.LeakyReLU] * 4 + [type(None)]


def test_without_it_batch_norm_stands_everywhere_but_at_both_ends() -> None:
    expected = [nn.LeakyReLU, BatchNorm2d, BatchNorm2d, BatchNorm2d, type(None)]
    assert after_convolutions(spectral_norm=False) == expected


def test_with_spectral_norm_no_image_is_judged_by_its_neighbours() -> None:
    discriminator = build_discriminator((32, 32), 1, NetworkSettings(width=8)).train()
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
    discriminator = build_discriminator((64, 64), 1, NetworkSettings(width=8))
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
    discriminator = build_discriminator((64, 64), 1, NetworkSettings(width=8, spectral_norm=False))
    assert not any(parametrize.is_parametrized(layer) for layer in discriminator)
    assert min(singular_values(discriminator)) < 0.8


PLAIN = NetworkSettings(width=8, spectral_norm=False)


def images(count: int, seed: int = 0) -> Tensor:
    """Stripes, each image's of another contrast and width, with noise over them."""
    noisy = 0.2 * torch.randn(count, 1, 64, 64, generator=torch.Generator().manual_seed(seed))
    wave = torch.arange(1, count + 1).view(-1, 1, 1, 1) * torch.linspace(0, 6, 64)
    return torch.linspace(-1, 1, count).view(-1, 1, 1, 1) * wave.sin() + noisy


def used_discriminator() -> nn.Module:
    """One with batch norm whose scales, shifts, biases and running statistics are all something else than at first."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        discriminator = build_discriminator((64, 64), 1, PLAIN).to(memory_format=torch.channels_last)
        with torch.no_grad():
            for layer in discriminator.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.weight.uniform_(0.3, 3.0)
                    layer.bias.normal_()
                elif isinstance(layer, nn.Conv2d):
                    layer.weight.mul_(5.0)
                    layer.bias is None or layer.bias.normal_(0.0, 0.3)
    for seed in range(8):
        discriminator(images(8, seed))
    return discriminator


def test_batch_norm_goes_into_the_convolutions_before_it() -> None:
    discriminator = used_discriminator().eval()
    values = images(5, 99)
    chain = folded(discriminator)
    for place, (weight, bias) in enumerate(chain):
        last = place == len(chain) - 1
        values = functional.conv2d(values, weight, bias, 1 if last else 2, 0 if last else 1)
        values = values if last else functional.leaky_relu(values, 0.2)
    torch.testing.assert_close(values, discriminator(images(5, 99)), rtol=1e-4, atol=1e-4)


def test_switched_on_later_spectral_norm_holds_from_the_first_use() -> None:
    switched = with_spectral_norm(used_discriminator(), (64, 64), 1, PLAIN)
    assert singular_values(switched.eval()) == pytest.approx([1.0] * 5, abs=0.01)
    switched.train()(images(2))
    assert singular_values(switched.eval()) == pytest.approx([1.0] * 5, abs=0.01)


def test_switched_on_later_it_normalises_the_weights_that_were_learned() -> None:
    discriminator = used_discriminator()
    switched = with_spectral_norm(discriminator, (64, 64), 1, PLAIN)
    convolutions = [layer for layer in switched if isinstance(layer, nn.Conv2d)]
    for layer, (weight, _) in zip(convolutions, folded(discriminator), strict=True):
        assert torch.equal(layer.parametrizations.weight.original, weight)


def test_switched_on_later_it_judges_as_before_on_another_scale() -> None:
    discriminator = used_discriminator()
    switched = with_spectral_norm(discriminator, (64, 64), 1, PLAIN).eval()
    before, after = discriminator.eval()(images(6, 99)).flatten(), switched(images(6, 99)).flatten()
    factor = (after.std() / before.std()).item()
    assert before.std() > 0.02
    assert abs(factor - 1.0) > 0.1
    torch.testing.assert_close(after, factor * before, rtol=0.0, atol=1e-3 * after.std().item())


def test_switched_on_later_it_is_as_one_built_with_it() -> None:
    discriminator = used_discriminator()
    switched = with_spectral_norm(discriminator, (64, 64), 1, PLAIN)
    built = build_discriminator((64, 64), 1, NetworkSettings(width=8)).to(memory_format=torch.channels_last)
    assert str(switched) == str(built)
    assert [
        (name, value.shape, value.stride(), value.requires_grad) for name, value in switched.named_parameters()
    ] == [(name, value.shape, value.stride(), value.requires_grad) for name, value in built.named_parameters()]
    assert switched.training
    assert not with_spectral_norm(discriminator.eval(), (64, 64), 1, PLAIN).training
    contiguous = with_spectral_norm(discriminator.to(memory_format=torch.contiguous_format), (64, 64), 1, PLAIN)
    assert all(value.is_contiguous() for value in contiguous.parameters())
    built.load_state_dict(switched.state_dict())


def test_switching_draws_nothing_repeats_and_leaves_the_old_one_alone() -> None:
    discriminator, untouched = used_discriminator(), used_discriminator()
    before = torch.get_rng_state()
    first = with_spectral_norm(discriminator, (64, 64), 1, PLAIN)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(7)
    second = with_spectral_norm(discriminator, (64, 64), 1, PLAIN)
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    with torch.no_grad():
        for value in first.parameters():
            value.add_(1.0)  # shares no weight
    assert all(map(torch.equal, discriminator.state_dict().values(), untouched.state_dict().values()))


def test_what_has_spectral_norm_is_not_given_it_again() -> None:
    with pytest.raises(ValueError, match="already"):
        with_spectral_norm(build_discriminator((64, 64), 1, SMALL), (64, 64), 1, SMALL)
