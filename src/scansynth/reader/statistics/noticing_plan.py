"""Planning the first part: what so many readers say of the share that notices, and what so many images let them see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from scansynth.errors import ReaderError
from scansynth.statistics import clopper_pearson

SHARES = (0.1, 0.41, 0.8)
"""True shares of readers who notice, for which intervals are told; 41% noticed in a published study of 17 readers."""

IMAGES = (20, 40, 80)
TELLING = (0.02, 0.05, 0.1)
"""Shares of the synthetic images that stand out to a reader."""

_SYNTHETIC = 0.5  # of the images, in the middle of what may be drawn


@dataclass(frozen=True)
class NoticingPlan:
    """What a first part can show.

    Attributes:
        level: Of the intervals.
        ends: For each number of readers and each of `SHARES`, the mean ends of the interval over what may happen.
        none: For each number of readers, the upper end when nobody notices.
        seen: For each number of images and each of `TELLING`, the chance that a reader meets an image that stands out.
    """

    level: float
    ends: dict[int, tuple[tuple[float, float], ...]]
    none: dict[int, float]
    seen: dict[int, tuple[float, ...]]


def plan_noticing(readers: Sequence[int], images: Sequence[int] = IMAGES, level: float = 0.95) -> NoticingPlan:
    """The table of `scansynth plan reader --unaware`; exact, nothing is simulated.

    Raises:
        ReaderError: A number is out of range.
    """
    if not 0.5 < level < 1.0 or min(readers, default=0) < 1 or min(images, default=0) < 1:
        raise ReaderError("give at least one reader and one image, and a level between 0.5 and 1")
    return NoticingPlan(
        level,
        {count: tuple(expected_ends(count, share, level) for share in SHARES) for count in readers},
        {count: clopper_pearson(0, count, level).high for count in readers},
        {count: tuple(1.0 - (1.0 - one) ** round(_SYNTHETIC * count) for one in TELLING) for count in images},
    )


def expected_ends(readers: int, share: float, level: float) -> tuple[float, float]:
    """Mean lower and upper end of the exact interval, over the number of readers who notice."""
    counts = np.arange(readers + 1)
    chance = stats.binom.pmf(counts, readers, share)
    found = [clopper_pearson(int(count), readers, level) for count in counts]
    return (
        float(np.dot(chance, [one.low for one in found])),
        float(np.dot(chance, [one.high for one in found])),
    )


def lines(made: NoticingPlan) -> tuple[str, ...]:
    """The plan as it is printed."""
    head = "readers" + "".join(f"{f'if {share:.0%} notice':>18}" for share in SHARES) + f"{'if nobody did':>18}"
    rows = [
        f"{count:>7}"
        + "".join(f"{f'{low:.0%} to {high:.0%}':>18}" for low, high in ends)
        + f"{f'up to {made.none[count]:.0%}':>18}"
        for count, ends in made.ends.items()
    ]
    seen = " images" + "".join(f"{f'{one:.0%} stand out':>18}" for one in TELLING)
    chances = [f"{count:>7}" + "".join(f"{one:>18.0%}" for one in row) for count, row in made.seen.items()]
    return (
        f"mean {made.level:.0%} interval of the share of readers who notice anything, by how many truly do",
        head,
        *rows,
        "chance that a reader meets a synthetic image that stands out, by how many of them do; half are synthetic",
        seen,
        *chances,
        "Only more readers make the interval narrower; more images give each of them more chances to notice. With "
        "reader.unaware_controls, readers who see real images alone tell how many say yes anyway.",
    )
