"""The generators and synthetic sets that a utility trial declares: the trial itself trains no generator.

Each pair of the trial has a seed, and each share of the train patients its own generators, trained on exactly these
patients. Finished runs and sets are compared with their records, so that only missing ones are made.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from scansynth.console import Progress, silent
from scansynth.data.fractions import NOBODY, Without, train_part
from scansynth.data.tensors import Cohort, cases_for, load_cohort
from scansynth.engine.job import Job, Outcome
from scansynth.engine.run import run_jobs
from scansynth.errors import ConfigError, StudyError
from scansynth.gan.generate import generate
from scansynth.gan.models.families import family_of
from scansynth.gan.run import train_run
from scansynth.gan.standing import run_position, train_inputs, train_settings
from scansynth.learning.device import pick_device
from scansynth.ledger import Use
from scansynth.stage import read_record, stale
from scansynth.study import WEIGHTS, Study, open_study
from scansynth.utility.grid import images_needed
from scansynth.utility.job import pair_seed
from scansynth.utility.leaving import left_out

LEAST_TRAINING = 60_000
"""Images that a generator of a part of the patients sees at least, where the one of all patients sees as many: under
that a training ends before its generator was ever as varied as patients (`gan.health`)."""

_LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Supply:
    """One generator and the set made with it.

    Attributes:
        pair: Which of the trial's generators, from 0.
        fraction: Share of the train patients that it learns from.
        label: What it draws.
        run: Name of the run.
        name: Name of the set.
        seed: Of the run, of the set, and of the detectors paired with it.
        epochs: Passes over its images.
        images: Of the set.
        without: Column and value of patients whom it never sees; both empty: nobody.
    """

    pair: int
    fraction: float
    label: str
    run: str
    name: str
    seed: int
    epochs: int
    images: int
    without: Without = NOBODY


def supplies(study: Study) -> tuple[Supply, ...]:
    """Every generator and set that the study's trial needs; none when no arm has synthetic images.

    Raises:
        CohortError: There is no cohort yet.
        ConfigError: There is no positive label, or `utility.classes` lacks it, or names one that
            does not occur.
    """
    settings = study.config.utility
    cohort = load_cohort(study.cohort)
    if cohort.facts.positive is None:
        raise ConfigError("a trial needs the label that means a lesion; set cohort.positive in study.toml")
    unknown = sorted(set(settings.classes) - set(cohort.facts.labels))
    if unknown:
        raise ConfigError(f"utility.classes names {unknown[0]}; labels are {', '.join(cohort.facts.labels)}")
    if settings.classes and cohort.facts.positive not in settings.classes:
        raise ConfigError(
            f"utility.classes leaves out {cohort.facts.positive}: the trial tests synthetic lesions, alone or with "
            f"others; add {cohort.facts.positive}"
        )
    groups, _ = left_out(cohort, settings, study.config.seed)
    wanted = [(fraction, 0, NOBODY) for fraction in sorted(settings.fractions, reverse=True)]
    wanted += [(max(settings.fractions), number, without) for number, without in groups.items()]
    return tuple(
        _supply(study, cohort, _Wanted(pair, fraction, number, without, label), images)
        for fraction, number, without in wanted
        for pair in range(settings.pairs)
        for label, images in images_needed(study, cohort, fraction, pair, without).items()
    )


class _Wanted(NamedTuple):
    """Which generator: pair, share of the train patients, number and value of the group left out, label."""

    pair: int
    fraction: float
    number: int
    without: Without
    label: str


def _supply(study: Study, cohort: Cohort, wanted: _Wanted, images: int) -> Supply:
    pair, fraction, number, without, label = wanted
    seed = pair_seed(study.config.seed, pair)
    whole = cases_for(cohort, Use.GENERATOR, (label,))
    kept = train_part(cohort, fraction, seed, without)
    own = [case for case in whole if case.patient in kept]
    suffix = "" if label == cohort.facts.positive else f"-{cohort.facts.labels.index(label)}"
    apart = f"-without-{number}" if number else ""
    name = f"trial-f{fraction * 100:g}-p{pair}{apart}{suffix}".replace(".", "-")
    schedule = study.recipe().schedule
    total = schedule.epochs * len(whole)
    epochs = max(schedule.epochs, math.ceil(min(total, LEAST_TRAINING) / max(1, len(own))))
    mine = study.config.generator
    classes = mine.classes or (str(cohort.facts.positive),)
    first = pair == 0 and fraction == 1.0 and not number and classes == (label,)
    return Supply(
        pair=pair,
        fraction=fraction,
        label=label,
        run=mine.run if first and mine.fraction == 1.0 and not mine.leave_out else name,
        name=name,
        seed=seed,
        epochs=epochs,
        images=images,
        without=without,
    )


def supplied(study: Study, supply: Supply) -> Study:
    """The study as the stages see it that make one supply: same folder and cohort, other names and seed."""
    own = study.config
    classes = own.generator.classes if supply.run == own.generator.run else (supply.label,)
    recipe = study.recipe()
    overrides = own.generator.overrides
    if supply.epochs != recipe.schedule.epochs:
        overrides = {**overrides, "schedule": {**overrides.get("schedule", {}), "epochs": supply.epochs}}
    changes = {
        "run": supply.run,
        "fraction": supply.fraction,
        "classes": classes,
        "leave_out": supply.without if supply.without != NOBODY else (),
        "overrides": overrides,
    }
    config = own.model_copy(
        update={
            "seed": supply.seed,
            "generator": own.generator.model_copy(update=changes),
            "synthetic": own.synthetic.model_copy(update={"name": supply.name, "images": supply.images}),
        }
    )
    return Study(study.folder, config)


def sets_of(
    study: Study, wanted: Sequence[Supply], fraction: float, pair: int, without: Without = NOBODY
) -> tuple[Path, ...]:
    """Folders of the sets that belong to a share of the patients and a pair, and never saw some."""
    key = (fraction, pair, without)
    mine = [supply for supply in wanted if (supply.fraction, supply.pair, supply.without) == key]
    return tuple(study.synthetic(supply.name) for supply in mine)


def missing(study: Study, wanted: Sequence[Supply]) -> tuple[Supply, ...]:
    """Those whose run or set is missing or outdated."""
    return tuple(supply for supply in wanted if not (_trained(study, supply) and _drawn(study, supply)))


def untrained(study: Study, wanted: Sequence[Supply]) -> tuple[Supply, ...]:
    """Those whose generator is still to be trained, or trained to its end."""
    return tuple(supply for supply in wanted if not _trained(study, supply))


def _trained(study: Study, supply: Supply) -> bool:
    own = supplied(study, supply)
    return not stale(own.run(), train_inputs(own), train_settings(own), supply.seed)


def _drawn(study: Study, supply: Supply) -> bool:
    own = supplied(study, supply)
    record, run = read_record(own.synthetic()), read_record(own.run())
    return (
        record is not None
        and run is not None
        and int(record.settings.get("images", 0)) >= supply.images  # arms take the first ones of a larger set
        and not stale(own.synthetic(), {"weights": run.outputs.get(WEIGHTS, "")})
    )


@dataclass(frozen=True)
class _Order:
    """One supply as a job: plain values, which cross to another process."""

    folder: str
    supply: Supply
    even_if_collapsed: bool


def _make(order: _Order) -> None:
    """Trains what is not trained and draws the set: one job of the engine."""
    study = open_study(Path(order.folder))
    own, device = supplied(study, order.supply), pick_device()
    if not _trained(study, order.supply):
        train_run(own, device, silent, lambda _: None)
    facts = load_cohort(own.cohort).facts
    images, even = order.supply.images, order.even_if_collapsed
    generate(own.run(), own.synthetic(), facts, own.config.seed, images, device, silent, even_if_collapsed=even)


def make_supplies(
    study: Study, progress: Progress, warn: Callable[[str], None], *, even_if_collapsed: bool = False
) -> tuple[Supply, ...]:
    """Makes every generator and set that is missing; an interrupted training goes on where it was.

    Args:
        study: The study, locked by the caller.
        progress: Told how many training images all missing generators have seen.
        warn: Told what failed before the refusal.
        even_if_collapsed: Use even generators that collapsed.

    Returns:
        All supplies of the trial.

    Raises:
        ConfigError: The recipe makes no whole images.
        StudyError: A generator or a set could not be made; the others are kept.
    """
    if family_of(study.recipe()).window:
        raise ConfigError(
            "the trial takes whole synthetic images, and generator.recipe makes lesions in scans of patients: set "
            "another generator.recipe"
        )
    wanted = supplies(study)
    todo = missing(study, wanted)
    jobs = [Job(supply.name, _Order(str(study.folder), supply, even_if_collapsed)) for supply in todo]
    if not jobs:
        return wanted
    with _watched(study, todo, progress):
        outcomes = run_jobs(_make, jobs, study.config.engine)
    _check(outcomes, warn)
    return wanted


def _check(outcomes: Sequence[Outcome], warn: Callable[[str], None]) -> None:
    failed = [outcome for outcome in outcomes if not outcome.succeeded]
    for outcome in failed[1:]:
        warn(f"{outcome.name}: {outcome.reason}")
    if failed:
        raise StudyError(f"{failed[0].name}: {failed[0].reason}; what was finished is kept")


@contextmanager
def _watched(study: Study, todo: Sequence[Supply], progress: Progress) -> Iterator[None]:
    """Reports the progress of the runs from their logs."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(_LOOK_SECONDS):
            _tell(study, todo, progress)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    progress(1, 1, f"{len(todo)} generators trained and sampled")


def _tell(study: Study, todo: Sequence[Supply], progress: Progress) -> None:
    seen, total, ended = 0, 0, 0
    for supply in todo:
        folder = supplied(study, supply).run()
        whole = supply.epochs * max(1, supply.images)  # until its run says better
        position = run_position(folder)
        total += position.total if position else whole
        trained = _trained(study, supply)
        ended += trained
        seen += (position.total if trained else position.images) if position else 0
    # not at its end before the sets are drawn, too
    progress(min(seen, total - 1), total, f"training images; {ended} of {len(todo)} generators trained")
