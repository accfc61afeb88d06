"""How alike the structure of two images is: multi-scale structural similarity (MS-SSIM).

Wang, Simoncelli and Bovik, Asilomar 2003; MONAI's implementation, five scales, 11 x 11 Gaussian window.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

SMALLEST = 176
"""Least side: halved four times, rounded down, the window of 11 pixels must still fit."""

_CHUNK = 8  # pairs in one pass: 60 MB at 256 pixels


def pair_similarity(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64] | None:
    """MS-SSIM of pairs of images.

    Args:
        first: (n, height, width) in [-1, 1].
        second: The partner of each, of the same shape.

    Returns:
        (n,), 1 for the same image, near 0 for unlike ones; none when a side is less than `SMALLEST`.

    Raises:
        ValueError: The shapes differ.
    """
    if first.shape != second.shape or first.ndim != 3:
        raise ValueError(f"need pairs of images (n, height, width), not {first.shape} and {second.shape}")
    if min(first.shape[1:]) < SMALLEST:
        return None
    from monai.metrics import MultiScaleSSIMMetric  # noqa: PLC0415 (four seconds, and smaller images need it not)

    measure = MultiScaleSSIMMetric(spatial_dims=2, data_range=2.0, kernel_size=11, kernel_sigma=1.5)
    found = []
    for start in range(0, len(first), _CHUNK):
        # from 0 to 2: the comparison of brightness, 2 m1 m2 / (m1^2 + m2^2), is meant for values from 0
        parts = [np.asarray(x[start : start + _CHUNK] + 1.0, np.float32) for x in (first, second)]
        found.append(measure(*(torch.from_numpy(part)[:, None] for part in parts)).double().flatten().numpy())
    return np.concatenate(found) if found else np.empty(0)


def random_pairs(groups: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places of random pairs of items of different groups.

    Items are shuffled and taken two by two, so that no item stands in two pairs of one shuffle.

    Args:
        groups: Patient of each item (n,).
        count: Pairs wanted.
        rng: Draws the orders.

    Returns:
        (pairs, 2): `count`, or fewer where the items give no more in one shuffle.
    """
    order = rng.permutation(len(groups))
    pairs = order[: len(order) // 2 * 2].reshape(-1, 2)
    return np.asarray(pairs[groups[pairs[:, 0]] != groups[pairs[:, 1]]][:count], dtype=np.int64)
