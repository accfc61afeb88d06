"""Takes patients out of a cohort that exists: rows, pixels and masks; nothing is read from the source."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from scansynth.data.cohort.linkage import forget, read_linkage
from scansynth.data.cohort.withdrawn import REASON
from scansynth.data.imageset import FACTS as SET_FACTS
from scansynth.data.imageset import IMAGES, MASKS, TABLE, SetWriter
from scansynth.data.roles import forget_roles
from scansynth.data.scans.partial import PARTIAL
from scansynth.data.tensors import (
    ATTRIBUTE,
    EXCLUDED,
    FACTS,
    ROLES,
    Cohort,
    CohortFacts,
    load_cohort,
    write_cohort,
)
from scansynth.files import new_directory, read_csv, write_csv
from scansynth.ledger import Role
from scansynth.stage import RECORD, hash_outputs, read_record, write_record
from scansynth.study import Study

_REWRITTEN = frozenset({IMAGES, MASKS, TABLE, SET_FACTS, FACTS, RECORD})


def remove_patients(study: Study, patients: Collection[str], inputs: Mapping[str, str]) -> None:
    """Takes patients out of the cohort and out of `private/`, each whole or not at all; safe to repeat.

    What cannot be known without the source stays as it was: the commonest Bits Stored, rescale and storage class, and
    the counts of `deidentification.csv`.

    Args:
        study: The study.
        patients: Keyed hashes.
        inputs: What the record says from now on that ingest read of who was withdrawn.

    Raises:
        CohortError: The cohort is damaged.
        StorageError: The study cannot be written.
    """
    shutil.rmtree(study.folder / PARTIAL, ignore_errors=True)  # images of an interrupted ingest
    if (study.cohort / FACTS).exists():
        cohort = load_cohort(study.cohort)
        if any(case.patient in patients for case in cohort.cases) or _named(study.cohort / ROLES, patients):
            _rewrite(study, cohort, patients, inputs)
    forget(study.linkage, patients)


def _named(table: Path, patients: Collection[str]) -> bool:
    return any(row["patient"] in patients for row in read_csv(table))


def _rewrite(study: Study, cohort: Cohort, patients: Collection[str], inputs: Mapping[str, str]) -> None:
    """Puts a cohort without the patients in the place of the old one; removes it when nobody is left."""
    kept = [case.index for case in cohort.cases if case.patient not in patients]
    if not kept:
        shutil.rmtree(study.cohort)
        return
    rows = [
        {name: text for name, text in cohort.images.rows[index].items() if text or not _optional(name)}
        for index in kept
    ]
    with new_directory(study.cohort) as folder:
        for path in study.cohort.iterdir():
            if path.is_file() and path.name not in _REWRITTEN:
                shutil.copyfile(path, folder / path.name)
        excluded = _excluded(study, patients)
        write_csv(folder / EXCLUDED, ("key", "reason", "detail"), excluded)
        forget_roles(folder, patients)
        masks = cohort.images.masks
        with SetWriter(folder, cohort.facts.shape, masked=masks is not None) as writer:
            for index in kept:
                writer.append(cohort.images.images[index], None if masks is None else masks[index])
        made = write_cohort(writer, folder, _facts(cohort.facts, rows, excluded), rows)
        record = read_record(study.cohort)
        if record is not None:
            roles = {row["patient"]: row["role"] for row in rows}
            record = replace(
                record,
                inputs={**record.inputs, **inputs},
                outputs=hash_outputs(folder, [path for path in folder.iterdir() if path.is_file()], made.files),
                roles=tuple(sorted(set(roles.values()))),
                patients=tuple(sorted(roles)),
            )
            write_record(folder, record)


def _optional(column: str) -> bool:
    return column.startswith(ATTRIBUTE)


def _excluded(study: Study, patients: Collection[str]) -> list[dict[str, str]]:
    """Files left out, the patients' among them."""
    named = [row for row in read_linkage(study.linkage) if row["patient"] in patients]
    theirs = {row["key"] for row in named}
    rows = [
        {**row, "reason": REASON, "detail": ""} if row["key"] in theirs else row
        for row in read_csv(study.cohort / EXCLUDED)
    ]
    rows += [{"key": row["key"], "reason": REASON, "detail": ""} for row in named if row["case"]]
    return sorted(rows, key=lambda row: row["key"])


def _facts(facts: CohortFacts, rows: Sequence[Mapping[str, str]], excluded: Sequence[Mapping[str, str]]) -> CohortFacts:
    """Facts of the smaller cohort; figures that a generator's output rests on come from the train role alone."""
    train = [row for row in rows if row["role"] == Role.TRAIN.value]

    def median(column: str) -> float:
        return float(np.median([float(row[column]) for row in train]))

    now = replace(
        facts,
        labels=tuple(sorted({row["label"] for row in rows})),
        excluded=dict(Counter(row["reason"] for row in excluded)),
    )
    if not train:
        return now
    spacing = (median("spacing_row"), median("spacing_col"))
    return replace(now, low=median("low"), high=median("high"), spacing=spacing)
