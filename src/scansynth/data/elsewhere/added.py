"""Another source's synthetic images become a set of the study: `scansynth add-set`."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scansynth.console import Progress, silent
from scansynth.data.elsewhere.foreign import DARK, PICTURES, Foreign, Scaling, Survey, read, survey
from scansynth.data.elsewhere.taken import is_image_set, take_set
from scansynth.data.imageset import Images, Kind, Masks, SetWriter
from scansynth.data.sets import LABEL_SEPARATOR, SET_COLUMNS, set_rows
from scansynth.data.standing import ADD_SET, add_set_settings, is_added
from scansynth.data.tensors import CohortFacts, in_pixels, load_facts
from scansynth.dicom.sandbox import DecodePool
from scansynth.errors import CohortError, StudyError
from scansynth.files import new_directory, sha256_json, storage_faults, write_bytes
from scansynth.stage import StageRecord, hash_outputs, versions, write_record
from scansynth.study import Study

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


@dataclass(frozen=True)
class Added:
    """What became of images made elsewhere.

    Attributes:
        images: Number of images in the set.
        label: What they show.
        left: Files left out, by reason.
        notes: What the user should know of the change of scale and size, a sentence each.
    """

    images: int
    label: str
    left: Mapping[str, int]
    notes: tuple[str, ...]


def add_set(
    study: Study, folder: Path, name: str, label: str | None, pool: DecodePool, progress: Progress = silent
) -> Added:
    """Brings images to the cohort's size and scale and writes them as the set `name`.

    Args:
        study: A study with a cohort.
        folder: DICOM, or grey PNG, JPEG or TIFF files; or an image set, which is opened and not decoded.
        name: Name of the set.
        label: What all the images show; none: what an image set says itself, else the classes that the study's
            generator is to learn.
        pool: The confined processes that read the files.
        progress: Told how far the work is.

    Raises:
        StudyError: The name is not one for a folder, or a set of the study's own generator bears it.
        CohortError: There is no cohort, no usable image, or no such label.
        StorageError: The set cannot be written; an older one is intact.
    """
    began, target = time.monotonic(), study.synthetic(name)
    if not _NAME.fullmatch(name):
        raise StudyError("--name must be at most 41 lower-case letters, digits and hyphens; choose another name")
    if target.exists() and not is_added(target):
        raise StudyError(f"{name} is a set of the study's own generator; choose another --name")
    facts, settings = load_facts(study.cohort), add_set_settings(study)
    if is_image_set(folder):
        new = _of_set(study, folder, label, facts)
    else:
        new = _of_files(study, folder, _label(study, facts, label), pool, progress)
    with new_directory(target) as out, storage_faults(target):
        digests = _write(out, new, facts)
        record = StageRecord(
            stage=ADD_SET,
            inputs={"files": new.digest},
            settings=settings,
            outputs=hash_outputs(out, [path for path in out.rglob("*") if path.is_file()], digests),
            seed=study.config.seed,
            seconds=round(time.monotonic() - began, 2),
            versions=versions(),
        )
        write_record(out, record)
    _write_names(study.linkage, name, new.names)
    left_out = sum(new.left.values())
    study.log(ADD_SET, "written", images=len(new.images), left_out=left_out, **record.logged)
    return Added(len(new.images), ", ".join(sorted(set(new.labels))), new.left, new.notes)


@dataclass(frozen=True)
class _New:
    """Images on the cohort's size and scale, and where each came from."""

    images: Images
    masks: Masks | None
    labels: tuple[str, ...]
    names: tuple[str, ...]
    files: tuple[str, ...]
    digest: str
    left: Mapping[str, int]
    notes: tuple[str, ...]


def _of_set(study: Study, folder: Path, label: str | None, facts: CohortFacts) -> _New:
    """The images of an image set; what it says of labels stands, unless the user says something else."""
    taken = take_set(folder, facts)
    if label is None and taken.labels is not None:
        labels = taken.labels
    else:
        labels = (_label(study, facts, label),) * len(taken.images)
    digest = sha256_json(sorted(taken.digests.values()))
    return _New(taken.images, taken.masks, labels, taken.ids, taken.files, digest, {}, taken.notes)


def _of_files(study: Study, folder: Path, label: str, pool: DecodePool, progress: Progress) -> _New:
    """The images of a folder of DICOM, PNG, JPEG or TIFF files, which all show the same."""
    facts, settings = load_facts(study.cohort), study.config.cohort
    found = survey(folder, "DIR", pool, facts.modality, True, progress)
    made = read(found, facts.shape, Scaling(settings.hu_window, settings.percentiles), pool, True, progress)
    if not len(made.images):
        raise CohortError(f"no image of DIR could be decoded ({_most(made)}); check the files with a viewer")
    return _New(
        images=made.images,
        masks=None,
        labels=(label,) * len(made.images),
        names=tuple(source.relative for source in made.sources),
        files=made.files,
        digest=sha256_json(sorted(made.files)),
        left=made.reasons,
        notes=_notes(found, made, facts.shape),
    )


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


def _write(out: Path, new: _New, facts: CohortFacts) -> Mapping[str, str]:
    """The images on the cohort's scale, exactly as they are judged; returns the hashes of the files."""
    with SetWriter(out, new.images.shape[1:], masked=new.masks is not None) as writer:
        for place, image in enumerate(new.images):
            writer.append(image, None if new.masks is None else new.masks[place])
    rows = set_rows(facts, new.labels, {"source_sha256": new.files})
    return writer.finish(Kind.ADDED, facts.modality, rows, SET_COLUMNS).files


def _write_names(folder: Path, name: str, names: Sequence[str]) -> None:
    """The table from images back to file names, for the owner of the study alone: a name may tell of a person."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("id", "source"))
    writer.writerows((f"{index:06d}", source) for index, source in enumerate(names))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    write_bytes(folder / f"set-{name}.csv", stream.getvalue().encode("utf-8", "surrogateescape"), mode=0o600)
