"""The same seed, index and weights give the same pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from scansynth.gan.models.dcgan import NetworkSettings, build_generator
from scansynth.gan.sampling import BATCH, Latent, Sampler, draw, images_of, noise_of

LENGTH = 12


@pytest.fixture(scope="module")
def generator() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_generator((32, 32), 1, NetworkSettings(noise=LENGTH, width=4))
        for _ in range(3):  # running statistics that are not the initial ones
            network(torch.randn(16, LENGTH))
    return network.eval()


def drawn(generator: nn.Module, seed: int, count: int) -> np.ndarray:
    return np.stack(list(draw(Sampler(generator, LENGTH, 1, 0), seed, count)))


def latent(count: int, length: int = LENGTH) -> Latent:
    noise = torch.stack([noise_of(0, index, length) for index in range(count)])
    return Latent(noise, torch.zeros(count, dtype=torch.int64))


@pytest.mark.parametrize("count", [1, 3, BATCH, BATCH + 1, 2 * BATCH + 5])
def test_an_image_does_not_depend_on_how_many_are_drawn(generator: nn.Module, count: int) -> None:
    longest = drawn(generator, 5, 3 * BATCH)
    found = drawn(generator, 5, count)
    assert found.shape == (count, 1, 32, 32)
    assert found.dtype == np.float32
    assert np.array_equal(found, longest[:count])


def test_other_seeds_and_indices_give_other_images(generator: nn.Module) -> None:
    both = [drawn(generator, seed, 8) for seed in (5, 6)]
    assert len(np.unique(np.concatenate(both).reshape(16, -1), axis=0)) == 16
    assert not torch.equal(noise_of(0, 1, LENGTH), noise_of(0, 2, LENGTH))
    assert not torch.equal(noise_of(0, -1, LENGTH), noise_of(0, 1, LENGTH))


@pytest.mark.parametrize("training", [True, False])
def test_a_look_changes_nothing_in_the_generator(generator: nn.Module, training: bool) -> None:
    generator.train(training)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    images_of(generator, latent(5))
    assert generator.training is training
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())


def test_the_mode_comes_back_after_a_fault(generator: nn.Module) -> None:
    generator.train()
    with pytest.raises(RuntimeError):
        images_of(generator, latent(2, LENGTH + 1))
    assert generator.training
