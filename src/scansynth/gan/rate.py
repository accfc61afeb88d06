"""The course of the learning rate of compact: it rises, stays, and falls along a cosine."""

from __future__ import annotations

import math

WARM_UP = 50
"""Rounds in which the learning rate rises."""

_FLAT, _LAST = 0.3, 0.1
"""The rate stays for this share of the training, then falls along a cosine to this share of itself."""


def rate_at(seen: int, total: int, batch: int) -> float:
    """Share of the learning rate that holds after `seen` of `total` images, in batches of `batch`."""
    fallen = max(0.0, seen / total - _FLAT) / (1.0 - _FLAT)
    along = 0.5 * (1.0 + math.cos(math.pi * min(1.0, fallen)))
    return min(1.0, (seen // batch + 1) / WARM_UP) * (_LAST + (1.0 - _LAST) * along)
