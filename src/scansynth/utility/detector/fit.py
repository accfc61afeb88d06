"""Training of one detector: a fixed number of steps, the same in every arm, and its last averaged weights.

Nothing is chosen by looking: no early stopping, no best epoch. An arm with more images takes no more steps.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from scansynth.data.augment import AugmentationPlan, apply, draw
from scansynth.errors import TrainingError
from scansynth.learning import ema
from scansynth.learning.device import Device
from scansynth.seeds import derive_seed
from scansynth.utility.detector.heatmap import map_loss
from scansynth.utility.detector.material import Material, Phase, Places, dealt_batches, to_device, to_float
from scansynth.utility.detector.networks import build, place

_WEIGHT_DECAY = 0.05
_WARM_UP = 0.05  # share of the steps
_LONGEST_GRADIENT = 5.0
_HALF_LIFE = 1 / 8  # of the averaged weights, share of the steps
_POINTS = 25  # of the loss curve that is kept


@dataclass(frozen=True)
class FitSettings:
    """How every detector of a trial is trained.

    Attributes:
        network: A name of `networks.SIZES`.
        lesions: It finds lesions, not only images with one.
        steps: Optimiser steps.
        batch: Batch size, half of it positive.
        learning_rate: The largest one.
    """

    network: str
    lesions: bool
    steps: int
    batch: int
    learning_rate: float


@dataclass(frozen=True)
class Fitted:
    """A trained detector.

    Attributes:
        network: With its averaged weights, in evaluation mode, on the device.
        losses: Mean loss over each part of the steps, in order.
        seconds: By the clock.
        processor_seconds: Of this process.
    """

    network: nn.Module
    losses: tuple[float, ...]
    seconds: float
    processor_seconds: float

    @property
    def weights(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.network.parameters())


def rate_at(step: int, steps: int, largest: float) -> float:
    """Learning rate of a step: a linear rise, then half a cosine to 0 (Loshchilov and Hutter, ICLR 2017, eq. 5)."""
    rise = max(1, round(_WARM_UP * steps))
    if step < rise:
        return largest * (step + 1) / rise
    return largest * 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def fit(
    material: Material,
    phases: tuple[Phase, ...],
    settings: FitSettings,
    plan: AugmentationPlan,
    seed: int,
    device: Device,
) -> Fitted:
    """Trains one detector.

    On one thread of one kind of CPU, equal inputs give equal weights.

    Args:
        material: The images.
        phases: Which of them, in which part of the training; their shares add up to 1.
        settings: How.
        plan: What augmentation may do.
        seed: Of the weights, the order and the augmentation.
        device: Where.

    Raises:
        TrainingError: The loss became NaN or infinite.
    """
    began, began_processor = time.monotonic(), time.process_time()
    side = material.images.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights"))
        network: nn.Module = build(settings.network, side, settings.lesions)
    place(network, device)
    average = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=_WEIGHT_DECAY)
    feed = _Feed(material, plan, seed, device)
    losses: list[Tensor] = []
    for step, (dealt, augmented) in enumerate(_schedule(phases, settings, seed)):
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, settings.steps, settings.learning_rate)
        loss = _loss(network, feed, dealt, step if augmented else None, device)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), _LONGEST_GRADIENT)
        optimiser.step()
        lasting = 0.5 ** (1.0 / (_HALF_LIFE * settings.steps))
        ema.update(average, network, min(lasting, (1.0 + step) / (10.0 + step)))
        losses.append(loss.detach())
    curve = torch.stack(losses).double().cpu().numpy()
    if not np.isfinite(curve).all():
        raise TrainingError("the detector's loss became NaN or infinite; set utility.learning_rate lower and run again")
    parts = np.array_split(curve, min(_POINTS, len(curve)))
    seconds = (time.monotonic() - began, time.process_time() - began_processor)
    return Fitted(average.eval().requires_grad_(False), tuple(float(part.mean()) for part in parts), *seconds)


def _schedule(phases: tuple[Phase, ...], settings: FitSettings, seed: int) -> list[tuple[Places, bool]]:
    """Places of each step's images, and whether they are augmented."""
    ends = [round(settings.steps * share) for share in np.cumsum([phase.share for phase in phases])]
    steps = np.diff([0, *ends[:-1], settings.steps]).tolist()
    return [
        (places, phase.augmented)
        for number, (phase, count) in enumerate(zip(phases, steps, strict=True))
        for places in dealt_batches(phase, count, settings.batch, derive_seed(seed, "phase", number))
    ]


class _Feed:
    """Batches on the device."""

    def __init__(self, material: Material, plan: AugmentationPlan, seed: int, device: Device) -> None:
        self._images = to_device(material.images, device)
        self._targets = None if material.targets is None else torch.from_numpy(material.targets).to(self._images.device)
        known = np.ones(len(material.images), np.bool_) if material.known is None else material.known
        self._known = torch.from_numpy(known).to(self._images.device)
        self._plan, self._seed, self._device = plan, seed, device

    def batch(self, places: Places, step: int | None) -> tuple[Tensor, Tensor | None, Tensor]:
        """Images (n, 1, side, side), maps (n, h, w) and which maps are known; augmented when there is a step."""
        rows = torch.from_numpy(places).to(self._images.device)
        images = to_float(self._images[rows], self._device)
        targets = None if self._targets is None else self._targets[rows].float()[:, None] / 255.0
        if step is not None and not self._plan.nothing:
            random = torch.Generator().manual_seed(derive_seed(self._seed, "augmentation", step))
            drawn = draw(self._plan, len(places), random)
            images = apply(images, drawn).contiguous(memory_format=self._device.memory_format)
            targets = None if targets is None else apply(targets, drawn)
        return images, None if targets is None else targets[:, 0], self._known[rows]


def _loss(network: nn.Module, feed: _Feed, places: Places, step: int | None, device: Device) -> Tensor:
    """Cross-entropy of the image's logit, and where there are maps, their loss."""
    images, targets, known = feed.batch(places, step)
    with device.autocast():
        logits, places_drawn = network(images)
    labels = torch.zeros(len(images), device=images.device)
    labels[: len(images) // 2] = 1.0
    loss = functional.binary_cross_entropy_with_logits(logits.float(), labels)
    if targets is not None and places_drawn is not None:
        loss = loss + map_loss(places_drawn.float(), targets, known)
    return loss
