"""Independent patients: the cohort of another study, scored by detectors that are finished and stay as they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scansynth.console import Progress, silent
from scansynth.data.tensors import Cohort, Selection, in_pixels, load_cohort, select, to_signed, to_stored
from scansynth.data.transforms import Floats, Shape, from_window, resize, to_window
from scansynth.engine.job import Job
from scansynth.engine.run import run_jobs
from scansynth.errors import CohortError, LedgerError, StudyError, TrainingError
from scansynth.files import read_json, sha256_file, sha256_json, write_csv, write_json
from scansynth.learning.device import pick_device
from scansynth.ledger import Use
from scansynth.stage import differing, read_record
from scansynth.study import COHORT, JOBS, TRIAL, Study
from scansynth.utility.detector.detector import FACTS, load_detector, score_images
from scansynth.utility.grid import Grid
from scansynth.utility.job import SCORE_COLUMNS, score_rows
from scansynth.utility.pools import positives

ROLE = "external"
_NEAR = 0.9  # spacings within a tenth of each other are one


@dataclass(frozen=True)
class ExternalSpec:
    """One external cohort to be scored, in plain values.

    Attributes:
        name: As files call it.
        study: Folder of the study whose detectors score.
        other: Folder of the study whose cohort is scored.
        jobs: Names of the detectors' jobs.
        resample: Take images of another spacing, size, view or modality anyway.
        other_key: Take patients who were hashed with another key.
    """

    name: str
    study: str
    other: str
    jobs: tuple[str, ...]
    resample: bool
    other_key: bool


def scores_name(name: str) -> str:
    """File in a job's folder that holds the scores of an external cohort."""
    return f"external-{name}.csv"


def external_notes(grid: Grid, specs: Sequence[ExternalSpec]) -> dict[str, list[str]]:
    """What about each external cohort is not as in this study, and what was done about it.

    Raises:
        StudyError: The file that says it is missing or damaged.
    """
    found = {}
    for spec in specs:
        path = grid.specs[0].folder / f"external-{spec.name}.json"
        try:
            found[spec.name] = [str(note) for note in read_json(path)["notes"]]
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise StudyError(f"{path.name} of a job is missing or damaged; run the trial again") from fault
    return found


def external_specs(study: Study, grid: Grid) -> tuple[ExternalSpec, ...]:
    """The external cohorts that the study names.

    Raises:
        CohortError: Two of them would bear one name.
    """
    settings = study.config.utility
    jobs = tuple(spec.name for spec in grid.specs if not spec.left_out[0])
    return tuple(
        ExternalSpec(name, str(study.folder), str(folder), jobs, settings.resample, settings.other_key)
        for name, folder in _named(study)
    )


