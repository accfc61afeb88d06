"""A study's artefacts -> one tree of values for the page; what is missing is None.

Nothing is measured here: figures come from the artefacts as they stand. Real images come only through
`select(cohort, Use.PICTURES)`, that is, from the train role; the examples of trial and reader study, a few chosen by
the answers of detectors and readers, come through `Use.EXAMPLES` from the test role.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.data import imageset
from scansynth.data.imageset import ImageSet
from scansynth.data.sets import load_set
from scansynth.data.standing import is_added
from scansynth.data.tensors import FACTS as COHORT_FACTS
from scansynth.data.tensors import Cohort, CohortFacts, Selection, load_cohort, select
from scansynth.errors import StudyError
from scansynth.files import read_json, read_json_lines
from scansynth.ledger import Role, Use
from scansynth.report.audit.artefacts import EvidenceView, read_evidence
from scansynth.report.reader.artefacts import ReadersView, read_readers
from scansynth.report.standing import stage_folders, under_way
from scansynth.report.training.course import Course, read_course, standing
from scansynth.report.utility.artefacts import TrialView, read_trial
from scansynth.seeds import generator
from scansynth.stage import RECORD, StageRecord, outdated, read_record
from scansynth.study import GRIDS, RUN, Study

GRID_SIDE = 6
"""Images in a row and in a column of a grid of real or synthetic images."""

GRID_LABELS = 3
"""Labels for which grids are shown, at most; others are named on the page."""

STRIP = 7
"""Moments of training that are shown, at most."""

MOMENT_SIDE = 4
"""Images in a row and in a column of such a moment, so that each can be made out."""

_SOURCES = {"cohort": "ingest", "weights": "train", "set": "generate", "scores": "train"}
"""Which stage makes what another stage names among its inputs."""


@dataclass(frozen=True)
class CohortView:
    """What ingest left: facts, and patients and images by role and label."""

    facts: CohortFacts
    images: int
    patients: int
    by_role: Mapping[Role, Mapping[str, tuple[int, int]]]
    totals: Mapping[Role, tuple[int, int]]


@dataclass(frozen=True)
class TrainingView:
    """One run: what `run.json` says, its course, moments of the sample grid, and reals to compare.

    The reals, (n, size, size) uint16, are drawn here from the train role; the run's own `real.png` may hold
    patients of another role.
    """

    run: str
    facts: Mapping[str, Any]
    course: Course
    grids: tuple[tuple[int, Path], ...]
    real: NDArray[np.uint16] | None
    ended: bool


@dataclass(frozen=True)
class GridPair:
    """Real and synthetic images of one label, drawn by seed.

    Attributes:
        label: Of both; empty for images without labels.
        real: uint16 (n, channels * rows, columns); none on the public page.
        synthetic: As many synthetic ones.
        real_of: Images that the real ones were drawn from.
        synthetic_of: Images that the synthetic ones were drawn from.
        real_masks: uint8 (n, rows, columns), 1 where a lesion is; none without masks.
        synthetic_masks: The same of the synthetic images.
    """

    label: str
    real: NDArray[np.uint16] | None
    synthetic: NDArray[np.uint16]
    real_of: int
    synthetic_of: int
    real_masks: NDArray[np.uint8] | None = None
    synthetic_masks: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class SetView:
    """A synthetic set: how many images, and grids of it beside real images."""

    name: str
    images: int
    labels: Mapping[str, int]
    grids: tuple[GridPair, ...]


@dataclass(frozen=True)
class StageView:
    """One stage that ended, and what of it is out of date (stages that ran again since)."""

    name: str
    record: StageRecord
    outdated: tuple[str, ...]


@dataclass(frozen=True)
class Loose:
    """What the page says where images were audited without a study.

    Attributes:
        notes: What was done to bring the images together, a sentence each.
        cohort: The real images in one sentence.
        uses: What a role is read for, where that differs from a study.
        command: Gives the same page again.
    """

    notes: tuple[str, ...]
    cohort: str
    uses: Mapping[Role, str]
    command: str


@dataclass(frozen=True)
class Findings:
    """Everything that the page shows.

    `added` says that the set was made elsewhere, `pictured` names the patients of the train role who are shown,
    `under_way` says that a reader study is not closed, and `public` that the page goes out with a release.
    """

    study: Study
    cohort: CohortView | None
    training: TrainingView | None
    synthetic: SetView | None
    evidence: EvidenceView | None
    stages: tuple[StageView, ...]
    journal: tuple[Mapping[str, Any], ...]
    pictured: tuple[str, ...]
    added: bool = False
    loose: Loose | None = None
    trial: TrialView | None = None
    readers: ReadersView | None = None
    under_way: bool = False
    public: bool = False


def collect(study: Study) -> Findings:
    """Reads everything that the page shows.

    Raises:
        StudyError: An artefact is damaged.
        EvidenceError: The evidence is damaged, or of another version of the rules.
        LedgerError: Pictures were asked of patients that may not be shown.
    """
    cohort = load_cohort(study.cohort) if (study.cohort / COHORT_FACTS).is_file() else None
    reals = select(cohort, Use.PICTURES) if cohort else None
    made = None
    if cohort and (study.synthetic() / imageset.FACTS).is_file():
        made = load_set(study.synthetic(), cohort.facts)
    added = is_added(study.synthetic())
    training = None if added else _training(study, reals)
    shown = _set_view(study, made, cohort, reals, training) if made and cohort and reals is not None else None
    evidence = _evidence(study, made, reals)
    trial, readers = read_trial(study, cohort), read_readers(study, cohort, made)
    pictured = set(reals.patients) if reals is not None and (shown or evidence or training) else set()
    return Findings(
        study=study,
        cohort=_cohort_view(cohort) if cohort else None,
        training=training,
        synthetic=shown,
        evidence=evidence,
        stages=_stages(study, readers),
        # The report's own lines are left out, so that writing it again gives the same page.
        journal=tuple(line for line in read_json_lines(study.journal) if line.get("stage") != "report"),
        pictured=tuple(sorted(pictured)),
        added=added,
        trial=trial,
        readers=readers,
        under_way=under_way(study),
    )


def _cohort_view(cohort: Cohort) -> CohortView:
    patients: dict[tuple[Role, str], set[str]] = defaultdict(set)
    images: dict[tuple[Role, str], int] = defaultdict(int)
    for case in cohort.cases:
        for label in (case.label, ""):
            patients[case.role, label].add(case.patient)
            images[case.role, label] += 1
    labels = cohort.facts.labels or tuple(sorted({case.label for case in cohort.cases}))
    return CohortView(
        facts=cohort.facts,
        images=len(cohort.cases),
        patients=len({case.patient for case in cohort.cases}),
        by_role={role: {label: (len(patients[role, label]), images[role, label]) for label in labels} for role in Role},
        totals={role: (len(patients[role, ""]), images[role, ""]) for role in Role},
    )


def _training(study: Study, reals: Selection | None) -> TrainingView | None:
    folder = study.run()
    if not (folder / RUN).is_file():
        return None
    facts = _object(folder / RUN, "train")
    course = read_course(folder)
    return TrainingView(
        run=study.config.generator.run,
        facts=facts,
        course=course,
        grids=tuple(_spread(_grids(folder / GRIDS, course))),
        real=_beside_moments(study, reals, _classes(facts)),
        ended=(folder / RECORD).is_file(),
    )


def _classes(facts: Mapping[str, Any]) -> set[str]:
    """Labels that the generator saw; empty: all."""
    return {str(name) for name in facts.get("classes") or ()}


def _beside_moments(study: Study, reals: Selection | None, classes: set[str]) -> NDArray[np.uint16] | None:
    """Real images as many as a moment of training shows, of the classes that the generator saw."""
    found = [index for index, case in enumerate(reals.cases) if not classes or case.label in classes] if reals else []
    if reals is None or not found:
        return None
    return reals.planes[_draw(study, "real", "moments", found, min(MOMENT_SIDE**2, len(found)))]


def _grids(folder: Path, course: Course) -> list[tuple[int, Path]]:
    """Sample grids of the training as it stands, named by attempt and images seen."""
    rows = [
        {"attempt": int(found[1]), "images": int(found[2]), "path": path}
        for path in folder.glob("*.png")
        if (found := re.fullmatch(r"(\d+)-(\d+)\.png", path.name))
    ]
    return [(row["images"], row["path"]) for row in standing(rows, course.events)]


def _spread(grids: list[tuple[int, Path]]) -> list[tuple[int, Path]]:
    """At most `STRIP` of the grids, evenly spread, the first and the last among them."""
    if len(grids) <= STRIP:
        return grids
    return [grids[round(index)] for index in np.linspace(0, len(grids) - 1, STRIP)]


def _set_view(study: Study, made: ImageSet, cohort: Cohort, reals: Selection, training: TrainingView | None) -> SetView:
    own = [row.get("label", "") for row in made.rows]
    labels = {label: own.count(label) for label in sorted(set(own))}
    of_run = _classes(training.facts) if training else set()
    grids = []
    for label in list(labels)[:GRID_LABELS]:
        synthetic = [index for index, name in enumerate(own) if name == label]
        wanted = {label} if any(case.label == label for case in reals.cases) else of_run
        real = [index for index, case in enumerate(reals.cases) if not wanted or case.label in wanted]
        amount = min(GRID_SIDE**2, len(real), len(synthetic))
        if amount:
            shown = _draw(study, "real", label, real, amount)
            drawn = _draw(study, "synthetic", label, synthetic, amount)
            outlines = cohort.masks([reals.cases[index] for index in shown])
            pictures = reals.planes[shown], made.planes[drawn]
            masks = outlines, None if made.masks is None else made.masks[drawn]
            grids.append(GridPair(label, *pictures, len(real), len(synthetic), *masks))
    return SetView(study.config.synthetic.name, len(made.rows), labels, tuple(grids))


def _draw(study: Study, kind: str, label: str, indices: list[int], amount: int) -> NDArray[np.int64]:
    """Which images a grid shows: sampled by the study's seed, without repeats."""
    draw = generator(study.config.seed, "report", kind, label)
    return np.asarray(draw.choice(np.array(indices), size=amount, replace=False), dtype=np.int64)


