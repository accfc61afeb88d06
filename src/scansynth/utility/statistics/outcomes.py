"""What the detectors said: scores of every arm and pair on the same images."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.errors import EvidenceError

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Names = NDArray[np.str_]

REAL, BASIC, PUBLISHED, COMBINED = "real", "basic", "synthetic", "basic-synthetic"
PLACEBO, POSITIVE_CONTROL, RIVAL = "duplicates", "reserve", "copy-paste"
"""Names of arms that the rule speaks of."""

COLUMNS = ("case", "patient", "role", "positive", "score")
"""Of scores.csv."""


@dataclass(frozen=True)
class Scored:
    """What one detector said of the images of one role.

    Attributes:
        cases: Hash of each image (n,).
        patients: Hash of each image's patient (n,).
        positive: Which images show a lesion (n,).
        scores: Higher is more suspicious (n,).

    Raises:
        EvidenceError: Shapes differ, or a score is not a number.
    """

    cases: Names
    patients: Names
    positive: Mask
    scores: Floats

    def __post_init__(self) -> None:
        if not len(self.cases) == len(self.patients) == len(self.positive) == len(self.scores):
            raise EvidenceError("scores do not match their images; run the trial again")
        if not np.isfinite(self.scores).all():
            raise EvidenceError("a detector gave a score that is not a number; run the trial again")


@dataclass(frozen=True)
class Part:
    """What all detectors said of the same images.

    Attributes:
        patients: Hash of each image's patient (n,).
        positive: Which images show a lesion (n,).
        scores: (arms, pairs, n); higher is more suspicious.
        cases: Hash of each image (n,), or empty.

    Raises:
        EvidenceError: Shapes differ, or a score is not a number.
    """

    patients: Names
    positive: Mask
    scores: Floats
    cases: Names = field(default_factory=lambda: np.empty(0, dtype=np.str_))

    def __post_init__(self) -> None:
        count = len(self.patients)
        fits = self.scores.ndim == 3 and self.scores.shape[2] == count == len(self.positive)
        if not fits or len(self.cases) not in {0, count}:
            raise EvidenceError("scores do not match their images; run the trial again")
        if not np.isfinite(self.scores).all():
            raise EvidenceError("a detector gave a score that is not a number; run the trial again")

    def patients_with(self, positive: bool) -> int:
        """How many patients have an image with (or without) a lesion."""
        return len(np.unique(self.patients[self.positive == positive]))


@dataclass(frozen=True)
class Block:
    """All arms at one share of the real patients and one dose of synthetic images.

    Attributes:
        arms: Names, in the order of the scores.
        calibrate: Where thresholds and temperatures come from.
        test: Where the result comes from.
        fraction: Share of the train patients, 0..1.
        ratio: Synthetic images for each real one.
        train: What each (arm, pair) said of the images that it learned from; may be empty.
        external: The same detectors on other cohorts, by name.

    Raises:
        EvidenceError: Arms and scores do not match, or a patient is in calibrate and in test.
    """

    arms: tuple[str, ...]
    calibrate: Part
    test: Part
    fraction: float = 1.0
    ratio: float = 1.0
    train: Mapping[tuple[str, int], Scored] = field(default_factory=dict)
    external: Mapping[str, Part] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.arms), self.pairs)
        parts = (self.calibrate, self.test, *self.external.values())
        if len(set(self.arms)) != len(self.arms) or any(part.scores.shape[:2] != shape for part in parts):
            raise EvidenceError("arms and scores do not match; run the trial again")
        for name, part in {"test": self.test, **self.external}.items():
            shared = np.intersect1d(self.calibrate.patients, part.patients)
            if len(shared):
                raise EvidenceError(
                    f"{len(shared)} patients of calibrate are in {name} too, so nothing measured there counts; "
                    "give every patient one role"
                )

    @property
    def pairs(self) -> int:
        """Detectors of each arm."""
        return int(self.calibrate.scores.shape[1])

    def place(self, arm: str) -> int:
        """Where an arm stands in the scores."""
        return self.arms.index(arm)


def read_scores(path: Path) -> dict[str, Scored]:
    """The scores of one job, by role.

    Raises:
        EvidenceError: The file is damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        return {role: _scored([row for row in rows if row["role"] == role]) for role in {row["role"] for row in rows}}
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise EvidenceError(f"{path.name} of a job is missing or damaged; run the trial again") from fault


def _scored(rows: list[dict[str, Any]]) -> Scored:
    if any(row["positive"] not in {"0", "1"} for row in rows):
        raise ValueError("positive is 0 or 1")
    return Scored(
        np.array([row["case"] for row in rows], dtype=np.str_),
        np.array([row["patient"] for row in rows], dtype=np.str_),
        np.array([row["positive"] == "1" for row in rows], dtype=np.bool_),
        np.array([float(row["score"]) for row in rows], dtype=np.float64),
    )


def stack(jobs: Mapping[tuple[str, int], Scored], arms: tuple[str, ...], pairs: int) -> Part:
    """The scores of all jobs on the same images, in the order of the first one's.

    Args:
        jobs: By (arm, pair); each of them must be there.
        arms: In the order of the result.
        pairs: Detectors of each arm.

    Raises:
        EvidenceError: A job is missing, or scored other images.
    """
    missing = [(arm, pair) for arm in arms for pair in range(pairs) if (arm, pair) not in jobs]
    if missing:
        arm, pair = missing[0]
        raise EvidenceError(f"{len(missing)} jobs are missing ({arm}, pair {pair} first); run the trial to its end")
    first = jobs[arms[0], 0]
    order = np.argsort(first.cases)
    rows = np.empty((len(arms), pairs, len(order)))
    for place, arm in enumerate(arms):
        for pair in range(pairs):
            job = jobs[arm, pair]
            own = np.argsort(job.cases)
            alike = np.array_equal(job.cases[own], first.cases[order]) and np.array_equal(
                (job.patients[own], job.positive[own]), (first.patients[order], first.positive[order])
            )
            if not alike:
                raise EvidenceError(f"{arm}, pair {pair}, scored other images than the first job; run the trial again")
            rows[place, pair] = job.scores[own]
    return Part(first.patients[order], first.positive[order], rows, first.cases[order])
