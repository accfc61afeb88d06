"""What ingest and an added set were made from, for telling whether they are stale; quick to import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scansynth.data.cohort.withdrawn import Withdrawn, read_withdrawn
from scansynth.data.roles import inherited_roles, roles_digest
from scansynth.data.scans.sources import listing_digest
from scansynth.data.tensors import load_facts
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.files import sha256_file
from scansynth.stage import plain, read_record
from scansynth.study import Study

ADD_SET = "add-set"
"""The stage that a record of an added set names."""


def ingest_settings(study: Study) -> dict[str, Any]:
    """The settings that decide about the cohort; the paths are left out, what lies there is an input."""
    settings = study.config.cohort.model_dump(mode="json", exclude={"dicom", "labels", "split_from", "key"})
    return plain(settings)


def ingest_inputs(study: Study, key: InstitutionKey) -> dict[str, str]:
    """Digest of everything that ingest reads: tells whether the cohort is stale.

    Raises:
        ScansynthError: A source is missing.
    """
    settings = study.config.cohort
    inputs = {
        "dicom folder": listing_digest(study.source(settings.dicom)),
        "institution key": key.fingerprint,
    }
    if settings.labels is not None:
        path = study.source(settings.labels)
        inputs["labels.csv"] = sha256_file(path) if path.is_file() else "missing"
    if settings.split_from is not None:
        inputs["split_from"] = roles_digest(inherited_roles(study.source(settings.split_from), key.fingerprint))
    return {**inputs, **withdrawn_from(study).inputs}


def withdrawn_from(study: Study) -> Withdrawn:
    """Who may not be read: patients withdrawn from this study, or from the one with which it shares roles.

    Raises:
        StudyError: A table of them is damaged.
    """
    other = study.config.cohort.split_from
    inherited = Withdrawn() if other is None else read_withdrawn(study.source(other))
    return read_withdrawn(study.folder) | inherited


def is_added(folder: Path) -> bool:
    """Whether the set in `folder` came by `add-set`.

    Raises:
        StudyError: The record is damaged.
    """
    record = read_record(folder)
    return record is not None and record.stage == ADD_SET


def add_set_settings(study: Study) -> dict[str, Any]:
    """What brings foreign images to the cohort's size and scale: when it changes, the set must be added again."""
    facts, scaling = load_facts(study.cohort), study.config.cohort
    window = {"hu_window": scaling.hu_window} if facts.modality == "CT" else {"percentiles": scaling.percentiles}
    return plain({"shape": facts.shape, "modality": facts.modality, **window})
