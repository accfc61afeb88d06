"""The Haar transform, what makes its bands alike in weight, and the clamp."""

import math

import pytest
import torch

from scansynth.gan.layers.haar import Bands, clamp, coarser, levels_for, octave_sizes, split

MANY = 500  # patients of whom every place is kept


def _images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2.0 - 1.0


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_transform_is_orthonormal_and_undone(levels: int) -> None:
    """Bands have the length of the pixels, and give them back."""
    images = _images(3, 2, 16, 24)
    bands = split(images, levels)
    assert bands.shape == (3, 2 * 4**levels, 16 >> levels, 24 >> levels)
    torch.testing.assert_close(bands.square().sum(), images.square().sum())
    _, back = torch.autograd.functional.vjp(lambda pixels: split(pixels, levels), images, bands)
    torch.testing.assert_close(back, images)  # an orthonormal transform is undone by its transpose


def test_known_values_of_one_block() -> None:
    """[[1, 2], [3, 5]]: half of 11, of -3 across, of -5 down, of 1 for both."""
    bands = split(torch.tensor([[[[1.0, 2.0], [3.0, 5.0]]]]), 1)
    assert bands.flatten().tolist() == [5.5, -1.5, -2.5, 0.5]


def test_the_first_bands_are_the_means_of_the_channels() -> None:
    """After two levels: the mean of 4 x 4 pixels, times 4."""
    images = _images(2, 3, 8, 8)
    means = torch.nn.functional.avg_pool2d(images, 4) * 4.0
    torch.testing.assert_close(split(images, 2)[:, :3], means)


@pytest.mark.parametrize(("side", "levels"), [(32, 1), (40, 1), (64, 2), (128, 3), (256, 4), (512, 5)])
def test_a_doubled_side_is_one_level_more(side: int, levels: int) -> None:
    """Bands keep their sides, so that the cost follows the bands and not the side."""
    assert levels_for((side, side)) == levels


@pytest.mark.parametrize("shape", [(40, 40), (37, 53), (129, 127), (32, 100)])
def test_any_sides_come_back(shape: tuple[int, int]) -> None:
    """What is written at its own scale is the image, also where no block fills its last pixels."""
    bands = Bands(shape, 2)
    images = 0.9 * _images(4, 2, *shape)
    bands.fit([images], MANY)
    assert bands.split(images).shape == (4, bands.count, *bands.grid)
    scaled = torch.zeros(4, 2, *bands.fine)
    rows, columns = shape
    scaled[:, :, :rows, :columns] = (images - bands.centre[:, :rows, :columns]) / bands.reach[:, :rows, :columns]
    torch.testing.assert_close(bands.write(scaled), images, atol=1e-5, rtol=0.0)


def test_bands_are_brought_to_unit_spread() -> None:
    """Noise of any strength has spread 1 in each band; the grey has mean 0."""
    images = 0.3 + 0.05 * torch.randn(64, 1, 40, 40, generator=torch.Generator().manual_seed(1))
    bands = Bands((40, 40), 1)
    bands.fit([images[:20], images[20:]], MANY)
    scaled = (bands.split(images) - bands.mean) / bands.scale
    torch.testing.assert_close(scaled.square().mean((0, 2, 3)), torch.ones(4), atol=0.01, rtol=0.0)
    assert abs(float(scaled[:, 0].mean())) < 1e-3


def test_flat_background_does_not_count() -> None:
    """An image whose right three quarters are air has the scale of its left quarter."""
    tissue = 0.2 * torch.randn(32, 1, 40, 40, generator=torch.Generator().manual_seed(2))
    padded = torch.full_like(tissue, -1.0)
    padded[..., :10] = tissue[..., :10]
    alone, beside = Bands((40, 40), 1), Bands((40, 40), 1)
    alone.fit([tissue], MANY)
    beside.fit([padded], MANY)
    torch.testing.assert_close(beside.scale[1:], alone.scale[1:], atol=0.0, rtol=0.05)


def test_a_band_without_content_is_not_blown_up() -> None:
    """Images that are constant in each 2 x 2 block: the finest scale is a grey level, not 0."""
    images = _images(8, 1, 20, 20).repeat_interleave(2, 2).repeat_interleave(2, 3)
    bands = Bands((40, 40), 1)
    bands.fit([images], MANY)
    assert bands.scale[1:].flatten().tolist() == [1 / 128] * 3
    assert float(bands.read(images).abs().max()) < 10.0


