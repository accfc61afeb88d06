"""Marks for other programs: a plain table, and workbooks that RJafroc reads as FROC data.

RJafroc's format (`DfReadDataFile` with `newExcelFileFormat = TRUE`): sheets TRUTH, TP and FP; a row of TRUTH for each
lesion, or for an image without; marks on lesions in TP, all others in FP. All names are whole numbers. It wants every
reader to have read every image, so readers who did not are left out of the workbooks. Real and synthetic images are
other cases, and stand in a workbook each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scansynth.files import write_bytes, write_csv
from scansynth.metrics.marks import Candidates, Lesions, mark
from scansynth.reader import marks as stored
from scansynth.reader.statistics.localisation import OWN, REAL, SECOND, Marked
from scansynth.reader.statistics.outlined import Outlines
from scansynth.reader.statistics.readings import Reading
from scansynth.reader.statistics.workbook import Cell, workbook

COLUMNS = ("reader", "item", "truth", "case", "mark", "row", "column", "radius", "confidence", "lesion")
"""Of marks.csv. `truth` is 1 for synthetic; `lesion` is the number of the lesion in lesions.csv that the mark lies on,
from 1, and 0 where it lies on none; empty where it is not known."""

WORKBOOKS = {REAL: "froc-real.xlsx", OWN: "froc-synthetic.xlsx", SECOND: "froc-against.xlsx"}
"""By the arm of the images."""


def write_marks(path: Path, readings: Iterable[Reading], outlines: Outlines, rows: int) -> None:
    """Writes marks.csv: every mark of every answer, repeats included.

    Args:
        path: The file.
        readings: Of all readers.
        outlines: The lesions of the images of which it is known where they have any.
        rows: Of one channel.
    """
    write_csv(path, COLUMNS, (row for one in readings for row in _marks(one, outlines, rows)))


def _marks(one: Reading, outlines: Outlines, rows: int) -> list[dict[str, Any]]:
    known = outlines.get(one.image)
    image = {"reader": one.reader, "item": one.item, "truth": int(one.synthetic), "case": one.case}
    return [
        {
            **image,
            "mark": number,
            "row": found.row,
            "column": found.column,
            "radius": found.radius,
            "confidence": found.confidence,
            "lesion": "" if known is None else _hit(found, known, rows),
        }
        for number, found in enumerate(stored.read(one.marks), start=1)
    ]


def _hit(found: stored.Mark, known: Sequence[tuple[float, float, float]], rows: int) -> int:
    """The first lesion that a mark lies on, from 1; 0: on none."""
    row = (found.row + 0.5) % rows - 0.5
    near = (number for number, (r, c, size) in enumerate(known, 1) if np.hypot(row - r, found.column - c) <= size)
    return next(near, 0)


def write_workbooks(folder: Path, marked: Marked) -> tuple[str, ...]:
    """Writes a workbook for each kind of image that some reader read whole; gives their names."""
    written = []
    for arm, name in WORKBOOKS.items():
        images = np.flatnonzero(marked.arms == arm)
        whole = [place for place in range(len(marked.readers)) if len(images) and marked.read[place, images].all()]
        if whole:
            write_bytes(folder / name, workbook(_sheets(marked, arm, whole)))
            written.append(name)
        else:
            (folder / name).unlink(missing_ok=True)  # of an analysis before
    return tuple(written)


def _sheets(marked: Marked, arm: int, readers: Sequence[int]) -> dict[str, list[list[Cell]]]:
    """The tables of one kind of image; images and readers are numbered from 1, in their order."""
    every = marked.lesions
    here = marked.arms[every.image] == arm
    lesions = Lesions(every.image[here], every.row[here], every.column[here], every.radius[here])
    within = [int((lesions.image[:place] == image).sum()) + 1 for place, image in enumerate(lesions.image)]
    everyone = ", ".join(str(place + 1) for place in readers)
    truth: list[list[Cell]] = []
    for image in np.flatnonzero(marked.arms == arm).tolist():
        numbers = [within[place] for place in np.flatnonzero(lesions.image == image)] or [0]
        truth += [[image + 1, number, 0, everyone, "1", ""] for number in numbers]
    for row, word in zip(truth, ("FROC", "FCTRL"), strict=False):
        row[-1] = word
    hits: list[list[Cell]] = []
    false: list[list[Cell]] = []
    for reader in readers:
        own = marked.marks[reader]
        kept = marked.arms[own.image] == arm
        own = Candidates(own.image[kept], own.row[kept], own.column[kept], own.score[kept])
        scored = mark(own, lesions, len(marked.arms))
        hits += [
            [reader + 1, 1, int(lesions.image[place]) + 1, within[place], float(scored.found[place])]
            for place in np.flatnonzero(np.isfinite(scored.found)).tolist()
        ]
        false += [
            [reader + 1, 1, int(image) + 1, float(score)]
            for image, score in zip(scored.false_image.tolist(), scored.false.tolist(), strict=True)
        ]
    return {
        "TRUTH": [["CaseID", "LesionID", "Weight", "ReaderID", "ModalityID", "Paradigm"], *truth],
        "TP": [["ReaderID", "ModalityID", "CaseID", "LesionID", "TP_Rating"], *hits],
        "FP": [["ReaderID", "ModalityID", "CaseID", "FP_Rating"], *false],
    }
