"""Does the set cover each patient group as well as all patients? The claim `fairness.coverage`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from scansynth.audit.fairness.figures import GroupFigures, Rows, conclude, enough
from scansynth.audit.fairness.groups import Attribute
from scansynth.claims.claim import Claim, Measurement, sensible
from scansynth.metrics.attributes import GroupPredictor
from scansynth.metrics.diversity import distances
from scansynth.metrics.prdc import radii
from scansynth.statistics import Interval, Mask, Verdict, blocks, group_masks, jackknife_interval

NAME = "fairness.coverage"
MARGIN = 0.9
K = 2
COMPONENTS = 4
"""Number of leading feature components in which distance is measured."""

TELLING = 2.0
"""Weight of the features that separate the groups: without it, members of other groups stand in for missing ones."""
REDRAWS = 8
"""How often the image of each patient is resampled."""

CONTROL_DRAWS = 50
BLOCKS = 50

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def space(features: Floats, predictor: GroupPredictor) -> Floats:
    """Space in which distance is measured: leading components, and predictor scores at twice their spread.

    The scores are logarithms of the probabilities less their mean over the groups (Aitchison, JRSS B 44, 1982), at
    the scale of the training images.

    Args:
        features: At scale, leading components first (n, d).
        predictor: Of the groups, G of them.

    Returns:
        (n, min(d, 4) + G).
    """
    unit = np.maximum(_scores(predictor.unseen).std(axis=0), 1e-9)
    return np.concatenate([features[:, :COMPONENTS], TELLING * _scores(predictor(features)) / unit], axis=1)


def _scores(said: Floats) -> Floats:
    logarithms = np.log(np.clip(said, 1e-4, 1.0))
    return np.asarray(logarithms - logarithms.mean(axis=1, keepdims=True), dtype=np.float64)


def reached(inside: Floats, images: int, size: int) -> Floats:
    """Probability that a random `size` of `images` holds one at least of the `inside` that lie in a ball.

    1 - C(images - inside, size) / C(images, size): all draws of so many images at once.
    """
    left = images - inside
    possible = left >= size
    kept = np.where(possible, left, size)
    none = gammaln(kept + 1) - gammaln(kept - size + 1) - gammaln(images + 1) + gammaln(images - size + 1)
    return np.asarray(1.0 - np.where(possible, np.exp(none), 0.0), dtype=np.float64)


def assess(
    attribute: Attribute,
    synthetic: Floats,
    test: Floats,
    patients: NDArray[Any],
    halves: Mask,
    level: float,
    comparisons: int,
    rng: np.random.Generator,
) -> tuple[Claim, Rows]:
    """Coverage of each group of one attribute against that of all, by the rule in `docs/evidence.md`.

    Args:
        attribute: Two groups at least with test patients enough.
        synthetic: The set in `space` (m, d).
        test: The test images in it (n, d).
        patients: Patient of each (n,).
        halves: First half of the test patients in each draw (draws, n).
        level: Of all intervals together.
        comparisons: How many there are.
        rng: Draws the image of each patient.
    """
    stated = attribute.test >= 0
    test, patients, codes, halves = test[stated], patients[stated], attribute.test[stated], halves[:, stated]
    judged = enough(codes, patients, attribute.judged)
    floor, planted = _controls(test, patients, codes, judged, halves, rng)
    limits = np.minimum(np.quantile(floor, 0.05, axis=0), MARGIN)
    value, spans = _figures(synthetic, test, patients, codes, judged, level, comparisons, rng)
    figures = GroupFigures(
        groups=tuple(attribute.groups[group] for group in judged),
        value=value,
        spans=spans,
        floor=floor,
        found={"the group left out": (np.diagonal(planted, axis1=1, axis2=2) < limits).mean(axis=0)},
        margin=MARGIN,
        floor_is="half of the test patients, covered by the other half",
        n={"synthetic images": len(synthetic), "real images": len(test), "real patients": len(np.unique(patients))},
        level=level,
    )
    return conclude(NAME, figures, "coverage", lambda measured, group, _: _sentences(attribute, measured, group))


def _one_each(members: list[Places], rng: np.random.Generator) -> Places:
    return np.array([rng.choice(places) for places in members])


def _sums(covered: Floats, codes: Places, judged: Places) -> tuple[Floats, Floats]:
    """For each image: what it adds to the judged groups and, last, to all; how many it is; both (P, J + 1, ...)."""
    belongs = np.concatenate([codes[:, None] == judged[None, :], np.ones((len(codes), 1), dtype=np.bool_)], axis=1)
    return np.einsum("p...,pj->pj...", covered, belongs), belongs.astype(np.float64)


def _ratio(total: Floats, count: Floats) -> Floats:
    """Coverage of each group over that of all, from sums whose groups are on the first axis, all last."""
    means = total / np.maximum(count, 1e-9)
    return np.asarray(means[:-1] / np.maximum(means[-1:], 1e-9), dtype=np.float64)


def _figures(
    synthetic: Floats,
    test: Floats,
    patients: NDArray[Any],
    codes: Places,
    judged: Places,
    level: float,
    comparisons: int,
    rng: np.random.Generator,
) -> tuple[Floats, tuple[Interval, ...]]:
    """Ratio of each judged group, and its interval: patients and blocks of the set left out in turn."""
    members = [np.flatnonzero(mask) for mask in group_masks(patients)]
    block = group_masks(blocks(len(synthetic), BLOCKS)).astype(np.float64)
    left = len(synthetic) - block.sum(axis=1)
    size = min(len(members), int(left.min()))
    total, count = np.zeros((len(members), len(judged) + 1)), np.zeros((len(members), len(judged) + 1))
    of_blocks = np.zeros((len(judged) + 1, len(block)))
    for _ in range(REDRAWS):
        chosen = _one_each(members, rng)
        near = radii(distances(test[chosen]), K)
        inside = (distances(test[chosen], synthetic) <= near[:, None]).astype(np.float64)
        held = inside.sum(axis=1)
        added, number = _sums(reached(held, len(synthetic), size), codes[chosen], judged)
        total, count = total + added, count + number
        without = reached(held[:, None] - inside @ block.T, left[None, :], size)
        of_blocks += _sums(without, codes[chosen], judged)[0].sum(axis=0)
    value = _ratio(total.sum(axis=0), count.sum(axis=0))
    by_patient = _ratio((total.sum(axis=0) - total).T, (count.sum(axis=0) - count).T)
    by_block = _ratio(of_blocks, count.sum(axis=0)[:, None])
    each = 1.0 - (1.0 - level) / comparisons
    parts = zip(value, by_patient, by_block, strict=True)
    return value, tuple(jackknife_interval(float(one), *samples, level=each) for one, *samples in parts)


def _controls(
    test: Floats, patients: NDArray[Any], codes: Places, judged: Places, halves: Mask, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Ratios of real sets: half against half (draws, J), and with each group left out (draws, J left out, J)."""
    floor, planted = [], []
    for draw, half in enumerate(halves):
        members = [np.flatnonzero(mask & half) for mask in group_masks(patients)]
        chosen = _one_each([places for places in members if len(places)], rng)
        near = radii(distances(test[chosen]), K)
        inside = distances(test[chosen], test[~half]) <= near[:, None]
        size = min(len(chosen), inside.shape[1])

        def of(kept: Mask, inside: Mask = inside, chosen: Places = chosen, size: int = size) -> Floats:
            count = int(kept.sum())
            covered = reached(inside[:, kept].sum(axis=1).astype(np.float64), count, min(size, count))
            total, number = _sums(covered, codes[chosen], judged)
            return _ratio(total.sum(axis=0), number.sum(axis=0))

        floor.append(of(np.ones(inside.shape[1], dtype=np.bool_)))
        if draw < CONTROL_DRAWS:
            planted.append([of(codes[~half] != group) for group in judged])
    return np.array(floor), np.array(planted)


def _sentences(attribute: Attribute, measured: Measurement, group: str) -> Mapping[Verdict, str]:
    interval = measured.interval
    start = (
        f"The group covered least is {group}: its test patients have a synthetic image close by "
        f"{sensible(measured.value)} times as often as all test patients ({measured.level:.0%} interval, joint over "
        f"all groups, {sensible(interval.low)} to {sensible(interval.high)}); {MARGIN} is the margin."
    )
    return {
        Verdict.SHOWN: f"{start} So no group by {attribute.name} is covered less than the others.",
        Verdict.REFUTED: f"{start} So the set misses some patients of this group.",
        Verdict.NOT_SHOWN: f"{start} The data are inconclusive; more test patients would help.",
    }
