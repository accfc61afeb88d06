import numpy as np
import pytest
from scipy import ndimage

from scansynth.audit.questions.copies import LARGEST_MARGIN, Scores, assess, cross_fit, tail
from scansynth.audit.questions.likeness import ALIGNED, LEARNED, PLAIN, fit_scale, open_likenesses
from scansynth.metrics import planted
from scansynth.metrics.ncc import Flip
from scansynth.statistics import Verdict

TRAIN = {"training images": 500, "training patients": 200}
COPY = 0.999


def by_chance(rng: np.random.Generator, images: int, patients: np.ndarray | None = None) -> np.ndarray:
    """Two scores of each image, alike for the images of a patient and for each other, (2, images)."""
    names = np.arange(images) if patients is None else patients
    shared = rng.normal(0, 0.7, (1, images)) + rng.normal(0, 0.7, names.max() + 1)[names]
    return np.tanh(np.array([[0.9], [1.5]]) + 0.15 * (shared + rng.normal(0, 0.5, (2, images))))


def calibrate(rng: np.random.Generator, patients: int = 60, each: int = 3) -> tuple[np.ndarray, np.ndarray]:
    names = np.repeat(np.arange(patients), each)
    return by_chance(rng, len(names), names), names


def judge(synthetic: np.ndarray, rng: np.random.Generator, patients: int = 60, found: float = COPY) -> object:
    kinds = {"exact": np.full((2, 50), found)}
    return assess(Scores(synthetic, *calibrate(rng, patients), kinds, {"crop": kinds["exact"]}), TRAIN, 0.95, rng)


def test_thresholds_flag_as_many_held_out_images_as_they_should() -> None:
    rates = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        fitted = cross_fit(*calibrate(rng), rng)
        assert fitted.hits.mean() == pytest.approx(fitted.held_out.mean(), abs=0.005)
        rates.append(fitted.hits.mean())
    # 90 images set a threshold, so 1 in 91 passes it; and a little more, as they set the scales too
    assert np.mean(rates) == pytest.approx(1 / 91, abs=0.005)


def test_held_out_images_set_neither_their_scale_nor_their_threshold() -> None:
    scores, names = calibrate(np.random.default_rng(0))
    first = cross_fit(scores, names, np.random.default_rng(1))
    changed = scores.copy()
    changed[:, names == 7] = COPY
    second = cross_fit(changed, names, np.random.default_rng(1))
    same = first.values == second.values
    # patient 7 is in one half of each split: only the thresholds of that half may change
    assert same.sum() >= len(same) / 2
    assert all(np.array_equal(same[i : i + 2].sum(), 1) for i in range(0, len(same), 2))
    assert np.all(second.hits[names == 7] == 1.0)


def test_real_patients_are_not_called_copies_and_copies_are() -> None:
    verdicts, planted_ones = [], []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        fresh = by_chance(rng, 400)
        verdicts.append(judge(fresh, rng).claim.verdict)
        fresh[0, :40] = COPY  # one score that speaks is enough
        planted_ones.append(judge(fresh, np.random.default_rng(seed)).claim.verdict)
    assert verdicts.count(Verdict.REFUTED) <= 1
    assert verdicts.count(Verdict.SHOWN) >= 16
    assert planted_ones.count(Verdict.SHOWN) == 0
    assert planted_ones.count(Verdict.REFUTED) >= 23


def test_with_few_patients_copies_are_never_called_none() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        fresh = by_chance(rng, 200)
        fresh[:, :30] = COPY
        claim = judge(fresh, rng, patients=20).claim
        assert claim.verdict is not Verdict.SHOWN
        assert claim.margin <= LARGEST_MARGIN


def test_missed_planted_copies_take_the_verdict_away() -> None:
    rng = np.random.default_rng(0)
    claim = judge(by_chance(rng, 400), rng, found=0.0).claim
    assert claim.verdict is Verdict.NOT_ASSESSABLE
    assert "exact: 0% found" in claim.why


def test_the_resolution_and_what_was_tried_are_stated() -> None:
    rng = np.random.default_rng(0)
    found = judge(by_chance(rng, 400), rng)
    assert "1 in 181" in found.claim.why
    assert "crop 100%" in found.claim.why
    assert found.figures["published"] == {"crop": 1.0}
    assert [control.name for control in found.claim.control] == ["exact"]


