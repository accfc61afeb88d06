"""Simulated studies with marks: readers who find the lesion of an image or not, and mark other places now and then.

Every image has one lesion, as where a generator makes images of one label; half of the images are real. The figure is
the area under the free-response curve with false marks of all images (`where.free_response`, everywhere).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from scansynth.reader.statistics.arms import Compared, Difference, compare, judge
from scansynth.reader.statistics.mrmc import Figures
from scansynth.reader.statistics.roc import Floats
from scansynth.seeds import generator

_CUTS = np.array([0.0, 0.5, 1.0, 1.5])  # between the five confidences
_EDGE = 0.02  # the share that a reader finds stays this far from 0 and 1


@dataclass(frozen=True)
class Search:
    """Readers and images.

    Attributes:
        found: Mean share of the lesions that readers find in real images.
        difference: By which the area is lower in synthetic images.
        reader_sd: Standard deviation of the readers' share, the same reader's for both kinds.
        apart_sd: Standard deviation of the readers' own difference between the kinds.
        false: False marks for each image.
        distance: Of the confidence in lesions from that in false marks, in standard deviations.
        shared: Share of what makes a lesion seen that belongs to the image.
    """

    found: float = 0.75
    difference: float = 0.0
    reader_sd: float = 0.1
    apart_sd: float = 0.05
    false: float = 0.3
    distance: float = 1.5
    shared: float = 0.3

    @property
    def area(self) -> float:
        """Expected area in real images of a reader who finds the mean share."""
        won, missed = self._won()
        return self.found * won + (1.0 - self.found) * missed

    @property
    def fewer(self) -> float:
        """By how much the share found is lower in synthetic images, for the area to be lower by `difference`."""
        won, missed = self._won()
        return self.difference / (won - missed)

    def _won(self) -> tuple[float, float]:
        """Chance that a lesion that was found, and one that was not, wins over the highest false mark of an image."""
        false_at_most = np.exp(-self.false * stats.norm.sf(np.append(_CUTS, np.inf)))
        false_at_most = np.concatenate([[math.exp(-self.false)], false_at_most])
        confident = np.diff(stats.norm.cdf(np.concatenate([[-np.inf], _CUTS, [np.inf]]) - self.distance))
        won = float(confident @ (false_at_most[:-1] + false_at_most[1:]) / 2.0)
        return won, math.exp(-self.false) / 2.0

    def ratings(self, readers: int, each: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Confidence in each image's lesion, and the highest in its false marks, 0: none, (2, R, each); real first."""
        middle = rng.normal(self.found - self.fewer / 2.0, self.reader_sd, readers)
        apart = rng.normal(self.fewer, self.apart_sd, readers)
        shares = np.clip(np.stack([middle + apart / 2.0, middle - apart / 2.0]), _EDGE, 1.0 - _EDGE)
        seen = stats.norm.ppf(shares)[:, :, None] + rng.normal(0.0, math.sqrt(self.shared), (2, 1, each))
        seen = seen + rng.normal(0.0, math.sqrt(1.0 - self.shared), (2, readers, each)) > 0.0
        lesion = np.where(seen, _level(rng.normal(self.distance, 1.0, seen.shape)), 0.0)
        marks = rng.poisson(self.false, seen.shape)
        # the highest of n draws is one draw of the n-th power of their distribution
        highest = stats.norm.ppf(rng.random(seen.shape) ** (1.0 / np.maximum(marks, 1)))
        return lesion, np.where(marks > 0, _level(highest), 0.0)


def _level(confidence: Floats) -> Floats:
    return np.asarray(1.0 + np.sum(confidence[..., None] > _CUTS, axis=-1), dtype=np.float64)


def areas(lesion: Floats, highest: Floats) -> Floats:
    """Each reader's area, and without each image, (R, 1 + images): pairs of a lesion and the false mark of any image.

    Args:
        lesion: Confidence in each image's lesion, (R, images).
        highest: In the most confident of its false marks, 0 for none, (R, images).
    """
    won = (np.sign(lesion[:, :, None] - highest[:, None, :]) + 1.0) / 2.0
    whole, count = won.sum(axis=(1, 2)), lesion.shape[1]
    own = np.einsum("rkk->rk", won)
    left = (whole[:, None] - won.sum(axis=2) - won.sum(axis=1) + own) / (count - 1) ** 2
    return np.concatenate([whole[:, None] / count**2, left], axis=1)


def study(world: Search, readers: int, images: int, rng: np.random.Generator) -> Difference:
    """The comparison of a simulated study: half of the images real, each kind with patients of its own."""
    each = images // 2
    lesion, highest = world.ratings(readers, each, rng)
    arms = []
    for kind in range(2):
        found = areas(lesion[kind], highest[kind])
        left = np.repeat(found[:, :1], 2 * each, axis=1)
        left[:, kind * each : (kind + 1) * each] = found[:, 1:]
        arms.append(Figures(found[:, 0], left, each))
    return compare(arms[0], arms[1])


def power(
    world: Search, readers: int, images: int, margin: float, level: float, runs: int, seed: int
) -> dict[Compared, float]:
    """Share of simulated studies that come to each outcome."""
    found = dict.fromkeys(Compared, 0)
    for run in range(runs):
        rng = generator(seed, "plan marks", world, readers, images, run)
        found[judge(study(world, readers, images, rng), margin, level).outcome] += 1
    return {outcome: count / runs for outcome, count in found.items()}
