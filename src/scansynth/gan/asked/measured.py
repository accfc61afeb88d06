"""What is known of real images for the conditions: size and place of the lesion, and columns of labels.csv."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scansynth.data.tensors import Case, Cohort
from scansynth.errors import ConfigError
from scansynth.gan.asked.conditions import PLACE, Values

DIAMETER = "diameter"
_SIZES = ("diameter", "diameter_mm")
"""Columns that give the diameter where the cohort has no masks."""


def names_of(asked: Sequence[str]) -> tuple[str, ...]:
    """Conditions by the names of `generator.conditions`: `place` is two numbers.

    Raises:
        ConfigError: One is named twice.
    """
    if len(set(asked)) < len(asked):
        raise ConfigError("generator.conditions names a condition twice")
    return tuple(part for name in asked for part in (PLACE if name == "place" else (name,)))


def measure(cohort: Cohort, cases: Sequence[Case], names: Sequence[str]) -> list[Values]:
    """What is known of each case.

    Args:
        cohort: Where masks and columns are.
        cases: Whose values are wanted.
        names: As `names_of` gives them.

    Raises:
        ConfigError: The cohort has no such column, or no masks to measure.
    """
    columns = sorted({name for case in cohort.cases for name in case.attributes})
    masks = cohort.masks(cases) if {DIAMETER, *PLACE} & set(names) else None
    sizes = next((name for name in _SIZES if name in columns), None)
    for name in names:
        if name in PLACE and masks is None:
            raise ConfigError("generator.conditions: place needs lesion masks or boxes, and the cohort has none")
        if name == DIAMETER and masks is None and sizes is None:
            raise ConfigError(
                "generator.conditions: diameter needs lesion masks or boxes, or a column diameter_mm in labels.csv"
            )
        if name not in (DIAMETER, *PLACE) and name not in columns:
            raise ConfigError(
                f"generator.conditions: the cohort has no column {name}; it has diameter, place"
                + "".join(f", {column}" for column in columns)
            )
    found: list[Values] = []
    for place, case in enumerate(cases):
        known: dict[str, str | float] = {key: text for key, text in case.attributes.items() if text}
        if masks is not None:
            known = {**known, **lesion(masks[place], case.spacing)}
        elif sizes is not None and known.get(sizes):
            known[DIAMETER] = known[sizes]
        found.append({name: known[name] for name in names if name in known})
    return found


def lesion(mask: NDArray[np.uint8], spacing: tuple[float, float]) -> dict[str, float]:
    """Size and place of the largest lesion of an image; empty where there is none.

    Args:
        mask: (rows, columns), 0 outside.
        spacing: Between rows and between columns, mm.

    Returns:
        The diameter of a circle of the same area in mm, and the centre as shares of rows and columns.
    """
    parts, count = ndimage.label(mask > 0, np.ones((3, 3)))
    if not count:
        return {}
    areas = np.bincount(parts.ravel())[1:]
    row, column = (float(values.mean() + 0.5) for values in np.nonzero(parts == 1 + int(areas.argmax())))
    diameter = 2.0 * math.sqrt(float(areas.max()) * spacing[0] * spacing[1] / math.pi)
    return {DIAMETER: diameter, PLACE[0]: row / mask.shape[0], PLACE[1]: column / mask.shape[1]}
