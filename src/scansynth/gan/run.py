"""One run: from the cohort to a trained generator at rest."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from scansynth.console import Progress
from scansynth.data.augment import plan_augmentation
from scansynth.data.fractions import NOBODY, Without, patients_with, train_part
from scansynth.data.permission import permission
from scansynth.data.tensors import Cohort, Selection, load_cohort, select, to_signed
from scansynth.data.windows import windowed
from scansynth.errors import ConfigError, TrainingError
from scansynth.files import write_json
from scansynth.gan.asked.conditions import Conditions, learn
from scansynth.gan.asked.measured import measure, names_of
from scansynth.gan.insertion.scenes import labels_of, labels_of_windows, read_for, scenes_of, train_images
from scansynth.gan.material import material_of
from scansynth.gan.memory import check_fits
from scansynth.gan.models.families import check_conditions, complete, count_weights, family_of
from scansynth.gan.models.family import Form
from scansynth.gan.origin.borrowed import read_origin
from scansynth.gan.scores import write_scores
from scansynth.gan.standing import described_run, train_inputs, train_settings
from scansynth.gan.state import TrainingState
from scansynth.gan.together import begin_together, check_shares
from scansynth.gan.training_job import TrainingJob
from scansynth.gan.training_loop import collapsed_for_good, gets_no_better, train
from scansynth.gan.watching.choice import LEAST_PATIENTS, TuneImages, flips_of
from scansynth.gan.watching.collapse import RealImages
from scansynth.gan.watching.health import Level
from scansynth.gan.watching.reals import watched_images, with_categories
from scansynth.gan.watching.response import WORDS, next_change, recipe_after
from scansynth.gan.weights import FACTS, GeneratorFacts, save_generator
from scansynth.learning import ranks
from scansynth.learning.device import Device
from scansynth.ledger import Use
from scansynth.recipe import Change, Recipe
from scansynth.seeds import derive_seed
from scansynth.stage import StageRecord, hash_outputs, versions, write_record
from scansynth.study import RUN, SCORES, WEIGHTS, Study

_LEAST_IMAGES = 16
_SCENES = 128  # that are looked at while lesions are learned


@dataclass(frozen=True)
class Preparation:
    """What a study trains on.

    Attributes:
        job: The training.
        classes: Labels that the generator sees; none when unlabelled.
        reals: Images that it learns from.
        used: Images of other patients that its variety is compared with.
        tune: Images of tune patients that the state to draw from is chosen on; none where it is not chosen.
        scenes: Scans that lesions are put into while it is looked at; none where whole images are made.
    """

    job: TrainingJob
    classes: tuple[str, ...]
    reals: Selection
    used: Selection
    tune: Selection | None
    scenes: Selection | None = None

    @property
    def read(self) -> tuple[Selection, ...]:
        """All that is read while it trains."""
        return tuple(part for part in (self.reals, self.used, self.tune, self.scenes) if part is not None)


def train_run(study: Study, device: Device, progress: Progress, warn: Callable[[str], None]) -> StageRecord:
    """Trains the configured run, or goes on with it, and writes its generator and its scores of real images.

    On several ranks this is what the first one does; see `together.follow` for the others.

    A run of another recipe or cohort under the same name is set aside, never overwritten. A run that has ended is
    trained no further: what it writes is written again.

    Raises:
        TrainingError: There are too few images, or the losses became NaN or infinite.
        Interrupted: A stop was requested; the state is saved.
        StorageError: The disk is full; the last checkpoint is intact.
    """
    ready = prepare(study)
    job = ready.job
    check_shares(job)
    _check_memory(job, device, warn)
    _set_aside(job, device, warn)
    if job.origin is not None and not job.origin.known:
        warn(f"generator.start_from: the roles of the patients whom its weights learned from {job.origin.roles}")
    _describe(ready, device)
    begin_together(job, device)
    state = train(job, device, progress, warn)
    _keep(job, state, ready.classes)
    asked = score_reals(study, ready, state)
    record = StageRecord(
        stage="train",
        inputs=train_inputs(study),
        settings=train_settings(study),
        outputs=hash_outputs(job.folder, [job.folder / name for name in (WEIGHTS, FACTS, RUN, SCORES)]),
        seed=job.seed,
        roles=tuple(sorted({role for part in (*ready.read, asked) for role in part.roles})),
        patients=tuple(sorted({patient for part in (*ready.read, asked) for patient in part.patients})),
        seconds=round(state.seconds, 2),
        versions=versions(),
    )
    write_record(job.folder, record)
    if collapsed_for_good(state, job):
        raise _gave_up(state)
    if state.health.level is Level.CRITICAL and state.best is None:
        warn("the generator had collapsed when the training ended: nothing is drawn from it unless told")
    if state.health.level is Level.WARMING:
        warn("the generator never became as varied as real patients: set a higher schedule.epochs, and train longer")
    return record


def prepare(study: Study) -> Preparation:
    """Selects the images and lays out the training.

    Raises:
        TrainingError: There are too few images.
    """
    whole, window = load_cohort(study.cohort), family_of(study.recipe()).window
    cohort, classes = _windowed(whole, window), _classes(study, whole)
    if window and classes != (whole.facts.positive,):
        raise ConfigError(f"the recipe inserts {whole.facts.positive} alone: take generator.classes out of study.toml")
    reals = select(cohort, Use.GENERATOR, classes or None)
    own = study.config.generator
    there = _left_out(whole, own.without)
    if own.fraction < 1.0 or there:
        kept = train_part(whole, own.fraction, study.config.seed, own.without)
        reals = reals.part([place for place, patient in enumerate(reals.patients) if patient in kept])
    if len(reals.cases) < _LEAST_IMAGES:
        raise TrainingError(
            f"the role train has {len(reals.cases)} images to learn from, and at least {_LEAST_IMAGES} are needed; "
            "add cases, or name more classes in generator.classes"
        )
    held_out = select(cohort, Use.COLLAPSE_NULL, classes or None)
    if there:
        held_out = held_out.part([place for place, patient in enumerate(held_out.patients) if patient not in there])
    watched, used = watched_images(reals, held_out, study.config.seed, classes)
    job = _job(study, cohort, reals, classes, watched)
    if job.conditions is not None:
        job = replace(job, watched=with_categories(watched, cohort, used, job.conditions))
    tune = _tune(cohort, classes, there) if job.recipe.choice.on else None
    if tune is not None:
        flips = tuple(flips_of(job.plan.flip_left_right, job.plan.flip_up_down))
        found = TuneImages(to_signed(reals.images), to_signed(tune.images), tune.patients, flips)
        job = replace(job, chosen_on=found)
    if not window:
        return Preparation(job, classes, reals, used, tune)
    train = train_images(whole, own.fraction, study.config.seed, own.without)
    scenes = scenes_of(whole, train, _SCENES, derive_seed(study.config.seed, "looked at"), window)
    job = replace(job, labels=labels_of_windows(job.images), looked_at=labels_of(train, scenes).numpy())
    job = replace(job, form=job.form._replace(conditions=job.labels.shape[1] - 1))
    return Preparation(job, classes, reals, used, tune, read_for(train, scenes))


def _windowed(cohort: Cohort, window: int) -> Cohort:
    """The cohort as the networks see it: whole images, or windows about lesions.

    Raises:
        CohortError: There are no such windows.
    """
    return windowed(cohort, window) if window else cohort


def _tune(cohort: Cohort, classes: tuple[str, ...], without: frozenset[str]) -> Selection | None:
    """Images of tune patients with the generator's classes; none where there are too few patients to choose on."""
    found = select(cohort, Use.STOPPING, classes or None)
    found = found.part([place for place, patient in enumerate(found.patients) if patient not in without])
    return found if len(set(found.patients)) >= LEAST_PATIENTS else None


