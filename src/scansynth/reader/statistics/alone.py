"""Each reader alone: of this reader, on images like these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.reader.statistics import controls
from scansynth.reader.statistics.counting import LEAST_IMAGES, finished
from scansynth.reader.statistics.detection import detect
from scansynth.reader.statistics.readings import Reading, Table, table
from scansynth.reader.statistics.roc import reader_estimates
from scansynth.reader.statistics.verdict import decide, missing


def reader_rows(
    readings: Sequence[Reading], whole: Table, images: int, margin: float, level: float
) -> tuple[dict[str, Any], ...]:
    """One row for each reader, also of those who did not finish.

    Args:
        readings: Of all readers.
        whole: Of the readers who count.
        images: That each was asked for, repeats not counted.
        margin: Of equivalence.
        level: Of the intervals.
    """
    rows = []
    for name in sorted({reading.reader for reading in readings}):
        own = table(reading for reading in readings if reading.reader == name)
        made, real = int(own.synthetic.sum()), int((~own.synthetic).sum())
        row: dict[str, Any] = {
            "reader": name,
            "images": len(own.images),
            "finished": name in finished(own, images),
            "counts": name in whole.readers,
            "answers": _counts(own.answers),
            "answers_real": _counts(own.answers[:, ~own.synthetic]),
            "answers_synthetic": _counts(own.answers[:, own.synthetic]),
        }
        if min(made, real) < 2:
            decision = missing(
                "F is missing: this reader read no real image." if not real else "too few images of a class were read."
            )
        else:
            estimate = reader_estimates(own.answers, own.synthetic)[0]
            interval = estimate.interval(level)
            row |= detect(own.answers[0], own.synthetic).as_row(level)
            row |= {"auc": estimate.auc, "auc_interval": [interval.low, interval.high]}
            if min(made, real) < LEAST_IMAGES:
                decision = missing(f"{LEAST_IMAGES} images of each class are needed.")
            elif controls.used_the_scale(own.answers)[0] == 0.0:
                decision = missing("this reader gave nearly the same answer to all images.")
            else:
                decision = decide(estimate, margin, level)
        rows.append({**row, "verdict": decision.as_row()})
    return tuple(rows)


def _counts(answers: NDArray[np.int64]) -> list[int]:
    """How often each of the six answers was given, in order."""
    return [int(amount) for amount in np.bincount(answers.ravel(), minlength=7)[1:]]
