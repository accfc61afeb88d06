"""The crossed logit: the plain logit and a general optimiser are its oracles, planted skill is found."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import optimize

from scansynth.reader.statistics.crossed import crossed_logit, mode
from scansynth.reader.statistics.simulation import World, readings


def made_up(auc: float = 0.65, readers: int = 4, images: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return readings(World(auc, 0.08), readers, images // 2, images // 2, np.random.default_rng(seed))


def test_without_spread_it_is_the_logit_of_statsmodels() -> None:
    answers, truth = made_up()
    called = (answers >= 4).astype(float)
    found = mode(called, truth, np.zeros(3))
    x = sm.add_constant(np.tile(np.where(truth, 0.5, -0.5), len(called)))
    outside = sm.Logit(called.ravel(), x).fit(disp=False, tol=1e-12)
    assert found.settled
    assert found.slope == pytest.approx(outside.params[1], abs=1e-6)
    assert found.error == pytest.approx(outside.bse[1], abs=1e-6)
    assert found.criterion == pytest.approx(outside.llf, abs=1e-6)


def test_the_mode_and_laplaces_criterion_are_those_of_a_general_optimiser() -> None:
    answers, truth = made_up(readers=3, images=12)
    called, spreads = (answers >= 4).astype(float), np.array([0.7, 0.5, 0.9])
    readers, images = called.shape
    x = np.where(truth, 0.5, -0.5)

    def linear(values: np.ndarray) -> np.ndarray:
        caution, skill = values[2 : 2 + readers], values[2 + readers : 2 + 2 * readers]
        own = values[2 + 2 * readers :]
        by_reader = values[0] + values[1] * x + spreads[0] * caution[:, None] + spreads[1] * skill[:, None] * x
        return by_reader + spreads[2] * own

    def cost(values: np.ndarray) -> float:
        eta = linear(values)
        return float(-np.sum(called * eta - np.logaddexp(0, eta)) + values[2:] @ values[2:] / 2)

    best = optimize.minimize(cost, np.zeros(2 + 2 * readers + images), options={"gtol": 1e-8})
    design = np.array([linear(row) for row in np.eye(len(best.x))]).reshape(len(best.x), -1)
    chance = 1 / (1 + np.exp(-linear(best.x).ravel()))
    second = (design * (chance * (1 - chance))) @ design.T + np.diag(np.r_[0, 0, np.ones(len(best.x) - 2)])
    found = mode(called, truth, spreads)
    assert found.slope == pytest.approx(best.x[1], abs=1e-5)
    assert found.error == pytest.approx(np.sqrt(np.linalg.inv(second)[1, 1]), abs=1e-6)
    expected = -best.fun - np.linalg.slogdet(second[2:, 2:])[1] / 2
    assert found.criterion == pytest.approx(expected, abs=1e-6)


def test_planted_skill_is_found_and_its_absence_too() -> None:
    seen = crossed_logit(*made_up(0.75, readers=5, images=100))
    none = crossed_logit(*made_up(0.50, readers=5, images=100, seed=1))
    assert seen.converged
    assert none.converged
    assert seen.interval(0.95).low > 0
    assert none.interval(0.95).low < 0 < none.interval(0.95).high


def test_its_interval_holds_no_skill_about_as_often_as_it_says() -> None:
    held = 0
    for run in range(25):
        answers, truth = readings(World(0.5, 0.1), 5, 30, 30, np.random.default_rng(run))
        found = crossed_logit(answers, truth)
        held += found.converged and found.interval(0.95).low <= 0 <= found.interval(0.95).high
    assert held >= 20


def test_it_says_so_when_there_is_no_estimate() -> None:
    truth = np.arange(40) < 20
    for answers in (np.where(truth, 6, 1)[None].repeat(4, axis=0), np.full((4, 40), 2)):
        found = crossed_logit(answers, truth)
        assert not found.converged
        row = found.as_row(0.95)
        assert set(row) == {"converged", "note"}
        assert row["note"].endswith(".")
