"""Sample grids."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from scansynth.gan.grid import columns_for, grid, png


def test_every_image_stands_in_its_place() -> None:
    images = np.linspace(-1, 1, 6, dtype=np.float32)[:, None, None] * np.ones((6, 4, 4), np.float32)
    picture = grid(images, 3)
    assert picture.shape == (8, 12)
    assert picture[::4, ::4].ravel().tolist() == [0, 51, 102, 153, 204, 255]
    assert np.array_equal(picture, np.kron(picture[::4, ::4], np.ones((4, 4))))


def test_values_out_of_range_are_clipped_and_the_file_comes_back() -> None:
    picture = grid(np.array([[[-3.0, 3.0], [0.0, -1.0]]], np.float32), 1)
    assert picture.tolist() == [[0, 255], [128, 0]]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(picture)))), picture)


@pytest.mark.parametrize(("size", "columns"), [(32, 8), (64, 8), (128, 4), (256, 4), (512, 4)])
def test_a_grid_fits_a_page(size: int, columns: int) -> None:
    assert columns_for(size) == columns
