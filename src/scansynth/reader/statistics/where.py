"""Where: marks of readers with a confidence each, scored against lesions; FROC and LROC over readers.

Marks hit lesions by the rule of the utility trial (`metrics.marks`). Figures of each reader come of them, which
`mrmc` and `arms` analyse like an AUC, patients left out with all their images:

- the area under the alternative free-response curve: the chance that a lesion is marked with more confidence than the
  most confident false mark on an image without lesions, where half of the ties count (Chakraborty and Winter,
  Radiology 174, 1990; Chakraborty and Berbaum, Med. Phys. 31, 2004);
- where every image has a lesion, the same with false marks of all images (JAFROC1);
- the area under the LROC curve: the chance that the most confident mark of an image with a lesion lies on the lesion
  and is more confident than any mark on an image without (Swensson, Med. Phys. 23, 1996).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.errors import ReaderError
from scansynth.metrics.marks import Candidates, Lesions, Marks, mark
from scansynth.reader.statistics.mrmc import Figures, areas
from scansynth.reader.statistics.roc import Floats, Mask


@dataclass(frozen=True)
class Columns:
    """What is compared for the area under the alternative free-response curve.

    Attributes:
        scores: Confidence in each lesion, and in the most confident false mark of each image that counts; below all
            others where there is no mark, (R, C).
        lesion: Which columns are lesions, (C,).
        image: Of each column, (C,).
        unmarked: The score of no mark.
    """

    scores: Floats
    lesion: Mask
    image: NDArray[np.int64]
    unmarked: float


def columns(readers: Sequence[Candidates], lesions: Lesions, count: int, everywhere: bool) -> Columns:
    """Lesions and false marks of so many images; see `free_response`."""
    free = np.arange(count) if everywhere else _without(lesions, count)
    rows = []
    for own in readers:
        scored = mark(own, lesions, count)
        rows.append(np.concatenate([scored.found, _highest(scored.false, scored.false_image, count)[free]]))
    image = np.concatenate([lesions.image, free])
    return Columns(
        _numbers(np.array(rows)), np.arange(len(image)) < len(lesions.image), image, _lowest(np.array(rows)) - 1.0
    )


def free_response(
    readers: Sequence[Candidates],
    lesions: Lesions,
    patients: NDArray[Any],
    read: Mask | None = None,
    everywhere: bool = False,
) -> Figures:
    """Each reader's area under the alternative free-response curve.

    Args:
        readers: Marks of each reader; the score is the confidence.
        lesions: Of all images.
        patients: Of each image (images,).
        read: Which images each reader read, (R, images); none: all. A reader may read an image and mark nothing.
        everywhere: False marks of all images count, also of those with lesions (JAFROC1): for images that all have
            lesions, where nothing else can be had.

    Raises:
        ReaderError: A reader read fewer than two patients with a lesion, or without.
    """
    found = columns(readers, lesions, len(patients), everywhere)
    seen = np.ones_like(found.scores, dtype=np.bool_) if read is None else read[:, found.image]
    return areas(np.where(seen, found.scores, np.nan), found.lesion, patients[found.image])


def localised(
    readers: Sequence[Candidates], lesions: Lesions, patients: NDArray[Any], read: Mask | None = None
) -> Figures:
    """Each reader's area under the LROC curve; arguments as of `free_response`.

    Of marks with the same confidence one on a lesion counts as the most confident.

    Raises:
        ReaderError: A reader read fewer than two patients with a lesion, or without.
    """
    count, free = len(patients), _without(lesions, len(patients))
    bearing = np.unique(lesions.image)
    rows = []
    for own in readers:
        best, wrong = most_confident(mark(own, lesions, count))
        found = np.isfinite(best) & (best >= wrong)
        # what was not localised stands below an image without a mark: it never wins
        rows.append(np.concatenate([np.where(found, best, np.nan)[bearing], wrong[free]]))
    images, scores = np.concatenate([bearing, free]), _numbers(np.array(rows))
    seen = np.ones_like(scores, dtype=np.bool_) if read is None else read[:, images]
    positive = np.arange(len(images)) < len(bearing)
    return areas(np.where(seen, scores, np.nan), positive, patients[images])


def lesions_found(
    readers: Sequence[Candidates], lesions: Lesions, patients: NDArray[Any], read: Mask | None = None
) -> Figures:
    """Each reader's share of the lesions that were marked, with whatever confidence; arguments as of `free_response`.

    Raises:
        ReaderError: A reader read fewer than two patients with a lesion.
    """
    names, group = np.unique(patients, return_inverse=True)
    own = group[lesions.image]
    hits = np.array([np.isfinite(mark(one, lesions, len(patients)).found) for one in readers], dtype=np.float64)
    seen = np.ones_like(hits) if read is None else read[:, lesions.image].astype(np.float64)
    marked, asked = (np.array([np.bincount(own, row, len(names)) for row in part]) for part in (hits * seen, seen))
    if int((asked > 0).sum(axis=1).min(initial=2)) < 2:
        raise ReaderError("a share of lesions needs two patients with a lesion")
    left = (marked.sum(axis=1, keepdims=True) - marked) / (asked.sum(axis=1, keepdims=True) - asked)
    return Figures(marked.sum(axis=1) / asked.sum(axis=1), left, int(asked.sum(axis=1).min()))


def most_confident(scored: Marks) -> tuple[Floats, Floats]:
    """The highest score on each image of a mark on a lesion, and of one on none; -inf where there is none (images,)."""
    best = _highest(scored.found, scored.lesion_image, scored.images)
    return best, _highest(scored.false, scored.false_image, scored.images)


def _without(lesions: Lesions, count: int) -> NDArray[np.int64]:
    """The images without a lesion."""
    return np.setdiff1d(np.arange(count), lesions.image)


def _highest(scores: Floats, images: NDArray[np.int64], count: int) -> Floats:
    """The highest score on each image, -inf where there is none (images,)."""
    found = np.full(count, -np.inf)
    np.maximum.at(found, images, scores)
    return found


def _numbers(rows: Floats) -> Floats:
    """Confidences as numbers: -inf is no mark, not a number a lesion that was not localised, which stands below it."""
    lowest = _lowest(rows)
    return np.where(np.isnan(rows), lowest - 2.0, np.where(np.isneginf(rows), lowest - 1.0, rows))


def _lowest(rows: Floats) -> float:
    """The lowest confidence that was given."""
    marked = rows[np.isfinite(rows)]
    return float(marked.min()) if len(marked) else 0.0
