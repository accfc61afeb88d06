"""The rule: every outcome can be reached, and the lines between them lie where the page says."""

from __future__ import annotations

import math

import pytest

from scansynth.reader.statistics.roc import Estimate
from scansynth.reader.statistics.verdict import CLAIMED, Outcome, decide, equivalence_level
from scansynth.statistics import Verdict


def estimate(auc: float, error: float) -> Estimate:
    return Estimate(auc, error, math.inf, 100)


@pytest.mark.parametrize(
    ("auc", "error", "outcome"),
    [
        (0.50, 0.02, Outcome.EQUIVALENT),
        (0.53, 0.02, Outcome.EQUIVALENT),
        (0.55, 0.02, Outcome.WITHIN),
        (0.45, 0.02, Outcome.WITHIN),
        (0.58, 0.02, Outcome.DISTINGUISHABLE),
        (0.90, 0.02, Outcome.DISTINGUISHABLE),
        (0.20, 0.02, Outcome.DISTINGUISHABLE),
        (0.50, 0.07, Outcome.INCONCLUSIVE),
        (0.56, 0.05, Outcome.INCONCLUSIVE),
    ],
)
def test_each_outcome_has_its_place(auc: float, error: float, outcome: Outcome) -> None:
    assert decide(estimate(auc, error), 0.1, 0.95).outcome is outcome


def test_the_lines_lie_at_the_ends_of_the_intervals() -> None:
    z90, z95, error = 1.6448536, 1.9599640, 0.03
    edge = 0.6 - z90 * error
    assert decide(estimate(edge - 1e-6, error), 0.1, 0.95).outcome is Outcome.EQUIVALENT
    assert decide(estimate(edge + 1e-6, error), 0.1, 0.95).outcome is Outcome.INCONCLUSIVE
    chance = 0.5 + z95 * error
    assert decide(estimate(chance - 1e-6, error), 0.1, 0.95).outcome is Outcome.INCONCLUSIVE
    assert decide(estimate(chance + 1e-6, error), 0.1, 0.95).outcome is Outcome.DISTINGUISHABLE


def test_the_outcome_does_not_depend_on_which_class_looks_more_real() -> None:
    for auc in (0.5, 0.53, 0.57, 0.62, 0.8):
        for error in (0.01, 0.03, 0.06):
            one, other = decide(estimate(auc, error), 0.1, 0.95), decide(estimate(1 - auc, error), 0.1, 0.95)
            assert one.outcome is other.outcome


def test_a_wider_margin_never_takes_equivalence_away() -> None:
    for auc in (0.5, 0.53, 0.57):
        shown = [
            decide(estimate(auc, 0.03), margin, 0.95).outcome in {Outcome.EQUIVALENT, Outcome.WITHIN}
            for margin in (0.02, 0.06, 0.1, 0.15, 0.2)
        ]
        assert shown == sorted(shown)


def test_the_equivalence_interval_is_that_of_two_tests() -> None:
    assert equivalence_level(0.95) == pytest.approx(0.90)
    found = decide(estimate(0.52, 0.03), 0.1, 0.95)
    assert found.interval is not None
    assert found.equivalence is not None
    assert found.interval.low < found.equivalence.low < found.equivalence.high < found.interval.high


def test_every_outcome_has_a_claim_and_words() -> None:
    assert set(CLAIMED) == set(Outcome)
    assert set(CLAIMED.values()) == set(Verdict)
    for auc, error in ((0.5, 0.02), (0.55, 0.02), (0.3, 0.02), (0.7, 0.02), (0.5, 0.1)):
        why = decide(estimate(auc, error), 0.1, 0.95).why
        assert f"{auc:.2f}" in why
        assert why.endswith(".")


@pytest.mark.parametrize(("margin", "level"), [(0.0, 0.95), (0.5, 0.95), (0.1, 0.4), (0.1, 1.0)])
def test_senseless_rules_are_refused(margin: float, level: float) -> None:
    with pytest.raises(ValueError, match="margin lies between"):
        decide(estimate(0.5, 0.02), margin, level)
