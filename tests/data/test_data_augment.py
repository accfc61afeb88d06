"""Flips and slight rotations, as far as modality and view permit them."""

from __future__ import annotations

import math

import pytest
import torch
from monai.transforms import Rotate
from torch import Tensor

from scansynth.data.augment import AugmentationDraw, apply, draw, plan_augmentation
from scansynth.data.permission import permission
from scansynth.recipe import AugmentationSettings

ASKED = AugmentationSettings(rotation_degrees=15.0)
PATCH = plan_augmentation(ASKED, permission("CT", "patch"))


def images(count: int = 6, side: int = 32, seed: int = 0) -> Tensor:
    """Smooth pictures without any symmetry."""
    draws = torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
    return torch.tanh(torch.nn.functional.interpolate(draws, (side, side), mode="bicubic"))


def drawn(left_right: bool = False, up_down: bool = False, degrees: float = 0.0, count: int = 6) -> AugmentationDraw:
    full = torch.full
    return AugmentationDraw(full((count,), left_right), full((count,), up_down), full((count,), math.radians(degrees)))


@pytest.mark.parametrize("view", ["chest", "any"])
def test_a_chest_is_never_mirrored_and_the_refusal_has_its_reason(view: str) -> None:
    plan = plan_augmentation(ASKED, permission("MR", view))
    assert not plan.flip_left_right
    assert not plan.flip_up_down
    assert plan.rotation_degrees == 5.0
    assert any(text.startswith("left-right flips: ") and "laterality" in text for text in plan.refused)
    assert any(text.startswith("rotations over 5 degrees: ") for text in plan.refused)
    found = draw(plan, 500, torch.Generator().manual_seed(0))
    assert not found.left_right.any()
    assert not found.up_down.any()
    assert math.degrees(found.radians.abs().max().item()) <= 5.0


def test_a_patch_may_be_mirrored_and_turned() -> None:
    assert PATCH.flip_left_right
    assert PATCH.flip_up_down
    assert PATCH.rotation_degrees == 15.0
    assert PATCH.refused == ()
    found = draw(PATCH, 4000, torch.Generator().manual_seed(0))
    for flips in (found.left_right, found.up_down):
        assert flips.float().mean().item() == pytest.approx(0.5, abs=0.03)
    degrees = torch.rad2deg(found.radians)
    assert degrees.abs().max() <= 15.0
    assert degrees.std().item() == pytest.approx(15.0 / math.sqrt(3.0), rel=0.03)


@pytest.mark.parametrize(
    "asked", [AugmentationSettings(on=False), AugmentationSettings(flips=False, rotation_degrees=0.0)]
)
def test_what_is_not_asked_for_is_not_done(asked: AugmentationSettings) -> None:
    plan = plan_augmentation(asked, permission("CT", "patch"))
    assert plan.nothing
    assert (plan.applied, plan.refused) == ((), ())


def test_nothing_drawn_changes_nothing() -> None:
    assert torch.equal(apply(images(), drawn()), images())


@pytest.mark.parametrize(
    ("left_right", "up_down", "dims"), [(True, False, [3]), (False, True, [2]), (True, True, [2, 3])]
)
def test_a_flip_is_exact(left_right: bool, up_down: bool, dims: list[int]) -> None:
    assert torch.equal(apply(images(), drawn(left_right, up_down)), images().flip(dims))


def test_each_image_has_its_own_draw() -> None:
    alternating = torch.arange(6) % 2 == 0
    mixed = AugmentationDraw(alternating, torch.zeros(6, dtype=torch.bool), torch.zeros(6))
    found = apply(images(), mixed)
    assert torch.equal(found[alternating], images()[alternating].flip(3))
    assert torch.equal(found[~alternating], images()[~alternating])


@pytest.mark.parametrize("degrees", [-12.0, 3.0])
def test_a_rotation_agrees_with_monai(degrees: float) -> None:
    clockwise = math.radians(-degrees)  # MONAI counts this way
    one_by_one = Rotate(angle=clockwise, mode="bilinear", padding_mode="border", align_corners=False)
    expected = torch.stack([one_by_one(image).as_tensor() for image in images()])
    found = apply(images(), drawn(degrees=degrees))
    same, other = (found - expected).abs(), (found - apply(images(), drawn(degrees=-degrees))).abs()
    assert same.max() < 1e-4
    assert other.mean() > 0.02


def test_a_rotation_leaves_a_round_picture_and_comes_back() -> None:
    axis = torch.linspace(-1, 1, 64)
    disc = torch.exp(-3 * (axis[:, None] ** 2 + axis[None, :] ** 2)).expand(2, 1, 64, 64)
    inner = slice(8, -8)
    assert (apply(disc, drawn(degrees=11.0, count=2)) - disc)[:, :, inner, inner].abs().max() < 2e-3
    there = apply(images(side=64), drawn(degrees=5.0))
    back = apply(there, drawn(degrees=-5.0))
    assert (back - images(side=64))[:, :, inner, inner].abs().max() < 0.05


def test_no_grey_level_leaves_the_range_of_its_image() -> None:
    before = images(32)
    after = apply(before, draw(PATCH, 32, torch.Generator().manual_seed(2)))
    assert after.shape == before.shape
    assert (after.amax((1, 2, 3)) <= before.amax((1, 2, 3)) + 1e-6).all()
    assert (after.amin((1, 2, 3)) >= before.amin((1, 2, 3)) - 1e-6).all()


def test_draws_repeat_with_the_seed() -> None:
    first, same, other = (draw(PATCH, 8, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(apply(images(8), first), apply(images(8), same))
    assert not torch.equal(apply(images(8), first), apply(images(8), other))
