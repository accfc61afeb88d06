"""Evidence -> the five sections of the page: sentence, charts, numbers and details."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from scansynth.claims.claim import Claim
from scansynth.claims.questions import HOUSE
from scansynth.claims.rules import Rule
from scansynth.report import tables
from scansynth.report.audit.advice import advise
from scansynth.report.audit.artefacts import EvidenceView, PairView, damaged
from scansynth.report.audit.groups import group_pictures
from scansynth.report.audit.membership import membership_pictures
from scansynth.report.audit.spreads import appearance_charts, spread_chart
from scansynth.report.audit.telltales import telltales_pictures
from scansynth.report.audit.words import WORDINGS, WORDS, Answer, answers
from scansynth.report.figures.figures import Chart
from scansynth.report.figures.pictures import single
from scansynth.report.figures.words import clean, count, number
from scansynth.statistics import Verdict
from scansynth.study import BEHIND

_WANTING = ("fewer than", "Fewer than", "Too few", "too few", "are needed", "is known for", "No column", "No patient")
"""Words of the reasons that speak of too few patients or missing data."""

_MIRRORED = {
    "": "",
    "left-right": "mirrored left to right to match",
    "top-bottom": "mirrored top to bottom to match",
    "both": "mirrored both ways to match",
}


def question_sections(evidence: EvidenceView) -> list[dict[str, Any]]:
    """The five questions, in order, ready for the template.

    Raises:
        EvidenceError: The figures behind the claims are damaged.
    """
    try:
        causes = advise(evidence).causes
        return [
            {**_section(answer, evidence), "cause": causes.get(answer.question.name, "")}
            for answer in answers(evidence.judged)
        ]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as fault:
        raise damaged(BEHIND) from fault


def _section(answer: Answer, evidence: EvidenceView) -> dict[str, Any]:
    question = answer.question
    return {
        "anchor": question.name,
        "title": question.title,
        "aim": WORDINGS[question.name].aim,
        "verdict": answer.verdict,
        "sentence": answer.sentence,
        "disagreement": answer.disagreement,
        "tally": answer.tally,
        "asked": asked_rows(row for row in answer.claims if row[1].value is not None),
        "unassessed": _unassessed(answer),
        "charts": [],
        "facts": [],
        **_PICTURES[question.name](evidence),
    }


def _unassessed(answer: Answer) -> dict[str, Any] | None:
    """The claims without a figure, folded to one line; none where all have one."""
    rows = [(place, claim) for place, claim in answer.claims if claim.value is None]
    if not rows:
        return None
    reasons: dict[str, list[dict[str, Any]]] = {}
    for place, claim in rows:
        reasons.setdefault(clean(claim.why), []).append({"place": place, **tables.claim_row(claim)})
    few = sum(any(word in claim.why for word in _WANTING) for _, claim in rows)
    parts = [(few, "for lack of patients or data"), (len(rows) - few, "for another reason")]
    return {
        "line": f"{count(len(rows), 'claim')} could not be assessed: "
        + ", ".join(f"{amount} {words}" for amount, words in parts if amount),
        "reasons": list(reasons.items()),
    }


def asked_rows(claims: Iterable[tuple[int, Claim]]) -> list[dict[str, Any]]:
    """The claims of a section by name: what is asked, what the figure is, and one cell for each judge or attribute.

    Args:
        claims: With the number that each has on the page.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for place, claim in claims:
        found.setdefault(claim.claim, []).append({"place": place, **tables.claim_row(claim)})
    return [
        {"question": cells[0]["question"], "about": WORDS[name].about, "cells": cells} for name, cells in found.items()
    ]


def _spreads(evidence: EvidenceView, name: str) -> list[Chart]:
    """The picture of one claim, once for each judge; the judge is named where there are several."""
    rows = [row for row in evidence.behind if row.claim == name]
    several = len(rows) > 1
    return [chart for row in rows for chart in spread_chart(name, row.figures, row.judge, named=several)]


def _realism(evidence: EvidenceView) -> dict[str, Any]:
    curves = appearance_charts(evidence.figures("appearance"))
    return {"charts": [*curves, *_spreads(evidence, "fidelity.kid")], "slight": _slight(evidence)}


def _slight(evidence: EvidenceView) -> list[dict[str, Any]]:
    """How well the network told slight faults that were planted in real images: a table for each size of images."""
    tables_of = []
    for name, title in (("fidelity.c2st_pixels", "at the size of the images"), ("fidelity.c2st_native", "native size")):
        figures = evidence.figures(name)
        told, bar = figures.get("slight"), float(figures.get("seen_from") or 0.6)
        if isinstance(told, Mapping) and told:
            rows = [
                {"fault": clean(fault), "auc": f"{100.0 * float(auc):.0f}", "seen": float(auc) > bar}
                for fault, auc in told.items()
            ]
            tables_of.append({"title": title, "rows": rows})
    return tables_of


