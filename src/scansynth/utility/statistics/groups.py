"""The same question by group of patients, and how much an arm learned by heart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scansynth.utility.statistics.effects import LEAST_KEPT, Estimate, Outcome, Outcomes, estimate, measure
from scansynth.utility.statistics.outcomes import Block, Part, Scored
from scansynth.utility.statistics.power import LEAST_TEST
from scansynth.utility.statistics.resampling import Counts, aucs, once, patient_draws, rank
from scansynth.utility.statistics.rulings import PRIMARY

NOT_STATED, OTHERS = "not stated", "all others"

MOST_ROWS = 12
"""Groups of one attribute; with more, those that are too small stand together."""

MOST_GROUPS = 6
"""Different numbers that are still groups of their own."""


@dataclass(frozen=True)
class GroupRow:
    """One group of patients.

    Attributes:
        group: Value of the attribute.
        positive_patients: With a lesion in test.
        positive_images: Likewise.
        negative_images: In test.
        sensitivity: Of each arm; empty where the group is too small.
        gain: Of the primary contrast; None likewise, or where an arm of it is absent.
        false_alarms: Its change of false alarms.
        why: Why nothing is said; empty otherwise.
    """

    group: str
    positive_patients: int
    positive_images: int
    negative_images: int
    sensitivity: Mapping[str, Estimate]
    gain: Estimate | None
    false_alarms: Estimate | None
    why: str


def part_of(part: Part, chosen: NDArray[np.bool_]) -> Part:
    """Some images of a part (n,)."""
    return Part(
        part.patients[chosen],
        part.positive[chosen],
        part.scores[:, :, chosen],
        part.cases[chosen] if len(part.cases) else part.cases,
    )


def in_thirds(values: Sequence[str]) -> tuple[str, ...]:
    """Groups of an attribute: its own values, or thirds of the images where it holds many numbers.

    Args:
        values: Of each image; empty where it is not stated.
    """
    stated = [value for value in values if value]
    try:
        numbers = np.array([float(value) for value in stated])
    except ValueError:
        return tuple(values)
    if len(set(stated)) <= MOST_GROUPS or not np.isfinite(numbers).all():
        return tuple(values)
    low, high = np.quantile(numbers, (1 / 3, 2 / 3))
    names = (f"1: up to {low:g}", f"2: {low:g} to {high:g}", f"3: over {high:g}")
    return tuple(names[int(float(v) > low) + int(float(v) > high)] if v else "" for v in values)


def by_group(
    block: Block, values: Sequence[str], rate: float, draws: int, level: float, rng: np.random.Generator
) -> tuple[GroupRow, ...]:
    """Sensitivity and the primary contrast in each group of the test patients, at the thresholds of all.

    Under `LEAST_TEST` patients with a lesion nothing is said of a group; false alarms need as many without one.

    Args:
        block: All arms.
        values: The attribute of each test image (n,); empty where it is not stated.
        rate: Of false alarms at which thresholds are set.
        draws: Of the patients.
        level: Of the intervals.
        rng: Of this purpose.
    """
    named = np.array([value or NOT_STATED for value in in_thirds(values)], dtype=np.str_)
    if len(set(named.tolist())) > MOST_ROWS:
        named = _together(block.test, named)
    rows = []
    for group in sorted(set(named.tolist()), key=lambda name: (name == NOT_STATED, name)):
        own = part_of(block.test, named == group)
        rows.append(row_of(block, own, group, rate, draws, level, rng))
    return tuple(rows)


def _together(test: Part, named: NDArray[np.str_]) -> NDArray[np.str_]:
    """Groups of which nothing could be said alone, as one."""
    large = {name for name in set(named.tolist()) if part_of(test, named == name).patients_with(True) >= LEAST_TEST} | {
        NOT_STATED
    }
    return np.array([name if name in large else OTHERS for name in named.tolist()], dtype=np.str_)


def row_of(
    block: Block, own: Part, group: str, rate: float, draws: int, level: float, rng: np.random.Generator
) -> GroupRow:
    """One row: a group of the test patients, or a cohort from elsewhere.

    Args:
        block: All arms; thresholds come from its calibrate part.
        own: The images of the group.
        group: Its name.
        rate: Of false alarms at which thresholds are set.
        draws: Of the patients.
        level: Of the intervals.
        rng: Of this purpose.
    """
    patients, positives = own.patients_with(True), int(own.positive.sum())
    negatives = len(own.positive) - positives
    why, found = _hindrance(block, own), None
    if not why:
        found = measure(block.calibrate, own, rate, draws, rng)
        why = "" if found.kept >= LEAST_KEPT else "Too many resamples of the patients lack a class."
    if found is None or why:
        return GroupRow(group, patients, positives, negatives, {}, None, None, why)
    primary = set(PRIMARY) <= set(block.arms)
    places = [block.place(arm) for arm in PRIMARY] if primary else []
    quiet = primary and own.patients_with(False) >= LEAST_TEST
    return GroupRow(
        group,
        patients,
        positives,
        negatives,
        {arm: found.sensitivity.arm(block.place(arm), level) for arm in block.arms},
        found.sensitivity.contrast(places[0], places[1], level) if primary else None,
        found.false_alarms.contrast(places[0], places[1], level) if quiet else None,
        why,
    )


def _hindrance(block: Block, own: Part) -> str:
    patients = own.patients_with(True)
    if block.pairs < 2:
        return "There is one pair only."
    if block.calibrate.positive.all():
        return "No image of the calibrate patients is without a lesion."
    if patients < LEAST_TEST:
        return f"{patients} patients with a lesion, and {LEAST_TEST} are needed: {LEAST_TEST - patients} are missing."
    return "No image without a lesion." if own.positive.all() else ""


def gap(
    jobs: Sequence[Scored], of_test: Outcome, arm: int, draws: int, level: float, rng: np.random.Generator
) -> Estimate:
    """AUC on the images that an arm learned from, less its AUC on test: what it learned by heart.

    Patients of both sides are drawn. Pairs learn from other patients where the fraction is below one, so their train
    patients are drawn pair by pair, by name: a patient of two pairs has one multiplicity in both.

    Args:
        jobs: What each pair said of its train images; both classes among them.
        of_test: AUC of all arms on test.
        arm: Place of the arm.
        draws: Of the patients.
        level: Of the interval.
        rng: Of this purpose.
    """
    names, place = np.unique(np.concatenate([job.patients for job in jobs]), return_inverse=True)
    times = patient_draws(names, draws, rng)
    ends = np.cumsum([len(job.patients) for job in jobs])
    values, drawn = np.empty(len(jobs)), np.empty((len(jobs), draws))
    for pair, (job, end) in enumerate(zip(jobs, ends, strict=True)):
        own = place[end - len(job.patients) : end]
        values[pair] = _auc(job, once(len(own)))[0] - of_test.values[arm, pair]
        drawn[pair] = _auc(job, times[own])
    drawn = drawn[:, np.isfinite(drawn).all(axis=0)]
    count = min(drawn.shape[1], of_test.draws.shape[2])  # independent samples: any draw goes with any other
    return estimate(values, drawn[:, :count] - of_test.draws[arm, :, :count], of_test.patients, of_test.images, level)


def _auc(job: Scored, times: Counts) -> NDArray[np.float64]:
    positive = job.positive
    return aucs(job.scores[positive], times[positive], rank(job.scores[~positive], times[~positive]))


def gaps(block: Block, outcomes: Outcomes, draws: int, level: float, rng: np.random.Generator) -> dict[str, Estimate]:
    """The gap of every arm whose detectors scored train images of both classes."""
    found = {}
    for place, arm in enumerate(block.arms):
        jobs = [block.train[arm, pair] for pair in range(block.pairs) if (arm, pair) in block.train]
        if len(jobs) == block.pairs and all(0 < job.positive.sum() < len(job.positive) for job in jobs):
            found[arm] = gap(jobs, outcomes.auc, place, draws, level, rng)
    return found
