"""Signal detection: closed forms, the published study, readers who always say the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from scansynth.reader.statistics.detection import Detection, Share, auc_of, criterion, d_prime, detect
from scansynth.reader.statistics.verdict import Outcome, Published


def test_the_published_study_is_not_assessable_without_f() -> None:
    # two readers, 100 synthetic images each: 76 of 200 called real
    fooled = Share(76, 200)
    wilson, exact = fooled.wilson(0.95), fooled.exact(0.95)
    assert [round(100 * end, 1) for end in (wilson.low, wilson.high)] == [31.6, 44.9]
    assert [round(100 * end, 1) for end in (exact.low, exact.high)] == [31.2, 45.1]
    assert stats.binomtest(76, 200).pvalue == pytest.approx(0.0008, abs=5e-5)
    found = Published(fooled).decide()
    assert found.outcome is Outcome.NOT_ASSESSABLE
    assert f"{found.outcome.value}: {found.why}".startswith("not assessable: F is missing")


@pytest.mark.parametrize(("f", "expected"), [(0.62, 0.0), (0.38, 0.61), (0.10, 1.59)])
def test_the_published_study_reads_otherwise_with_each_f(f: float, expected: float) -> None:
    # 38% called real is H = 0.62: the signal is "synthetic"
    study = Published(Share(76, 200), f)
    assert study.d_prime == pytest.approx(expected, abs=5e-3)
    found = study.decide()
    assert found.outcome is Outcome.NOT_ASSESSABLE  # readers are pooled all the same
    assert f"{study.d_prime:.2f}" in found.why


def test_d_prime_criterion_and_area_have_their_closed_forms() -> None:
    assert d_prime(0.84134, 0.15866) == pytest.approx(2.0, abs=1e-3)
    assert criterion(0.84134, 0.15866) == pytest.approx(0.0, abs=1e-9)
    assert criterion(0.5, 0.15866) == pytest.approx(0.5, abs=1e-4)  # slow to say synthetic
    assert auc_of(0.0) == 0.5
    assert auc_of(1.0) == pytest.approx(stats.norm.cdf(1 / math.sqrt(2)))


def test_the_area_of_d_prime_is_that_of_two_normal_classes() -> None:
    rng = np.random.default_rng(0)
    real, made = rng.normal(0, 1, 200_000), rng.normal(1.3, 1, 200_000)
    assert auc_of(1.3) == pytest.approx(np.mean(made > real), abs=3e-3)


def test_a_table_counts_every_answer_once() -> None:
    answers = np.array([6, 5, 4, 3, 1, 4, 2, 1, 3, 3])
    truth = np.array([True] * 5 + [False] * 5)
    found = detect(answers, truth)
    assert (found.hits, found.false_alarms) == (Share(3, 5), Share(1, 5))
    assert (found.fooled, found.right) == (Share(2, 5), Share(7, 10))
    assert found.d_prime == pytest.approx(stats.norm.ppf(3.5 / 6) - stats.norm.ppf(1.5 / 6))
    row = found.as_row(0.95)
    counts = [row[f"{a}_called_{b}"] for a in ("synthetic", "real") for b in ("synthetic", "real")]
    assert sum(counts) == 10


def test_more_caution_moves_the_criterion_and_not_d_prime() -> None:
    careful, bold = Detection(Share(38, 100), Share(10, 100)), Detection(Share(84, 100), Share(50, 100))
    assert careful.criterion > 0 > bold.criterion
    assert careful.d_prime == pytest.approx(bold.d_prime, abs=0.05)


@pytest.mark.parametrize("answer", [1, 6])
def test_a_reader_who_always_says_the_same_tells_nothing(answer: int) -> None:
    truth = np.array([True] * 20 + [False] * 20)
    found = detect(np.full(40, answer), truth)
    assert found.d_prime == 0.0
    assert math.isfinite(found.criterion)


def test_a_table_needs_both_classes() -> None:
    with pytest.raises(ValueError, match="both classes"):
        detect(np.array([1, 2, 3]), np.array([True, True, True]))