def _named(study: Study) -> list[tuple[str, Path]]:
    """The studies that `utility.external` names, with their names as files call them."""
    folders = [study.source(path) for path in study.config.utility.external]
    names = [re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-") or "cohort" for folder in folders]
    if len(set(names)) != len(names):
        raise CohortError(
            "utility.external names two studies whose folders have the same name; rename one of the folders"
        )
    return list(zip(names, folders, strict=True))


def check_external(study: Study) -> None:
    """Passes when every external cohort can be scored: asked before any detector is trained.

    Raises:
        CohortError: There is no such cohort, or its images are not comparable.
        LedgerError: Patients are shared, or it cannot be checked whether any are.
    """
    settings, ours = study.config.utility, load_cohort(study.cohort)
    for name, folder in _named(study):
        other = _cohort_of(folder, name)
        check_strangers(ours, other, name, settings.other_key)
        check_comparable(ours, other, name, settings.resample)


def _cohort_of(folder: Path, name: str) -> Cohort:
    """The cohort of another study; what is wrong with it is told by its name."""
    try:
        return load_cohort(folder / COHORT)
    except CohortError as fault:
        raise CohortError(f"the external cohort {name}: {fault}") from None


def run_external(study: Study, specs: Sequence[ExternalSpec], progress: Progress = silent) -> None:
    """Scores every external cohort with every finished detector.

    Raises:
        TrainingError: A cohort was refused; the others are kept.
        RuntimeError: It failed by a fault of the program.
    """
    outcomes = run_jobs(score_external, [Job(spec.name, spec) for spec in specs], study.config.engine, progress)
    for outcome in outcomes:
        if not outcome.succeeded and not outcome.refused:
            raise RuntimeError(f"the external cohort {outcome.name}: {outcome.reason}\n{outcome.trace}")
        if not outcome.succeeded:
            known = f"the external cohort {outcome.name}"
            raise TrainingError(outcome.reason if known in outcome.reason else f"{known}: {outcome.reason}")


def score_external(spec: ExternalSpec) -> None:
    """Writes `external-<name>.csv` into each job's folder, where it is not there yet for the same inputs.

    Raises:
        LedgerError: Patients are shared, or it cannot be checked whether any are.
        CohortError: There is no such cohort, or its images are not comparable.
        CheckpointError: A detector is missing or altered.
    """
    ours, other = load_cohort(Path(spec.study) / COHORT), _cohort_of(Path(spec.other), spec.name)
    check_strangers(ours, other, spec.name, spec.other_key)
    part, notes = comparable(ours, other, spec.name, spec.resample)
    device, jobs = pick_device(), Path(spec.study) / TRIAL / JOBS
    record = read_record(other.folder)
    for name in spec.jobs:
        folder = jobs / name
        mark, table = folder / f"external-{spec.name}.json", folder / scores_name(spec.name)
        weights = read_json(folder / FACTS)["weights_sha256"] if (folder / FACTS).is_file() else ""
        identity = sha256_json([record.digest if record else "", weights, spec.resample])
        if _is_done(mark, table, identity):
            continue
        network, _ = load_detector(folder, device)
        rows = score_rows(part.cases, ROLE, positives(other, part.cases), score_images(network, part.planes, device))
        write_csv(table, SCORE_COLUMNS, rows)
        told = {"identity": identity, "notes": list(notes), "images": len(rows), "scores_sha256": sha256_file(table)}
        write_json(mark, told)


def _is_done(mark: Path, table: Path, identity: str) -> bool:
    try:
        told, now = read_json(mark), {"identity": identity, "scores_sha256": sha256_file(table)}
        return not differing({name: told.get(name) for name in now}, now)
    except (OSError, ValueError, AttributeError):
        return False


def check_strangers(ours: Cohort, other: Cohort, name: str, other_key: bool) -> None:
    """Passes when no patient stands in both cohorts.

    Raises:
        LedgerError: Some do, or the hashes are of different keys and cannot be compared.
    """
    if ours.facts.key_fingerprint != other.facts.key_fingerprint:
        if other_key:
            return
        raise LedgerError(
            f"the patients of the external cohort {name} were hashed with another institution key, so nobody can check "
            "that none of them is a patient of this study; ingest it with this study's key, or set utility.other_key = "
            "true if they are of another institution"
        )
    shared = {case.patient for case in ours.cases} & {case.patient for case in other.cases}
    if shared:
        raise LedgerError(
            f"{len(shared)} patients of the external cohort {name} are patients of this study; leave them out of it"
        )


def check_comparable(ours: Cohort, other: Cohort, name: str, resample: bool) -> list[str]:
    """What is not alike, in words, and what is done about it; see `comparable`.

    Raises:
        CohortError: It has no labels, lacks a class, has pixels of another shape, or differs and may not be resampled.
    """
    if other.facts.unlabelled or other.facts.positive is None:
        raise CohortError(f"the external cohort {name} has no labels; detectors cannot be tested on it")
    shown = positives(other, other.cases)
    if not shown.any() or shown.all():
        raise CohortError(f"the external cohort {name} lacks {'negative' if shown.any() else 'positive'} images")
    differences = _differences(ours, other)
    differing = "; ".join(words for words, _ in differences)
    down, across = _ratios(ours, other)
    if not _near(down / across):
        raise CohortError(f"the external cohort {name} has pixels of another shape: {differing}; it cannot be compared")
    if differences and not resample:
        raise CohortError(
            f"the external cohort {name} differs: {differing}; ingest it alike, or set utility.resample = true"
        )
    return [f"{words} ({done})" for words, done in differences]


def comparable(ours: Cohort, other: Cohort, name: str, resample: bool) -> tuple[Selection, tuple[str, ...]]:
    """The external images on this study's scale, and what was done to them.

    Args:
        ours: The cohort that the detectors learned from.
        other: The external one.
        name: Of it, for messages.
        resample: Bring images of another spacing or size to ours, and take another modality or view as it is.

    Raises:
        CohortError: It has no labels, lacks a class, or differs and may not be resampled.
    """
    differences = check_comparable(ours, other, name, resample)
    found = select(other, Use.EXTERNAL)
    images = np.empty((len(found.cases), *ours.facts.shape), np.uint16)
    for place, (case, image) in enumerate(zip(found.cases, found.planes, strict=True)):
        signed = to_signed(image)
        if ours.facts.modality == other.facts.modality == "CT":  # Hounsfield units mean the same everywhere
            signed = to_window(from_window(signed, case.low, case.high), ours.facts.low, ours.facts.high)
        images[place] = to_stored(_resized(signed, ours, other))
    return Selection(found.cases, images[:, None]), tuple(differences)


def _differences(ours: Cohort, other: Cohort) -> list[tuple[str, str]]:
    """What is not alike, in words, and what `utility.resample` does about it."""
    mine, its = ours.facts, other.facts
    found = [
        (f"{what} {theirs} instead of {own}", done)
        for what, own, theirs, done in (
            ("Modality", mine.modality, its.modality, "taken as it is"),
            ("view", mine.view, its.view, "taken as it is"),
            ("size", in_pixels(mine.shape), in_pixels(its.shape), "cut or padded"),
        )
        if own != theirs
    ]
    if not all(_near(ratio) for ratio in _ratios(ours, other)):
        own, theirs = (" x ".join(dict.fromkeys(f"{one:.3g}" for one in facts.spacing)) for facts in (mine, its))
        found.append((f"pixel spacing {theirs} mm instead of {own} mm", "resampled"))
    return found


def _ratios(ours: Cohort, other: Cohort) -> tuple[float, float]:
    """Spacing of its rows and of its columns, each in ours."""
    theirs, own = other.facts.spacing, ours.facts.spacing
    return theirs[0] / own[0], theirs[1] / own[1]


def _near(ratio: float) -> bool:
    return _NEAR < ratio < 1.0 / _NEAR


def _resized(image: Floats, ours: Cohort, other: Cohort) -> Floats:
    """An image at our spacing and size: resampled when the spacing differs, cut or padded about its centre."""
    ratio, _ = _ratios(ours, other)
    if not _near(ratio):
        rows, columns = (max(8, round(side * ratio)) for side in image.shape)
        image = resize(image, (rows, columns))
    return _centred(image, ours.facts.shape)


def _centred(image: NDArray[np.float32], shape: Shape) -> NDArray[np.float32]:
    """An image cut or padded with -1 to `shape` about its centre."""
    for axis, (have, wanted) in enumerate(zip(image.shape, shape, strict=True)):
        if have > wanted:
            start = (have - wanted) // 2
            image = image.take(range(start, start + wanted), axis)
        before = (wanted - have) // 2
        if have < wanted:
            gap = [(0, 0), (0, 0)]
            gap[axis] = (before, wanted - have - before)
            image = np.pad(image, gap, constant_values=-1.0)
    return image
