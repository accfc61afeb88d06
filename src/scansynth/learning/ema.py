"""Exponential moving average of a network's weights."""

from __future__ import annotations

import torch
from torch import nn


def decay_for(batch: int, half_life_images: float) -> float:
    """Decay of one step so that a weight counts half after `half_life_images` images."""
    return float(0.5 ** (batch / half_life_images))


@torch.no_grad()
def update(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Moves the average by one step: a <- decay * a + (1 - decay) * w, running statistics included.

    Args:
        average: The averaged copy; changed in place.
        network: The network in training, of the same shape.
        decay: In [0, 1].
    """
    pairs = [
        (old, new)
        for old, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True)
        if old.is_floating_point()
    ]
    torch._foreach_lerp_([old for old, _ in pairs], [new for _, new in pairs], 1.0 - decay)
