"""Scenes: windows of clear scans of train patients, with the mask of the lesion that is to be made in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scansynth.data.fractions import NOBODY, Without, train_part
from scansynth.data.placements import Masks, moved_mask, place_lesions
from scansynth.data.tensors import Cohort, Selection, select, to_signed
from scansynth.data.windows import Box, window_of
from scansynth.gan.insertion.surroundings import as_labels, surroundings
from scansynth.ledger import Use

WHO = "inserting lesions"
"""Who asks for lesions, in messages."""


@dataclass(frozen=True)
class Scene:
    """Where a lesion is to be made.

    Attributes:
        scan: Place of the clear scan among the train images.
        source: Place of the image whose lesion gave its mask; of another patient.
        mask: uint8 (rows, columns) of the scan, 0 or 1.
        box: Rows and columns of the window.
    """

    scan: int
    source: int
    mask: Masks
    box: Box


def train_images(cohort: Cohort, fraction: float, seed: int, without: Without = NOBODY) -> Selection:
    """All images of the train patients whom a generator may see, with a lesion and without.

    Args:
        cohort: The cohort.
        fraction: Share of the train patients.
        seed: Of their choice.
        without: Who is left out.
    """
    found, kept = select(cohort, Use.GENERATOR), train_part(cohort, fraction, seed, without)
    return found.part([place for place, patient in enumerate(found.patients) if patient in kept])


def scenes_of(cohort: Cohort, train: Selection, count: int, seed: int, side: int) -> tuple[Scene, ...]:
    """Scenes with the masks of train lesions, each in a clear scan of another patient; see `place_lesions`.

    Args:
        cohort: The cohort.
        train: Images of `train_images`.
        count: Scenes wanted; there may be fewer.
        seed: Of the draws.
        side: Of the windows.

    Raises:
        CohortError: No lesion can be cut out, or none fits anywhere.
    """

    def fits(mask: Masks) -> bool:
        return window_of(mask, side) is not None

    scenes = list[Scene]()
    for one in place_lesions(cohort, train, count, seed, WHO, fits).found:
        mask = moved_mask(one.lesion, one.corner, cohort.facts.shape)
        box = window_of(mask, side)
        assert box is not None  # it fits
        scenes.append(Scene(one.scan, one.source, mask, box))
    return tuple(scenes)


def labels_of(train: Selection, scenes: Sequence[Scene]) -> Tensor:
    """What a network is given for scenes, (n, 1 + k); see `surroundings`."""
    cut = [to_signed(train.images[one.scan][:, *one.box]) for one in scenes]
    masks = [2.0 * one.mask[one.box].astype(np.float32) - 1.0 for one in scenes]
    windows = np.concatenate([np.stack(cut), np.stack(masks)[:, None]], axis=1)
    return as_labels(surroundings(torch.from_numpy(windows)))


def labels_of_windows(images: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The same for real lesions in their own surroundings: uint16 (n, channels, rows, columns), the mask last."""
    given: NDArray[np.float32] = as_labels(surroundings(torch.from_numpy(to_signed(images)))).numpy()
    return given


def read_for(train: Selection, scenes: Sequence[Scene]) -> Selection:
    """The cases that scenes show or have their masks from."""
    return train.part(sorted({place for one in scenes for place in (one.scan, one.source)}))
