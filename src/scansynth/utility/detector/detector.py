"""A detector at rest and at work: weights as safetensors, facts as JSON, and scores of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor, nn

from scansynth.errors import CheckpointError
from scansynth.files import read_json, sha256_bytes, write_bytes, write_json
from scansynth.learning.checkpoint import read_weights, weights_bytes
from scansynth.learning.device import Device
from scansynth.utility.detector.heatmap import Candidate, find_peaks
from scansynth.utility.detector.material import to_device, to_float
from scansynth.utility.detector.networks import LesionDetector, build, place
from scansynth.utility.statistics.resampling import once, rank

WEIGHTS, FACTS = "detector.safetensors", "detector.json"

_PIXELS = 1 << 21  # scored at a time

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DetectorFacts:
    """What a detector is, and what it was made for.

    Attributes:
        network: A name of `networks.SIZES`.
        lesions: It finds lesions, not only images with one.
        shape: Rows and columns of the images, pixels.
        modality: Of the images it learned from.
        spacing: Between rows, and between columns, mm; median of the images it learned from.
        low: Source value that stands for -1; median.
        high: Source value that stands for +1; median.
        arm: How it was trained.
        temperature: By which its logits are divided to become calibrated.
        threshold: An image is called positive from this score on; calibrate images without a lesion set it.
        false_alarm_rate: The chosen rate.
        weights_sha256: SHA-256 of the weight file.
    """

    network: str
    lesions: bool
    shape: tuple[int, int]
    modality: str
    spacing: tuple[float, float]
    low: float
    high: float
    arm: str
    temperature: float
    threshold: float
    false_alarm_rate: float
    weights_sha256: str = ""


@dataclass(frozen=True)
class Scored:
    """What a detector says of n images.

    Attributes:
        logits: (n,).
        candidates: Places that may be a lesion, highest first, for each image; none where only images are judged.
    """

    logits: Floats
    candidates: tuple[tuple[Candidate, ...], ...] | None

    @property
    def scores(self) -> Floats:
        """Uncalibrated probabilities, (n,)."""
        scores: Floats = expit(self.logits)
        return scores


def score_images(network: nn.Module, images: NDArray[np.uint16], device: Device) -> Scored:
    """Scores of images, in float32 on every device: rounding to bfloat16 would tie many scores.

    Args:
        network: A detector in evaluation mode, on the device.
        images: uint16 (n, side, side).
        device: Where it is.
    """
    logits, candidates = [np.zeros(0)], list[tuple[Candidate, ...]]()
    for values, places in _batches(network, images, device):
        logits.append(values.double().cpu().numpy())
        if places is not None:
            candidates += find_peaks(places, _factor(network))
    return Scored(np.concatenate(logits), tuple(candidates) if isinstance(network, LesionDetector) else None)


def draw_maps(network: nn.Module, images: NDArray[np.uint16], device: Device) -> NDArray[np.float32]:
    """Maps of a lesion detector, in (0, 1), (n, side, side): each pixel of the map is repeated."""
    maps = [np.zeros((0, *images.shape[1:]), np.float32)]
    factor = _factor(network)
    for _, places in _batches(network, images, device):
        if places is None:
            raise ValueError("this detector judges images and draws no map")
        drawn = torch.sigmoid(places).cpu().numpy().repeat(factor, axis=1).repeat(factor, axis=2)
        short = [side - have for side, have in zip(images.shape[1:], drawn.shape[1:], strict=True)]
        maps.append(np.pad(drawn, ((0, 0), (0, short[0]), (0, short[1])), mode="edge"))
    return np.concatenate(maps)


def _factor(network: nn.Module) -> int:
    return int(getattr(network, "factor", 1))


def _batches(network: nn.Module, images: NDArray[np.uint16], device: Device) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Logits of images and places, batch after batch."""
    count = max(1, _PIXELS // int(np.prod(images.shape[1:])))
    with torch.inference_mode():
        for start in range(0, len(images), count):
            logits, places = network(to_float(to_device(images[start : start + count], device), device))
            yield logits.float(), places


def threshold_at(negatives: Floats, rate: float) -> float:
    """The smallest score that at most `rate` of the negatives reach: as the trial's statistics set it.

    Args:
        negatives: Scores of calibrate images without a lesion, at least one.
        rate: Share of them that may be called positive.
    """
    return float(rank(negatives, once(len(negatives))).thresholds(rate)[0])


def save_detector(folder: Path, network: nn.Module, facts: DetectorFacts) -> DetectorFacts:
    """Writes weights and facts; returns the facts with the weights' hash."""
    data = weights_bytes(network.state_dict())
    full = DetectorFacts(**{**asdict(facts), "weights_sha256": sha256_bytes(data)})
    write_bytes(folder / WEIGHTS, data)
    write_json(folder / FACTS, asdict(full))
    return full


def load_detector(folder: Path, device: Device) -> tuple[nn.Module, DetectorFacts]:
    """The detector of a job, in evaluation mode, on the device.

    Raises:
        CheckpointError: Weights or facts are missing, damaged, altered, or do not fit together.
    """
    advice = f"remove the folder {folder.name} and run utility again"
    try:
        values: Mapping[str, Any] = read_json(folder / FACTS)
        data = (folder / WEIGHTS).read_bytes()
        facts = DetectorFacts(**{**values, "spacing": tuple(values["spacing"]), "shape": tuple(values["shape"])})
        with torch.random.fork_rng(devices=[]):
            network = build(facts.network, max(facts.shape), facts.lesions)
    except FileNotFoundError:
        raise CheckpointError(f"there is no detector {folder.name}; run: scansynth utility STUDY") from None
    except (ValueError, KeyError, TypeError) as fault:
        raise CheckpointError(f"{FACTS} of the detector {folder.name} is damaged; {advice}") from fault
    if sha256_bytes(data) != facts.weights_sha256:
        raise CheckpointError(f"{WEIGHTS} of the detector {folder.name} was altered: its hash does not match; {advice}")
    try:
        network.load_state_dict(read_weights(data, WEIGHTS))
    except RuntimeError as fault:
        raise CheckpointError(f"{WEIGHTS} of the detector {folder.name} does not fit its {FACTS}; {advice}") from fault
    place(network, device)
    return network.eval().requires_grad_(False), facts
