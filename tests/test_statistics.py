import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from scansynth.statistics import (
    Direction,
    Interval,
    Verdict,
    binomial_lower,
    binomial_upper,
    blocks,
    clopper_pearson,
    clustered_share_variance,
    effective_trials,
    group_masks,
    jackknife_interval,
    patient_halves,
    subsamples,
    upper_quantile,
    verdict,
    wilson,
)


def test_clopper_pearson_is_scipys() -> None:
    for successes, trials in [(0, 20), (76, 200), (20, 20), (1, 3)]:
        outside = stats.binomtest(successes, trials).proportion_ci(0.95, "exact")
        ours = clopper_pearson(successes, trials)
        assert ours.low == pytest.approx(outside.low, abs=1e-9)
        assert ours.high == pytest.approx(outside.high, abs=1e-9)


def test_wilson_is_scipys() -> None:
    for successes, trials in [(0, 20), (76, 200), (20, 20)]:
        outside = stats.binomtest(successes, trials).proportion_ci(0.95, "wilson")
        ours = wilson(successes, trials)
        assert (ours.low, ours.high) == (pytest.approx(outside.low, abs=1e-12), pytest.approx(outside.high))


def test_published_figure_has_the_known_intervals() -> None:
    # 76 of 200: Wilson 31.6 to 44.9, Clopper-Pearson 31.2 to 45.1
    assert wilson(76, 200).low == pytest.approx(0.316, abs=5e-4)
    assert clopper_pearson(76, 200).high == pytest.approx(0.451, abs=5e-4)


def test_no_success_has_the_closed_form_bound() -> None:
    assert binomial_upper(0, 50) == pytest.approx(1 - 0.05 ** (1 / 50))
    assert binomial_lower(50, 50) == pytest.approx(0.05 ** (1 / 50))


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(successes: float, trials: float) -> None:
    with pytest.raises(ValueError, match="successes"):
        clopper_pearson(successes, trials)


def test_jackknife_of_a_mean_is_the_t_interval() -> None:
    x = np.random.default_rng(1).normal(size=30)
    without = (x.sum() - x) / 29
    ours = jackknife_interval(x.mean(), without)
    low, high = stats.t.interval(0.95, 29, x.mean(), stats.sem(x))
    assert ours.low == pytest.approx(low)
    assert ours.high == pytest.approx(high)


def test_jackknife_of_two_means_is_welchs_interval() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=12), rng.normal(0, 3, 30)
    ours = jackknife_interval(x.mean() - y.mean(), (x.sum() - x) / 11, -(y.sum() - y) / 29)
    outside = stats.ttest_ind(x, y, equal_var=False).confidence_interval()
    assert (ours.low, ours.high) == (pytest.approx(outside.low), pytest.approx(outside.high))


def test_jackknife_needs_two_groups() -> None:
    with pytest.raises(ValueError, match="two groups"):
        jackknife_interval(0.0, np.array([1.0]))


def test_subsamples_have_no_duplicates_and_the_right_size() -> None:
    masks = subsamples(20, 7, 50, np.random.default_rng(0))
    assert (masks.sum(axis=1) == 7).all()
    assert masks.any(axis=0).all()
    with pytest.raises(ValueError, match="without replacement"):
        subsamples(5, 6, 1, np.random.default_rng(0))


def test_halves_never_divide_a_patient() -> None:
    patients = np.array(["a", "a", "b", "c", "c", "c", "d", "e"])
    halves = patient_halves(patients, 100, np.random.default_rng(0))
    for patient in "abcde":
        ours = halves[:, patients == patient]
        assert (ours.all(axis=1) | ~ours.any(axis=1)).all()
    counts = np.array([len(set(patients[half])) for half in halves])
    assert (counts == 2).all()


def test_blocks_are_even_and_group_masks_cover_everything() -> None:
    labels = blocks(250, 100)
    sizes = group_masks(labels).sum(axis=1)
    assert len(sizes) == 100
    assert set(sizes) == {2, 3}
    assert (group_masks(labels).sum(axis=0) == 1).all()


def test_clustered_variance_without_clusters_is_binomial_and_grows_with_them() -> None:
    hits = np.array([1.0] * 10 + [0.0] * 90)
    alone = clustered_share_variance(hits, np.arange(100))
    assert alone == pytest.approx(0.1 * 0.9 / 99)
    together = clustered_share_variance(hits, np.repeat(np.arange(10), 10))
    assert together == pytest.approx(10 * alone, rel=0.15)
    assert effective_trials(0.1, together, 100) == pytest.approx(10, rel=0.15)


def test_effective_trials_never_exceed_the_trials() -> None:
    assert effective_trials(0.5, 1e-9, 40) == 40
    assert effective_trials(0.0, 0.1, 40) == 40


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=300))
def test_upper_quantile_is_one_of_the_values_and_rarely_passed(values: list[float]) -> None:
    limit = upper_quantile(values, 0.99)
    assert limit in values
    assert sum(v > limit for v in values) <= 0.01 * len(values)


def test_a_new_value_passes_the_upper_quantile_as_rarely_as_stated() -> None:
    rng = np.random.default_rng(3)
    for n in (10, 300):
        passed = [rng.normal() > upper_quantile(rng.normal(size=n), 0.99) for _ in range(4000)]
        assert np.mean(passed) == pytest.approx(max(0.01, 1 / (n + 1)), abs=0.015)


@pytest.mark.parametrize(
    ("low", "high", "at_most", "at_least"),
    [
        (0.0, 1.0, Verdict.SHOWN, Verdict.REFUTED),
        (0.0, 2.0, Verdict.SHOWN, Verdict.NOT_SHOWN),
        (2.0, 3.0, Verdict.NOT_SHOWN, Verdict.SHOWN),
        (1.0, 3.0, Verdict.NOT_SHOWN, Verdict.NOT_SHOWN),
        (2.5, 3.0, Verdict.REFUTED, Verdict.SHOWN),
    ],
)
def test_verdict_follows_the_interval_and_the_margin_is_on_the_right_side(
    low: float, high: float, at_most: Verdict, at_least: Verdict
) -> None:
    assert verdict(Interval(low, high), 2.0, Direction.AT_MOST) is at_most
    assert verdict(Interval(low, high), 2.0, Direction.AT_LEAST) is at_least


def test_no_verdict_and_no_interval_without_numbers() -> None:
    with pytest.raises(ValueError, match="margin"):
        verdict(Interval(0, 1), math.nan, Direction.AT_MOST)
    with pytest.raises(ValueError, match="low <= high"):
        Interval(math.nan, 1.0)
