"""One run: from the cohort to a trained generator at rest."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scansynth.cohort.tensors import Cohort, Selection, load_cohort, select, to_signed
from scansynth.cohort.transforms import permission
from scansynth.errors import ConfigError, TrainingError
from scansynth.files import read_json, read_json_lines, write_json
from scansynth.gan.augment import plan_augmentation
from scansynth.gan.families import count_weights
from scansynth.gan.state import TrainingState
from scansynth.gan.training_loop import TrainingJob, train
from scansynth.gan.weights import FACTS, WEIGHTS, GeneratorFacts, save_generator
from scansynth.learning.device import Device
from scansynth.ledger import Reader
from scansynth.progress import Progress
from scansynth.seeds import generator
from scansynth.stage import StageRecord, hash_outputs, plain, read_record, versions, write_record
from scansynth.study import Study

RUN = "run.json"
_LEAST_IMAGES = 16
_LEAST_REFERENCE = 20  # images of calibrate patients under which the diversity is held against train images
_MOST_REFERENCE = 256


def train_settings(study: Study) -> dict[str, Any]:
    """The settings that decide about the weights."""
    recipe = study.recipe().model_dump(mode="json")
    return plain({"recipe": recipe, "classes": list(study.config.generator.classes)})


def train_inputs(study: Study) -> dict[str, str]:
    """Digest of what training reads; empty while there is no cohort."""
    record = read_record(study.cohort)
    return {} if record is None else {"cohort": record.digest}


def train_run(study: Study, device: Device, progress: Progress, warn: Callable[[str], None]) -> StageRecord:
    """Trains the configured run, or goes on with it, and writes its generator.

    A run of another recipe or cohort under the same name is set aside, never overwritten.

    Raises:
        TrainingError: There are too few images, or the losses left the numbers.
        Interrupted: Somebody asked to stop; the state is saved.
        StorageError: The disk is full; the last checkpoint is intact.
    """
    cohort = load_cohort(study.cohort)
    classes = _classes(study, cohort)
    reals = select(cohort, Reader.GENERATOR, classes or None)
    if len(reals.cases) < _LEAST_IMAGES:
        raise TrainingError(
            f"the role train has {len(reals.cases)} images to learn from, and at least {_LEAST_IMAGES} are needed; "
            "add cases, or name more classes in generator.classes"
        )
    reference = _reference(cohort, reals, classes, study.config.seed)
    job = _job(study, cohort, reals, reference)
    _set_aside(job, device, warn)
    _describe(job, reals, classes, device)
    state = train(job, device, progress, warn)
    _keep(job, state, classes)
    record = StageRecord(
        stage="train",
        inputs=train_inputs(study),
        settings=train_settings(study),
        outputs=hash_outputs(job.folder, [job.folder / name for name in (WEIGHTS, FACTS, RUN)]),
        seed=job.seed,
        roles=tuple(sorted({*reals.roles, *reference.roles})),
        patients=tuple(sorted({*reals.patients, *reference.patients})),
        seconds=round(state.seconds, 2),
        versions=versions(),
    )
    write_record(job.folder, record)
    return record


def _job(study: Study, cohort: Cohort, reals: Selection, reference: Selection) -> TrainingJob:
    """The training that the study asks for."""
    settings = study.config.generator
    recipe = study.recipe()
    return TrainingJob(
        folder=study.run(),
        images=reals.images,
        reference=to_signed(reference.images),
        recipe=recipe,
        plan=plan_augmentation(recipe.augmentation, permission(cohort.facts.modality, cohort.facts.view)),
        seed=study.config.seed,
        inputs=train_inputs(study)["cohort"],
        tracking=study.config.tracking,
        wandb_mode=_wandb_mode(),
        checkpoint_minutes=settings.checkpoint_minutes,
        keep=settings.keep_checkpoints,
    )


def _wandb_mode() -> str:
    """What W&B's own environment variable says; offline when it says nothing.

    Raises:
        ConfigError: It says something else than W&B knows.
    """
    mode = os.environ.get("WANDB_MODE", "offline")
    if mode not in {"offline", "online", "disabled"}:
        raise ConfigError(f"WANDB_MODE is {mode!r}; set it to offline, online or disabled")
    return mode


def _classes(study: Study, cohort: Cohort) -> tuple[str, ...]:
    """Labels that the generator sees: those of the settings, or the positive one; none when unlabelled.

    Raises:
        ConfigError: The cohort has labels and the study names neither classes nor a positive label.
    """
    if cohort.facts.unlabelled:
        return ()
    named = study.config.generator.classes
    if not named and cohort.facts.positive is None:
        raise ConfigError(
            "set generator.classes or cohort.positive in study.toml, so that the generator has its classes"
        )
    return named or (str(cohort.facts.positive),)


def _reference(cohort: Cohort, reals: Selection, classes: tuple[str, ...], seed: int) -> Selection:
    """Real images that the diversity is held against: of calibrate patients, where there are enough."""
    held_out = select(cohort, Reader.COLLAPSE_NULL, classes or None)
    chosen = held_out if len(held_out.cases) >= _LEAST_REFERENCE else reals
    count = len(chosen.cases)
    order = generator(seed, "reference").permutation(count)[:_MOST_REFERENCE]
    return Selection(tuple(chosen.cases[place] for place in order), chosen.images[order])


def _set_aside(job: TrainingJob, device: Device, warn: Callable[[str], None]) -> None:
    """Renames a run of another recipe, cohort or seed, so that nothing that took hours is lost."""
    path = job.folder / RUN
    if not path.exists():
        return
    before = _described(job.folder)
    if before.get("identity") == job.identity:
        if (before.get("device"), before.get("precision")) != (_words(device), device.precision):
            warn("the run goes on on other hardware: its weights will differ in their last bits from an unbroken run's")
        return
    number = 1
    while (aside := job.folder.with_name(f"{job.folder.name}.before-{number}")).exists():
        number += 1
    job.folder.rename(aside)
    warn(f"the run {job.folder.name} was of other settings or another cohort; it is kept as {aside.name}")


def _described(folder: Path) -> dict[str, Any]:
    """What `_describe` wrote.

    Raises:
        TrainingError: The file is damaged.
    """
    try:
        found: dict[str, Any] = read_json(folder / RUN)
        if int(found["images_total"]) > 0:
            return found
    except (ValueError, KeyError, TypeError):
        pass
    raise TrainingError(f"{RUN} of the run {folder.name} is damaged; rename its folder, and train again")


def _words(device: Device) -> str:
    return f"{device.kind} ({device.name})"


def _describe(job: TrainingJob, reals: Selection, classes: tuple[str, ...], device: Device) -> None:
    """Writes what is about to be trained; `status` and the report read it."""
    write_json(
        job.folder / RUN,
        {
            "identity": job.identity,
            "recipe": job.recipe.model_dump(mode="json"),
            "seed": job.seed,
            "images_total": job.total,
            "device": _words(device),
            "precision": device.precision,
            "classes": list(classes),
            "train_images": len(reals.cases),
            "train_patients": len(set(reals.patients)),
            "augmentation": {"applied": list(job.plan.applied), "refused": list(job.plan.refused)},
        },
    )


def _keep(job: TrainingJob, state: TrainingState, classes: tuple[str, ...]) -> None:
    """Writes the generator to draw from, and how large both networks are. The discriminator stays behind."""
    facts = GeneratorFacts(
        family=job.recipe.family,
        recipe=job.recipe.name,
        size=job.images.shape[1],
        network=job.recipe.network.model_dump(mode="json"),
        classes=classes,
        images=state.images,
    )
    save_generator(job.folder, state.sampler, facts)
    described = _described(job.folder)
    described["parameters"] = {
        "generator": count_weights(state.generator),
        "discriminator": count_weights(state.discriminator),
    }
    write_json(job.folder / RUN, described)


def run_position(folder: Path) -> tuple[int, int] | None:
    """Images seen at the last log line and images in all, of a run that has begun; none otherwise."""
    if not (folder / RUN).exists():
        return None
    rows = read_json_lines(folder / "log.jsonl")
    return (int(rows[-1]["images"]) if rows else 0, int(_described(folder)["images_total"]))
