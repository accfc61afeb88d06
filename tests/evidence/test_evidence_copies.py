import numpy as np
import pytest

from scansynth.evidence.copies import LARGEST_MARGIN, assess, cross_fit, tail
from scansynth.statistics import Verdict

TRAIN = {"training images": 500, "training patients": 200}


def calibrate(rng: np.random.Generator, patients: int = 60, each: int = 3) -> tuple[np.ndarray, np.ndarray]:
    names = np.repeat(np.arange(patients), each)
    return rng.normal(0, 0.7, patients)[names] + rng.normal(0, 0.7, len(names)), names


def judge(synthetic: np.ndarray, rng: np.random.Generator, patients: int = 60, found: float = 9.0) -> object:
    scores, names = calibrate(rng, patients)
    return assess(synthetic, scores, names, {"exact": np.full(50, found)}, TRAIN, 0.95, rng).claim


def test_thresholds_flag_as_many_held_out_images_as_they_should() -> None:
    rates = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        fitted = cross_fit(*calibrate(rng), rng)
        assert fitted.hits.mean() == pytest.approx(fitted.held_out.mean(), abs=0.005)
        rates.append(fitted.hits.mean())
    # 90 scores set a threshold: 1 in 91 passes it
    assert np.mean(rates) == pytest.approx(1 / 91, abs=0.004)


def test_real_patients_are_not_called_copies_and_copies_are() -> None:
    verdicts, planted = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        fresh = rng.normal(0, 1, 400)
        verdicts.append(judge(fresh, rng).verdict)
        fresh[:40] = 9.0
        planted.append(judge(fresh, np.random.default_rng(seed)).verdict)
    assert verdicts.count(Verdict.REFUTED) <= 3
    assert verdicts.count(Verdict.SHOWN) >= 40
    assert planted.count(Verdict.SHOWN) == 0
    assert planted.count(Verdict.REFUTED) >= 57


def test_with_few_patients_copies_are_never_called_none() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        claim = judge(np.where(np.arange(200) < 30, 9.0, rng.normal(0, 1, 200)), rng, patients=20)
        assert claim.verdict is not Verdict.SHOWN
        assert claim.margin <= LARGEST_MARGIN


def test_missed_planted_copies_take_the_verdict_away() -> None:
    rng = np.random.default_rng(0)
    claim = judge(rng.normal(0, 1, 400), rng, found=0.0)
    assert claim.verdict is Verdict.NOT_ASSESSABLE
    assert "exact: 0% found" in claim.why


def test_the_resolution_is_stated() -> None:
    rng = np.random.default_rng(0)
    assert "1 in 181" in judge(rng.normal(0, 1, 400), rng).why


def test_tail_is_the_share_of_calibrate_images_as_close() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(tail(np.array([0.0, 0.3, 0.35, 0.9]), scores), [1.0, 0.6, 0.4, 0.2])
