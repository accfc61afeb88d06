"""Two arms: the same readers on two sets of images, such as two generators or two modalities, and the difference.

Each reader has one figure in each arm. Their differences are a figure of each reader like any other, and are analysed
as `mrmc` analyses one: with two modalities this is the comparison of Obuchowski and Rockette (Commun. Stat. Simul.
Comput. 24, 1995) with Hillis's degrees of freedom (Stat. Med. 26, 2007). A patient who is in both arms is left out of
both at once, so that whatever the arms share (the real images, the patients, or nothing) is in the covariance.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.reader.statistics.mrmc import Average, Figures, areas, mean_of
from scansynth.reader.statistics.roc import Mask, quantile, tail
from scansynth.reader.statistics.verdict import LEAST_READERS, equivalence_level, exact, plain
from scansynth.statistics import Interval


class Compared(StrEnum):
    """The outcome of a comparison of two arms."""

    DIFFERENT = "different"
    EQUIVALENT = "equivalent within the margin"
    WITHIN = "different but within the margin"
    INCONCLUSIVE = "inconclusive"
    NOT_ASSESSABLE = "not assessable"


@dataclass(frozen=True)
class Difference:
    """Mean difference of the readers' figures, the first arm's less the second's.

    Attributes:
        value: The difference.
        error: Standard error, with readers and patients random.
        freedom: Degrees of freedom of the t quantile.
        arms: The readers' mean figure in each arm.
        readers: Readers who have a figure in both arms.
    """

    value: float
    error: float
    freedom: float
    arms: tuple[Average, Average]
    readers: int

    @property
    def p(self) -> float:
        """Two-sided, that there is no difference."""
        if self.error == 0.0:
            return 1.0 if self.value == 0.0 else 0.0
        return 2.0 * tail(abs(self.value) / self.error, self.freedom)

    def interval(self, level: float) -> Interval:
        """Two-sided interval, cut to -1..1."""
        half = quantile((1.0 + level) / 2.0, self.freedom) * self.error
        return Interval(max(self.value - half, -1.0), min(self.value + half, 1.0))

    def equivalence(self, margin: float) -> float:
        """P value of the two one-sided tests that the difference lies within +- margin (Schuirmann, 1987)."""
        if self.error == 0.0:
            return 0.0 if abs(self.value) < margin else 1.0
        return max(tail((one + margin) / self.error, self.freedom) for one in (self.value, -self.value))


def compare(first: Figures, second: Figures) -> Difference:
    """The mean difference of the readers' figures in two arms.

    Args:
        first: Of each reader; the readers of both stand in one order, and patients in one order, too.
        second: The other arm's.

    Raises:
        ReaderError: There is one reader.
        ValueError: The arms differ in readers or patients.
    """
    if first.left_out.shape != second.left_out.shape:
        raise ValueError("two arms are compared over the same readers and the same list of patients")
    fewest, patients = min(first.fewest, second.fewest), first.left_out.shape[1]
    apart = Figures(first.values - second.values, first.left_out - second.left_out, fewest)
    mean = mean_of(apart.values, apart.covariance, patients, fewest).general
    first_mean, second_mean = (mean_of(arm.values, arm.covariance, patients, arm.fewest) for arm in (first, second))
    return Difference(mean.auc, mean.error, mean.freedom, (first_mean, second_mean), len(first.values))


def compare_areas(
    first: NDArray[Any], second: NDArray[Any], synthetic: Mask, patients: NDArray[Any] | None = None
) -> Difference:
    """The readers' mean difference of AUC.

    Args:
        first: Scores in the first arm, not a number where a reader did not see an image in it, (R, C).
        second: In the second arm, (R, C). An image that belongs to both, such as a real one that is read once, has its
            score in both.
        synthetic: Class of each image, (C,).
        patients: Whose images belong together, (C,); none: each is a patient of its own.

    Raises:
        ReaderError: There is one reader, or a reader saw fewer than two images of a class in an arm.
    """
    groups = np.arange(len(synthetic)) if patients is None else patients
    return compare(areas(first, synthetic, groups), areas(second, synthetic, groups))


@dataclass(frozen=True)
class Comparison:
    """A verdict on two arms.

    Attributes:
        outcome: One of five.
        why: Plain words.
    """

    outcome: Compared
    why: str


def judge(
    found: Difference,
    margin: float,
    level: float,
    names: tuple[str, str] = ("first", "second"),
    figure: str = "AUC",
) -> Comparison:
    """The rule of `verdict.decide`, about a difference of 0 in the place of an AUC of 0.5.

    Args:
        found: The difference.
        margin: Largest difference that does not matter.
        level: Of the interval, such as 0.95.
        names: Of the arms.
        figure: What differs, in words.

    Raises:
        ValueError: The margin or the level is out of range.
    """
    if not 0.0 < margin < 0.5 or not 0.5 < level < 1.0:
        raise ValueError(f"a margin lies between 0 and 0.5 and a level between 0.5 and 1, not {margin} and {level}")
    if found.readers < LEAST_READERS:
        return Comparison(
            Compared.NOT_ASSESSABLE,
            f"{found.readers} of at least {LEAST_READERS} readers read both: their figures do not support a "
            "conclusion about readers in general.",
        )
    wide, narrow = found.interval(level), found.interval(equivalence_level(level))
    holds, inside = wide.low <= 0.0 <= wide.high, -margin <= narrow.low and narrow.high <= margin
    side = "above" if found.value > 0 else "below"
    told = f"The {figure} of {names[0]} is {plain(abs(found.value), 0.0)} {side} that of {names[1]}"
    told += "" if found.value else ", which is no difference"
    across = f"{level:.0%} interval of the difference {plain(wide.low, 0.0)} to {plain(wide.high, 0.0)}"
    deciding = (
        f"the {equivalence_level(level):.0%} interval, {plain(narrow.low, -margin)} to {plain(narrow.high, margin)}, "
        f"{'lies' if inside else 'does not lie'} within -{exact(margin)} to {exact(margin)}"
    )
    if inside:
        small = "" if holds else f" The {across} excludes 0: a small difference is detected."
        return Comparison(Compared.EQUIVALENT if holds else Compared.WITHIN, f"{told}, and {deciding}.{small}")
    if not holds:
        return Comparison(Compared.DIFFERENT, f"{told} ({across}): no difference, 0, is excluded.")
    return Comparison(
        Compared.INCONCLUSIVE,
        f"{told} ({across}). The interval includes 0, and {deciding}, so equivalence is not shown.",
    )
