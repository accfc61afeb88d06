"""How often each value occurs in an image of whole numbers: counted by its decoder, added for a series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Counts:
    """A histogram with a bin for each whole number.

    Attributes:
        least: Value of the first bin; it occurs.
        often: How often each value occurs, (k,); the last one does.
    """

    least: int
    often: npt.NDArray[np.integer[Any]]

    @classmethod
    def of(cls, values: npt.NDArray[np.integer[Any]]) -> Self:
        """Of an image of whole numbers, not empty."""
        least = int(values.min())
        return cls(least, np.bincount(values.reshape(-1).astype(np.intp) - least))

    @property
    def most(self) -> int:
        """The highest value that occurs."""
        return self.least + len(self.often) - 1

    @property
    def total(self) -> int:
        """Values counted."""
        return int(self.often.sum())


def together(counts: Sequence[Counts]) -> Counts:
    """Of several images as of one."""
    least, most = min(one.least for one in counts), max(one.most for one in counts)
    often = np.zeros(most - least + 1, np.int64)
    for one in counts:
        often[one.least - least : one.most - least + 1] += one.often
    return Counts(least, often)


class Ranks:
    """The counted values in rising order, asked by their percentiles.

    Args:
        counts: Of an image or a series.
    """

    def __init__(self, counts: Counts) -> None:
        self._upto, self._counts = np.cumsum(counts.often), counts
        self._total = counts.total

    def _at(self, place: int) -> int:
        return self._counts.least + int(np.searchsorted(self._upto, place, side="right"))

    def percentile(self, percentile: float) -> float:
        """As `numpy.percentile` gives it, to the bit (linear between ranks)."""
        place = (self._total - 1) * (percentile / 100)
        below = math.floor(place)
        lower, upper = self._at(below), self._at(min(below + 1, self._total - 1))
        part, step = place - below, upper - lower
        return upper - step * (1 - part) if part >= 0.5 else lower + step * part  # as numpy rounds

    def occurring(self, percentile: float, *, up: bool) -> float:
        """The value at or beside the percentile that occurs: `numpy.percentile` by the method higher or lower."""
        place = (self._total - 1) * (percentile / 100)
        return float(self._at(math.ceil(place) if up else math.floor(place)))
