"""Who is left out of a training to be tried on: a site, a scanner, or whatever a column of labels.csv says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scansynth.config import UtilitySettings
from scansynth.data.fractions import Without, train_part
from scansynth.data.tensors import Cohort
from scansynth.errors import CohortError
from scansynth.study import Study
from scansynth.utility.arms import ARM_PLANS, Extra
from scansynth.utility.inputs import Inputs
from scansynth.utility.job import JobSpec, pair_seed
from scansynth.utility.pools import check_division


def values_of(cohort: Cohort, column: str) -> tuple[str, ...]:
    """The values of a column that are left out in turn.

    Raises:
        CohortError: No case has the column, or there are fewer than two values.
    """
    if not any(column in case.attributes for case in cohort.cases):
        known = ", ".join(sorted({name for case in cohort.cases for name in case.attributes})) or "none"
        raise CohortError(f"utility.leave_out names {column}, which no case has; known columns: {known}")
    values = {case.attributes[column] for case in cohort.cases if case.attributes.get(column)}
    if len(values) < 2:
        raise CohortError(f"utility.leave_out: the column {column} has fewer than two values; remove the setting")
    return tuple(sorted(values))


def left_out(cohort: Cohort, settings: UtilitySettings, seed: int) -> tuple[dict[int, Without], tuple[str, ...]]:
    """Column and value of each group that can be left out, by its number, and why others cannot.

    A number stands in the names of jobs and sets: a value may hold anything.

    Args:
        cohort: The cohort.
        settings: Of the trial.
        seed: The study's.

    Raises:
        CohortError: No case has the column, or there are fewer than two values.
    """
    if settings.leave_out is None:
        return {}, ()
    column, largest = settings.leave_out, max(settings.fractions)
    found, notes = dict[int, Without](), list[str]()
    for number, value in enumerate(values_of(cohort, column), start=1):
        try:
            for pair in range(settings.pairs):
                part = train_part(cohort, largest, pair_seed(seed, pair))
                check_division(cohort, part, (column, value), settings.arms)
        except CohortError as fault:
            notes.append(f"{column} number {number} is not left out: {fault}")
        else:
            found[number] = (column, value)
    return found, tuple(notes)


def can_leave_out(arm: str) -> bool:
    """Whether an arm is trained without a group too: the filter alone looks at patients of all groups."""
    return ARM_PLANS[arm].extra is not Extra.FILTERED


def specs_without(
    study: Study, cohort: Cohort, inputs: Inputs, specs: Sequence[JobSpec]
) -> tuple[list[JobSpec], list[str]]:
    """Jobs that train without one group in turn and are tried on it, and what should be known of them.

    They have the largest share of the train patients and the first ratio alone. Arms with synthetic images read sets of
    generators that have not seen the group either.

    Args:
        study: The study.
        cohort: Its cohort.
        inputs: Of all jobs.
        specs: The jobs of all groups together.

    Raises:
        LedgerError: A set's generator saw others than it may.
        StudyError: A set is missing.
    """
    settings = study.config.utility
    groups, reasons = left_out(cohort, settings, study.config.seed)
    notes = list(reasons)
    if groups and not all(can_leave_out(arm) for arm in settings.arms):
        notes.append(f"the arm filtered leaves no {settings.leave_out} out: its filter looks at patients of all")
    whole = [
        spec
        for spec in specs
        if spec.fraction == max(settings.fractions)
        and spec.ratio in {0.0, settings.doses[0]}
        and can_leave_out(spec.arm)
    ]
    extra = []
    for number, without in groups.items():
        for spec in whole:
            folders, digests = inputs.of(spec.arm, spec.fraction, spec.pair, without)
            name = f"{spec.name}-without-{number}"
            extra.append(replace(spec, name=name, sets=folders, inputs=digests, left_out=without))
    return extra, notes
