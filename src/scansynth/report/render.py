"""Findings -> one self-contained HTML page, written whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from scansynth.data.sets import LABEL_SEPARATOR
from scansynth.files import new_directory, write_text
from scansynth.gan.watching.health import Level
from scansynth.ledger import PERMITTED, Use
from scansynth.report import tables
from scansynth.report.answered import asked, verdicts
from scansynth.report.collect import GRID_SIDE, MOMENT_SIDE, Findings, GridPair, TrainingView, collect
from scansynth.report.figures.pictures import montage, sheet, shrink_factor
from scansynth.report.figures.words import clean, count, modality, number, span
from scansynth.report.source import sources
from scansynth.report.standing import report_inputs, report_settings, setting_rows
from scansynth.report.training.curves import training_charts
from scansynth.report.training.words import EVENTS_LISTED, ending, event_rows, facts_rows, level
from scansynth.stage import StageRecord, hash_outputs, versions, write_record
from scansynth.study import PAGE, Study

_HERE = Path(__file__).parent / "templates"
_BEFORE = (
    ("verdicts", "Verdicts"),
    ("limits", "Limits"),
    ("cohort", "The cohort"),
    ("images", "Images"),
)
_AFTER = (
    ("training", "Training"),
    ("claims", "Every claim in full"),
    ("provenance", "Provenance"),
)


def write_report(study: Study) -> Path:
    """Writes `report/index.html` and its record; returns the page's path.

    Raises:
        StudyError: An artefact is damaged.
        EvidenceError: The evidence is damaged, or of another version of the rules.
        CohortError: The cohort or the synthetic set is damaged.
        LedgerError: Pictures were asked of patients that may not be shown.
        StorageError: The report cannot be written.
    """
    start = time.monotonic()
    inputs = report_inputs(study)
    findings = collect(study)
    html = render(findings)
    with new_directory(study.report) as folder:
        write_text(folder / PAGE, html)
        record = StageRecord(
            stage="report",
            inputs=inputs,
            settings=report_settings(study),
            outputs=hash_outputs(folder, [folder / PAGE]),
            seed=study.config.seed,
            roles=_roles(findings),
            patients=tuple(sorted({*findings.pictured, *_examples(findings)})),
            seconds=round(time.monotonic() - start, 3),
            versions=versions(),
        )
        write_record(folder, record)
    return study.report / PAGE


def _roles(findings: Findings) -> tuple[str, ...]:
    """Roles of the patients who are pictured."""
    readers = [
        reader for reader, shown in ((Use.PICTURES, findings.pictured), (Use.EXAMPLES, _examples(findings))) if shown
    ]
    return tuple(sorted({role.value for reader in readers for role in PERMITTED[reader]}))


def _examples(findings: Findings) -> set[str]:
    """Test patients who are pictured."""
    return {patient for view in (findings.trial, findings.readers) if view is not None for patient in view.pictured}


def render(findings: Findings) -> str:
    """The page as HTML. Whatever comes from an artefact is escaped."""
    context = (
        _frame(findings)
        | verdicts(findings)
        | _cohort(findings)
        | _images(findings)
        | _training(findings)
        | _provenance(findings)
    )
    return template("report.html").render(context)


def template(name: str) -> Template:
    """A template of the report; whatever is put into it is escaped."""
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    return environment.get_template(name)


def style() -> Markup:
    """The style sheet that all pages of the report share."""
    return Markup((_HERE / "report.css").read_text(encoding="utf-8"))


def _frame(findings: Findings) -> dict[str, Any]:
    return {
        "name": clean(findings.study.config.name),
        "css": style(),
        "sources": sources(findings),
        "sentence": _sentence(findings),
        "as_of": tables.newest(findings),
        "shows_real": bool(findings.pictured or _examples(findings)),
        "public": findings.public,
        "warnings": _warnings(findings),
        "notes": [clean(note) for note in findings.loose.notes] if findings.loose else [],
        "loose": findings.loose,
        "absent": _absent(findings),
        "contents": (*_BEFORE, *asked(findings), *_AFTER),
        "seed": str(findings.study.config.seed),
    }


def _absent(findings: Findings) -> dict[str, str]:
    """Text for a section that no command of this study can fill."""
    if findings.loose:
        return {
            "training": "No data: the images were audited without a study, so the training of their generator is not "
            "known.",
            "copies": "No data: no copy search was made. The verdict on copies says why.",
        }
    elsewhere = "No data: this set was added to the study. Its generator was trained elsewhere."
    return {"training": elsewhere if findings.added else "", "copies": ""}


def _warnings(findings: Findings) -> list[str]:
    """Warnings at the top of the page."""
    warnings = [
        f"Out of date: {stage.name} was made from an earlier {' and '.join(stage.outdated)}. Run the study again "
        "before relying on what it says."
        for stage in findings.stages
        if stage.outdated
    ]
    if findings.under_way:
        warnings.insert(
            0,
            "A reader study is under way. No reader of the study may see this page before it is closed: it shows "
            "which images are synthetic.",
        )
    training = findings.training
    if training and training.ended and level(training) is Level.CRITICAL:
        warnings.insert(0, "The generator had collapsed when its training ended: its images are nearly identical.")
    return warnings


def _sentence(findings: Findings) -> str:
    """What the page is, in one sentence."""
    if findings.cohort is None:
        return "This study has only been set up: no scan has been read yet."
    if findings.loose and findings.synthetic:
        made = count(findings.synthetic.images, "synthetic image")
        beside = count(findings.cohort.images, "real image")
        return f"{made} beside {beside}: what was shown about them, and what was not."
    kind = modality(clean(findings.cohort.facts.modality))
    people = count(findings.cohort.patients, "patient")
    if findings.synthetic is None:
        return f"A cohort of {kind} images of {people}, from which synthetic images are to be made."
    made = count(findings.synthetic.images, "synthetic image")
    return (
        f"{made} modelled on {kind} images of {people}: how they were made, what was shown about them, and what was "
        f"not."
    )


def _cohort(findings: Findings) -> dict[str, Any]:
    cohort = findings.cohort
    if cohort is None:
        return {"cohort": None}
    facts = cohort.facts
    rows = tables.left_out(cohort)
    unnamed = "all" if findings.loose else "no label"
    uses = {role.value: use for role, use in findings.loose.uses.items()} if findings.loose else {}
    words = (
        f"{modality(clean(facts.modality)).capitalize()} ({clean(facts.modality)}), {count(cohort.images, 'image')} of "
        f"{count(cohort.patients, 'patient')}, {facts.shape[0]} × {facts.shape[1]} pixels of "
        f"{' × '.join(number(step) for step in facts.spacing)} mm (median)."
    )
    return {
        "cohort": cohort,
        "cohort_words": clean(findings.loose.cohort)
        if findings.loose
        else words + (" The images carry no labels." if facts.unlabelled else ""),
        "text_search": clean(facts.text_search[:1].upper() + facts.text_search[1:]),
        "left_out": rows,
        "left_out_total": sum(amount for _, amount in rows),
        "labels": [clean(label) or unnamed for label in next(iter(cohort.by_role.values()))],
        "roles": [row | {"use": uses.get(row["name"], row["use"])} for row in tables.role_rows(cohort)],
    }


def _images(findings: Findings) -> dict[str, Any]:
    cohort, made = findings.cohort, findings.synthetic
    if cohort is None or made is None:
        return {"grids": []}
    size = max(cohort.facts.shape)
    factor = shrink_factor(size, 2 * len(made.grids), GRID_SIDE**2)
    unit = " HU" if cohort.facts.modality == "CT" else ""
    window = f"{span((cohort.facts.low, cohort.facts.high))}{unit}, black to white"
    if cohort.facts.modality != "CT":
        window = "the cohort’s own range, black to white"
    return {
        "grids": [_grid(grid, factor) for grid in made.grids],
        "window": window,
        "outlined": _outlined(made.grids),
        "scale_words": f" and is shown at 1/{factor} of its {size} pixels" if factor > 1 else "",
        "labels_left_out": [clean(label) for label in made.labels if label not in {grid.label for grid in made.grids}],
    }


def _outlined(grids: Sequence[GridPair]) -> str:
    """On which side of the grids lesions are outlined, in words; empty: on neither."""
    real = any(grid.real_masks is not None and grid.real_masks.any() for grid in grids)
    synthetic = any(grid.synthetic_masks is not None and grid.synthetic_masks.any() for grid in grids)
    names = {(True, True): "all", (True, False): "real", (False, True): "synthetic"}
    return names.get((real, synthetic), "")


def _grid(grid: GridPair, factor: int) -> dict[str, Any]:
    label = clean(grid.label.replace(LABEL_SEPARATOR, " or "))
    return {
        "label": label,
        "real": None if grid.real is None else montage(grid.real, GRID_SIDE, factor, grid.real_masks),
        "synthetic": montage(grid.synthetic, GRID_SIDE, factor, grid.synthetic_masks),
        "real_note": "" if grid.real is None else f"{len(grid.real)} of {number(grid.real_of)}",
        "synthetic_note": f"{len(grid.synthetic)} of {number(grid.synthetic_of)}",
        "real_alt": f"Grid of {0 if grid.real is None else len(grid.real)} real images, {label}, chosen at random",
        "synthetic_alt": f"Grid of {len(grid.synthetic)} synthetic images, {label}, chosen at random",
    }


def _training(findings: Findings) -> dict[str, Any]:
    training = findings.training
    if training is None:
        return {"training": None}
    size = max(findings.cohort.facts.shape) if findings.cohort else 64
    recipe = training.facts.get("recipe") or {}
    augmentation = training.facts.get("augmentation") or {}
    classes = ", ".join(clean(name) for name in training.facts.get("classes", [])) or "all images"
    return {
        "training": training,
        "training_words": f"The generator and the discriminator were trained against each "
        f"other on the class: {classes}. Recipe {clean(recipe.get('name', 'not stated'))}. "
        f"{clean(recipe.get('about', ''))}",
        **_told(training),
        "training_charts": training_charts(training.course),
        "strip": [
            {
                "picture": sheet(path, size, MOMENT_SIDE),
                "title": f"{number(images)} images",
                "alt": f"Grid of synthetic images after {images} images",
            }
            for images, path in training.grids
        ],
        "strip_side": MOMENT_SIDE**2,
        "strip_real": montage(training.real, MOMENT_SIDE, max(1, size // 128)) if training.real is not None else None,
        "applied": tables.reasons(augmentation.get("applied")),
        "refused": tables.reasons(augmentation.get("refused")),
        "recipe": tables.recipe_rows(recipe),
    }


def _told(training: TrainingView) -> dict[str, Any]:
    """How the training went, in words."""
    events = training.course.events
    return {
        "ending": ending(training),
        "held_against": clean(training.facts.get("variety_against", "")),
        "alarmed": level(training) in {Level.WARNING, Level.CRITICAL},
        "events": event_rows(events),
        "events_left": max(0, len(events) - EVENTS_LISTED),
        "given_up": bool(training.course.given_up),
        "changed": bool(training.course.roll_backs),
        "training_facts": facts_rows(training),
    }


def _provenance(findings: Findings) -> dict[str, Any]:
    rows: list[Mapping[str, Any]] = [tables.stage_row(stage) for stage in findings.stages]
    journal = tables.journal_rows(findings.journal)
    return {
        "stages": rows,
        "commands": findings.loose.command if findings.loose else tables.commands(findings),
        "versions": tables.version_rows(findings.stages),
        "journal": journal,
        "journal_left": len(findings.journal) - len(journal),
        "settings": [
            row for row in setting_rows(findings.study) if findings.loose is None or row[0].startswith("evidence.")
        ],
    }
