"""Findings -> the rows of the page's tables, in plain words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from scansynth.claims.claim import Claim
from scansynth.gan.models.families import FAMILIES
from scansynth.recipe import Recipe
from scansynth.report.collect import CohortView, Findings, StageView
from scansynth.report.figures.intervals import interval_picture
from scansynth.report.figures.words import (
    ROLE_USE,
    SHORT,
    clean,
    count,
    duration,
    moment,
    number,
    setting,
    together,
)
from scansynth.statistics import Verdict

_OUTPUTS_LISTED = 16
_JOURNAL_LISTED = 40
_UNITS: Mapping[str, tuple[str, Callable[[float], float]]] = {
    "KID": ("distance (KID)", float),
    "AUC": ("in 100", lambda value: 100.0 * value),
    "difference of shares": ("percentage points", lambda value: 100.0 * value),
    "change of sensitivity": ("points of sensitivity", lambda value: 100.0 * value),
    "change of the rate of false alarms": ("points of false alarms", lambda value: 100.0 * value),
    "log ratio of shares": ("times", lambda value: math.exp(min(value, 20.0))),
}
"""The page's unit for a claim's unit, and the conversion."""

_GROUPS = {
    "": "The recipe",
    "network": "Networks",
    "loss": "Loss",
    "optimiser": "Optimiser",
    "replay": "Experience replay",
    "augmentation": "Augmentation",
    "ema": "Averaging of weights",
    "collapse": "Response to a collapse",
    "schedule": "Schedule",
}


@dataclass(frozen=True)
class _Figures:
    """A claim's figures as the page shows them: shares in percent, logarithms as ratios, others as they are."""

    value: float | None
    ends: tuple[float, ...]
    margin: float | None
    floor: tuple[float, ...]
    unit: str


def _figures(claim: Claim) -> _Figures:
    if claim.unit.startswith("share of "):
        unit, scale = f"% of {claim.unit.removeprefix('share of ')}", _UNITS["AUC"][1]
    else:
        unit, scale = _UNITS.get(claim.unit, (claim.unit, float))
    floor = (claim.floor.low, claim.floor.mean, claim.floor.high) if claim.floor else ()
    return _Figures(
        None if claim.value is None else scale(claim.value),
        () if claim.interval is None else (scale(claim.interval.low), scale(claim.interval.high)),
        None if claim.margin is None else scale(claim.margin),
        tuple(scale(figure) for figure in floor),
        clean(unit),
    )


def claim_row(claim: Claim) -> dict[str, Any]:
    """One claim, ready for its card and for its table."""
    figures = _figures(claim)
    words = together((figures.value, *figures.ends)) if figures.value is not None else []
    between = " to ".join(words[1:])
    level = f"{number(100 * claim.level)}%" if claim.level is not None else "none"
    percent = "%" if figures.unit.startswith("%") else ""
    limit = f"{claim.direction.value} {number(figures.margin)}{percent}" if figures.margin is not None else ""
    failed = any(not control.passed for control in claim.control)
    return {
        "question": clean(claim.question),
        "of": _whose(claim),
        "why": clean(claim.why),
        "verdict": claim.verdict,
        "unit": figures.unit,
        "value": words[0] if words else "",
        "interval": f"{level} interval {between}" if between else "",
        "aim": _aim(limit, failed, claim.verdict),
        "void": failed,
        "picture": interval_picture(figures.value, figures.ends, figures.margin, figures.floor, claim.direction),
        "inputs": [(clean(key), clean(digest)) for key, digest in claim.inputs.items()],
        "full": [
            ("claim", clean(claim.claim)),
            *([("features by", clean(claim.judge))] if claim.judge else []),
            *([("by groups of", clean(claim.attribute))] if claim.attribute else []),
            ("verdict", claim.verdict.value),
            ("value", words[0] if words else "none"),
            ("unit", figures.unit),
            ("interval", between or "none"),
            ("level", level),
            ("floor", _floor(claim, figures.floor)),
            ("controls", _controls(claim)),
            ("margin", number(figures.margin) if figures.margin is not None else "none"),
            ("direction", f"{claim.direction.value} the margin"),
            ("numbers", ", ".join(f"{number(amount)} {clean(what)}" for what, amount in claim.n.items()) or "none"),
            ("roles read", ", ".join(clean(role) for role in claim.roles) or "none"),
            ("why", clean(claim.why)),
            ("rule version", clean(claim.rule_version)),
        ],
    }


def _whose(claim: Claim) -> str:
    """Which of several claims on one question: by which judge, by which attribute."""
    parts = [clean(claim.judge)] if claim.judge else []
    return ", ".join([*parts, *([f"by {clean(claim.attribute)}"] if claim.attribute else [])])


def _aim(limit: str, failed: bool, verdict: Verdict) -> str:
    """What the figure must be, or why it is void."""
    if failed and verdict is Verdict.REFUTED:
        return "A planted fault was missed, which takes nothing from a fault that was found."
    if failed:
        return "A control failed: do not rely on this figure."
    return f"Shown only if the whole interval is {limit}." if limit else ""


def _floor(claim: Claim, figures: tuple[float, ...]) -> str:
    """The floor in words: its range, its mean and its source."""
    if claim.floor is None:
        return "none"
    low, mean, high = together(figures)
    return f"{low} to {high}, mean {mean}: {clean(claim.floor.what)} ({number(claim.floor.draws)} draws)"


