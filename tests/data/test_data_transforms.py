import itertools

import numpy as np
import pytest

from scansynth.data.transforms import (
    from_window,
    resize,
    resize_mask,
    resized_spacing,
    series_window,
    to_window,
)

SHAPES = [(40, 40), (352, 300), (300, 352), (33, 250), (64, 64)]


def centre(image: np.ndarray) -> np.ndarray:
    grid = np.mgrid[: image.shape[0], : image.shape[1]]
    return (grid * image).sum(axis=(1, 2)) / image.sum()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [32, 64, 512])
def test_a_constant_stays_constant_and_padding_is_low(shape: tuple[int, int], size: int) -> None:
    made = resize(np.full(shape, 0.5, np.float32), (size, size))
    assert made.shape == (size, size)
    assert made.dtype == np.float32
    inside = made > -0.99
    rows, columns = inside.any(axis=1).sum(), inside.any(axis=0).sum()
    assert max(rows, columns) == size
    assert rows / columns == pytest.approx(shape[0] / shape[1], abs=0.6 / min(rows, columns) * max(1, rows / columns))
    assert np.abs(made[inside] - 0.5).max() < 2e-4  # MONAI's kernel ends at four standard deviations
    assert (made[~inside] == -1).all()


def test_no_resize_is_the_identity() -> None:
    image = np.random.default_rng(0).uniform(-1, 1, (64, 64)).astype(np.float32)
    assert (resize(image, (64, 64)) == image).all()
    assert (resize_mask((image > 0).astype(np.uint8), (64, 64)) == (image > 0)).all()


def test_shrinking_does_not_alias() -> None:
    stripes = np.tile(np.array([-1, 1], np.float32), (256, 128))
    assert stripes[::4, ::4].mean() == -1.0  # what plain sampling makes of them
    assert np.abs(resize(stripes, (64, 64))).max() < 0.35


@pytest.mark.parametrize(("shape", "size"), list(itertools.product(SHAPES[:3], [32, 128, 512])))
def test_image_and_mask_move_together(shape: tuple[int, int], size: int) -> None:
    mask = np.zeros(shape, np.uint8)
    mask[shape[0] // 4 : shape[0] // 2, shape[1] // 2 : 3 * shape[1] // 4] = 1
    image = resize(mask.astype(np.float32) * 2 - 1, (size, size))
    moved = resize_mask(mask, (size, size))
    assert set(np.unique(moved)) == {0, 1}
    assert np.abs(centre(image + 1.0) - centre(moved)).max() < 0.6
    area = mask.sum() * (size / max(shape)) ** 2
    assert moved.sum() == pytest.approx(area, rel=0.15)


def test_a_tiny_lesion_is_never_lost() -> None:
    mask = np.zeros((512, 512), np.uint8)
    mask[100, 200] = 1
    small = resize_mask(mask, (32, 32))
    assert small.sum() == 1
    assert small[100 // 16, 200 // 16] == 1
    assert resize_mask(np.zeros((512, 512), np.uint8), (32, 32)).sum() == 0


def test_window_and_its_inverse() -> None:
    values = np.linspace(-1000, 400, 97, dtype=np.float32).reshape(1, -1)
    x = to_window(values, -1000, 400)
    assert (x.min(), x.max()) == (-1, 1)
    assert np.abs(from_window(x, -1000, 400) - values).max() < 1e-3
    assert (to_window(np.float32([[-2000, 3000]]), -1000, 400) == [[-1, 1]]).all()
    with pytest.raises(ValueError, match="rise"):
        to_window(values, 5, 5)


def test_percentiles_are_of_the_whole_series() -> None:
    first, second = np.zeros((10, 10), np.float32), np.arange(100, dtype=np.float32).reshape(10, 10)
    both = np.concatenate([first.ravel(), second.ravel()])
    low, high = series_window([first, second], (10.0, 90.0))
    assert (low, high) == pytest.approx(tuple(np.percentile(both, [10, 90])))
    assert second[0, 3] == 3  # the images were not sorted in place


@pytest.mark.parametrize("whole", [True, False])
def test_percentiles_are_those_of_numpy_to_the_bit(whole: bool) -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        low = int(rng.integers(-3000, 1000))
        values = rng.integers(low, low + int(rng.integers(2, 4000)), (1, int(rng.integers(2, 5000)))).astype(np.float32)
        values += 0.0 if whole else 0.25
        ends = sorted(rng.uniform(0.0, 100.0, 2))
        wanted = np.percentile(values, ends)
        if wanted[0] < wanted[1]:
            assert series_window([values], (ends[0], ends[1])) == tuple(wanted)


def test_percentiles_of_a_huge_series_are_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scansynth.data.transforms._SAMPLE", 1000)
    draw = np.random.default_rng(0)
    images = [draw.normal(size=(64, 64)).astype(np.float32) for _ in range(8)]
    low, high = series_window(images, (10.0, 90.0))
    assert (low, high) == pytest.approx((-1.2816, 1.2816), abs=0.2)


@pytest.mark.parametrize("bright", [1, 3, 200])
def test_percentiles_of_a_sparse_image_are_moved_out_until_they_differ(bright: int) -> None:
    image = np.full((256, 256), 7, np.float32)
    image.reshape(-1)[:bright] = np.linspace(500, 900, bright)
    low, high = series_window([image], (0.5, 99.5))
    assert low == 7.0
    assert high in image[image > 7]
    assert series_window([-image], (0.5, 99.5)) == (-high, -7.0)


def test_the_window_of_a_constant_series_is_empty() -> None:
    assert series_window([np.full((8, 8), 3, np.float32)] * 2, (0.5, 99.5)) == (3.0, 3.0)


def test_spacing_keeps_the_size_in_mm() -> None:
    assert resized_spacing((512, 512), (0.7, 0.7), (256, 256)) == pytest.approx((1.4, 1.4))
    assert resized_spacing((40, 40), (0.6, 0.6), (64, 64)) == pytest.approx((0.375, 0.375))
    row, column = resized_spacing((352, 300), (1.0, 1.0), (256, 256))
    image = resize(np.zeros((352, 300), np.float32), (256, 256))
    columns = (image[128] > -0.9).sum()
    assert (row * 256, column * columns) == pytest.approx((352, 300))


@pytest.mark.parametrize("target", [(40, 64), (64, 40), (33, 57)])
@pytest.mark.parametrize("shape", [(512, 512), (352, 300), (40, 40), (30, 200)])
def test_any_rows_and_columns(shape: tuple[int, int], target: tuple[int, int]) -> None:
    scale = min(target[0] / shape[0], target[1] / shape[1])
    made = resize(np.full(shape, 0.5, np.float32), target)
    assert made.shape == target
    inside = made > -0.99
    assert inside.any(axis=1).sum() == pytest.approx(shape[0] * scale, abs=0.51)
    assert inside.any(axis=0).sum() == pytest.approx(shape[1] * scale, abs=0.51)
    spacing = resized_spacing(shape, (0.7, 0.7), target)
    assert inside.any(axis=1).sum() * spacing[0] == pytest.approx(shape[0] * 0.7)
    assert inside.any(axis=0).sum() * spacing[1] == pytest.approx(shape[1] * 0.7)
