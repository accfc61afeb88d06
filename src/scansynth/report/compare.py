"""Two sets side by side, of two runs or recipes: verdicts, images, claims, training. Never released."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scansynth.claims.claim import Claim
from scansynth.claims.judged import judged
from scansynth.claims.questions import HOUSE, QUESTIONS
from scansynth.errors import StudyError
from scansynth.files import write_text
from scansynth.report import tables
from scansynth.report.collect import Findings, collect
from scansynth.report.figures.pictures import montage
from scansynth.report.figures.words import clean
from scansynth.report.render import style, template
from scansynth.report.source import Source, sources
from scansynth.report.training.words import facts_rows
from scansynth.stage import read_record
from scansynth.study import WEIGHTS, Study, is_study, open_study

PAGE = "compare.html"
_SHOWN, _COLUMNS = 16, 4


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        name: On the page.
        found: Everything that a page of it would show.
        sources: Where its figures come from.
        grid: Some of its images; none: it has none.
    """

    name: str
    found: Findings
    sources: Mapping[str, Source]
    grid: Any


def write_comparison(study: Study, other: str) -> Path:
    """Writes `report/compare.html`: the study's set beside another, and returns it.

    Args:
        study: The study.
        other: Name of another set of the study, or folder of another study.

    Raises:
        StudyError: There is no such set, or one of both was not audited.
    """
    one, two = study, _other(study, other)
    sides = [_side(one, two), _side(two, one)]
    for side in sides:
        if side.found.evidence is None:
            raise StudyError(f"{side.name} was not audited; run: scansynth audit STUDY")
    path = study.report / PAGE
    write_text(path, _rendered(sides))
    return path


def _other(study: Study, other: str) -> Study:
    """The study whose configured set is the other one."""
    if Path(other).name == other != study.config.synthetic.name and study.synthetic(other).is_dir():
        return _with_set(study, other)
    if is_study(Path(other)):
        return open_study(Path(other))
    raise StudyError(f"there is no other set {other} in the study, and no study of that name; see: ls synthetic")


def _with_set(study: Study, name: str) -> Study:
    """The same study as if its `study.toml` named this set and the run that made it."""
    record = read_record(study.synthetic(name))
    weights = record.inputs.get("weights") if record else None
    made_by = [run for run in study.runs if (own := read_record(run)) and own.outputs.get(WEIGHTS) == weights]
    config = study.config
    generator = config.generator.model_copy(update={"run": made_by[0].name}) if made_by else config.generator
    synthetic = config.synthetic.model_copy(update={"name": name})
    return replace(study, config=config.model_copy(update={"synthetic": synthetic, "generator": generator}))


def _side(study: Study, beside: Study) -> Side:
    found = collect(study)
    own = clean(study.config.synthetic.name)
    recipe = clean((found.training.facts.get("recipe") or {}).get("name", "")) if found.training else ""
    title = own if study.folder == beside.folder else f"{clean(study.config.name)}, {own}"
    grids = found.synthetic.grids if found.synthetic else ()
    grid = montage(grids[0].synthetic[:_SHOWN], _COLUMNS) if grids else None
    return Side(f"{title} ({recipe})" if recipe else title, found, sources(found), grid)


def _rendered(sides: list[Side]) -> str:
    grids = sides[0].found.synthetic.grids if sides[0].found.synthetic else ()
    real = montage(grids[0].real[:_SHOWN], _COLUMNS) if grids and grids[0].real is not None else None
    return template("compare.html").render(
        css=style(),
        sides=sides,
        warnings=_warnings(sides),
        real=real,
        questions=_questions(sides),
        claims=_claims(sides),
        training=_training(sides),
    )


def _warnings(sides: list[Side]) -> list[str]:
    """What makes the two hard to compare."""
    cohorts = {stage.record.digest for side in sides for stage in side.found.stages if stage.name == "ingest"}
    if len(cohorts) > 1:
        return ["The two were judged against different cohorts: their figures differ for that reason, too."]
    return []


def _questions(sides: list[Side]) -> list[tuple[str, list[Any]]]:
    both = [judged(_of(side)).verdicts for side in sides]
    return [
        (question.title, [verdicts.get(question.name) for verdicts in both])
        for question in QUESTIONS
        if any(question.name in verdicts for verdicts in both)
    ]


def _of(side: Side) -> tuple[Claim, ...]:
    claims = side.found.evidence.claims if side.found.evidence else ()
    return tuple(claim for claim in claims if not HOUSE.holds(claim))


def _claims(sides: list[Side]) -> list[dict[str, Any]]:
    """Each claim that one of both has, known by name, judge and attribute."""
    both = [{(one.claim, one.judge, one.attribute): tables.claim_row(one) for one in _of(side)} for side in sides]
    rows = []
    for key in dict.fromkeys(key for side in both for key in side):
        cells = [side.get(key) for side in both]
        named = next(cell for cell in cells if cell)
        rows.append({"question": named["question"], "of": named["of"], "cells": cells})
    return rows


def _training(sides: list[Side]) -> list[tuple[str, list[str]]]:
    both = [dict(facts_rows(side.found.training)) if side.found.training else {} for side in sides]
    names = dict.fromkeys(name for side in both for name in side)
    return [(name, [side.get(name, "not known") for side in both]) for name in names]
