"""Which real images a set reaches, and which of its images lie among the real: balls in a feature space.

Kynkaanniemi et al., Improved Precision and Recall Metric, NeurIPS 2019 (arXiv:1904.06991), and Naeem et al.,
Reliable Fidelity and Diversity Metrics, ICML 2020 (arXiv:2002.09797). The ball of an image reaches to its k-th
nearest neighbour among the images of its own side; its edge belongs to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def radii(matrix: Floats, k: int) -> Floats:
    """Distance of each item to its k-th nearest other item.

    Args:
        matrix: Distances (..., n, n) with 0 on the diagonal.
        k: From 1 to n - 1.

    Returns:
        (..., n), in the unit of the distances.
    """
    found: Floats = np.partition(matrix, k, axis=-1)[..., k]
    return found


def inside(matrix: Floats, across: Floats, k: int) -> Mask:
    """Which images of the other side lie in which ball; all figures follow, for many draws at a time.

    Args:
        matrix: Distances within the side that has the balls (..., n, n).
        across: Distances from that side to the other (..., n, m).
        k: The ball reaches to the k-th nearest of its own side.

    Returns:
        (..., n, m).
    """
    found: Mask = across <= radii(matrix, k)[..., None]
    return found


def caught(found: Mask) -> Floats:
    """Share of the images of the other side that lie in any ball, (...,): precision, or recall with sides changed."""
    return np.asarray(found.any(axis=-2).mean(axis=-1), dtype=np.float64)


def crowd(found: Mask, k: int) -> Floats:
    """In how many balls an image of the other side lies, over k, (...,): density."""
    return np.asarray(found.sum(axis=-2).mean(axis=-1) / k, dtype=np.float64)


def reached(found: Mask) -> Floats:
    """Share of the balls that hold an image of the other side, (...,): coverage."""
    return np.asarray(found.any(axis=-1).mean(axis=-1), dtype=np.float64)


def precision(real: Floats, across: Floats, k: int) -> float:
    """Share of generated images within the ball of a real one (arXiv:1904.06991, eqs. 1 and 2).

    What two sets of one distribution give depends on the distribution: measure it, real against real.

    Args:
        real: Distances of the real images from each other (n, n).
        across: Distances from real to generated images (n, m).
        k: The ball reaches to the k-th nearest real image.
    """
    return float(caught(inside(real, across, k)))


def recall(made: Floats, across: Floats, k: int) -> float:
    """Share of real images within the ball of a generated one: precision with the sides changed.

    Args:
        made: Distances of the generated images from each other (m, m).
        across: Distances from real to generated images (n, m).
        k: The ball reaches to the k-th nearest generated image.
    """
    return precision(made, across.T, k)


def density(real: Floats, across: Floats, k: int) -> float:
    """How many real balls a generated image lies in, over k (arXiv:2002.09797, eq. 3).

    1 is expected of two sets of one distribution, whatever their sizes: a new image is among the k nearest of the n
    others of a real image with probability k/n. It may be above 1.

    Args:
        real: Distances of the real images from each other (n, n).
        across: Distances from real to generated images (n, m).
        k: The ball reaches to the k-th nearest real image.
    """
    return float(crowd(inside(real, across, k), k))


def coverage(real: Floats, across: Floats, k: int) -> float:
    """Share of real images with a generated one in their ball (arXiv:2002.09797, eq. 4).

    Args:
        real: Distances of the real images from each other (n, n).
        across: Distances from real to generated images (n, m).
        k: The ball reaches to the k-th nearest real image.
    """
    return float(reached(inside(real, across, k)))


def expected_coverage(n: int, m: int, k: int) -> float:
    """Coverage expected of two sets of one distribution: 1 - prod_{j<k} (n-1-j) / (n+m-1-j).

    arXiv:2002.09797, appendix B: the k nearest of the n - 1 + m other images are all real by chance.

    Args:
        n: Real images.
        m: Generated images.
        k: From 1 to n - 1.

    Raises:
        ValueError: k is out of range, or a side is empty.
    """
    if not (1 <= k < n and m >= 1):
        raise ValueError(f"need 1 <= k < n and m >= 1, not k = {k}, n = {n}, m = {m}")
    places = np.arange(k)
    return float(1.0 - np.prod((n - 1 - places) / (n + m - 1 - places)))
