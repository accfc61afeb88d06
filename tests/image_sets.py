"""Small cohorts and synthetic sets, written by the project's own writers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scansynth.data.imageset import ImageSet, Kind, SetFacts, SetWriter, open_set
from scansynth.data.sets import SET_COLUMNS, set_rows
from scansynth.data.tensors import CASE_COLUMNS, CohortFacts, write_cohort


def put_cohort(
    folder: Path,
    facts: CohortFacts,
    rows: Sequence[Mapping[str, Any]],
    images: np.ndarray,
    masks: np.ndarray | None = None,
) -> SetFacts:
    """A cohort of images (n, rows, columns); columns of the table that `rows` lacks stay empty."""
    folder.mkdir(parents=True, exist_ok=True)
    blank = dict.fromkeys(CASE_COLUMNS, "")
    writer = _filled(folder, images, masks)
    return write_cohort(writer, folder, facts, [{**blank, **row} for row in rows])


def put_set(
    folder: Path,
    facts: CohortFacts,
    images: np.ndarray,
    labels: str | Sequence[str],
    masks: np.ndarray | None = None,
    **columns: Sequence[Any],
) -> SetFacts:
    """A synthetic set of images (n, rows, columns) on the scale of a cohort."""
    folder.mkdir(parents=True, exist_ok=True)
    each = [labels] * len(images) if isinstance(labels, str) else [labels[n % len(labels)] for n in range(len(images))]
    writer = _filled(folder, images, masks)
    kind = Kind.ADDED if "source_sha256" in columns else Kind.GENERATED
    return writer.finish(kind, facts.modality, set_rows(facts, each, columns), SET_COLUMNS)


def change_set(
    folder: Path,
    rows: Sequence[Mapping[str, Any]] | None = None,
    images: np.ndarray | None = None,
    masks: np.ndarray | None = None,
) -> ImageSet:
    """Writes the image set in a folder again with other rows, images or masks."""
    found = open_set(folder)
    kept = list(found.rows) if rows is None else list(rows)
    drawn = np.array(found.planes) if images is None else images
    marked = (None if found.masks is None else np.array(found.masks)) if masks is None else masks
    for name in found.facts.files:
        (folder / name).unlink()
    writer = _filled(folder, drawn, marked)
    writer.finish(found.facts.kind, found.facts.modality, kept, list(kept[0]), found.facts.provenance)
    return open_set(folder)


def _filled(folder: Path, images: np.ndarray, masks: np.ndarray | None) -> SetWriter:
    with SetWriter(folder, images.shape[1:], masked=masks is not None) as writer:
        for place, image in enumerate(images):
            writer.append(image, None if masks is None else masks[place])
    return writer
