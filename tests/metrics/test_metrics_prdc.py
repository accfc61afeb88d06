"""Balls in a feature space: the prdc package's figures, closed forms, and what is expected of equal distributions."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import pytest
from prdc import compute_prdc
from prdc.prdc import compute_nearest_neighbour_distances

from scansynth.metrics.diversity import distances
from scansynth.metrics.prdc import coverage, density, expected_coverage, precision, radii, recall

NAMES = ("precision", "recall", "density", "coverage")


@pytest.fixture
def real() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(60, 5))


def figures(real: np.ndarray, made: np.ndarray, k: int = 5) -> dict[str, float]:
    of_real, of_made, across = distances(real), distances(made), distances(real, made)
    return {
        "precision": precision(of_real, across, k),
        "recall": recall(of_made, across, k),
        "density": density(of_real, across, k),
        "coverage": coverage(of_real, across, k),
    }


@pytest.mark.parametrize("k", [1, 3, 5, 58])
def test_radii_are_the_packages_neighbours(real: np.ndarray, k: int) -> None:
    expected = compute_nearest_neighbour_distances(real, nearest_k=k)
    np.testing.assert_allclose(radii(distances(real), k), expected, atol=1e-7)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("count", "spread", "shift"), [(60, 1.0, 0.0), (25, 1.0, 0.5), (90, 0.5, 0.0), (60, 2.0, 2.0)])
def test_all_four_are_the_packages(real: np.ndarray, k: int, count: int, spread: float, shift: float) -> None:
    made = np.random.default_rng(1).normal(shift, spread, (count, 5))
    expected = compute_prdc(real, made, nearest_k=k)
    assert figures(real, made, k) == pytest.approx({name: expected[name] for name in NAMES}, abs=1e-9)


def test_a_set_is_its_own_match_and_far_from_another_place(real: np.ndarray) -> None:
    whole = np.rint(8.0 * real)  # of whole numbers, distances are exact
    same = figures(whole, whole, 1)
    assert (same["precision"], same["recall"], same["coverage"]) == (1.0, 1.0, 1.0)
    assert same["density"] >= 1.0  # each image is in its own ball, and in others
    assert coverage(distances(np.repeat(whole, 3, axis=0)), distances(np.repeat(whole, 3, axis=0), whole), 1) == 1.0
    assert figures(real, real + 100.0) == dict.fromkeys(NAMES, 0.0)


def test_recall_is_precision_with_the_sides_changed(real: np.ndarray) -> None:
    made = np.random.default_rng(1).normal(0.5, 1.0, (40, 5))
    assert figures(real, made)["recall"] == figures(made, real)["precision"]


def test_each_figure_finds_its_own_fault(real: np.ndarray) -> None:
    """Images off the real ones; a missing kind; a set that shrank."""
    rng = np.random.default_rng(2)
    fresh, two = rng.normal(size=(60, 5)), np.concatenate([real, real + 100.0])
    off = np.concatenate([fresh[:45], fresh[45:] + 100.0])
    good, spoiled = figures(real, fresh), figures(real, off)
    assert spoiled["precision"] <= 0.75 + 1e-9
    assert spoiled["density"] < good["density"]
    assert figures(two, np.tile(real, (2, 1)))["coverage"] == 0.5
    assert figures(real, fresh / 4.0)["recall"] < 0.5 * good["recall"]


@pytest.mark.parametrize("name", NAMES)
def test_no_scale_no_order_and_larger_balls_reach_further(real: np.ndarray, name: str) -> None:
    made = np.random.default_rng(1).normal(0.5, 1.0, (30, 5))
    whole = figures(real, made)[name]
    assert figures(1024.0 * real, 1024.0 * made)[name] == whole
    assert figures(real[::-1], np.random.default_rng(2).permutation(made))[name] == whole
    if name != "density":
        found = [figures(real, made, k)[name] for k in range(1, 20)]
        assert found == sorted(found)
        assert found[0] < found[-1]


@pytest.mark.parametrize(("n", "m", "k"), [(64, 64, 5), (64, 16, 5), (30, 60, 3)])
@pytest.mark.parametrize("draw", [np.random.Generator.normal, np.random.Generator.exponential])
def test_equal_distributions_give_the_expected(n: int, m: int, k: int, draw: Callable[..., np.ndarray]) -> None:
    """Coverage by the formula, density 1: whatever the distribution."""
    rng = np.random.default_rng(3)
    found = [figures(draw(rng, size=(n, 8)), draw(rng, size=(m, 8)), k) for _ in range(300)]
    formula = 1.0 - prod((n - 1 - j) / (n + m - 1 - j) for j in range(k))
    assert expected_coverage(n, m, k) == pytest.approx(formula, rel=1e-12)
    for name, expected in (("coverage", formula), ("density", 1.0)):
        values = [one[name] for one in found]
        assert np.mean(values) == pytest.approx(expected, abs=4.0 * np.std(values) / len(values) ** 0.5)


def test_impossible_numbers_are_refused() -> None:
    assert expected_coverage(400, 64, 5) == pytest.approx(0.53, abs=0.01)
    for n, m, k in ((5, 5, 5), (5, 0, 1), (5, 5, 0)):
        with pytest.raises(ValueError, match="k < n"):
            expected_coverage(n, m, k)
