"""Curves of appearance: closed forms, invariances, and the traces that they are there to show."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from scansynth.metrics.appearance import grey_shares, radial_power


@pytest.mark.parametrize("side", [32, 33, 64])
@pytest.mark.parametrize("spread", [0.1, 2.0])
def test_independent_noise_has_its_variance_at_every_frequency(side: int, spread: float) -> None:
    noise = np.random.default_rng(1).normal(0.3, spread, (600, side, side))
    frequencies, power = radial_power(noise)
    assert frequencies[0] == pytest.approx(1 / side)
    assert 0.5 - 1 / side < frequencies[-1] <= 0.5
    # the lowest ring lies in the window's main lobe, where the mean was taken out
    assert power.mean(axis=0)[2:] == pytest.approx(spread**2, rel=0.08)


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 135.0])
def test_a_wave_peaks_at_its_frequency_whatever_its_direction(angle: float) -> None:
    y, x = np.mgrid[:64, :64]
    along = np.cos(np.deg2rad(angle)) * x + np.sin(np.deg2rad(angle)) * y
    frequencies, power = radial_power(np.sin(2 * np.pi * 0.25 * along)[None])
    assert frequencies[power[0].argmax()] == pytest.approx(0.25, abs=1 / 64)
    assert power[0][np.abs(frequencies - 0.25) > 3 / 64].max() < 1e-3 * power[0].max()


def test_brightness_and_order_do_not_matter_and_contrast_is_squared() -> None:
    images = np.random.default_rng(2).normal(size=(300, 16, 16))
    power = radial_power(images)[1]
    assert radial_power(images + 5.0)[1] == pytest.approx(power)
    assert radial_power(3.0 * images)[1] == pytest.approx(9.0 * power)
    assert radial_power(images[::-1])[1][::-1] == pytest.approx(power)
    assert radial_power(images.transpose(0, 2, 1))[1] == pytest.approx(power)


def test_a_shift_leaves_the_spectrum_nearly_as_it_is() -> None:
    images = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(400, 48, 48)), (0, 2, 2))
    here, there = (radial_power(part)[1].mean(axis=0) for part in (images[:, :32, :32], images[:, 9:41, 9:41]))
    # above 0.35 cycles per pixel nothing is left of these images but rounding
    assert np.log(there / here)[:11] == pytest.approx(0.0, abs=0.15)


def test_blur_and_naive_enlargement_show() -> None:
    images = np.random.default_rng(4).normal(size=(50, 64, 64))
    power = radial_power(images)[1].mean(axis=0)
    blurred = radial_power(ndimage.gaussian_filter(images, (0, 1, 1)))[1].mean(axis=0)
    assert blurred[-1] < 0.01 * power[-1]
    assert blurred[2] > 0.8 * power[2]
    enlarged = radial_power(images[:, :32, :32].repeat(2, 1).repeat(2, 2))[1].mean(axis=0)
    assert enlarged[-1] < 0.3 * enlarged[2]


def test_one_grey_value_has_no_power() -> None:
    assert radial_power(np.full((2, 8, 8), -1.0))[1] == pytest.approx(0.0)


@pytest.mark.parametrize("shape", [(2, 8, 9), (2, 3, 3)])
def test_images_that_are_not_square_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="square"):
        radial_power(np.zeros(shape))


def test_grey_shares_count_pixels_and_add_up_to_one() -> None:
    image = np.array([[[-1.0, -1.0], [1.0, 0.1]]])
    middles, shares = grey_shares(image, 4)
    assert middles == pytest.approx([-0.75, -0.25, 0.25, 0.75])
    assert shares == pytest.approx(np.array([[0.5, 0.0, 0.25, 0.25]]))
    random = np.random.default_rng(5).normal(0, 0.5, (20, 7, 9))
    _, shares = grey_shares(random, 16)
    assert shares.sum(axis=1) == pytest.approx(1.0)
    # beyond the ends counts in the last bins, as numpy's histogram of clipped values has it
    expected = np.histogram(random[3].clip(-1, 1), bins=16, range=(-1, 1))[0] / 63
    assert shares[3] == pytest.approx(expected)
