"""From the figures of all groups of one attribute to one claim: the worst group decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.fairness.groups import LEAST_PATIENTS, stated_patients
from scansynth.claims.claim import Claim, Control, Measurement, decide, floor_of, not_assessable
from scansynth.claims.rules import RULES
from scansynth.statistics import Direction, Interval, Verdict, verdict

NEEDED = 0.8
"""Share of the draws in which a planted fault must be found."""

Floats = NDArray[np.float64]
Rows = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class GroupFigures:
    """One figure for each group with enough patients.

    Attributes:
        groups: Their names, J of them.
        value: (J,).
        spans: Intervals that hold for all of them at once, J of them.
        floor: Real against real (draws, J).
        found: By fault, the share of the draws in which it was found when planted in the group (J,).
        margin: The same for all.
        floor_is: What the floor is, in words.
        n: Numbers of images and patients.
        level: Of all intervals together.
    """

    groups: tuple[str, ...]
    value: Floats
    spans: tuple[Interval, ...]
    floor: Floats
    found: Mapping[str, Floats]
    margin: float
    floor_is: str
    n: Mapping[str, int]
    level: float

    @property
    def kept(self) -> list[int]:
        """Groups in which every planted fault was found often enough; of the others no good is said."""
        return [g for g in range(len(self.groups)) if all(shares[g] >= NEEDED for shares in self.found.values())]


def enough(codes: NDArray[np.int64], patients: NDArray[Any], judged: int) -> NDArray[np.int64]:
    """The groups below `judged` that have `LEAST_PATIENTS` patients in this role."""
    found = [group for group in range(judged) if stated_patients(codes, patients, group) >= LEAST_PATIENTS]
    return np.array(found, dtype=np.int64)


def conclude(
    name: str,
    figures: GroupFigures,
    column: str,
    sentences: Callable[[Measurement, str, int], Mapping[Verdict, str]],
) -> tuple[Claim, Rows]:
    """The claim of the worst group, and a row for each group.

    The interval of the worst figure runs from the worst of one end to the worst of the other, and holds because the
    groups' intervals hold at once.

    Args:
        name: Of the claim.
        figures: Of all groups.
        column: What the rows call the figure.
        sentences: Makes the reasons from the measurement, the worst group's name and its place.
    """
    direction = RULES[name].direction
    verdicts = [verdict(span, figures.margin, direction) for span in figures.spans]
    # a fault that was found stands, also in a group in which planted ones were missed
    kept = [g for g, one in enumerate(verdicts) if g in figures.kept or one is Verdict.REFUTED]
    rows: Rows = {}
    for place, group in enumerate(figures.groups):
        span = figures.spans[place]
        one = verdicts[place] if place in kept else Verdict.NOT_ASSESSABLE
        rows[group] = {
            column: round(float(figures.value[place]), 5),
            f"{column}_interval": [round(span.low, 5), round(span.high, 5)],
            f"{column}_control": {fault: round(float(s[place]), 3) for fault, s in figures.found.items()},
            name: one.value,
        }
    if not kept:
        return not_assessable(name, _all_missed(figures), figures.n), rows
    worst = max if direction is Direction.AT_MOST else min
    place = worst(kept, key=lambda group: float(figures.value[group]))
    floor = figures.floor[:, kept]
    measured = Measurement(
        value=float(figures.value[place]),
        interval=Interval(worst(figures.spans[g].low for g in kept), worst(figures.spans[g].high for g in kept)),
        level=figures.level,
        floor=floor_of(figures.floor_is, floor.max(axis=1) if direction is Direction.AT_MOST else floor.min(axis=1)),
        control=tuple(Control(fault, float(np.mean(s[kept])), NEEDED) for fault, s in figures.found.items()),
        margin=figures.margin,
        n=figures.n,
    )
    return decide(name, measured, sentences(measured, figures.groups[place], place)), rows


def _all_missed(figures: GroupFigures) -> str:
    """Why nothing is said of any group."""
    best = max(min(float(s[place]) for s in figures.found.values()) for place in range(len(figures.groups)))
    return (
        f"A fault planted in one group of a set of real images was found in at most {best:.0%} of the draws "
        f"({', '.join(figures.found)}), and {NEEDED:.0%} are needed: the groups look too similar or hold too few "
        f"patients."
    )
