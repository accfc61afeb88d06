"""Which cases changed sides: found by one arm and missed by the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scansynth.utility.statistics.outcomes import Block


@dataclass(frozen=True)
class Caught:
    """One test image with a lesion that one arm finds in more pairs than the other.

    Attributes:
        case: Hash of the image.
        by: Share of the one arm's detectors that find it.
        before: Share of the other arm's.
        newly: True where the one arm finds it in most pairs and the other in fewer; False where it loses it so.
    """

    case: str
    by: float
    before: float
    newly: bool


def newly_caught(block: Block, thresholds: NDArray[np.float64], arm: str, other: str) -> tuple[Caught, ...]:
    """Cases that cross the half of the pairs, the largest changes first, gains before losses.

    Args:
        block: Test part with the hashes of its cases.
        thresholds: Of each arm and pair.
        arm: The one.
        other: What it is compared with.
    """
    if not {arm, other} <= set(block.arms) or not len(block.test.cases):
        return ()
    positive = block.test.positive
    places = [block.place(arm), block.place(other)]
    found = (block.test.scores[places][:, :, positive] >= thresholds[places][:, :, None]).mean(axis=1)
    rows = [
        Caught(str(case), float(by), float(before), bool(by > before))
        for case, by, before in zip(block.test.cases[positive], *found, strict=True)
        if (by > 0.5) != (before > 0.5)
    ]
    return tuple(sorted(rows, key=lambda row: (not row.newly, -abs(row.by - row.before), row.case)))
