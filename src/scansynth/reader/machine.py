"""The machine reader: a network trained on half of the images, which reads the other half.

It is an upper reference, not a reader: it saw the truth of half the images, which no person did. It is always called
a machine and enters no figure of the readers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.data.permission import permission
from scansynth.data.tensors import CohortFacts, to_signed
from scansynth.metrics.c2st import NETWORK_FOLDS, by_network
from scansynth.statistics import Interval

Stored = NDArray[np.uint16]

NAME = "machine reader (a neural network, not a person)"


@dataclass(frozen=True)
class MachineReading:
    """The machine's result on the readers' images.

    Attributes:
        auc: For telling synthetic from real images that it did not learn from; the mean of both halves.
        interval: Of `auc`, over images (DeLong et al. 1988), with the networks as they were trained.
        level: Of the interval.
        learned: Share of the networks that came to know the images that they learned from.
        images: How many it read, of both kinds.
    """

    auc: float
    interval: Interval
    level: float
    learned: float
    images: int

    def as_json(self) -> dict[str, Any]:
        """As `machine.json` holds it."""
        return {
            "reader": NAME,
            "auc": self.auc,
            "interval": [self.interval.low, self.interval.high],
            "level": self.level,
            "learned": self.learned,
            "images": self.images,
            "folds": NETWORK_FOLDS,
        }


def read_by_machine(
    real: Stored, synthetic: Stored, facts: CohortFacts, level: float, rng: np.random.Generator
) -> MachineReading:
    """Lets the network of the claim `fidelity.c2st_pixels` read the very buffers that people read.

    Args:
        real: Buffers of real images, one of each patient, uint16 (n, side, side), n >= 4, sides of 16 at least.
        synthetic: Of synthetic images, uint16 (m, side, side).
        facts: Of the cohort; they say along which axes an image may be mirrored in training.
        level: Of the interval.
        rng: Draws halves, first weights and batches.
    """
    axes = permission(facts.modality, facts.view).axes
    trial = by_network(to_signed(real), to_signed(synthetic), axes, rng)
    half = float(stats.norm.ppf(0.5 + level / 2.0)) * math.sqrt(trial.variance)
    interval = Interval(max(trial.auc - half, 0.0), min(trial.auc + half, 1.0))
    return MachineReading(trial.auc, interval, level, trial.learned, len(real) + len(synthetic))
