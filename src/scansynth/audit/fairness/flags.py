"""Are training images of one group copied more often than those of others? The claim `fairness.flag_rate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.compared import Compared
from scansynth.audit.fairness.figures import GroupFigures, Rows, conclude
from scansynth.audit.fairness.groups import Attribute
from scansynth.claims.claim import Claim, Measurement, percent
from scansynth.data.permission import permission
from scansynth.metrics import planted
from scansynth.metrics.attributes import GroupPredictor
from scansynth.metrics.search import Search, open_search
from scansynth.statistics import Interval, Mask, Verdict, difference_of_shares

NAME = "fairness.flag_rate"
MARGIN = 0.05
QUANTILE = 0.99
RADIUS, STEP = 3, 4
"""The search is a quick one: here flags are compared between groups; `copies.flag_rate` counts them."""

COPIED = 1.0 / 3.0
"""Share of the planted group that is copies."""

CONTROL_DRAWS = 50
PLANTABLE = 10
"""Images that a group needs to have copies planted."""

Floats = NDArray[np.float64]
Images = NDArray[np.float32]


@dataclass(frozen=True)
class Flags:
    """The search among the training images, and the likeness above which an image is flagged."""

    search: Search
    threshold: float

    def of(self, images: Images) -> Mask:
        """Which images (n, side, side) are unusually close to a training image, (n,)."""
        return np.asarray(self.search.nearest(images).score > self.threshold, dtype=np.bool_)


def open_flags(compared: Compared, train: Images) -> Flags:
    """The search among `train`; its threshold comes from patients kept for thresholds."""
    search = open_search(train, permission("", compared.view).searched, radius=RADIUS, step=STEP)
    return Flags(search, search.threshold(compared.calibrate.images, QUANTILE))


def copies_of(images: Images, rng: np.random.Generator) -> Images:
    """Copies as a generator might disguise them: shifted by two pixels, with slight noise (1% of the grey range)."""
    return planted.noise(planted.shift(images, 1.0, 2.0), 0.01, rng)


@dataclass(frozen=True)
class Flagged:
    """Images with their flag and predicted group.

    Attributes:
        flags: (n,).
        taken: 0..G-1 (n,).
    """

    flags: Mask
    taken: NDArray[np.int64]


def taken_for(said: Floats) -> NDArray[np.int64]:
    """The likeliest group of each image (n,), from probabilities (n, G)."""
    return np.asarray(said.argmax(axis=1), dtype=np.int64)


def differences(found: Flagged, judged: int, level: float) -> tuple[Floats, tuple[Interval, ...]]:
    """Flag rate of each group less that of all other images, (judged,), and its interval."""
    value, spans = np.zeros(judged), []
    for group in range(judged):
        own = found.taken == group
        if not own.any() or own.all():
            spans.append(Interval(-1.0, 1.0))
            continue
        counts = [(int(part.sum()), len(part)) for part in (found.flags[own], found.flags[~own])]
        value[group], span = difference_of_shares(counts[0], counts[1], level)
        spans.append(span)
    return value, tuple(spans)


def assess(
    attribute: Attribute,
    synthetic: Flagged,
    test: Flagged,
    copied: Flagged,
    copied_codes: NDArray[np.int64],
    halves: Mask,
    level: float,
    comparisons: int,
    n: Mapping[str, int],
    rng: np.random.Generator,
) -> tuple[Claim, Rows]:
    """Difference of the flag rates of the groups of one attribute, by the rule in `docs/evidence.md`.

    Args:
        attribute: Two judged groups at least.
        synthetic: The set.
        test: The test images.
        copied: Planted copies of training images.
        copied_codes: Group of each of them, -1 where it is not stated.
        halves: First half of the test patients in each draw (draws, images).
        level: Of all intervals together.
        comparisons: How many there are.
        n: Numbers of images and patients.
        rng: Draws the planted sets.
    """
    each = 1.0 - (1.0 - level) / comparisons
    value, spans = differences(synthetic, attribute.judged, each)
    floor = [differences(Flagged(test.flags[half], test.taken[half]), attribute.judged, each)[0] for half in halves]
    found = [
        _found(group, attribute, test, copied, copied_codes, len(synthetic.flags), each, rng)
        for group in range(attribute.judged)
    ]
    figures = GroupFigures(
        groups=attribute.groups[: attribute.judged],
        value=value,
        spans=spans,
        floor=np.array(floor),
        found={"a third of the group copied": np.array(found)},
        margin=MARGIN,
        floor_is="test images of half of the patients, none of them copied",
        n=n,
        level=level,
    )
    return conclude(NAME, figures, "flag_rate", lambda m, group, _: _sentences(attribute, m, group))


def _found(
    group: int,
    attribute: Attribute,
    test: Flagged,
    copied: Flagged,
    copied_codes: NDArray[np.int64],
    size: int,
    level: float,
    rng: np.random.Generator,
) -> float:
    """Share of the draws in which copies of training images of one group refute a set of test images."""
    own, others = np.flatnonzero(attribute.test == group), np.flatnonzero(attribute.test != group)
    copies = np.flatnonzero(copied_codes == group)
    if min(len(own), len(others), len(copies)) < PLANTABLE:
        return 0.0
    share = len(own) / len(attribute.test)
    hits = 0
    for _ in range(CONTROL_DRAWS):
        of_group = max(round(share * size), 1)
        planted_copies = rng.choice(copies, round(COPIED * of_group))
        real = np.concatenate([rng.choice(own, of_group - len(planted_copies)), rng.choice(others, size - of_group)])
        made = Flagged(
            np.concatenate([test.flags[real], copied.flags[planted_copies]]),
            np.concatenate([test.taken[real], copied.taken[planted_copies]]),
        )
        hits += differences(made, attribute.judged, level)[1][group].low > MARGIN
    return hits / CONTROL_DRAWS


def flagged(search_flags: Mask, predictor: GroupPredictor, features: Floats) -> Flagged:
    """Flags, with predicted groups."""
    return Flagged(search_flags, taken_for(predictor(features)))


def _sentences(attribute: Attribute, measured: Measurement, group: str) -> Mapping[Verdict, str]:
    interval: Any = measured.interval
    start = (
        f"Images predicted to show the group {group} are more often too close to a training image than the others, by "
        f"{_points(measured.value)} ({measured.level:.0%} interval, joint over all groups, {_points(interval.low)} to "
        f"{_points(interval.high)}); {percent(MARGIN)} is the margin."
    )
    return {
        Verdict.SHOWN: f"{start} So no group by {attribute.name} is copied more than the others.",
        Verdict.REFUTED: f"{start} So training patients of this group are copied more than others.",
        Verdict.NOT_SHOWN: f"{start} The data are inconclusive; more synthetic images would help.",
    }


def _points(value: float) -> str:
    """A difference of shares in per cent, with its sign."""
    return percent(value) if value >= 0 else f"-{percent(-value)}"
