"""The published collapse, sought and planted: alone, left to itself, and answered. Writes collapse.json and a page.

    python benchmarks/collapse.py --lidc SCANS --work FOLDER --out docs/results/collapse.json [--seeds 3] [--jobs 2]

SCANS is the folder of the LIDC-IDRI patches with its labels.csv; without --lidc the phantom alone is used. What is
done already is not done again: the script may be interrupted and repeated.

Trained is DCGAN at 64 pixels, with width 32 and a moving average, without replay and without spectral
normalisation, by the training loop that users have, on one thread each. For each cohort and seed there is one
beginning of 20,000 images, from which six arms go on:

* alone: nothing is planted. Does it collapse by itself?
* slowed, left: for 3,000 images the discriminator learns 20 times slower than the generator; no response.
* slowed, answered: the same with the response; the disturbance has passed when the training goes on from a
  checkpoint.
* pushed, left: both networks learn 20 times faster, with momentum 0.9 for 0.5, until the end; no response.
* pushed, cured: the same, with replay and spectral normalisation switched on at the moment of the push; no response.
* pushed, answered: pushed, with the response; the cause stays in every attempt. It may use 4,000 images more.

The verdicts were written down before these runs, after trials with seed 0 that chose the two causes; the arm *pushed,
cured* was added when the first *pushed, answered* had ended.
*Collapsed*: a look was critical after 20,000 images. *Losses fine*: at a critical look both losses lie within the
range that they had at looks from 10,000 to 20,000 images. *Varied at the end*: the run ends at its full length, healthy
or with a warning, the median pair distance at least 0.8 of that of real patients. *Recovered*: collapsed, and varied at
the end.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from collapse_page import write_page

from scansynth.config import TrackingSettings
from scansynth.data.augment import plan_augmentation
from scansynth.data.permission import permission
from scansynth.data.tensors import load_cohort, select
from scansynth.files import read_json, read_json_lines, write_json
from scansynth.gan import run_log
from scansynth.gan.material import material_of
from scansynth.gan.models.dcgan import Dcgan
from scansynth.gan.models.families import complete
from scansynth.gan.models.family import Batch, Form
from scansynth.gan.start import new_state
from scansynth.gan.state import TrainingState, restore, to_checkpoint
from scansynth.gan.training_loop import TrainingJob, train
from scansynth.gan.watching.reals import watched_images
from scansynth.gan.watching.response import recipe_after, with_change
from scansynth.learning import checkpoint
from scansynth.learning.checkpoint import Checkpoint
from scansynth.learning.device import pick_device
from scansynth.ledger import Use
from scansynth.recipe import Change, Recipe, load_recipe

BASE, LASTS, TIMES = 20_000, 3_000, 20.0
LOOK = 1_000
PUSHED_BETAS = (0.9, 0.999)


class Cause(StrEnum):
    """What is planted."""

    NONE = "none"
    SLOWED = "slowed"
    PUSHED = "pushed"


@dataclass(frozen=True)
class Arm:
    """One way to go on.

    Attributes:
        cause: What is planted from `BASE` images on.
        respond: Whether a collapse is answered.
        until: Images at which the run ends.
        cures: What is switched on at `BASE` images.
    """

    cause: Cause
    respond: bool
    until: int
    cures: tuple[Change, ...] = ()


ARMS = {
    "alone": Arm(Cause.NONE, False, 36_000),
    "slowed-left": Arm(Cause.SLOWED, False, 32_000),
    "slowed-answered": Arm(Cause.SLOWED, True, 32_000),
    "pushed-left": Arm(Cause.PUSHED, False, 28_000),
    "pushed-cured": Arm(Cause.PUSHED, False, 28_000, (Change.REPLAY, Change.SPECTRAL_NORM)),
    "pushed-answered": Arm(Cause.PUSHED, True, 32_000),
}
BEGINNING = "beginning"


def plant(arm: Arm, state: TrainingState, recipe: Recipe) -> None:
    """Sets the optimisers as the arm wants them in the round that comes."""
    rate, betas = recipe.optimiser.learning_rate, recipe.optimiser.betas
    slow, fast = rate, rate
    if arm.cause is Cause.SLOWED and state.attempt == 1 and BASE <= state.images < BASE + LASTS:
        slow = rate / TIMES
    if arm.cause is Cause.PUSHED and state.images >= BASE:
        slow, fast, betas = rate * TIMES, rate * TIMES, PUSHED_BETAS
    state.discriminator_optimiser.param_groups[0].update(lr=slow, betas=betas)
    state.generator_optimiser.param_groups[0].update(lr=fast, betas=betas)


def job_of(cohort_folder: Path, folder: Path, arm: Arm, seed: int) -> TrainingJob:
    """The training of one arm."""
    cohort = load_cohort(cohort_folder)
    classes = (str(cohort.facts.positive),)
    reals = select(cohort, Use.GENERATOR, classes)
    watched, _ = watched_images(reals, select(cohort, Use.COLLAPSE_NULL, classes), seed, classes)
    batch = 16
    per_epoch = len(reals.cases) // batch * batch
    schedule = {"epochs": -(-arm.until // per_epoch), "batch": batch, "log_every_images": LOOK}
    overrides = {
        "replay": {"on": Change.REPLAY in arm.cures},
        "network": {"width": 32, "spectral_norm": Change.SPECTRAL_NORM in arm.cures},
        "ema": {"on": True, "half_life_images": 2000},
        "collapse": {"respond": arm.respond},
        "schedule": {**schedule, "grid_every_images": 2 * LOOK, "healthy_every_images": 2 * LOOK},
    }
    recipe = complete(load_recipe("dcgan", overrides))
    material = material_of(cohort, reals, classes, masks=False)
    _, channels, rows, columns = reals.images.shape
    return TrainingJob(
        folder=folder,
        images=material.images,
        labels=material.labels,
        patients=len(set(reals.patients)),
        form=Form((rows, columns), channels, len(classes)),
        watched=watched,
        chosen_on=None,
        recipe=recipe,
        plan=plan_augmentation(recipe.augmentation, permission(cohort.facts.modality, cohort.facts.view)),
        seed=seed,
        inputs="collapse",
        tracking=TrackingSettings(tensorboard=False),
        wandb_mode="offline",
        checkpoint_minutes=2.0,
        keep=3,
    )


def run_arm(cohort_folder: Path, folder: Path, name: str, seed: int) -> None:
    """One training, from its newest checkpoint where it was interrupted."""
    torch.set_num_threads(1)
    arm = ARMS.get(name, Arm(Cause.NONE, False, BASE))
    job = job_of(cohort_folder, folder, arm, seed)
    if name != BEGINNING and not job.checkpoints.exists():
        _begin_from(cohort_folder, folder.with_name(folder.name.replace(name, BEGINNING)), job, arm, seed)
    real_round = Dcgan.step

    def planted_round(family: Dcgan, state: TrainingState, batch: Batch, recipe: Recipe, at: Any) -> Any:
        plant(arm, state, recipe)
        return real_round(family, state, batch, recipe, at)

    Dcgan.step = planted_round
    said: list[str] = []
    state = train(job, pick_device(), lambda done, total, note="": None, said.append)
    end = {
        "images": state.images,
        "whole": state.images >= job.total,
        "attempt": state.attempt,
        "changes": [change.value for change in state.changes],
        "level": state.health.level.value,
        "said": said,
        "train_images": len(job.images),
        "patients_compared": len(set(job.watched.patients)),
    }
    write_json(folder / "end.json", end)


def _begin_from(cohort_folder: Path, beginning: Path, job: TrainingJob, arm: Arm, seed: int) -> None:
    """Takes the checkpoints and the log of the common beginning over, with the cures switched on in each."""
    first = job_of(cohort_folder, beginning, Arm(Cause.NONE, False, BASE), seed)
    for path in sorted(first.checkpoints.iterdir()):
        kept = checkpoint.load(path, first.identity)
        if kept.images > BASE:
            continue
        if arm.cures:
            kept = _cured(kept, first, job, arm.cures)
        checkpoint.save(job.checkpoints, kept, job.identity, job.keep)
    for name in (run_log.LOG, run_log.ALARMS):
        if (beginning / name).exists():
            shutil.copy(beginning / name, job.folder / name)


def _cured(kept: Checkpoint, first: TrainingJob, job: TrainingJob, cures: tuple[Change, ...]) -> Checkpoint:
    """A checkpoint as it is after the cures, as if the recipe had them from the start."""
    device, recipe = pick_device(), first.recipe
    state = new_state(recipe, job.form, job.seed, device)
    restore(state, kept)
    for cure in cures:
        state, recipe = with_change(state, recipe, cure, job.form, device), recipe_after(recipe, (cure,))
    return to_checkpoint(replace(state, changes=()))


KEYS = ("images", "attempt", "level", "loss_d", "loss_g", "average_median_pair")
KEYS += tuple(f"generator_{name}" for name in ("nearest", "median_pair", "vendi", "rank", "coverage", "z_sensitivity"))


def summary(folder: Path) -> dict[str, Any]:
    """What one training's log says, and the verdicts."""
    log, end = read_json_lines(folder / run_log.LOG), read_json(folder / "end.json")
    events = read_json_lines(folder / run_log.ALARMS) if (folder / run_log.ALARMS).exists() else []
    events = [event for event in events if event["images"] > BASE or event["attempt"] > 1]
    critical = [row for row in log if row["level"] == "critical" and row["images"] > BASE]
    first = critical[0]["images"] if critical else None
    before = [row for row in log if BASE / 2 <= row["images"] <= BASE and row["attempt"] == 1]
    last = run_log.surviving(log)[-1]
    varied = end["level"] in {"healthy", "warning"} and last["diversity"] >= 0.8
    return {
        "collapsed": bool(critical),
        "alarm_at": first,
        "epochs_from_cause_to_alarm": None if first is None else (first - BASE) / end["train_images"],
        "losses_fine": any(_as_before(row, before) for row in critical),
        "warnings": sum(event["event"] == "alarm" and event["level"] == "warning" for event in events),
        "events": events,
        "end": end,
        "last_diversity": last["diversity"],
        "varied_at_end": bool(end["whole"]) and varied,
        "recovered": bool(critical) and bool(end["whole"]) and varied,
        "looks": [{key: row[key] for key in KEYS} for row in log],
    }


