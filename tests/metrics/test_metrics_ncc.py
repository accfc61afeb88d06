import numpy as np
import pytest
import torch
from scipy import ndimage

from scansynth.metrics import ncc
from scansynth.metrics.ncc import Flip, aligned, nearest, nearest_direction, paired, prepare

SIZE = 32


def smooth(count: int, seed: int, size: int = SIZE) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(count, size, size))
    return ndimage.gaussian_filter(noise, (0, 2, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def references() -> np.ndarray:
    return smooth(300, 0)  # more than one tile


def brute(query: np.ndarray, references: np.ndarray, radius: int) -> tuple[float, int, tuple[int, int]]:
    """Best (score, index, shift) with numpy's correlation, shift by shift."""
    best = (-2.0, 0, (0, 0))
    side = query.shape[0] - 2 * radius
    centre = query[radius:-radius, radius:-radius].ravel()
    for index, reference in enumerate(references):
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                top, left = radius + dy, radius + dx
                crop = reference[top : top + side, left : left + side].ravel()
                best = max(best, (float(np.corrcoef(centre, crop)[0, 1]), index, (dy, dx)))
    return best


def test_it_is_numpys_correlation_over_all_shifts(references: np.ndarray) -> None:
    queries = smooth(3, 1)
    found = nearest(queries, references[:20], (Flip.NONE,), radius=2, step=1)
    for place, query in enumerate(queries):
        score, index, shift = brute(query, references[:20], 2)
        assert found.score[place] == pytest.approx(score, abs=1e-5)
        assert (found.index[place], tuple(found.shift[place])) == (index, shift)


def test_an_image_is_nearest_to_itself_whatever_its_brightness_and_contrast(references: np.ndarray) -> None:
    found = nearest(references[[3, 290]] * 0.2 + 5.0, references)
    np.testing.assert_allclose(found.score, 1, atol=1e-5)
    assert found.index.tolist() == [3, 290]
    assert found.flip == (Flip.NONE, Flip.NONE)
    np.testing.assert_array_equal(found.shift, 0)


@pytest.mark.parametrize("shift", [(4, -4), (-1, 3)])
def test_a_shift_is_undone(references: np.ndarray, shift: tuple[int, int]) -> None:
    moved = np.roll(references[[7, 280]], shift, axis=(1, 2))
    found = nearest(moved, references)
    np.testing.assert_allclose(found.score, 1, atol=1e-5)
    assert found.index.tolist() == [7, 280]
    np.testing.assert_array_equal(found.shift, [[-shift[0], -shift[1]]] * 2)


@pytest.mark.parametrize(("flip", "axes"), [(Flip.LEFT_RIGHT, 2), (Flip.TOP_BOTTOM, 1), (Flip.BOTH, (1, 2))])
def test_a_mirror_image_is_found_only_when_it_is_looked_for(
    references: np.ndarray, flip: Flip, axes: int | tuple[int, int]
) -> None:
    mirrored = np.flip(references[[7]], axes)
    found = nearest(mirrored, references, tuple(Flip))
    assert (found.index[0], found.flip[0]) == (7, flip)
    assert found.score[0] == pytest.approx(1, abs=1e-5)
    assert nearest(mirrored, references, (Flip.NONE,)).score[0] < 0.9


def test_one_grey_value_scores_0_and_not_nan(references: np.ndarray) -> None:
    flat = np.full((1, SIZE, SIZE), 0.25, np.float32)
    assert nearest(flat, references).score[0] == 0
    assert nearest(references[:1], flat).score[0] == 0
    assert nearest(flat, flat).score[0] == 0


def test_order_of_queries_and_references_does_not_matter(references: np.ndarray) -> None:
    queries = smooth(5, 2)
    one = nearest(queries, references)
    order = np.random.default_rng(0).permutation(300)
    other = nearest(queries[::-1], references[order])
    np.testing.assert_allclose(one.score, other.score[::-1], atol=1e-6)
    np.testing.assert_array_equal(one.index, order[other.index[::-1]])


def test_paired_scores_are_those_of_the_nearest_among_one() -> None:
    queries, references = smooth(6, 3), smooth(6, 4)
    expected = [nearest(q[None], r[None]).score[0] for q, r in zip(queries, references, strict=True)]
    np.testing.assert_allclose(paired(queries, references), expected, atol=1e-6)


def test_aligned_finds_what_the_search_finds(references: np.ndarray) -> None:
    moved = np.roll(np.flip(references[[7, 280]], 2), (2, -3), axis=(1, 2))
    found, searched = aligned(moved, references[[7, 280]]), nearest(moved, references)
    np.testing.assert_allclose(found.score, searched.score, atol=1e-6)
    np.testing.assert_array_equal(found.shift, searched.shift)
    assert found.flip == searched.flip == (Flip.LEFT_RIGHT,) * 2
    with pytest.raises(ValueError, match="cannot be paired"):
        aligned(moved, references[:1])


def test_the_size_of_the_tiles_does_not_matter(references: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = smooth(5, 6)
    whole = nearest(queries, references)
    monkeypatch.setattr(ncc, "_QUERIES", 2)
    monkeypatch.setattr(ncc, "_REFERENCES", 7)
    tiled = nearest(queries, references)
    np.testing.assert_allclose(tiled.score, whole.score, atol=1e-6)
    np.testing.assert_array_equal(tiled.index, whole.index)
    np.testing.assert_array_equal(tiled.shift, whole.shift)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_finds_the_same(references: np.ndarray) -> None:
    queries = smooth(5, 6)
    found, expected = nearest(queries, references, device="cuda"), nearest(queries, references)
    np.testing.assert_allclose(found.score, expected.score, atol=1e-5)
    np.testing.assert_array_equal(found.index, expected.index)


def test_the_nearest_direction_has_the_largest_cosine() -> None:
    rng = np.random.default_rng(0)
    one, many = (
        x / np.linalg.norm(x, axis=1, keepdims=True) for x in (rng.normal(size=(600, 5)), rng.normal(size=(9, 5)))
    )
    score, index = nearest_direction(one, many)
    np.testing.assert_array_equal(index, np.argmax(one @ many.T, axis=1))
    np.testing.assert_allclose(score, np.max(one @ many.T, axis=1))


def test_prepare_leaves_its_images_alone() -> None:
    images = smooth(2, 5, 64)
    before = images.copy()
    prepare(images)
    np.testing.assert_array_equal(images, before)


def test_prepare_averages_and_keeps_a_band() -> None:
    images = smooth(2, 5, 128)
    small = images.reshape(2, 32, 4, 32, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(prepare(images, 32), prepare(small, 32), atol=1e-6)
    rows = np.mgrid[:64, :64][0][None].astype(np.float32)

    def kept(period: float) -> float:
        wave = np.sin(2 * np.pi * rows / period)
        return prepare(wave)[:, 16:-16].std() / wave[:, 16:-16].std()

    assert kept(2.5) < 0.1  # grain
    assert kept(16) > 0.8  # structure
    assert kept(1000) < 0.1  # shading


def test_unfit_images_are_refused(references: np.ndarray) -> None:
    with pytest.raises(ValueError, match="cannot compare"):
        nearest(references[:1, :-1], references)
    with pytest.raises(ValueError, match="cannot compare"):
        nearest(references[:1], references[:0])
    with pytest.raises(ValueError, match="too small"):
        nearest(references[:1, :8, :8], references[:, :8, :8])
    with pytest.raises(ValueError, match="not finite"):
        nearest(np.full((1, SIZE, SIZE), np.nan), references)
