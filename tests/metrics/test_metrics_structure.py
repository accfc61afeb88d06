"""MS-SSIM: a plain computation of the paper's, and its properties."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, signal

from scansynth.metrics.structure import SMALLEST, pair_similarity, random_pairs

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def textures(count: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth images within -1 and 1."""
    rough = ndimage.gaussian_filter(rng.normal(size=(count, side, side)), (0, 4, 4))
    return np.clip(rough / (3.0 * rough.std()), -1.0, 1.0).astype(np.float32)


def plain(x: np.ndarray, y: np.ndarray) -> float:
    """Wang, Simoncelli and Bovik 2003, equation 7, for grey values from 0 to 2."""
    axis = np.arange(11) - 5.0
    window = np.exp(-(axis**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2

    def mean(image: np.ndarray) -> np.ndarray:
        return signal.convolve2d(image, window, mode="valid")

    x, y = x.astype(np.float64) + 1.0, y.astype(np.float64) + 1.0
    c1, c2, result = (0.01 * 2) ** 2, (0.03 * 2) ** 2, 1.0
    for scale, weight in enumerate(WEIGHTS):
        if scale:
            x, y = (z[: len(z) // 2 * 2, : len(z) // 2 * 2] for z in (x, y))
            x, y = (z.reshape(len(z) // 2, 2, len(z) // 2, 2).mean((1, 3)) for z in (x, y))
        mx, my = mean(x), mean(y)
        vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
        found = (2 * vxy + c2) / (vx + vy + c2)
        if scale == len(WEIGHTS) - 1:
            found = found * (2 * mx * my + c1) / (mx**2 + my**2 + c1)
        result *= max(float(found.mean()), 0.0) ** weight
    return result


@pytest.mark.parametrize("side", [SMALLEST, 187])
def test_pairs_are_as_alike_as_the_paper_says(side: int) -> None:
    images = textures(4, side, np.random.default_rng(0))
    near = 0.6 * images + 0.4 * images[::-1]
    found = pair_similarity(images, near)
    assert found is not None
    np.testing.assert_allclose(found, [plain(x, y) for x, y in zip(images, near, strict=True)], atol=1e-4)


def test_identity_symmetry_order_and_batch_size() -> None:
    """Ten pairs take two passes; each pair's figure is that of the pair alone."""
    rng = np.random.default_rng(1)
    x = textures(10, SMALLEST, rng)
    y = (0.7 * x + 0.3 * x[::-1]).astype(np.float32)
    whole = pair_similarity(x, y)
    assert whole is not None
    assert pair_similarity(x, x) == pytest.approx(np.ones(10), abs=1e-5)
    assert pair_similarity(y, x) == pytest.approx(whole, abs=1e-4)
    assert pair_similarity(x[::-1], y[::-1]) == pytest.approx(whole[::-1], abs=1e-4)
    alone = [pair_similarity(a[None], b[None]) for a, b in zip(x, y, strict=True)]
    assert np.concatenate([one for one in alone if one is not None]) == pytest.approx(whole, abs=1e-4)
    assert whole.max() < 1.0


def test_small_images_have_no_figure_and_unequal_ones_are_refused() -> None:
    small = np.zeros((2, SMALLEST - 1, SMALLEST), np.float32)
    assert pair_similarity(small, small) is None
    empty = np.zeros((0, SMALLEST, SMALLEST), np.float32)
    assert np.shape(pair_similarity(empty, empty)) == (0,)
    with pytest.raises(ValueError, match="pairs"):
        pair_similarity(small, small[:1])


def test_pairs_are_of_different_patients_and_no_image_stands_in_two() -> None:
    groups = np.arange(60) // 3
    pairs = random_pairs(groups, 20, np.random.default_rng(2))
    assert pairs.shape == (20, 2)
    assert len(np.unique(pairs)) == 40
    assert (groups[pairs[:, 0]] != groups[pairs[:, 1]]).all()
    assert len(random_pairs(np.zeros(10), 5, np.random.default_rng(0))) == 0
