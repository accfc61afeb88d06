"""Coverage: the package's, its own closed forms, and what it expects of equal distributions."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from prdc import compute_prdc
from prdc.prdc import compute_nearest_neighbour_distances

from scansynth.metrics.diversity import distances
from scansynth.metrics.prdc import coverage, radii


@pytest.fixture
def real() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(60, 5))


def coverage_of(real: np.ndarray, made: np.ndarray, k: int = 5) -> float:
    return coverage(distances(real), distances(real, made), k)


@pytest.mark.parametrize("k", [1, 3, 5, 58])
def test_radii_are_the_packages_neighbours(real: np.ndarray, k: int) -> None:
    expected = compute_nearest_neighbour_distances(real, nearest_k=k)
    np.testing.assert_allclose(radii(distances(real), k), expected, atol=1e-7)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("count", "spread", "shift"), [(60, 1.0, 0.0), (25, 1.0, 0.5), (90, 0.5, 0.0), (60, 2.0, 2.0)])
def test_coverage_is_the_packages(real: np.ndarray, k: int, count: int, spread: float, shift: float) -> None:
    made = np.random.default_rng(1).normal(shift, spread, (count, 5))
    assert coverage_of(real, made, k) == pytest.approx(compute_prdc(real, made, nearest_k=k)["coverage"])


def test_a_set_covers_itself_and_nothing_far_away(real: np.ndarray) -> None:
    assert coverage_of(real, real, 1) == 1.0
    whole = np.rint(8.0 * real)  # of whole numbers, distances are exact
    assert coverage_of(np.repeat(whole, 3, axis=0), whole, 1) == 1.0  # balls of radius 0 hold their own middle
    assert coverage_of(real, real + 100.0) == 0.0


def test_one_mode_of_two_covers_half(real: np.ndarray) -> None:
    two = np.concatenate([real, real + 100.0])
    assert coverage_of(two, real) == 0.5


def test_coverage_has_no_scale_sees_no_order_and_grows_with_the_ball(real: np.ndarray) -> None:
    made = np.random.default_rng(1).normal(0.5, 1.0, (30, 5))
    whole = coverage_of(real, made)
    assert coverage_of(1e3 * real, 1e3 * made) == whole
    assert coverage_of(real[::-1], np.random.default_rng(2).permutation(made)) == whole
    found = [coverage_of(real, made, k) for k in range(1, 20)]
    assert found == sorted(found)
    assert found[0] < found[-1]


@pytest.mark.parametrize(("n", "m", "k"), [(64, 64, 5), (64, 16, 5), (30, 60, 3)])
def test_equal_distributions_are_covered_as_expected(n: int, m: int, k: int) -> None:
    """1 - prod_{j<k} (n-1-j) / (n+m-1-j): none of the generated among the k nearest of n - 1 + m."""
    random = np.random.default_rng(3)
    found = [coverage_of(random.normal(size=(n, 8)), random.normal(size=(m, 8)), k) for _ in range(400)]
    expected = 1.0 - prod((n - 1 - j) / (n + m - 1 - j) for j in range(k))
    assert np.mean(found) == pytest.approx(expected, abs=4.0 * np.std(found) / len(found) ** 0.5)
