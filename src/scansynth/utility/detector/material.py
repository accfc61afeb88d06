"""What a detector learns from: images in memory once, and lists of places in them.

An arm is lists of places: a duplicate is a place named twice, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scansynth.data.deck import Deck
from scansynth.learning.device import Device

Places = NDArray[np.int64]

_HALF = 32768  # a torch on a GPU has no indexing of uint16: values are kept as int16, moved by this


@dataclass(frozen=True)
class Material:
    """Images and what is known of their lesions.

    Attributes:
        images: uint16 (n, side, side), 0 is -1 and 65535 is 1.
        targets: Maps of the lesions, uint8 (n, h, w), 255 is 1; none where only images are judged.
        known: (n,) whether an image's map is known: its lesions are outlined, or it has none.
    """

    images: NDArray[np.uint16]
    targets: NDArray[np.uint8] | None = None
    known: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Phase:
    """A part of a training.

    Attributes:
        share: Of the optimiser's steps.
        positives: Places of the images shown as positive; one named twice is seen twice as often.
        negatives: The same of the negative ones.
        augmented: Flips and slight rotations, as permitted.
    """

    share: float
    positives: Places
    negatives: Places
    augmented: bool


def dealt_batches(phase: Phase, steps: int, batch: int, seed: int) -> Sequence[Places]:
    """Places of each step's images, (batch,) each: the first half positive, the second negative."""
    half = batch // 2
    decks = (Deck(phase.positives, seed, "positive"), Deck(phase.negatives, seed, "negative"))
    return [np.concatenate([deck.deal(half) for deck in decks]) for _ in range(steps)]


def to_device(images: NDArray[np.uint16], device: Device) -> Tensor:
    """Images as int16 (n, side, side) on the device, half the size of float32; see `to_float`."""
    moved = (images ^ np.uint16(_HALF)).view(np.int16)  # the highest bit turned: the value less 32768
    return torch.from_numpy(moved).to(device.torch_device)


def to_float(stored: Tensor, device: Device) -> Tensor:
    """int16 (n, side, side) of `to_device` as float32 (n, 1, side, side) in [-1, 1]."""
    x = (stored.float() + 0.5) / (_HALF - 0.5)
    return x[:, None].contiguous(memory_format=device.memory_format)
