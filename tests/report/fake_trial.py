"""A trial of the fake study: declared and analysed by the real functions, from scores that are made up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from image_sets import change_set
from scipy.special import expit, logit

from scansynth.config import UtilitySettings
from scansynth.console import silent
from scansynth.data.imageset import open_set
from scansynth.data.tensors import Case, cases_for, load_cohort
from scansynth.ledger import Use
from scansynth.metrics.marks import Candidates, Lesions, mark
from scansynth.pipeline import utility
from scansynth.study import Study
from scansynth.utility import grid, inputs
from scansynth.utility.gathering import LeftOut
from scansynth.utility.provenance import Origin
from scansynth.utility.statistics import groups
from scansynth.utility.statistics.froc import Detections, dealt_anew
from scansynth.utility.statistics.outcomes import Block, Part, Scored
from scansynth.utility.statistics.results import Analysis

ARMS = ("real", "basic", "synthetic", "basic-synthetic", "duplicates", "reserve")
GAINS: Mapping[str, Mapping[str, float]] = {
    "shown": {"basic-synthetic": 0.75, "synthetic": 0.25, "reserve": 1.2, "real": -0.5},
    "not shown": {"basic-synthetic": 0.15, "reserve": 1.2, "real": -0.5},
    "refuted": {"basic-synthetic": -0.9, "synthetic": -1.1, "reserve": 1.2, "real": -0.5},
    "not assessable": {"basic-synthetic": 0.5},
}
"""By the verdict that they come to: how much further apart an arm's detectors hold the classes than basic's."""

PAIRS = 5
APART = 1.35
"""Standard deviations between the classes in the eye of the arm basic."""


def with_settings(study: Study, **changes: Any) -> Study:
    settings = UtilitySettings(**{"arms": ARMS, "pairs": PAIRS, "draws": 200, "margin": 0.1, **changes})
    return replace(study, config=study.config.model_copy(update={"utility": settings}))


def part_of(cases: tuple[Case, ...], positive: str, gains: Mapping[str, float], rng: np.random.Generator) -> Part:
    """Scores of all arms and pairs: what a patient and an image show to all detectors, and each one's own noise."""
    lesion = np.array([case.label == positive for case in cases])
    names, place = np.unique([case.patient for case in cases], return_inverse=True)
    shared = 0.35 * rng.normal(size=len(names))[place] + 0.75 * rng.normal(size=len(cases))
    rows = np.stack(
        [(APART + gains.get(arm, 0.0)) * lesion + shared + 0.3 * rng.normal(size=(PAIRS, len(cases))) for arm in ARMS]
    )
    return Part(names[place], lesion, expit(1.6 * rows - 1.5), np.array([case.case for case in cases]))


def blocks_of(study: Study, gains: Mapping[str, float], seed: int = 0) -> list[Block]:
    """One block for each share and dose that the study names."""
    cohort, settings = load_cohort(study.cohort), study.config.utility
    positive = str(cohort.facts.positive)
    blocks = []
    for fraction in settings.fractions:
        for ratio in settings.doses:
            rng = np.random.default_rng([seed, int(100 * fraction), int(100 * ratio)])
            own = {arm: gain * (0.4 + 0.6 * min(ratio, 1.5)) for arm, gain in gains.items()}
            own = {arm: own.get(arm, 0.0) - 0.9 * (1.0 - fraction) for arm in ARMS}
            calibrate, test, train = (
                part_of(cases_for(cohort, reader), positive, own, rng)
                for reader in (Use.THRESHOLD, Use.UTILITY, Use.DETECTOR)
            )
            learned = {
                (arm, pair): Scored(
                    train.cases,
                    train.patients,
                    train.positive,
                    expit(logit(train.scores[place, pair]) + 1.2 * train.positive),
                )
                for place, arm in enumerate(ARMS)
                for pair in range(PAIRS)
            }
            blocks.append(Block(ARMS, calibrate, test, fraction, ratio, learned))
    return blocks


def detections_of(block: Block, seed: int = 0) -> Detections:
    """A lesion in each positive image, and marks on it and elsewhere as the image's score says."""
    rng = np.random.default_rng(seed)
    positive = block.test.positive
    where = np.flatnonzero(positive)
    middle = np.full(len(where), 16.0)
    lesions = Lesions(where, middle, middle, np.full(len(where), 3.0))
    found = [[_marks(own, positive, rng) for own in arm] for arm in block.test.scores]
    marks = [[mark(own, lesions, len(positive)) for own in arm] for arm in found]
    dealt = [
        mark(dealt_anew(own, block.test.patients, positive, rng), lesions, len(positive))
        for own in found[block.place("basic")]
    ]
    return Detections(block.test.patients, tuple(tuple(row) for row in marks), tuple(dealt))


def _marks(scores: np.ndarray, positive: np.ndarray, rng: np.random.Generator) -> Candidates:
    hit = np.flatnonzero(positive & (rng.random(len(scores)) < 0.4 + 0.6 * scores))
    stray = rng.integers(len(scores), size=2 * len(scores))
    image = np.concatenate([hit, stray])
    row = np.concatenate([np.full(len(hit), 16.5), np.full(len(stray), 4.0)])
    return Candidates(image, row, row.copy(), np.concatenate([scores[hit], 0.6 * scores[stray]]))


def make_trial(
    study: Study,
    verdict: str = "shown",
    attributes: bool = True,
    lesions: bool = False,
    **changes: Any,
) -> tuple[Study, Analysis]:
    """Concludes a trial from scores made up, in the place of those of its jobs; returns the study with its settings."""
    study = with_settings(study, lesions="on" if lesions else "off", **changes)
    if lesions:  # a square in every image; where it is does not matter here
        masks = np.zeros(open_set(study.cohort).planes.shape, np.uint8)
        masks[:, 13:19, 13:19] = 1
        change_set(study.cohort, masks=masks)
    blocks = blocks_of(study, GAINS[verdict])
    test = cases_for(load_cohort(study.cohort), Use.UTILITY)
    of_patients = {"sex": ["F" if int(case.patient, 16) % 3 else "M" for case in test]} if attributes else {}
    without = [LeftOut("sex", "M", elsewhere(blocks[0]))] if attributes else []
    with pytest.MonkeyPatch.context() as patch:  # neither sets nor jobs are on the disk
        patch.setattr(inputs, "check_set", lambda *_: Origin("0" * 64, True))
        patch.setattr(utility, "blocks", lambda *_: blocks)
        patch.setattr(utility, "attributes", lambda *_: of_patients)
        patch.setattr(utility, "detections", lambda *_: {0: detections_of(blocks[0])} if lesions else {})
        patch.setattr(utility, "left_out", lambda *_: without)
        declared = grid.declare(
            study, lambda fraction, pair, without: (study.synthetic(f"trial-f{100 * fraction:g}-p{pair}"),)
        )
        study.trial.mkdir(exist_ok=True)
        grid.write_plan(study, declared)
        return study, utility.conclude(study, declared, silent)


def elsewhere(block: Block) -> Block:
    """Most of the test patients: as if their site had been left out."""
    kept = np.isin(block.test.patients, np.unique(block.test.patients)[4:])
    return Block(block.arms, block.calibrate, groups.part_of(block.test, kept))
