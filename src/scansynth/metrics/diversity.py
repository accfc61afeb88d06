"""How far the images of a set lie from each other.

Distances are Euclidean, in whatever features the caller judges by; a set that collapsed onto few images has
short ones. The Vendi score (Friedman and Dieng, TMLR 2023, arXiv:2210.02410) counts different images.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]


def distances(x: Floats, y: Floats | None = None) -> Floats:
    """Euclidean distances of all pairs.

    Args:
        x: Features (n, d).
        y: Features (m, d); none: x itself, and then the diagonal is exactly 0.

    Returns:
        (n, m), in the unit of the features.
    """
    other = x if y is None else y
    squares = (x**2).sum(1)[:, None] + (other**2).sum(1)[None, :] - 2.0 * x @ other.T
    result: Floats = np.sqrt(np.maximum(squares, 0.0))
    if y is None:
        np.fill_diagonal(result, 0.0)
    return result


def pair_distances(matrix: Floats, groups: NDArray[Any] | None = None) -> Floats:
    """Each distance once, between items of different groups only.

    Args:
        matrix: Distances (n, n), symmetric.
        groups: Patient of each item; none: every item is its own.

    Returns:
        (pairs,), in the matrix's order.

    Raises:
        ValueError: No pair is left.
    """
    counts = np.triu(np.ones(matrix.shape, dtype=np.bool_), 1)
    if groups is not None:
        counts &= groups[:, None] != groups[None, :]
    found: Floats = matrix[counts]
    if len(found) == 0:
        raise ValueError("a pair distance needs two items of different groups")
    return found


def pair_distance(matrix: Floats, share: float = 0.5, groups: NDArray[Any] | None = None) -> float:
    """The `share` quantile of the pair distances: 0.5 the median, 0.05 the near pairs.

    The `ceil(share P)`-th smallest of P distances. Unlike a nearest-neighbour distance it does not depend on the
    number of images.

    Raises:
        ValueError: No pair of different groups.
    """
    return float(np.quantile(pair_distances(matrix, groups), share, method="inverted_cdf"))


def subset_pair_distances(
    matrix: Floats, members: NDArray[np.bool_], shares: tuple[float, ...], groups: NDArray[Any] | None = None
) -> Floats:
    """`pair_distance` of many subsets; the distances are sorted once.

    Args:
        matrix: Distances (n, n), symmetric.
        members: Which items are in each subset, (draws, n).
        shares: Quantiles wanted.
        groups: Patient of each item; none: every item is its own.

    Returns:
        (draws, len(shares)), in the unit of the distances.

    Raises:
        ValueError: A subset has no pair of different groups.
    """
    first, second = np.triu_indices(len(matrix), 1)
    if groups is not None:
        apart = groups[first] != groups[second]
        first, second = first[apart], second[apart]
    values = matrix[first, second]
    order = np.argsort(values)
    values, first, second = values[order], first[order], second[order]
    result = np.empty((len(members), len(shares)))
    for row, subset in zip(result, members, strict=True):
        kept = np.flatnonzero(subset[first] & subset[second])
        if len(kept) == 0:
            raise ValueError("a pair distance needs two items of different groups")
        # the small number keeps 0.05 * 20 = 1.0000000000000002 from becoming 2
        ranks = [max(math.ceil(share * len(kept) - 1e-9), 1) for share in shares]
        row[:] = values[kept[[rank - 1 for rank in ranks]]]
    return result


def nearest_distances(matrix: Floats, groups: NDArray[Any] | None = None) -> Floats:
    """Distance of each item to the nearest item of another group; compare only sets of the same size.

    Args:
        matrix: Distances (n, n), symmetric.
        groups: Patient of each item; none: every item is its own.

    Returns:
        (n,), in the unit of the distances.

    Raises:
        ValueError: An item has no partner of another group.
    """
    labels = np.arange(len(matrix)) if groups is None else groups
    other = np.where(labels[:, None] != labels[None, :], matrix, np.inf)
    nearest: Floats = other.min(axis=1)
    if not np.isfinite(nearest).all():
        raise ValueError("a nearest distance needs two items of different groups")
    return nearest


def nearest_distance(matrix: Floats, groups: NDArray[Any] | None = None) -> float:
    """Mean of `nearest_distances`."""
    return float(nearest_distances(matrix, groups).mean())


def vendi_scores(similarity: Floats) -> Floats:
    """`vendi` of many sets of one size: (..., n, n) to (...,)."""
    values = np.maximum(np.linalg.eigvalsh(similarity / similarity.shape[-1]), 0.0)
    return np.asarray(np.exp(-special.xlogy(values, values).sum(axis=-1)), dtype=np.float64)


def vendi(similarity: Floats) -> float:
    """Effective number of different items: exp of the entropy of the eigenvalues of K/n (arXiv:2210.02410, eq. 2).

    Args:
        similarity: K (n, n), positive semi-definite with 1 on the diagonal.

    Returns:
        1 when all are the same, n when all are different.
    """
    return float(vendi_scores(similarity))


def gaussian_similarity(matrix: Floats, bandwidth: float) -> Floats:
    """Similarity exp(-d^2 / (2 b^2)) from distances (..., n, n): 1 on the diagonal, near 0 beyond a few bandwidths."""
    similarity: Floats = np.exp(-0.5 * (matrix / bandwidth) ** 2)
    return similarity


def independent_images(similarity: Floats, real: Floats, orders: NDArray[np.int64], steps: int = 24) -> float:
    """How many independent images a set is worth: the number of real ones with the same Vendi score.

    The Vendi score counts different items, but never two of them as wholly different, so that it reads too low for
    real images, too (arXiv:2210.02410). Here real images are the yardstick: the answer is the size at which they
    reach the score of the set, on average over orders, by linear interpolation between sizes. k exact duplicates of
    m images are worth what the m images are.

    Args:
        similarity: Of the set (m, m), positive semi-definite with 1 on the diagonal.
        real: Of independent real images (n, n), by the same kernel.
        orders: Random orders of the real images (draws, n): the first s of each are a set of size s.
        steps: How many sizes from 1 to n are tried, at most.

    Returns:
        From 1 to n; n means: n or more.
    """
    sizes = np.unique(np.linspace(1, len(real), steps).round().astype(int))
    scores = [np.mean([vendi(real[np.ix_(order[:size], order[:size])]) for order in orders]) for size in sizes]
    # chance may bend the mean curve a little; a curve to be read backwards must not fall
    return float(np.interp(vendi(similarity), np.maximum.accumulate(scores), sizes))


def effective_rank(x: Floats) -> float:
    """In how many directions features spread: exp of the entropy of the covariance's eigenvalues.

    Roy and Vetterli, EUSIPCO 2007, definition 1, with eigenvalues in place of singular values. It has no scale: a
    set that shrank evenly keeps it.

    Args:
        x: Features (n, d).

    Returns:
        From 1 (all along one line, or all the same) to min(n - 1, d).
    """
    centred = x - x.mean(axis=0)
    values = np.linalg.eigvalsh(centred @ centred.T if len(x) <= x.shape[1] else centred.T @ centred)
    values = values[values > 1e-12 * max(values[-1], 1e-300)]
    if len(values) == 0:
        return 1.0
    shares = values / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))
