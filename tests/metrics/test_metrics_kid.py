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
