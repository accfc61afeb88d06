"""`lesions.csv`: where the lesions of the images are that were read, for those of which it is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scansynth.errors import ReaderError
from scansynth.files import read_csv, write_csv

COLUMNS = ("truth", "case", "row", "column", "radius")
"""`truth` is 1 for synthetic, 0 for real; one row for each lesion, and one without place for an image that has none."""

Image = tuple[bool, str]
Outlines = Mapping[Image, tuple[tuple[float, float, float], ...]]
"""Row, column and radius of each lesion, in pixels, by image; empty: the image has none."""


def write_lesions(path: Path, outlines: Outlines) -> None:
    """Writes the table, whole or not at all."""
    rows: list[dict[str, Any]] = []
    for (synthetic, case), lesions in sorted(outlines.items()):
        image = {"truth": int(synthetic), "case": case}
        rows += [{**image, "row": r, "column": c, "radius": size} for r, c, size in lesions]
        if not lesions:
            rows.append({**image, "row": "", "column": "", "radius": ""})
    write_csv(path, COLUMNS, rows)


def read_lesions(path: Path) -> Outlines:
    """The table, checked.

    Raises:
        ReaderError: The file is missing, or a row is impossible.
    """
    found: dict[Image, list[tuple[float, float, float]]] = {}
    try:
        for number, row in enumerate(read_csv(path), start=2):
            if row["truth"] not in {"0", "1"} or not row["case"]:
                raise ReaderError(f"{path.name}: row {number} names no image; close the reader study again")
            lesions = found.setdefault((row["truth"] == "1", row["case"]), [])
            if row["row"]:
                lesions.append(_place(row))
    except FileNotFoundError:
        raise ReaderError(f"there is no {path.name}; close the reader study first") from None
    except (UnicodeDecodeError, ValueError, KeyError, TypeError) as fault:
        raise ReaderError(f"{path.name} is no table of lesions; close the reader study again") from fault
    return {image: tuple(lesions) for image, lesions in found.items()}


def _place(row: Mapping[str, str]) -> tuple[float, float, float]:
    place = float(row["row"]), float(row["column"]), float(row["radius"])
    if not all(math.isfinite(one) for one in place) or place[2] <= 0.0:
        raise ValueError("no place")
    return place
