"""The pairing loss and the penalty against their equations."""

import itertools
import math

import pytest
import torch

from scansynth.gan.relativistic import pairing_loss, slope_penalty, sureness


def _logits(seed: int, places: int = 5) -> torch.Tensor:
    return torch.randn(4, 1 + places, generator=torch.Generator().manual_seed(seed))


def test_pairing_loss_is_its_equation() -> None:
    """mean log(1 + exp(worse - better)) of the whole, plus `dense` times that of the places."""
    better, worse = _logits(1), _logits(2)
    apart = [math.log1p(math.exp(value)) for value in (worse - better).flatten().tolist()]
    whole = [value for place, value in enumerate(apart) if place % 6 == 0]
    places = [value for place, value in enumerate(apart) if place % 6]
    expected = sum(whole) / 4 + 0.5 * sum(places) / 20
    assert pairing_loss(better, worse, 0.5).item() == pytest.approx(expected, rel=1e-5)


def test_pairing_loss_knows_only_differences() -> None:
    """A number added to the logits of both kinds changes nothing; equal ones give log 2 for each part."""
    better, worse = _logits(1), _logits(2)
    torch.testing.assert_close(pairing_loss(better + 7.0, worse + 7.0, 1.0), pairing_loss(better, worse, 1.0))
    assert float(pairing_loss(better, better, 1.0)) == pytest.approx(2.0 * math.log(2.0))


def test_both_players_pull_at_the_same_pairs() -> None:
    """Changed sides of the loss: what one gains the other loses, softplus(d) - softplus(-d) = d."""
    real, fake = _logits(1), _logits(2)
    gain = pairing_loss(fake, real, 1.0) - pairing_loss(real, fake, 1.0)
    torch.testing.assert_close(gain, (real - fake)[:, 0].mean() + (real - fake)[:, 1:].mean())


def test_sureness_of_known_pairs() -> None:
    """0.5 where nothing is told, 1 where all is; the whole counts as much as all places."""
    logits = _logits(3)
    assert sureness(logits, logits).item() == 0.5
    assert sureness(logits + 20.0, logits).item() == pytest.approx(1.0)
    assert sureness(logits + torch.tensor([20.0, *[0.0] * 5]), logits).item() == pytest.approx(0.75)


def test_penalty_is_the_mean_squared_slope_of_all_logits() -> None:
    """Averaged over all signs it is that of the whole, plus `dense` times the mean over the places, by autograd."""
    places, dense = 3, 0.7
    matrix = torch.randn(6, 1 + places, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def logits_of(points: torch.Tensor) -> torch.Tensor:
        return torch.tanh(points.flatten(1) @ matrix)

    inputs = torch.randn(5, 1, 2, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    every = [
        torch.tensor(signs, dtype=torch.float64).expand(5, places)
        for signs in itertools.product((-1, 1), repeat=places)
    ]
    found = sum(slope_penalty(logits_of, inputs, signs, dense).item() for signs in every) / len(every)
    expected = 0.0
    for image in inputs:
        slopes = torch.autograd.functional.jacobian(logits_of, image[None]).reshape(1 + places, -1)
        squares = slopes.square().sum(1)
        expected += (squares[0] + dense * squares[1:].mean()).item() / len(inputs)
    assert found == pytest.approx(expected, abs=1e-5)  # the squares are added up in float32


def test_penalty_of_a_linear_discriminator_pulls_its_weights_to_0() -> None:
    """|slope|^2 of w . x is |w|^2, whose gradient by w is 2 w."""
    weight = torch.tensor([[3.0], [4.0]], requires_grad=True)

    def logits_of(points: torch.Tensor) -> torch.Tensor:
        return torch.cat([points @ weight, torch.zeros_like(points)], 1)

    inputs = torch.randn(6, 2, generator=torch.Generator().manual_seed(6))
    penalty = slope_penalty(logits_of, inputs, torch.ones(6, 2), 1.0)
    assert penalty.item() == pytest.approx(25.0)
    penalty.backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, torch.tensor([[6.0], [8.0]]))
