"""Where text may stand in an image, by arithmetic alone."""

from __future__ import annotations

import numpy as np
import pytest
from burned import anatomy, with_text

from scansynth.dicom.text import text_places


@pytest.mark.parametrize("height", [9, 12, 16, 24, 40])
@pytest.mark.parametrize("level", [0.7, 1.0])
@pytest.mark.parametrize("corner", [(2, 3), (2, 150), (210, 3)])
def test_text_in_a_corner_is_marked(height: int, level: float, corner: tuple[int, int]) -> None:
    clean = anatomy(256)
    image = with_text(clean, "DOE J 1961" if height < 20 else "DOE", corner, height, level)
    places = text_places(image)
    changed = image != clean
    covered = np.zeros_like(changed)
    for top, end, first, last in places:
        covered[top:end, first:last] = True
    assert (changed & covered).sum() > 0.9 * changed.sum()


@pytest.mark.parametrize("size", [32, 64, 250, 257, 512])
@pytest.mark.parametrize("kind", ["anatomy", "noise", "ramp", "constant", "line"])
def test_images_without_text_are_left_alone(size: int, kind: str) -> None:
    draw = np.random.default_rng(size)
    images = {
        "anatomy": anatomy(size),
        "noise": draw.normal(0, 100, (size, size)),
        "ramp": np.add.outer(np.arange(size), np.arange(size)) * 1.0,
        "constant": np.full((size, size), 7.0),
        "line": np.eye(size) * 4000,
    }
    assert text_places(images[kind].astype(np.float32)) == []


@pytest.mark.parametrize("height", [20, 60, 110])
def test_large_text_of_a_large_image_is_marked(height: int) -> None:
    assert text_places(with_text(anatomy(1600), "SMITH 1961", (40, 40), height, 1.0))


@pytest.mark.parametrize("shape", [(32, 400), (400, 32), (33, 33), (7, 500), (41, 33)])
def test_places_lie_within_the_image_and_apart(shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(3)
    for _ in range(20):
        image = (draw.random(shape) > 0.5).astype(np.float32)  # all of it may be text
        boxes = text_places(image)
        for place, (top, end, first, last) in enumerate(boxes):
            assert 0 <= top < end <= shape[0]
            assert 0 <= first < last <= shape[1]
            for other in boxes[:place]:
                assert end <= other[0] or other[1] <= top or last <= other[2] or other[3] <= first
