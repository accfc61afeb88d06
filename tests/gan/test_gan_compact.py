"""The family compact: shapes, labels, what an image depends on, one round, and going on to the bit."""

import copy
import itertools
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import (
    CPU,
    CPU_BF16,
    IMAGES,
    batch_of,
    compact_recipe,
    fingerprint,
    plant_collapse,
    smooth_images,
    tiny_job,
)

from scansynth.console import silent
from scansynth.errors import ConfigError, Interrupted
from scansynth.gan.models.compact import Compact, Discriminator, NetworkSettings, follow, maps_of
from scansynth.gan.models.families import complete, family_of
from scansynth.gan.models.family import Form
from scansynth.gan.rate import rate_at
from scansynth.gan.start import new_state, shapes_of
from scansynth.gan.state import TrainingState
from scansynth.gan.training_loop import train
from scansynth.learning.device import Device
from scansynth.recipe import Change, Recipe, load_recipe

SMALL = NetworkSettings(latent=8, style=8, grain=2, width=4, most=8)
FAMILY = Compact(network=SMALL)


def _state(recipe: Recipe, classes: int = 1, device: Device = CPU) -> TrainingState:
    return new_state(recipe, Form((32, 32), 1, classes), 3, device, smooth_images(IMAGES)[:, None])


def _drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((32, 32), 1), ((40, 40), 1), ((37, 53), 1), ((64, 64), 3), ((33, 512), 1), ((129, 96), 2), ((256, 200), 1)],
)
def test_networks_of_any_shape(shape: tuple[int, int], channels: int) -> None:
    """Images as asked for, within [-1, 1]; a logit about the whole image and some about places."""
    networks = FAMILY.build(shape, channels, 1)
    images = networks.generator(_drawn(4, networks.noise), torch.zeros(4, dtype=torch.int64))
    assert images.shape == (4, channels, *shape)
    assert float(images.detach().abs().max()) <= 1.0
    logits = networks.discriminator(images, torch.zeros(4, dtype=torch.int64))
    assert logits.shape[0] == 4
    assert logits.shape[1] > 9


@pytest.mark.parametrize("side", [32, 45, 181, 363, 512])
def test_every_side_has_networks_without_content(side: int) -> None:
    """On the meta device, as the memory check builds them; maps grow by at most twice."""
    networks = shapes_of(FAMILY, Form((side, 512 + 32 - side), 1, 3))
    grid = networks.generator.bands.grid
    assert networks.noise > SMALL.latent
    for before, after in zip(maps_of(grid), maps_of(grid)[1:], strict=False):
        assert all(b < a <= 2 * b or a == b == 1 for b, a in zip(before, after, strict=True))


@pytest.mark.parametrize("shape", [(31, 64), (64, 513)])
def test_other_sides_are_refused(shape: tuple[int, int]) -> None:
    """In one line that says what is possible."""
    with pytest.raises(ConfigError, match=r"both sides must lie within 32 and 512; set cohort\.size"):
        FAMILY.build(shape, 1, 1)


def test_a_doubled_side_costs_less_than_its_pixels() -> None:
    """Multiplications of the convolutions of an image: at most 3.5 times as many, for 4 times as many pixels."""
    costs = []
    for side in (64, 128, 256):
        networks = shapes_of(Compact(), Form((side, side), 1, 1))
        generator, discriminator = networks.generator, networks.discriminator
        assert generator.bands.grid == (16, 16)
        maps = [(layer.weight, at) for layer, at in zip(generator.layers, generator._at, strict=True)]
        sides = [at for at in maps_of((16, 16))[::-1] for _ in range(2)]
        maps += [(layer.weight, at) for layer, at in zip(discriminator.layers, sides, strict=True)]
        costs.append(sum(weight.numel() * math.prod(at) for weight, at in maps))
    assert all(after < 3.5 * before for before, after in itertools.pairwise(costs))


def test_an_image_depends_on_its_noise_and_label_alone() -> None:
    """Not on its neighbours, nor on any random state; the discriminator's answer neither, in evaluation mode."""
    torch.manual_seed(0)
    networks = FAMILY.build((32, 32), 1, 2)
    generator, discriminator = networks.generator.eval(), networks.discriminator.eval()
    noise, labels = _drawn(6, networks.noise), torch.tensor([0, 1, 0, 1, 1, 0])
    images = generator(noise, labels)
    torch.testing.assert_close(generator(noise[2:4], labels[2:4]), images[2:4])
    logits = discriminator(images, labels)
    torch.testing.assert_close(discriminator(images[2:3], labels[2:3]), logits[2:3])


