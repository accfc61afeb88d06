"""What people see of a training: the line behind the bar, curves, sample grids, alarms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from scansynth.data.tensors import to_signed
from scansynth.files import write_bytes
from scansynth.gan import run_log
from scansynth.gan.grid import columns_for, grid, png
from scansynth.gan.sampling import Latent, images_of
from scansynth.gan.state import TrainingState
from scansynth.gan.watching.health import Health, Level, Trouble
from scansynth.learning.tracking import Tracker
from scansynth.seeds import generator
from scansynth.study import GRIDS

T = TypeVar("T", np.uint16, np.float32)

LEVELS = tuple(Level)
_TITLES = {
    Level.CRITICAL: "collapse of the generator",
    Trouble.COLLAPSE: "warning of a collapse; a change may still cure it",
    Trouble.VARIETY: "warning of lost variety",
    Trouble.LOSSES: "warning: the losses diverge",
}
"""Words that a file name may hold; trackers take "warning" for the milder kind."""
_GAUGE = 10


@dataclass(frozen=True)
class Show:
    """Where figures and pictures of one attempt go.

    Attributes:
        folder: The run's folder.
        trackers: Open ones.
        latent: Fixed noise and labels of the sample grids.
        warn: Prints a warning in the terminal.
    """

    folder: Path
    trackers: list[Tracker]
    latent: Latent
    warn: Callable[[str], None]


def figures(show: Show, state: TrainingState, values: Mapping[str, float], images_per_epoch: int) -> str:
    """Writes one line of the log and one point of each curve; returns what stands behind the progress bar."""
    level = state.health.level
    row = {
        "epoch": round(state.images / images_per_epoch, 3),
        "seconds": round(state.seconds, 2),
        "level": level.value,
        **{name: round(value, 5) for name, value in values.items()},
    }
    run_log.append(show.folder / run_log.LOG, state.attempt, state.images, row)
    for tracker in show.trackers:
        tracker.figures(state.images, {**values, "level_number": LEVELS.index(level)})
    return (
        f"variety {gauge(values['diversity'])} {values['diversity']:.2f} {level}  "
        f"{values['images_per_second']:.0f} images/s  loss D {values['loss_d']:.2f} G {values['loss_g']:.2f}  "
        f"D(real) {values['d_real']:.2f} D(fake) {values['d_fake']:.2f}"
    )


def gauge(share: float) -> str:
    """A bar of ten characters: full for a generator as varied as real patients."""
    full = round(min(max(share, 0.0), 1.0) * _GAUGE)
    return "█" * full + "░" * (_GAUGE - full)


def real_images(show: Show, images: NDArray[np.uint16], seed: int, *, to_trackers: bool) -> None:
    """Writes a grid of real images of the train role; the trackers get it only when the study says so."""
    columns = columns_for(images.shape[-1])
    chosen = generator(seed, "real grid").permutation(len(images))[: columns * columns]
    picture = grid(to_signed(_side_by_side(images[chosen])), columns)
    write_bytes(show.folder / "real.png", png(picture))
    if to_trackers:
        for tracker in show.trackers:
            tracker.picture(0, "real images", picture)


def generated_images(show: Show, state: TrainingState) -> None:
    """Writes the sample grid of the fixed noise and gives it to the trackers."""
    picture = _sample_grid(state.sampler, show.latent)
    write_bytes(show.folder / GRIDS / f"{state.attempt:02d}-{state.images:010d}.png", png(picture))
    for tracker in show.trackers:
        tracker.picture(state.images, "generated images", picture)


def _sample_grid(network: nn.Module, latent: Latent) -> NDArray[np.uint8]:
    columns = columns_for(images_of(network, latent.part(0, 1)).shape[-1])
    made = images_of(network, latent.part(0, columns * columns)).cpu().numpy()
    return grid(_side_by_side(made), columns)


def _side_by_side(images: NDArray[T]) -> NDArray[T]:
    """Images (n, channels, rows, columns) as (n, rows, channels * columns): the channels of each beside one another."""
    count, channels, rows, columns = images.shape
    return images.transpose(0, 2, 1, 3).reshape(count, rows, channels * columns)


def alarm(show: Show, state: TrainingState, before: Health) -> None:
    """Tells of a trouble that was not there at the look before, or has become critical; notes when all is over."""
    health = state.health
    if not health.troubles:
        if before.troubles:
            _note(show, state, "over")
        return
    worse = health.level is Level.CRITICAL and before.level is not Level.CRITICAL
    new = set(health.troubles) - set(before.troubles)
    if not new and not worse:
        return
    _note(show, state, "alarm")
    title = _TITLES[health.level if worse else next(trouble for trouble in health.troubles if trouble in new)]
    # of the network that the reasons name: the average may still be varied when the generator is not
    network = state.generator if health.reasons[0].startswith("generator:") else state.sampler
    picture = _sample_grid(network, show.latent)
    name = f"{state.attempt:02d}-{state.images:010d}-{health.level}.png"
    write_bytes(show.folder / "alarms" / name, png(picture))
    text = f"at {state.images:,} images: {'; '.join(health.reasons)}"
    for tracker in show.trackers:
        tracker.alarm(state.images, title, text, picture)
    show.warn(f"{title} {text}; see gan/{show.folder.name}/alarms/{name}")


def _note(show: Show, state: TrainingState, event: str) -> None:
    values = {"event": event, "level": state.health.level.value, "reasons": list(state.health.reasons)}
    run_log.append(show.folder / run_log.ALARMS, state.attempt, state.images, values)
