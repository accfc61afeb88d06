"""Made-up rows of readings.csv, as a closed study leaves them."""

from __future__ import annotations

import datetime

import numpy as np

from scansynth.reader.statistics.readings import Reading
from scansynth.reader.statistics.simulation import World, readings

BEGUN = datetime.datetime(2026, 11, 27, 10, 0, tzinfo=datetime.UTC)


def rows(
    answers: np.ndarray,
    truth: np.ndarray,
    again: dict[int, np.ndarray] | None = None,
    labels: tuple[str, ...] = ("nodule",),
    seed: int = 0,
    seconds: float = 6.0,
) -> list[Reading]:
    """One reading for each answer, in an order of each reader's own.

    Args:
        answers: 1..6, (R, C).
        truth: Class of each image, (C,).
        again: By image, the answers when it came a second time, (R,).
        labels: Dealt out to the images in turn.
        seed: Of the orders.
        seconds: Of each answer.
    """
    again = again or {}
    found = []
    for number, own in enumerate(answers):
        reader = f"r{number + 1:02d}"
        order = np.random.default_rng([seed, number]).permutation(len(own)).tolist()
        shown = [(image, False) for image in order] + [(image, True) for image in order if image in again]
        for position, (image, repeated) in enumerate(shown, start=1):
            item = f"{reader}-{image:03d}"
            found.append(
                Reading(
                    reader=reader,
                    item=f"{item}-again" if repeated else item,
                    position=position,
                    synthetic=bool(truth[image]),
                    label=labels[image % len(labels)],
                    case=f"case{image:03d}",
                    patient="" if truth[image] else f"patient{image:03d}",
                    repeat_of=item if repeated else "",
                    answer=int(again[image][number]) if repeated else int(own[image]),
                    second=1 + image % 2,
                    confidence=None,
                    seconds=seconds,
                    hidden_seconds=0.5,
                    window_changes=2,
                    locked_at=(BEGUN + datetime.timedelta(seconds=position * (seconds + 1.0))).isoformat(),
                )
            )
    return found


def study(
    world: World, readers: int = 6, images: int = 120, seed: int = 0, repeated: int = 20, shared_views: bool = True
) -> list[Reading]:
    """Rows of a simulated study; a repeat gets the answer of the first time, shifted by one or left alone."""
    rng = np.random.default_rng([seed, readers, images])
    answers, truth = readings(world, readers, images // 2, images - images // 2, rng)
    again = {
        int(image): np.clip(answers[:, image] + rng.integers(-1, 2, readers), 1, 6)
        if shared_views
        else rng.integers(1, 7, readers)
        for image in rng.permutation(images)[:repeated]
    }
    return rows(answers, truth, again, ("nodule", "none"), seed)
