"""Adversarial losses and the gradient penalty against closed forms and a hand-written formula."""

from __future__ import annotations

import contextlib
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import FORM, batch_of
from torch import Tensor, nn
from torch.nn.utils import parametrize

from scansynth.gan.losses import (
    LossSettings,
    cross_entropy,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    targets,
)
from scansynth.gan.models.dcgan import NetworkSettings, build_discriminator
from scansynth.gan.models.families import family_of
from scansynth.gan.start import new_state
from scansynth.gan.state import TrainingState
from scansynth.learning.device import Device
from scansynth.recipe import Recipe, load_recipe

SOFT, HARD = LossSettings(), LossSettings(smoothing=False)


def by_hand(logits: list[float], target: float) -> float:
    chances = [1.0 / (1.0 + math.exp(-value)) for value in logits]
    terms = [-(target * math.log(p) + (1.0 - target) * math.log(1.0 - p)) for p in chances]
    return sum(terms) / len(terms)


LOGITS = st.lists(st.floats(-10, 10), min_size=1, max_size=8)


@given(LOGITS, st.sampled_from([0.0, 0.1, 0.9, 1.0]))
def test_cross_entropy_is_the_formula(logits: list[float], target: float) -> None:
    found = cross_entropy(torch.tensor(logits), target).item()
    assert found == pytest.approx(by_hand(logits, target), rel=1e-4, abs=1e-5)


@given(LOGITS)
def test_swapping_real_and_fake_mirrors_the_logits(logits: list[float]) -> None:
    values = torch.tensor(logits)
    assert cross_entropy(values, 0.9).item() == pytest.approx(cross_entropy(-values, 0.1).item(), rel=1e-5, abs=1e-6)


def test_an_undecided_discriminator_costs_log_two_a_side() -> None:
    zero = torch.zeros(5, 1, 1, 1)
    for settings in (SOFT, HARD):
        assert discriminator_loss(zero, zero, settings).item() == pytest.approx(2.0 * math.log(2.0))
        assert generator_loss(zero, settings).item() == pytest.approx(math.log(2.0))


def test_the_soft_optimum_lies_at_the_target() -> None:
    best = torch.tensor([math.log(0.9 / 0.1)], requires_grad=True)
    cross_entropy(best, 0.9).backward()
    assert best.grad is not None
    assert best.grad.abs().item() < 1e-6
    assert cross_entropy(best, 0.9).item() == pytest.approx(-(0.9 * math.log(0.9) + 0.1 * math.log(0.1)))


def test_the_switch_chooses_the_targets() -> None:
    assert targets(SOFT) == (0.9, 0.1, 0.9)
    assert targets(HARD) == (1.0, 0.0, 1.0)
    sure = torch.full((3,), 12.0)
    assert discriminator_loss(sure, -sure, HARD).item() < 1e-4
    assert discriminator_loss(sure, -sure, SOFT).item() > 2.0


def test_the_generators_target_is_its_own() -> None:
    logits = torch.tensor([0.7])
    other = LossSettings(generator_target=0.6)
    assert generator_loss(logits, other).item() == pytest.approx(by_hand([0.7], 0.6))
    assert discriminator_loss(logits, logits, other).item() == discriminator_loss(logits, logits, SOFT).item()


def test_half_precision_logits_are_judged_in_float32() -> None:
    logits = torch.linspace(-4, 4, 64).bfloat16()
    found = cross_entropy(logits, 0.9)
    assert found.dtype == torch.float32
    assert found.item() == cross_entropy(logits.float(), 0.9).item()


def test_extreme_logits_stay_finite() -> None:
    extreme = torch.tensor([-1e4, 1e4])
    assert discriminator_loss(extreme, extreme, HARD).item() == pytest.approx(1e4)


def reals(count: int = 6, side: int = 32) -> Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(2)) * 2 - 1


class Quadratic(nn.Module):
    """Logit sum(c x^2 / 2): its gradient by the image is c x."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.curve = nn.Parameter(torch.linspace(-1, 1, side * side).view(1, 1, side, side))

    def forward(self, images: Tensor) -> Tensor:
        return (0.5 * self.curve * images**2).sum((1, 2, 3))


class Alone(nn.Module):
    """A discriminator that heeds no labels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.network(images)


def labels(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.int64)


def test_the_penalty_of_a_linear_discriminator_is_its_weights_squared_length() -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    expected = linear[1].weight.square().sum().item()
    for count in (1, 5):
        assert gradient_penalty(Alone(linear), reals(count, 8), labels(count)).item() == pytest.approx(
            expected, rel=1e-5
        )