def _as_before(row: dict[str, Any], before: list[dict[str, Any]]) -> bool:
    """Whether both losses of a look lie within the range of the looks before."""
    return all(
        min(old[key] for old in before) <= row[key] <= max(old[key] for old in before) for key in ("loss_d", "loss_g")
    )


def make_cohorts(lidc: Path | None, work: Path) -> dict[str, Path]:
    """The cohorts, ingested by the commands that a user types."""
    os.environ.setdefault("SCANSYNTH_INSTITUTION_KEY", str(work.resolve() / "institution.key"))
    phantom = work / "phantom-scans"
    if not phantom.exists():
        _scansynth("phantom", phantom, "--patients", 600, "--size", 64, "--seed", 1)
    scans = {"phantom": (phantom, "chest")} | ({} if lidc is None else {"lidc-patches": (lidc, "patch")})
    for name, (folder, view) in scans.items():
        study = work / name
        if not (study / "cohort" / "stage.json").exists():
            labels = ("--labels", folder / "labels.csv", "--view", view, "--size", 64)
            if not (study / "study.toml").exists():
                _scansynth("init", study, "--dicom", folder, *labels)
            _scansynth("ingest", study)
    return {name: work / name / "cohort" for name in scans}


def _scansynth(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "scansynth.cli", *map(str, arguments)], check=True)


