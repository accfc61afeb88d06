"""Real images as the networks take them: all channels, with the lesion mask where a family wants it, and a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.data.tensors import Cohort, Selection
from scansynth.errors import TrainingError
from scansynth.gan.asked.conditions import Conditions
from scansynth.gan.asked.measured import measure

_INSIDE = 65535


@dataclass(frozen=True)
class Material:
    """Images of a selection, in its order.

    Attributes:
        images: uint16 (n, channels, rows, columns), 0..65535 for -1..1; a mask is the last channel, 0 or 65535.
        labels: int64 (n,), place of each image's label among the generator's classes; 0 without classes. Where there
            are conditions float32 (n, 1 + k), these beside it; see `gan.asked.labels`.
    """

    images: NDArray[np.uint16]
    labels: NDArray[Any]


def conditions_of(cohort: Cohort, selection: Selection, conditions: Conditions) -> NDArray[np.float32]:
    """The conditions of each case as networks take them, (n, k)."""
    known = measure(cohort, selection.cases, [one.name for one in conditions.learned])
    return np.stack([conditions.encode(values) for values in known])


def material_of(
    cohort: Cohort,
    selection: Selection,
    classes: tuple[str, ...],
    *,
    masks: bool,
    conditions: Conditions | None = None,
) -> Material:
    """The images of a selection for the networks.

    Args:
        cohort: Where the masks lie.
        selection: Cases with their images.
        classes: Labels that the generator sees; empty for an unlabelled cohort.
        masks: Add the lesion masks as one more channel.
        conditions: What images can be asked for besides; none: nothing.

    Raises:
        TrainingError: Masks are wanted and the cohort has none.
    """
    labels: NDArray[Any] = np.array([classes.index(case.label) if classes else 0 for case in selection.cases], np.int64)
    if conditions is not None:
        labels = np.column_stack([labels, conditions_of(cohort, selection, conditions)]).astype(np.float32)
    images = selection.images
    if not masks:
        return Material(images, labels)
    drawn = cohort.masks(selection.cases)
    if drawn is None:
        raise TrainingError(
            "generator.masks asks for lesion masks, but the cohort has none: give masks or boxes in labels.csv and "
            "ingest again, or take generator.masks out"
        )
    chosen = drawn.astype(np.uint16) * np.uint16(_INSIDE)
    return Material(np.concatenate([images, chosen[:, None]], axis=1), labels)
