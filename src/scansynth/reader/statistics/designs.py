"""Simulated studies of two sets, of patients with several images, and of readers who leave.

As in `simulation`: a reader's score of an image is normal, the sum of the reader's own distance between the classes,
what the image shows to all readers, and noise; five thresholds make six answers of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.reader.statistics.arms import Compared, Difference, compare_areas, judge
from scansynth.reader.statistics.mrmc import Average, average
from scansynth.reader.statistics.roc import Floats, Mask
from scansynth.reader.statistics.simulation import THRESHOLDS, World, readings
from scansynth.seeds import generator

_CUT = 0.02  # a reader's true AUC stays this far from 0 and 1


@dataclass(frozen=True)
class Arms:
    """Two sets of synthetic images that the same readers read among the same real ones.

    Attributes:
        auc: Readers' mean AUC of the second set, before answers are made of scores.
        difference: By which that of the first set is higher.
        reader_sd: Standard deviation of the readers' AUC, the same reader's in both sets.
        apart_sd: Standard deviation of the readers' own difference between the sets.
        shared: Share of a score's variance that belongs to the image.
        caution_sd: Spread of the readers' thresholds, in standard deviations of a score.
    """

    auc: float = 0.6
    difference: float = 0.0
    reader_sd: float = 0.1
    apart_sd: float = 0.05
    shared: float = 0.2
    caution_sd: float = 0.3

    def scores(self, readers: int, each: int, real: int, rng: np.random.Generator) -> tuple[Floats, Floats, Mask]:
        """Answers in either arm, not a number for the other arm's images, (R, C), and the class of each image."""
        middle = rng.normal(self.auc + self.difference / 2.0, self.reader_sd, readers)
        apart = rng.normal(self.difference, self.apart_sd, readers)
        aucs = np.stack([middle + apart / 2.0, middle - apart / 2.0])
        distance = math.sqrt(2.0) * stats.norm.ppf(np.clip(aucs, _CUT, 1.0 - _CUT))
        truth = np.arange(2 * each + real) < 2 * each
        offset = np.concatenate([np.repeat(distance.T, each, axis=1), np.zeros((readers, real))], axis=1)
        image = rng.normal(0.0, math.sqrt(self.shared), len(truth))
        answers = _answers(offset, image, self.shared, self.caution_sd, rng)
        first, second = answers.copy(), answers.copy()
        first[:, each : 2 * each], second[:, :each] = np.nan, np.nan
        return first, second, truth


def _answers(offset: Floats, image: Floats, shared: float, caution_sd: float, rng: np.random.Generator) -> Floats:
    """Answers 1..6 to images whose score is raised by `offset` (R, C), and by `image` for all readers (C,)."""
    scores = offset + image + rng.normal(0.0, math.sqrt(1.0 - shared), offset.shape)
    cuts = THRESHOLDS + rng.normal(0.0, caution_sd, len(offset))[:, None, None]
    return np.asarray(1.0 + np.sum(scores[:, :, None] > cuts, axis=2), dtype=np.float64)


def two_sets(world: Arms, readers: int, images: int, rng: np.random.Generator) -> Difference:
    """The comparison of a simulated study: half of the images real, a quarter of either set."""
    each = images // 4
    return compare_areas(*world.scores(readers, each, images - 2 * each, rng))


def compared_power(
    world: Arms, readers: int, images: int, margin: float, level: float, runs: int, seed: int
) -> dict[Compared, float]:
    """Share of simulated studies of two sets that come to each outcome."""
    found = dict.fromkeys(Compared, 0)
    for run in range(runs):
        rng = generator(seed, "plan arms", world, readers, images, run)
        found[judge(two_sets(world, readers, images, rng), margin, level).outcome] += 1
    return {outcome: count / runs for outcome, count in found.items()}


def left_early(world: World, readers: int, images: int, leavers: int, rng: np.random.Generator) -> Average:
    """A study of one set of which some readers leave after half of the images or later, each at random."""
    answers, truth = readings(world, readers, images // 2, images - images // 2, rng)
    scores = answers.astype(np.float64)
    for own in scores[:leavers]:
        order = rng.permutation(images)
        own[order[rng.integers(images // 2, images) :]] = np.nan
    return average(scores, truth)


def several_images(
    world: World, readers: int, patients: int, each: int, same: float, rng: np.random.Generator
) -> tuple[Floats, Mask, NDArray[np.int64]]:
    """A study in which each patient has several real images that look alike, among single synthetic ones.

    Args:
        world: Readers and images.
        readers: How many.
        patients: Of the real images.
        each: Images of each patient; there are as many synthetic images as real ones.
        same: Share of what an image shows that all images of the patient show.
        rng: Draws.

    Returns:
        Answers (R, C), the class of each image, and its patient; a synthetic image is a patient of its own.
    """
    real = patients * each
    truth = np.arange(2 * real) < real
    aucs = np.clip(rng.normal(world.auc, world.reader_sd, readers), _CUT, 1.0 - _CUT)
    offset = math.sqrt(2.0) * stats.norm.ppf(aucs)[:, None] * truth
    common = np.repeat(rng.normal(0.0, math.sqrt(world.shared * same), patients), each)
    own = rng.normal(0.0, math.sqrt(world.shared * (1.0 - same)), real)
    image = np.concatenate([rng.normal(0.0, math.sqrt(world.shared), real), common + own])
    names = np.concatenate([np.arange(real), real + np.repeat(np.arange(patients), each)])
    return _answers(offset, image, world.shared, world.caution_sd, rng), truth, names
