"""Which real images a set reaches: k-nearest-neighbour balls in a feature space.

Naeem et al., Reliable Fidelity and Diversity Metrics, ICML 2020 (arXiv:2002.09797).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def radii(matrix: Floats, k: int) -> Floats:
    """Distance of each item to its k-th nearest other item.

    Args:
        matrix: Distances (n, n) with 0 on the diagonal.
        k: From 1 to n - 1.

    Returns:
        (n,), in the unit of the distances.
    """
    found: Floats = np.partition(matrix, k, axis=1)[:, k]
    return found


def coverage(real: Floats, across: Floats, k: int) -> float:
    """Share of real images with a generated one in their ball (arXiv:2002.09797, eq. 4).

    Args:
        real: Distances of the real images from each other (n, n).
        across: Distances from real to generated images (n, m).
        k: The ball reaches to the k-th nearest real image.
    """
    inside: NDArray[Any] = across.min(axis=1) <= radii(real, k)
    return float(inside.mean())
