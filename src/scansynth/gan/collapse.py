"""Is the generator still varied? One figure, watched while it trains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scansynth.gan.sampling import images_of
from scansynth.metrics.diversity import distances, pair_distance
from scansynth.metrics.features import MONITOR_SEED, RandomEncoder, Scale, fit_scale, random_encoder

SAMPLES = 64


@dataclass(frozen=True)
class DiversityMonitor:
    """What the generator's variety is held against.

    Attributes:
        encoder: Features that no judge uses.
        scale: Of those features over the real images.
        noise: (64, length, 1, 1), the same at every look.
        real_distance: Median distance between two real images.
    """

    encoder: RandomEncoder
    scale: Scale
    noise: Tensor
    real_distance: float


def new_monitor(real: NDArray[np.float32], noise: Tensor) -> DiversityMonitor:
    """A monitor that knows how far real images lie apart.

    Args:
        real: (n, side, side) in [-1, 1]. Several images of one patient lie close and lower the distance a little,
            so the figure is for watching, not for judging.
        noise: (64, length, 1, 1).
    """
    encoder = random_encoder(seed=MONITOR_SEED)
    features = encoder(real)
    scale = fit_scale(features)
    return DiversityMonitor(encoder, scale, noise, pair_distance(distances(scale(features))))


def diversity(monitor: DiversityMonitor, generator: nn.Module) -> float:
    """Median distance between two generated images, over that between two real ones.

    Near 1 for a generator as varied as the reals, near 0 when different noise gives the same image.
    """
    with torch.no_grad():
        images = images_of(generator, monitor.noise)[:, 0].cpu().numpy()
    found = pair_distance(distances(monitor.scale(monitor.encoder(images))))
    return found / max(monitor.real_distance, 1e-12)
