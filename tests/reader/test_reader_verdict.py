"""The rule: every outcome can be reached, and the lines between them lie where the page says."""

from __future__ import annotations

import math
import re

import pytest

from scansynth.reader.statistics.roc import Estimate
from scansynth.reader.statistics.verdict import CLAIMED, Outcome, decide, equivalence_level, percent
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


NUMBERS = re.compile(r"\d+\.\d+")


@pytest.mark.parametrize("margin", [0.05, 0.1, 0.125])
@pytest.mark.parametrize("error", [0.003, 0.02, 0.028, 0.0301, 0.06])
def test_no_sentence_contradicts_its_numbers(margin: float, error: float) -> None:
    """On a grid of results, those that lie within a rounding of a limit among them."""
    edges = [0.5 + margin - 1.6448536 * error, 0.5 + 1.9599640 * error, 0.5]
    grid = [0.4 + step / 200 for step in range(60)] + [
        edge + tiny for edge in edges for tiny in (-1e-3, -1e-5, 1e-5, 1e-3)
    ]
    for auc in grid:
        found = decide(estimate(auc, error), margin, 0.95)
        numbers = [float(told) for told in NUMBERS.findall(found.why)]
        deciding = re.search(r"90% interval, (\S+) to (\S+), (lies|does not lie) within (\S+) to ([\d.]*\d)", found.why)
        wide = re.search(r"95% interval (\S+) to ([\d.]*\d)", found.why)
        if deciding:
            low, high, least, most = (float(deciding[group]) for group in (1, 2, 4, 5))
            assert (least, most) == pytest.approx((0.5 - margin, 0.5 + margin))
            assert (least <= low and high <= most) == (deciding[3] == "lies"), found.why
        if wide:
            assert (float(wide[1]) <= 0.5 <= float(wide[2])) == ("includes chance" in found.why), found.why
        assert (deciding is not None) == (found.outcome is not Outcome.DISTINGUISHABLE), found.why
        assert (numbers[0] > 0.5, numbers[0] < 0.5) == (auc > 0.5, auc < 0.5)
        assert ")and" not in found.why


def test_no_share_is_rounded_over_what_is_needed() -> None:
    for needed in (0.8, 0.95, 1.0):
        for share in (needed - 0.1, needed - 0.004, needed - 1e-5, needed, needed + 0.004):
            told = float(percent(share, needed).rstrip("%")) / 100
            assert (told < needed - 1e-12) == (share < needed), (share, needed)
    assert percent(0.8, 0.8) == "80%"
    assert percent(0.7996, 0.8) == "79.96%"


@pytest.mark.parametrize(("margin", "level"), [(0.0, 0.95), (0.5, 0.95), (0.1, 0.4), (0.1, 1.0)])
def test_senseless_rules_are_refused(margin: float, level: float) -> None:
    with pytest.raises(ValueError, match="margin lies between"):
        decide(estimate(0.5, 0.02), margin, level)
