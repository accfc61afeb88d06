"""Images out of a generator: the same seed, index and weights give the same pixels on the CPU.

On a GPU that is not tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scansynth.gan.asked.labels import blank
from scansynth.gan.asked.request import Request
from scansynth.seeds import derive_seed

BATCH = 16
"""Images in one pass. Fixed and always full, so that no image depends on how many are asked for."""


@dataclass(frozen=True)
class Latent:
    """What images are made from.

    Attributes:
        noise: (n, length) from N(0, 1).
        labels: Of each, see `gan.asked.labels`; a generator that heeds none gets them all the same.
    """

    noise: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """How many images."""
        return len(self.noise)

    def part(self, first: int, last: int) -> Latent:
        """Those from `first` to before `last`."""
        return Latent(self.noise[first:last], self.labels[first:last])

    def to(self, device: torch.device) -> Latent:
        """The same on a device."""
        return Latent(self.noise.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Sampler:
    """A trained generator, and what it takes to draw from it.

    Attributes:
        network: In evaluation mode.
        noise: Length of the noise of an image.
        channels: Grey channels of an image; a further one is its lesion mask.
        classes: Classes that it tells apart; 0: it heeds no labels.
        masks: It makes lesion masks, too.
        wanted: The classes to draw, by turns; none: all that it tells apart.
        conditions: Columns of conditions in its labels.
        names: Of the classes, as requests know them; empty where it tells none apart.
        request: What is asked of the images besides; none: nothing.
        window: Side of the window that it fills lesions into, given its surroundings; 0: it makes whole images.
    """

    network: nn.Module
    noise: int
    channels: int
    classes: int
    masks: bool = False
    wanted: tuple[int, ...] = ()
    conditions: int = 0
    names: tuple[str, ...] = ()
    request: Request | None = None
    window: int = 0

    def label_of(self, index: int) -> int:
        """Class of the image `index` of a set: the classes by turns."""
        by_turns = self.wanted or tuple(range(self.classes)) or (0,)
        return by_turns[index % len(by_turns)]

    def name_of(self, index: int) -> str:
        """Label of the image `index` as its request knows it; empty where labels are not told apart."""
        return self.names[self.label_of(index)] if self.names else ""

    def labels_of(self, seed: int, indices: range) -> Tensor:
        """Labels of images of a set, as the network takes them."""
        found = blank(len(indices), self.conditions)
        for row, index in enumerate(indices):
            if not self.conditions:
                found[row] = self.label_of(index)
                continue
            found[row, 0] = self.label_of(index)
            if self.request is not None:
                found[row, 1:] = torch.from_numpy(self.request.columns(self.name_of(index), seed, index))
        return found


def noise_of(seed: int, index: int, length: int) -> Tensor:
    """Noise (length,) of the image `index` of a set with `seed`, drawn on the CPU."""
    random = torch.Generator().manual_seed(derive_seed(seed, "noise", index))
    return torch.randn(length, generator=random)


@torch.no_grad()
def images_of(generator: nn.Module, latent: Latent) -> Tensor:
    """Images (n, channels, rows, columns) in [-1, 1], in float32, with the running statistics of batch norm.

    Args:
        generator: Left in the mode in which it came.
        latent: On the generator's device.
    """
    training = generator.training
    generator.eval()
    try:
        parts = [latent.part(first, first + BATCH) for first in range(0, len(latent), BATCH)]
        return torch.cat([_pass(generator, part) for part in parts])
    finally:
        generator.train(training)


def _pass(generator: nn.Module, latent: Latent) -> Tensor:
    """One pass of exactly `BATCH` images; a short batch is filled up, and cut off after."""
    noise, labels, missing = latent.noise, latent.labels, BATCH - len(latent)
    if missing:
        noise = torch.cat([noise, noise.new_zeros(missing, noise.shape[1])])
        labels = torch.cat([labels, labels.new_zeros(missing, *labels.shape[1:])])
    made: Tensor = generator(noise, labels)
    return made[: len(latent)].float()


def draw(sampler: Sampler, seed: int, count: int) -> Iterator[NDArray[np.float32]]:
    """The first `count` images of a set, one after the other, each (channels, rows, columns) in [-1, 1]."""
    for start in range(0, count, BATCH):
        yield from draw_pass(sampler, seed, range(start, min(start + BATCH, count)))


def draw_pass(sampler: Sampler, seed: int, indices: range) -> NDArray[np.float32]:
    """The images of one pass, (n, channels, rows, columns) in [-1, 1].

    Args:
        sampler: Draws them.
        seed: Of the set.
        indices: Of the images within the set; at most `BATCH`, from a multiple of it on.
    """
    device = next(sampler.network.parameters()).device
    made: NDArray[np.float32] = images_of(sampler.network, latent_of(sampler, seed, indices).to(device)).cpu().numpy()
    return made


def latent_of(sampler: Sampler, seed: int, indices: range) -> Latent:
    """What the images `indices` of a set with `seed` are made from, on the CPU."""
    noise = torch.stack([noise_of(seed, index, sampler.noise) for index in indices])
    return Latent(noise, sampler.labels_of(seed, indices))
