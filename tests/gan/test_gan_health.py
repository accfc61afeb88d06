"""The rules of the alarm, by numbers made up by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from scansynth.gan.watching.collapse import COMPARED, STATISTICS
from scansynth.gan.watching.health import (
    ARMED_AT,
    BALANCE_CHANGE,
    CRITICAL,
    GRACE_LOOKS,
    RUNNING,
    TITLES,
    WATCHED,
    Health,
    Level,
    Trouble,
    from_plain,
    judge,
    to_plain,
)

LIMITS = dict.fromkeys(COMPARED, 0.9)
TOTAL = 300_000
EARLY, LATE = 2_000, 150_000


def figures(**changes: float) -> dict[str, float]:
    """Those of a generator as varied as real patients, but for `changes`."""
    return {**dict.fromkeys(STATISTICS, 1.0), **changes}


def after(
    looks: Sequence[Mapping[str, float]],
    before: Health | None = None,
    limits: Mapping[str, float] = LIMITS,
    images: int = EARLY,
    balance: float = 1.0,
    total: int = TOTAL,
) -> Health:
    """Health after looks one after another at one generator."""
    health = before or Health()
    for look in looks:
        health = judge(health, {"generator": look}, limits, balance, images, total)
    return health


VARIED, GREY = figures(), figures(nearest=0.1, near_pairs=0.1, median_pair=0.1, vendi=0.1, rank=0.1, coverage=0.0)
HEALTHY = after([VARIED])
LOW = figures(rank=0.5)


def test_a_generator_that_is_still_grey_is_warming_and_no_alarm() -> None:
    health = after([GREY] * 5)
    assert health.level is Level.WARMING
    assert health.reasons == health.armed == health.settled == ()
    assert Health().level is Level.WARMING


def test_one_as_varied_as_reals_is_healthy() -> None:
    assert HEALTHY.level is Level.HEALTHY
    assert HEALTHY.armed == HEALTHY.settled == ("generator",)
    assert HEALTHY.reasons == ()


@pytest.mark.parametrize("name", CRITICAL)
def test_it_is_armed_at_a_margin_above_every_critical_limit(name: str) -> None:
    edge = {other: ARMED_AT * limit for other, limit in CRITICAL.items()}
    assert after([figures(**edge)]).armed == ("generator",)
    assert after([figures(**edge | {name: edge[name] - 0.001})]).armed == ()
    assert after([GREY], after([figures(**edge)])).armed == ("generator",)  # and stays so


def test_armed_but_never_as_varied_as_reals_is_still_warming() -> None:
    health = after([figures(rank=0.8)] * 4)
    assert (health.level, health.armed, health.settled) == (Level.WARMING, ("generator",), ())


@pytest.mark.parametrize("name", CRITICAL)
def test_a_collapse_is_critical_at_once(name: str) -> None:
    at_limit = after([figures(**{name: CRITICAL[name]})], HEALTHY)
    assert at_limit.level is Level.HEALTHY  # low once: nothing yet
    health = after([figures(**{name: CRITICAL[name] - 0.01})], HEALTHY)
    assert health.level is Level.CRITICAL
    expected = f"generator: {TITLES[name]} {CRITICAL[name] - 0.01:.2f} of that of real images, below"
    assert len(health.reasons) == 1
    assert health.reasons[0].startswith(expected)


def test_a_collapse_is_seen_before_it_was_ever_as_varied_as_reals() -> None:
    armed = after([figures(rank=0.8)])
    assert after([GREY], armed).level is Level.CRITICAL


def test_a_training_may_come_back_where_it_stood_clear_of_a_collapse() -> None:
    assert HEALTHY.clear
    assert after([LOW] * 3, HEALTHY).clear  # warned of for its rank, and far from a collapse
    assert not after([figures(nearest=0.69)], HEALTHY).clear
    assert not after([GREY]).clear
    assert not Health().clear
    apart = after([VARIED] * 3, replace(HEALTHY, balances=(1.0,) * 6), balance=9.0)
    assert apart.level is Level.WARNING
    assert not apart.clear


def test_in_the_grace_after_a_roll_back_a_collapse_is_only_warned_of() -> None:
    started = replace(HEALTHY, grace=GRACE_LOOKS)
    for looks in range(1, GRACE_LOOKS + 1):
        health = after([GREY] * looks, started)
        assert health.level is Level.WARNING
        assert "distance to the nearest" in health.reasons[0]
    assert after([GREY] * (GRACE_LOOKS + 1), started).level is Level.CRITICAL
    assert after([VARIED] * GRACE_LOOKS, started).level is Level.HEALTHY
    assert after([*[VARIED] * GRACE_LOOKS, GREY], started).level is Level.CRITICAL


def test_after_a_collapse_it_can_be_healthy_again() -> None:
    assert after([GREY, VARIED], HEALTHY).level is Level.HEALTHY


@pytest.mark.parametrize("name", WATCHED)
def test_a_low_figure_warns_when_it_is_low_twice_running(name: str) -> None:
    low = figures(**{name: 0.89})
    once = after([low], HEALTHY)
    assert (once.level, once.reasons, once.low) == (Level.HEALTHY, (), {"generator": 1})
    twice = after([low], once)
    assert twice.level is Level.WARNING
    assert twice.reasons == (
        f"generator: {TITLES[name]} 0.89 of that of real images, below the 0.90 that chance allows, and twice running",
    )
    assert after([low, VARIED, low], HEALTHY).level is Level.HEALTHY
    assert after([low, low, VARIED], HEALTHY).level is Level.HEALTHY
    assert after([figures(**{name: 0.9})] * 3, HEALTHY).level is Level.HEALTHY  # at the limit is not below it


def test_two_figures_low_one_after_the_other_are_low_twice_running() -> None:
    health = after([figures(rank=0.8), figures(nearest=0.8)], HEALTHY)
    assert health.level is Level.WARNING
    assert [TITLES["nearest"] in reason for reason in health.reasons] == [True]


def test_coverage_and_the_step_in_the_noise_never_warn() -> None:
    assert after([figures(coverage=0.0, z_sensitivity=0.0)] * 4, HEALTHY).level is Level.HEALTHY


def test_without_limits_there_is_no_warning_but_a_collapse_is_seen() -> None:
    healthy = after([VARIED], limits={})
    assert healthy.level is Level.HEALTHY
    low = figures(nearest=0.51, near_pairs=0.0, median_pair=0.61, vendi=0.51, rank=0.0, coverage=0.0)
    assert after([low] * 4, healthy, limits={}).level is Level.HEALTHY
    assert after([GREY], healthy, limits={}).level is Level.CRITICAL


@pytest.mark.parametrize(("total", "late"), [(TOTAL, 150_000), (60_000, 60_000), (120_000, 60_000), (124_000, 62_000)])
def test_late_every_generator_is_watched(total: int, late: int) -> None:
    """After half of the training, and 60,000 images at least, a generator that never was varied has collapsed."""
    assert after([GREY], images=late - 1, total=total).level is Level.WARMING
    health = after([GREY], images=late, total=total)
    assert health.level is Level.CRITICAL
    assert health.armed == health.settled == ("generator",)


def test_late_a_generator_that_never_was_as_varied_as_reals_is_warned_of() -> None:
    warming = after([LOW] * 3)
    assert warming.level is Level.WARMING
    assert after([LOW], warming, images=LATE).level is Level.WARNING
    assert after([LOW], images=LATE).level is Level.HEALTHY  # low once


@pytest.mark.parametrize("name", CRITICAL)
def test_a_figure_that_is_no_number_never_passes_as_healthy(name: str) -> None:
    broken = figures(**{name: math.nan})
    assert after([broken]).level is Level.WARMING
    assert after([broken], HEALTHY).level is Level.CRITICAL
    assert after([figures(rank=math.nan)] * 2, HEALTHY).level is Level.WARNING


def balanced(balances: Sequence[float], before: Health = HEALTHY, look: Mapping[str, float] = VARIED) -> Health:
    """Health after looks at which the losses had these ratios."""
    health = before
    for balance in balances:
        health = after([look], health, balance=balance)
    return health


SETTLED = balanced([2.0] * 4, after([VARIED], balance=2.0))


@pytest.mark.parametrize("factor", [BALANCE_CHANGE, 1.0 / BALANCE_CHANGE])
def test_losses_that_run_apart_three_times_warn_when_twice_running(factor: float) -> None:
    assert SETTLED.balances == (2.0,) * 5
    beyond, within = 2.0 * factor**1.01, 2.0 * factor**0.99
    once = balanced([beyond], SETTLED)
    assert (once.level, once.unbalanced) == (Level.HEALTHY, 1)
    twice = balanced([beyond], once)
    assert twice.level is Level.WARNING
    assert twice.reasons == (
        f"losses: the generator's is {beyond:.2f} times the discriminator's, after 2.00 times before",
    )
    assert balanced([within] * 2, SETTLED).unbalanced == 0
    assert balanced([beyond, within, beyond], SETTLED).level is Level.HEALTHY


def test_the_balance_is_held_against_the_median_of_the_looks_before() -> None:
    """One odd look among them does not count."""
    before = balanced([1.0, 2.0, 2.0, 90.0])
    assert before.balances == (1.0, 1.0, 2.0, 2.0, 90.0)
    assert balanced([5.9], before).unbalanced == 0
    assert balanced([6.1], before).unbalanced == 1


def test_a_ratio_of_losses_that_is_no_number_has_run_away() -> None:
    assert balanced([math.nan, math.nan], SETTLED).level is Level.WARNING


def test_the_balance_is_judged_from_the_sixth_look_on() -> None:
    assert balanced([1.0, 1.0, 1.0, 100.0]).unbalanced == 0
    assert balanced([1.0, 1.0, 1.0, 1.0, 100.0]).unbalanced == 1


def test_the_balance_is_held_against_ten_looks_at_most() -> None:
    """What was normal at the start says nothing of the end."""
    health = balanced([10.0] * 20 + [25.0] * 10)
    assert health.balances == (25.0,) * 10
    assert balanced([70.0] * 2, health).level is Level.HEALTHY
    assert balanced([80.0] * 2, health).level is Level.WARNING


def test_the_balance_does_not_matter_before_the_generator_was_healthy() -> None:
    assert balanced([1.0] * 6 + [100.0] * 3, Health(), GREY).level is Level.WARMING


def test_a_collapse_is_told_before_all_else() -> None:
    health = balanced([100.0] * 2, balanced([1.0] * 5), GREY)
    assert health.unbalanced == 2
    assert health.level is Level.CRITICAL
    assert health.troubles == (Trouble.COLLAPSE, Trouble.LOSSES)
    assert [reason.startswith("losses") for reason in health.reasons][-1:] == [True]
    assert health.reasons[0].startswith("generator")


def both(before: Health, generator: Mapping[str, float], average: Mapping[str, float]) -> Health:
    return judge(before, {"generator": generator, "average": average}, LIMITS, 1.0, EARLY, TOTAL)


def test_the_level_is_that_of_the_worst_network() -> None:
    warming = both(Health(), VARIED, GREY)  # an average follows later
    assert (warming.level, warming.armed) == (Level.WARMING, ("generator",))
    healthy = both(warming, VARIED, VARIED)
    assert healthy.level is Level.HEALTHY
    assert both(both(healthy, VARIED, LOW), VARIED, LOW).level is Level.WARNING
    assert both(both(healthy, LOW, VARIED), VARIED, LOW).level is Level.HEALTHY  # neither was low twice
    worst = both(both(healthy, LOW, VARIED), LOW, GREY)
    assert worst.level is Level.CRITICAL
    assert all(reason.startswith("average: ") for reason in worst.reasons)
    assert both(warming, GREY, GREY).level is Level.CRITICAL  # though the average is not watched yet
    assert both(both(warming, LOW, GREY), LOW, GREY).level is Level.WARNING


@pytest.mark.parametrize(
    "health",
    [
        Health(),
        HEALTHY,
        SETTLED,
        after([LOW, LOW], HEALTHY),
        balanced([100.0] * 2, SETTLED),
        both(HEALTHY, GREY, LOW),
    ],
    ids=["new", "healthy", "settled", "warning", "unbalanced", "critical"],
)
def test_health_comes_back_from_json(health: Health) -> None:
    assert from_plain(to_plain(health)) == health
    back = from_plain(json.loads(json.dumps(to_plain(health))))
    assert back == health
    assert isinstance(back.level, Level)
    assert back.low == health.low
    following = {"generator": LOW, "average": GREY}
    assert judge(back, following, LIMITS, 5.0, EARLY, TOTAL) == judge(health, following, LIMITS, 5.0, EARLY, TOTAL)


def test_the_rules_are_those_that_were_fixed_beforehand() -> None:
    assert (ARMED_AT, RUNNING, BALANCE_CHANGE) == (1.4, 2, 3.0)
    assert CRITICAL == {"nearest": 0.5, "median_pair": 0.6, "vendi": 0.5}
    assert set(CRITICAL) <= set(WATCHED) == set(TITLES) == set(COMPARED) - {"coverage"}
