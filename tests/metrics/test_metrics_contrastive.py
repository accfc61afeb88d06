import ast
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scans import as_ordinary_user
from scipy import ndimage

from scansynth.errors import StorageError
from scansynth.metrics import contrastive
from scansynth.metrics.contrastive import (
    LEARNED_SEED,
    LearnedEncoder,
    content_digest,
    learned_encoder,
    nt_xent,
    responses,
)
from scansynth.metrics.distortions import Ranges, blurred, distorted
from scansynth.metrics.features import JUDGE_SEED, MONITOR_SEED

SOURCE = Path(__file__).parents[2] / "src" / "scansynth"


def scans(count: int, seed: int, side: int = 32) -> np.ndarray:
    """Smooth images with fine grain: (count, side, side) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    coarse = ndimage.gaussian_filter(rng.normal(size=(count, side, side)), (0, 2.5, 2.5)) * 4
    grain = rng.normal(0, 0.05, (count, side, side))
    return np.clip(coarse * rng.uniform(0.5, 1.0, (count, 1, 1)) + grain, -1, 1).astype(np.float32)


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrastive, "STEPS", 6)


@pytest.fixture(scope="module")
def encoder() -> LearnedEncoder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contrastive, "STEPS", 12)
        return learned_encoder(scans(120, 0))


def moved(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return ndimage.shift(images, (0, rows, columns), order=1, mode="nearest")


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[:, :, ::-1],
        lambda x: x[:, ::-1],
        lambda x: moved(x, 2, -2),
        lambda x: moved(x, -3, 1)[:, :, ::-1],
        lambda x: ndimage.rotate(x, 3, axes=(2, 1), reshape=False, order=1, mode="nearest"),
        lambda x: ndimage.gaussian_filter(x, (0, 0.7, 0.7)),
        lambda x: ((x + 1) / 2) ** 1.3 * 2 - 1,
        lambda x: x + np.random.default_rng(3).normal(0, 0.05, x.shape).astype(np.float32),
    ],
)
def test_changed_copies_stay_nearest_to_their_originals(encoder: LearnedEncoder, change: object) -> None:
    train = scans(120, 0)
    originals, others = encoder.embed(train), encoder.embed(scans(120, 1))
    np.testing.assert_allclose(np.linalg.norm(originals, axis=1), 1)
    likeness = encoder.embed(change(train[:40])) @ originals.T  # type: ignore[operator]
    assert (likeness.argmax(axis=1) == np.arange(40)).mean() >= 0.95
    by_chance = np.quantile((others @ originals.T).max(axis=1), 0.95)
    assert np.median(likeness[np.arange(40), np.arange(40)]) > by_chance


def test_mirroring_changes_no_vector_at_all(encoder: LearnedEncoder) -> None:
    images = scans(5, 7)
    np.testing.assert_allclose(encoder.embed(images[:, ::-1]), encoder.embed(images), atol=1e-5)


def test_judging_features_see_blur_and_noise(encoder: LearnedEncoder) -> None:
    images = scans(60, 5)
    plain = encoder.features(images)
    rng = np.random.default_rng(0)
    spoiled = (ndimage.gaussian_filter(images, (0, 1, 1)), images + rng.normal(0, 0.1, images.shape))
    for changed in spoiled:
        moved_by = np.abs(encoder.features(changed.astype(np.float32)) - plain).mean(axis=0) / plain.std(axis=0)
        assert moved_by.max() > 2


def test_features_do_not_depend_on_the_batch(encoder: LearnedEncoder) -> None:
    images = scans(9, 6)
    for encode in (encoder.features, encoder.embed):
        np.testing.assert_allclose(encode(images), np.concatenate([encode(one[None]) for one in images]), atol=1e-4)


def test_large_images_are_seen_at_their_own_size_as_well(encoder: LearnedEncoder) -> None:
    images = scans(4, 8, side=100)
    found = encoder.features(images)
    assert found.shape[1] > encoder.features(scans(4, 8, side=64)).shape[1]
    fine = encoder.features(ndimage.gaussian_filter(images, (0, 1, 1))) - found
    assert np.abs(fine[:, -32:]).max() > 0.1  # spreads of the second layer at the own size
    assert encoder.embed(images).shape == (4, encoder.embedding.axes.shape[1])


def test_the_same_images_give_the_same_encoder_whatever_the_threads() -> None:
    images, threads = scans(40, 1), torch.get_num_threads()
    state = torch.get_rng_state()
    one = learned_encoder(images)
    torch.set_num_threads(2)
    try:
        other = learned_encoder(images)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(one.filters, other.filters, strict=True))
    assert torch.equal(one.embedding.axes, other.embedding.axes)
    assert torch.equal(state, torch.get_rng_state())


def test_learning_lowers_the_loss_on_other_images() -> None:
    images = torch.from_numpy(scans(64, 9))[:, None]

    def loss(filters: tuple[torch.Tensor, ...]) -> float:
        halves = [torch.cat(responses(part, filters), 1) for part in (images[..., :24, :24], images[..., 8:, 8:])]
        codes = torch.cat(halves)
        codes = (codes - codes.mean(0)) / codes.std(0)
        return float(nt_xent(torch.nn.functional.normalize(codes, dim=1), 0.2))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contrastive, "STEPS", 0)
        before = loss(learned_encoder(scans(120, 0)).filters)
        patch.setattr(contrastive, "STEPS", 20)
        assert loss(learned_encoder(scans(120, 0)).filters) < before


def test_loss_agrees_with_its_equation() -> None:
    codes = torch.nn.functional.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    terms = []
    for i in range(6):
        j = (i + 3) % 6
        rest = sum(math.exp(float(codes[i] @ codes[k]) / 0.5) for k in range(6) if k != i)
        terms.append(-math.log(math.exp(float(codes[i] @ codes[j]) / 0.5) / rest))
    assert float(nt_xent(codes, 0.5)) == pytest.approx(np.mean(terms), rel=1e-5)


def test_cache_is_read_and_damage_is_learned_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = scans(40, 2)
    first = learned_encoder(images, tmp_path / "encoders")
    (file,) = (tmp_path / "encoders").iterdir()
    assert file.name == f"{content_digest(images)}.safetensors"
    whole = file.read_bytes()
    flipped = whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]
    for damaged in (b"", b"\x80\x04 no tensors", whole[:-9], flipped):
        file.write_bytes(damaged)
        again = learned_encoder(images, tmp_path / "encoders")
        np.testing.assert_array_equal(again.embed(images), first.embed(images))
        assert file.read_bytes() == whole
    monkeypatch.setattr(contrastive, "_learn", lambda train: pytest.fail("learned again"))
    kept = learned_encoder(images, tmp_path / "encoders")
    np.testing.assert_array_equal(kept.features(images), first.features(images))


def test_other_images_settings_and_versions_have_other_files(monkeypatch: pytest.MonkeyPatch) -> None:
    images = scans(40, 2)
    found = {content_digest(images), content_digest(images[::-1]), content_digest(images[:39])}
    monkeypatch.setattr(contrastive, "STEPS", 7)
    found.add(content_digest(images))
    monkeypatch.setattr(contrastive, "VERSION", contrastive.VERSION + 1)
    found.add(content_digest(images))
    assert len(found) == 5


def test_a_cache_that_cannot_be_written_is_refused(open_path: Path) -> None:
    open_path.chmod(0o500)
    with as_ordinary_user(open_path), pytest.raises(StorageError, match="make the folder writable"):
        learned_encoder(scans(40, 2), open_path / "encoders")


def test_too_few_images_and_values_that_are_not_numbers_are_refused(encoder: LearnedEncoder) -> None:
    with pytest.raises(ValueError, match="31 images"):
        learned_encoder(scans(31, 0))
    spoiled = scans(40, 0)
    spoiled[3, 4, 4] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        learned_encoder(spoiled)
    for encode in (encoder.features, encoder.embed):
        with pytest.raises(ValueError, match="not finite"):
            encode(spoiled[:4])
        with pytest.raises(ValueError, match="need images"):
            encode(spoiled[0])
        assert np.isfinite(encode(np.zeros((2, 32, 32), np.float32))).all()


def test_distortions_follow_their_generator_and_nothing_is_distorted_by_nothing() -> None:
    images = torch.from_numpy(scans(6, 3))[:, None]
    nothing = Ranges(0, 1, 0, 0, 0, 0.1, 0, 0, 0)
    made = distorted(images, nothing, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(made.numpy(), images.numpy(), atol=2e-3)
    one, other = (distorted(images, Ranges(), torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, other)
    assert (one - images).abs().mean() > 0.05


def test_blur_is_gaussian_image_by_image() -> None:
    images = torch.from_numpy(scans(2, 4))[:, None]
    made = blurred(images, torch.tensor([0.0, 1.0]))
    np.testing.assert_allclose(made[0], images[0], atol=1e-6)
    oracle = ndimage.gaussian_filter(images[1, 0].numpy(), 1.0, mode="nearest")
    np.testing.assert_allclose(made[1, 0], oracle, atol=1e-3)


def test_generators_never_meet_what_judges_them() -> None:
    assert len({LEARNED_SEED, JUDGE_SEED, MONITOR_SEED}) == 3
    forbidden = {"scansynth.metrics.contrastive", "scansynth.metrics.embedding", "scansynth.metrics.onnx_features"}
    for room in ("gan", "learning"):
        for path in (SOURCE / room).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = {node.module} if isinstance(node, ast.ImportFrom) else set()
                if isinstance(node, ast.Import):
                    names = {alias.name for alias in node.names}
                assert not names & forbidden, f"{path.name} trains or stops on what judges it"
                assert "JUDGE_SEED" not in getattr(node, "id", ""), path.name
