"""The grid of a trial: every job declared before any is run, and run wherever there is capacity."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scansynth.config import UtilitySettings
from scansynth.console import Progress, silent
from scansynth.data.fractions import NOBODY, Without, train_part
from scansynth.data.tensors import Case, Cohort, cases_for, load_cohort
from scansynth.engine.job import Job, Outcome
from scansynth.engine.run import run_jobs
from scansynth.errors import CohortError, StudyError, TrainingError
from scansynth.files import sha256_json, write_csv, write_json
from scansynth.learning.device import pick_device
from scansynth.ledger import Role, Use
from scansynth.metrics.lesions import find_lesions
from scansynth.stage import plain, read_record
from scansynth.study import LESIONS, PLAN, Study
from scansynth.utility.arms import has_ratio, images_asked
from scansynth.utility.detector.fit import FitSettings
from scansynth.utility.detector.networks import resolve
from scansynth.utility.filter import check_tune
from scansynth.utility.inputs import Inputs, SetsOf
from scansynth.utility.job import JobSpec, is_done, pair_seed, run_job, spec_values
from scansynth.utility.leaving import can_leave_out, specs_without, values_of
from scansynth.utility.pools import check_division
from scansynth.utility.standing import read_plan

FORMAT = 1


@dataclass(frozen=True)
class Grid:
    """All jobs of a trial, as declared.

    Attributes:
        specs: In the order in which they run: pair after pair, so that a grid cut short has whole pairs.
        plan: What is written as `plan.json`, its own hash included.
    """

    specs: tuple[JobSpec, ...]
    plan: Mapping[str, Any]


def job_name(arm: str, fraction: float, ratio: float, pair: int) -> str:
    """Name of a job, such as f100-r1-basic-synthetic-p0; the share in percent."""
    return f"f{100.0 * fraction:g}-r{ratio:g}-{arm}-p{pair}"


def images_needed(
    study: Study, cohort: Cohort, fraction: float, pair: int, without: Without = NOBODY
) -> dict[str, int]:
    """Synthetic images of each label that the arms of one pair take at most; empty when no arm takes any.

    Args:
        study: The study.
        cohort: Its cohort.
        fraction: Share of the train patients.
        pair: Number of the pair.
        without: Who is left out.
    """
    settings = study.config.utility
    subset = train_part(cohort, fraction, pair_seed(study.config.seed, pair), without)
    train = [case for case in cases_for(cohort, Use.DETECTOR) if case.patient in subset]
    reals = sum(case.label == cohort.facts.positive for case in train)
    arms = settings.arms if without == NOBODY else [arm for arm in settings.arms if can_leave_out(arm)]
    ratios = settings.doses if without == NOBODY else settings.doses[:1]
    most = max((images_asked(arm, reals, ratio) for arm in arms for ratio in ratios), default=0)
    return {label: most for label in settings.classes or (str(cohort.facts.positive),) if most}


def check_study(study: Study) -> tuple[Cohort, str]:
    """The cohort and its digest, when the trial can be run on it: asked before any generator is trained.

    Raises:
        CohortError: There is no cohort, it has no labels, a class is missing in a role, an arm lacks the patients that
            it needs, or lesions or a column are asked for that are not there.
        LedgerError: A patient stands in two roles.
    """
    cohort, settings = load_cohort(study.cohort), study.config.utility
    record = read_record(study.cohort)
    if cohort.facts.unlabelled or cohort.facts.positive is None or record is None:
        raise CohortError("a trial needs labels and a positive label; set cohort.labels and cohort.positive")
    fit_settings(study, cohort)
    for pair in range(settings.pairs):
        for fraction in settings.fractions:
            part = train_part(cohort, fraction, pair_seed(study.config.seed, pair))
            check_division(cohort, part, arms=settings.arms)
    lesion = (cohort.facts.positive,)
    if "reserve" in settings.arms and not cases_for(cohort, Use.POSITIVE_CONTROL, lesion):
        raise CohortError(
            "the arm reserve needs images with a lesion of reserve patients, and there are none; change cohort.shares, "
            "or leave the arm out"
        )
    if "filtered" in settings.arms:
        for label in settings.classes or lesion:
            check_tune(len(cases_for(cohort, Use.SET_FILTER, (label,))))
    if settings.leave_out is not None:
        values_of(cohort, settings.leave_out)
    return cohort, record.digest


def declare(study: Study, sets: SetsOf) -> Grid:
    """Every job of the trial, checked as far as that is possible before any is run.

    Args:
        study: The study.
        sets: Which synthetic sets belong to a share and a pair; asked only where an arm needs one.

    Raises:
        CohortError: There is no cohort, it has no labels, or a class is missing in a role.
        LedgerError: Patients stand in two roles, or a set's generator saw others than it may.
        StudyError: A set is missing.
    """
    cohort, digest = check_study(study)
    settings = study.config.utility
    fit = fit_settings(study, cohort)
    inputs = Inputs(study, cohort, digest, sets)
    specs = list[JobSpec]()
    for pair in range(settings.pairs):
        for fraction in settings.fractions:
            for arm, ratio in _cells(settings):
                folders, digests = inputs.of(arm, fraction, pair)
                specs.append(
                    JobSpec(
                        name=job_name(arm, fraction, ratio, pair),
                        study=str(study.folder),
                        arm=arm,
                        fraction=fraction,
                        ratio=ratio,
                        pair=pair,
                        seed=pair_seed(study.config.seed, pair),
                        sets=folders,
                        fit=json.dumps(asdict(fit)),
                        false_alarm_rate=settings.false_alarm_rate,
                        inputs=digests,
                    )
                )
    apart, notes = specs_without(study, cohort, inputs, specs)
    unknown = [name for name, origin in inputs.used.items() if not origin["known"]]
    told = [*(f"what the generator of the set {name} has seen is not known" for name in unknown), *notes]
    specs += apart
    return Grid(tuple(specs), _plan(study, cohort, digest, fit, specs, inputs.used, told))


def _cells(settings: UtilitySettings) -> Iterator[tuple[str, float]]:
    """Arms with their ratios; 0 where an arm has none."""
    for arm in settings.arms:
        for ratio in settings.doses if has_ratio(arm) else (0.0,):
            yield arm, ratio


def fit_settings(study: Study, cohort: Cohort) -> FitSettings:
    """How the detectors are trained, with nothing left to choose.

    Raises:
        CohortError: Lesions are asked for, and there are no masks.
    """
    settings = study.config.utility
    masked = cohort.images.masks is not None
    if settings.lesions == "on" and not masked:
        raise CohortError("utility.lesions is on and the cohort has no masks; give masks in labels.csv, or set it off")
    # in a patch around the lesion its place is given away
    lesions = settings.lesions == "on" or (settings.lesions == "auto" and masked and cohort.facts.view != "patch")
    network = resolve(settings.network, pick_device())
    return FitSettings(network, lesions, settings.steps, settings.batch, settings.learning_rate)


def _plan(
    study: Study,
    cohort: Cohort,
    digest: str,
    fit: FitSettings,
    specs: Sequence[JobSpec],
    used: Mapping[str, Any],
    notes: Sequence[str],
) -> dict[str, Any]:
    """What is declared, with its own hash."""
    settings = study.config.utility.model_dump(mode="json")
    settings["external"] = [Path(path).name for path in study.config.utility.external]
    counts = {
        role.value: {
            "patients": len({case.patient for case in cohort.cases if case.role is role}),
            "positive": sum(case.label == cohort.facts.positive for case in cohort.cases if case.role is role),
            "images": sum(case.role is role for case in cohort.cases),
        }
        for role in Role
    }
    plan = plain(
        {
            "format": FORMAT,
            "cohort": digest,
            "seed": study.config.seed,
            "level": study.config.evidence.level,
            "settings": settings,
            "fit": asdict(fit),
            "roles": counts,
            "sets": dict(used),
            "jobs": [spec_values(spec) for spec in specs],
            "notes": list(notes),
        }
    )
    return {**plan, "sha256": sha256_json(plan)}


def write_plan(study: Study, grid: Grid) -> None:
    """Writes the declaration before any job; an earlier one that says something else is set aside, never lost.

    Raises:
        StudyError: An earlier one is damaged.
    """
    path, lesions = study.trial / PLAN, study.trial / LESIONS
    wanted = bool(grid.plan["fit"]["lesions"])
    if path.exists():
        if read_plan(study)["sha256"] == grid.plan["sha256"]:
            if wanted and not lesions.is_file():
                _write_lesions(lesions, load_cohort(study.cohort))
            return
        number = 1
        while (aside := path.with_name(f"plan.before-{number}.json")).exists():
            number += 1
        path.rename(aside)
        study.log("utility", "declared again", before=number)
    if wanted:
        _write_lesions(lesions, load_cohort(study.cohort))
    write_json(path, dict(grid.plan))


def _write_lesions(path: Path, cohort: Cohort) -> None:
    """Writes centre and radius of each lesion of the calibrate and test cases, in pixels of the ingested image."""
    cases: list[Case] = [*cases_for(cohort, Use.THRESHOLD), *cases_for(cohort, Use.UTILITY)]
    masks = cohort.masks(cases)
    rows = [
        {
            "case": case.case,
            "lesion": number,
            "row": f"{lesion.row:.2f}",
            "column": f"{lesion.column:.2f}",
            "radius": f"{lesion.radius:.2f}",
        }
        for case, mask in zip(cases, [] if masks is None else masks, strict=True)
        for number, lesion in enumerate(find_lesions(mask))
    ]
    write_csv(path, ("case", "lesion", "row", "column", "radius"), rows)


def run_grid(study: Study, grid: Grid, progress: Progress = silent) -> tuple[Outcome, ...]:
    """Runs the jobs that are not done, wherever the study says; what is done is kept.

    Args:
        study: The study.
        grid: Its declared jobs; the plan must be written.
        progress: Told after each job, those of earlier runs included.

    Returns:
        How each job that had to run ended.

    Raises:
        TrainingError: A job refused; the others are kept.
        RuntimeError: A job failed by a fault of the program.
        ConfigError: The engine cannot be reached.
    """
    if read_plan(study)["sha256"] != grid.plan["sha256"]:
        raise StudyError(f"{PLAN} declares another trial than the settings; run: scansynth utility {study.folder}")
    todo = [spec for spec in grid.specs if not is_done(spec)]
    before = len(grid.specs) - len(todo)

    def tell(done: int, total: int, note: str = "") -> None:
        progress(before + done, before + total, note)

    jobs = [Job(spec.name, spec) for spec in todo]
    outcomes = run_jobs(run_job, jobs, study.config.engine, tell)
    for outcome in outcomes:
        if not outcome.succeeded and not outcome.refused:
            raise RuntimeError(f"the job {outcome.name} failed: {outcome.reason}\n{outcome.trace}")
    failed = [outcome for outcome in outcomes if not outcome.succeeded]
    if failed:
        raise TrainingError(
            f"{len(failed)} of {len(grid.specs)} jobs of the trial failed, first {failed[0].name}: "
            f"{failed[0].reason}; the others are kept: run the same command again"
        )
    return outcomes