def _left_out(cohort: Cohort, without: Without) -> frozenset[str]:
    """Patients whom the generator must not see.

    Raises:
        ConfigError: Nobody has the value.
    """
    if without == NOBODY:
        return frozenset()
    there = patients_with(cohort, *without)
    if not there:
        raise ConfigError(f"generator.leave_out: no case has {without[1]} in the column {without[0]}")
    return there


def score_reals(study: Study, ready: Preparation, state: TrainingState) -> Selection:
    """Lets the last discriminator score the images of train, calibrate and test patients, and returns these.

    They are read only now: the weights are final and written.
    """
    cohort = _windowed(load_cohort(study.cohort), family_of(ready.job.recipe).window)
    asked = select(cohort, Use.MEMBERSHIP, ready.classes or None)
    masks, conditions = family_of(ready.job.recipe).masks, ready.job.conditions
    material = material_of(cohort, asked, ready.classes, masks=masks, conditions=conditions)
    write_scores(ready.job.folder, state.discriminator, asked.cases, material)
    return asked


def _check_memory(job: TrainingJob, device: Device, warn: Callable[[str], None]) -> None:
    """Refuses what cannot fit, and warns when only what follows a collapse might not.

    Raises:
        ConfigError: The training needs more memory than there is.
    """
    count = len(job.images)
    check_fits(job.recipe, job.form, count, device)
    recipe, changes = job.recipe, list[Change]()
    while recipe.collapse.respond and (change := next_change(recipe, changes)) is not None:
        changes.append(change)
        recipe = recipe_after(job.recipe, changes)
        try:
            check_fits(recipe, job.form, count, device)
        except ConfigError as fault:
            warn(f"it fits, but a change after a collapse would not ({WORDS[change]}): {fault}")
            return


