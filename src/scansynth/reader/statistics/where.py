"""Where: marks of readers with a confidence each, scored against lesions; FROC and LROC over readers.

Marks hit lesions by the rule of the utility trial (`metrics.marks`). Two figures of each reader come of them, which
`mrmc` and `arms` analyse like an AUC, patients left out with all their images:

- the area under the alternative free-response curve: the chance that a lesion is marked with more confidence than the
  most confident false mark on an image without lesions, where half of the ties count (Chakraborty and Winter,
  Radiology 174, 1990; Chakraborty and Berbaum, Med. Phys. 31, 2004);
- the area under the LROC curve: the chance that the most confident mark of an image with a lesion lies on the lesion
  and is more confident than any mark on an image without (Swensson, Med. Phys. 23, 1996).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.metrics.marks import Candidates, Lesions, mark
from scansynth.reader.statistics.mrmc import Figures, areas
from scansynth.reader.statistics.roc import Floats, Mask


def free_response(
    readers: Sequence[Candidates], lesions: Lesions, patients: NDArray[Any], read: Mask | None = None
) -> Figures:
    """Each reader's area under the alternative free-response curve.

    Args:
        readers: Marks of each reader; the score is the confidence.
        lesions: Of all images.
        patients: Of each image (images,).
        read: Which images each reader read, (R, images); none: all. A reader may read an image and mark nothing.

    Raises:
        ReaderError: A reader read fewer than two patients with a lesion, or without.
    """
    count, free = len(patients), _without(lesions, len(patients))
    rows = []
    for own in readers:
        scored = mark(own, lesions, count)
        rows.append(np.concatenate([scored.found, _highest(scored.false, scored.false_image, count)[free]]))
    seen = None if read is None else np.concatenate([read[:, lesions.image], read[:, free]], axis=1)
    columns = np.concatenate([patients[lesions.image], patients[free]])
    return _figures(np.array(rows), seen, len(lesions.image), columns)


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
        scored = mark(own, lesions, count)
        best = _highest(scored.found, scored.lesion_image, count)[bearing]
        wrong = _highest(scored.false, scored.false_image, count)
        found = np.isfinite(best) & (best >= wrong[bearing])
        # what was not localised stands below an image without a mark: it never wins
        rows.append(np.concatenate([np.where(found, best, np.nan), wrong[free]]))
    seen = None if read is None else np.concatenate([read[:, bearing], read[:, free]], axis=1)
    columns = np.concatenate([patients[bearing], patients[free]])
    return _figures(np.array(rows), seen, len(bearing), columns)


def _without(lesions: Lesions, count: int) -> NDArray[np.int64]:
    """The images without a lesion."""
    return np.setdiff1d(np.arange(count), lesions.image)


def _highest(scores: Floats, images: NDArray[np.int64], count: int) -> Floats:
    """The highest score on each image, -inf where there is none (images,)."""
    found = np.full(count, -np.inf)
    np.maximum.at(found, images, scores)
    return found


def _figures(rows: Floats, seen: Mask | None, positive: int, columns: NDArray[Any]) -> Figures:
    """Areas of confidences: -inf is no mark, not a number a lesion that was not localised."""
    marked = rows[np.isfinite(rows)]
    lowest = float(marked.min()) if len(marked) else 0.0
    scores = np.where(np.isnan(rows), lowest - 2.0, np.where(np.isneginf(rows), lowest - 1.0, rows))
    if seen is not None:
        scores = np.where(seen, scores, np.nan)
    return areas(scores, np.arange(rows.shape[1]) < positive, columns)
