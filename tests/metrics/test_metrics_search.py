import numpy as np
import pytest

from scansynth.metrics.ncc import Flip, average, nearest, prepare
from scansynth.metrics.search import open_search


def scans(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 32, 32)).cumsum(axis=1).cumsum(axis=2)


def test_a_copy_finds_its_original_however_it_was_mirrored() -> None:
    real = scans(20, 0)
    search = open_search(real, tuple(Flip))
    copies = np.stack([real[3], real[7][:, ::-1], real[11][::-1], real[15][::-1, ::-1]])
    found = search.nearest(copies)
    assert found.index.tolist() == [3, 7, 11, 15]
    assert found.flip == tuple(Flip)
    assert found.score == pytest.approx(1.0)
    assert search.paired(copies, found.index).score == pytest.approx(found.score)


def test_a_mirror_image_that_is_not_looked_for_is_not_found() -> None:
    real = scans(20, 0)
    assert open_search(real, (Flip.NONE,)).nearest(real[:1, :, ::-1]).score[0] < 0.9


def test_it_is_the_correlation_of_what_was_made_ready() -> None:
    real, other = scans(12, 1), scans(5, 2)
    flips = (Flip.NONE, Flip.LEFT_RIGHT)
    pixels = open_search(real, flips, average, radius=0, step=1).nearest(other).score
    assert pixels.tolist() == nearest(average(other), average(real), flips, radius=0, step=1).score.tolist()
    bands = open_search(real, flips).nearest(other).score
    assert bands.tolist() == nearest(prepare(other), prepare(real), flips).score.tolist()


def test_hardly_any_new_patient_passes_the_threshold() -> None:
    real = scans(30, 3)
    search = open_search(real, (Flip.NONE,), radius=1, step=2)
    threshold = search.threshold(scans(99, 4), 0.99)
    assert threshold == search.nearest(scans(99, 4)).score.max()
    # the chance of a new one is at most 1 in 100: of 300, more than 9 come by chance once in a thousand
    assert (search.nearest(scans(300, 5)).score > threshold).sum() <= 9
    assert (search.nearest(real).score > threshold).all()
