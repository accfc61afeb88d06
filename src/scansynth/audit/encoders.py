"""The judges: feature encoders, none of which a generator was trained or stopped on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scansynth.errors import EvidenceError
from scansynth.learning.device import pick_device
from scansynth.metrics.contrastive import LEAST_IMAGES, learned_encoder
from scansynth.metrics.features import JUDGE_SEED, fit_scale, random_encoder
from scansynth.metrics.onnx_features import load_onnx

Images = NDArray[np.float32]
Floats = NDArray[np.float64]
Encoder = Callable[[Images], Floats]

FIXED = "fixed filters"
LEARNED = "learned encoder"
OWN = "own network"


@dataclass(frozen=True)
class Judge:
    """One feature encoder.

    Attributes:
        name: As claims and the report call it.
        encode: Images (n, side, side) in [-1, 1] to features (n, d) at scale: whitened on the train role, within
            -2 and 2, leading components first.
    """

    name: str
    encode: Encoder


@dataclass(frozen=True)
class Encoders:
    """All judges of a study.

    Attributes:
        judges: The first is the one whose figures the report shows first.
        embed: Images to unit vectors (n, e) that hardly change when an image is shifted, rotated, mirrored or
        blurred: for the copy search, never for realism. None if too few images were there to train it.
        lacking: Which judge is missing and why, in a sentence; empty where none is.
    """

    judges: tuple[Judge, ...]
    embed: Encoder | None
    lacking: str = ""


_FEW = f"Only the {FIXED} judged: {{}} training images are too few to train an encoder; {LEAST_IMAGES} are needed."


def make_encoders(train: Images, cache: Path | None = None, onnx: Path | None = None) -> Encoders:
    """The judges of a study.

    Args:
        train: Images of the role train, with the labels of the set (n, side, side).
        cache: Folder in which a learned encoder is cached by the hash of its training data; None: no cache.
        onnx: The user's own network.

    Raises:
        EvidenceError: The user's own network cannot be used.
        StorageError: The cache cannot be written.
    """
    encoders: dict[str, Encoder] = {FIXED: random_encoder(JUDGE_SEED)}
    learned = learned_encoder(train, cache, str(pick_device().torch_device)) if len(train) >= LEAST_IMAGES else None
    if learned:
        encoders[LEARNED] = learned.features
    if onnx:
        encoders[OWN] = load_onnx(onnx)
    judges = tuple(_judge(name, encode, train) for name, encode in encoders.items())
    return Encoders(judges, learned.embed if learned else None, "" if learned else _FEW.format(len(train)))


def _judge(name: str, encode: Encoder, train: Images) -> Judge:
    """A judge whose features are at scale."""
    try:
        scale = fit_scale(encode(train))
    except ValueError as fault:
        if name == OWN:
            raise EvidenceError(
                "evidence.encoder gives the same features for every image; choose another network"
            ) from fault
        raise
    return Judge(name, lambda images: scale(encode(images)))