def _gave_up(state: TrainingState) -> TrainingError:
    """Says that the training ended with a collapse, and what to do."""
    tried = "; ".join(WORDS[change] for change in state.changes) or "nothing was to be changed"
    return TrainingError(
        f"the generator collapsed at {state.images:,} images ({state.health.reasons[0]}), and changes did not help "
        f"({tried}); the run is kept: try more training images or another recipe, by generator.recipe or "
        "generator.overrides in study.toml, and train again"
    )


def _job(study: Study, cohort: Cohort, reals: Selection, classes: tuple[str, ...], watched: RealImages) -> TrainingJob:
    """The training that the study asks for."""
    settings = study.config.generator
    recipe = complete(study.recipe())
    masks = family_of(recipe).masks
    learned = _conditions(study, cohort, reals, recipe)
    material = material_of(cohort, reals, classes, masks=masks, conditions=learned)
    if masks and not material.images[:, -1].any():
        raise TrainingError(
            f"generator.masks asks for lesion masks, but no train image of {', '.join(classes)} has one: "
            "name more labels in generator.classes, or take generator.masks out"
        )
    _, channels, rows, columns = reals.images.shape
    form = Form((rows, columns), channels, len(classes), 0 if learned is None else learned.width)
    learning = frozenset(train_part(load_cohort(study.cohort), settings.fraction, study.config.seed, settings.without))
    return TrainingJob(
        folder=study.run(),
        images=material.images,
        labels=material.labels,
        patients=len(set(reals.patients)),
        form=form,
        watched=watched,
        chosen_on=None,
        recipe=recipe,
        conditions=learned,
        origin=read_origin(study, cohort, learning, recipe, form),
        plan=plan_augmentation(recipe.augmentation, permission(cohort.facts.modality, cohort.facts.view)),
        seed=study.config.seed,
        inputs=train_inputs(study)["cohort"],
        tracking=study.config.tracking,
        wandb_mode=_wandb_mode(),
        checkpoint_minutes=settings.checkpoint_minutes,
        keep=settings.keep_checkpoints,
    )


