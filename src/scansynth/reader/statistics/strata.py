"""The readings by label, by group of patients, by image, and by the second question. None of it decides anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scansynth.reader.statistics.detection import FIRST_SYNTHETIC
from scansynth.reader.statistics.mrmc import average
from scansynth.reader.statistics.readings import Reading, Table
from scansynth.reader.statistics.roc import Mask, reader_estimates

LEAST_IMAGES = 30
"""Of either class; with fewer a group reads "not assessable", never "fine"."""

SHOWN_IMAGES = 12
"""In the lists of images that fooled most and none."""

Attributes = Mapping[str, Mapping[str, str]]
"""Of the real cases: keyed hash of the case, then name and value of each attribute."""


def by_label(table: Table, level: float) -> dict[str, Any]:
    """Real and synthetic images of one label against each other."""
    labels = np.array(table.labels, dtype=object)
    return {str(name): _part(table, labels == name, level) for name in sorted(set(table.labels))}


def by_group(table: Table, attributes: Attributes, level: float) -> dict[str, Any]:
    """The real images of one group of patients against all synthetic ones, for each attribute and value.

    The synthetic images have no patient, so what differs between groups is how often reals are taken for synthetic.
    """
    names = sorted({name for values in attributes.values() for name in values})
    found: dict[str, Any] = {}
    for name in names:
        values = [
            None if synthetic else attributes.get(case, {}).get(name, "not stated") for synthetic, case in table.images
        ]
        groups = sorted({value for value in values if value is not None})
        found[name] = {
            group: _part(table, table.synthetic | np.array([value == group for value in values]), level)
            for group in groups
        }
    return found


def _part(table: Table, chosen: Mask, level: float) -> dict[str, Any]:
    """Rates and AUC of some images; the AUC is missing where they are too few."""
    part = table.only(chosen)
    made, real = int(part.synthetic.sum()), int((~part.synthetic).sum())
    called = part.answers >= FIRST_SYNTHETIC
    row: dict[str, Any] = {
        "synthetic": made,
        "real": real,
        "H": float(called[:, part.synthetic].mean()) if made else None,
        "F": float(called[:, ~part.synthetic].mean()) if real else None,
        "auc": None,
        "interval": None,
        "why": "",
    }
    if min(made, real) < LEAST_IMAGES:
        row["why"] = f"not assessable: {LEAST_IMAGES} images of each class are needed"
        return row
    if len(part.readers) > 1:
        estimate = average(part.answers, part.synthetic).general
    else:
        estimate = reader_estimates(part.answers, part.synthetic)[0]
    interval = estimate.interval(level)
    return {**row, "auc": estimate.auc, "interval": [interval.low, interval.high]}


def by_image(table: Table) -> dict[str, list[dict[str, Any]]]:
    """The images that fooled most readers, and those that fooled none, of either class.

    Images are named by class and case; ties go by the mean answer, then by name.
    """
    called = (table.answers >= FIRST_SYNTHETIC).mean(axis=0)
    answer = table.answers.mean(axis=0)
    rows = [
        {
            "synthetic": synthetic,
            "case": case,
            "label": table.labels[place],
            "called_synthetic": float(called[place]),
            "mean_answer": float(answer[place]),
        }
        for place, (synthetic, case) in enumerate(table.images)
    ]

    def fooled(row: Mapping[str, Any]) -> float:
        share = float(row["called_synthetic"])
        return 1.0 - share if row["synthetic"] else share

    def surest(row: Mapping[str, Any]) -> float:
        return -float(row["mean_answer"]) if row["synthetic"] else float(row["mean_answer"])

    lists: dict[str, list[dict[str, Any]]] = {}
    for kind, wanted in (("synthetic", True), ("real", False)):
        own = [row for row in rows if row["synthetic"] == wanted]
        most = sorted(own, key=lambda row: (-fooled(row), -surest(row), row["case"]))
        none = sorted((row for row in own if fooled(row) == 0.0), key=lambda row: (surest(row), row["case"]))
        lists[f"{kind}_fooled_most"] = [row for row in most if fooled(row) > 0.0][:SHOWN_IMAGES]
        lists[f"{kind}_fooled_none"] = none[:SHOWN_IMAGES]
    return lists


def second_question(readings: Sequence[Reading]) -> list[dict[str, Any]]:
    """How often each answer to the second question was given, by class and label; empty where it was not asked."""
    kept = [reading for reading in readings if reading.second is not None]
    rows = []
    for synthetic, label in sorted({(reading.synthetic, reading.label) for reading in kept}):
        own = [reading.second for reading in kept if (reading.synthetic, reading.label) == (synthetic, label)]
        counts = {str(option): own.count(option) for option in sorted({option for option in own if option is not None})}
        rows.append({"synthetic": synthetic, "label": label, "answers": len(own), "options": counts})
    return rows


def comments(readings: Sequence[Reading]) -> list[dict[str, Any]]:
    """What readers wrote to images, repeats included, by reader and in the order of reading."""
    written = sorted((one for one in readings if one.comment), key=lambda one: (one.reader, one.position))
    names = ("reader", "position", "synthetic", "label", "answer", "comment")
    return [{name: getattr(one, name) for name in names} for one in written]


def changed(readings: Sequence[Reading]) -> dict[str, int]:
    """How many answers were changed, and how many of them from one side of the scale to the other."""
    again = [(one.first_answer, one.answer) for one in readings if one.first_answer is not None]
    return {"answers": len(again), "sides": sum((first > 3) is not (last > 3) for first, last in again)}
