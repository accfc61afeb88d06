"""The utility trial of a study from its declaration to its claims; what is done is kept, whenever it is interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any

from scansynth.claims.judged import write_claims
from scansynth.console import Progress
from scansynth.data.tensors import load_cohort
from scansynth.files import write_json
from scansynth.ledger import PERMITTED, Use
from scansynth.pipeline.supply import make_supplies, sets_of, supplies
from scansynth.seeds import generator
from scansynth.stage import StageRecord, hash_outputs, plain, read_record, versions, write_record
from scansynth.study import ANALYSIS, CLAIMS_FILE, PLAN, Study
from scansynth.utility.external import check_external, external_notes, external_specs, run_external
from scansynth.utility.gathering import LeftOut, attributes, blocks, detections, left_out
from scansynth.utility.grid import Grid, check_study, declare, run_grid, write_plan
from scansynth.utility.standing import STAGE
from scansynth.utility.statistics.analysis import analyse
from scansynth.utility.statistics.groups import row_of
from scansynth.utility.statistics.results import Analysis, Terms, as_plain

_READERS = (Use.DETECTOR, Use.THRESHOLD, Use.UTILITY)

Bar = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Trial:
    """A finished trial: its analysis, and how many jobs had to run for it."""

    analysis: Analysis
    jobs: int
    ran: int


def run_utility(study: Study, bar: Bar, warn: Callable[[str], None], *, even_if_collapsed: bool = False) -> Trial:
    """Makes what is missing of the trial, and judges it.

    Args:
        study: The study, locked by the caller.
        bar: Opens a progress bar with a title.
        warn: Prints a warning.
        even_if_collapsed: Use sets of generators that collapsed.

    Raises:
        ScansynthError: Something cannot be made; all that is finished is kept.
    """
    study.log(STAGE, "began")
    check_study(study)  # what would stop the trial after hours of training stops it here
    check_external(study)
    if supplies(study):
        with bar("training generators") as progress:
            make_supplies(study, progress, warn, even_if_collapsed=even_if_collapsed)
    grid = declared(study)
    write_plan(study, grid)
    with bar("training detectors") as progress:
        ran = run_grid(study, grid, progress)
    outside = external_specs(study, grid)
    if outside:
        with bar("testing on other cohorts") as progress:
            run_external(study, outside, progress)
    with bar("analysing") as progress:
        analysis = conclude(study, grid, progress)
    record = read_record(study.trial)
    study.log(STAGE, "written", jobs=len(grid.specs), ran=len(ran), **(record.logged if record else {}))
    return Trial(analysis, len(grid.specs), len(ran))


def declared(study: Study) -> Grid:
    """The trial as the settings declare it; its synthetic sets must be there.

    Raises:
        ScansynthError: Something that it needs is missing.
    """
    wanted = supplies(study)
    return declare(study, lambda fraction, pair, without: sets_of(study, wanted, fraction, pair, without))


def conclude(study: Study, grid: Grid, progress: Progress) -> Analysis:
    """Analyses the finished jobs, and writes figures, claims and the record.

    Raises:
        EvidenceError: A job is missing or damaged.
    """
    began = time.monotonic()
    settings = study.config.utility
    terms = Terms(settings.false_alarm_rate, settings.margin, settings.draws, study.config.evidence.level)
    found = blocks(study, grid)
    marked = detections(study, grid, found)
    result = analyse(found, terms, study.config.seed, attributes(study, found[0]), marked, progress)
    result = replace(result, claims=tuple(replace(claim, inputs=_inputs(grid)) for claim in result.claims))
    apart = [_row(study, one, terms) for one in left_out(study, grid)]
    _write(study, grid, result, apart, time.monotonic() - began)
    return result


def _row(study: Study, one: LeftOut, terms: Terms) -> dict[str, Any]:
    """One value that was left out, and what the detectors that never saw it are worth there."""
    rng = generator(study.config.seed, "utility", "left out", one.column, one.value)
    row = row_of(one.block, one.block.test, one.value, terms.false_alarm_rate, terms.draws, terms.level, rng)
    return {"column": one.column, **as_plain(row)}


def _write(study: Study, grid: Grid, result: Analysis, apart: list[dict[str, Any]], seconds: float) -> None:
    folder = study.trial
    told = {"left_out": apart, "external_notes": external_notes(grid, external_specs(study, grid))}
    write_json(folder / ANALYSIS, {"plan_sha256": grid.plan["sha256"], **result.as_json(), **told})
    write_claims(folder / CLAIMS_FILE, result.claims)
    readers = [*_READERS, *([Use.POSITIVE_CONTROL] if "reserve" in study.config.utility.arms else [])]
    roles = {role for reader in readers for role in PERMITTED[reader]}
    record = StageRecord(
        stage=STAGE,
        inputs=_inputs(grid),
        settings=plain(asdict(result.terms)),
        outputs=hash_outputs(folder, [folder / name for name in (PLAN, ANALYSIS, CLAIMS_FILE)]),
        seed=study.config.seed,
        roles=tuple(sorted(role.value for role in roles)),
        patients=tuple(sorted({case.patient for case in load_cohort(study.cohort).cases if case.role in roles})),
        seconds=round(seconds, 2),
        versions=versions(),
    )
    write_record(folder, record)


def _inputs(grid: Grid) -> dict[str, str]:
    """Digests of the cohort and of every set that a job read."""
    return {name: digest for spec in grid.specs for name, digest in spec.digests.items()}


def spoken(analysis: Analysis) -> tuple[str, ...]:
    """What the trial found, a line for each comparison of the first block."""
    block = analysis.blocks[0]
    lines = [f"{one.arm} less {one.other}: {one.verdict.value}. {one.why}" for one in block.contrasts]
    return tuple(lines) or (block.why,)
