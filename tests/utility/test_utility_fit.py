"""A detector learns what there is to learn, the same each time, and from equal batches in every arm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_trial import SIDE, area_under_curve, draw_image, synthetic_images

from scansynth.data.augment import AugmentationPlan
from scansynth.errors import CheckpointError, TrainingError
from scansynth.learning.checkpoint import weights_bytes
from scansynth.learning.device import Device
from scansynth.utility.detector.detector import (
    WEIGHTS,
    DetectorFacts,
    draw_maps,
    load_detector,
    save_detector,
    score_images,
    threshold_at,
)
from scansynth.utility.detector.fit import FitSettings, fit, rate_at
from scansynth.utility.detector.heatmap import draw_target
from scansynth.utility.detector.material import Material, Phase, dealt_batches, to_device, to_float
from scansynth.utility.detector.networks import build, place, resolve

CPU = Device("cpu", "test", "float32", True)
NONE = AugmentationPlan(False, False, 0.0, (), ())
FLIPS = AugmentationPlan(True, True, 5.0, ("flips",), ())
QUICK = FitSettings("small", False, 60, 16, 2e-3)


def halves(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images, the first half with a lesion, and which have one."""
    images = np.concatenate([synthetic_images(count // 2, True, seed), synthetic_images(count // 2, False, seed + 1)])
    return images, np.arange(count) < count // 2


def one_phase(positive: np.ndarray, augmented: bool = False) -> tuple[Phase, ...]:
    return (Phase(1.0, np.flatnonzero(positive), np.flatnonzero(~positive), augmented),)


def test_it_learns_lesions_and_not_shuffled_labels() -> None:
    images, positive = halves(80)
    unseen, truth = halves(80, seed=50)
    learned = fit(Material(images), one_phase(positive, True), QUICK, FLIPS, 1, CPU)
    assert area_under_curve(score_images(learned.network, unseen, CPU).logits, truth) > 0.97
    assert learned.losses[-1] < 0.5 * learned.losses[0]
    shuffled = np.random.default_rng(0).permutation(positive)
    misled = fit(Material(images), one_phase(shuffled, True), QUICK, FLIPS, 1, CPU)
    assert 0.15 < area_under_curve(score_images(misled.network, unseen, CPU).logits, truth) < 0.85


@pytest.mark.parametrize("device", [CPU, Device("cpu", "test", "bfloat16", True)], ids=["float32", "bfloat16"])
def test_equal_seeds_give_equal_weights_and_others_do_not(device: Device) -> None:
    images, positive = halves(24)
    short = FitSettings("small", False, 6, 8, 1e-3)
    first, again, other = (
        weights_bytes(fit(Material(images), one_phase(positive, True), short, FLIPS, seed, device).network.state_dict())
        for seed in (5, 5, 6)
    )
    assert first == again
    assert first != other


def test_weights_do_not_depend_on_what_torch_drew_before() -> None:
    images, positive = halves(16)
    short = FitSettings("small", False, 2, 8, 1e-3)
    before = torch.random.get_rng_state()
    first = fit(Material(images), one_phase(positive), short, NONE, 5, CPU).network.state_dict()
    torch.rand(7)
    second = fit(Material(images), one_phase(positive), short, NONE, 5, CPU).network.state_dict()
    assert weights_bytes(first) == weights_bytes(second)
    torch.random.set_rng_state(before)


def test_every_batch_is_half_positive_whatever_the_pools() -> None:
    phase = Phase(1.0, np.arange(7), np.arange(100, 153), False)
    batches = dealt_batches(phase, 40, 8, 0)
    assert len(batches) == 40
    for batch in batches:
        assert (batch[:4] < 7).all()
        assert (batch[4:] >= 100).all()
    positives = np.concatenate([batch[:4] for batch in batches])
    for start in range(0, 154, 7):  # pass after pass, each image once
        assert sorted(positives[start : start + 7]) == list(range(7))
    assert len({tuple(positives[start : start + 7]) for start in range(0, 154, 7)}) > 10, "each pass has its own order"


def test_rate_rises_then_falls_to_nearly_nothing() -> None:
    rates = [rate_at(step, 200, 1e-2) for step in range(200)]
    assert max(rates) == pytest.approx(1e-2)
    assert rates[0] == pytest.approx(1e-3)
    assert np.argmax(rates) in {9, 10}
    assert rates[-1] < 1e-5
    assert all(rate > 0 for rate in rates)


def test_a_loss_that_left_the_numbers_is_refused() -> None:
    images, positive = halves(16)
    with pytest.raises(TrainingError, match=r"utility\.learning_rate"):
        fit(Material(images), one_phase(positive), FitSettings("small", False, 10, 8, 1e30), NONE, 0, CPU)


def test_stored_values_come_back_as_minus_one_to_one() -> None:
    stored = np.array([[[0, 65535], [32767, 32768]]], np.uint16)
    x = to_float(to_device(stored, CPU), CPU)[0, 0]
    assert x[0].tolist() == [-1.0, 1.0]
    assert abs(float(x[1].sum())) < 1e-7


def test_lesion_detector_finds_the_place() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_image(rng, number < 40) for number in range(80)]
    images, masks = np.stack([image for image, _ in drawn]), [mask for _, mask in drawn]
    targets = np.stack([np.rint(255 * draw_target(mask, 2)) for mask in masks]).astype(np.uint8)
    known = np.ones(80, bool)
    known[:5] = False  # not outlined: these teach by their highest point
    targets[:5] = 0
    material = Material(images, targets, known)
    fitted = fit(material, one_phase(np.arange(80) < 40), FitSettings("small", True, 80, 16, 4e-3), NONE, 0, CPU)
    fresh = [draw_image(rng, number < 20) for number in range(40)]
    scored = score_images(fitted.network, np.stack([image for image, _ in fresh]), CPU)
    assert scored.candidates is not None
    assert area_under_curve(scored.logits, np.arange(40) < 20) > 0.95
    hits = [
        fresh[number][1][round(peaks[0].row), round(peaks[0].column)]
        for number, peaks in enumerate(scored.candidates[:20])
    ]
    assert np.mean(hits) >= 0.9
    tops = np.array([peaks[0].score for peaks in scored.candidates])
    assert tops == pytest.approx(scored.scores, rel=1e-6), "the highest candidate is the image's score"
    maps = draw_maps(fitted.network, fresh[0][0][None], CPU)
    assert maps.shape == (1, SIDE, SIDE)
    assert maps.max() == pytest.approx(scored.scores[0], rel=1e-5)


def test_scores_of_an_image_do_not_depend_on_its_neighbours() -> None:
    network = build("small", SIDE, False).eval()
    images, _ = halves(8)
    together = score_images(network, images, CPU).logits
    alone = np.concatenate([score_images(network, image[None], CPU).logits for image in images])
    assert together == pytest.approx(alone, abs=1e-5)
    assert len(set(together)) == 8


@pytest.mark.parametrize(
    ("negatives", "rate", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5], 0.2, 0.5),
        ([0.1, 0.2, 0.3, 0.4, 0.5], 0.39, 0.5),
        ([0.1, 0.2, 0.3, 0.4, 0.5], 0.4, 0.4),
        ([0.1, 0.5, 0.5, 0.5, 0.5], 0.4, np.nextafter(0.5, 1)),
        ([0.3], 0.5, np.nextafter(0.3, 1)),
    ],
)
def test_threshold_is_the_smallest_within_the_rate(negatives: list[float], rate: float, expected: float) -> None:
    assert threshold_at(np.array(negatives), rate) == expected
    assert np.mean(np.array(negatives) >= expected) <= rate


