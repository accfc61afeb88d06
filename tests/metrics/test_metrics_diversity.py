import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from vendi_score import vendi as oracle

from scansynth.metrics.diversity import (
    distances,
    effective_rank,
    gaussian_similarity,
    independent_images,
    nearest_distance,
    nearest_distances,
    pair_distance,
    pair_distances,
    subset_pair_distances,
    vendi,
)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, 7))


def test_distances_are_scipys(x: np.ndarray) -> None:
    np.testing.assert_allclose(distances(x), squareform(pdist(x)), atol=1e-7)
    np.testing.assert_allclose(distances(x[:5], x[5:9]), squareform(pdist(x[:9]))[:5, 5:], atol=1e-7)
    np.testing.assert_allclose(np.sort(pair_distances(distances(x))), np.sort(pdist(x)), atol=1e-7)


def test_pairs_within_a_patient_are_left_out(x: np.ndarray) -> None:
    patients = np.arange(40) // 2
    twins = np.repeat(x[:20], 2, axis=0)
    assert pair_distances(distances(twins)).min() == pytest.approx(0, abs=1e-6)
    assert pair_distances(distances(twins), patients).min() > 0.5
    assert len(pair_distances(distances(twins), patients)) == 40 * 39 / 2 - 20
    with pytest.raises(ValueError, match="different groups"):
        pair_distances(distances(x), np.zeros(40))


def test_quantiles_scale_and_do_not_see_the_order(x: np.ndarray) -> None:
    for share in (0.05, 0.5):
        whole = pair_distance(distances(x), share)
        assert pair_distance(distances(3 * x), share) == pytest.approx(3 * whole)
        assert pair_distance(distances(x[::-1]), share) == pytest.approx(whole)


def test_subsets_from_one_matrix_are_the_quantiles_of_the_subsets(x: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    patients = np.arange(40) // 3
    members = rng.random((6, 40)) < 0.5
    found = subset_pair_distances(distances(x), members, (0.05, 0.5), patients)
    for row, subset in zip(found, members, strict=True):
        for value, share in zip(row, (0.05, 0.5), strict=True):
            assert value == pytest.approx(pair_distance(distances(x[subset]), share, patients[subset]), abs=1e-6)


def test_few_images_shorten_near_pairs_and_nearest_distances(x: np.ndarray) -> None:
    four = x[np.arange(40) % 4] + np.random.default_rng(2).normal(0, 0.01, x.shape)
    assert pair_distance(distances(four), 0.05) < 0.1 * pair_distance(distances(x), 0.05)
    assert nearest_distance(distances(four)) < 0.1 * nearest_distance(distances(x))


def test_vendi_is_the_oracles_and_has_its_closed_forms(x: np.ndarray) -> None:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert vendi(unit @ unit.T) == pytest.approx(oracle.score_K(unit @ unit.T), rel=1e-6)
    assert vendi(np.ones((9, 9))) == pytest.approx(1, abs=1e-6)
    assert vendi(np.eye(9)) == pytest.approx(9)
    assert vendi(np.kron(np.eye(3), np.ones((4, 4)))) == pytest.approx(3)


@pytest.mark.parametrize("bandwidth", [0.5, 2.0, 8.0])
def test_vendi_of_distances_is_the_packages_with_the_same_kernel(x: np.ndarray, bandwidth: float) -> None:
    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-0.5 * np.sum((a - b) ** 2) / bandwidth**2))

    found = vendi(gaussian_similarity(distances(x), bandwidth))
    assert found == pytest.approx(oracle.score(list(x), kernel), rel=1e-6)
    assert vendi(gaussian_similarity(distances(x[::-1]), bandwidth)) == pytest.approx(found, rel=1e-9)
    assert vendi(gaussian_similarity(distances(3 * x), 3 * bandwidth)) == pytest.approx(found, rel=1e-6)


