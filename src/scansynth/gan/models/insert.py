"""insert: `compact` that fills a lesion into a window of a real scan.

The generator sees the window with the lesion hidden, and its mask (`gan.insertion.surroundings`); what it makes takes
the place of what is hidden, after Pathak et al. 2016 (arXiv 1604.07379), with a discriminator that judges the whole
window and its places. It reads the window down to the coarsest map, adds noise there, and enlarges it again beside
what was read: Ronneberger et al. 2015 (arXiv 1505.04597). Discriminator, losses and noise are those of `compact`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from scansynth.gan.insertion.surroundings import as_labels, composed, from_labels, surroundings
from scansynth.gan.layers.haar import Bands, clamp
from scansynth.gan.layers.modulated import SLOPE, Modulated, linear
from scansynth.gan.models.compact import Compact, Discriminator, NetworkSettings, convolution, even, maps_of
from scansynth.gan.models.family import Batch, Networks
from scansynth.gan.state import TrainingState
from scansynth.learning.device import Device
from scansynth.recipe import Recipe


class InsertSettings(NetworkSettings):
    """Settings of both networks."""

    window: int = Field(32, ge=32, le=128, multiple_of=8, description="Side of the window about a lesion, in pixels.")


class Insert(Compact):
    """Lesions in the surroundings that it is given."""

    can_condition: ClassVar[bool] = False
    network: InsertSettings = InsertSettings()

    @property
    def labelled(self) -> bool:
        """See `Family.labelled`: it makes lesions and nothing else."""
        return False

    @property
    def masks(self) -> bool:
        """See `Family.masks`: the mask that it is given."""
        return True

    @property
    def window(self) -> int:
        """See `Family.window`."""
        return self.network.window

    def build(self, shape: tuple[int, int], channels: int, classes: int, conditions: int = 0) -> Networks:
        """See `Family.build`; the networks are those of the window, whatever the class."""
        inside, outside = (Bands(shape, channels, masks=True) for _ in range(2))
        generator = Filler(inside, self.network)
        return Networks(generator, Discriminator(outside, 0, self.network, self.loss), generator.noise)

    def step(self, state: TrainingState, batch: Batch, recipe: Recipe, device: Device) -> Tensor:
        """See `Family.step`: each real lesion is hidden, and made anew in its own surroundings."""
        return super().step(state, replace(batch, labels=as_labels(surroundings(batch.real))), recipe, device)


class Filler(nn.Module):
    """Noise (n, noise) and surroundings, as labels, to windows (n, channels + 1, rows, columns) in [-1, 1].

    Attributes:
        noise: Length of the noise of an image: what the lesion is like, then the grain of the two last layers.
    """

    def __init__(self, bands: Bands, settings: InsertSettings) -> None:
        """For windows of `bands`, whose last channel is the mask."""
        super().__init__()
        self.bands, self._settings = bands, settings
        self._maps = maps_of(bands.shape)
        finest = max(4, settings.width // 2)
        widths = [max(finest, min(settings.most, finest << level)) for level in reversed(range(len(self._maps)))]
        read = [bands.channels, *reversed(widths)]
        self.reading = nn.ModuleList(
            [convolution(*step, stride=1 + (number > 0)) for number, step in enumerate(itertools.pairwise(read))]
        )
        self.start = linear(settings.latent, widths[0] * math.prod(self._maps[0]))
        self.styles = nn.ModuleList([linear(settings.latent, settings.style), linear(settings.style, settings.style)])
        steps = [(before + after, after) for before, after in itertools.pairwise(widths)] + [(widths[-1], widths[-1])]
        self._grain = [0] * (len(steps) - 2) + [settings.grain] * 2
        self.layers = nn.ModuleList(
            [Modulated(*step, settings.style, grain) for step, grain in zip(steps, self._grain, strict=True)]
        )
        self.last = nn.Conv2d(widths[-1], bands.channels - 1, 3, padding=1)
        self.noise = settings.latent + 2 * settings.grain * math.prod(bands.shape)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        given = from_labels(labels, (self.bands.channels, *self.bands.shape)).to(noise)
        latent, parts = noise[:, : self._settings.latent], list[Tensor]()
        x = given
        for number, layer in enumerate(self.reading):
            x = functional.leaky_relu(layer(even(x) if number else x), SLOPE)
            parts.append(x)
        x = x + self.start(latent).view(x.shape)
        style = latent
        for dense in self.styles:
            style = functional.leaky_relu(dense(style), SLOPE)
        begins = self._settings.latent
        for number, layer in enumerate(self.layers):
            if number + 1 < len(self._maps):
                beside = parts[-2 - number]
                x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
                x = torch.cat([x[:, :, : beside.shape[2], : beside.shape[3]], beside], 1)
            ends = begins + x[0, 0].numel() * (grain := self._grain[number])
            fresh = noise[:, begins:ends].reshape(len(x), *x.shape[2:], grain).permute(0, 3, 1, 2)
            x, begins = layer(x, style, fresh), ends
        grey = self.bands.channels - 1
        return composed(given, clamp(self.last(x).float() * self.bands.reach[:grey] + self.bands.centre[:grey]))