FACTS = DetectorFacts("small", False, (SIDE, SIDE), "CT", (0.7, 0.7), -1000.0, 400.0, "basic", 1.5, 0.4, 0.1)


def test_a_detector_at_rest_is_the_same_and_an_altered_one_is_refused(tmp_path: Path) -> None:
    network = build("small", SIDE, False).eval()
    place(network, CPU)
    images, _ = halves(8)
    facts = save_detector(tmp_path, network, FACTS)
    again, known = load_detector(tmp_path, CPU)
    assert known == facts
    assert score_images(again, images, CPU).logits.tolist() == score_images(network, images, CPU).logits.tolist()
    data = bytearray((tmp_path / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(data)
    with pytest.raises(CheckpointError, match="altered"):
        load_detector(tmp_path, CPU)
    with pytest.raises(CheckpointError, match="scansynth utility"):
        load_detector(tmp_path / "none", CPU)


def test_auto_is_small_on_a_cpu_and_medium_on_a_gpu() -> None:
    assert resolve("auto", CPU) == "small"
    assert resolve("auto", Device("cuda", "test", "bfloat16", True)) == "medium"
    assert resolve("large", CPU) == "large"


@pytest.mark.parametrize("lesions", [False, True])
def test_large_images_are_averaged_down_and_odd_sides_work(lesions: bool) -> None:
    network = build("small", 300, lesions).eval()
    with torch.inference_mode():
        logits, places = network(torch.zeros(2, 1, 300, 300))
    assert logits.shape == (2,)
    assert places is None if not lesions else places.shape == (2, 37, 37)
