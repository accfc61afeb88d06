import itertools

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel as sklearn_kernel

from scansynth.metrics.kid import different, kid, polynomial_kernel, subset_kid


def brute(x: np.ndarray, y: np.ndarray) -> float:
    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (a @ b / len(a) + 1) ** 3

    within = [np.mean([k(a, b) for a, b in itertools.permutations(s, 2)]) for s in (x, y)]
    return sum(within) - 2 * np.mean([k(a, b) for a in x for b in y])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_kernel_is_scikit_learns(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(6, 5)), rng.normal(size=(4, 5))
    np.testing.assert_allclose(polynomial_kernel(x, y), sklearn_kernel(x, y, degree=3, gamma=1 / 5, coef0=1))


def test_kid_is_the_double_sum(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(7, 4)), rng.normal(0.5, 1, size=(5, 4))
    assert kid(x, y) == pytest.approx(brute(x, y))


def test_kid_is_symmetric_and_does_not_see_the_order(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(30, 8)), rng.normal(0.3, 1, size=(20, 8))
    assert kid(x, y) == pytest.approx(kid(y, x))
    assert kid(x, y) == pytest.approx(kid(x[::-1], rng.permutation(y)))


def test_kid_is_0_on_average_for_one_source_and_grows_with_a_shift(rng: np.random.Generator) -> None:
    same = [kid(rng.normal(size=(40, 16)), rng.normal(size=(40, 16))) for _ in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(200)
    shifts = [
        np.mean([kid(rng.normal(size=(40, 16)), rng.normal(d, 1, (40, 16))) for _ in range(10)]) for d in (0.5, 1)
    ]
    assert max(same) < shifts[0] < shifts[1]


def test_patients_with_several_images_do_not_pass_for_a_difference(rng: np.random.Generator) -> None:
    naive, by_patient = [], []
    for _ in range(100):
        sets = [np.repeat(rng.normal(size=(15, 8)), 4, axis=0) + rng.normal(0, 0.2, (60, 8)) for _ in range(2)]
        patients = np.repeat(np.arange(15), 4)
        naive.append(kid(*sets))
        by_patient.append(kid(*sets, patients, patients))
    error = np.std(by_patient) / 10
    assert abs(np.mean(by_patient)) < 3 * error
    assert np.mean(naive) > 10 * error


def test_subsets_from_one_kernel_are_the_kid_of_the_subsets(rng: np.random.Generator) -> None:
    pool = rng.normal(size=(20, 6))
    patients = np.arange(20) // 2
    first = np.zeros((3, 20), bool)
    first[0, :10], first[1, ::2], first[2, 4:8] = True, True, True
    second = ~first
    second[2, :4] = False
    found = subset_kid(polynomial_kernel(pool, pool), different(patients), first[[0, 2]], second[[0, 2]])
    for value, a, b in zip(found, first[[0, 2]], second[[0, 2]], strict=True):
        assert value == pytest.approx(kid(pool[a], pool[b], patients[a], patients[b]))


def test_one_group_on_a_side_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="two items"):
        kid(rng.normal(size=(3, 2)), rng.normal(size=(3, 2)), np.array([1, 1, 1]))


@pytest.mark.parametrize("d", [4, 16])
def test_kid_of_shifted_gaussians_is_the_closed_form(d: int) -> None:
    """E k(x, y) = E (t + 1)^3 with t = x.y/d, by the moments of t for x and y of N(0, 1) or of N(s, 1).

    Neither shifted, or one of them: t is symmetric about 0 with variance (d + |s|^2)/d^2. Both: its mean is |s|^2/d,
    its variance (d + 2 |s|^2)/d^2 and its third central moment 6 |s|^2/d^3.
    """
    length = 0.64 * d
    neither, one = 1.0 + 3.0 / d, 1.0 + 3.0 * (d + length) / d**2
    mean, variance, third = length / d, (d + 2.0 * length) / d**2, 6.0 * length / d**3
    both = 1.0 + 3.0 * mean + 3.0 * (variance + mean**2) + (third + 3.0 * mean * variance + mean**3)
    expected = neither + both - 2.0 * one
    rng = np.random.default_rng(1)
    found = [kid(rng.normal(size=(150, d)), rng.normal(0.8, 1.0, (150, d))) for _ in range(120)]
    error = np.std(found) / np.sqrt(120)
    assert np.mean(found) == pytest.approx(expected, abs=4.0 * error)
    assert expected > 10.0 * error


def test_kid_of_a_set_with_itself_is_below_zero_and_never_biased_up(rng: np.random.Generator) -> None:
    """The unbiased figure leaves out each image's likeness to itself on one side only."""
    x = rng.normal(size=(50, 8))
    assert kid(x, x) < 0.0
    same = polynomial_kernel(x, x)
    assert kid(x, x) == pytest.approx(2.0 * (same.sum() - np.trace(same)) / (50 * 49) - 2.0 * same.mean())


def test_kid_is_monais_mmd_of_the_kernels_own_features(rng: np.random.Generator) -> None:
    """(x.y/d + 1)^3 is the inner product of z (x) z (x) z, with z = (x/sqrt(d), 1)."""
    import torch  # noqa: PLC0415
    from monai.metrics import MMDMetric  # noqa: PLC0415  slow to import

    def cubes(x: torch.Tensor) -> torch.Tensor:
        z = torch.cat([x[:, :, 0, 0] / 6**0.5, torch.ones(len(x), 1, dtype=x.dtype)], 1)
        return torch.einsum("ni,nj,nk->nijk", z, z, z).reshape(len(x), -1)

    x, y = rng.normal(size=(12, 6)), rng.normal(0.4, 1.0, (12, 6))
    first, second = (torch.from_numpy(z)[:, :, None, None] for z in (x, y))
    assert float(MMDMetric(cubes)(first, second)) == pytest.approx(kid(x, y), rel=1e-9)