def test_the_penalty_of_a_quadratic_discriminator_and_its_slope_are_the_closed_forms() -> None:
    quadratic, images = Quadratic(8), reals(5, 8)
    penalty = gradient_penalty(Alone(quadratic), images, labels(5))
    curve = quadratic.curve.detach()
    assert penalty.item() == pytest.approx((curve * images).square().sum((1, 2, 3)).mean().item(), rel=1e-5)
    penalty.backward()
    slope = (2.0 * curve * images.square()).mean(0, keepdim=True)
    torch.testing.assert_close(quadratic.curve.grad, slope)
    assert images.grad is None
    assert not images.requires_grad


@pytest.mark.parametrize("spectral_norm", [True, False])
@pytest.mark.parametrize("autocast", [True, False])
def test_the_penalty_is_that_of_single_images_in_float32(spectral_norm: bool, autocast: bool) -> None:
    settings = NetworkSettings(width=8, spectral_norm=spectral_norm)
    discriminator = build_discriminator((32, 32), 1, settings).eval()  # a judge of single images
    images = reals(3)
    slopes = []
    for image in images:
        alone = image[None].requires_grad_()
        discriminator(alone).sum().backward()
        assert alone.grad is not None
        slopes.append(alone.grad.square().sum().item())
    context = torch.autocast("cpu", dtype=torch.bfloat16) if autocast else contextlib.nullcontext()
    with context:
        found = gradient_penalty(discriminator, images, labels(3))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(sum(slopes) / 3, rel=1e-4)


def test_the_penalty_shares_weights_that_were_normalised_once() -> None:
    discriminator, images = build_discriminator((32, 32), 1, NetworkSettings(width=8)), reals()
    vectors = [value.clone() for value in discriminator.buffers()]
    with torch.autocast("cpu", dtype=torch.bfloat16), parametrize.cached():
        loss = discriminator(images).float().mean()
        after = [value.clone() for value in discriminator.buffers()]
        penalty = gradient_penalty(discriminator, images, labels(len(images)))
    assert any(not torch.equal(old, new) for old, new in zip(vectors, after, strict=True))
    assert all(map(torch.equal, after, discriminator.buffers()))  # no second power iteration
    assert penalty.item() == pytest.approx(
        gradient_penalty(discriminator.eval(), images, labels(len(images))).item(), rel=0.05
    )
    (loss + penalty).backward()
    slopes = [value.grad for value in discriminator.parameters() if value.dim() == 4]
    assert all(slope is not None and slope.isfinite().all() and slope.any() for slope in slopes)


def one_round(
    penalty: float, every: int = 1, number: int = 0, precision: str = "float32"
) -> tuple[TrainingState, Tensor, Tensor]:
    """The state after the round of that number, the discriminator's gradients in it, and its figures."""
    loss = {"penalty": penalty, "penalty_every": every}
    recipe: Recipe = load_recipe("dcgan", {"network": {"noise": 8, "width": 4}, "loss": loss})
    family = family_of(recipe)
    device = Device("cpu", "test", precision, True)
    state = new_state(recipe, FORM, 0, device)
    found: list[Tensor] = []
    state.discriminator_optimiser.register_step_pre_hook(
        lambda *_: found.append(
            torch.cat([value.grad.flatten() for value in state.discriminator.parameters() if value.grad is not None])
        )
    )
    random = torch.Generator().manual_seed(1)
    figures = family.step(state, batch_of(reals(), 8, random, 6 * number), recipe, device)
    return state, found[0].clone(), figures


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_penalty_changes_the_training_and_not_the_figure_of_the_loss(precision: str) -> None:
    (plain, _, without), (pulled, _, penalised) = (one_round(value, precision=precision) for value in (0.0, 10.0))
    assert not torch.equal(plain.discriminator[0].weight, pulled.discriminator[0].weight)
    assert without[0] == penalised[0]
    assert without[2:].equal(penalised[2:])


def test_a_heavier_penalty_pulls_in_proportion() -> None:
    none, once, twice = (one_round(value)[1] for value in (0.0, 3.0, 6.0))
    torch.testing.assert_close(twice - none, 2.0 * (once - none), rtol=1e-3, atol=1e-6)
    assert (once - none).abs().max() > 1e-4


def test_a_penalty_every_few_rounds_weighs_as_many_times_more() -> None:
    always, never = one_round(8.0, every=1)[1], one_round(0.0)[1]
    for number in range(9):
        lazy = one_round(1.0, every=8, number=number)[1]
        assert torch.equal(lazy, always if number % 8 == 0 else never), number
    assert not any(torch.equal(*pair) for pair in itertools.combinations((always, never, one_round(1.0)[1]), 2))
