"""Simulated readers: coverage of the intervals, and how often a study of a given size reaches a verdict.

A reader's score of an image is normal: the reader's own distance between the classes, what the image shows to all
readers, and noise (Roe and Metz, Acad. Radiol. 4, 1997). Five thresholds make six answers of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.reader.statistics.detection import Share
from scansynth.reader.statistics.mrmc import Average, average, squares
from scansynth.reader.statistics.roc import Floats, Mask, quantile
from scansynth.statistics import Interval

THRESHOLDS = np.array([-1.2, -0.6, 0.0, 0.6, 1.2])
"""Between the six answers, in standard deviations of the score of a real image."""

_CUT = 0.02  # a reader's true AUC stays this far from 0 and 1


@dataclass(frozen=True)
class World:
    """Readers and images of whom a study is a sample.

    Attributes:
        auc: Mean over readers, before answers are made of scores.
        reader_sd: Standard deviation of the readers' AUC: 0.10 is 10 points.
        shared: Share of a score's variance that belongs to the image and is the same for all readers.
        caution_sd: Spread of the readers' thresholds, in standard deviations of a score.
    """

    auc: float = 0.5
    reader_sd: float = 0.0
    shared: float = 0.2
    caution_sd: float = 0.3


def _distances(world: World, readers: int, rng: np.random.Generator) -> Floats:
    """Each reader's distance between the classes: sqrt(2) z(AUC), (R,)."""
    aucs = np.clip(rng.normal(world.auc, world.reader_sd, readers), _CUT, 1.0 - _CUT)
    return np.asarray(math.sqrt(2.0) * stats.norm.ppf(aucs), dtype=np.float64)


def readings(
    world: World, readers: int, synthetic: int, real: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Mask]:
    """Answers 1..6 of a simulated study, (R, C), and the class of each image, synthetic ones first, (C,)."""
    truth = np.arange(synthetic + real) < synthetic
    distance = _distances(world, readers, rng)
    caution = rng.normal(0.0, world.caution_sd, readers)
    image = rng.normal(0.0, math.sqrt(world.shared), len(truth))
    noise = rng.normal(0.0, math.sqrt(1.0 - world.shared), (readers, len(truth)))
    scores = distance[:, None] * truth + image + noise
    answers = 1 + np.sum(scores[:, :, None] > (THRESHOLDS + caution[:, None, None]), axis=2)
    return np.asarray(answers, dtype=np.int64), truth


def true_auc(world: World, rng: np.random.Generator, draws: int = 20_000) -> float:
    """Mean AUC of all readers of a world, from the answers' probabilities: the six answers blunt it a little."""
    distance = _distances(world, draws, rng)[:, None]
    cuts = THRESHOLDS + rng.normal(0.0, world.caution_sd, draws)[:, None]
    edges = [np.zeros((draws, 1)), np.ones((draws, 1))]
    real = np.concatenate([edges[0], stats.norm.cdf(cuts), edges[1]], axis=1)
    made = np.concatenate([edges[0], stats.norm.cdf(cuts - distance), edges[1]], axis=1)
    below = (real[:, :-1] + real[:, 1:]) / 2.0  # real images with a lower answer, and half of those with the same
    return float(np.mean(np.sum(np.diff(made, axis=1) * below, axis=1)))


def study(world: World, readers: int, images: int, rng: np.random.Generator) -> Average:
    """The analysis of a simulated study of so many images, half of them synthetic."""
    return average(*readings(world, readers, images // 2, images - images // 2, rng))


@dataclass(frozen=True)
class ShareWorld:
    """Readers and images when only "called real" of synthetic images is looked at.

    The logit of the chance is normal over readers and over images; a standard deviation of 0.10 means 10 points near
    the mean (the logit's is 0.10 / (p (1 - p))).

    Attributes:
        share: Of the middle reader and image.
        reader_sd: Between readers.
        image_sd: Between images.
    """

    share: float = 0.5
    reader_sd: float = 0.0
    image_sd: float = 0.2

    def calls(self, readers: int, images: int, rng: np.random.Generator) -> Floats:
        """1 where a reader called an image real, (R, C)."""
        slope = self.share * (1.0 - self.share)
        by_reader = rng.normal(math.log(self.share / (1.0 - self.share)), self.reader_sd / slope, (readers, 1))
        logit = by_reader + rng.normal(0.0, self.image_sd / slope, (1, images))
        return np.asarray(rng.random((readers, images)) < 1.0 / (1.0 + np.exp(-logit)), dtype=np.float64)


def share_interval(calls: Floats, level: float) -> Interval:
    """Of the mean share, readers and images random: the two-way ANOVA of the calls themselves."""
    found = squares(calls)
    half = quantile((1.0 + level) / 2.0, found.freedom) * math.sqrt(found.variance)
    return Interval(float(calls.mean()) - half, float(calls.mean()) + half)


def pooled_interval(calls: Floats, level: float) -> Interval:
    """What is often reported: Wilson's interval as if each answer came from another reader and another image."""
    return Share(int(calls.sum()), calls.size).wilson(level)
