"""The live monitor: planted collapses raise the alarm, healthy generators do not, and figures mean what they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import binom
from tiny_training import smooth_images, watched
from torch import Tensor, nn

from scansynth.data.tensors import to_signed
from scansynth.gan.sampling import Latent, noise_of
from scansynth.gan.watching import collapse
from scansynth.gan.watching.collapse import (
    COMPARED,
    SAMPLES,
    STATISTICS,
    STEPPED,
    CollapseMonitor,
    RealImages,
    _within,
    look,
    new_monitor,
)
from scansynth.gan.watching.health import CRITICAL, WATCHED, Health, Level, judge
from scansynth.metrics.features import MONITOR_SEED, random_encoder
from scansynth.phantom.anatomy import draw_anatomy
from scansynth.phantom.cohort import draw_patient
from scansynth.phantom.scanner import acquire, draw_scanner
from scansynth.phantom.shapes import Grid
from scansynth.phantom.slices import draw_slice
from scansynth.seeds import generator

SCALING, REFERENCE, OTHERS = 100, 64, 136
LENGTH, SIDE = 8, 64
MONITORS, LOOKS = 8, 25
EARLY = {"images": 2_000, "total": 1_000_000}


class Shelf(nn.Module):
    """A generator that picks one of `modes` pictures by its noise, and shades it slightly by its noise."""

    def __init__(self, pictures: np.ndarray, modes: int) -> None:
        super().__init__()
        self.pictures = torch.from_numpy(pictures[:modes])

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """(n, length) to (n, 1, side, side)."""
        chosen = (noise[:, 0].abs() * 1e6).long() % len(self.pictures)
        shade = 1.0 - 0.02 * noise[:, 1].sigmoid()
        return (self.pictures[chosen].view(len(noise), *self.pictures.shape[-2:]) * shade[:, None, None])[:, None]


class Album(nn.Module):
    """A generator that gives each new noise the next picture, and an old one its own."""

    def __init__(self, pictures: np.ndarray) -> None:
        super().__init__()
        self.pictures = torch.from_numpy(pictures)
        self.places: dict[bytes, int] = {}

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """(n, length) to (n, 1, side, side)."""
        keys = [one.numpy().tobytes() for one in noise]
        places = [self.places.setdefault(key, len(self.places)) for key in keys]
        return self.pictures[torch.tensor(places) % len(self.pictures)].view(-1, 1, *self.pictures.shape[-2:])


def drawn(count: int, seed: int) -> Latent:
    """Noise (count, LENGTH) of unlabelled images."""
    noise = torch.stack([noise_of(seed, index, LENGTH) for index in range(count)])
    return Latent(noise, torch.zeros(count, dtype=torch.int64))


def monitor_of(real: RealImages, seed: int = 0) -> CollapseMonitor:
    return new_monitor(real, drawn(SAMPLES, -1), drawn(STEPPED, -2).noise, seed)


def names(count: int) -> tuple[str, ...]:
    return tuple(f"patient {number}" for number in range(count))


def judged(before: Health, monitor: CollapseMonitor, network: nn.Module, number: int) -> Health:
    """Health after the look `number`, early in a long training."""
    figures = look(monitor, network, drawn(SAMPLES, number))
    return judge(before, {"generator": figures}, monitor.limits, 1.0, **EARLY)


# Drills on the phantom: one slice of each patient, drawn at 64 pixels


def phantom_slice(number: int) -> np.ndarray:
    """One slice of one patient at a random level, float32 (side, side) in [-1, 1]."""
    patient, random = draw_patient(number, 7), generator(7, "drill", number)
    anatomy = draw_anatomy(random, patient.sex, patient.age)
    scanner = draw_scanner(random, patient.manufacturer, patient.field_strength)
    grid = Grid.make(SIDE, 375.0)
    slice_ = draw_slice(anatomy, float(random.uniform(-58, 62)), 6.0, scanner.contrast, grid, random)
    pixels = acquire(slice_.signal, slice_.moving, grid.pixel, scanner, random).astype(np.float64)
    low, high = np.percentile(pixels, [0.5, 99.5])
    return (2.0 * np.clip((pixels - low) / (high - low), 0.0, 1.0) - 1.0).astype(np.float32)


@pytest.fixture(scope="module")
def patients() -> np.ndarray:
    return np.stack([phantom_slice(number) for number in range(1, SCALING + REFERENCE + OTHERS + 1)])


@pytest.fixture(scope="module")
def remembered(patients: np.ndarray) -> Iterator[None]:
    """Monitors take the features of the patients from memory: they are computed once."""
    encoder = random_encoder(MONITOR_SEED)
    known = {image.tobytes(): row for image, row in zip(patients, encoder(patients), strict=True)}

    def recall(images: np.ndarray) -> np.ndarray:
        rows = [known.get(np.ascontiguousarray(image).tobytes()) for image in images]
        return encoder(images) if any(row is None for row in rows) else np.stack(rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collapse, "random_encoder", lambda seed: recall)
        yield


def split(patients: np.ndarray, seed: int) -> tuple[RealImages, np.ndarray]:
    """Patients for the scale and for the reference, and the others, in another order for every seed."""
    order = generator(seed, "split").permutation(len(patients))
    scaling, reference, others = np.split(patients[order], [SCALING, SCALING + REFERENCE])
    return RealImages(scaling[:, None], reference[:, None], names(REFERENCE), "other patients"), others


@pytest.fixture(scope="module")
def trained(patients: np.ndarray, remembered: None) -> SimpleNamespace:
    """A monitor, images of patients that it does not know, and the health after a look at a healthy generator."""
    real, others = split(patients, 0)
    monitor = monitor_of(real)
    return SimpleNamespace(monitor=monitor, others=others, health=judged(Health(), monitor, Album(others), 0))


@pytest.mark.parametrize("modes", [1, 4, 16])
def test_few_modes_are_critical_at_the_first_look(trained: SimpleNamespace, modes: int) -> None:
    assert trained.health.level is Level.HEALTHY
    health = judged(trained.health, trained.monitor, Shelf(trained.others, modes), 1)
    assert health.level is Level.CRITICAL
    assert health.reasons[0].startswith("generator: ")


def test_a_rare_class_of_one_image_is_warned_of_in_a_varied_generator(trained: SimpleNamespace) -> None:
    """And the reason names it; a class that is varied is not named."""
    labels = (torch.arange(SAMPLES) % 8 == 0).long()

    class OneRare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.varied, self.single = Album(trained.others), Shelf(trained.others, 1)

        def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
            return torch.where(
                (labels == 1)[:, None, None, None], self.single(noise, labels), self.varied(noise, labels)
            )

    known = trained.monitor
    monitor = replace(
        known, latent=Latent(known.latent.noise, labels), within={0: known.bandwidth, 1: known.bandwidth},
        classes=("clear", "nodule"),
    )  # fmt: skip
    health = trained.health
    for number in (1, 2):
        found = look(monitor, OneRare(), Latent(drawn(SAMPLES, number).noise, labels))
        assert found["within_clear"] > 0.8
        assert found["within_nodule"] < 0.2
        health = judge(health, {"generator": found}, monitor.limits, 1.0, **EARLY)
    assert health.level is Level.WARNING
    assert any("of nodule" in words for words in health.reasons)
    assert not any("of clear" in words for words in health.reasons)


def test_classes_of_few_patients_are_not_looked_at() -> None:
    features, patients = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40).astype(str)
    labels = np.array([0] * 30 + [1] * 7 + [2] * 3)
    assert _within(features, patients, labels).keys() == {0}
    assert _within(features, patients, np.array([], np.int64)) == {}


def test_half_the_variation_raises_the_alarm_within_two_looks(trained: SimpleNamespace) -> None:
    mean = trained.others.mean(axis=0)
    network, health, levels = Album(mean + 0.5 * (trained.others - mean)), trained.health, []
    for number in (1, 2):
        health = judged(health, trained.monitor, network, number)
        levels.append(health.level)
    assert levels[1] in {Level.WARNING, Level.CRITICAL}


def test_a_generator_varied_on_the_fixed_noise_alone_raises_the_alarm(trained: SimpleNamespace) -> None:
    """Else one that learned the 64 fixed noises by heart would pass."""
    varied, single = Album(trained.others), Shelf(trained.others, 1)
    fixed = {one.numpy().tobytes() for one in trained.monitor.latent.noise}

    class ByHeart(nn.Module):
        def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
            known = torch.tensor([one.numpy().tobytes() in fixed for one in noise])
            return torch.where(known[:, None, None, None], varied(noise, labels), single(noise, labels))

    health = trained.health
    for number in (1, 2):
        health = judged(health, trained.monitor, ByHeart(), number)
    assert health.level in {Level.WARNING, Level.CRITICAL}


def below(figures: Mapping[str, float], monitor: CollapseMonitor) -> set[str]:
    return {name for name in COMPARED if figures[name] < monitor.limits[name]}


def test_healthy_generators_are_left_alone(patients: np.ndarray, remembered: None) -> None:
    """200 looks at images of other patients: each figure is low in at most 0.5%, and no look is critical."""
    low: Counter[str] = Counter()
    for seed in range(MONITORS):
        real, others = split(patients, seed)
        monitor, health = monitor_of(real, seed), Health()
        for number in range(LOOKS):
            album = Album(generator(seed, "album", number).permutation(others))
            figures = look(monitor, album, drawn(SAMPLES, number))
            found = below(figures, monitor)
            low.update(found)
            low["any watched"] += bool(found & set(WATCHED))
            assert all(figures[name] >= limit for name, limit in CRITICAL.items())
            health = judge(health, {"generator": figures}, monitor.limits, 1.0, **EARLY)
            assert health.level not in {Level.WARNING, Level.CRITICAL}, health.reasons
    draws = MONITORS * LOOKS
    for name in COMPARED:
        assert low[name] <= binom.ppf(0.99, draws, 0.005), (name, low)
    assert low["any watched"] <= binom.ppf(0.99, draws, 0.025), low


def test_limits_from_the_images_that_fitted_the_scale_would_cry_wolf(patients: np.ndarray, remembered: None) -> None:
    """The planted error of calibration: with it, most looks at a healthy generator are below a limit."""
    cries = 0
    for seed in range(3):
        real, others = split(patients, seed)
        monitor = monitor_of(replace(real, scaling=real.reference), seed)
        for number in range(10):
            album = Album(generator(seed, "album", number).permutation(others))
            found = below(look(monitor, album, drawn(SAMPLES, number)), monitor)
            cries += bool(found & set(WATCHED))
    assert cries >= 15  # of 30


# What the figures mean, on made-up images of 32 pixels


@pytest.fixture(scope="module")
def monitor() -> CollapseMonitor:
    return monitor_of(watched())


FRESH = drawn(SAMPLES, 5)
PICTURES = to_signed(smooth_images(160, seed=2))


@pytest.mark.parametrize("pictures", [watched().reference, PICTURES], ids=["the reference", "others"])
def test_real_images_are_about_as_varied_as_real_images(monitor: CollapseMonitor, pictures: np.ndarray) -> None:
    found = look(monitor, Album(pictures), FRESH)
    assert found.keys() == set(STATISTICS)
    for name in COMPARED:
        assert found[name] == pytest.approx(1.0, abs=0.1), name


def test_reals_against_reals_are_one_on_average_and_chance_lowers_them_a_little(monitor: CollapseMonitor) -> None:
    assert monitor.expected.keys() == monitor.limits.keys() == set(COMPARED)
    assert all(value > 0.0 for value in monitor.expected.values())
    assert all(0.5 < limit < 1.0 for limit in monitor.limits.values())


def test_the_order_of_the_patients_does_not_matter(monitor: CollapseMonitor) -> None:
    """Nor does it matter where among them a patient's other images stand."""
    real = watched()
    order = np.random.default_rng(0).permutation(len(real.patients))
    mixed = replace(real, reference=real.reference[order], patients=tuple(real.patients[place] for place in order))
    other = monitor_of(mixed)
    assert other.pixel_distance == pytest.approx(monitor.pixel_distance)
    assert other.expected == pytest.approx(monitor.expected, rel=1e-4)
    assert other.limits == pytest.approx(monitor.limits, rel=1e-4)
    network = Album(PICTURES)
    assert look(other, network, FRESH) == pytest.approx(look(monitor, network, FRESH), rel=1e-4)


