"""Signal detection from yes and no: what one reader called synthetic, of the synthetic images and of the real ones.

"Synthetic" is the signal: H is the share of the synthetic images called so, F the share of the real ones. An answer of
4 to 6 on the scale counts as "synthetic". H alone cannot be read: it mixes what a reader sees with what a reader is
inclined to say, and only F tells the two apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.reader.statistics.roc import Mask
from scansynth.statistics import Interval, clopper_pearson, wilson

FIRST_SYNTHETIC = 4
"""The least answer that says "synthetic"; the scale is 1 (definitely real) to 6 (definitely synthetic)."""


@dataclass(frozen=True)
class Share:
    """A count out of a number of images, with both intervals.

    Attributes:
        count: Images of which it is so.
        of: All images.
    """

    count: int
    of: int

    @property
    def value(self) -> float:
        """The share itself."""
        return self.count / self.of

    @property
    def smoothed(self) -> float:
        """(x + 0.5) / (n + 1), never 0 or 1 (Hautus, Behav. Res. Methods 27, 1995)."""
        return (self.count + 0.5) / (self.of + 1)

    def wilson(self, level: float) -> Interval:
        """The score interval."""
        return wilson(self.count, self.of, level)

    def exact(self, level: float) -> Interval:
        """Clopper and Pearson's interval."""
        return clopper_pearson(self.count, self.of, level)


@dataclass(frozen=True)
class Detection:
    """One reader's confusion table and what signal detection makes of it.

    Attributes:
        hits: Synthetic images called synthetic.
        false_alarms: Real images called synthetic.
    """

    hits: Share
    false_alarms: Share

    @property
    def fooled(self) -> Share:
        """Synthetic images called real."""
        return Share(self.hits.of - self.hits.count, self.hits.of)

    @property
    def right(self) -> Share:
        """Images of either class called what they are."""
        return Share(
            self.hits.count + self.false_alarms.of - self.false_alarms.count, self.hits.of + self.false_alarms.of
        )

    @property
    def d_prime(self) -> float:
        """d', the sensitivity index: distance between the classes in standard deviations."""
        return d_prime(self.hits.smoothed, self.false_alarms.smoothed)

    @property
    def criterion(self) -> float:
        """c, the criterion: above 0 the reader tends to answer "real", below 0 "synthetic"."""
        return criterion(self.hits.smoothed, self.false_alarms.smoothed)

    @property
    def auc(self) -> float:
        """What d' comes to as an area, if both classes are normal with one variance."""
        return auc_of(self.d_prime)

    def as_row(self, level: float) -> dict[str, Any]:
        """The table as JSON holds it."""
        row: dict[str, Any] = {
            "synthetic_called_synthetic": self.hits.count,
            "synthetic_called_real": self.fooled.count,
            "real_called_synthetic": self.false_alarms.count,
            "real_called_real": self.false_alarms.of - self.false_alarms.count,
            "d_prime": self.d_prime,
            "criterion": self.criterion,
            "auc_of_d_prime": self.auc,
        }
        for name, share in (("H", self.hits), ("F", self.false_alarms), ("right", self.right)):
            w, e = share.wilson(level), share.exact(level)
            row[name] = {"value": share.value, "wilson": [w.low, w.high], "clopper_pearson": [e.low, e.high]}
        return row


def detect(answers: NDArray[Any], synthetic: Mask) -> Detection:
    """One reader's table from the answers 1 to 6.

    Args:
        answers: (C,).
        synthetic: Class of each image, (C,); each class occurs.

    Raises:
        ValueError: A class does not occur.
    """
    called = np.asarray(answers) >= FIRST_SYNTHETIC
    if not synthetic.any() or synthetic.all():
        raise ValueError("a confusion table needs images of both classes")
    return Detection(
        Share(int(called[synthetic].sum()), int(synthetic.sum())),
        Share(int(called[~synthetic].sum()), int((~synthetic).sum())),
    )


def d_prime(hits: float, false_alarms: float) -> float:
    """z(H) - z(F) (Green and Swets, Signal Detection Theory, 1966). Both strictly between 0 and 1."""
    return float(stats.norm.ppf(hits) - stats.norm.ppf(false_alarms))


def criterion(hits: float, false_alarms: float) -> float:
    """Minus half of z(H) + z(F) (Macmillan and Creelman, Detection Theory, 2005, chapter 2)."""
    return -float(stats.norm.ppf(hits) + stats.norm.ppf(false_alarms)) / 2.0


def auc_of(distance: float) -> float:
    """Phi(d' / sqrt 2)."""
    return float(stats.norm.cdf(distance / math.sqrt(2.0)))