def test_similarity_falls_from_one_and_repeats_add_no_different_image(x: np.ndarray) -> None:
    similarity = gaussian_similarity(distances(x), 1.0)
    np.testing.assert_array_equal(np.diag(similarity), 1.0)
    assert gaussian_similarity(np.array([[2.0]]), 1.0) == pytest.approx(np.exp(-2.0))
    twice = gaussian_similarity(distances(np.repeat(x, 2, axis=0)), 1.0)
    assert vendi(twice) == pytest.approx(vendi(similarity), rel=1e-5)
    assert vendi(gaussian_similarity(distances(x), 1e-3)) == pytest.approx(40)
    assert vendi(gaussian_similarity(distances(x), 1e6)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kinds", [5, 20, 40])
def test_a_set_is_worth_its_different_images(x: np.ndarray, kinds: int) -> None:
    rng = np.random.default_rng(3)
    similarity = gaussian_similarity(distances(x), 2.0)
    orders = np.array([rng.permutation(40) for _ in range(20)])
    repeated = gaussian_similarity(distances(np.tile(x[:kinds], (4, 1))), 2.0)
    assert independent_images(repeated, similarity, orders, steps=40) == pytest.approx(kinds, rel=0.3)
    assert independent_images(np.ones((9, 9)), similarity, orders) == pytest.approx(1.0, abs=0.01)
    assert independent_images(np.eye(200), similarity, orders) == 40


def test_nearest_distances_agree_with_prdcs_neighbours(x: np.ndarray) -> None:
    from prdc.prdc import compute_nearest_neighbour_distances  # noqa: PLC0415  the oracle is slow to import

    radii = compute_nearest_neighbour_distances(x, nearest_k=1)
    np.testing.assert_allclose(nearest_distances(distances(x)), radii, atol=1e-7)
    assert nearest_distance(distances(x)) == pytest.approx(radii.mean())


def test_nearest_images_of_one_patient_are_left_out(x: np.ndarray) -> None:
    patients = np.arange(40) // 2
    twins = np.repeat(x[:20], 2, axis=0)
    found = nearest_distances(distances(twins), patients)
    np.testing.assert_allclose(found, np.repeat(nearest_distances(distances(x[:20])), 2), atol=1e-6)
    with pytest.raises(ValueError, match="different groups"):
        nearest_distances(distances(x), np.zeros(40))


@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_equal_spread_in_k_directions_has_effective_rank_k(k: int) -> None:
    corners = np.concatenate([np.eye(k, 12), -np.eye(k, 12)])  # covariance: one number times the unit matrix of k
    assert effective_rank(corners) == pytest.approx(k)
    assert effective_rank(corners + 7.0) == pytest.approx(k)


def test_unequal_spreads_have_the_rank_of_their_entropy() -> None:
    lengths = np.array([3.0, 2.0, 1.0])
    shares = lengths**2 / (lengths**2).sum()
    cross = np.concatenate([np.diag(lengths), -np.diag(lengths)])
    assert effective_rank(cross) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_images_that_are_all_the_same_or_on_one_line_have_effective_rank_one(x: np.ndarray) -> None:
    assert effective_rank(np.repeat(x[:1], 30, axis=0)) == pytest.approx(1.0)
    assert effective_rank(np.zeros((30, 7))) == 1.0
    assert effective_rank(np.linspace(-1, 5, 30)[:, None] * x[0]) == pytest.approx(1.0)
    assert effective_rank(x[:2]) == pytest.approx(1.0)


def test_effective_rank_has_no_scale_and_sees_no_order_rotation_or_place(x: np.ndarray) -> None:
    """So it is blind to a set that shrinks evenly, and never decides alone."""
    whole = effective_rank(x)
    assert 1.0 < whole < 7.0
    for scale in (1e-6, 0.5, 1e6):
        assert effective_rank(scale * x) == pytest.approx(whole)
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(7, 7)))
    assert effective_rank(x @ rotation) == pytest.approx(whole)
    assert effective_rank(np.random.default_rng(2).permutation(x)) == pytest.approx(whole)
    assert effective_rank(x + 100.0) == pytest.approx(whole)


def test_effective_rank_is_the_same_from_either_gram_matrix(x: np.ndarray) -> None:
    """With fewer images than features it takes the smaller matrix; features that are all zero change nothing."""
    padded = np.hstack([x, np.zeros((40, 60))])
    assert effective_rank(padded) == pytest.approx(effective_rank(x))
    wide = np.random.default_rng(3).normal(size=(10, 400))
    assert effective_rank(wide) <= 9.0 + 1e-9