def _evidence(study: Study, made: ImageSet | None, reals: Selection | None) -> EvidenceView | None:
    cases = [case.case for case in reals.cases] if reals is not None else []
    images = None if made is None else made.planes
    return read_evidence(study.evidence(), images, None if reals is None else reals.planes, cases)


def _stages(study: Study, readers: ReadersView | None) -> tuple[StageView, ...]:
    """The stages that ended, each compared with what the stages before it hold now."""
    seen = {"reader": readers.saw} if readers else {}  # their record names the readings alone
    folders = stage_folders(study)
    records = {name: record for name, folder in folders.items() if (record := read_record(folder)) is not None}
    views = []
    for name, record in records.items():
        inputs = {**record.inputs, **seen.get(name, {})}
        sources = {key: found for key in inputs if (found := records.get(_SOURCES.get(key, key))) is not None}
        changed = {sources[key].stage for key in outdated(inputs, sources)}
        views.append(StageView(record.stage, record, tuple(sorted(changed))))
    return tuple(views)


def _object(path: Path, stage: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = read_json(path)
    except ValueError as fault:
        raise _damaged(path.name, stage) from fault
    if not isinstance(value, dict):
        raise _damaged(path.name, stage)
    return value


def _damaged(name: str, stage: str) -> StudyError:
    return StudyError(f"{name} is damaged; run the stage {stage} of this study again")
