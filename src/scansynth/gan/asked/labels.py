"""What an image is asked to be, as networks take it.

A label is int64 (n,), the class. Where the training has conditions it is float32 (n, 1 + k): the class, and then the
conditions as `Conditions.encode` writes them, zeros where one is not asked for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scansynth.data import augment
from scansynth.gan.asked.conditions import PLACE, Conditions
from scansynth.learning import ranks

_HIDDEN = 0.5
"""Share of a condition's images in which it is hidden, so that images can be drawn without asking for it."""


def class_of(labels: Tensor) -> Tensor:
    """Class of each, (n,) int64."""
    return labels[:, 0].long() if labels.dim() > 1 else labels


def conditions_of(labels: Tensor) -> Tensor:
    """Conditions of each, (n, k) float32."""
    return labels[:, 1:]


def blank(count: int, conditions: int) -> Tensor:
    """Labels of the first class for which nothing else is asked, with so many columns of conditions."""
    return torch.zeros(count, 1 + conditions) if conditions else torch.zeros(count, dtype=torch.int64)


def shown(
    conditions: Conditions,
    labels: Tensor,
    drawn: augment.AugmentationDraw | None,
    count: int,
    random: torch.Generator,
) -> Tensor:
    """Labels of augmented images as a round shows them: places moved with their image, half of each condition hidden.

    Args:
        conditions: Of the training.
        labels: (n, 1 + k) of this rank's images.
        drawn: How these were augmented; none: not at all.
        count: Images of the round, of all ranks.
        random: Of the step; drawn from for the whole batch.
    """
    labels = labels.clone()
    if drawn is not None and PLACE[0] in conditions.columns:
        _move(conditions, labels, drawn)
    seen = ranks.own(torch.rand(count, len(conditions.learned), generator=random)) >= _HIDDEN
    for number, columns in enumerate(conditions.columns.values()):
        labels[:, 1 + columns.start : 1 + columns.stop] *= seen[:, number, None].to(labels)
    return labels


def _move(conditions: Conditions, labels: Tensor, drawn: augment.AugmentationDraw) -> None:
    """Moves the places in `labels` as the images were; unknown ones stay unknown."""
    at = [1 + conditions.columns[name].start for name in PLACE]
    parts = [next(one for one in conditions.learned if one.name == name) for name in PLACE]
    points = torch.stack([labels[:, column] * one.spread + one.mean for column, one in zip(at, parts, strict=True)], 1)
    moved = augment.move_points(points, drawn)
    for number, (column, one) in enumerate(zip(at, parts, strict=True)):
        known = labels[:, column + 1]
        labels[:, column] = known * (moved[:, number] - one.mean) / one.spread
