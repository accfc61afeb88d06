import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from scansynth.metrics.roc import auc, auc_and_variance, placements


@pytest.mark.parametrize("seed", range(5))
def test_every_form_of_the_area_agrees_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.arange(90) < 40
    scores = np.round(rng.normal(size=(3, 90)) + 0.5 * labels, 1)  # with ties
    placed = placements(scores[:, labels], scores[:, ~labels])
    for row, area in zip(scores, placed.auc, strict=True):
        wanted = pytest.approx(roc_auc_score(labels, row), abs=1e-12)
        assert area == wanted
        assert auc(row[labels], row[~labels]) == wanted
        assert auc_and_variance(row, labels, np.arange(90))[0] == wanted


def test_the_variance_is_that_of_the_delong_formula() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(90) < 40
    scores = np.round(rng.normal(size=90) + 0.5 * labels, 1)
    pairs = (scores[labels][:, None] > scores[~labels]) + 0.5 * (scores[labels][:, None] == scores[~labels])
    by_hand = pairs.mean(axis=1).var(ddof=1) / 40 + pairs.mean(axis=0).var(ddof=1) / 50
    assert auc_and_variance(scores, labels, np.arange(90))[1] == pytest.approx(by_hand, abs=1e-12)


def test_scores_that_divide_the_classes_leave_no_variance() -> None:
    labels = np.arange(6) < 3
    assert auc_and_variance(labels.astype(float), labels, np.arange(6)) == (1.0, 0.0)
    assert auc_and_variance(np.zeros(6), labels, np.arange(6)) == (0.5, 0.0)


def test_the_variance_counts_patients_not_images() -> None:
    rng = np.random.default_rng(1)
    labels, scores = np.arange(60) < 30, rng.normal(size=60)
    once = auc_and_variance(scores, labels, np.arange(60))
    thrice = auc_and_variance(np.tile(scores, 3), np.tile(labels, 3), np.tile(np.arange(60), 3))
    assert thrice == pytest.approx(once, abs=1e-12)
