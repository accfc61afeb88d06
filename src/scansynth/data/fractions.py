"""A part of the train patients, for learning curves: nested, and the same for a generator and its detectors."""

from __future__ import annotations

import math

from scansynth.data.tensors import Cohort
from scansynth.ledger import Role
from scansynth.seeds import generator

Without = tuple[str, str]
"""A column of labels.csv and its value: patients who have it are left out."""

NOBODY: Without = ("", "")


def patients_with(cohort: Cohort, column: str, value: str) -> frozenset[str]:
    """Patients who have at least one image with this value of an attribute."""
    return frozenset(case.patient for case in cohort.cases if case.attributes.get(column) == value)


def train_part(cohort: Cohort, fraction: float, seed: int, without: Without = NOBODY) -> frozenset[str]:
    """Train patients that belong to a share of them, drawn by the seed.

    Patients with a positive image and patients without one are drawn apart, each rounded up, so that a small share
    keeps the proportion. A smaller share lies within every larger one of the same seed.

    Args:
        cohort: The cohort.
        fraction: Share of the patients, over 0 and at most 1.
        seed: Of the pair of generator and detectors.
        without: Who is left out, after the share was drawn: the others stay the same.

    Raises:
        ValueError: The share is no share.
    """
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"a share of patients must be above 0 and at most 1, not {fraction}")
    train = [case for case in cohort.cases if case.role is Role.TRAIN]
    positive = {case.patient for case in train if case.label == cohort.facts.positive}
    kept: set[str] = set()
    for name, stratum in (("positive", positive), ("other", {case.patient for case in train} - positive)):
        order = generator(seed, "fraction", name).permutation(sorted(stratum)).tolist()
        kept.update(order[: math.ceil(fraction * len(order))])
    return frozenset(kept) - (patients_with(cohort, *without) if without != NOBODY else frozenset())
