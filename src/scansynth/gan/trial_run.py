"""One trial of a sweep: a training with settings of its own, as far as its rung goes, and how good it is on tune."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scansynth.config import TrackingSettings
from scansynth.console import silent
from scansynth.errors import CheckpointError, ConfigError, TrainingError
from scansynth.files import read_json, write_json
from scansynth.gan.memory import check_fits
from scansynth.gan.run import prepare
from scansynth.gan.state import TrainingState
from scansynth.gan.training_loop import train
from scansynth.gan.watching.health import Level
from scansynth.learning.device import pick_device
from scansynth.recipe import merge
from scansynth.study import Study, open_study

FEWEST = "the sweep judges on tune patients, and there are too few of them: give cohort.shares a larger share of tune"


@dataclass(frozen=True)
class TrialTask:
    """What a worker is given; plain values, since it may run on another machine.

    Attributes:
        study: Folder of the study.
        folder: Of the trial.
        settings: Overrides of the study's recipe, as JSON.
        rung: Number of the rung.
        share: Of the recipe's training that it goes to.
    """

    study: str
    folder: str
    settings: str
    rung: int
    share: float


@dataclass(frozen=True)
class RungResult:
    """How a trial stood at the end of a rung.

    Attributes:
        images: Real images seen.
        score: KID less recall on tune, in units of chance, of its best state; the lower the better. None: no state that
            may be drawn from.
        figures: Those of that state.
        level: How the training stood.
        reason: Why it failed; empty where it did not.
    """

    images: int
    score: float | None
    figures: Mapping[str, float]
    level: str
    reason: str = ""


def with_settings(study: Study, settings: Mapping[str, Any]) -> Study:
    """The study with a recipe of other settings, judged on tune."""
    own = study.config.generator
    overrides = merge(merge(own.overrides, dict(settings)), {"choice": {"on": True}})
    generator = own.model_copy(update={"overrides": overrides})
    return Study(study.folder, study.config.model_copy(update={"generator": generator}))


def result_file(folder: Path, rung: int) -> Path:
    """Where a trial says how it stood at the end of a rung."""
    return folder / f"rung-{rung}.json"


def run_trial(task: TrialTask) -> None:
    """Trains a trial to the end of its rung, from where it stands, and writes how it stands then.

    A training that cannot go on is a result as well.

    Raises:
        ConfigError: There are too few tune patients, or too little memory.
        CheckpointError: The trial's checkpoints are damaged.
    """
    folder = Path(task.folder)
    job = prepare(with_settings(open_study(Path(task.study)), json.loads(task.settings))).job
    if job.chosen_on is None:
        raise ConfigError(FEWEST)
    device = pick_device()
    check_fits(job.recipe, job.form, len(job.images), device)
    steps = max(1, round(task.share * job.total / job.batch))
    quiet = TrackingSettings(tensorboard=False, wandb=False)
    job = replace(job, folder=folder, tracking=quiet, pause_at=min(job.total, steps * job.batch))
    try:
        found = _standing(train(job, device, silent, lambda line: None))
    except CheckpointError:
        raise
    except TrainingError as fault:
        found = RungResult(0, None, {}, "", " ".join(str(fault).split()))
    write_json(result_file(folder, task.rung), vars(found))


def _standing(state: TrainingState) -> RungResult:
    best, level = state.best, state.health.level.value
    if best is None:
        reason = "no state had as few images near to the training as chance explains"
        if state.health.level is Level.CRITICAL:
            reason = "the generator collapsed"
        return RungResult(state.images, None, {}, level, reason)
    return RungResult(state.images, best.score, dict(best.figures), level)


def read_result(folder: Path, rung: int) -> RungResult | None:
    """How a trial stood at the end of a rung; none while it has not come there."""
    path = result_file(folder, rung)
    return RungResult(**read_json(path)) if path.is_file() else None
