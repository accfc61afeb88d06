"""Weights that a training leaves as they are.

The lowest layers of a discriminator that has seen other scans may stay: Mo, Cho, Shin 2020 (arXiv 2002.10964).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from torch import nn


def freeze(layers: Sequence[nn.Module], count: int) -> None:
    """Trains the first `count` of the layers no further."""
    for layer in layers[:count]:
        layer.requires_grad_(False)


def frozen(layers: Sequence[nn.Module]) -> int:
    """How many of the layers, from the first on, are not trained."""
    kept = [not any(weights.requires_grad for weights in layer.parameters()) for layer in layers]
    return next((place for place, still in enumerate(kept) if not still), len(kept))


@contextlib.contextmanager
def held(network: nn.Module) -> Iterator[None]:
    """Takes no gradients of a network's weights in the block; those that were trained before are trained after."""
    trained = [weights for weights in network.parameters() if weights.requires_grad]
    for weights in trained:
        weights.requires_grad_(False)
    try:
        yield
    finally:
        for weights in trained:
            weights.requires_grad_(True)
