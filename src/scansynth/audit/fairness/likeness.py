"""Are the images of each group as close to its new patients as training images are? Claim `fairness.kid`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.fairness.figures import GroupFigures, Rows, conclude, enough
from scansynth.audit.fairness.groups import Attribute
from scansynth.claims.claim import Claim, Measurement, sensible
from scansynth.metrics.attributes import GroupPredictor
from scansynth.metrics.kid import different, polynomial_kernel
from scansynth.statistics import Interval, Mask, Verdict, blocks, group_masks, jackknife_interval

NAME = "fairness.kid"
CONTROL_DRAWS = 50
BLOCKS = 50

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


class Within:
    """Weighted mean kernel of pairs of images of different patients (or blocks) of one side, for each group.

    Attributes:
        value: (G,).
        without: The same with one patient (or block) left out, (P, G).
    """

    def __init__(self, features: Floats, weights: Floats, owners: NDArray[Any]) -> None:
        pairs = different(owners)
        kernel = polynomial_kernel(features, features) * pairs
        masks = group_masks(owners).astype(np.float64)
        kernel_sums, pair_sums = weights * (kernel @ weights), weights * (pairs @ weights)
        total, count = kernel_sums.sum(axis=0), pair_sums.sum(axis=0)
        self.value: Floats = total / count
        self.without: Floats = (total - 2.0 * masks @ kernel_sums) / (count - 2.0 * masks @ pair_sums)


class Across:
    """Weighted mean kernel between the test images of each group and the images of another side.

    Attributes:
        value: (G,).
        without_patient: The same with one test patient left out, (P, G).
        without_owner: The same with one patient (or block) of the other side left out, (Q, G).
    """

    def __init__(
        self,
        test: Floats,
        members: Floats,
        patients: NDArray[Any],
        other: Floats,
        weights: Floats,
        owners: NDArray[Any],
    ) -> None:
        kernel = polynomial_kernel(test, other)
        of_patients, of_owners = (group_masks(names).astype(np.float64) for names in (patients, owners))
        by_test, by_other = members * (kernel @ weights), weights * (kernel.T @ members)
        total, images, weight = by_test.sum(axis=0), members.sum(axis=0), weights.sum(axis=0)
        self.value: Floats = total / (images * weight)
        left = np.maximum(images - of_patients @ members, 1e-9)
        self.without_patient: Floats = (total - of_patients @ by_test) / (left * weight)
        self.without_owner: Floats = (total - of_owners @ by_other) / (images * (weight - of_owners @ weights))


def assess(
    attribute: Attribute,
    predictor: GroupPredictor,
    train: Floats,
    synthetic: Floats,
    test: Floats,
    spoiled: Mapping[str, Floats],
    patients: NDArray[Any],
    halves: Mask,
    level: float,
    comparisons: int,
) -> tuple[Claim, Rows]:
    """Likeness of the images of each group to its test patients, by the rule in `docs/evidence.md`.

    Args:
        attribute: Two groups at least with test patients enough.
        predictor: Learned on `train`.
        train: Features of the training images for which it is stated (t, d).
        synthetic: Features of the set (m, d).
        test: Features of the test images (n, d).
        spoiled: Features of spoiled test images (n, d), by the fault.
        patients: Patient of each test image (n,).
        halves: First half of the test patients in each draw (draws, n).
        level: Of all intervals together.
        comparisons: How many there are.
    """
    stated = attribute.test >= 0
    test, patients, codes, halves = test[stated], patients[stated], attribute.test[stated], halves[:, stated]
    judged = enough(codes, patients, attribute.judged)
    meter = _Meter(attribute, predictor, train, test, patients, codes, judged)
    floor = meter.half_to_half(halves, test)
    margins = np.quantile(floor, 0.95, axis=0)
    found = {
        f"{fault} in the images of the group": meter.planted(features[stated], halves[:CONTROL_DRAWS], margins)
        for fault, features in spoiled.items()
    }
    value, spans = meter.of_set(synthetic, margins, 1.0 - (1.0 - level) / comparisons)
    figures = GroupFigures(
        groups=tuple(attribute.groups[group] for group in judged),
        value=value,
        spans=spans,
        floor=floor - margins,
        found=found,
        margin=0.0,
        floor_is="half of the group's test patients against real images of the other half",
        n={"synthetic images": len(synthetic), "real images": len(test), "real patients": len(np.unique(patients))},
        level=level,
    )
    return conclude(NAME, figures, "kid", lambda m, group, place: _sentences(attribute, m, group, margins[place]))


class _Meter:
    """KID of the images of each judged group, less that of the training images of the group.

    KID(test, set) - KID(test, train) = k(set, set) - k(train, train) - 2 [k(test, set) - k(test, train)], each a mean
    of the kernel: the mean over pairs of test images stands on both sides and falls out.
    """

    def __init__(
        self,
        attribute: Attribute,
        predictor: GroupPredictor,
        train: Floats,
        test: Floats,
        patients: NDArray[Any],
        codes: Places,
        judged: Places,
    ) -> None:
        self._predictor, self._judged, self._test, self._patients = predictor, judged, test, patients
        self._members = (codes[:, None] == judged[None, :]).astype(np.float64)
        weights = predictor.unseen[:, judged]
        self._reals = Within(train, weights, predictor.patients)
        self._to_reals = Across(test, self._members, patients, train, weights, predictor.patients)
        kernel = polynomial_kernel(test, train) @ weights
        self._train_mean = kernel / weights.sum(axis=0)  # of each test image with the group's training images
        self._said = predictor(test)[:, judged]

    def of_set(self, synthetic: Floats, margins: Floats, level: float) -> tuple[Floats, tuple[Interval, ...]]:
        """Figure less margin, and interval, of each group: patients of both roles and blocks of the set left out."""
        said, owners = self._predictor(synthetic)[:, self._judged], blocks(len(synthetic), BLOCKS)
        made = Within(synthetic, said, owners)
        to_made = Across(self._test, self._members, self._patients, synthetic, said, owners)
        value = made.value - self._reals.value - 2.0 * (to_made.value - self._to_reals.value) - margins
        by_test = -2.0 * (to_made.without_patient - self._to_reals.without_patient)
        by_train = -self._reals.without + 2.0 * self._to_reals.without_owner
        by_block = made.without - 2.0 * to_made.without_owner
        spans = []
        for place, one in enumerate(value):
            own = (group_masks(self._patients) @ self._members[:, place]) > 0
            samples = (by_test[own, place], by_train[:, place], by_block[:, place])
            spans.append(jackknife_interval(float(one), *samples, level=level))
        return value, tuple(spans)

    def half_to_half(self, halves: Mask, made: Floats) -> Floats:
        """Figure of each group (draws, J): test patients of the first half, images `made` (n, d) of the second."""
        said = self._predictor(made)[:, self._judged]
        pairs = different(self._patients)
        within, across = polynomial_kernel(made, made) * pairs, polynomial_kernel(self._test, made)
        found = np.zeros((len(halves), len(self._judged)))
        for place in range(len(self._judged)):
            tested = halves * self._members[:, place]
            weights = ~halves * said[:, place]
            own = _rowwise(weights, within, weights) / _rowwise(weights, pairs, weights)
            count = np.maximum(tested.sum(axis=1), 1e-9)
            to_made = _rowwise(tested, across, weights) / (count * weights.sum(axis=1))
            to_train = tested @ self._train_mean[:, place] / count
            found[:, place] = own - self._reals.value[place] - 2.0 * (to_made - to_train)
        return found

    def planted(self, spoiled: Floats, halves: Mask, margins: Floats) -> Floats:
        """Share of the draws in which a group whose images alone are degraded exceeds its margin, (J,)."""
        found = np.zeros(len(self._judged))
        for place in range(len(self._judged)):
            own = self._members[:, place, None] > 0
            figure = self.half_to_half(halves, np.where(own, spoiled, self._test))[:, place]
            found[place] = float((figure > margins[place]).mean())
        return found


def _rowwise(left: Floats, matrix: Floats, right: Floats) -> Floats:
    """left[i] @ matrix @ right[i] of each row i."""
    return np.asarray(np.einsum("ij,ij->i", left @ matrix, right), dtype=np.float64)


def _sentences(attribute: Attribute, measured: Measurement, group: str, margin: float) -> Mapping[Verdict, str]:
    interval = measured.interval
    start = (
        f"The group furthest from its own new patients is {group}: its difference is "
        f"{sensible(measured.value + margin)}, and {sensible(margin)} occurs by chance between real patients of the "
        f"group; the remainder is {sensible(measured.value)} ({measured.level:.0%} interval, joint over all groups, "
        f"{sensible(interval.low)} to {sensible(interval.high)}); the margin is 0."
    )
    return {
        Verdict.SHOWN: f"{start} So no group by {attribute.name} is further from real than chance allows.",
        Verdict.REFUTED: f"{start} So the images of this group can be distinguished from real patients of the group.",
        Verdict.NOT_SHOWN: f"{start} The data are inconclusive; more test patients would help.",
    }