def _variety(evidence: EvidenceView) -> dict[str, Any]:
    names = ("diversity.pair_distance", "diversity.coverage")
    charts = [chart for name in names for chart in _spreads(evidence, name)]
    facts = []
    for row in evidence.behind:
        alike, value = row.figures.get("structure"), row.figures.get("worth")
        if isinstance(alike, Mapping):
            charts += spread_chart("structure", alike)
        if isinstance(value, Mapping):
            facts.append(_worth(value, row.judge))
    return {"charts": charts, "facts": facts}


def _worth(value: Mapping[str, Any], judge: str) -> str:
    """The effective sample size of the set."""
    independent, patients = float(value["independent"]), int(value["patients"])
    more = "at least" if independent >= patients else "about"
    return (
        f"Effective sample size by the Vendi score: {number(value['images'])} synthetic images are worth {more} "
        f"{number(round(independent))} images of different patients" + (f" ({clean(judge)})." if judge else ".")
    )


def _copies(evidence: EvidenceView) -> dict[str, Any]:
    search = next((claim for claim in evidence.claims if claim.claim == "copies.flag_rate"), None)
    return {
        "pairs": [_pair(pair) for pair in evidence.pairs],
        "pairs_listed": evidence.pairs_listed,
        "quarantined": evidence.quarantined,
        "charts": [*_spreads(evidence, "copies.flag_rate"), *membership_pictures(evidence, "membership")],
        "planted": _planted(search, evidence.figures("copies.flag_rate")) if search else [],
        "searched": bool(search and search.value is not None),
    }


def _planted(search: Claim, figures: Mapping[str, Any]) -> list[dict[str, str]]:
    """Planted copies by kind: how many were found, and how many must be; some are only reported."""
    rows = [
        {
            "kind": clean(control.name),
            "found": f"{control.found:.0%}",
            "needed": f"{control.needed:.0%}",
            "missed": "" if control.passed else "missed",
        }
        for control in search.control
    ]
    named = {row["kind"] for row in rows}
    published = figures.get("published")
    if isinstance(published, Mapping):
        rows += [
            {"kind": clean(kind), "found": f"{float(found):.0%}", "needed": "", "missed": ""}
            for kind, found in published.items()
            if clean(kind) not in named
        ]
    return rows


def _pair(pair: PairView) -> dict[str, Any]:
    return {
        "index": pair.index,
        "case": clean(pair.case),
        "flip": _MIRRORED[pair.flip],
        "score": f"{pair.score:.3f}",
        "by_chance": "not known" if pair.p is None else f"{pair.p:.1%}",
        "by": clean(pair.by),
        "synthetic": single(pair.synthetic),
        "real": single(pair.real, pair.flip),
    }


_PICTURES: Mapping[str, Callable[[EvidenceView], dict[str, Any]]] = {
    "realism": _realism,
    "variety": _variety,
    "copies": _copies,
    "groups": group_pictures,
    "traces": telltales_pictures,
}


def full_claims(evidence: EvidenceView) -> list[dict[str, Any]]:
    """Every claim with all its figures, by question; last those on what must stay in-house."""
    found = [
        _full(answer.question.title, answer.tally, answer.claims)
        for answer in answers(evidence.judged)
        if answer.claims
    ]
    kept = of_house(evidence)
    return [*found, _full(HOUSE.title, [], kept)] if kept else found


def of_house(evidence: EvidenceView) -> list[tuple[int, Claim]]:
    """The claims on what must stay in-house, with the number that each has on the page."""
    return [(place, claim) for place, claim in enumerate(evidence.claims, start=1) if HOUSE.holds(claim)]


def full_beside(title: str, claims: Sequence[Claim], before: int) -> dict[str, Any]:
    """The claims of trial or reader study in full.

    Args:
        title: Of their section.
        claims: All of them.
        before: How many claims the page holds before these.
    """
    found = [(verdict, sum(claim.verdict is verdict for claim in claims)) for verdict in Verdict]
    return _full(title, [row for row in found if row[1]], list(enumerate(claims, start=before + 1)))


def _full(title: str, tally: Sequence[tuple[Verdict, int]], claims: Iterable[tuple[int, Claim]]) -> dict[str, Any]:
    rows = [{"place": place, **tables.claim_row(claim)} for place, claim in claims]
    return {"title": title, "tally": tally, "claims": rows}


def missing_claims(held: Collection[str], rules: Mapping[str, Rule]) -> list[str]:
    """Questions of the rules that no claim answers.

    Args:
        held: Names of the claims that are there.
        rules: Of the audit, of the trial, or of the reader study.
    """
    return [rule.question for name, rule in rules.items() if name not in held]
