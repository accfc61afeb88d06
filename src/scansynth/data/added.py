"""Somebody else's synthetic images become a set of the study: `scansynth add-set`."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scansynth.console import Progress, silent
from scansynth.data.foreign import DARK, PICTURES, Foreign, Scaling, Survey, read, survey
from scansynth.data.imageset import Kind, SetWriter
from scansynth.data.sets import LABEL_SEPARATOR, SET_COLUMNS, set_rows
from scansynth.data.tensors import CohortFacts, in_pixels, load_facts
from scansynth.dicom.sandbox import DecodePool
from scansynth.errors import CohortError, StudyError
from scansynth.files import new_directory, sha256_json, storage_faults, write_bytes
from scansynth.stage import StageRecord, hash_outputs, plain, read_record, versions, write_record
from scansynth.study import Study

STAGE = "add-set"
"""The stage that a record of an added set names."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


@dataclass(frozen=True)
class Added:
    """What was made of somebody else's images.

    Attributes:
        images: Number of images in the set.
        label: The label that they are given.
        left: Files left out, by reason.
        notes: What the user should know of the change of scale and size, a sentence each.
    """

    images: int
    label: str
    left: Mapping[str, int]
    notes: tuple[str, ...]


def is_added(folder: Path) -> bool:
    """Whether the set in `folder` came by `add-set`.

    Raises:
        StudyError: The record is damaged.
    """
    record = read_record(folder)
    return record is not None and record.stage == STAGE


def add_set_settings(study: Study) -> dict[str, Any]:
    """What brings foreign images to the cohort's size and scale: when it changes, the set must be added again."""
    facts, scaling = load_facts(study.cohort), study.config.cohort
    window = {"hu_window": scaling.hu_window} if facts.modality == "CT" else {"percentiles": scaling.percentiles}
    return plain({"shape": facts.shape, "modality": facts.modality, **window})


def add_set(
    study: Study, folder: Path, name: str, label: str | None, pool: DecodePool, progress: Progress = silent
) -> Added:
    """Brings images to the cohort's size and scale and writes them as the set `name`.

    Args:
        study: A study with a cohort.
        folder: DICOM, or grey PNG, JPEG or TIFF files.
        name: Name of the set.
        label: What all the images show; none: the classes that the study's generator is to learn.
        pool: The confined processes that read the files.
        progress: Told how far the work is.

    Raises:
        StudyError: The name is none, or a set of the study's own generator bears it.
        CohortError: There is no cohort, no usable image, or no such label.
        StorageError: The set cannot be written; an older one is intact.
    """
    began, target = time.monotonic(), study.synthetic(name)
    if not _NAME.fullmatch(name):
        raise StudyError("--name takes small letters, digits and hyphens, 41 at most; choose another name")
    if target.exists() and not is_added(target):
        raise StudyError(f"{name} is a set of the study's own generator; choose another --name")
    facts, settings = load_facts(study.cohort), add_set_settings(study)
    label = _label(study, facts, label)
    found = survey(folder, "DIR", pool, facts.modality, True, progress)
    scaling = Scaling(study.config.cohort.hu_window, study.config.cohort.percentiles)
    made = read(found, facts.shape, scaling, pool, True, progress)
    if not len(made.images):
        raise CohortError(f"no image of DIR could be decoded ({_most(made)}); look at the files with a viewer")
    with new_directory(target) as out, storage_faults(target):
        digests = _write(out, made, label, facts)
        record = StageRecord(
            stage=STAGE,
            inputs={"files": sha256_json(sorted(made.files))},
            settings=settings,
            outputs=hash_outputs(out, [path for path in out.rglob("*") if path.is_file()], digests),
            seed=study.config.seed,
            seconds=round(time.monotonic() - began, 2),
            versions=versions(),
        )
        write_record(out, record)
    _write_names(study.linkage, name, made)
    study.log(STAGE, "written", seconds=record.seconds, images=len(made.images), left_out=len(made.left))
    return Added(len(made.images), label, made.reasons, _notes(found, made, facts.shape))


def _notes(found: Survey, made: Foreign, shape: tuple[int, int]) -> tuple[str, ...]:
    """What the user should know of the change of scale and size."""
    notes = []
    if found.modality == PICTURES:
        notes.append(
            "PNG, JPEG and TIFF files have no units: their whole range was taken for the whole range of the cohort"
        )
        if made.images.max() < DARK:
            notes.append(f"they use the darkest part of their range only: up to {made.images.max():,} of 65,535")
    if found.shapes > 1 or {found.side} != set(shape):
        notes.append(f"images of {_sides(found.shapes, found.side)} were brought to {in_pixels(shape)}")
    return tuple(notes)


def _sides(shapes: int, side: int) -> str:
    return f"{shapes} sizes" if shapes > 1 else f"{side} pixels a side"


def _most(made: Foreign) -> str:
    reason, count = max(made.reasons.items(), key=lambda pair: pair[1])
    return f"{count} {reason}"


def _label(study: Study, facts: CohortFacts, asked: str | None) -> str:
    """The label of the images, checked against the cohort."""
    if facts.unlabelled:
        if asked is not None:
            raise CohortError("the cohort has no labels, so a set of it has none; leave --label out")
        return ""
    choices = ", ".join(facts.labels)
    if asked is None:
        classes = study.config.generator.classes or ((facts.positive,) if facts.positive else ())
        if not classes:
            raise CohortError(f"say with --label what the images show: one of {choices}")
        return LABEL_SEPARATOR.join(classes)
    if asked not in facts.labels:
        raise CohortError(f"the cohort has no such label; give --label one of {choices}")
    return asked


def _write(out: Path, made: Foreign, label: str, facts: CohortFacts) -> Mapping[str, str]:
    """The images on the cohort's scale, exactly as they are judged; returns the hashes of the files."""
    with SetWriter(out, made.images.shape[1:]) as writer:
        for image in made.images:
            writer.append(image)
    rows = set_rows(facts, [label] * len(made.images), {"source_sha256": made.files})
    return writer.finish(Kind.ADDED, facts.modality, rows, SET_COLUMNS).files


def _write_names(folder: Path, name: str, made: Foreign) -> None:
    """The table from images back to file names, for the owner of the study alone: a name may tell of a person."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("id", "source"))
    writer.writerows((f"{index:06d}", source.relative) for index, source in enumerate(made.sources))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    write_bytes(folder / f"set-{name}.csv", stream.getvalue().encode("utf-8", "surrogateescape"), mode=0o600)
