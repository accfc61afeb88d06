"""Sample sizes: the known numbers come out, and the table says what two readers can never show."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scansynth.errors import ReaderError
from scansynth.reader.statistics.planning import Asked, exact_images, exact_power, plan, power, sentences, share_power
from scansynth.reader.statistics.roc import placements
from scansynth.reader.statistics.simulation import (
    ShareWorld,
    World,
    pooled_interval,
    readings,
    share_interval,
    true_auc,
)
from scansynth.reader.statistics.verdict import Outcome


@pytest.mark.parametrize(("margin", "images"), [(0.10, 227), (0.05, 888)])
def test_one_reader_needs_the_known_numbers(margin: float, images: int) -> None:
    assert exact_images(margin) == images
    assert exact_power(images - 1, margin, 0.95) < 0.8 <= exact_power(images, margin, 0.95)


def test_exact_power_is_that_of_simulated_answers() -> None:
    counts = np.random.default_rng(0).binomial(227, 0.5, 4000)
    bounds = {int(x): stats.binomtest(int(x), 227).proportion_ci(0.90, "exact") for x in np.unique(counts)}
    shown = [bounds[int(x)].low >= 0.4 and bounds[int(x)].high <= 0.6 for x in counts]
    assert exact_power(227, 0.1, 0.95) == pytest.approx(np.mean(shown), abs=0.03)


@pytest.mark.parametrize(
    ("readers", "images", "known"), [(2, 100, 0.15), (5, 200, 0.33), (8, 200, 0.67), (12, 100, 0.81)]
)
def test_the_power_of_shares_is_the_known_one(readers: int, images: int, known: float) -> None:
    # readers differ by 10 points, images by 20, both on the logit scale
    assert share_power(ShareWorld(0.5, 0.1), readers, images, 0.1, 0.95, 400, 0) == pytest.approx(known, abs=0.07)


def test_pooled_wilson_intervals_forget_the_readers() -> None:
    held = []
    for spread in (0.0, 0.05, 0.10, 0.215):
        world, rng = ShareWorld(0.5, spread), np.random.default_rng(1)
        ends = [pooled_interval(world.calls(2, 100, rng), 0.95) for _ in range(500)]
        held.append(np.mean([end.low <= 0.5 <= end.high for end in ends]))
    assert held == pytest.approx([0.93, 0.83, 0.66, 0.39], abs=0.06)
    world, rng = ShareWorld(0.5, 0.10), np.random.default_rng(2)
    ends = [share_interval(world.calls(8, 100, rng), 0.95) for _ in range(200)]
    assert np.mean([end.low <= 0.5 <= end.high for end in ends]) > 0.9


def test_more_readers_help_more_than_more_images() -> None:
    world = World(0.5, 0.1)
    shown = {
        (readers, images): power(world, readers, images, 0.1, 0.95, 150, 0)[Outcome.EQUIVALENT]
        for readers, images in ((3, 200), (3, 800), (12, 200))
    }
    assert shown[12, 200] > shown[3, 800] + 0.2
    assert shown[3, 200] < 0.3


def test_a_true_difference_is_not_called_equivalent() -> None:
    # at the edge of the margin equivalence is shown in 5% of studies at most
    world = World(0.606, 0.05)
    assert true_auc(world, np.random.default_rng(0)) == pytest.approx(0.6, abs=0.005)
    found = power(world, 6, 200, 0.1, 0.95, 200, 0)
    assert found[Outcome.EQUIVALENT] + found[Outcome.WITHIN] <= 0.10


def test_the_true_auc_is_that_of_very_many_answers() -> None:
    world = World(0.7, 0.1)
    rng = np.random.default_rng(0)
    seen = [float(placements(*readings(world, 1, 400, 400, rng)).auc[0]) for _ in range(400)]
    assert true_auc(world, rng) == pytest.approx(np.mean(seen), abs=0.015)
    assert true_auc(World(0.5, 0.1), rng) == pytest.approx(0.5, abs=0.005)


def test_the_plan_says_plainly_what_it_takes_and_what_two_can_never_show() -> None:
    made = plan(Asked(readers=(2, 12), images=(200,), runs=60))
    words = " ".join(sentences(made))
    assert "Two readers can never show" in words
    assert "227 images" in words
    assert [(cell.readers, cell.images) for cell in made.cells] == [(2, 200), (12, 200)]
    assert made.cells[1].equivalent > made.cells[0].equivalent
    assert made.cells[1].found > 0.9
    hopeless = sentences(plan(Asked(margin=0.02, readers=(2, 3), images=(40,), runs=20)))
    assert hopeless[0].startswith("With readers whose AUCs")
    assert "no design of this table" in hopeless[0]


def test_a_plan_is_the_same_every_time() -> None:
    assert plan(Asked(readers=(3,), images=(40,), runs=10)) == plan(Asked(readers=(3,), images=(40,), runs=10))


@pytest.mark.parametrize(
    "asked", [{"margin": 0.6}, {"level": 0.4}, {"reader_sd": 0.5}, {"readers": (1,)}, {"images": (4,)}, {"readers": ()}]
)
def test_senseless_plans_are_refused(asked: dict[str, object]) -> None:
    with pytest.raises(ReaderError):
        plan(Asked(**asked))  # type: ignore[arg-type]
