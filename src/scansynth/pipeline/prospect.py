"""What a utility trial of a cohort could show, and its cost, before any training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scansynth.data.augment import plan_augmentation
from scansynth.data.permission import permission
from scansynth.data.tensors import Case, Cohort, cases_for, load_cohort
from scansynth.engine.processes import worker_count
from scansynth.errors import CohortError
from scansynth.gan.models.family import Form
from scansynth.learning.device import pick_device
from scansynth.ledger import Use
from scansynth.metrics.threads import one_thread
from scansynth.pipeline.forecast import probe
from scansynth.pipeline.supply import supplies, untrained
from scansynth.recipe import AugmentationSettings
from scansynth.seeds import generator
from scansynth.study import Study
from scansynth.utility.arms import has_ratio
from scansynth.utility.detector.fit import FitSettings, fit
from scansynth.utility.detector.material import Material, Phase
from scansynth.utility.detector.networks import SIZES, map_factor
from scansynth.utility.grid import fit_settings
from scansynth.utility.leaving import can_leave_out, left_out
from scansynth.utility.statistics.power import Assumed, Counts, Plan, Sample, plan_utility
from scansynth.utility.statistics.rulings import CONTROLS, contrast_names

_PROBE_STEPS = 24
_NOISE_IMAGES = 256


@dataclass(frozen=True)
class Cost:
    """Cost of a trial.

    Attributes:
        generators: That are not trained yet.
        training_hours: Of these, on this machine.
        jobs: Detectors of the whole grid, those with a site left out included.
        job_hours: Of these, on this machine.
        workers: Jobs at a time.
    """

    generators: int
    training_hours: float
    jobs: int
    job_hours: float
    workers: int


def counts_of(cohort: Cohort) -> Counts:
    """Images and patients of an ingested cohort that a trial would count on.

    Raises:
        CohortError: There are no labels, or a role lacks a class.
    """
    if cohort.facts.positive is None:
        raise CohortError("a trial needs labels and a positive label; set cohort.labels and cohort.positive")
    test, calibrate = cases_for(cohort, Use.UTILITY), cases_for(cohort, Use.THRESHOLD)

    def sample(cases: Sequence[Case], positive: bool, role: str) -> Sample:
        own = [case for case in cases if (case.label == cohort.facts.positive) == positive]
        if not own:
            raise CohortError(f"the role {role} has no image {'with' if positive else 'without'} a lesion; add cases")
        return Sample(len(own), len({case.patient for case in own}))

    return Counts(sample(test, True, "test"), sample(test, False, "test"), sample(calibrate, False, "calibrate"))


def prospect(study: Study, gain: float, power: float, assumed: Assumed | None = None) -> Plan:
    """What the study's cohort can show under its own settings.

    The claim must survive Holm's correction over all comparisons (its first step, the strictest), and the controls
    are assumed to pass.

    Args:
        study: With an ingested cohort.
        gain: To be detected, as a change of sensitivity.
        power: Wished for.
        assumed: Of the detectors; none: the round numbers of docs/utility.md.
    """
    settings = study.config.utility
    counts = counts_of(load_cohort(study.cohort))
    return plan_utility(
        counts,
        gain=gain,
        margin=settings.margin,
        rate=settings.false_alarm_rate,
        pairs=settings.pairs,
        power=power,
        level=study.config.evidence.level,
        comparisons=sum(arm not in CONTROLS for arm, _ in contrast_names(settings.arms)),
        assumed=assumed,
    )


def cost(study: Study) -> Cost:
    """Generators, detectors and hours; measures this machine for some seconds on noise.

    Raises:
        ScansynthError: Settings or cohort are wrong.
    """
    cohort, device = load_cohort(study.cohort), pick_device()
    settings, recipe = study.config.utility, study.recipe()
    todo = untrained(study, supplies(study))
    images = {label: len(cases_for(cohort, Use.GENERATOR, (label,))) for label in cohort.facts.labels}
    seen = sum(supply.epochs * math.ceil(images[supply.label] * supply.fraction) for supply in todo)
    cells = sum(len(settings.doses) if has_ratio(arm) else 1 for arm in settings.arms)
    jobs = cells * len(settings.fractions) * settings.pairs
    groups, _ = left_out(cohort, settings, study.config.seed)
    jobs += len(groups) * settings.pairs * sum(can_leave_out(arm) for arm in settings.arms)
    workers, trainers = worker_count(study.config.engine, jobs), worker_count(study.config.engine, len(todo))
    with one_thread():
        speed = probe(recipe, Form(cohort.facts.shape, 1, 1), recipe.schedule.batch, device)[0] if todo else 1.0
        seconds = seconds_of_step(fit_settings(study, cohort), cohort) * settings.steps
    hours = 1.0 / 3600.0
    return Cost(len(todo), seen / speed / trainers * hours, jobs, jobs * seconds / workers * hours, workers)


def seconds_of_step(settings: FitSettings, cohort: Cohort) -> float:
    """Time of one optimiser step of a detector on noise, the start left out."""
    rng, shape = generator(0, "probe"), cohort.facts.shape
    images = rng.integers(0, 65536, (_NOISE_IMAGES, *shape), dtype=np.uint16)
    places = np.arange(_NOISE_IMAGES)
    phase = Phase(1.0, places[: _NOISE_IMAGES // 2], places[_NOISE_IMAGES // 2 :], True)
    plan = plan_augmentation(AugmentationSettings(), permission(cohort.facts.modality, cohort.facts.view))
    targets = known = None
    if settings.lesions:
        factor = map_factor(max(shape), SIZES[settings.network])
        drawn = (shape[0] // factor, shape[1] // factor)
        targets, known = np.zeros((_NOISE_IMAGES, *drawn), np.uint8), np.ones(_NOISE_IMAGES, np.bool_)

    def run(steps: int) -> float:
        began = time.monotonic()
        fit(Material(images, targets, known), (phase,), replace(settings, steps=steps), plan, 0, pick_device())
        return time.monotonic() - began

    run(2)
    return max(1e-6, (run(2 * _PROBE_STEPS) - run(_PROBE_STEPS)) / _PROBE_STEPS)


def told(plan: Plan, say: Callable[[str], None]) -> None:
    """Prints the plan."""
    counts, points = plan.counts, f"{100 * plan.gain:g} points"
    say(
        f"test: {counts.test_positive.images} images with a lesion of {counts.test_positive.patients} patients, "
        f"{counts.test_negative.images} without of {counts.test_negative.patients}; "
        f"for the threshold: {counts.calibrate_negative.images} without of {counts.calibrate_negative.patients}"
    )
    for what, count in plan.missing.items():
        say(f"missing: {count} patients in {what}; without them the trial runs and its verdict is not assessable")
    say(
        f"a true gain of {points} of sensitivity would be shown in {plan.chance:.0%} of trials of this size, among "
        f"{plan.wish.comparisons} comparisons, provided the positive control is shown too"
    )
    detectable = "none" if plan.detectable is None else f"{100 * plan.detectable:.1f} points"
    say(f"smallest gain detectable after correction in {plan.power:.0%} of trials, false alarms aside: {detectable}")
    if plan.needed is None:
        say(f"no size of cohort shows {points} with {plan.pairs} generators; plan more generators (utility.pairs)")
    else:
        need = plan.needed
        say(
            f"to show {points} in {plan.power:.0%} of trials with {plan.pairs} generators: "
            f"{need.test_positive.patients} test patients with a lesion, {need.test_negative.patients} without, "
            f"{need.calibrate_negative.patients} without for the threshold"
        )
    if plan.pairs_needed is not None and plan.pairs_needed != plan.pairs:
        say(f"or, with this cohort: {plan.pairs_needed} generators")
    say(
        f"any trial needs at least {plan.mcnemar} lesions and {plan.negatives} negative images of as many patients "
        f"(assumed: pairs of detectors differ on {plan.assumed.discordance:.0%} of lesions and "
        f"{plan.assumed.negative_discordance:.0%} of negative images)"
    )
