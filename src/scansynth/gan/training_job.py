"""One training of one generator: what it learns from, how, and where it writes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.config import TrackingSettings
from scansynth.data import augment
from scansynth.files import sha256_bytes, sha256_json
from scansynth.gan.asked.conditions import Conditions
from scansynth.gan.models.family import Form
from scansynth.gan.origin.start_from import Origin
from scansynth.gan.watching import choice
from scansynth.gan.watching.collapse import RealImages
from scansynth.recipe import Recipe


@dataclass(frozen=True)
class TrainingJob:
    """One training of one generator.

    Attributes:
        folder: The run's folder.
        images: Real images of the train role, uint16 (n, channels, rows, columns), 0..65535 for -1..1; the last
            channel is the lesion mask where the recipe's family wants it.
        labels: Of each, see `gan.asked.labels`: int64 (n,), or float32 (n, 1 + k) where there are conditions.
        patients: Of how many patients the images are.
        form: What the networks are built for.
        watched: Real images that the variety is compared with.
        chosen_on: Real images that the state to draw from is chosen on; none: the last one is taken.
        recipe: Networks, losses, schedule.
        plan: What augmentation does.
        seed: The study's seed.
        inputs: Digest of the cohort; a checkpoint of another one is refused.
        tracking: Which trackers, and whether real images may go there.
        wandb_mode: `offline`, `online` or `disabled`.
        checkpoint_minutes: Longest time between two checkpoints.
        keep: Healthy checkpoints that stay.
        conditions: What images can be asked for besides their class; none: nothing.
        origin: Weights to start from; none: chance.
        looked_at: Labels of the images that are looked at while it trains; none: those of the training.
        pause_at: Real images at which it pauses, saved and looked at; 0: nowhere.
    """

    folder: Path
    images: NDArray[np.uint16]
    labels: NDArray[Any]
    patients: int
    form: Form
    watched: RealImages
    chosen_on: choice.TuneImages | None
    recipe: Recipe
    plan: augment.AugmentationPlan
    seed: int
    inputs: str
    tracking: TrackingSettings
    wandb_mode: str
    checkpoint_minutes: float
    keep: int
    conditions: Conditions | None = None
    origin: Origin | None = None
    looked_at: NDArray[Any] | None = None
    pause_at: int = 0

    @property
    def batch(self) -> int:
        """Images in a step: the recipe's, or all there are."""
        return min(self.recipe.schedule.batch, len(self.images))

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the images."""
        return len(self.images) // self.batch

    @property
    def total(self) -> int:
        """Real images until the end."""
        return self.recipe.schedule.epochs * self.steps_per_epoch * self.batch

    @property
    def until(self) -> int:
        """Real images to which it trains now."""
        return min(self.total, self.pause_at or self.total)

    @property
    def checkpoints(self) -> Path:
        """Where its checkpoints lie."""
        return self.folder / "checkpoints"

    @functools.cached_property
    def identity(self) -> str:
        """Digest of all that decides about the result; of the images too, so that other classes are another run."""
        began = {} if self.origin is None else {"origin": self.origin.digest}
        return sha256_json(
            {
                **began,
                "recipe": self.recipe.model_dump(mode="json"),
                "seed": self.seed,
                "inputs": self.inputs,
                "images": sha256_bytes(np.ascontiguousarray(self.images).tobytes()),
                "labels": sha256_bytes(self.labels.tobytes()),
                "augmentation": self.plan.applied,
            }
        )
