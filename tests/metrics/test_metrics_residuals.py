"""Residuals see what processing leaves, image by image, and give numbers for any image."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from scansynth.metrics import planted
from scansynth.metrics.appearance import radial_power
from scansynth.metrics.residuals import residual_features


def scans(count: int, seed: int, shape: tuple[int, int] = (32, 32)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = ndimage.gaussian_filter(rng.normal(size=(count, *shape)), (0, 2, 2)) * 2
    return np.asarray(np.clip(coarse + rng.normal(0, 0.05, coarse.shape), -0.99, 0.99), np.float32)


@pytest.mark.parametrize("shape", [(16, 16), (32, 32), (32, 48), (65, 65)])
def test_every_image_has_finite_figures_a_flat_one_too(shape: tuple[int, int]) -> None:
    images = scans(3, 0, shape)
    images[1] = 0.25
    found = residual_features(images)
    assert found.shape[0] == 3
    assert np.isfinite(found).all()


def test_an_image_is_described_by_itself() -> None:
    images = scans(6, 1)
    np.testing.assert_allclose(residual_features(images)[2:4], residual_features(images[2:4]), atol=1e-9)


def test_noise_blur_and_grey_steps_move_the_figures_that_are_for_them() -> None:
    images = scans(20, 2)
    plain, noisy, soft, stepped = (
        residual_features(x).mean(axis=0)
        for x in (
            images,
            planted.noise(images, 0.05, np.random.default_rng(0)),
            planted.blur(images, 0.7),
            planted.eight_bits(images),
        )
    )
    strength = 1  # the median of the difference to the next pixel, as a logarithm
    assert noisy[strength] > plain[strength] + 0.2
    assert soft[strength] < plain[strength] - 0.2
    off, on = -4, -3  # distance from the steps of 8 bits, and the share that stands on them
    assert plain[off] == pytest.approx(0.25, abs=0.01)
    assert stepped[off] < 0.01
    assert stepped[on] > 0.99
    assert plain[on] < 0.1


def test_the_finer_half_of_the_spectrum_is_weakened_by_its_share() -> None:
    images = scans(40, 3)
    frequency, before = radial_power(images)
    after = radial_power(planted.finer(images, 0.2))[1]
    ratio = after.mean(axis=0) / before.mean(axis=0)
    np.testing.assert_allclose(ratio[frequency > 0.32], 0.8, atol=0.03)
    np.testing.assert_allclose(ratio[frequency < 0.18], 1.0, atol=0.03)
