"""What must stay in-house: files of a study that are never handed on, and what each gives away, measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from scansynth.claims.claim import Claim
from scansynth.claims.questions import HOUSE
from scansynth.report.audit.artefacts import damaged
from scansynth.report.audit.membership import membership_pictures
from scansynth.report.audit.sections import asked_rows, of_house
from scansynth.report.collect import Findings
from scansynth.report.figures.words import count, number
from scansynth.statistics import Verdict
from scansynth.study import BEHIND

_GIVES: Mapping[Verdict, str] = {
    Verdict.SHOWN: "no training patient was revealed by the attack that was tried",
    Verdict.REFUTED: "it reveals who was a training patient",
    Verdict.NOT_SHOWN: "inconclusive",
    Verdict.NOT_ASSESSABLE: "could not be assessed",
}


class Kept(NamedTuple):
    """One row of the table: what stays, where it lies in a study, and what it gives away."""

    what: str
    where: str
    gives: str


def house_section(findings: Findings) -> dict[str, Any] | None:
    """The section; none before the audit.

    Raises:
        EvidenceError: The figures behind the claims are damaged.
    """
    evidence = findings.evidence
    if evidence is None:
        return None
    claims = of_house(evidence)
    try:
        charts = membership_pictures(evidence, HOUSE.name)
    except (ValueError, TypeError, KeyError) as fault:
        raise damaged(BEHIND) from fault
    rows = _rows(findings, {claim.claim: claim for _, claim in claims})
    return {"anchor": HOUSE.name, "title": HOUSE.title, "rows": rows, "charts": charts, "asked": asked_rows(claims)}


def _rows(findings: Findings, claims: Mapping[str, Claim]) -> list[Kept]:
    page = Kept("This report", "report/", _pictured(findings))
    if findings.loose:
        return [page._replace(where="index.html and the tables beside it")]
    own = [
        Kept(
            "Checkpoints, with the discriminator",
            "gan/",
            f"Membership inference from the discriminator: {_told(claims.get('house.discriminator'))}.",
        ),
        Kept(
            "The generator",
            "gan/",
            "At least what the set gives away, since anybody who has it draws as many images as they like. Attacks on "
            "its weights were not made.",
        ),
    ]
    return [
        Kept("Scans, and the table of names", "cohort/, private/", "The patients themselves."),
        *([] if findings.added else own),
        Kept(
            "Encoders of the audit",
            "encoders/",
            f"Membership inference from the encoders: {_told(claims.get('house.encoders'))}.",
        ),
        page,
    ]


def _told(claim: Claim | None) -> str:
    """What a claim says of its file, with its figure."""
    if claim is None:
        return "not measured; run audit again"
    figure = "" if claim.value is None else f"AUC {claim.value:.2f}, guessing is 0.50: "
    return f"{figure}{_GIVES[claim.verdict]}"


def _pictured(findings: Findings) -> str:
    """How many pictures of real patients the page holds."""
    if findings.public:
        return "This copy shows no real scan; the study's own does."
    grids = findings.synthetic.grids if findings.synthetic else ()
    moments = findings.training.real if findings.training else None
    real = sum(len(grid.real) for grid in grids if grid.real is not None) + (0 if moments is None else len(moments))
    real += len(findings.evidence.pairs) if findings.evidence else 0
    beside = [view for view in (findings.trial, findings.readers) if view is not None]
    patients = {patient for view in beside for patient in view.pictured}
    examples = f", and examples of {count(len(patients), 'test patient')}" if patients else ""
    return f"It shows {number(real)} pictures of real scans of training patients{examples}, and figures by group."
