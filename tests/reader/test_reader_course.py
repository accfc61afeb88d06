"""Learning, fatigue, time: the trend is statsmodels' and scipy's, planted courses are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_readings import rows, study
from scipy import stats
from statsmodels.stats.contingency_tables import Table

from scansynth.reader.statistics.course import AFTER_BREAK, course, trend
from scansynth.reader.statistics.readings import Reading, counted
from scansynth.reader.statistics.simulation import World


def test_the_trend_of_one_reader_is_statsmodels_and_scipys() -> None:
    rng = np.random.default_rng(0)
    y = rng.random(40) < np.linspace(0.3, 0.8, 40)
    x = np.arange(40.0)
    found = trend([x], [y.astype(float)])
    assert found is not None
    table = Table(np.array([(~y).astype(float), y.astype(float)]), shift_zeros=False)
    outside = table.test_ordinal_association(np.array([0.0, 1.0]), x)
    assert found.z == pytest.approx(outside.zscore, abs=1e-6)
    assert found.p == pytest.approx(outside.pvalue, abs=1e-6)
    assert found.per_hundred == pytest.approx(100 * stats.linregress(x, y).slope, abs=1e-9)


def test_the_trend_is_within_readers_and_blind_to_their_level() -> None:
    rng = np.random.default_rng(1)
    x = [np.arange(50.0), np.arange(50.0)]
    y = [rng.normal(size=50), rng.normal(size=50)]
    one, other = trend(x, y), trend(x, [y[0] + 100.0, y[1]])
    assert one is not None
    assert other is not None
    assert other.z == pytest.approx(one.z, abs=1e-9)


def test_without_a_course_the_trend_is_found_as_rarely_as_stated() -> None:
    rng = np.random.default_rng(2)
    x = [np.arange(60.0)] * 3
    found = [trend(x, [(rng.random(60) < p).astype(float) for p in (0.3, 0.5, 0.8)]) for _ in range(600)]
    assert np.mean([one is not None and one.p < 0.05 for one in found]) == pytest.approx(0.05, abs=0.025)


def test_nothing_that_varies_has_no_trend() -> None:
    assert trend([np.arange(9.0)], [np.ones(9)]) is None
    assert trend([], []) is None


def learner(steady: bool) -> list[Reading]:
    """A reader who is wrong at first and right at the end, or right and wrong in turn."""
    readings = []
    for one in study(World(0.5), readers=2, images=120, repeated=0):
        good = one.position > 60 if not steady else one.position % 2 == 0
        readings.append(replace(one, answer=5 if one.synthetic == good else 2, seconds=40.0 - one.position / 4))
    return readings


def test_a_planted_course_is_found_and_its_absence_too() -> None:
    learning, steady = (course(learner(kind), 40, 0.95) for kind in (False, True))
    assert learning["trends"]["right"]["p"] < 1e-6
    assert learning["trends"]["right"]["per_hundred_images"] > 0.5
    assert [part["right"] for part in learning["quarters"]] == [0.0, 0.0, 1.0, 1.0]
    assert steady["trends"]["right"]["p"] > 0.5
    assert learning["trends"]["log_seconds"]["z"] < -5  # they grow quick


def test_quarters_and_times_hold_every_first_answer_once() -> None:
    readings = study(World(0.6), readers=3, images=50)
    found = course(counted(readings), 40, 0.95)
    assert sum(part["answers"] for part in found["quarters"]) == 150
    assert found["seconds"]["all"]["median"] == pytest.approx(5.5)  # half a second of six was out of sight
    assert found["seconds"]["quick"] == 0.0
    assert set(found["readers"]) == {"r01", "r02", "r03"}


def test_images_after_breaks_are_held_against_the_others() -> None:
    readings = [
        replace(one, answer=(5 if one.synthetic else 2) if (one.position - 1) % 40 < AFTER_BREAK else 4)
        for one in study(World(0.5), readers=2, images=120, repeated=0)
    ]
    found = course(readings, 40, 0.95)["after_breaks"]
    assert found["after"]["answers"] == 2 * 2 * AFTER_BREAK  # after image 40 and after image 80
    assert found["after"]["right"] == 1.0
    assert found["others"]["right"] < 0.7
    assert course(readings, 0, 0.95)["after_breaks"] is None


def test_quick_answers_are_counted() -> None:
    readings = rows(np.full((1, 10), 3), np.arange(10) < 5, seconds=1.2)
    assert course(readings, 40, 0.95)["seconds"]["quick"] == 1.0
