"""The verdict of a reader study: five outcomes, and one rule fixed in advance.

The rule in prose, and why: `docs/reader_statistics.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from scansynth.reader.statistics.detection import Share, auc_of, d_prime
from scansynth.reader.statistics.roc import Estimate
from scansynth.statistics import Interval, Verdict

LEAST_READERS = 3
"""Fewer do not support a conclusion about readers in general: the difference of two is one number."""


class Outcome(StrEnum):
    """The outcome of a reader study."""

    DISTINGUISHABLE = "distinguishable"
    EQUIVALENT = "equivalent within the margin"
    WITHIN = "different but within the margin"
    INCONCLUSIVE = "inconclusive"
    NOT_ASSESSABLE = "not assessable"


CLAIMED = {
    Outcome.DISTINGUISHABLE: Verdict.REFUTED,
    Outcome.EQUIVALENT: Verdict.SHOWN,
    Outcome.WITHIN: Verdict.SHOWN,
    Outcome.INCONCLUSIVE: Verdict.NOT_SHOWN,
    Outcome.NOT_ASSESSABLE: Verdict.NOT_ASSESSABLE,
}
"""What the claim `reader.indistinguishable` says for each."""


@dataclass(frozen=True)
class Decision:
    """A verdict with its figures.

    Attributes:
        outcome: One of five.
        why: Plain words.
        interval: At the level of the study; chance within it or not decides on a difference.
        equivalence: At 1 - 2 (1 - level), the two one-sided tests' interval; decides on equivalence.
        p: Of the two one-sided tests.
    """

    outcome: Outcome
    why: str
    interval: Interval | None = None
    equivalence: Interval | None = None
    p: float | None = None

    def as_row(self) -> dict[str, Any]:
        """The decision as JSON holds it."""
        return {
            "outcome": self.outcome.value,
            "why": self.why,
            "interval": None if self.interval is None else [self.interval.low, self.interval.high],
            "equivalence_interval": None if self.equivalence is None else [self.equivalence.low, self.equivalence.high],
            "equivalence_p": self.p,
        }


def equivalence_level(level: float) -> float:
    """Level of the interval that is the two one-sided tests, each at 1 - level: 0.90 for 0.95."""
    return 1.0 - 2.0 * (1.0 - level)


def decide(estimate: Estimate, margin: float, level: float) -> Decision:
    """The rule.

    1. The equivalence interval lies within 0.5 +- margin: equivalent if the interval holds 0.5, else different but
       within the margin.
    2. Otherwise, the interval does not hold 0.5: distinguishable.
    3. Otherwise: inconclusive.

    Args:
        estimate: The AUC.
        margin: Largest distance from 0.5 that does not matter, 0..0.5.
        level: Of the interval, such as 0.95.

    Raises:
        ValueError: The margin or the level is out of range.
    """
    if not 0.0 < margin < 0.5 or not 0.5 < level < 1.0:
        raise ValueError(f"a margin lies between 0 and 0.5 and a level between 0.5 and 1, not {margin} and {level}")
    interval, narrow = estimate.interval(level), estimate.interval(equivalence_level(level))
    low, high = 0.5 - margin, 0.5 + margin
    chance = interval.low <= 0.5 <= interval.high
    auc = f"The AUC is {plain(estimate.auc, 0.5)}"
    wide = f"{level:.0%} interval {plain(interval.low, 0.5)} to {plain(interval.high, 0.5)}"
    inside = low <= narrow.low and narrow.high <= high
    deciding = (
        f"the {equivalence_level(level):.0%} interval, {plain(narrow.low, low)} to {plain(narrow.high, high)}, "
        f"{'lies' if inside else 'does not lie'} within {exact(low)} to {exact(high)}"
    )
    if inside:
        outcome = Outcome.EQUIVALENT if chance else Outcome.WITHIN
        small = "" if chance else f" The {wide} excludes chance, 0.5: a small difference is detected."
        why = f"{auc}, and {deciding}.{small}"
    elif not chance:
        outcome = Outcome.DISTINGUISHABLE
        wrong = "" if estimate.auc > 0.5 else ", but in the wrong direction: they look more real than the real ones"
        told = f"The synthetic images are distinguished from the real ones{wrong}."
        why = f"{auc} ({wide}): chance, 0.5, is excluded. {told}"
    else:
        outcome = Outcome.INCONCLUSIVE
        why = f"{auc} ({wide}). The interval includes chance, 0.5, and {deciding}, so equivalence is not shown either."
    return Decision(outcome, why, interval, narrow, estimate.equivalence(margin))


def plain(value: float, limit: float, fewest: int = 2) -> str:
    """A number with two decimals, or with as many more as it takes to stand on the right side of a limit.

    So 0.604 beside a limit of 0.60 is printed as 0.604, and no sentence contradicts its numbers.

    Args:
        value: The number.
        limit: What it is held against.
        fewest: Decimals, where so many do.
    """
    for decimals in range(fewest, 12):
        told = f"{value:.{decimals}f}"
        shown = float(told)
        if (shown < limit, shown > limit) == (value < limit, value > limit):
            return told.removeprefix("-") if shown == 0.0 else told
    return repr(value)


def percent(share: float, limit: float) -> str:
    """A share in whole percent, or with as many decimals as it takes to stand on the right side of a limit."""
    return f"{plain(100.0 * share, 100.0 * limit, 0)}%"


def exact(value: float) -> str:
    """A limit as it was set, with two decimals at least."""
    return next(
        (told for decimals in range(2, 8) if abs(float(told := f"{value:.{decimals}f}") - value) < 1e-9), f"{value}"
    )


def missing(why: str) -> Decision:
    """No verdict is possible."""
    return Decision(Outcome.NOT_ASSESSABLE, why)


@dataclass(frozen=True)
class Published:
    """What can be said of a study that reports how many synthetic images were called real.

    Attributes:
        fooled: Synthetic images called real.
        false_alarms: F, the share of real images called synthetic; none where it was not reported.
    """

    fooled: Share
    false_alarms: float | None = None

    @property
    def d_prime(self) -> float | None:
        """From the raw shares; none without F."""
        return None if self.false_alarms is None else d_prime(1.0 - self.fooled.value, self.false_alarms)

    def decide(self) -> Decision:
        """Always not assessable: without F nothing can be said, and with F the readers are still pooled."""
        distance = self.d_prime
        if distance is None:
            return missing("F is missing: how often real images were called synthetic was not reported.")
        return missing(
            f"answers of the single readers are missing: pooled, d' is {distance:.2f} and the AUC "
            f"{auc_of(distance):.2f}, "
            "without an interval that holds for readers."
        )
