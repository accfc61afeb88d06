"""The page of an audit of two folders: the same page, from compared instead of a study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.compared import Compared, Reals
from scansynth.config import CohortSettings, EvidenceSettings, StudyConfig
from scansynth.data.tensors import CohortFacts, to_stored
from scansynth.files import write_text
from scansynth.ledger import Role, Use, check
from scansynth.report.audit.artefacts import read_evidence
from scansynth.report.collect import (
    GRID_SIDE,
    CohortView,
    Findings,
    GridPair,
    Loose,
    SetView,
    StageView,
)
from scansynth.report.render import render
from scansynth.seeds import generator
from scansynth.stage import read_record
from scansynth.study import PAGE, Study

TITLE = "Audit of two folders"


def write_loose_page(
    folder: Path, compared: Compared, facts: CohortFacts, loose: Loose, settings: EvidenceSettings, seed: int
) -> Path:
    """Writes `index.html` beside the evidence in `folder` and returns its path.

    Args:
        folder: What `judge_compared` wrote.
        compared: What was judged; pictures are of the role train alone, as in a study.
        facts: Size, scale and counts of the real images.
        loose: What the page says besides.
        settings: Of the audit.
        seed: Of the audit.

    Raises:
        LedgerError: Pictures were asked of patients that may not be shown.
    """
    check(Use.PICTURES, frozenset(case.role for case in compared.train.cases))
    record = read_record(folder)
    config = StudyConfig(name=TITLE, seed=seed, cohort=CohortSettings(dicom="none", unlabelled=True), evidence=settings)
    synthetic, real = to_stored(compared.synthetic), to_stored(compared.train.images)
    findings = Findings(
        study=Study(folder, config),
        cohort=_cohort(compared, facts),
        training=None,
        synthetic=SetView("", len(synthetic), {"": len(synthetic)}, _grids(real, synthetic, seed)),
        evidence=read_evidence(folder, synthetic, real, [case.case for case in compared.train.cases]),
        stages=(StageView("audit", record, ()),) if record else (),
        journal=(),
        pictured=tuple(sorted({case.patient for case in compared.train.cases})),
        loose=loose,
    )
    write_text(folder / PAGE, render(findings))
    return folder / PAGE


def _cohort(compared: Compared, facts: CohortFacts) -> CohortView:
    parts: Mapping[Role, Reals] = {
        Role.TRAIN: compared.train,
        Role.CALIBRATE: compared.calibrate,
        Role.TEST: compared.test,
    }
    totals = {role: (part.patient_count, len(part.cases)) for role, part in parts.items() if part.cases}
    return CohortView(
        facts=facts,
        images=sum(images for _, images in totals.values()),
        patients=sum(patients for patients, _ in totals.values()),
        by_role={role: {"": total} for role, total in totals.items()},
        totals=totals,
    )


def _grids(real: NDArray[np.uint16], synthetic: NDArray[np.uint16], seed: int) -> tuple[GridPair, ...]:
    """Real and synthetic images as many of each, drawn by the seed."""
    amount = min(GRID_SIDE**2, len(real), len(synthetic))
    if not amount:
        return ()
    drawn = [
        images[generator(seed, "report", kind).choice(len(images), size=amount, replace=False)]
        for kind, images in (("real", real), ("synthetic", synthetic))
    ]
    return (GridPair("", drawn[0], drawn[1], len(real), len(synthetic)),)
