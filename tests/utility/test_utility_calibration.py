"""Temperature, reliability and curves: planted miscalibration is found and undone."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_trials import block, simulation
from scipy.special import expit
from sklearn.metrics import brier_score_loss, roc_curve

from scansynth.utility.statistics.calibration import (
    calibration_errors,
    calibrations,
    class_weights,
    fit_temperature,
    reliability,
    tempered,
)
from scansynth.utility.statistics.curves import GRID, roc, roc_curves
from scansynth.utility.statistics.resampling import once


def honest(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are true, with as many of either class."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 2, count)
    return expit(z), rng.random(count) < expit(z)


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_the_temperature_is_that_by_which_the_logits_were_stretched(factor: float) -> None:
    p, positive = honest(20_000)
    stretched = expit(np.log(p / (1 - p)) * factor)
    found = fit_temperature(stretched, positive)
    assert found == pytest.approx(factor, rel=0.05)
    np.testing.assert_allclose(tempered(stretched, factor), p, atol=1e-6)


def test_scores_that_part_the_classes_have_a_finite_temperature() -> None:
    assert 0.01 < fit_temperature(np.array([0.0, 0.1, 0.9, 1.0]), np.array([False, False, True, True])) < 1.0


def test_ece_is_small_for_the_honest_and_known_for_the_boastful() -> None:
    p, positive = honest(20_000)
    weights = class_weights(positive, once(len(p)))
    assert calibration_errors(p, positive, weights)[0, 0] < 0.02
    boast, half = np.full(100, 0.95), np.arange(100) < 50  # says 95%, true is 50%
    assert calibration_errors(boast, half, class_weights(half, once(100)))[0, 0] == pytest.approx(0.45)


def test_brier_is_sklearns_with_balanced_classes() -> None:
    p, positive = honest(500)
    weights = np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum())
    ours = calibration_errors(p, positive, class_weights(positive, once(500)))[1, 0]
    assert ours == pytest.approx(brier_score_loss(positive, p, sample_weight=weights))


def test_errors_do_not_depend_on_how_rare_lesions_are() -> None:
    p, positive = honest(40_000)
    rare = ~positive | (np.arange(len(p)) % 10 == 0)
    errors = [
        calibration_errors(p[k], positive[k], class_weights(positive[k], once(int(k.sum()))))[:, 0]
        for k in (np.ones(len(p), dtype=bool), rare)
    ]
    np.testing.assert_allclose(errors[0], errors[1], atol=0.02)


def test_an_empty_bin_of_the_curve_says_nothing() -> None:
    curve = reliability(np.array([0.05, 0.95]), np.array([False, True]))
    assert np.isfinite(curve.said).tolist() == [True, *[False] * 8, True]
    assert curve.weight.sum() == pytest.approx(1.0)
    assert curve.true[[0, 9]].tolist() == [0.0, 1.0]


def test_calibration_of_arms_undoes_a_planted_stretch() -> None:
    trial = block({}, replace(simulation.PLAIN, calibrate=400, test=400), ("basic", "synthetic"))
    for role in ("calibrate", "test"):
        part = getattr(trial, role)
        scores = part.scores.copy()
        scores[1] = expit(5.0 * np.log(scores[1] / (1 - scores[1])))
        trial = replace(trial, **{role: replace(part, scores=scores)})
    found = calibrations(trial, 200, 0.95, np.random.default_rng(0))
    assert min(found["synthetic"].temperatures) > 3.5 * max(found["basic"].temperatures)
    assert found["synthetic"].raw_ece.interval.low > found["synthetic"].ece.interval.high
    for arm in found.values():
        assert arm.ece.interval.low <= arm.ece.value <= arm.ece.interval.high


def test_roc_is_sklearns_at_the_grid() -> None:
    trial = block({}, simulation.PLAIN, ("basic",))
    ours = roc(trial.test, 0, 2, once(len(trial.test.positive)))[:, 0]
    false, true, _ = roc_curve(trial.test.positive, trial.test.scores[0, 2], drop_intermediate=False)
    assert ours == pytest.approx([true[false <= rate + 1e-9].max() for rate in GRID])


def test_bands_hold_their_curves_and_rise() -> None:
    trial = block({}, simulation.PLAIN, ("basic", "synthetic"))
    for curve in roc_curves(trial, 200, 0.95, np.random.default_rng(0)).values():
        assert (np.diff(curve.y) >= -1e-12).all()
        assert all(low <= y <= high for low, y, high in zip(curve.low, curve.y, curve.high, strict=True))
        assert curve.y[-1] == 1.0
