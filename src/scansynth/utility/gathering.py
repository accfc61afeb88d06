"""Scores of finished jobs -> what the analysis reads: a block for each share of the patients and each dose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scansynth.config import UtilitySettings
from scansynth.data.tensors import load_cohort
from scansynth.errors import EvidenceError
from scansynth.files import read_csv
from scansynth.metrics.marks import Candidates, Lesions, mark
from scansynth.seeds import generator
from scansynth.study import CANDIDATES, LESIONS, SCORES, Study
from scansynth.utility.external import ROLE, external_specs, scores_name
from scansynth.utility.grid import Grid
from scansynth.utility.job import JobSpec
from scansynth.utility.statistics.froc import Detections, dealt_anew
from scansynth.utility.statistics.outcomes import BASIC, Block, Scored, read_scores, stack


@dataclass(frozen=True)
class LeftOut:
    """Detectors that were trained without one value of a column, on the patients who have it.

    Attributes:
        column: Of labels.csv.
        value: Left out.
        block: Arms without synthetic images; its test part holds the patients who were left out.
    """

    column: str
    value: str
    block: Block


def blocks(study: Study, grid: Grid) -> tuple[Block, ...]:
    """A block for each share and dose, in the order in which the settings name them.

    Raises:
        EvidenceError: A job is missing or damaged.
    """
    settings = study.config.utility
    names = tuple(spec.name for spec in external_specs(study, grid))
    whole = [spec for spec in grid.specs if not spec.left_out[0]]
    return tuple(
        _block(_cell(whole, fraction, ratio), settings, names)
        for fraction in settings.fractions
        for ratio in settings.doses
    )


def left_out(study: Study, grid: Grid) -> tuple[LeftOut, ...]:
    """What was trained without a site, a scanner, or whatever `utility.leave_out` names."""
    found = []
    largest = max(study.config.utility.fractions)
    for column, value in dict.fromkeys(spec.left_out for spec in grid.specs if spec.left_out[0]):
        own = [spec for spec in grid.specs if spec.left_out == (column, value) and spec.fraction == largest]
        found.append(LeftOut(column, value, _block(own, study.config.utility, ())))
    return tuple(found)


def _cell(specs: Sequence[JobSpec], fraction: float, ratio: float) -> list[JobSpec]:
    """Jobs of a share and a dose; arms without synthetic images have the dose 0 and belong to each."""
    return [spec for spec in specs if spec.fraction == fraction and spec.ratio in {0.0, ratio}]


def _block(specs: Sequence[JobSpec], settings: UtilitySettings, external: Sequence[str]) -> Block:
    arms = tuple(arm for arm in settings.arms if any(spec.arm == arm for spec in specs))
    scored = {(spec.arm, spec.pair): read_scores(spec.folder / SCORES) for spec in specs}
    missing = [key for key, roles in scored.items() if not {"calibrate", "test"} <= roles.keys()]
    if missing:
        raise EvidenceError(f"a job of the arm {missing[0][0]} has scores of too few roles; run the trial again")

    def part(role: str) -> Mapping[tuple[str, int], Scored]:
        return {key: roles[role] for key, roles in scored.items()}

    return Block(
        arms=arms,
        calibrate=stack(part("calibrate"), arms, settings.pairs),
        test=stack(part("test"), arms, settings.pairs),
        fraction=specs[0].fraction,
        ratio=max(spec.ratio for spec in specs) or 1.0,
        train={key: roles["train"] for key, roles in scored.items() if "train" in roles},
        external={
            name: stack(
                {(spec.arm, spec.pair): read_scores(spec.folder / scores_name(name))[ROLE] for spec in specs},
                arms,
                settings.pairs,
            )
            for name in external
        },
    )


def attributes(study: Study, block: Block) -> dict[str, tuple[str, ...]]:
    """Attributes of each test image, in the block's order; those that are the same for all are left out."""
    known = {case.case: case.attributes for case in load_cohort(study.cohort).cases}
    names = dict.fromkeys(name for case in block.test.cases for name in known[case])
    values = {name: tuple(known[case].get(name, "") for case in block.test.cases) for name in names}
    return {name: own for name, own in values.items() if len(set(own) - {""}) > 1}


def detections(study: Study, grid: Grid, found: Sequence[Block]) -> dict[int, Detections]:
    """What the detectors of each block marked; empty where images are judged as a whole."""
    path = study.trial / LESIONS
    if not grid.plan["fit"]["lesions"]:
        return {}
    rows = read_csv(path)
    whole = [spec for spec in grid.specs if not spec.left_out[0]]
    return {
        place: _detections(block, rows, _cell(whole, block.fraction, block.ratio), study.config.seed)
        for place, block in enumerate(found)
    }


def _detections(block: Block, rows: Sequence[Mapping[str, str]], specs: Sequence[JobSpec], seed: int) -> Detections:
    """The marks of every detector, on images of which all lesions are known: one without a mask could not be hit."""
    known = ~block.test.positive | np.isin(block.test.cases, [row["case"] for row in rows])
    place = {str(case): index for index, case in enumerate(block.test.cases[known])}
    patients, positive = block.test.patients[known], block.test.positive[known]
    lesions = lesions_of(rows, place)
    folders = {(spec.arm, spec.pair): spec.folder for spec in specs}
    pairs = range(block.pairs)

    def candidates(arm: str, pair: int) -> Candidates:
        seen = [row for row in _table(folders[arm, pair]) if row["case"] in place]
        return Candidates(_places(seen, place), *(_numbers(seen, name) for name in ("row", "column", "score")))

    def dealt(pair: int) -> Candidates:
        rng = generator(seed, "places of other images", block.fraction, block.ratio, pair)
        return dealt_anew(candidates(BASIC, pair), patients, positive, rng)

    return Detections(
        patients,
        tuple(tuple(mark(candidates(arm, pair), lesions, len(place)) for pair in pairs) for arm in block.arms),
        tuple(mark(dealt(pair), lesions, len(place)) for pair in pairs),
    )


def lesions_of(rows: Sequence[Mapping[str, str]], place: Mapping[str, int]) -> Lesions:
    """The lesions of some images.

    Args:
        rows: Of `lesions.csv`.
        place: Of each image, by the name of its case.
    """
    own = [row for row in rows if row["case"] in place]
    return Lesions(_places(own, place), *(_numbers(own, name) for name in ("row", "column", "radius")))


def _table(folder: Path) -> list[dict[str, str]]:
    try:
        return read_csv(folder / CANDIDATES)
    except (OSError, UnicodeDecodeError) as fault:
        raise EvidenceError(f"{CANDIDATES} of a job is missing or damaged; run the trial again") from fault


def _places(rows: Sequence[Mapping[str, str]], place: Mapping[str, int]) -> Any:
    return np.array([place[row["case"]] for row in rows], dtype=np.int64)


def _numbers(rows: Sequence[Mapping[str, str]], name: str) -> Any:
    return np.array([float(row[name]) for row in rows], dtype=np.float64)