def run_all(cohorts: dict[str, Path], work: Path, seeds: int, jobs: int) -> list[tuple[str, int, str, Path]]:
    """All trainings that are not done, several at a time, each a process; what there is afterwards."""
    todo = [
        (cohort, seed, arm, work / "runs" / f"{cohort}-{seed}-{arm}")
        for arm in (BEGINNING, *ARMS)
        for seed in range(seeds)
        for cohort in cohorts
    ]
    waiting = [one for one in todo if not (one[3] / "end.json").exists()]
    # all beginnings come before what goes on from them, as there are more of them than jobs at a time
    running: list[subprocess.Popen[bytes]] = []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    while waiting or running:
        while waiting and len(running) < jobs:
            cohort, seed, arm, folder = waiting.pop(0)
            command = [sys.executable, __file__, "--one", str(cohorts[cohort]), str(folder), arm, str(seed)]
            print(f"training {folder.name}, {len(waiting)} waiting", flush=True)
            running.append(subprocess.Popen(command, env=environment))
        time.sleep(0.5)
        for process in [process for process in running if process.poll() is not None]:
            running.remove(process)
            if process.returncode:
                raise SystemExit(f"a training ended with exit code {process.returncode}")
    return [one for one in todo if one[2] != BEGINNING]


def main() -> None:
    """Parses the command line, trains, writes the figures and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lidc", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        cohort, folder, arm, seed = options.one
        run_arm(Path(cohort), Path(folder), arm, int(seed))
        return
    if options.work is None or options.out is None:
        parser.error("give --work and --out")
    options.work.mkdir(parents=True, exist_ok=True)
    done = run_all(make_cohorts(options.lidc, options.work), options.work, options.seeds, options.jobs)
    command = ["--lidc", "SCANS", "--work", "FOLDER", "--out", "docs/results/collapse.json", "--seeds", options.seeds]
    result = {
        "command": shlex.join(["python", "benchmarks/collapse.py", *map(str, command)]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "planted_at": BASE,
        "looks_every": LOOK,
        "runs": [{"cohort": cohort, "seed": seed, "arm": arm, **summary(folder)} for cohort, seed, arm, folder in done],
    }
    write_json(options.out, result)
    write_page(result, options.work / "runs", options.out.with_suffix(".md"), options.out.parent.parent / "images")


if __name__ == "__main__":
    main()
