"""What the page was made from, for telling whether it is stale; quick to import."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scansynth.data.standing import is_added
from scansynth.report.figures.words import clean, setting
from scansynth.stage import read_record
from scansynth.study import ANALYSIS, PROTOCOL, Study

_PATHS = {"cohort.dicom", "cohort.labels", "cohort.split_from", "cohort.key", "evidence.encoder", "utility.external"}
"""Settings that name local paths; the page leaves them out."""


def stage_folders(study: Study) -> dict[str, Path]:
    """Folder of each stage that the page reads, in the order of work; no training stands behind an added set.

    Trial and reader study count from their analysis on: what is under way must not show on the page.
    """
    own = {} if is_added(study.synthetic()) else {"train": study.run()}
    beside = {"utility": study.trial} if has_trial(study) else {}
    if has_readers(study):
        beside["reader"] = study.reader
    return {"ingest": study.cohort, **own, "generate": study.synthetic(), "audit": study.evidence(), **beside}


def report_inputs(study: Study) -> dict[str, str]:
    """Digest of each finished stage, and whether a reader study is under way: the inputs of the page."""
    records = {name: read_record(folder) for name, folder in stage_folders(study).items()}
    found = {name: record.digest for name, record in records.items() if record is not None}
    return found | ({"reader study": "under way"} if under_way(study) else {})


def has_trial(study: Study) -> bool:
    """Whether a trial was analysed."""
    return (study.trial / ANALYSIS).is_file()


def has_readers(study: Study) -> bool:
    """Whether a reader study was analysed; before that the page says nothing about it, to keep it blinded."""
    return (study.reader / ANALYSIS).is_file()


def under_way(study: Study) -> bool:
    """Whether a reader study is open: its readers must not see the page, which shows which images are synthetic."""
    return (study.reader / PROTOCOL).is_file() and not has_readers(study)


def report_settings(study: Study) -> dict[str, Any]:
    """The settings that the page shows: when one of them changes, the page is stale."""
    return dict(setting_rows(study))


def setting_rows(study: Study) -> list[tuple[str, str]]:
    """The study's settings, one a row, without places of this machine."""
    return [
        (clean(key), setting(value)) for key, value in _flat(study.config.model_dump(mode="json")) if key not in _PATHS
    ]


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in table.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(prefix + key, value)]
    return rows
