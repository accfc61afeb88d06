"""The training loop, top to bottom.

Data, networks, resume, then rounds, and after each what is due. Progress counts real images. Every random
draw derives from the seed and the step's number, so a continued run draws what the uninterrupted one would
have drawn. A collapse ends an attempt: the next one goes on from a healthy checkpoint, with one thing changed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from scansynth.console import Progress
from scansynth.data import augment
from scansynth.errors import Interrupted, TrainingError
from scansynth.gan import run_log, showing
from scansynth.gan.asked.labels import shown
from scansynth.gan.models.families import family_of
from scansynth.gan.models.family import Batch
from scansynth.gan.sampling import Latent
from scansynth.gan.start import new_state, shapes_of
from scansynth.gan.state import FIGURES, TrainingState, changes_in, finite, restore, to_checkpoint
from scansynth.gan.training_job import TrainingJob
from scansynth.gan.watching import choice
from scansynth.gan.watching.collapse import CollapseMonitor, look
from scansynth.gan.watching.health import Level, from_plain, judge, to_plain
from scansynth.gan.watching.response import WORDS, next_change, recipe_after, with_change
from scansynth.gan.watching.watch import Watch, new_watch
from scansynth.learning import checkpoint, ranks
from scansynth.learning.device import Device
from scansynth.learning.interruption import interruption
from scansynth.learning.tracking import open_trackers
from scansynth.recipe import Recipe
from scansynth.seeds import derive_seed

_CHECK_EVERY = 16
"""Rounds between two checks that the losses are still numbers: a check waits for the device."""


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
    watch = new_watch(job, device) if ranks.first() else None
    while True:
        state = train_attempt(job, watch, device, progress, warn)
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
    job: TrainingJob, watch: Watch | None, device: Device, progress: Progress, warn: Callable[[str], None]
) -> TrainingState | None:
    """One attempt: until the schedule's end, or until a collapse; none when another attempt is to follow.

    On several ranks all run it; the first one looks and writes, and the others do as it says (`watch` is none there).

    Raises:
        See `train`.
    """
    batch, schedule = job.batch, job.recipe.schedule

    # Data: the whole cohort on the device, 2 bytes a pixel; nothing is decoded in the loop.
    data = torch.from_numpy((job.images ^ np.uint16(0x8000)).view(np.int16)).to(device.torch_device)  # less 32768
    labels = torch.from_numpy(job.labels).to(device.torch_device)

    # Networks, and where an earlier session or attempt left them.
    found = checkpoint.load_newest(job.checkpoints, job.identity, warn) if ranks.first() else None
    found = checkpoint.of_the_first(found)
    recipe = recipe_after(job.recipe, changes_in(found))
    family, length = family_of(recipe), shapes_of(family_of(job.recipe), job.form).noise
    images = job.images if found is None else None
    state = new_state(recipe, job.form, job.seed, device, images, job.patients, job.origin)
    if found is not None:
        restore(state, found)

    # Rounds.
    order, order_epoch, note = torch.empty(0), -1, ""
    with _open_show(job, watch, state, recipe, warn) as show, interruption() as asked_to_stop:
        clock = logged_at = saved_at = time.monotonic()
        logged = state.images
        while state.images < job.until and not collapsed_for_good(state, job) and not gets_no_better(state, job):
            step = state.images // batch
            epoch, place = divmod(step, job.steps_per_epoch)
            if epoch != order_epoch:
                shuffle = torch.Generator().manual_seed(derive_seed(job.seed, "epoch", epoch))
                order, order_epoch = torch.randperm(len(data), generator=shuffle).to(device.torch_device), epoch
            random = torch.Generator().manual_seed(derive_seed(job.seed, "step", step))
            chosen = ranks.own(order[place * batch : (place + 1) * batch])
            real, asked, drawn = _signed(data[chosen]), labels[chosen], None
            if not job.plan.nothing:
                drawn = augment.draw(job.plan, batch, random).part(ranks.own)
                real = augment.apply(real, drawn)
            noise = ranks.own(torch.randn(batch, length, generator=random)).to(device.torch_device)
            if job.conditions is not None:
                asked = shown(job.conditions, asked, drawn, batch, random)
            given = Batch(real, asked, noise, random, state.images, job.total)
            state.sums += ranks.mean(family.step(state, given, recipe, device))

            # What is due.
            seen, state.images, state.rounds = state.images, state.images + batch, state.rounds + 1
            now = time.monotonic()
            stop, late = ranks.any_of(asked_to_stop(), now - saved_at > 60.0 * job.checkpoint_minutes)
            state.seconds, clock = state.seconds + now - clock, now
            ended = state.images >= job.until
            point = ended or _due(seen, state.images, schedule.healthy_every_images)
            choosing = recipe.choice.on and (ended or _due(seen, state.images, recipe.choice.every_images))
            looking = point or choosing or _due(seen, state.images, schedule.log_every_images)
            saving = point or stop or late
            if (step % _CHECK_EVERY == 0 or looking or saving) and not finite(state):
                raise _no_numbers(state.images)
            if looking:
                figures = dict(zip(FIGURES, (state.sums / state.rounds).tolist(), strict=True))
                figures["images_per_second"] = (state.images - logged) / (now - logged_at)
                if watch is not None and show is not None:
                    before, figures = state.health, _look(job, state, watch.monitor, figures)
                    if choosing and watch.chooser is not None:
                        figures |= _choose(state, watch.chooser)
                    note = showing.figures(show, state, figures, job.steps_per_epoch * batch)
                    showing.alarm(show, state, before)
                _agree(state)
                ended = ended or gets_no_better(state, job)
                state.sums.zero_()
                state.rounds, logged, logged_at = 0, state.images, time.monotonic()
                if state.health.level is Level.CRITICAL and recipe.collapse.respond:
                    begins_at = ranks.told(_go_back(job, state, recipe, device, warn) if ranks.first() else None)
                    if begins_at is not None and stop:
                        raise _stopped(begins_at, job.total)
                    if begins_at is not None:
                        return None
                    ended = saving = True
            if show is not None and (ended or _due(seen, state.images, schedule.grid_every_images)):
                showing.generated_images(show, state)
            if saving or ended:
                if ranks.first():
                    kept = to_checkpoint(state, point=point)
                    checkpoint.save(job.checkpoints, kept, job.identity, job.keep)
                saved_at = time.monotonic()
            progress(state.images, job.total, note)
            if stop and not ended:
                raise _stopped(state.images, job.total)
    return state


@contextlib.contextmanager
def _open_show(
    job: TrainingJob, watch: Watch | None, state: TrainingState, recipe: Recipe, warn: Callable[[str], None]
) -> Iterator[showing.Show | None]:
    """Where figures and pictures of an attempt go; none on a rank that writes nothing."""
    if watch is None:
        yield None
        return
    run_log.cut(job.folder, state.attempt, state.images)
    run_config = recipe.model_dump(mode="json")
    watching = open_trackers(job.tracking, job.folder, run_config, state.images, job.wandb_mode, state.attempt)
    with watching as trackers:
        show = showing.Show(job.folder, trackers, watch.monitor.latent, warn)
        showing.real_images(show, job.images, job.seed, to_trackers=job.tracking.real_images)
        yield show


def _agree(state: TrainingState) -> None:
    """Gives all ranks what the look of the first one found, and checks that they still train the same networks.

    Raises:
        TrainingError: They do not.
    """
    if ranks.count() == 1:
        return
    said = ranks.told({"health": to_plain(state.health), "looks_since_best": state.looks_since_best})
    state.health, state.looks_since_best = from_plain(said["health"]), said["looks_since_best"]
    if ranks.drifted([*state.generator.parameters(), *state.discriminator.parameters()]):
        raise TrainingError(
            f"the weights of the ranks are no longer the same at {state.images:,} images; the last checkpoint is "
            "intact: use machines of one kind with the same versions, and train again"
        )


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
    images = job.images if healthy is None else None
    earlier = new_state(before, job.form, job.seed, device, images, job.patients, job.origin)
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
