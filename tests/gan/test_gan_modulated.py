"""A convolution that a style modulates: what each image gets, and what the batch takes away."""

import pytest
import torch

from scansynth.gan.layers.modulated import SLOPE, Modulated


def _drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _layer(grain: int = 2) -> Modulated:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Modulated(6, 5, 8, grain)


@torch.no_grad()
@pytest.mark.parametrize("grain", [0, 2])
def test_convolution_is_the_modulated_one(grain: int) -> None:
    """Scaling what goes in is convolving with each image's own weights; at rest, by the statistics that are kept."""
    layer = _layer(grain).eval()
    assert layer.norm.running_mean is not None
    assert layer.norm.running_var is not None
    layer.norm.running_mean.copy_(torch.linspace(-1.0, 1.0, 5))
    layer.norm.running_var.copy_(torch.linspace(0.5, 4.0, 5))
    layer.bias.copy_(_drawn(5, seed=3))
    x, style, noise = _drawn(2, 6, 7, 7), _drawn(2, 8, seed=1), _drawn(2, grain, 7, 7, seed=2)
    found = layer(x, style, noise)
    for place in range(2):
        weights = torch.cat([layer.weight, layer.grain], 1) * layer.scales(style[place])[None, :, None, None]
        own = torch.nn.functional.conv2d(torch.cat([x, noise], 1)[place : place + 1], weights, padding=1)
        level = (own - layer.norm.running_mean[:, None, None]) / (layer.norm.running_var + 1e-5).sqrt()[:, None, None]
        expected = torch.nn.functional.leaky_relu(level * 2**0.5 + layer.bias[:, None, None], 0.2)
        torch.testing.assert_close(found[place : place + 1], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_faint_maps_come_out_at_full_strength() -> None:
    """In training: mean 0 and mean square 2 of each channel before the leaky ReLU, a twentieth as strong or not."""
    x, style, noise = _drawn(16, 6, 9, 9), _drawn(16, 8, seed=1), torch.zeros(16, 0, 9, 9)
    y = _layer(0)(x, style, noise)
    torch.testing.assert_close(_layer(0)(0.05 * x, style, noise), y, atol=0.02, rtol=0.02)
    before = torch.where(y < 0.0, y / SLOPE, y)
    torch.testing.assert_close(before.mean((0, 2, 3)), torch.zeros(5), atol=1e-3, rtol=0.0)
    torch.testing.assert_close(before.square().mean((0, 2, 3)), torch.full((5,), 2.0), atol=1e-2, rtol=0.0)


@torch.no_grad()
def test_strength_is_brought_to_one_over_the_batch_and_not_in_each_image() -> None:
    """An image that enters twice as strong leaves stronger than the others: images are not made alike."""
    x, style, noise = _drawn(16, 6, 9, 9), torch.zeros(16, 8), torch.zeros(16, 0, 9, 9)
    x[0] *= 2.0
    spread = _layer(0)(x, style, noise).var((1, 2, 3))
    assert float(spread[0]) > 2.0 * float(spread[1:].max())
