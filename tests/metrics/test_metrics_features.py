import numpy as np
import pytest

from scansynth.metrics.features import DIMENSIONS, JUDGE_SEED, MONITOR_SEED, fit_scale, random_encoder


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (70, 48, 40)).astype(np.float32)


def test_the_judge_is_not_the_monitor() -> None:
    assert JUDGE_SEED != MONITOR_SEED
    judge, monitor = random_encoder(JUDGE_SEED), random_encoder(MONITOR_SEED)
    for one, other in zip(judge.filters, monitor.filters, strict=True):
        assert one.shape == other.shape
        assert abs(np.corrcoef(one.numpy().ravel(), other.numpy().ravel())[0, 1]) < 0.3


def test_a_seed_gives_the_same_filters_and_leaves_the_global_generator_alone(images: np.ndarray) -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002  the global generator is what is tested
    one, other = random_encoder(5), random_encoder(5)
    np.testing.assert_array_equal(one(images[:3]), other(images[:3]))
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_features_do_not_depend_on_the_batch(images: np.ndarray) -> None:
    encode = random_encoder(1)
    whole = encode(images)
    assert whole.shape == (70, DIMENSIONS)
    single = np.concatenate([encode(image[None]) for image in images])
    np.testing.assert_allclose(whole, single, atol=1e-5)
    order = np.random.default_rng(1).permutation(70)
    np.testing.assert_allclose(whole[order], encode(images[order]), atol=1e-5)


def test_first_layer_ignores_brightness_and_thumbnail_sees_it(images: np.ndarray) -> None:
    encode = random_encoder(1)
    change = encode(images[:5] * 0.5 + 0.3) - encode(images[:5] * 0.5)
    np.testing.assert_allclose(change[:, 64:96], 0, atol=1e-5)
    np.testing.assert_allclose(change[:, :64], 0.3, atol=1e-5)


def test_scale_whitens_the_reference_and_limits_outliers() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 10)) @ rng.normal(size=(10, 10)) * 1e-4
    features[:, 3] = 7.0  # a feature without spread says nothing
    scale = fit_scale(features, 8)
    small = scale(scale.mean + 0.01 * (features - scale.mean))
    np.testing.assert_allclose(np.cov(small.T, bias=True) * 1e4, np.eye(8), atol=1e-2)
    far = scale(features * 1e6)
    assert far.shape == (400, 8)
    assert np.abs(far).max() <= 2


def test_scale_is_modest_with_few_references() -> None:
    features = np.random.default_rng(0).normal(size=(40, 100))
    assert fit_scale(features)(features).shape == (40, 10)
    with pytest.raises(ValueError, match="two different"):
        fit_scale(features[:1])
    with pytest.raises(ValueError, match="two different"):
        fit_scale(np.ones((5, 3)))


@pytest.mark.parametrize("shape", [(0, 64, 64), (2, 31, 64), (64, 64)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="images"):
        random_encoder(1)(np.zeros(shape, np.float32))


def test_values_that_are_not_numbers_are_refused(images: np.ndarray) -> None:
    spoiled = images[:2].copy()
    spoiled[0, 3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        random_encoder(1)(spoiled)
