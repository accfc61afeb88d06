"""The training loop, top to bottom.

Data, networks, resume, then rounds, and after each what is due. Progress counts real images. Every random
draw derives from the seed and the step's number, so a continued run draws what the uninterrupted one would
have drawn. A collapse ends an attempt: the next one goes on from a healthy checkpoint, with one thing changed.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scansynth.config import TrackingSettings
from scansynth.console import Progress
from scansynth.data import augment
from scansynth.errors import Interrupted, TrainingError
from scansynth.files import sha256_bytes, sha256_json
from scansynth.gan import choice, run_log, showing
from scansynth.gan.collapse import SAMPLES, STEPPED, CollapseMonitor, RealImages, look, new_monitor
from scansynth.gan.health import Level, judge
from scansynth.gan.models.families import family_of
from scansynth.gan.models.family import Batch, Form
from scansynth.gan.response import WORDS, next_change, recipe_after, with_change
from scansynth.gan.sampling import Latent, noise_of
from scansynth.gan.start import new_state, shapes_of
from scansynth.gan.state import FIGURES, TrainingState, changes_in, finite, restore, to_checkpoint
from scansynth.learning import checkpoint
from scansynth.learning.device import Device
from scansynth.learning.interruption import interruption
from scansynth.learning.tracking import open_trackers
from scansynth.recipe import Recipe
from scansynth.seeds import derive_seed, generator

_CHECK_EVERY = 16
"""Rounds between two checks that the losses are still numbers: a check waits for the device."""


@dataclass(frozen=True)
class TrainingJob:
    """One training of one generator.

    Attributes:
        folder: The run's folder.
        images: Real images of the train role, uint16 (n, channels, rows, columns), 0..65535 for -1..1; the last
            channel is the lesion mask where the recipe's family wants it.
        labels: int64 (n,), class of each.
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
    """

    folder: Path
    images: NDArray[np.uint16]
    labels: NDArray[np.int64]
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
    def checkpoints(self) -> Path:
        """Where its checkpoints lie."""
        return self.folder / "checkpoints"

    @functools.cached_property
    def identity(self) -> str:
        """Digest of all that decides about the result; of the images too, so that other classes are another run."""
        return sha256_json(
            {
                "recipe": self.recipe.model_dump(mode="json"),
                "seed": self.seed,
                "inputs": self.inputs,
                "images": sha256_bytes(np.ascontiguousarray(self.images).tobytes()),
                "labels": sha256_bytes(self.labels.tobytes()),
                "augmentation": self.plan.applied,
            }
        )


def train(job: TrainingJob, device: Device, progress: Progress, warn: Callable[[str], None]) -> TrainingState:
    """Trains until the schedule's end, from the newest checkpoint where there is one; or until it gets no better.

    Returns:
        The state at the end; or at a collapse after which nothing was left to change: see `collapsed_for_good`; or
        where it had not got better for long: see `gets_no_better`.

    Raises:
        Interrupted: A stop was requested; the state is saved.
        TrainingError: The losses became NaN or infinite.
        CheckpointError: There are checkpoints, and none can be used.
        StorageError: The disk is full; the last checkpoint is intact.
    """
    monitor, chooser = _new_monitor(job, device), _new_chooser(job, device)
    while True:
        state = train_attempt(job, monitor, chooser, device, progress, warn)
        if state is not None:
            return state


def collapsed_for_good(state: TrainingState, job: TrainingJob) -> bool:
    """Whether the training ended because it collapsed, and nothing was left to change."""
    if state.health.level is not Level.CRITICAL or not job.recipe.collapse.respond:
        return False
    return next_change(recipe_after(job.recipe, state.changes), state.changes) is None


def gets_no_better(state: TrainingState, job: TrainingJob) -> bool:
    """Whether the training ended because so many looks on tune patients found no better state."""
    return job.recipe.choice.on and state.looks_since_best >= job.recipe.choice.patience


def train_attempt(
    job: TrainingJob,
    monitor: CollapseMonitor,
    chooser: choice.Chooser | None,
    device: Device,
    progress: Progress,
    warn: Callable[[str], None],
) -> TrainingState | None:
    """One attempt: until the schedule's end, or until a collapse; none when another attempt is to follow.

    Raises:
        See `train`.
    """
    batch, schedule = job.batch, job.recipe.schedule

    # Data: the whole cohort on the device, 2 bytes a pixel; nothing is decoded in the loop.
    data = torch.from_numpy((job.images ^ np.uint16(0x8000)).view(np.int16)).to(device.torch_device)  # less 32768
    labels = torch.from_numpy(job.labels).to(device.torch_device)

    # Networks, and where an earlier session or attempt left them.
    found = checkpoint.load_newest(job.checkpoints, job.identity, warn)
    recipe = recipe_after(job.recipe, changes_in(found))
    family, length = family_of(recipe), monitor.latent.noise.shape[1]
    state = new_state(recipe, job.form, job.seed, device, job.images, job.patients)
    if found is not None:
        restore(state, found)
    run_log.cut(job.folder, state.attempt, state.images)

    # What watches.
    run_config = recipe.model_dump(mode="json")
    watching = open_trackers(job.tracking, job.folder, run_config, state.images, job.wandb_mode, state.attempt)

    # Rounds.
    order, order_epoch, note = torch.empty(0), -1, ""
    with watching as trackers, interruption() as stop_asked:
        show = showing.Show(job.folder, trackers, monitor.latent, warn)
        showing.real_images(show, job.images, job.seed, to_trackers=job.tracking.real_images)
        clock = logged_at = saved_at = time.monotonic()
        logged = state.images
        while state.images < job.total and not collapsed_for_good(state, job) and not gets_no_better(state, job):
            step = state.images // batch
            epoch, place = divmod(step, job.steps_per_epoch)
            if epoch != order_epoch:
                shuffle = torch.Generator().manual_seed(derive_seed(job.seed, "epoch", epoch))
                order, order_epoch = torch.randperm(len(data), generator=shuffle).to(device.torch_device), epoch
            random = torch.Generator().manual_seed(derive_seed(job.seed, "step", step))
            chosen = order[place * batch : (place + 1) * batch]
            real = _signed(data[chosen])
            if not job.plan.nothing:
                real = augment.apply(real, augment.draw(job.plan, batch, random))
            noise = torch.randn(batch, length, generator=random).to(device.torch_device)
            given = Batch(real, labels[chosen], noise, random, state.images, job.total)
            state.sums += family.step(state, given, recipe, device)

            # What is due.
            seen, state.images, state.rounds = state.images, state.images + batch, state.rounds + 1
            now, stop = time.monotonic(), stop_asked()
            state.seconds, clock = state.seconds + now - clock, now
            ended = state.images >= job.total
            point = ended or _due(seen, state.images, schedule.healthy_every_images)
            choosing = recipe.choice.on and (ended or _due(seen, state.images, recipe.choice.every_images))
            looking = point or choosing or _due(seen, state.images, schedule.log_every_images)
            saving = point or stop or now - saved_at > 60.0 * job.checkpoint_minutes
            if (step % _CHECK_EVERY == 0 or looking or saving) and not finite(state):
                raise _no_numbers(state.images)
            if looking:
                figures = dict(zip(FIGURES, (state.sums / state.rounds).tolist(), strict=True))
                figures["images_per_second"] = (state.images - logged) / (now - logged_at)
                before, figures = state.health, _look(job, state, monitor, figures)
                if choosing and chooser is not None:
                    figures |= _choose(state, chooser)
                    ended = ended or gets_no_better(state, job)
                note = showing.figures(show, state, figures, job.steps_per_epoch * batch)
                showing.alarm(show, state, before)
                state.sums.zero_()
                state.rounds, logged, logged_at = 0, state.images, time.monotonic()
                if state.health.level is Level.CRITICAL and recipe.collapse.respond:
                    begins_at = _go_back(job, state, recipe, device, warn)
                    if begins_at is not None and stop:
                        raise _stopped(begins_at, job.total)
                    if begins_at is not None:
                        return None
                    ended = saving = True
            if ended or _due(seen, state.images, schedule.grid_every_images):
                showing.generated_images(show, state)
            if saving or ended:
                kept = to_checkpoint(state, point=point)
                checkpoint.save(job.checkpoints, kept, job.identity, job.keep)
                saved_at = time.monotonic()
            progress(state.images, job.total, note)
            if stop and not ended:
                raise _stopped(state.images, job.total)
    return state


def _signed(stored: Tensor) -> Tensor:
    """int16 (n, channels, rows, columns), shifted by 32768 -> float32 in [-1, 1]."""
    return (stored.float() + 32768.0).mul_(2.0 / 65535.0).sub_(1.0)


def _due(before: int, now: int, every: int) -> bool:
    """Whether a multiple of `every` lies in (before, now]."""
    return before // every != now // every


def _stopped(images: int, total: int) -> Interrupted:
    return Interrupted(f"stopped at {images:,} of {total:,} images, saved; run again to go on")


def _no_numbers(images: int) -> TrainingError:
    """Says that losses or weights are infinite or not numbers, and what to do."""
    return TrainingError(
        f"the losses are no longer finite numbers at {images:,} images; the last checkpoint is intact: "
        "set a lower optimiser.learning_rate under generator.overrides in study.toml and train again"
    )


def _new_monitor(job: TrainingJob, device: Device) -> CollapseMonitor:
    """A monitor with noise of its own, from negative numbers: no image of a set is. Classes as in the training."""
    length = shapes_of(family_of(job.recipe), job.form).noise
    drawn = torch.stack([noise_of(job.seed, -1 - index, length) for index in range(SAMPLES + STEPPED)])
    labels = torch.from_numpy(np.resize(generator(job.seed, "looked at").permutation(job.labels), SAMPLES))
    latent = Latent(drawn[:SAMPLES], labels).to(device.torch_device)
    try:
        heeded = family_of(job.recipe).labelled
        watched = job.watched if heeded else replace(job.watched, labels=())
        return new_monitor(watched, latent, drawn[SAMPLES:].to(device.torch_device), job.seed)
    except ValueError as fault:
        raise TrainingError(
            f"{fault}; look at the pixels of the scans, and at cohort.hu_window or percentiles"
        ) from None


def _new_chooser(job: TrainingJob, device: Device) -> choice.Chooser | None:
    """What the state to draw from is chosen with; none where the recipe or the cohort has none.

    Its noise is of negative numbers beyond those of the monitor.
    """
    if job.chosen_on is None or not job.recipe.choice.on:
        return None
    length, first = shapes_of(family_of(job.recipe), job.form).noise, SAMPLES + STEPPED + 1
    drawn = torch.stack([noise_of(job.seed, -first - index, length) for index in range(choice.MADE)])
    labels = torch.from_numpy(np.resize(generator(job.seed, "chosen on").permutation(job.labels), choice.MADE))
    return choice.new_chooser(job.chosen_on, Latent(drawn, labels).to(device.torch_device), job.seed)


def _choose(state: TrainingState, chooser: choice.Chooser) -> dict[str, float]:
    """Compares the generator with tune patients; keeps it where it is the best so far. Returns the figures."""
    try:
        figures = choice.look(chooser, state.sampler)
    except ValueError as fault:
        raise _no_numbers(state.images) from fault
    found = choice.score(chooser, figures)
    state.looks_since_best += 1
    allowed = choice.may_be_chosen(chooser, figures) and state.health.level is not Level.CRITICAL
    if allowed and (state.best is None or found < state.best.score):
        weights = {name: value.detach().clone() for name, value in state.sampler.state_dict().items()}
        state.best = choice.Best(state.images, state.health.level.value, figures, found, weights)
        state.looks_since_best = 0
    return figures


def _look(
    job: TrainingJob, state: TrainingState, monitor: CollapseMonitor, figures: dict[str, float]
) -> dict[str, float]:
    """Examines the generator and its average; sets the state's health, and returns all figures.

    The figure `diversity` is that of the network that images are drawn from.
    """
    networks = {"generator": state.generator}
    if state.average is not None:
        networks["average"] = state.average
    random = torch.Generator().manual_seed(derive_seed(job.seed, "look", state.images))
    fixed = monitor.latent
    fresh = Latent(torch.randn(fixed.noise.shape, generator=random).to(fixed.noise.device), fixed.labels)
    try:
        looks = {name: look(monitor, network, fresh) for name, network in networks.items()}
    except ValueError as fault:  # finite weights can still give pixels that are no numbers
        raise _no_numbers(state.images) from fault
    balance = figures["loss_g"] / max(figures["loss_d"], 1e-12)
    state.health = judge(state.health, looks, monitor.limits, balance, state.images, job.total)
    named = {f"{name}_{key}": value for name, found in looks.items() for key, value in found.items()}
    diversity = looks["generator" if state.average is None else "average"]["median_pair"]
    return {**figures, **named, "balance": balance, "diversity": diversity}


def _go_back(
    job: TrainingJob, state: TrainingState, recipe: Recipe, device: Device, warn: Callable[[str], None]
) -> int | None:
    """Writes the checkpoint from which the next attempt begins; none when nothing is left to change.

    It begins from the newest healthy checkpoint, or from the start where there is none. What it
    writes is no healthy point of its own: it is the older one again, and would push others out.

    Returns:
        Images at which it begins.
    """
    change = next_change(recipe, state.changes)
    if change is None:
        return None
    healthy = checkpoint.load_healthy(job.checkpoints, job.identity, warn)
    before = recipe_after(job.recipe, changes_in(healthy))
    earlier = new_state(before, job.form, job.seed, device, job.images, job.patients)
    if healthy is not None:
        restore(earlier, healthy)
    # all that was changed since that checkpoint is changed again, and then the new thing
    for missing in (*state.changes[len(earlier.changes) :], change):
        earlier = with_change(earlier, recipe_after(job.recipe, earlier.changes), missing, job.form, device)
    earlier.attempt = state.attempt + 1
    number, most = len(earlier.changes), recipe.collapse.most_changes
    values = {"event": "roll-back", "change": change.value, "left_at": state.images}
    run_log.append(job.folder / run_log.ALARMS, earlier.attempt, earlier.images, values)
    checkpoint.save(job.checkpoints, to_checkpoint(earlier), job.identity, job.keep)
    where = f"to the healthy state at {earlier.images:,} images" if healthy else "to the beginning"
    warn(f"going back {where}, with {WORDS[change]} (change {number} of at most {most})")
    return earlier.images