def test_tail_is_the_share_of_calibrate_images_as_close() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(tail(np.array([0.0, 0.3, 0.35, 0.9]), scores), [1.0, 0.6, 0.4, 0.2])


def test_on_the_common_scale_chance_has_median_0_and_nine_in_ten_below_1() -> None:
    scores = by_chance(np.random.default_rng(0), 1001)
    scale = fit_scale(scores)
    for k in range(2):
        alone = scores.copy()
        alone[1 - k] = -1.0
        joint, by = scale.joint(alone)
        assert np.median(joint) == pytest.approx(0, abs=1e-9)
        assert np.mean(joint < 1) == pytest.approx(0.9, abs=0.001)
        assert set(by) == {k}


def test_scores_that_are_all_the_same_have_a_scale() -> None:
    joint, _ = fit_scale(np.zeros((2, 40))).joint(np.array([[0.0, 0.5, 1.0]] * 2))
    assert joint[0] == 0
    assert np.isfinite(joint).all()
    assert joint[0] < joint[1] < joint[2]


@pytest.fixture(scope="module")
def scans() -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(80, 64, 64))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3))
    return np.clip(smooth / smooth.std() / 2.5, -1, 1).astype(np.float32)


def test_three_scores_each_name_their_nearest(scans: np.ndarray) -> None:
    def embed(images: np.ndarray) -> np.ndarray:  # rows' means: knows nothing of a left-right flip
        means = images.mean(axis=2) - images.mean(axis=(1, 2))[:, None]
        return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9), dtype=np.float64)

    search = open_likenesses(scans, tuple(Flip), embed)
    flat = np.full((1, 64, 64), 0.3, np.float32)
    found = search.nearest(np.concatenate([scans[[5]], scans[[9]][:, :, ::-1], flat]))
    assert found.names == (ALIGNED, PLAIN, LEARNED)
    assert [[int(i) for i in one.index[:2]] for one in found.found] == [[5, 9]] * 3
    np.testing.assert_allclose(found.scores[:, :2], 1, atol=1e-5)
    np.testing.assert_array_equal(found.scores[:, 2], 0)
    assert search.mirrored(scans[9][:, ::-1], 9) is Flip.LEFT_RIGHT
    assert open_likenesses(scans, tuple(Flip)).names == (ALIGNED, PLAIN)


def test_scores_of_a_pair_are_those_of_the_search_for_a_copy(scans: np.ndarray) -> None:
    search = open_likenesses(scans, (Flip.NONE, Flip.LEFT_RIGHT))
    places = np.array([3, 40])
    made = planted.noise(scans[places], 0.02, np.random.default_rng(0))
    np.testing.assert_allclose(search.paired(made, places), search.nearest(made).scores, atol=1e-6)


def test_planted_copies_are_found_and_each_kind_is_a_change(scans: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    places = np.arange(40)
    search = open_likenesses(scans, tuple(Flip))
    kinds = planted.copies(scans[places], True, rng)
    assert len(kinds) == 9
    assert "flip top-bottom" not in planted.copies(scans[:2], False, rng)
    chance = search.nearest(np.random.default_rng(1).permutation(scans.reshape(80, -1), axis=1).reshape(80, 64, 64))
    for kind, made in kinds.items():
        assert made.shape == (40, 64, 64)
        assert np.array_equal(made, scans[places]) == (kind == "exact")
        assert search.paired(made, places)[0].min() > chance.scores[0].max(), kind
    for kind, made in planted.far_copies(scans[places], scans[places + 40], rng).items():
        assert not np.array_equal(made, scans[places]), kind


def test_moved_shifts_turns_and_enlarges() -> None:
    image = np.zeros((1, 9, 9), np.float32)
    image[0, 2, 4] = 1.0
    assert np.argmax(planted.moved(image, np.array([[3, -1]]))) == 5 * 9 + 3
    np.testing.assert_allclose(planted.moved(image, degrees=180), np.flip(image, (1, 2)), atol=1e-6)
    assert np.argmax(planted.moved(image, zoom=2.0)) == 0 * 9 + 4
    half = planted.moved(image, np.array([[0.0, 0.5]]))
    assert half[0, 2, 4] == half[0, 2, 5] == 0.5
