"""What the page answers: the questions of audit, trial and reader study, and those not asked."""

from __future__ import annotations

from typing import Any

from scansynth.audit.encoders import FIXED, LEARNED, OWN
from scansynth.claims.questions import HOUSE, QUESTIONS, READERS, UTILITY
from scansynth.claims.rules import READER_RULES, RULES, UTILITY_RULES
from scansynth.report.audit.advice import advise
from scansynth.report.audit.sections import full_beside, full_claims, missing_claims, question_sections
from scansynth.report.collect import Findings
from scansynth.report.figures.words import VERDICT_MEANING, clean
from scansynth.report.house import house_section
from scansynth.report.reader import section as reader_section
from scansynth.report.utility import section as trial_section
from scansynth.statistics import Verdict

_JUDGES = {
    FIXED: "fixed filters, with nothing learned",
    LEARNED: "a learned encoder, a small network trained without labels on the training images",
    OWN: "your own network",
}


def asked(findings: Findings) -> list[tuple[str, str]]:
    """Anchors and titles of the questions that have a section."""
    rows = [(question.name, question.title) for question in QUESTIONS] if findings.evidence else []
    if findings.trial:
        rows.append((UTILITY.name, UTILITY.title))
    if findings.readers:
        rows.append((READERS.name, READERS.title))
    if findings.evidence:
        rows.append((HOUSE.name, HOUSE.title))
    return rows


def verdicts(findings: Findings) -> dict[str, Any]:
    """All answers, and every claim in full.

    Raises:
        EvidenceError: Figures behind the claims are damaged.
    """
    evidence = findings.evidence
    claims = evidence.claims if evidence else ()
    judges = dict.fromkeys(claim.judge for claim in claims if claim.judge)
    questions = question_sections(evidence) if evidence else []
    trial = trial_section.trial_section(findings.trial) if findings.trial else None
    readers = reader_section.reader_section(findings.readers) if findings.readers else None
    counted = [
        *(claim for claim in claims if not HOUSE.holds(claim)),
        *(trial_section.counted(findings.trial.claims) if findings.trial else ()),
        *(findings.readers.claims if findings.readers else ()),
    ]
    return {
        "questions": questions,
        "house": house_section(findings),
        "advice": advise(evidence) if evidence else None,
        "trial": trial,
        "readers": readers,
        "opened": [*questions, *(section for section in (trial, readers) if section)],
        "full": [*(full_claims(evidence) if evidence else []), *_beside(findings, len(claims))],
        "never": unasked(findings),
        "judges": "; ".join(_JUDGES.get(judge, clean(judge)) for judge in judges),
        "tally": {verdict: sum(claim.verdict is verdict for claim in counted) for verdict in Verdict},
        "meaning": VERDICT_MEANING,
    }


def _beside(findings: Findings, before: int) -> list[dict[str, Any]]:
    """The claims of trial and reader study in full, numbered after those of the audit."""
    found = []
    if findings.trial:
        found.append(full_beside(UTILITY.title, findings.trial.claims, before))
        before += len(findings.trial.claims)
    if findings.readers:
        found.append(full_beside(READERS.title, findings.readers.claims, before))
    return found


def unasked(findings: Findings) -> list[tuple[str, str]]:
    """Questions of the rules without a claim, and what asks them."""
    rows = []
    for view, rules, command in (
        (findings.evidence, RULES, "audit"),
        (findings.trial, UTILITY_RULES, "utility"),
        (findings.readers, READER_RULES, "reader create"),
    ):
        held = {claim.claim for claim in view.claims} if view else set()
        by = "a study, not an audit of two folders" if findings.loose else f"scansynth {command} STUDY"
        rows += [(question, by) for question in missing_claims(held, rules)]
    return rows
