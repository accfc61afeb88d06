"""A training on several ranks: what they must have in common, and what all but the first do."""

from __future__ import annotations

from collections.abc import Callable

import torch

from scansynth import __version__
from scansynth.console import silent
from scansynth.errors import ConfigError, RankError, ScansynthError, TrainingError
from scansynth.gan.replay import past_among
from scansynth.gan.training_job import TrainingJob
from scansynth.gan.training_loop import train
from scansynth.learning import ranks
from scansynth.learning.device import Device
from scansynth.recipe import Change


def check_shares(job: TrainingJob) -> None:
    """Refuses batches that cannot be divided equally among the ranks.

    Raises:
        ConfigError: They cannot.
    """
    asked, parts = ranks.count(), _parts(job, job.batch)
    if all(part % asked == 0 for part in parts):
        return
    kind = f"batches of {job.batch} images"
    if len(parts) > 1:
        kind += f", of which {parts[1]} are past fakes (replay.share),"
    works = [number for number in range(1, job.batch + 1) if all(part % number == 0 for part in parts)]
    others = (*range(job.batch + 1, len(job.images) + 1), *range(job.batch - 1, 1, -1))
    other = next((size for size in others if all(part % asked == 0 for part in _parts(job, size))), None)
    raise ConfigError(
        f"{kind} cannot be divided equally among {asked} ranks; start {_listed(works)} (torchrun --nproc-per-node)"
        + ("" if other is None else f", or set generator.overrides.schedule.batch = {other} in study.toml")
    )


def _parts(job: TrainingJob, batch: int) -> list[int]:
    """What must be divided equally: a batch, and its past fakes where there are any, now or after a change."""
    recipe = job.recipe
    replays = recipe.replay.on or (recipe.collapse.respond and Change.REPLAY in recipe.collapse.changes)
    return [batch, past_among(recipe.replay.share, batch)] if replays else [batch]


def _listed(numbers: list[int]) -> str:
    *before, last = map(str, numbers)
    return f"{', '.join(before)} or {last}" if before else last


def _common(job: TrainingJob, device: Device) -> dict[str, str]:
    """What must be the same on all ranks."""
    return {
        "images, settings and seed": job.identity,
        "number format": device.precision,
        "version of scansynth": __version__,
        "version of torch": torch.__version__.partition("+")[0],
    }


def begin_together(job: TrainingJob, device: Device) -> None:
    """The first rank's word that all may begin; nothing where it is alone.

    Raises:
        TrainingError: Another rank cannot train this.
    """
    if ranks.count() > 1:
        ranks.told(_common(job, device))
        if ranks.any_of(False)[0]:
            raise TrainingError("another rank cannot take part; look at its line, and start the same command again")


def follow(prepare: Callable[[], TrainingJob], pick: Callable[[], Device], warn: Callable[[str], None]) -> bool:
    """Trains beside the first rank and writes nothing.

    Args:
        prepare: Gives the training, from the same study.
        pick: Gives this rank's device.
        warn: Prints a warning.

    Returns:
        Whether the training ended well; where it did not, the first rank has said why.

    Raises:
        RankError: Another rank is gone, or this one cannot take part.
    """
    try:
        wanted = ranks.told(None)
    except RankError:  # the first one has refused, or was killed
        return False
    trouble, job, device = "", None, None
    try:
        job, device = prepare(), pick()
        own = _common(job, device)
        trouble = ", ".join(name for name, value in own.items() if wanted[name] != value)
        if trouble:
            trouble = f"it has another {trouble} than rank 0: give all machines the same study folder and versions"
    except ScansynthError as fault:
        trouble = str(fault)
    failed = ranks.any_of(bool(trouble))[0]
    if trouble:
        raise RankError(f"rank {ranks.number()} of {ranks.count()} cannot take part: {trouble}")
    if failed or job is None or device is None:
        ranks.wait_for_the_first()
        return False
    try:
        train(job, device, silent, warn)
    except RankError:
        raise
    except ScansynthError:  # the same as in the first rank, which says it
        ranks.wait_for_the_first()
        return False
    return True