def test_grain_is_noise_of_its_own() -> None:
    """Other grain under the same latent changes the image, in both finest layers' share of the noise."""
    torch.manual_seed(0)
    generator = FAMILY.build((32, 32), 1, 1).generator
    noise = _drawn(1, generator.noise)
    image = generator(noise)
    for place in (SMALL.latent, generator.noise // 2, generator.noise - 1):
        other = noise.clone()
        other[0, place] += 3.0
        assert not torch.equal(generator(other), image)


def test_variety_comes_from_the_latent_and_not_from_grain() -> None:
    """At the beginning: images of one latent differ far less than images of many."""
    torch.manual_seed(0)
    generator = Compact().build((64, 64), 1, 1).generator
    noise = _drawn(24, generator.noise)
    grain, latent = noise.clone(), noise.clone()
    grain[:, :64], latent[:, 64:] = noise[:1, :64], noise[:1, 64:]
    with torch.no_grad():
        by_grain, by_latent = (generator(part).var(0).mean().item() for part in (grain, latent))
    assert by_latent > 4.0 * by_grain


@torch.no_grad()
def test_the_latent_lays_out_an_image_past_its_style() -> None:
    """With a style that is the same for all, images of other latents still differ in their coarse structure."""
    torch.manual_seed(0)
    generator = FAMILY.build((32, 32), 1, 1).generator
    generator.styles[-1].weight.zero_()
    noise = _drawn(1, generator.noise).repeat(4, 1)
    noise[:, : SMALL.latent] = _drawn(4, SMALL.latent, seed=1)
    coarse = torch.nn.functional.avg_pool2d(generator(noise), 8)
    assert float(coarse.var(0).mean()) > 0.01 * float(generator(_drawn(4, generator.noise)).var(0).mean())


def test_labels_reach_both_networks() -> None:
    """Another label, another image and another answer; with labels off, none."""
    torch.manual_seed(0)
    for asked in (True, False):
        family = Compact(network=SMALL.model_copy(update={"labels": asked}))
        networks = family.build((32, 32), 1, 3)
        noise, one, two = _drawn(4, networks.noise), torch.zeros(4, dtype=torch.int64), torch.full((4,), 2)
        images = networks.generator(noise, one)
        assert torch.equal(images, networks.generator(noise, two)) is not asked
        assert torch.equal(networks.discriminator(images, one), networks.discriminator(images, two)) is not asked
        assert family.labelled is asked


def test_the_discriminator_sees_how_varied_a_batch_is() -> None:
    """The spread of equal images is 0, that of two kinds is not; groups do not mix reals and fakes."""
    torch.manual_seed(0)
    discriminator = FAMILY.build((32, 32), 1, 1).discriminator
    assert isinstance(discriminator, Discriminator)
    same, varied = torch.ones(6, 8, 4, 4), _drawn(6, 8, 4, 4)
    spread = discriminator._spread(torch.cat([same, varied]), parts=2)
    assert float(spread[:6].max()) == pytest.approx(1e-4, rel=1e-3)
    expected = varied.reshape(6, -1).std(0, correction=0).mean()
    torch.testing.assert_close(spread[6:], expected.expand(6, 1), atol=1e-4, rtol=0.0)


def test_constants_come_from_the_training_images() -> None:
    """Both networks, and the average, have the same bands, fitted."""
    state = _state(compact_recipe())
    scales = [network.bands.scale for network in (state.generator, state.discriminator, state.average)]
    assert float((scales[0] - 1.0).abs().max()) > 0.01
    assert torch.equal(scales[0], scales[1])
    assert torch.equal(scales[0], scales[2])


def test_a_round_changes_both_networks_and_leaves_the_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no number is infinite; the figures are losses and probabilities."""
    judge, said = Discriminator.judge, list[torch.Tensor]()

    def heard(self: Discriminator, *given: Any, **more: Any) -> torch.Tensor:
        said.append(judge(self, *given, **more))
        return said[-1]

    monkeypatch.setattr(Discriminator, "judge", heard)
    recipe = compact_recipe()
    state = _state(recipe)
    before = copy.deepcopy((state.generator.state_dict(), state.discriminator.state_dict()))
    real = torch.from_numpy(np.float32(smooth_images(8)[:, None] / 32767.5 - 1.0))
    batch = batch_of(real, state.generator.noise, torch.Generator().manual_seed(0))
    figures = family_of(recipe).step(state, batch, recipe, CPU)
    assert figures.isfinite().all()
    chances = said[0].detach()[:, 0].sigmoid()  # the first asked: reals, then fakes
    torch.testing.assert_close(figures[2:], torch.stack([chances[:8].mean(), chances[8:].mean()]))
    for old, network in zip(before, (state.generator, state.discriminator), strict=True):
        moved = {name for name, value in network.state_dict().items() if not torch.equal(value, old[name])}
        assert not any(name.startswith("bands.") for name in moved)
        trained = {name for name, value in network.named_parameters() if value.numel()}
        assert trained - {"whole.bias", "places.bias"} <= moved  # pairs cancel a number added to all logits


def test_the_penalty_follows_the_sureness() -> None:
    """Stronger while the discriminator is surer than it may be, and back to where it began while less."""
    torch.manual_seed(0)
    discriminator = FAMILY.build((32, 32), 1, 1).discriminator
    assert isinstance(discriminator, Discriminator)
    strengths = []
    for measured in (FAMILY.loss.sureness, 0.95, 0.5):
        for _ in range(2000):
            follow(discriminator, torch.tensor(measured), FAMILY.loss)
        strengths.append(discriminator.strength.item())
    assert strengths == pytest.approx([FAMILY.loss.penalty, 1000.0 * FAMILY.loss.penalty, FAMILY.loss.penalty])


def test_a_collapse_asks_for_a_calmer_discriminator() -> None:
    """Half as far above chance; other changes alter nothing of the family."""
    before = FAMILY.loss.sureness
    after = FAMILY.altered(Change.PENALTY)
    assert after is not None
    assert after.loss.sureness - 0.5 == pytest.approx((before - 0.5) / 2.0)
    assert FAMILY.altered(Change.SPECTRAL_NORM) is None


def test_the_rate_rises_stays_and_falls() -> None:
    """From a 50th to 1 in 50 rounds, 1 until 30 % of the images, at last a tenth."""
    total = 1_000_000
    assert rate_at(0, total, 16) == pytest.approx(1 / 50)
    assert rate_at(50 * 16, total, 16) == 1.0
    assert rate_at(300_000, total, 16) == pytest.approx(1.0)
    assert rate_at(650_000, total, 16) == pytest.approx(0.55)
    assert rate_at(total, total, 16) == pytest.approx(0.1)


@pytest.mark.parametrize("device", [CPU, CPU_BF16], ids=["float32", "bfloat16"])
def test_a_stopped_training_goes_on_to_the_bit(tmp_path: Path, device: Device) -> None:
    """Networks, average, optimisers, strength of the penalty: as if it had not been stopped."""
    whole, parts = (tiny_job(tmp_path / name, recipe=compact_recipe()) for name in ("whole", "parts"))
    expected = fingerprint(train(whole, device, silent, pytest.fail))

    def stop(done: int, total: int, note: str = "") -> None:
        if done == 40:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(parts, device, stop, pytest.fail)
    assert fingerprint(train(parts, device, silent, pytest.fail)) == expected


def test_a_collapse_is_answered_by_this_family_too(tmp_path: Path) -> None:
    """Planted twice: first the penalty is to be calmer, then the rate is halved; both stand in the state."""
    undo = plant_collapse((1, 72), (2, 72))
    try:
        state = train(tiny_job(tmp_path, recipe=compact_recipe()), CPU, silent, lambda text: None)
    finally:
        undo()
    assert state.attempt == 3
    assert state.changes == (Change.PENALTY, Change.RATE)
    assert state.images == 96


def test_two_threads_give_what_one_gives() -> None:
    """Sums are taken in another order: to within a thousandth of the weights' spread, after four rounds."""
    found, before = [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        recipe = compact_recipe()
        state = _state(recipe)
        real = torch.from_numpy(np.float32(smooth_images(8)[:, None] / 32767.5 - 1.0))
        for seen in range(0, 32, 8):
            batch = batch_of(real, state.generator.noise, torch.Generator().manual_seed(seen), seen)
            family_of(recipe).step(state, batch, recipe, CPU)
        found.append(torch.cat([value.detach().flatten() for value in state.generator.parameters()]))
    torch.set_num_threads(before)
    assert (found[0] - found[1]).abs().max().item() < 1e-3 * found[0].std().item()


@pytest.mark.parametrize(
    ("overrides", "word"),
    [
        ({"network": {"spectral_norm": True}}, "unknown key network.spectral_norm"),
        ({"loss": {"smoothing": True}}, "unknown key loss.smoothing"),
        ({"loss": {"sureness": 0.5}}, "loss.sureness"),
        ({"collapse": {"changes": ["spectral_norm"]}}, "the family compact has no spectral_norm to change"),
    ],
)
def test_keys_of_another_family_are_refused(overrides: dict[str, dict[str, object]], word: str) -> None:
    """In one line that names the key."""
    with pytest.raises(ConfigError, match=word) as fault:
        complete(load_recipe("compact", overrides))
    assert "\n" not in str(fault.value)
