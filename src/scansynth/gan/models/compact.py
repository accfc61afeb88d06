"""compact: a small GAN for about a thousand images, which learns in an hour without a GPU.

The generator enlarges maps step by step up to the pixels. Its convolutions are 3 x 3 and shared by the batch; the style
scales what goes in, as in Karras et al. 2020 (arXiv 1912.04958), section 2.2, and batch norm sets the strength of what
comes out. The coarsest map is a dense projection of the noise, and the two finest layers get channels of fresh noise.

The discriminator reads Haar bands of like weight (`haar.Bands`), at sides of about 20 whatever the image's: a doubled
side is one level more, and the square root of 2 times as many channels. It answers for the whole image and for its
places. What both are trained with stands in `relativistic`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from scansynth.config import Settings
from scansynth.data.tensors import to_signed
from scansynth.errors import ConfigError
from scansynth.gan.asked.labels import class_of, conditions_of
from scansynth.gan.freezing import held
from scansynth.gan.layers.batch_norm import BatchNorm2d
from scansynth.gan.layers.haar import Bands
from scansynth.gan.layers.modulated import SLOPE, Modulated, linear, scales_of
from scansynth.gan.models.family import Batch, Family, Networks
from scansynth.gan.rate import WARM_UP, rate_at
from scansynth.gan.relativistic import LossSettings, pairing_loss, slope_penalty, sureness
from scansynth.gan.state import TrainingState
from scansynth.learning import ema, ranks
from scansynth.learning.device import Device
from scansynth.recipe import Change, Recipe

_SIDES = (32, 512)
_SMALLEST_MAP = 7
"""The generator begins at sides of 4 to 7."""

_GAIN = math.sqrt(2.0)
_BEGINNING = 0.3
"""Spread of the first images about the mean image, over that of real ones: what is small grows where it is needed."""

_GROUP = 8
"""Most images of a group whose spread the discriminator sees."""

_MEMORY = 0.02
"""Share of a round in the running means of what is measured."""

_MOST_TIMES = 1000.0
"""Greatest weight of the penalty, over the least."""

_PATCH = 64
"""Images that the constants are taken from at a time."""


class NetworkSettings(Settings):
    """Settings of both networks."""

    latent: int = Field(64, ge=1, description="Length of the noise that decides what an image shows.")
    style: int = Field(128, ge=4, description="Length of the style vector made from it.")
    grain: int = Field(4, ge=1, description="Channels of fresh noise in each of the two finest layers.")
    width: int = Field(
        48,
        ge=4,
        description="Channels of the finest feature map at 40 pixels; doubled at each coarser map, up to `most`.",
    )
    most: int = Field(128, ge=4, description="Channels of the coarsest feature maps.")
    labels: bool = Field(True, description="Condition both networks on the label, where training images have several.")
    masks: bool = Field(False, description="Draw the lesion's mask with each image; `generator.masks` sets it.")


class Compact(Family):
    """Small networks: a generator of pixels, and a discriminator of Haar bands."""

    changes: ClassVar[frozenset[Change]] = frozenset({Change.PENALTY, Change.RATE})
    can_mask: ClassVar[bool] = True
    can_condition: ClassVar[bool] = True
    network: NetworkSettings = NetworkSettings()
    loss: LossSettings = LossSettings()

    @property
    def labelled(self) -> bool:
        """See `Family.labelled`."""
        return self.network.labels

    @property
    def masks(self) -> bool:
        """See `Family.masks`."""
        return self.network.masks

    def build(self, shape: tuple[int, int], channels: int, classes: int, conditions: int = 0) -> Networks:
        """See `Family.build`."""
        if not (_SIDES[0] <= min(shape) and max(shape) <= _SIDES[1]):
            raise ConfigError(
                f"the family compact has no networks for {shape[0]} x {shape[1]} pixels: both sides must lie within "
                f"{_SIDES[0]} and {_SIDES[1]}; set cohort.size accordingly and ingest again"
            )
        asked = classes if self.network.labels and classes > 1 else 0
        inside, outside = (Bands(shape, channels, masks=self.network.masks) for _ in range(2))
        generator = Generator(inside, asked, self.network, conditions)
        discriminator = Discriminator(outside, asked, self.network, self.loss, conditions)
        return Networks(generator, discriminator, generator.noise)

    def fit(self, networks: Networks, images: NDArray[np.uint16], patients: int) -> None:
        """See `Family.fit`: mean and spread of the bands."""
        parts = [torch.from_numpy(to_signed(images[start : start + _PATCH])) for start in range(0, len(images), _PATCH)]
        for network in (networks.generator, networks.discriminator):
            network.bands.fit(parts, patients)  # type: ignore[operator, union-attr]  # both are built above

    def step(self, state: TrainingState, batch: Batch, recipe: Recipe, device: Device) -> Tensor:
        """See `Family.step`."""
        return round_of_steps(state, batch, self.loss, recipe, device)

    def layers(self, discriminator: nn.Module) -> Sequence[nn.Module]:
        """See `Family.layers`: the convolutions."""
        assert isinstance(discriminator, Discriminator)  # built by this family
        return list(discriminator.layers)

    def altered(self, change: Change) -> Self | None:
        """See `Family.altered`: the discriminator is to be half as sure as it was."""
        if change is not Change.PENALTY:
            return None
        calmer = 0.5 + 0.5 * (self.loss.sureness - 0.5)
        return self.model_copy(update={"loss": self.loss.model_copy(update={"sureness": calmer})})

    def narrowed(self, width: int) -> Self | None:
        """See `Family.narrowed`."""
        return self.model_copy(update={"network": self.network.model_copy(update={"width": width})})

    @property
    def width(self) -> int:
        """See `Family.width`."""
        return self.network.width


def maps_of(grid: tuple[int, int]) -> list[tuple[int, int]]:
    """Rows and columns of the feature maps, from the coarsest up to `grid`; a side is half the next, rounded up."""
    maps = [grid]
    while max(maps[0]) > _SMALLEST_MAP:
        maps.insert(0, (-(-maps[0][0] // 2), -(-maps[0][1] // 2)))
    return maps


def channels_of(maps: int, levels: int, settings: NetworkSettings) -> list[int]:
    """Channels of the feature maps, from the coarsest.

    A Haar level more makes the finest map the square root of 2 times as wide, in steps of 16 where there are so many,
    and the networks two to three times as dear: there are four times as many pixels.
    """
    finest = _whole(settings.width * 2.0 ** ((levels - 1) / 2.0), settings)
    return [max(finest, min(settings.most, finest << level)) for level in reversed(range(maps))]


def _whole(channels: float, settings: NetworkSettings) -> int:
    """The nearest multiple of 16 channels, at least one: others are slow."""
    step = min(16, settings.width)
    return step * max(1, round(channels / step))


class Generator(nn.Module):
    """Noise (n, noise) and labels to images (n, channels, rows, columns) in [-1, 1].

    Attributes:
        noise: Length of the noise of an image: what it shows, then the grain of every layer.
    """

    def __init__(self, bands: Bands, classes: int, settings: NetworkSettings, conditions: int = 0) -> None:
        """For images of `bands`; 0 classes, 0 conditions: these are not looked at."""
        super().__init__()
        self.bands, self._settings = bands, settings
        self._maps, widths = maps_of(bands.grid), channels_of(len(maps_of(bands.grid)), bands.levels, settings)
        while self._maps[-1] != bands.fine:  # up to pixels, thinner each time
            self._maps.append((2 * self._maps[-1][0], 2 * self._maps[-1][1]))
            widths.append(_whole(widths[-1] / 2.0, settings))
        self._first = (widths[0], *self._maps[0])
        self.classes = nn.Embedding(classes, settings.latent) if classes else None
        self.conditions = linear(conditions, settings.latent) if conditions else None
        length = settings.latent * (1 + bool(classes) + bool(conditions))
        self.styles = nn.ModuleList([linear(length, settings.style), linear(settings.style, settings.style)])
        self.start = linear(length, math.prod(self._first))
        self.start_norm = BatchNorm2d(widths[0])
        # one layer at the coarsest map, two at each of the others; what is coarse shall not come from grain
        steps = [(widths[0], widths[0])]
        steps += [step for before, after in itertools.pairwise(widths) for step in ((before, after), (after, after))]
        self._grain = [0] * (len(steps) - 2) + [settings.grain] * 2
        self.layers = nn.ModuleList(
            [Modulated(*step, settings.style, grain) for step, grain in zip(steps, self._grain, strict=True)]
        )
        self.last_scales = scales_of(settings.style, widths[-1])
        self.last = nn.Conv2d(widths[-1], bands.centre.shape[0], 3, padding=1)
        nn.init.normal_(self.last.weight, 0.0, _BEGINNING / math.sqrt(9 * widths[-1]))
        _zero_bias(self.last)
        self._at = [self._maps[0], *(shape for shape in self._maps[1:] for _ in range(2))]
        self.noise = settings.latent + 2 * settings.grain * math.prod(self._maps[-1])

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """See the class."""
        latent = self._latent(noise[:, : self._settings.latent], labels)
        # past the style: where things lie in an image must not fit through scales of channels
        x = functional.leaky_relu(self.start_norm(self.start(latent).view(len(latent), *self._first)), SLOPE)
        x = x.contiguous(memory_format=torch.channels_last)
        style = latent
        for dense in self.styles:
            style = _GAIN * functional.leaky_relu(dense(style), SLOPE)
        begins = self._settings.latent
        for number, (layer, (rows, columns)) in enumerate(zip(self.layers, self._at, strict=True)):
            if number % 2:  # the first at a finer map
                x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
                x = x[:, :, :rows, :columns]
            ends = begins + rows * columns * (grain := self._grain[number])
            x = layer(x, style, noise[:, begins:ends].reshape(len(x), rows, columns, grain).permute(0, 3, 1, 2))
            begins = ends
        x = x * self.last_scales(style)[:, :, None, None].to(x.dtype)
        return self.bands.write(self.last(x))

    def _latent(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """(n, latent) and labels to (n, length), the numbers of class and conditions beside those of the noise.

        Each part is brought to length 1 a number, as in Karras et al. 2019 (arXiv 1812.04948).
        """
        parts = [noise]
        if self.classes is not None and labels is not None:
            parts.append(self.classes(class_of(labels)))
        if self.conditions is not None and labels is not None:
            parts.append(self.conditions(conditions_of(labels)))
        return torch.cat([_unit(part) for part in parts], 1)


def _unit(values: Tensor) -> Tensor:
    """(n, k), each row with mean square 1."""
    return values * torch.rsqrt(values.square().mean(1, keepdim=True) + 1e-8)


class Discriminator(nn.Module):
    """Images and their labels to logits (n, 1 + places): the whole image first, then places of the second finest map.

    Attributes:
        strength: Weight of the penalty, which follows what is measured.
        sure: Running mean of how sure it is of its pairs.
        deviation: Running mean of a batch's spread, which stands for it in evaluation mode: there an image's logits do
            not depend on its neighbours.
    """

    strength: Tensor
    sure: Tensor
    deviation: Tensor

    def __init__(
        self, bands: Bands, classes: int, settings: NetworkSettings, loss: LossSettings, conditions: int = 0
    ) -> None:
        """For images of `bands`; 0 classes, 0 conditions: these are not looked at."""
        super().__init__()
        self.bands, self._classes = bands, classes
        maps = maps_of(bands.grid)
        widths = channels_of(len(maps), bands.levels, settings)[::-1]
        self.layers = nn.ModuleList([convolution(bands.count, widths[0]), convolution(widths[0], widths[0])])
        for before, after in itertools.pairwise(widths):
            self.layers += [convolution(before, after, stride=2), convolution(after, after)]
        # a logit for each class, of which the label takes its own: Miyato and Koyama 2018 (arXiv 1802.05637)
        self.places = nn.Conv2d(widths[1], max(1, classes), 1)
        self.joined = nn.Linear(widths[-1] * math.prod(maps[0]) + 1, settings.most)
        self.whole = nn.Linear(settings.most, max(1, classes))
        for layer in (self.places, self.joined):
            nn.init.kaiming_normal_(layer.weight, SLOPE)
            _zero_bias(layer)
        # what is asked for, projected on what is seen of the whole image: Miyato and Koyama 2018, equation 3
        self.conditions = linear(conditions, settings.most) if conditions else None
        self.register_buffer("strength", torch.tensor(loss.penalty))
        self.register_buffer("sure", torch.tensor(loss.sureness))
        self.register_buffer("deviation", torch.tensor(0.0))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """See the class."""
        return self.judge(self.bands.read(images), labels)

    def judge(self, bands: Tensor, labels: Tensor | None = None, parts: int = 1) -> Tensor:
        """The logits of bands as `Bands.read` gives them; `parts` of equal length may stand one after the other."""
        x = bands.contiguous(memory_format=torch.channels_last)
        places, spread = x, x
        for number, layer in enumerate(self.layers):
            if number == len(self.layers) - 1:
                spread = self._spread(x, parts)
            if number and number % 2 == 0:
                x = even(x)
            x = functional.leaky_relu(layer(x), SLOPE)
            if number == 3:
                places = self.places(x).flatten(2)
        joined = torch.cat([x.flatten(1), spread.to(x.dtype)], 1)
        seen = functional.leaky_relu(self.joined(joined), SLOPE)
        whole = self.whole(seen)
        if self.conditions is not None and labels is not None:
            whole = whole + (seen * self.conditions(conditions_of(labels))).mean(1, keepdim=True)
        logits = torch.cat([whole[:, :, None], places], 2).float()
        if self._classes and labels is not None:
            return logits[torch.arange(len(logits), device=labels.device), class_of(labels)]
        return logits[:, 0]

    def _spread(self, x: Tensor, parts: int) -> Tensor:
        """(n, 1): mean standard deviation over groups of images, Karras et al. 2018 (arXiv 1710.10196), section 3."""
        if not self.training:
            return self.deviation.expand(len(x), 1)
        share = len(x) // parts
        size = next(size for size in range(_GROUP, 0, -1) if share * ranks.count() % size == 0)
        lies_apart = share % size > 0  # groups of images on several ranks
        groups = (ranks.whole(x.float(), parts) if lies_apart else x.float()).reshape(-1, size, x[0].numel())
        found = (groups.var(1, correction=0) + 1e-8).sqrt().mean(1)
        with torch.no_grad():
            self.deviation.lerp_(ranks.mean(found.mean()), _MEMORY)
        spread = found.repeat_interleave(size)[:, None]
        return ranks.own(spread, parts) if lies_apart else spread


def _zero_bias(layer: nn.Conv2d | nn.Linear) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def even(x: Tensor) -> Tensor:
    """Maps with even sides: a last row or column of zeros where one is odd, so that half a side is rounded up."""
    odd = (0, x.shape[3] % 2, 0, x.shape[2] % 2)
    return functional.pad(x, odd) if any(odd) else x


def convolution(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    """4 x 4 where maps are halved: else every second place counts twice (Odena et al., doi 10.23915/distill.00003)."""
    layer = nn.Conv2d(before, after, 3 if stride == 1 else 4, stride, 1)
    nn.init.kaiming_normal_(layer.weight, SLOPE)
    _zero_bias(layer)
    return layer


def round_of_steps(
    state: TrainingState, batch: Batch, settings: LossSettings, recipe: Recipe, device: Device
) -> Tensor:
    """Updates both networks once; see `Family.step`."""
    discriminator, count = state.discriminator, batch.count
    assert isinstance(discriminator, Discriminator)  # built by this family
    rate = recipe.optimiser.learning_rate * rate_at(batch.seen, batch.total, count)
    for optimiser, times in ((state.generator_optimiser, 1.0), (state.discriminator_optimiser, settings.rate)):
        for group in optimiser.param_groups:
            group["lr"] = rate * times

    with device.autocast():
        fakes = state.generator(batch.noise, batch.labels)
    bands = discriminator.bands.read(torch.cat([batch.real, fakes.detach()]))
    labels = torch.cat([batch.labels, batch.labels])

    def logits_of(points: Tensor) -> Tensor:
        with device.autocast():
            return discriminator.judge(points, labels, parts=2)

    real, fake = logits_of(bands).chunk(2)
    loss_d = pairing_loss(real, fake, settings.dense)
    pulled = loss_d
    if batch.seen // count % settings.penalty_every == 0:
        signs = ranks.own(torch.randint(0, 2, (2 * count, real.shape[1] - 1), generator=batch.random), parts=2)
        signs = signs.to(real) * 2.0 - 1.0
        # half gamma (R1 + R2), and the mean over reals and fakes is half of R1 + R2
        pulled = loss_d + discriminator.strength * settings.penalty_every * slope_penalty(
            logits_of, bands, signs, settings.dense
        )
    state.discriminator_optimiser.zero_grad()
    pulled.backward()  # type: ignore[no-untyped-call]  # torch's stub has no types here
    state.discriminator_optimiser.step()
    if batch.seen >= WARM_UP * count:  # until then nothing is sure, and nothing follows from it
        follow(discriminator, ranks.mean(sureness(real.detach(), fake.detach())), settings)

    with held(discriminator):  # its gradients would be thrown away
        with device.autocast():
            wanted = discriminator(fakes, batch.labels)
        loss_g = pairing_loss(wanted, real.detach(), settings.dense)
        state.generator_optimiser.zero_grad()
        loss_g.backward()  # type: ignore[no-untyped-call]  # torch's stub has no types here
        state.generator_optimiser.step()

    if state.average is not None:
        half_life = min(recipe.ema.half_life_images, 0.05 * batch.seen + count)  # short while all is young
        ema.update(state.average, state.generator, ema.decay_for(count, half_life))
    said = [real[:, 0].detach().sigmoid().mean(), fake[:, 0].detach().sigmoid().mean()]
    return torch.stack([loss_d.detach(), loss_g.detach(), *said])


@torch.no_grad()
def follow(discriminator: Discriminator, measured: Tensor, settings: LossSettings) -> None:
    """Raises the penalty while the discriminator is surer than it may be, and lets it fall again, to where it began.

    After the adaptive augmentation of Karras et al. 2020 (arXiv 2006.06676, section 3), with the penalty in its place.
    """
    discriminator.sure.lerp_(measured, _MEMORY)
    too_sure = ((discriminator.sure - settings.sureness) / 0.05).clamp(-1.0, 1.0)
    discriminator.strength.mul_(torch.exp(settings.follow * too_sure)).clamp_(
        settings.penalty, _MOST_TIMES * settings.penalty
    )
