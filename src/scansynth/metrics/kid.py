"""Kernel Inception Distance: the unbiased squared maximum mean discrepancy.

Binkowski et al., Demystifying MMD GANs, ICLR 2018 (arXiv:1801.01401), equation 4, with the unbiased estimator
of Gretton et al., JMLR 13, 2012, equation 3:

    k(x, y) = (x.y/d + 1)^3
    KID = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)

Several images of one patient are alike. Pairs within a patient are left out of the means, so that the figure
stays 0 on average for two sets of patients from one source.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Groups = NDArray[Any]


def polynomial_kernel(x: Floats, y: Floats) -> Floats:
    """k(x, y) = (x.y/d + 1)^3 for all pairs.

    Args:
        x: Features (n, d).
        y: Features (m, d).

    Returns:
        (n, m) float64, no unit.
    """
    inner: Floats = np.asarray(x, np.float64) @ np.asarray(y, np.float64).T
    return np.asarray((inner / x.shape[1] + 1.0) ** 3, dtype=np.float64)


def different(groups: Groups) -> Floats:
    """1 for pairs of items of different groups, else 0: shape (n, n). The diagonal is 0."""
    return np.asarray(groups[:, None] != groups[None, :], dtype=np.float64)


def _weighted_mean(kernel: Floats, pairs: Floats, first: Floats, second: Floats) -> Floats:
    """Mean of the kernel over the pairs of `first` x `second`, for each draw: shape (draws,)."""
    total = np.einsum("ij,ij->i", first @ (kernel * pairs), second)
    count = np.einsum("ij,ij->i", first @ pairs, second)
    if not (count > 0).all():
        raise ValueError("KID needs two items of different groups on each side")
    mean: Floats = total / count
    return mean


def subset_kid(kernel: Floats, pairs: Floats, first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """KID between two subsets of one pool, for many draws from one kernel matrix.

    Args:
        kernel: Of the whole pool, (n, n).
        pairs: 1 where a pair counts, 0 where not; the diagonal must be 0, (n, n).
        first: Members of the first subset in each draw, 0/1, (draws, n).
        second: Members of the second, disjoint from the first, (draws, n).

    Returns:
        KID of each draw, (draws,). No unit; may be below 0.

    Raises:
        ValueError: A subset has no pair that counts.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    within = _weighted_mean(kernel, pairs, a, a) + _weighted_mean(kernel, pairs, b, b)
    return within - 2.0 * _weighted_mean(kernel, pairs, a, b)


def kid(x: Floats, y: Floats, x_groups: Groups | None = None, y_groups: Groups | None = None) -> float:
    """KID between two sets of features.

    Args:
        x: Features (n, d).
        y: Features (m, d).
        x_groups: Patient of each row of x; none: every row is its own.
        y_groups: The same for y. A patient of x and one of y are never the same.

    Returns:
        KID, no unit; 0 on average for one source, may be below 0.

    Raises:
        ValueError: Fewer than two groups on one side.
    """
    one = np.arange(len(x)) if x_groups is None else np.unique(x_groups, return_inverse=True)[1]
    two = np.arange(len(y)) if y_groups is None else np.unique(y_groups, return_inverse=True)[1]
    pool, groups = np.concatenate([x, y]), np.concatenate([one, two + one.max() + 1])
    first = (np.arange(len(pool)) < len(x))[None, :]
    return float(subset_kid(polynomial_kernel(pool, pool), different(groups), first, ~first)[0])
