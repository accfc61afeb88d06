"""The utility trial's artefacts -> values for the page, with the test images whose result changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.claims.claim import Claim
from scansynth.claims.judged import Judged
from scansynth.claims.rules import UTILITY_RULES
from scansynth.data.tensors import Cohort, select_named
from scansynth.ledger import Use
from scansynth.report.artefacts import own_claims, read_object, refusing
from scansynth.report.standing import has_trial
from scansynth.study import ANALYSIS, CLAIMS_FILE, Study
from scansynth.utility.standing import read_plan
from scansynth.utility.statistics.answers import ALARMS, GAIN

AGAIN = "utility"
"""The command that writes what is read here."""

EXAMPLES = 6
"""Images newly caught that are pictured, at most, and as many newly missed."""


@dataclass(frozen=True)
class Example:
    """A test image with a lesion whose result changed.

    Attributes:
        image: uint16 (size, size).
        by: Share of the detectors with synthetic images that find it.
        before: Share of the detectors without that do.
    """

    image: NDArray[np.uint16]
    by: float
    before: float


@dataclass(frozen=True)
class TrialView:
    """A trial that has ended.

    Attributes:
        plan: What was declared.
        analysis: Its result.
        judged: The verdict, and the claims in the order of the rules.
        caught: Newly caught with synthetic images, the largest changes first; at most `EXAMPLES`.
        missed: Newly missed, likewise.
        changed: How many there are of each, pictured or not.
        pictured: Keyed hashes of the patients in the pictures.
    """

    plan: Mapping[str, Any]
    analysis: Mapping[str, Any]
    judged: Judged
    caught: tuple[Example, ...]
    missed: tuple[Example, ...]
    changed: tuple[int, int]
    pictured: tuple[str, ...]

    @property
    def claims(self) -> tuple[Claim, ...]:
        """All claims."""
        return self.judged.claims

    def claim(self, name: str) -> Claim:
        """One claim by its name; `read_trial` holds that the two that are asked for are there."""
        return next(claim for claim in self.claims if claim.claim == name)


def read_trial(study: Study, cohort: Cohort | None) -> TrialView | None:
    """The trial of a study, or none where none was analysed.

    Raises:
        EvidenceError: An artefact is damaged, or of another version of the rules.
        StudyError: The declaration was altered.
        LedgerError: Pictures were asked of patients that may not be shown.
    """
    if not has_trial(study):
        return None
    folder = study.trial
    analysis = read_object(folder / ANALYSIS, "trial", AGAIN)
    judged = _judged(folder / CLAIMS_FILE)
    with refusing(f"{ANALYSIS} of the trial", AGAIN):
        rows = [dict(row) for row in analysis["blocks"][0]["caught"]]
        wanted = {kind: [row for row in rows if bool(row["newly"]) is kind] for kind in (True, False)}
        shown = [row for kind in wanted.values() for row in kind[:EXAMPLES]]
        names = [str(row["case"]) for row in shown]
        figures = [(float(row["by"]), float(row["before"]), bool(row["newly"])) for row in shown]
    found = select_named(cohort, Use.EXAMPLES, names) if cohort else None
    images = {case.case: image for case, image in zip(found.cases, found.planes, strict=True)} if found else {}
    examples = [
        (newly, Example(images[name], by, before))
        for name, (by, before, newly) in zip(names, figures, strict=True)
        if name in images
    ]
    return TrialView(
        plan=read_plan(study),
        analysis=analysis,
        judged=judged,
        caught=tuple(example for newly, example in examples if newly),
        missed=tuple(example for newly, example in examples if not newly),
        changed=(len(wanted[True]), len(wanted[False])),
        pictured=tuple(sorted(set(found.patients))) if found else (),
    )


def _judged(path: Path) -> Judged:
    judged = own_claims(path, UTILITY_RULES, "trial", AGAIN)
    with refusing(f"{path.name} of the trial", AGAIN):
        if {GAIN, ALARMS} - {claim.claim for claim in judged.claims}:
            raise ValueError("a claim is missing")
    return judged
