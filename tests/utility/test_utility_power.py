"""The plan: published figures, closed forms, and the reverse question answered by the same numbers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from scansynth.errors import ConfigError
from scansynth.utility.statistics.power import (
    LEAST_TEST,
    Assumed,
    Counts,
    Sample,
    Wish,
    chance_of_claim,
    chance_of_gain,
    design_effect,
    least_patients,
    mcnemar_lesions,
    noninferior_negatives,
    plan_utility,
    spread_of_alarms,
    spread_of_gain,
)

COHORT = Counts(Sample(200, 110), Sample(500, 150), Sample(250, 80))
ENDLESS = Sample(10**9, 10**9)


def test_figures_of_the_published_gain() -> None:
    assert [mcnemar_lesions(0.064, share) for share in (0.10, 0.15, 0.20)] == [189, 285, 381]
    assert noninferior_negatives(0.05, 0.10) == 314


def test_mcnemar_has_the_power_that_it_promises() -> None:
    """Exact power of McNemar's test without continuity correction over all tables, at the planned number."""
    gain, share = 0.064, 0.15
    n = mcnemar_lesions(gain, share)
    discordant = np.arange(n + 1)
    chance = stats.binom.pmf(discordant, n, share)
    power = 0.0
    for m, weight in zip(discordant[1:], chance[1:], strict=True):
        won = np.arange(m + 1)
        significant = (2 * won - m) / np.sqrt(m) > stats.norm.ppf(0.975)
        power += weight * stats.binom.pmf(won, m, 0.5 + gain / share / 2)[significant].sum()
    assert power == pytest.approx(0.8, abs=0.02)


def test_a_gain_beyond_the_discordance_is_refused() -> None:
    with pytest.raises(ValueError, match="discordance"):
        mcnemar_lesions(0.2, 0.1)


def test_design_effect() -> None:
    assert design_effect(Sample(300, 100), 0.0) == 1.0
    assert design_effect(Sample(300, 100), 1.0) == pytest.approx(3.0)
    assert design_effect(Sample(100, 100), 0.7) == 1.0


def test_with_luck_alone_it_is_the_power_of_a_t_test_on_the_pairs() -> None:
    assumed = Assumed(discordance=0.1, negative_discordance=0.1, shared=0.0, pair_spread=0.04)
    endless = Counts(ENDLESS, ENDLESS, ENDLESS)
    for pairs in (3, 5, 10):
        outside = TTestPower().power(0.05 / 0.04, pairs, 0.05, alternative="two-sided")
        assert chance_of_gain(0.05, endless, pairs, assumed) == pytest.approx(outside, abs=1e-3)


def test_with_one_sample_shared_by_all_pairs_it_is_mcnemar() -> None:
    """All pairs alike, no noise in the threshold: five detectors tell no more than one."""
    assumed = Assumed(discordance=0.15, shared=1.0, pair_spread=0.0, correlation=0.0)
    n = mcnemar_lesions(0.064, 0.15)
    found = chance_of_gain(0.064, Counts(Sample(n, n), ENDLESS, ENDLESS), 5, assumed)
    assert found == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("role", ["test_positive", "calibrate_negative"])
def test_more_of_anything_tells_more(role: str) -> None:
    more = replace(COHORT, **{role: getattr(COHORT, role).times(4)})
    assert chance_of_gain(0.064, more, 5, Assumed()) > chance_of_gain(0.064, COHORT, 5, Assumed())
    assert chance_of_gain(0.064, COHORT, 10, Assumed()) > chance_of_gain(0.064, COHORT, 5, Assumed())
    crowded = replace(COHORT, test_positive=Sample(200, 50))
    assert spread_of_gain(0.064, crowded, 5, Assumed()).error > spread_of_gain(0.064, COHORT, 5, Assumed()).error


def test_false_alarms_hang_on_both_roles() -> None:
    error = spread_of_alarms(COHORT, 5, Assumed()).error
    for role in ("test_negative", "calibrate_negative"):
        more = replace(COHORT, **{role: getattr(COHORT, role).times(10)})
        assert spread_of_alarms(more, 5, Assumed()).error < error


def test_the_claim_is_harder_than_the_gain_and_than_either_alone() -> None:
    both = chance_of_claim(Wish(0.1), COHORT, 5, Assumed())
    assert both < chance_of_gain(0.1, COHORT, 5, Assumed())
    assert chance_of_claim(Wish(0.1, comparisons=3), COHORT, 5, Assumed()) < both
    assert chance_of_claim(Wish(0.1, margin=0.99), COHORT, 5, Assumed()) == pytest.approx(
        chance_of_gain(0.1, COHORT, 5, Assumed()), abs=1e-3
    )


def test_the_plan_answers_itself() -> None:
    plan = plan_utility(COHORT, gain=0.064)
    assert plan.needed is not None
    assert plan.detectable is not None
    assert plan.needed.test_positive.patients > COHORT.test_positive.patients
    assert chance_of_claim(Wish(0.064), plan.needed, 5, plan.assumed) >= 0.799
    smaller = plan.needed.times(0.9)
    assert chance_of_claim(Wish(0.064), smaller, 5, plan.assumed) < 0.8
    assert chance_of_gain(plan.detectable, COHORT, 5, plan.assumed) == pytest.approx(0.8, abs=0.01)
    if plan.pairs_needed is not None:
        assert chance_of_claim(Wish(0.064), COHORT, plan.pairs_needed, plan.assumed) >= 0.8
        assert chance_of_claim(Wish(0.064), COHORT, plan.pairs_needed - 1, plan.assumed) < 0.8


def test_luck_sets_a_limit_that_no_cohort_lifts() -> None:
    plan = plan_utility(COHORT, gain=0.03, assumed=Assumed(pair_spread=0.10))
    assert plan.needed is None


def test_missing_patients_are_counted() -> None:
    plan = plan_utility(Counts(Sample(20, 18), Sample(60, 40), Sample(9, 8)), rate=0.1)
    assert plan.missing == {"test with a lesion": LEAST_TEST - 18, "calibrate without a lesion": 2}
    assert plan_utility(COHORT).missing == {}
    assert least_patients(0.05)["calibrate", False] == 20


def test_impossible_plans_are_refused() -> None:
    with pytest.raises(ConfigError, match="two pairs"):
        plan_utility(COHORT, pairs=1)
    with pytest.raises(ConfigError, match="cannot be those"):
        Sample(3, 4)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        plan_utility(COHORT, gain=6.4)