def test_a_set_of_reals_has_one_image_of_each_patient() -> None:
    real = watched(40)
    patients = tuple(str(number // 2) for number in range(40))
    monitor = monitor_of(replace(real, patients=patients))
    assert monitor.size == 10
    for draw in monitor.draws:
        found = [patients[place] for place in (*draw.left, *draw.right)]
        assert len(found) == len(set(found)) == 20


class Plain(nn.Sequential):
    """A generator that heeds no labels."""

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """(n, length) to (n, 1, 32, 32)."""
        return super().forward(noise[:, :, None, None])


def test_a_look_repeats_to_the_bit_in_either_mode_and_leaves_the_mode(monitor: CollapseMonitor) -> None:
    torch.manual_seed(0)
    network = Plain(nn.ConvTranspose2d(LENGTH, 4, 32), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1), nn.Tanh())
    first = look(monitor, network.train(), FRESH)
    assert network.training
    assert look(monitor, network, FRESH) == first
    assert look(monitor, network.eval(), FRESH) == first
    assert not network.training
    assert look(monitor_of(watched()), network, FRESH) == first
    assert look(monitor, network, drawn(SAMPLES, 6)) != first


class Linear(nn.Module):
    """A generator that adds up one pixel pattern for each number of its noise, all of one strength, no two overlap."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.patterns = strength * torch.eye(2 * STEPPED, 32 * 32)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """(n, length) to (n, 1, 32, 32)."""
        return (noise @ self.patterns).reshape(-1, 1, 32, 32)


def test_a_linear_generator_of_the_right_spread_moves_by_one(monitor: CollapseMonitor) -> None:
    """Root mean square difference of two images of it: sqrt(2 length / pixels) times the strength."""
    length, strength = 2 * STEPPED, 0.05
    unit = length**0.5 * torch.eye(length)  # noises as long as noise is, at right angles
    spread = (2.0 * length / 32**2) ** 0.5 * strength
    labels = torch.zeros(SAMPLES, dtype=torch.int64)
    fixed = Latent(unit[:STEPPED].repeat(SAMPLES // STEPPED, 1), labels)
    right = replace(monitor, latent=fixed, step=unit[STEPPED:], pixel_distance=spread)
    fresh = Latent(torch.randn(SAMPLES, length, generator=torch.Generator().manual_seed(0)), labels)
    assert look(right, Linear(strength), fresh)["z_sensitivity"] == pytest.approx(1.0, abs=1e-4)
    assert look(right, Linear(2 * strength), fresh)["z_sensitivity"] == pytest.approx(2.0, abs=1e-4)
    wide = replace(right, pixel_distance=2.0 * spread)
    assert look(wide, Linear(strength), fresh)["z_sensitivity"] == pytest.approx(0.5, abs=1e-4)


class Jumps(nn.Module):
    """A generator of fixed images: which one, the largest number of the noise decides."""

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """(n, length) to (n, 1, 32, 32)."""
        return torch.from_numpy(PICTURES)[noise.argmax(dim=1)][:, None]


class Deaf(nn.Module):
    """A generator that gives the same image for any noise."""

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """(n, length) to (n, 1, 32, 32)."""
        return torch.from_numpy(PICTURES[:1]).expand(len(noise), 1, 32, 32)


def test_a_generator_that_jumps_or_does_not_listen_does_not_move(monitor: CollapseMonitor) -> None:
    assert look(monitor, Jumps(), FRESH)["z_sensitivity"] == 0.0
    found = look(monitor, Deaf(), FRESH)
    assert found["z_sensitivity"] == 0.0
    assert max(found[name] for name in ("nearest", "near_pairs", "median_pair")) == pytest.approx(0.0, abs=1e-5)
    assert found["vendi"] * monitor.expected["vendi"] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_that_are_not_numbers_are_no_look(monitor: CollapseMonitor, value: float) -> None:
    """One pixel of one image is enough; the training's own check of the weights comes before."""
    spoiled = PICTURES.copy()
    spoiled[100, 3, 4] = value
    with pytest.raises(ValueError, match="not finite"):
        look(monitor, Album(spoiled), FRESH)


def test_too_few_or_equal_real_images_are_refused() -> None:
    with pytest.raises(ValueError, match="four other patients"):
        monitor_of(watched(3))
    with pytest.raises(ValueError, match="four other patients"):
        monitor_of(replace(watched(40), patients=tuple(str(number % 3) for number in range(40))))
    real = watched()
    with pytest.raises(ValueError, match="different images"):
        monitor_of(replace(real, reference=np.repeat(real.reference[:1], 40, axis=0)))
    with pytest.raises(ValueError, match="two different references"):
        monitor_of(replace(real, scaling=real.scaling[:1]))


def test_chance_is_known_from_sixteen_patients_on() -> None:
    assert monitor_of(watched(16)).limits.keys() == set(COMPARED)
    few = monitor_of(watched(15))
    assert few.limits == {}
    assert few.expected.keys() == set(COMPARED)  # a look still has something to be compared with
    health = Health()
    for number in (1, 2):  # and a collapse is still seen
        health = judged(health, few, Album(PICTURES), number)
    assert health.level is Level.HEALTHY
    assert judged(health, few, Deaf(), 3).level is Level.CRITICAL