def test_what_lies_far_out_is_read_by_its_logarithm() -> None:
    """2 asinh(u / 2): nearly u for a small u, and twice its logarithm for a large one."""
    bands = Bands((40, 40), 1)
    image = torch.zeros(1, 1, 40, 40)
    image[..., 0, 0], image[..., 2, 2] = 0.02, 2000.0
    read = bands.read(image)
    assert float(read[0, 0, 0, 0]) == pytest.approx(0.01, rel=1e-3)
    assert float(read[0, 0, 1, 1]) == pytest.approx(2.0 * math.log(1000.0), rel=1e-3)


def test_every_octave_counts_alike() -> None:
    """The mean is one band, then three, then four times as many at each finer level; their weights add up to 1 each."""
    assert octave_sizes(1).tolist() == [1, 3, 3, 3]
    sizes = octave_sizes(3)
    assert {int(size): int((sizes == size).sum()) for size in sizes} == {1: 1, 3: 3, 12: 12, 48: 48}


def test_octaves_are_where_they_are_said_to_be() -> None:
    """Stripes of single pixels lie in the finest octave, and stripes of 2 pixels in the next."""
    for width, expected in ((1, 12.0), (2, 3.0)):
        stripes = torch.tensor([1.0, -1.0]).repeat_interleave(width).repeat(16 // width // 2)[:16]
        bands = split(stripes.expand(1, 1, 16, 16), 2)
        assert set(octave_sizes(2)[bands.square().mean((0, 2, 3)) > 1e-6].tolist()) == {expected}


def test_the_start_is_the_mean_image_and_its_spread_place_by_place() -> None:
    """Nothing made gives the mean; where all images are black, the least reach is left."""
    images = 0.5 * _images(40, 1, 40, 40)
    images[..., 20:] = -1.0
    bands = Bands((40, 40), 1)
    bands.fit([images[:10], images[10:]], MANY)
    made = bands.write(torch.zeros(1, 1, *bands.fine))
    torch.testing.assert_close(made[0], images.mean(0), atol=1e-5, rtol=0.0)
    spread = images.std(0, correction=0)
    torch.testing.assert_close(bands.reach[..., :20], spread[..., :20], atol=1e-5, rtol=1e-4)
    assert 0.0 < float(bands.reach[0, :, 20:].max()) < 0.2 * float(bands.reach[0, :, :20].mean())


def test_of_few_patients_no_mean_image_is_kept() -> None:
    """Below 50 patients one number, below 200 the means of 8 x 8 places; what is made still spans the images."""
    images = _images(60, 1, 64, 64)
    images[..., :32] = 0.3 * images[..., :32] + 0.6
    stripes = torch.tensor([0.1, 0.1, -0.1, -0.1]).repeat(16)  # which 8 x 8 places do not show
    for patients, sides, detail in ((49, False, False), (50, True, False), (199, True, False), (200, True, True)):
        bands, striped = Bands((64, 64), 1), Bands((64, 64), 1)
        bands.fit([images], patients)
        striped.fit([images + stripes], patients)
        assert (float((bands.centre[0, 0, 0] - bands.centre[0, 0, -1]).abs()) > 0.1) is sides
        assert (float((bands.centre - striped.centre).abs().max()) > 1e-4) is detail
        assert float(bands.centre[0].mean()) == pytest.approx(float(images.mean()), rel=1e-4)
        scaled = (images - bands.centre) / bands.reach
        assert 0.9 < float(scaled.square().mean()) < 1.3
    assert torch.equal(coarser(torch.ones(4, 6, 6), 100), torch.ones(4, 6, 6))


def test_the_clamp_leads_back_inside() -> None:
    """Outside, only a gradient whose step goes inward passes; a plain clamp lets none pass."""
    values = torch.tensor([-3.0, -3.0, 0.5, 0.5, 3.0, 3.0], requires_grad=True)
    weights = torch.tensor([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
    kept = clamp(values)
    assert kept.tolist() == [-1.0, -1.0, 0.5, 0.5, 1.0, 1.0]
    (kept * weights).sum().backward()
    # a step goes against the gradient: below -1 a negative one leads up, above 1 a positive one leads down
    assert values.grad is not None
    assert values.grad.tolist() == [-1.0, 0.0, -1.0, 1.0, 0.0, 1.0]


def test_a_generator_comes_back_from_beyond_the_clamp() -> None:
    """Gradient descent on (clamp(x) - 0.5)^2 finds 0.5 from 3."""
    value = torch.tensor([3.0], requires_grad=True)
    for _ in range(200):
        loss = (clamp(value) - 0.5).square().sum()
        (slope,) = torch.autograd.grad(loss, value)
        value = (value - 0.1 * slope).detach().requires_grad_()
    assert value.item() == pytest.approx(0.5, abs=1e-3)
