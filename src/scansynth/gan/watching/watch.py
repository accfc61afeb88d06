"""What a training is watched with: its monitor, and what the state to draw from is chosen with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from scansynth.errors import TrainingError
from scansynth.gan.models.families import family_of
from scansynth.gan.sampling import Latent, noise_of
from scansynth.gan.start import shapes_of
from scansynth.gan.training_job import TrainingJob
from scansynth.gan.watching import choice
from scansynth.gan.watching.collapse import SAMPLES, STEPPED, CollapseMonitor, new_monitor
from scansynth.learning.device import Device
from scansynth.seeds import generator


@dataclass(frozen=True)
class Watch:
    """What looks at the generator now and then.

    Attributes:
        monitor: Its variety.
        chooser: How good it is; none where the recipe or the cohort has none.
    """

    monitor: CollapseMonitor
    chooser: choice.Chooser | None


def new_watch(job: TrainingJob, device: Device) -> Watch:
    """What looks at the training `job`.

    Raises:
        TrainingError: The real images cannot tell how varied images are.
    """
    return Watch(_monitor(job, device), _chooser(job, device))


def _labels(job: TrainingJob, purpose: str, count: int) -> Tensor:
    """So many labels of train images, or of what is looked at in their place, in an order that the seed decides."""
    known = job.labels if job.looked_at is None else job.looked_at
    order = generator(job.seed, purpose).permutation(len(known))
    return torch.from_numpy(known[np.resize(order, count)])


def _monitor(job: TrainingJob, device: Device) -> CollapseMonitor:
    """A monitor with noise of its own, from negative numbers: no image of a set is. Classes as in the training."""
    length = shapes_of(family_of(job.recipe), job.form).noise
    drawn = torch.stack([noise_of(job.seed, -1 - index, length) for index in range(SAMPLES + STEPPED)])
    labels = _labels(job, "looked at", SAMPLES)
    if job.conditions is not None:
        labels[::2, 1:] = 0.0  # half of the images as they are drawn when nothing is asked
    latent = Latent(drawn[:SAMPLES], labels).to(device.torch_device)
    try:
        heeded = family_of(job.recipe).labelled
        watched = job.watched if heeded else replace(job.watched, labels=())
        return new_monitor(watched, latent, drawn[SAMPLES:].to(device.torch_device), job.seed)
    except ValueError as fault:
        raise TrainingError(
            f"{fault}; look at the pixels of the scans, and at cohort.hu_window or percentiles"
        ) from None


def _chooser(job: TrainingJob, device: Device) -> choice.Chooser | None:
    """What the state to draw from is chosen with; none where the recipe or the cohort has none.

    Its noise is of negative numbers beyond those of the monitor.
    """
    if job.chosen_on is None or not job.recipe.choice.on:
        return None
    length, first = shapes_of(family_of(job.recipe), job.form).noise, SAMPLES + STEPPED + 1
    drawn = torch.stack([noise_of(job.seed, -first - index, length) for index in range(choice.MADE)])
    labels = _labels(job, "chosen on", choice.MADE)
    if job.conditions is not None:
        labels[:, 1:] = 0.0
    return choice.new_chooser(job.chosen_on, Latent(drawn, labels).to(device.torch_device), job.seed)
