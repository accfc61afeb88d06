"""Draws of patients, and rates under them: closed forms, brute force, and what must not depend on order."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from scansynth.utility.detector.detector import threshold_at
from scansynth.utility.statistics.resampling import aucs, least_negatives, once, patient_draws, rank


def threshold_by_hand(scores: np.ndarray, times: np.ndarray, rate: float) -> float:
    """Tries every score that is there, on images written out as often as they count."""
    written = np.repeat(scores, times)
    above_all = np.nextafter(written.max(), np.inf)
    return min(t for t in (*written, above_all) if (written >= t).mean() <= rate + 1e-12)


@pytest.mark.parametrize("digits", [0, 1, 6])
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_threshold_is_the_smallest_that_keeps_the_rate(digits: int, rate: float) -> None:
    rng = np.random.default_rng(digits)
    scores = rng.normal(size=40).round(digits)  # few digits: many ties
    times = patient_draws(np.arange(40) // 2, 50, rng)
    ours = rank(scores, times).thresholds(rate)
    for draw in range(50):
        assert ours[draw] == threshold_by_hand(scores, times[:, draw], rate)


def test_the_threshold_of_a_detector_is_that_of_the_analysis() -> None:
    rng = np.random.default_rng(0)
    for digits in (0, 1, 6):
        scores = rng.random(50).round(digits)
        assert rank(scores, once(50)).thresholds(0.1)[0] == threshold_at(scores, 0.1)


def test_new_images_raise_no_more_false_alarms_than_chosen() -> None:
    """floor(rate n) / (n + 1) of new images: 2 of 21 for 20 images at 10%; a lower threshold would let 3 of 21 pass."""
    rng = np.random.default_rng(1)
    rates = [1.0 - rank(rng.random(20), once(20)).thresholds(0.1)[0] for _ in range(20_000)]
    assert np.mean(rates) == pytest.approx(2 / 21, abs=0.002)


def test_share_above_and_auc_are_those_of_the_written_out_images() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.normal(size=60).round(1), rng.random(60) < 0.4
    scores[positive] += 0.5
    times = patient_draws(np.arange(60) // 3, 30, rng)
    limit = rng.normal(size=30).round(1)
    share, above = rank(scores, times).shares_reaching(limit), rank(scores, times).shares_above(limit)
    area = aucs(scores[positive], times[positive], rank(scores[~positive], times[~positive]))
    for draw in range(30):
        written = np.repeat(np.arange(60), times[:, draw])
        assert share[draw] == pytest.approx((scores[written] >= limit[draw]).mean())
        assert above[draw] == pytest.approx((scores[written] > limit[draw]).mean())
        assert area[draw] == pytest.approx(roc_auc_score(positive[written], scores[written]))


def test_scores_that_are_all_equal_call_nobody() -> None:
    same = rank(np.full(20, 0.5), once(20))
    assert same.thresholds(0.1) == np.nextafter(0.5, 1.0)
    assert same.shares_reaching(same.thresholds(0.1)) == 0.0
    assert same.shares_above(same.ceilings(0.1)) == 0.0


def test_a_draw_without_images_has_no_figures() -> None:
    empty = np.array([[1, 0], [1, 0]], dtype=np.int32)
    one = rank(np.array([0.1, 0.2]), empty)
    assert np.isnan(one.thresholds(0.1)).tolist() == [False, True]
    assert np.isnan(one.shares_reaching(np.array([0.0, 0.0]))).tolist() == [False, True]
    assert np.isnan(aucs(np.array([0.3, 0.4]), empty, one)).tolist() == [False, True]


def test_images_of_a_patient_are_never_split_and_order_does_not_matter() -> None:
    names = np.array(["b", "a", "c", "a", "b", "d"])
    times = patient_draws(names, 200, np.random.default_rng(3))
    for name in "ab":
        rows = times[names == name]
        assert (rows == rows[0]).all()
    order = np.array([5, 3, 0, 1, 2, 4])
    again = patient_draws(names[order], 200, np.random.default_rng(3))
    assert (again == times[order]).all()


def test_variance_over_draws_is_unbiased_for_few_patients() -> None:
    """One patient fewer is drawn: s^2/G; with as many as there are it would be 7/8 of that."""
    values = np.random.default_rng(1).normal(size=8)
    times = patient_draws(np.arange(8), 200_000, np.random.default_rng(2))
    means = (values @ times) / times.sum(axis=0)
    assert means.var() == pytest.approx(values.var(ddof=1) / 8, rel=0.02)


def test_negatives_that_a_rate_needs() -> None:
    assert [least_negatives(rate) for rate in (0.1, 0.05, 0.3, 1 / 3)] == [10, 20, 4, 3]
