import numpy as np
import pytest
from scipy import ndimage

from scansynth.metrics import planted
from scansynth.metrics.alone import open_alone
from scansynth.metrics.ncc import Flip


@pytest.fixture(scope="module")
def scans() -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(120, 40, 32))
    smooth = ndimage.gaussian_filter(noise, (0, 2, 2))
    return np.clip(smooth / smooth.std() / 2.5, -1, 1).astype(np.float32)


def test_copies_are_near_to_one_patient_alone_and_others_are_not(scans: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    patients = rng.permutation(np.repeat(np.arange(50), 2))
    search = open_alone(scans[:100], patients, tuple(Flip))
    copies = planted.blur(planted.noise(scans[:40, ::-1], 0.05, rng), 1.0)
    score, cosine, index = search.nearest(np.concatenate([copies, scans[100:]]))
    np.testing.assert_array_equal(index[:40], np.arange(40))
    assert score[:40].min() > score[40:].max()
    assert cosine[:40].min() > 0.9
    exact, one, _ = search.nearest(scans[:3])
    np.testing.assert_allclose(one, 1.0, atol=1e-5)
    assert (exact > 0.999).all()


def test_an_own_patient_is_left_out_as_if_it_had_not_been_searched(scans: np.ndarray) -> None:
    patients = np.random.default_rng(1).permutation(np.repeat(np.arange(50), 2))
    search = open_alone(scans[:100], patients, (Flip.NONE,))
    score, cosine, index = search.own_left_out(scans[:100])
    assert (patients[index] != patients).all()
    directions = np.empty_like(search.directions)
    directions[search.order] = search.directions
    for place in (0, 17, 99):
        others = patients != patients[place]
        by_patient = [(directions[patients == one] @ directions[place]).max() for one in np.unique(patients[others])]
        second, first = np.sort(by_patient)[-2:]
        assert cosine[place] == pytest.approx(first, abs=1e-5)
        assert score[place] == pytest.approx(np.tanh(np.arctanh(first) - np.arctanh(second)), abs=1e-4)


def test_a_scan_that_two_patients_share_is_near_to_neither_alone(scans: np.ndarray) -> None:
    twice = np.concatenate([scans[:60], scans[:1]])
    search = open_alone(twice, np.arange(61), (Flip.NONE,))
    score, _, _ = search.nearest(twice[:2])
    assert score[0] == pytest.approx(0.0, abs=1e-3)
    assert score[1] > 0.99


def test_an_image_of_one_grey_value_is_near_to_nobody(scans: np.ndarray) -> None:
    search = open_alone(scans[:60], np.arange(60), (Flip.NONE,))
    score, cosine, _ = search.nearest(np.full((1, 40, 32), 0.3, np.float32))
    assert score[0] == cosine[0] == 0.0
