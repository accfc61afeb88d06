"""The training loop, top to bottom.

Data, networks, resume, then rounds, and after each what is due. Progress counts real images. Every random
draw derives from the seed and the step's number, so a continued run draws what the uninterrupted one would
have drawn.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scansynth.cohort.tensors import to_signed
from scansynth.config import TrackingSettings
from scansynth.errors import Interrupted, TrainingError
from scansynth.files import append_json_line, read_json_lines, sha256_bytes, sha256_json, write_bytes, write_json_lines
from scansynth.gan import augment
from scansynth.gan.collapse import SAMPLES, diversity, new_monitor
from scansynth.gan.dcgan import noise
from scansynth.gan.grid import columns_for, grid, png
from scansynth.gan.sampling import images_of, noise_of
from scansynth.gan.state import FIGURES, TrainingState, finite, new_state, restore, to_checkpoint
from scansynth.gan.step import round_of_steps
from scansynth.learning import checkpoint
from scansynth.learning.device import Device
from scansynth.learning.interruption import interruption
from scansynth.learning.tracking import Tracker, open_trackers
from scansynth.progress import Progress
from scansynth.recipe import Recipe
from scansynth.seeds import derive_seed, generator

_LOOK_EVERY = 16
"""Rounds between two looks at whether the losses are still numbers: a look waits for the device."""


@dataclass(frozen=True)
class TrainingJob:
    """One training of one generator.

    Attributes:
        folder: The run's folder.
        images: Real images of the train role, uint16 (n, side, side), 0..65535 for -1..1.
        reference: Real images in [-1, 1], (m, side, side), that the diversity is held against.
        recipe: Networks, losses, schedule.
        plan: What augmentation does.
        seed: The study's seed.
        inputs: Digest of the cohort; a checkpoint of another one is refused.
        tracking: Which trackers, and whether real images may go there.
        wandb_mode: `offline`, `online` or `disabled`.
        checkpoint_minutes: Longest time between two checkpoints.
        keep: Checkpoints that stay.
    """

    folder: Path
    images: NDArray[np.uint16]
    reference: NDArray[np.float32]
    recipe: Recipe
    plan: augment.AugmentationPlan
    seed: int
    inputs: str
    tracking: TrackingSettings
    wandb_mode: str
    checkpoint_minutes: float
    keep: int

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

    @functools.cached_property
    def identity(self) -> str:
        """Digest of all that decides about the result; of the images too, so that other classes are another run."""
        return sha256_json(
            {
                "recipe": self.recipe.model_dump(mode="json"),
                "seed": self.seed,
                "inputs": self.inputs,
                "images": sha256_bytes(np.ascontiguousarray(self.images).tobytes()),
                "augmentation": self.plan.applied,
            }
        )


def train(job: TrainingJob, device: Device, progress: Progress, warn: Callable[[str], None]) -> TrainingState:
    """Trains until the schedule's end, from the newest checkpoint where there is one.

    Raises:
        Interrupted: Somebody asked to stop; the state is saved.
        TrainingError: The losses left the numbers.
        CheckpointError: There are checkpoints, and none can be used.
        StorageError: The disk is full; the last checkpoint is intact.
    """
    recipe, batch, schedule = job.recipe, job.batch, job.recipe.schedule

    # Data: the whole cohort on the device, 2 bytes a pixel; nothing is decoded in the loop.
    data = torch.from_numpy((job.images.astype(np.int32) - 32768).astype(np.int16)).to(device.torch_device)

    # Networks, and where an earlier session left them.
    state = new_state(recipe, job.images.shape[1], job.seed, device)
    checkpoints = job.folder / "checkpoints"
    found = checkpoint.load_newest(checkpoints, job.identity, warn)
    if found is not None:
        restore(state, found)
    _cut_log(job.folder / "log.jsonl", state.images)

    # What watches.
    fixed = torch.stack([noise_of(job.seed, -1 - index, recipe.network.noise) for index in range(SAMPLES)])
    monitor = new_monitor(job.reference, fixed.to(device.torch_device))
    run_config = recipe.model_dump(mode="json")
    watching = open_trackers(job.tracking, job.folder, run_config, state.images, job.wandb_mode)

    # Rounds.
    order, order_epoch, note = torch.empty(0), -1, ""
    with watching as trackers, interruption() as stop_asked:
        _show_real(job, trackers)
        clock = logged_at = saved_at = time.monotonic()
        logged = state.images
        while state.images < job.total:
            step = state.images // batch
            epoch, place = divmod(step, job.steps_per_epoch)
            if epoch != order_epoch:
                shuffle = torch.Generator().manual_seed(derive_seed(job.seed, "epoch", epoch))
                order, order_epoch = torch.randperm(len(data), generator=shuffle).to(device.torch_device), epoch
            random = torch.Generator().manual_seed(derive_seed(job.seed, "step", step))
            real = _signed(data[order[place * batch : (place + 1) * batch]])
            if not job.plan.nothing:
                real = augment.apply(real, augment.draw(job.plan, batch, random))
            latent = noise(batch, recipe.network.noise, random).to(device.torch_device)
            state.sums += round_of_steps(state, real, latent, random, recipe, device)

            # What is due.
            seen, state.images, state.rounds = state.images, state.images + batch, state.rounds + 1
            now, stop = time.monotonic(), stop_asked()
            state.seconds, clock = state.seconds + now - clock, now
            ended = state.images >= job.total
            logging = ended or _due(seen, state.images, schedule.log_every_images)
            saving = ended or stop or now - saved_at > 60.0 * job.checkpoint_minutes
            if (step % _LOOK_EVERY == 0 or logging or saving) and not finite(state):
                raise _no_numbers(state.images)
            if logging:
                figures = dict(zip(FIGURES, (state.sums / state.rounds).tolist(), strict=True))
                figures["diversity"] = diversity(monitor, state.sampler)
                figures["images_per_second"] = (state.images - logged) / (now - logged_at)
                note = _log(job, state, figures, trackers)
                state.sums.zero_()
                state.rounds, logged, logged_at = 0, state.images, time.monotonic()
            if ended or _due(seen, state.images, schedule.grid_every_images):
                _show_generated(job, state, monitor.noise, trackers)
            if saving:
                checkpoint.save(checkpoints, to_checkpoint(state), job.identity, job.keep)
                saved_at = time.monotonic()
            progress(state.images, job.total, note)
            if stop and not ended:
                raise Interrupted(f"stopped at {state.images:,} of {job.total:,} images, saved; run again to go on")
    return state


def _signed(stored: Tensor) -> Tensor:
    """int16 (n, side, side), shifted by 32768 -> float32 (n, 1, side, side) in [-1, 1]."""
    return (stored.float() + 32768.0).mul_(2.0 / 65535.0).sub_(1.0).unsqueeze(1)


def _due(before: int, now: int, every: int) -> bool:
    """Whether a multiple of `every` lies in (before, now]."""
    return before // every != now // every


def _no_numbers(images: int) -> TrainingError:
    """Says that losses or weights are infinite or not numbers, and what to do."""
    return TrainingError(
        f"the losses are no longer finite numbers at {images:,} images; the last checkpoint is intact: "
        "set a lower optimiser.learning_rate under generator.overrides in study.toml and train anew"
    )


def _log(job: TrainingJob, state: TrainingState, figures: Mapping[str, float], trackers: list[Tracker]) -> str:
    """Writes one line of the log and one point of each curve; returns what stands behind the progress bar."""
    row = {
        "images": state.images,
        "epoch": round(state.images / (job.steps_per_epoch * job.batch), 3),
        "seconds": round(state.seconds, 2),
        **{name: round(value, 5) for name, value in figures.items()},
    }
    append_json_line(job.folder / "log.jsonl", row)
    for tracker in trackers:
        tracker.figures(state.images, figures)
    return (
        f"{row['images_per_second']:.0f} images/s  loss D {row['loss_d']:.2f} G {row['loss_g']:.2f}  "
        f"D(real) {row['d_real']:.2f} D(fake) {row['d_fake']:.2f}  diversity {row['diversity']:.2f}"
    )


def _show_real(job: TrainingJob, trackers: list[Tracker]) -> None:
    """Writes a grid of real images of the train role; the trackers get it only when the study says so."""
    columns = columns_for(job.images.shape[1])
    chosen = generator(job.seed, "real grid").permutation(len(job.images))[: columns * columns]
    picture = grid(to_signed(job.images[chosen]), columns)
    write_bytes(job.folder / "real.png", png(picture))
    if job.tracking.real_images:
        for tracker in trackers:
            tracker.picture(0, "real images", picture)


def _show_generated(job: TrainingJob, state: TrainingState, fixed: Tensor, trackers: list[Tracker]) -> None:
    """Writes the sample grid of the fixed noise and gives it to the trackers."""
    columns = columns_for(job.images.shape[1])
    images = images_of(state.sampler, fixed[: columns * columns])[:, 0].cpu().numpy()
    picture = grid(images, columns)
    write_bytes(job.folder / "grids" / f"{state.images:010d}.png", png(picture))
    for tracker in trackers:
        tracker.picture(state.images, "generated images", picture)


def _cut_log(path: Path, images: int) -> None:
    """Takes out lines that were written after the checkpoint from which the run goes on."""
    if path.exists():
        write_json_lines(path, [row for row in read_json_lines(path) if row["images"] <= images])