def _controls(claim: Claim) -> str:
    """What was planted, how much of it was found, and whether that is enough."""
    rows = [
        f"{clean(control.name)}: {control.found:.0%} found, {control.needed:.0%} needed"
        f"{'' if control.passed else ' (failed)'}"
        for control in claim.control
    ]
    return "; ".join(rows) or "none"


def left_out(cohort: CohortView) -> list[tuple[str, int]]:
    """Reasons and numbers of files left out, the commonest first; files without a stated reason last."""
    rows = [(clean(reason), amount) for reason, amount in cohort.facts.excluded.items() if amount]
    rows.sort(key=lambda row: (-row[1], row[0]))
    rest = cohort.facts.files_found - cohort.images - sum(amount for _, amount in rows)
    return [*rows, ("no reason stated", rest)] if rest > 0 else rows


def role_rows(cohort: CohortView) -> list[dict[str, Any]]:
    """One row for each role: its patients, and its cells by label, then of all labels."""
    several = len(next(iter(cohort.by_role.values()))) > 1
    rows = []
    for role, cells in cohort.by_role.items():
        total = cohort.totals[role]
        rows.append(
            {
                "name": role.value,
                "use": ROLE_USE[role],
                "patients": total[0],
                "grow": max(total[0], 1),
                "cells": [*cells.values(), total] if several else list(cells.values()),
            }
        )
    return rows


def reasons(rows: Any) -> list[tuple[str, str]]:
    """Augmentations with their reasons: `name: reason`, or tables with `name` and `reason`."""
    found = []
    for row in rows or ():
        if isinstance(row, Mapping):
            found.append((clean(row.get("name", "")), clean(row.get("reason", ""))))
        else:
            name, _, reason = clean(row).partition(": ")
            found.append((name, reason))
    return found


def recipe_rows(recipe: Mapping[str, Any]) -> list[tuple[str, list[dict[str, str]]]]:
    """The recipe by groups: key, value, and the words of `scansynth.recipe` and of its family."""
    family = FAMILIES.get(str(recipe.get("family")), Recipe)
    top = {key: value for key, value in recipe.items() if not isinstance(value, Mapping)}
    groups = [(_GROUPS[""], _switches(top, Recipe))]
    for key, table in recipe.items():
        if isinstance(table, Mapping):
            field = family.model_fields.get(key) or Recipe.model_fields.get(key)
            kind = field.annotation if field else None
            groups.append((_GROUPS.get(key, clean(key)), _switches(table, kind)))
    return groups


def _switches(table: Mapping[str, Any], kind: Any) -> list[dict[str, str]]:
    fields = kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}
    return [
        {
            "key": clean(key),
            "value": setting(value),
            "words": (fields[key].description or "") if key in fields else "",
        }
        for key, value in table.items()
    ]


def stage_row(stage: StageView) -> dict[str, Any]:
    """One stage of the provenance table."""
    record = stage.record
    listed = list(record.outputs.items())
    people = count(len(record.patients), "patient") if record.patients else "not listed" if record.roles else "none"
    return {
        "name": stage.name,
        "time": duration(record.seconds),
        "read": people,
        "roles": ", ".join(clean(role) for role in record.roles),
        "files": count(len(listed), "file"),
        "digest": record.digest,
        "inputs": [(clean(key), clean(digest)) for key, digest in record.inputs.items()],
        "outputs": [(clean(key), clean(digest)) for key, digest in listed] if len(listed) <= _OUTPUTS_LISTED else [],
    }


def version_rows(stages: tuple[StageView, ...]) -> list[tuple[str, str]]:
    """Versions that the stages recorded; stages that differ are all named."""
    found: dict[str, dict[str, list[str]]] = {}
    for stage in stages:
        for name, version in stage.record.versions.items():
            found.setdefault(clean(name), {}).setdefault(clean(version), []).append(stage.name)
    return [
        (
            name,
            next(iter(by))
            if len(by) == 1
            else "; ".join(f"{version} ({', '.join(who)})" for version, who in by.items()),
        )
        for name, by in sorted(found.items())
    ]


def journal_rows(journal: tuple[Mapping[str, Any], ...]) -> list[dict[str, str]]:
    """The newest lines of the journal: when, which stage, what, how long. No other fact is shown."""
    rows = []
    for line in journal[-_JOURNAL_LISTED:]:
        seconds = line.get("seconds")
        rows.append(
            {
                "time": moment(str(line.get("time", "")), SHORT),
                "stage": clean(line.get("stage", "")),
                "event": clean(line.get("event", "")),
                "took": duration(float(seconds)) if isinstance(seconds, (int, float)) else "",
            }
        )
    return rows


def newest(findings: Findings) -> dict[str, str] | None:
    """The time of the newest journal line, which is the page's date: equal inputs give equal pages."""
    stamps = [str(line["time"]) for line in findings.journal if line.get("time")]
    return {"stamp": clean(max(stamps)), "words": moment(max(stamps))} if stamps else None


def commands(findings: Findings) -> str:
    """Commands that give the same page again, from the settings that stand below them on the page."""
    trial = ["scansynth utility STUDY", "scansynth report STUDY"] if findings.trial else []
    return "\n".join(
        [
            "mkdir STUDY",
            "cp study.toml STUDY/    # this study's; set cohort.dicom and cohort.labels to your own paths",
            "scansynth run STUDY --key INSTITUTION_KEY",
            *trial,
        ]
    )
