import numpy as np
import pytest

from scansynth.audit.questions.copies import Scores, assess
from scansynth.audit.questions.excess import Excess, Unsearched, excess
from scansynth.metrics.alone import open_alone
from scansynth.metrics.ncc import Flip
from scansynth.statistics import Interval, Verdict

SIDE, EACH, PATIENTS = 8, 3, 100


def scans(patients: int, each: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noise, half of it shared by the images of a patient."""
    names = np.repeat(np.arange(patients), each)
    made = rng.normal(size=(patients, SIDE, SIDE))[names] + rng.normal(size=(len(names), SIDE, SIDE))
    return (made / np.sqrt(2.0)).astype(np.float32), names


def judged(rng: np.random.Generator, copies: int = 0, calibrate_copies: int = 0) -> Excess:
    train, whose = scans(PATIENTS, EACH, rng)
    calibrate, names = scans(30, EACH, rng)
    fresh, _ = scans(400, 1, rng)
    for part, count in ((fresh, copies), (calibrate, calibrate_copies)):
        part[:count] = train[rng.permutation(len(train))[:count]] + 0.7 * rng.normal(size=(count, SIDE, SIDE))
    search = open_alone(train, whose, (Flip.NONE,))
    own, _, nearest = search.own_left_out(train)
    held, _, place = search.nearest(calibrate)
    real = Unsearched(
        np.concatenate([own, held]),
        np.concatenate([whose, names + PATIENTS]),
        whose[np.concatenate([nearest, place])],
        np.arange(len(own) + len(held)) < len(own),
    )
    return excess(search.nearest(fresh)[0], real)


def test_one_copy_in_twenty_is_found_and_new_patients_are_not() -> None:
    honest = [judged(np.random.default_rng(seed)) for seed in range(40)]
    spoilt = [judged(np.random.default_rng(seed), copies=20) for seed in range(20)]
    assert sum(one.found for one in honest) <= 3
    assert sum(one.found for one in spoilt) >= 15
    for one in honest + spoilt:
        assert one.interval.low <= one.value <= one.interval.high
        assert one.value == pytest.approx(one.share - one.chance)
    assert np.mean([one.value for one in spoilt]) > np.mean([one.value for one in honest]) + 0.025


def test_an_excess_of_calibrate_images_takes_that_of_the_set_away() -> None:
    found = judged(np.random.default_rng(0), copies=60, calibrate_copies=40)
    assert not found.stands
    assert not found.found
    assert "says nothing here" in found.sentence()


def test_an_excess_refutes_where_the_flag_rate_is_silent_and_stands_in_the_claim() -> None:
    rng = np.random.default_rng(0)
    names = np.repeat(np.arange(60), 3)
    calibrate, fresh = np.tanh(rng.normal(size=(2, 180)) * 0.2), np.tanh(rng.normal(size=(2, 400)) * 0.2)
    planted = {"exact": np.full((2, 50), 0.999)}

    def claim(beyond: Excess | None) -> Verdict:
        found = assess(Scores(fresh, calibrate, names, planted, excess=beyond), {}, 0.95, np.random.default_rng(1))
        if beyond:
            assert "an excess of 4.0 points (97.5% interval" in found.claim.why
            assert found.figures["excess"]["value"] == 0.04
        return found.claim.verdict

    high = Excess(0.04, Interval(0.02, 0.07), 0.05, 0.01, 1000, 400, 0.5)
    none = Excess(0.04, Interval(-0.01, 0.07), 0.05, 0.01, 1000, 400, 0.5)
    assert claim(None) is not Verdict.REFUTED
    assert claim(none) is claim(None)
    assert claim(high) is Verdict.REFUTED
