"""Readers who did not see the same images, and patients with several images: against leaving each one out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from scansynth.errors import ReaderError
from scansynth.reader.statistics.mrmc import Figures, areas, average, mean_of
from scansynth.reader.statistics.simulation import World, readings


def made_up(readers: int = 5, seed: int = 0, missing: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Scores of which some are missing, (R, C), and the class of each image."""
    rng = np.random.default_rng(seed)
    answers, truth = readings(World(0.65, 0.1), readers, 23, 31, rng)
    scores = answers.astype(np.float64)
    scores[rng.random(scores.shape) < missing] = np.nan
    return scores, truth


def by_hand(scores: np.ndarray, truth: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUCs with all images and without each patient, by sklearn."""

    def one(own: np.ndarray, kept: np.ndarray) -> float:
        kept = kept & np.isfinite(own)
        return float(roc_auc_score(truth[kept], own[kept]))

    everything = np.ones(len(truth), dtype=bool)
    values = np.array([one(own, everything) for own in scores])
    left = np.array([[one(own, patients != name) for name in np.unique(patients)] for own in scores])
    return values, left


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_leaving_out_each_patient_is_what_it_says(clustered: bool, missing: float) -> None:
    scores, truth = made_up(missing=missing)
    rng = np.random.default_rng(1)
    # 20 patients, some with images of both classes, which share pairs of their own
    patients = rng.integers(20, size=len(truth)) if clustered else np.arange(len(truth))
    found = areas(scores, truth, patients)
    values, left = by_hand(scores, truth, patients)
    assert found.values == pytest.approx(values, abs=1e-12)
    assert found.left_out == pytest.approx(left, abs=1e-12)


def test_both_ways_to_compute_a_crossed_study_agree() -> None:
    scores, truth = made_up(missing=0.0)
    fast, slow = areas(scores, truth), areas(scores, truth, np.arange(len(truth)))
    assert fast.values == pytest.approx(slow.values, abs=1e-12)
    assert fast.covariance == pytest.approx(slow.covariance, abs=1e-15)
    assert fast.fewest == slow.fewest


def test_a_patient_whom_a_reader_did_not_see_changes_nothing_of_that_reader() -> None:
    scores, truth = made_up()
    scores[2, 7] = np.nan
    found = areas(scores, truth)
    assert found.left_out[2, 7] == found.values[2]


def test_readers_of_other_patients_share_nothing() -> None:
    scores, truth = made_up(2, missing=0.0)
    half = np.arange(len(truth)) % 2 == 0
    scores[0, half], scores[1, ~half] = np.nan, np.nan
    found = average(scores, truth)
    assert found.shared == pytest.approx(0.0, abs=1e-15)
    assert found.general.error**2 == pytest.approx(found.between / 2)


def test_images_of_one_patient_count_as_one_when_they_are_copies() -> None:
    """Each image twice under one patient's name says no more than once; taken for others, it would halve the error."""
    scores, truth = made_up(4, missing=0.0)
    twice, both = np.repeat(scores, 2, axis=1), np.repeat(truth, 2)
    known = average(twice, both, np.repeat(np.arange(len(truth)), 2))
    once = average(scores, truth)
    assert known.general.auc == pytest.approx(once.general.auc)
    assert known.these.error == pytest.approx(once.these.error, rel=0.02)
    assert average(twice, both).these.error == pytest.approx(once.these.error / np.sqrt(2), rel=0.02)


def test_the_variance_of_an_unbalanced_mean_is_the_sum_of_its_parts() -> None:
    """MS(R)/R + Cov2 is on average the variance of the mean, also where readers' own variances differ."""
    rng = np.random.default_rng(0)
    own = np.array([1.0, 4.0, 9.0, 2.0, 0.5])
    shared = 0.3
    covariance = np.full((5, 5), shared) + np.diag(own)
    root = np.linalg.cholesky(covariance)
    draws = root @ rng.standard_normal((5, 20_000)) + rng.normal(0.0, 1.5, (5, 20_000))
    told = [mean_of(values, covariance, 100, 50).general.error ** 2 for values in draws.T]
    assert np.mean(told) == pytest.approx(draws.mean(axis=0).var(), rel=0.05)


def test_rows_of_readers_and_names_of_patients_do_not_matter() -> None:
    scores, truth = made_up()
    patients = np.random.default_rng(2).integers(25, size=len(truth))
    order, readers = np.random.default_rng(3).permutation(len(truth)), np.random.default_rng(4).permutation(5)
    one = average(scores, truth, patients)
    other = average(scores[readers][:, order], truth[order], np.array([f"p{n:02d}" for n in patients])[order])
    assert other.general.auc == pytest.approx(one.general.auc, abs=1e-12)
    assert other.general.error == pytest.approx(one.general.error, rel=1e-9)


def test_the_covariance_is_the_jackknifes() -> None:
    left = np.array([[0.5, 0.6, 0.7], [0.2, 0.2, 0.5]])
    found = Figures(np.zeros(2), left, 3).covariance
    assert found[0, 0] == pytest.approx(2 / 3 * 0.02)
    assert found[0, 1] == pytest.approx(2 / 3 * (-0.1 * -0.1 + 0.1 * 0.2))


def test_what_cannot_be_analysed_is_refused() -> None:
    scores, truth = made_up()
    scores[1, truth] = np.nan
    with pytest.raises(ReaderError, match="two images of each class for each reader, not 0 and 24"):
        average(scores, truth)
    with pytest.raises(ReaderError, match="two images of each class for each reader, not 23 and 1"):
        areas(made_up(missing=0.0)[0], truth, np.where(truth, np.arange(len(truth)), -1))
    with pytest.raises(ReaderError, match="needs two readers, not 1"):
        average(made_up(1, missing=0.0)[0], truth)
