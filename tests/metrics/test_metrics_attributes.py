"""Predictors of groups and sizes: shares are right on average, errors are measured, and folds keep patients apart."""

import numpy as np
import pytest

from scansynth.metrics.attributes import ShareMeter, corrected_shares, learn_groups, learn_size, shares_below


def people(
    rng: np.random.Generator, shares: list[float], patients: int, each: int = 3, apart: float = 2.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (n, 8), group and patient of images; groups differ in one feature each."""
    of_patient = rng.choice(len(shares), patients, p=shares)
    names = np.repeat(np.arange(patients), each)
    x = 0.8 * rng.normal(size=(patients, 8))[names] + 0.6 * rng.normal(size=(len(names), 8))
    x[np.arange(len(names)), of_patient[names]] += apart
    return x, of_patient[names], names


def test_shares_of_a_perfect_predictor_are_what_it_says() -> None:
    said = np.array([0.2, 0.3, 0.5])
    assert corrected_shares(np.eye(3), said) == pytest.approx(said)


def test_the_confusion_matrix_is_undone() -> None:
    confusion = np.array([[0.7, 0.2, 0.1], [0.25, 0.6, 0.15], [0.1, 0.2, 0.7]])
    for shares in ([0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.0, 0.5, 0.5]):
        assert corrected_shares(confusion, confusion.T @ shares) == pytest.approx(shares, abs=1e-9)


def test_no_share_is_negative_and_all_add_up() -> None:
    confusion = np.array([[0.7, 0.3], [0.4, 0.6]])
    found = corrected_shares(confusion, np.array([0.9, 0.1]))  # more than any mixture gives
    assert found == pytest.approx([1.0, 0.0], abs=1e-5)
    singular = corrected_shares(np.full((2, 2), 0.5), np.array([0.5, 0.5]))
    assert (singular >= 0).all()
    assert singular.sum() == pytest.approx(1.0)


def test_another_mix_is_measured_within_its_error() -> None:
    truth, misses = np.array([0.15, 0.25, 0.6]), []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x, codes, names = people(rng, [0.5, 0.3, 0.2], 150)
        predictor = learn_groups(x, codes, names, seed)
        made, _, _ = people(rng, list(truth), 500, each=1)
        found = ShareMeter(predictor)(predictor(made))
        misses.append((found.value - truth) / found.error)
    misses = np.array(misses)
    assert np.abs(misses.mean(axis=0)).max() < 1.0  # no bias beside the error: 12 draws scatter by 0.3
    assert 0.5 < np.sqrt((misses**2).mean()) < 1.5


def test_uncorrected_shares_would_be_wrong() -> None:
    rng = np.random.default_rng(1)
    x, codes, names = people(rng, [0.5, 0.5], 150, apart=1.2)
    predictor = learn_groups(x, codes, names, 1)
    said = predictor(people(rng, [0.9, 0.1], 1000, each=1, apart=1.2)[0])
    found = ShareMeter(predictor)(said)
    assert said.mean(axis=0)[0] < 0.85
    assert abs(found.value[0] - 0.9) < 3 * found.error[0]


def test_noise_cannot_be_told_apart() -> None:
    rng = np.random.default_rng(0)
    x, codes, names = people(rng, [0.5, 0.5], 150, apart=0.0)
    predictor = learn_groups(x, codes, names, 0)
    assert np.abs(predictor.auc - 0.5).max() < 0.1
    assert ShareMeter(predictor).steadiness < 0.1


def test_the_models_speak_of_patients_that_they_have_not_seen() -> None:
    rng = np.random.default_rng(0)
    names = np.repeat(np.arange(60), 4)
    codes = (np.arange(60) % 2)[names]
    x = rng.normal(size=(60, 80))[names]  # every patient can be learned by heart, and no group can be told
    assert learn_groups(x, codes, names, 0).auc.max() < 0.7
    assert learn_size(x, np.exp(rng.normal(size=60))[names], names).r2 < 0.1


def test_groups_need_two() -> None:
    with pytest.raises(ValueError, match="two of them"):
        learn_groups(np.zeros((10, 2)), np.zeros(10, dtype=np.int64), np.arange(10), 0)


def test_a_linear_size_is_predicted() -> None:
    rng = np.random.default_rng(0)
    x, _, names = people(rng, [1.0], 100)
    sizes = np.exp(2.0 + 0.5 * x[:, 3])
    predictor = learn_size(x, sizes, names)
    assert predictor.r2 > 0.9
    assert predictor(x).shape == (5, len(x))
    assert predictor(x).mean(axis=0) == pytest.approx(np.log(sizes), abs=0.3)
    with pytest.raises(ValueError, match="above 0"):
        learn_size(x, np.zeros(len(x)), names)


def test_shares_below_are_a_distribution_function() -> None:
    assert shares_below([np.array([1.0, 2.0]), np.array([3.0, 4.0])], np.array([0.0, 2.0, 9.0])) == pytest.approx(
        [0.0, 0.5, 1.0]
    )
