import numpy as np
import pytest
import torch
from scipy import ndimage

from scansynth.data.transforms import resize
from scansynth.metrics import c2st
from scansynth.metrics.c2st import by_features, by_network
from scansynth.metrics.native import at_native_size, enlargement


def scans(count: int, seed: int, side: int = 32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = ndimage.gaussian_filter(rng.normal(size=(count, side, side)), (0, 2, 2)) * 3
    return np.asarray(np.clip(coarse + rng.normal(0, 0.05, coarse.shape), -1, 1), np.float32)


def normal(count: int, seed: int, shift: float = 0.0, spread: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, spread, (count, 8))


def test_features_tell_place_and_spread_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    same = [by_features(normal(60, i), normal(60, 100 + i), rng).auc for i in range(12)]
    assert abs(np.mean(same) - 0.5) < 0.06
    assert by_features(normal(60, 0), normal(60, 1, shift=0.8), rng).auc > 0.9
    # of the same mean: only the squares tell
    assert by_features(normal(60, 0), normal(60, 1, spread=0.6), rng).auc > 0.8


def test_the_variance_of_a_draw_is_about_that_of_its_auc() -> None:
    rng = np.random.default_rng(1)
    trials = [by_features(normal(50, 2 * i), normal(50, 2 * i + 1, shift=0.4), rng) for i in range(60)]
    spread = np.std([trial.auc for trial in trials])
    stated = np.sqrt(np.mean([trial.variance for trial in trials]))
    assert 0.7 * spread < stated < 1.6 * spread


def test_a_network_tells_a_slight_blur_and_not_real_from_real() -> None:
    rng = np.random.default_rng(2)
    blurred = ndimage.gaussian_filter(scans(40, 1), (0, 0.6, 0.6))
    found = by_network(scans(40, 0), blurred, (), rng)
    assert found.auc > 0.85
    assert found.learned == 1.0
    same = [by_network(scans(24, 3 + i), scans(24, 50 + i), (1, 2), rng) for i in range(4)]
    assert np.mean([trial.auc for trial in same]) < 0.65
    assert all(trial.learned == 1.0 for trial in same)  # by heart: it had the means to find a difference


def test_a_network_is_the_same_from_the_same_seed_and_leaves_other_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    runs = [by_network(scans(12, 0), scans(12, 1), (2,), np.random.default_rng(3)) for _ in range(2)]
    assert runs[0] == runs[1]
    assert torch.equal(before, torch.get_rng_state())


def test_a_network_that_is_stopped_at_once_has_learned_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c2st, "STEPS", 1)
    trial = by_network(scans(12, 0), scans(12, 1), (), np.random.default_rng(4))
    assert trial.learned == 0.0
    assert trial.steps == 1


def test_large_and_flat_images_are_taken() -> None:
    rng = np.random.default_rng(5)
    fine = scans(8, 0, 100)
    trial = by_network(fine, np.zeros_like(fine), (), rng)
    assert trial.auc == 1.0
    assert 0 <= trial.variance < 1e-12


@pytest.mark.parametrize(("side", "size"), [(20, 32), (16, 32), (31, 32), (32, 32)])
def test_an_enlarged_image_comes_back_exactly(side: int, size: int) -> None:
    taken = scans(3, 6, side) * 0.9
    enlarged = np.stack([resize(image, (size, size)) for image in taken])
    np.testing.assert_allclose(
        enlarged, enlargement(side, size) @ taken @ enlargement(side, size).T, atol=1e-5
    )  # as ingest enlarges
    np.testing.assert_allclose(at_native_size(enlarged, side), taken, atol=2e-4)


def test_nothing_is_brought_to_a_larger_size() -> None:
    with pytest.raises(ValueError, match="not enlarged"):
        at_native_size(scans(2, 0), 40)
