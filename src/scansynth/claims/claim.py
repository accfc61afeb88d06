"""Claims: one line of evidence for each question of `rules`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.claims.rules import EVERY_RULE, RULE_VERSION
from scansynth.statistics import Direction, Interval, Verdict, verdict


@dataclass(frozen=True)
class Floor:
    """Floor: the real-vs-real reference. Central 90% of the random draws, and their mean."""

    what: str
    low: float
    mean: float
    high: float
    draws: int


def floor_of(what: str, draws: NDArray[np.float64]) -> Floor:
    """The floor from its draws, (draws,)."""
    low, high = np.quantile(draws, (0.05, 0.95))
    return Floor(what, float(low), float(draws.mean()), float(high), len(draws))


@dataclass(frozen=True)
class Control:
    """One planted fault: the share of it that was found, and the share that must be."""

    name: str
    found: float
    needed: float

    @property
    def passed(self) -> bool:
        """Enough was found."""
        return self.found >= self.needed


@dataclass(frozen=True)
class Claim:
    """One line of evidence; the fields are those of `docs/evidence.md`.

    A claim is known by its name, its judge (who made the features; empty where there are none) and its attribute
    (of the patients, such as sex; empty where it is not asked by groups).

    Raises:
        ValueError: The claim is unknown, a figure is not finite, or the verdict lacks its figures.
    """

    claim: str
    question: str
    value: float | None
    unit: str
    interval: Interval | None
    level: float | None
    floor: Floor | None
    control: tuple[Control, ...]
    margin: float | None
    direction: Direction
    verdict: Verdict
    why: str
    n: Mapping[str, int]
    roles: tuple[str, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    rule_version: int = RULE_VERSION
    judge: str = ""
    attribute: str = ""

    def __post_init__(self) -> None:
        if self.claim not in EVERY_RULE:
            raise ValueError(f"there is no claim {self.claim}")
        if any(figure is not None and not math.isfinite(figure) for figure in (self.value, self.margin)):
            raise ValueError(f"{self.claim} has a figure that is not finite")
        figures = (self.value, self.interval, self.level, self.floor, self.margin)
        if self.verdict is not Verdict.NOT_ASSESSABLE and any(figure is None for figure in figures):
            raise ValueError(f"{self.claim} has a verdict without its figures")

    def as_row(self) -> dict[str, Any]:
        """The claim as JSON holds it."""
        row = asdict(self)
        row["interval"] = None if self.interval is None else [self.interval.low, self.interval.high]
        row["control"] = [{**asdict(control), "passed": control.passed} for control in self.control]
        return row


@dataclass(frozen=True)
class Measurement:
    """The figures of one claim before the verdict.

    Attributes:
        value: The figure.
        interval: Of the figure.
        level: Of the interval.
        floor: Real against real.
        control: Planted faults.
        margin: Fixed by the rule, never by the synthetic set.
        n: Numbers of images and patients.
    """

    value: float
    interval: Interval
    level: float
    floor: Floor
    control: tuple[Control, ...]
    margin: float
    n: Mapping[str, int]


@dataclass(frozen=True)
class Finding:
    """A claim and the data behind it.

    Attributes:
        claim: The line of evidence.
        figures: Data for its charts and tables, JSON-serialisable.
        flagged: Its rows of quarantine.csv (image, nearest, score, p).
        pairs: Its rows of pairs.json.
    """

    claim: Claim
    figures: Mapping[str, Any] = field(default_factory=dict)
    flagged: tuple[Mapping[str, Any], ...] = ()
    pairs: tuple[Mapping[str, Any], ...] = ()

    def by(self, judge: str) -> Finding:
        """The finding, attributed to one judge."""
        return replace(self, claim=replace(self.claim, judge=judge))


def decide(name: str, measured: Measurement, why: Mapping[Verdict, str], ruling: Verdict | None = None) -> Claim:
    """The claim that follows from the figures; each control gates one side.

    A planted fault that was missed says that silence proves nothing: no verdict but `refuted` stands. Real images that
    are found faulty against real ones say that a finding proves nothing: `refuted` does not stand.

    Args:
        name: One of `CLAIMS`.
        measured: Its figures.
        why: A sentence for each of the three verdicts that figures can give.
        ruling: The verdict where the rule is another than interval against margin; controls gate it anyway.
    """
    direction = EVERY_RULE[name].direction
    result = ruling or verdict(measured.interval, measured.margin, direction)
    reason = why[result]
    missed = [control for control in measured.control if not control.passed]
    words = "; ".join(f"{c.name}: {c.found:.0%} found, {c.needed:.0%} needed" for c in missed)
    if result is Verdict.REFUTED and false_alarm(measured, direction):
        result = Verdict.NOT_ASSESSABLE
        reason = (
            f"Real images against real images come out as badly (floor: mean {sensible(measured.floor.mean)}, "
            f"{sensible(measured.floor.low)} to {sensible(measured.floor.high)}; here {sensible(measured.value)}), so "
            "the finding says nothing of synthetic ones."
        )
    elif result is Verdict.REFUTED and missed:
        reason = (
            f"{reason} Planted faults were missed ({words}): a good figure would prove nothing, but a fault that "
            "was found stands, since real images against real images raise no false alarm."
        )
    elif missed:
        result = Verdict.NOT_ASSESSABLE
        reason = (
            f"The measurement missed faults that were planted to test it ({words}), so a good figure means nothing."
        )
    return stated(name, result, reason, measured)


def false_alarm(measured: Measurement, direction: Direction) -> bool:
    """Real images against real ones lie on the wrong side of the margin, and the figure is no worse than they are."""
    floor, sign = measured.floor, 1.0 if direction is Direction.AT_MOST else -1.0
    outer = floor.high if direction is Direction.AT_MOST else floor.low
    return sign * (floor.mean - measured.margin) > 0 and sign * (measured.value - outer) <= 0


def stated(name: str, result: Verdict, why: str, measured: Measurement) -> Claim:
    """A claim whose verdict a rule of its own has reached, such as the trial's or the reader study's."""
    return Claim(
        value=measured.value,
        interval=measured.interval,
        level=measured.level,
        floor=measured.floor,
        control=measured.control,
        margin=measured.margin,
        verdict=result,
        why=why,
        n=measured.n,
        **_asked(name),
    )


def not_assessable(name: str, why: str, n: Mapping[str, int]) -> Claim:
    """A claim for which data are missing."""
    return Claim(
        value=None,
        interval=None,
        level=None,
        floor=None,
        control=(),
        margin=None,
        verdict=Verdict.NOT_ASSESSABLE,
        why=why,
        n=n,
        **_asked(name),
    )


def _asked(name: str) -> dict[str, Any]:
    """The fields of a claim that its rule fixes."""
    rule = EVERY_RULE[name]
    return {
        "claim": name,
        "question": rule.question,
        "unit": rule.unit,
        "direction": rule.direction,
        "roles": rule.roles,
    }


def sensible(value: float) -> str:
    """A figure with three significant digits, in plain notation down to a thousandth."""
    if value == 0 or abs(value) < 5e-5:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 4)}f}"


def percent(value: float) -> str:
    """A share in per cent, with a decimal below 10%."""
    return f"{value:.0%}" if value >= 0.0995 or value == 0 else f"{value:.1%}"
