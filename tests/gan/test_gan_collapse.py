"""The live figure of variety."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_training import smooth_images
from torch import Tensor, nn

from scansynth.cohort.tensors import to_signed
from scansynth.gan.collapse import SAMPLES, DiversityMonitor, diversity, new_monitor
from scansynth.gan.sampling import noise_of


class Shelf(nn.Module):
    """A generator that knows `modes` pictures, and shades each slightly by its noise."""

    def __init__(self, pictures: np.ndarray, modes: int, strength: float = 1.0) -> None:
        super().__init__()
        mean = pictures.mean(axis=0, keepdims=True)
        kept = torch.from_numpy(mean + strength * (pictures[:modes] - mean))
        self.pictures = nn.Parameter(kept, requires_grad=False)

    def forward(self, noise: Tensor) -> Tensor:
        """(n, length, 1, 1) to (n, 1, side, side)."""
        chosen = (noise[:, 0, 0, 0].abs() * 1e6).long() % len(self.pictures)
        return self.pictures[chosen][:, None]


@pytest.fixture(scope="module")
def monitor() -> DiversityMonitor:
    fixed = torch.stack([noise_of(0, -1 - index, 8) for index in range(SAMPLES)])
    return new_monitor(to_signed(smooth_images(120, seed=1)), fixed)


PICTURES = to_signed(smooth_images(400, seed=2))


def test_other_reals_are_about_as_varied_as_the_reals(monitor: DiversityMonitor) -> None:
    assert 0.85 < diversity(monitor, Shelf(PICTURES, 400)) < 1.15


def test_one_picture_for_every_noise_is_no_variety(monitor: DiversityMonitor) -> None:
    assert diversity(monitor, Shelf(PICTURES, 1)) < 0.01


def test_less_variation_is_less_diversity(monitor: DiversityMonitor) -> None:
    found = [diversity(monitor, Shelf(PICTURES, 400, strength)) for strength in (1.0, 0.5, 0.1)]
    assert found[0] > 1.1 * found[1] > 1.2 * found[2]


def test_a_look_repeats_and_leaves_the_generator_as_it_was(monitor: DiversityMonitor) -> None:
    generator = Shelf(PICTURES, 10).train()
    assert diversity(monitor, generator) == diversity(monitor, generator)
    assert generator.training
