"""Adversarial losses against closed forms and a hand-written formula."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scansynth.gan.losses import cross_entropy, discriminator_loss, generator_loss, targets
from scansynth.recipe import LossSettings

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
