import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from scansynth.metrics.probe import (
    FOLDS,
    MODELS,
    Classifier,
    boosting,
    grouped_folds,
    logistic,
    probe,
)


def test_folds_never_divide_a_patient_and_share_out_both_labels() -> None:
    rng = np.random.default_rng(2)
    groups = rng.integers(0, 40, 300)
    groups = np.unique(groups, return_inverse=True)[1]
    labels = groups % 3 == 0
    folds = grouped_folds(labels, groups, rng.permutation(groups.max() + 1))
    for group in np.unique(groups):
        assert len(np.unique(folds[groups == group])) == 1
    for label in (True, False):
        counts = [len(np.unique(groups[(folds == fold) & (labels == label)])) for fold in range(FOLDS)]
        assert max(counts) - min(counts) <= 1


def test_a_difference_is_found_by_either_classifier() -> None:
    rng = np.random.default_rng(3)
    labels = np.arange(160) < 80
    shifted, ringed = rng.normal(size=(2, 160, 4))
    shifted[labels, 1] += 2
    ringed[labels, 1] *= 8  # no line tells a wide from a narrow one
    for features in (shifted, ringed):
        found = probe(features, labels, np.arange(160), 0, permutations=20)
        assert found.auc > 0.8
        assert found.p == pytest.approx(1 / 21)
        assert found.auc == max(found.by_model.values())
    assert found.by_model["boosting"] > found.by_model["logistic"] + 0.2


def test_a_patient_that_can_be_recognised_does_not_pass_for_a_difference() -> None:
    rng = np.random.default_rng(4)
    patients = np.repeat(np.arange(40), 6)
    features = rng.normal(size=(40, 5))[patients] + 0.01 * rng.normal(size=(240, 5))
    found = probe(features, patients < 20, patients, 0, permutations=20)
    assert found.auc < 0.75
    assert found.p > 0.05


def test_the_same_seed_gives_the_same_figures_whatever_the_columns_are_called() -> None:
    rng = np.random.default_rng(5)
    features, labels = rng.normal(size=(60, 3)), np.arange(60) < 30
    names = np.array([f"p{i:02d}" for i in range(60)])
    one, two = (probe(features, labels, groups, 7, 10) for groups in (np.arange(60), names))
    assert (one.auc, one.p, one.error) == (two.auc, two.p, two.error)
    order = rng.permutation(60)
    mixed = probe(features[order], labels[order], np.arange(60)[order], 7, 10)
    assert mixed.by_model["logistic"] == pytest.approx(one.by_model["logistic"], abs=1e-9)
    assert mixed.by_model["boosting"] == pytest.approx(one.by_model["boosting"], abs=0.02)  # ties in single precision


def test_under_the_null_p_is_uniform_and_errs_at_its_rate() -> None:
    runs, permutations = 120, 24
    p = np.empty(runs)
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        features = np.exp(rng.normal(size=(60, 4)))  # skewed, as counts and shares are
        p[seed] = probe(features, np.arange(60) < 20, np.arange(60), seed, permutations).p
    assert np.sum(p < 0.05) <= stats.binom.ppf(0.99, runs, 0.05)
    # p takes 25 values: spread evenly between them, it is uniform
    spread = p - np.random.default_rng(0).uniform(0, 1 / (permutations + 1), runs)
    assert stats.kstest(spread, "uniform").pvalue > 0.01


def test_the_logistic_model_orders_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(6)
    labels = np.arange(200) < 100
    x = rng.normal(size=(200, 5)) + 0.8 * labels[:, None] * np.array([1, 0.5, 0, 0, -1])
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    seen = rng.random(200) < 0.8
    ours = logistic(x, labels[:, None], seen[:, None])[:, 0]
    theirs = LogisticRegression(C=1.0).fit(x[seen], labels[seen]).decision_function(x)
    assert stats.spearmanr(ours, theirs).statistic > 0.999
    assert ours == pytest.approx(theirs, abs=0.1)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_classifier_learns_from_seen_items_alone_and_each_labelling_by_itself(model: Classifier) -> None:
    rng = np.random.default_rng(7)
    x, seen = rng.normal(size=(80, 4)), rng.random((80, 3)) < 0.7
    labels = rng.random((80, 3)) < 0.5
    together = model(x, labels, seen)
    for column in range(3):
        alone = model(x, labels[:, [column]], seen[:, [column]])
        np.testing.assert_allclose(together[:, [column]], alone, atol=1e-4)
    np.testing.assert_array_equal(model(x, labels ^ ~seen, seen), together)  # labels of unseen items do not matter


def test_boosting_finds_a_limit_and_makes_nothing_of_a_constant() -> None:
    rng = np.random.default_rng(8)
    x = np.column_stack([np.ones(100), rng.permutation(100).astype(float)])
    labels = x[:, 1] <= np.quantile(x[:, 1], 0.5, method="lower")
    scores = boosting(x, labels[:, None], np.ones((100, 1), dtype=bool))[:, 0]
    assert scores[labels].min() > scores[~labels].max()
    flat = boosting(x[:, :1], labels[:, None], np.ones((100, 1), dtype=bool))
    assert np.ptp(flat) == 0


def test_sides_without_patients_enough_are_refused() -> None:
    features = np.zeros((20, 2))
    with pytest.raises(ValueError, match="both labels"):
        probe(features, np.arange(20) < 7, np.repeat(np.arange(4), 5), 0)
    with pytest.raises(ValueError, match="5 groups"):
        probe(features, np.arange(20) < 4, np.arange(20), 0)
    features = np.full((20, 2), np.nan)
    with pytest.raises(ValueError, match="finite"):
        probe(features, np.arange(20) < 10, np.arange(20), 0)
