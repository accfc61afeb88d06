"""Basic augmentation of the real images: flips and slight rotations, as the published work had them.

What is asked for and not permitted for the modality and view is left out, with the reason. Random
parameters are drawn apart from being applied, so that a draw can be repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from scansynth.data.permission import Permission
from scansynth.recipe import AugmentationSettings


@dataclass(frozen=True)
class AugmentationPlan:
    """What will be done to the real images, and what was asked for and refused.

    Attributes:
        flip_left_right: Mirror half of the images across the vertical axis.
        flip_up_down: Mirror half of the images across the horizontal axis.
        rotation_degrees: Largest rotation either way; 0 for none.
        applied: In words, for the report.
        refused: In words, each with its reason.
    """

    flip_left_right: bool
    flip_up_down: bool
    rotation_degrees: float
    applied: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def nothing(self) -> bool:
        """Whether images pass unchanged."""
        return not (self.flip_left_right or self.flip_up_down or self.rotation_degrees)


@dataclass(frozen=True)
class AugmentationDraw:
    """One draw for a batch, on the CPU: two flips and an angle for each image.

    Attributes:
        left_right: (n,) bool, mirrored left to right.
        up_down: (n,) bool, mirrored top to bottom.
        radians: (n,) rotation angles.
    """

    left_right: Tensor
    up_down: Tensor
    radians: Tensor

    def part(self, take: Callable[[Tensor], Tensor]) -> AugmentationDraw:
        """The parameters of some of the images."""
        return AugmentationDraw(take(self.left_right), take(self.up_down), take(self.radians))


def plan_augmentation(asked: AugmentationSettings, permitted: Permission) -> AugmentationPlan:
    """What the recipe asks for, cut down to what modality and view permit."""
    flips = asked.on and asked.flips
    degrees = min(asked.rotation_degrees, permitted.rotation_degrees) if asked.on else 0.0
    left_right, up_down = flips and permitted.flip_left_right, flips and permitted.flip_up_down
    applied, refused = [], []
    if left_right:
        applied.append("left-right flips")
    elif flips:
        refused.append(f"left-right flips: {permitted.reasons['flip_left_right']}")
    if up_down:
        applied.append("up-down flips")
    elif flips:
        refused.append(f"up-down flips: {permitted.reasons['flip_up_down']}")
    if degrees > 0.0:
        applied.append(f"rotations up to {degrees:g} degrees")
    if asked.on and degrees < asked.rotation_degrees:
        refused.append(f"rotations over {degrees:g} degrees: {permitted.reasons['rotation_degrees']}")
    return AugmentationPlan(left_right, up_down, degrees, tuple(applied), tuple(refused))


def draw(plan: AugmentationPlan, count: int, random: torch.Generator) -> AugmentationDraw:
    """Random parameters for `count` images, from a generator on the CPU."""
    uniform = torch.rand(3, count, generator=random)
    return AugmentationDraw(
        (uniform[0] < 0.5) & plan.flip_left_right,
        (uniform[1] < 0.5) & plan.flip_up_down,
        (2.0 * uniform[2] - 1.0) * math.radians(plan.rotation_degrees),
    )


def apply(images: Tensor, drawn: AugmentationDraw) -> Tensor:
    """Images mirrored exactly, then turned about their centre by one bilinear resampling; edges are extended.

    Args:
        images: (n, 1, side, side).
        drawn: Parameters of each image.

    Returns:
        (n, 1, side, side).
    """
    for mirrored, dimension in ((drawn.left_right, 3), (drawn.up_down, 2)):
        if mirrored.any():
            chosen = mirrored.to(images.device, non_blocking=True).view(-1, 1, 1, 1)
            images = torch.where(chosen, images.flip(dimension), images)
    return _turn(images, drawn.radians) if drawn.radians.any() else images


def _turn(images: Tensor, radians: Tensor) -> Tensor:
    """Rotation about the centre, counter-clockwise for positive angles."""
    cosine, sine, zero = torch.cos(radians), torch.sin(radians), torch.zeros_like(radians)
    matrix = torch.stack([torch.stack([cosine, -sine, zero], dim=1), torch.stack([sine, cosine, zero], dim=1)], dim=1)
    # torch's own: MONAI, whose layer does the same, takes twice as long to import as torch itself
    where = functional.affine_grid(matrix.to(images.device, non_blocking=True), list(images.shape), align_corners=False)
    return functional.grid_sample(images, where, mode="bilinear", padding_mode="border", align_corners=False)


def move_points(points: Tensor, drawn: AugmentationDraw) -> Tensor:
    """Where `apply` moves points of its images to.

    Args:
        points: (n, 2), one of each image: shares of its rows from the top, and of its columns from the left.
        drawn: Parameters of each image.
    """
    row, column = (2.0 * points - 1.0).unbind(1)
    left_right, up_down, radians = (values.to(points.device) for values in vars(drawn).values())
    column, row = torch.where(left_right, -column, column), torch.where(up_down, -row, row)
    cosine, sine = torch.cos(radians), torch.sin(radians)  # `_turn` asks for each new place whence it came
    moved = torch.stack([cosine * row - sine * column, sine * row + cosine * column], 1)
    return (moved + 1.0) / 2.0
