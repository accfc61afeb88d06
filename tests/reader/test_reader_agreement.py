"""Kappa against scikit-learn, statsmodels and worked examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_readings import study
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

from scansynth.reader.statistics.agreement import Weights, between, kappa, within
from scansynth.reader.statistics.readings import repeats, table
from scansynth.reader.statistics.simulation import World


def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first = rng.integers(1, 7, 80)
    return first, np.clip(first + rng.integers(-2, 3, 80), 1, 6)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", list(Weights))
def test_kappa_is_scikit_learns(seed: int, kind: Weights) -> None:
    first, second = pair(seed)
    weights = None if kind is Weights.PLAIN else kind.value
    outside = cohen_kappa_score(first, second, labels=range(1, 7), weights=weights)
    assert kappa(first, second, kind) == pytest.approx(outside, abs=1e-9)


def test_kappa_is_statsmodels() -> None:
    first, second = pair(4)
    counts = np.zeros((6, 6))
    np.add.at(counts, (first - 1, second - 1), 1)
    assert kappa(first, second) == pytest.approx(cohens_kappa(counts).kappa, abs=1e-9)
    linear = cohens_kappa(counts, weights=np.arange(6), wt="linear").kappa
    assert kappa(first, second, Weights.LINEAR) == pytest.approx(linear, abs=1e-9)


def test_kappa_of_a_worked_example() -> None:
    # the textbook table 20, 5 / 10, 15: observed 0.7, expected 0.5
    first = np.repeat([1, 1, 2, 2], [20, 5, 10, 15])
    second = np.repeat([1, 2, 1, 2], [20, 5, 10, 15])
    assert kappa(first, second, categories=2) == pytest.approx(0.4, abs=1e-12)


def test_kappa_has_its_ends() -> None:
    first, _ = pair(5)
    assert kappa(first, first) == 1.0
    assert kappa(first, 7 - first, Weights.QUADRATIC) < 0
    assert math.isnan(kappa(np.full(9, 3), np.full(9, 3)))
    assert kappa(np.full(9, 3), np.arange(9) % 6 + 1) == pytest.approx(0.0)


def test_agreement_between_readers_is_the_mean_of_all_pairs() -> None:
    answers = table(study(World(0.6, 0.1))).answers
    found = between(answers, 0.95, np.random.default_rng(0))
    assert found is not None
    pairs = [(a, b) for a in range(6) for b in range(a)]
    assert found.pairs == len(pairs) == 15
    expected = np.mean([cohen_kappa_score(answers[a], answers[b], weights="quadratic") for a, b in pairs])
    assert found.kappas["quadratic"] == pytest.approx(expected, abs=1e-9)
    two = np.mean([cohen_kappa_score(answers[a] >= 4, answers[b] >= 4) for a, b in pairs])
    assert found.kappas["two answers"] == pytest.approx(two, abs=1e-9)
    assert found.same == pytest.approx(np.mean([np.mean(answers[a] == answers[b]) for a, b in pairs]))
    assert found.intervals["quadratic"].low < found.kappas["quadratic"] < found.intervals["quadratic"].high


def test_agreement_within_readers_is_of_the_repeats() -> None:
    readings = study(World(0.6, 0.1))
    again = repeats(readings, [f"r{n:02d}" for n in range(1, 7)])
    found = within(again, 0.95, np.random.default_rng(0))
    assert found is not None
    assert (found.pairs, found.images) == (6, 20)
    expected = np.mean([cohen_kappa_score(own[:, 1], own[:, 2], labels=range(1, 7)) for own in again])
    assert found.kappas["plain"] == pytest.approx(expected, abs=1e-9)


def test_guesses_that_do_not_come_from_the_image_agree_by_chance_alone() -> None:
    steady = study(World(0.5), repeated=60)
    blind = study(World(0.5), repeated=60, shared_views=False)
    names = [f"r{n:02d}" for n in range(1, 7)]
    found = [within(repeats(one, names), 0.95, np.random.default_rng(0)) for one in (steady, blind)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].intervals["quadratic"].low > 0.5
    assert found[1].intervals["quadratic"].low < 0 < found[1].intervals["quadratic"].high


def test_the_bootstrap_holds_the_true_kappa_about_as_often_as_it_says() -> None:
    # two readers who agree by a common score; the truth from a long reading
    def answers(count: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return np.clip(np.round(3.5 + rng.normal(size=count) + 0.7 * rng.normal(size=(2, count))), 1, 6).astype(int)

    truth = kappa(*answers(200_000, 0), Weights.QUADRATIC)
    held = 0
    for run in range(40):
        found = between(answers(100, run + 1), 0.95, np.random.default_rng(run))
        assert found is not None
        held += found.intervals["quadratic"].low <= truth <= found.intervals["quadratic"].high
    assert held >= 34


def test_without_a_second_reader_or_a_repeat_there_is_nothing_to_agree() -> None:
    assert between(np.array([[1, 2, 3]]), 0.95, np.random.default_rng(0)) is None
    assert within([np.zeros((0, 3), dtype=np.int64)], 0.95, np.random.default_rng(0)) is None


def test_constant_answers_have_no_kappa_and_full_agreement() -> None:
    found = between(np.full((3, 40), 4), 0.95, np.random.default_rng(0))
    assert found is not None
    assert found.kappas == {}
    assert (found.same, found.same_side) == (1.0, 1.0)
