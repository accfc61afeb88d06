"""Images out of a generator: the same seed, index and weights give the same pixels on the CPU.

On a GPU that is not tested.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scansynth.seeds import derive_seed

BATCH = 16
"""Images in one pass. Fixed and always full, so that no image depends on how many are asked for."""


def noise_of(seed: int, index: int, length: int) -> Tensor:
    """Noise (length, 1, 1) of the image `index` of a set with `seed`, drawn on the CPU."""
    random = torch.Generator().manual_seed(derive_seed(seed, "noise", index))
    return torch.randn(length, 1, 1, generator=random)


@torch.no_grad()
def images_of(generator: nn.Module, noise: Tensor) -> Tensor:
    """Images (n, 1, side, side) in [-1, 1], in float32, with the running statistics of batch norm.

    Args:
        generator: Left in the mode in which it came.
        noise: (n, length, 1, 1), on the generator's device.
    """
    training = generator.training
    generator.eval()
    try:
        return torch.cat([_pass(generator, part) for part in torch.split(noise, BATCH)])
    finally:
        generator.train(training)


def _pass(generator: nn.Module, noise: Tensor) -> Tensor:
    """One pass of exactly `BATCH` images; a short batch is filled up, and cut off after."""
    count = noise.shape[0]
    full = torch.cat([noise, noise.new_zeros((BATCH - count, *noise.shape[1:]))]) if count < BATCH else noise
    made: Tensor = generator(full)
    return made[:count].float()


def draw(generator: nn.Module, length: int, seed: int, count: int) -> Iterator[NDArray[np.float32]]:
    """The first `count` images of a set, one after the other, each (side, side) in [-1, 1]."""
    device = next(generator.parameters()).device
    for start in range(0, count, BATCH):
        indices = range(start, min(start + BATCH, count))
        noise = torch.stack([noise_of(seed, index, length) for index in indices]).to(device)
        yield from images_of(generator, noise)[:, 0].cpu().numpy()