def _conditions(study: Study, cohort: Cohort, reals: Selection, recipe: Recipe) -> Conditions | None:
    """What images can be asked for besides their label, learned from the train images alone; none: nothing.

    Raises:
        ConfigError: The recipe's family heeds no conditions, or too few patients have a value.
    """
    names = names_of(study.config.generator.conditions)
    if not names:
        return None
    check_conditions(recipe)
    labels = [case.label for case in reals.cases]
    return learn(names, measure(cohort, reals.cases, names), reals.patients, labels)


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
            "set generator.classes or cohort.positive in study.toml, so that the generator has classes to learn"
        )
    return named or (str(cohort.facts.positive),)


def _set_aside(job: TrainingJob, device: Device, warn: Callable[[str], None]) -> None:
    """Renames a run of another recipe, cohort or seed, so that nothing that took hours is lost."""
    path = job.folder / RUN
    if not path.exists():
        return
    before = described_run(job.folder)
    if before.get("identity") == job.identity:
        now = (_words(device), device.precision, ranks.count())
        if (before.get("device"), before.get("precision"), before.get("ranks", 1)) != now:
            warn(
                "the run continues on different hardware, or on another number of ranks: its weights will differ in "
                "their last bits from those of an uninterrupted run"
            )
        return
    number = 1
    while (aside := job.folder.with_name(f"{job.folder.name}.before-{number}")).exists():
        number += 1
    job.folder.rename(aside)
    warn(f"the run {job.folder.name} had other settings or another cohort; it is kept as {aside.name}")


def _words(device: Device) -> str:
    return f"{device.kind} ({device.name})"


def _describe(ready: Preparation, device: Device) -> None:
    """Writes what is about to be trained; `status` and the report read it."""
    job, reals = ready.job, ready.reals
    write_json(
        job.folder / RUN,
        {
            "identity": job.identity,
            "recipe": job.recipe.model_dump(mode="json"),
            "seed": job.seed,
            "images_total": job.total,
            "device": _words(device),
            "precision": device.precision,
            "ranks": ranks.count(),
            "classes": list(ready.classes),
            "roles_in_training": sorted({role for part in ready.read for role in part.roles}),
            "train_images": len(reals.cases),
            "train_patients": len(set(reals.patients)),
            "augmentation": {"applied": list(job.plan.applied), "refused": list(job.plan.refused)},
            "variety_against": job.watched.basis,
            "conditions": [] if job.conditions is None else [one.name for one in job.conditions.learned],
            "started_from": None if job.origin is None else job.origin.plain,
        },
    )


def _keep(job: TrainingJob, state: TrainingState, classes: tuple[str, ...]) -> None:
    """Writes the generator to draw from, and how large both networks are. The discriminator stays behind."""
    best, images, level = state.best, state.images, state.health.level.value
    if best is not None:  # nothing is trained from here on
        state.sampler.load_state_dict(dict(best.weights))
        images, level = best.images, best.level
    facts = GeneratorFacts(
        family=job.recipe.family,
        recipe=job.recipe.name,
        settings=family_of(job.recipe).tables(),
        shape=job.form.shape,
        channels=job.form.channels,
        classes=classes,
        images=images,
        level=level,
        conditions={} if job.conditions is None else job.conditions.plain(),
    )
    save_generator(job.folder, state.sampler, facts)
    values = described_run(job.folder)
    values["images_seen"] = state.images
    values["chosen"] = None if best is None else {"images": best.images, "level": best.level, **best.figures}
    values["gets_no_better"] = gets_no_better(state, job)
    values["changes"] = [change.value for change in state.changes]
    values["level"] = state.health.level.value
    values["parameters"] = {
        "generator": count_weights(state.generator),
        "discriminator": count_weights(state.discriminator),
    }
    write_json(job.folder / RUN, values)
