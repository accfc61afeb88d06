"""Lesions are cut out whole and found again; the body is what the dark surroundings leave."""

from __future__ import annotations

import numpy as np
import pytest

from scansynth.data.placing import Cutout, allowed_for, bodies_hold, body_of, cut_out, places_for

SIDE = 64


def chest(seed: int = 0) -> np.ndarray:
    """(1, SIDE, SIDE): air, a bright wall that closes around dark lungs, and grain."""
    rows, columns = np.indices((SIDE, SIDE)) - SIDE / 2
    away = np.hypot(rows, columns)
    grey = np.where(away < 26, 0.7, 0.05)
    grey[away < 18] = 0.08
    grey += np.random.default_rng(seed).normal(0.0, 0.02, grey.shape)
    return (np.clip(grey, 0.0, 1.0) * 65535).astype(np.uint16)[None]


def disc(row: float, column: float, radius: float) -> np.ndarray:
    rows, columns = np.indices((SIDE, SIDE))
    return (np.hypot(rows - row, columns - column) <= radius).astype(np.uint8)


def lesion_at(row: float, column: float, radius: float = 3.0, image: np.ndarray | None = None) -> Cutout:
    taken = chest() if image is None else image
    (found,) = cut_out(taken[None], disc(row, column, radius)[None])
    return found


def test_a_lesion_is_cut_out_with_a_margin_and_a_pixel_around_it() -> None:
    image, mask = chest(), disc(30, 25, 4)
    (found,) = cut_out(image[None], mask[None])
    assert np.array_equal(mask[found.box(found.corner)], found.mask)
    assert np.array_equal(image[0][found.box(found.corner)], found.image[0])
    assert found.mask.sum() == mask.sum()
    assert found.region.sum() > found.mask.sum()
    assert (found.region & found.mask).sum() == found.mask.sum()
    edge = np.ones_like(found.region)
    edge[1:-1, 1:-1] = False
    assert not (found.region & edge).any()
    assert found.depth == pytest.approx(26 - np.hypot(30 - 32, 25 - 32) - 4, abs=2.0)
    assert not (found.ring & found.mask).any()


def test_lesions_near_each_other_are_cut_out_together_and_others_apart() -> None:
    masks = disc(20, 30, 3) | disc(28, 30, 3) | disc(45, 30, 3)
    found = cut_out(chest()[None], masks[None])
    assert sorted(int(one.mask.sum()) for one in found) == [int(disc(45, 30, 3).sum()), 2 * int(disc(20, 30, 3).sum())]


def test_near_the_edge_of_its_image_a_lesion_has_a_smaller_margin() -> None:
    inner, outer = lesion_at(30, 30, 5.0), lesion_at(8, 30, 5.0)
    assert (inner.mask.sum(), inner.mask.shape[0], outer.mask.shape[0]) == (outer.mask.sum(), 11 + 8, 11 + 6)


@pytest.mark.parametrize(("row", "column"), [(1, 30), (30, 1), (SIDE - 2, 30), (30, SIDE - 2)])
def test_a_lesion_at_the_edge_of_its_image_is_left_out(row: int, column: int) -> None:
    assert cut_out(chest()[None], disc(row, column, 3)[None]) == []
    assert cut_out(chest()[None], np.zeros((1, SIDE, SIDE), np.uint8)) == []


def test_lungs_belong_to_the_body_and_air_does_not() -> None:
    body, away = body_of(chest()), np.hypot(*(np.indices((SIDE, SIDE)) - SIDE / 2))
    assert body[away < 24].all()
    assert not body[away > 28].any()


def test_a_cohort_without_dark_surroundings_has_no_body() -> None:
    inside, outside = lesion_at(32, 32), lesion_at(6, 32)
    assert (inside.depth > 0, outside.depth) == (True, 0.0)
    assert bodies_hold([inside] * 19 + [outside])
    assert not bodies_hold([inside] * 9 + [outside])


def test_a_lesion_lies_no_nearer_to_the_skin_than_half_as_deep_as_it_lay() -> None:
    for lesion in (lesion_at(32, 32), lesion_at(32, 12, 2.0)):
        allowed = allowed_for(lesion, chest(1))
        depth = 26 - np.hypot(*(np.indices((SIDE, SIDE)) - SIDE / 2))
        least = min(lesion.depth / 2, SIDE / 8)
        assert allowed[depth > least + 2].all()
        assert not allowed[depth < least - 2].any()


def test_a_lesion_is_found_where_its_surroundings_were_moved_to() -> None:
    image = np.random.default_rng(4).integers(0, 65536, (2, SIDE, SIDE)).astype(np.uint16)
    (lesion,) = cut_out(image[None], disc(20, 40, 4)[None])
    moved = np.roll(image, (7, -11), (1, 2))
    places = places_for(lesion, moved, np.ones((SIDE, SIDE), np.bool_))
    assert places[0].corner == (lesion.corner[0] + 7, lesion.corner[1] - 11)
    assert places[0].apart < 1e-5
    assert [one.apart for one in places] == sorted(one.apart for one in places)
    row, column = lesion.corner
    shift = (places[-1].corner[0], places[-1].corner[1])
    difference = moved[:, shift[0] : shift[0] + 15, shift[1] : shift[1] + 15][:, : len(lesion.mask), : len(lesion.mask)]
    assert difference.shape == lesion.image.shape
    apart = ((difference / 65535 - lesion.image / 65535) ** 2)[:, lesion.ring].mean() ** 0.5
    assert places[-1].apart == pytest.approx(apart, abs=1e-6)
    near = places_for(lesion, moved, np.ones((SIDE, SIDE), np.bool_), near=5.0)
    assert near
    assert all(np.hypot(one.corner[0] - row, one.corner[1] - column) <= 5.0 for one in near)


def test_a_lesion_of_the_lung_is_put_into_lung() -> None:
    image = chest()
    image[0][disc(32, 25, 3) > 0] = 50000
    lesion, away = lesion_at(32, 25, image=image), np.hypot(*(np.indices((SIDE, SIDE)) - SIDE / 2))
    for seed in range(5):
        places = places_for(lesion, chest(seed + 1), allowed_for(lesion, chest(seed + 1)))
        assert len(places) > 1
        assert all(away[lesion.box(one.corner)][lesion.mask].max() < 18 for one in places)


def test_where_it_does_not_fit_there_is_no_place() -> None:
    lesion = lesion_at(32, 32)
    assert places_for(lesion, chest(), np.zeros((SIDE, SIDE), np.bool_)) == []
    assert places_for(lesion, chest()[:, :8, :8], np.ones((8, 8), np.bool_)) == []
