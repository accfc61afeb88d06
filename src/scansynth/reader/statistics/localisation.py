"""Where readers saw findings: the marks of a study scored against its lesions, for real and synthetic images apart.

Each kind of image has the figures of `where`, averaged over readers, and curves that are means over readers at each
level of confidence. The difference of real and synthetic images is a comparison of two arms (`arms`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.errors import ReaderError
from scansynth.metrics.marks import Candidates, Lesions, Marks, mark
from scansynth.reader import marks as stored
from scansynth.reader.statistics import where
from scansynth.reader.statistics.arms import Compared, compare, judge
from scansynth.reader.statistics.counting import LEAST_IMAGES
from scansynth.reader.statistics.mrmc import Figures, mean_of
from scansynth.reader.statistics.outlined import Outlines
from scansynth.reader.statistics.readings import Reading, counted
from scansynth.reader.statistics.roc import Floats, Mask
from scansynth.reader.statistics.verdict import equivalence_level
from scansynth.statistics import Interval

REAL, OWN, SECOND = 0, 1, 2
"""Arms of images: real, of the study's set, of the set that it is compared with."""

FIGURES = ("free_response", "localised", "found")
"""Areas under the alternative free-response and the LROC curve, and the share of the lesions that were marked."""


@dataclass(frozen=True)
class Marked:
    """The marks of the readers who count, on images of which it is known where they have lesions.

    Attributes:
        readers: Their names, (R,).
        marks: Of each reader.
        radii: Radius of each of these marks.
        lesions: Of all images.
        patients: Of each image, (images,).
        arms: Of each image, (images,).
        read: Which images each reader read, (R, images).
    """

    readers: tuple[str, ...]
    marks: tuple[Candidates, ...]
    radii: tuple[Floats, ...]
    lesions: Lesions
    patients: NDArray[Any]
    arms: NDArray[np.int64]
    read: Mask

    @property
    def bearing(self) -> Mask:
        """Which images have a lesion, (images,)."""
        return np.isin(np.arange(len(self.arms)), self.lesions.image)

    def of(self, arm: int) -> Mask:
        """Which images of an arm each reader read, (R, images)."""
        here: Mask = self.read & (self.arms == arm)
        return here


def gather(readings: Sequence[Reading], kept: Collection[str], outlines: Outlines, rows: int) -> Marked:
    """Sets marks beside lesions.

    Args:
        readings: Of all readers; the first answer to each image counts.
        kept: The readers who count.
        outlines: The lesions of the images of which it is known where they have any; others do not count.
        rows: Of one channel; where several stand below each other, a mark in any of them is a mark at that place.
    """
    own = [one for one in counted(readings) if one.reader in kept and one.image in outlines]
    readers, images = sorted({one.reader for one in own}), sorted({one.image for one in own})
    places = {image: place for place, image in enumerate(images)}
    about = {one.image: one for one in own}
    read = np.zeros((len(readers), len(images)), dtype=np.bool_)
    tables: list[list[tuple[float, ...]]] = [[] for _ in readers]
    for one in own:
        number = readers.index(one.reader)
        read[number, places[one.image]] = True
        for found in stored.read(one.marks):
            row = (found.row + 0.5) % rows - 0.5
            tables[number].append((places[one.image], row, found.column, found.confidence or 1, found.radius))
    columns = [np.array(rows, dtype=np.float64).reshape(-1, 5).T for rows in tables]
    where_all = [(places[image], *lesion) for image in images for lesion in outlines[image]]
    lesions = np.array(where_all, dtype=np.float64).reshape(-1, 4).T
    return Marked(
        readers=tuple(readers),
        marks=tuple(Candidates(one[0].astype(np.int64), one[1], one[2], one[3]) for one in columns),
        radii=tuple(one[4] for one in columns),
        lesions=Lesions(lesions[0].astype(np.int64), lesions[1], lesions[2], lesions[3]),
        patients=np.array([about[image].patient or f"synthetic {image[1]}" for image in images]),
        arms=np.array([about[image].arm if image[0] else REAL for image in images], dtype=np.int64),
        read=read,
    )


def localisation(
    readings: Sequence[Reading],
    kept: Collection[str],
    outlines: Outlines,
    asked: Mapping[str, Any],
    rows: int,
    names: tuple[str, str],
    margin: float,
    level: float,
) -> dict[str, Any]:
    """What the marks show, as JSON holds it.

    Args:
        readings: Of all readers.
        kept: The readers who count.
        outlines: See `gather`.
        asked: Of the protocol: `finding` and `levels`.
        rows: See `gather`.
        names: Of the study's own set, and of the set that it is compared with.
        margin: Largest difference of the area that does not matter.
        level: Of the intervals.
    """
    marked = gather(readings, kept, outlines, rows)
    everyone = {one.image for one in readings if one.reader in kept}
    arms = {one.image: one.arm if one.image[0] else REAL for one in readings}
    everywhere = _everywhere(marked)
    told = {REAL: "real", OWN: "synthetic", SECOND: names[1]}
    kinds = []
    for arm in sorted({arms[image] for image in everyone}):
        unknown = sum(arms[image] == arm and image not in outlines for image in everyone)
        kinds.append({"kind": told[arm], "arm": arm, "unknown": unknown, **_kind(marked, arm, everywhere, level)})
    return {
        "finding": str(asked["finding"]),
        "levels": [str(one) for one in asked["levels"]],
        "margin": margin,
        "readers": list(marked.readers),
        "everywhere": everywhere,
        "kinds": kinds,
        "difference": _difference(marked, everywhere, margin, level),
    }


def _everywhere(marked: Marked) -> bool:
    """Whether false marks of all images must count: images without lesions are too few, of any kind that was read."""
    without = [(marked.of(arm) & ~marked.bearing).sum(axis=1) for arm in (REAL, OWN) if (marked.arms == arm).any()]
    return bool(min((int(row.min(initial=LEAST_IMAGES)) for row in without), default=0) < LEAST_IMAGES)


def figures(marked: Marked, arm: int, everywhere: bool) -> dict[str, Figures | None]:
    """Each figure of each reader on the images of one arm; none where there are too few images for it.

    Args:
        marked: The marks.
        arm: Of the images.
        everywhere: See `where.free_response`.
    """
    read = marked.of(arm)
    enough = int((read & marked.bearing).sum(axis=1).min(initial=LEAST_IMAGES)) >= LEAST_IMAGES
    if len(marked.readers) < 2 or not enough:
        return dict.fromkeys(FIGURES)
    common = (marked.marks, marked.lesions, marked.patients, read)
    found: dict[str, Figures | None] = dict.fromkeys(FIGURES)
    try:
        found["found"] = where.lesions_found(*common)
        found["free_response"] = where.free_response(*common, everywhere=everywhere)
        found["localised"] = None if everywhere else where.localised(*common)
    except ReaderError:  # all lesions, or all images without, are of one patient
        pass
    return found


def _kind(marked: Marked, arm: int, everywhere: bool, level: float) -> dict[str, Any]:
    """Numbers, figures and curves of one kind of image."""
    own = marked.arms == arm
    bearing = own & marked.bearing
    scored = [_scored(marked, number, arm) for number in range(len(marked.readers))]
    made = figures(marked, arm, everywhere)
    return {
        "images": int(own.sum()),
        "with_lesions": int(bearing.sum()),
        "lesions": int(own[marked.lesions.image].sum()),
        "figures": {name: None if one is None else _mean(one, level) for name, one in made.items()},
        "marks_per_image": _shares(marked, arm, [len(one.score) for one in _on(marked, arm)]),
        "false_per_image": _shares(marked, arm, [len(one.false) for one in scored]),
        "froc": froc_points(marked, arm),
        "lroc": [] if everywhere else lroc_points(marked, arm),
        "radius_ratio": _radius_ratio(marked, arm),
    }


def _mean(one: Figures, level: float) -> dict[str, Any]:
    mean = mean_of(one.values, one.covariance, one.left_out.shape[1], one.fewest).general
    return {"value": mean.auc, "interval": _pair(mean.interval(level)), "readers": one.values.tolist()}


def _on(marked: Marked, arm: int) -> list[Candidates]:
    """The marks of each reader on images of one arm."""
    found = []
    for own in marked.marks:
        here = marked.arms[own.image] == arm
        found.append(Candidates(own.image[here], own.row[here], own.column[here], own.score[here]))
    return found


def _scored(marked: Marked, number: int, arm: int) -> Marks:
    """One reader's marks on the images of one arm that this reader read, against the lesions there."""
    seen = marked.of(arm)[number]
    here = seen[marked.lesions.image]
    every = marked.lesions
    lesions = Lesions(every.image[here], every.row[here], every.column[here], every.radius[here])
    return mark(_on(marked, arm)[number], lesions, len(marked.arms))


def _shares(marked: Marked, arm: int, counts: Sequence[int]) -> float | None:
    """Mean over readers of a number for each image."""
    seen = marked.of(arm).sum(axis=1)
    return float(np.mean(np.array(counts)[seen > 0] / seen[seen > 0])) if (seen > 0).any() else None


def _thresholds(marked: Marked) -> list[float]:
    """Levels of confidence that were given, the highest first."""
    return sorted({float(score) for own in marked.marks for score in own.score}, reverse=True)


def froc_points(marked: Marked, arm: int) -> list[list[float]]:
    """False marks for each image and share of the lesions found, at each confidence or more; means over readers."""
    points = []
    for level in _thresholds(marked):
        each = []
        for number, seen in enumerate(marked.of(arm)):
            scored = _scored(marked, number, arm)
            if seen.any() and len(scored.found):
                each.append([(scored.false >= level).sum() / seen.sum(), (scored.found >= level).mean()])
        if each:
            points.append([level, *np.mean(each, axis=0).tolist()])
    return points


def lroc_points(marked: Marked, arm: int) -> list[list[float]]:
    """Points of the LROC curve at each confidence or more; means over readers.

    Across, the share of the images without a lesion that bear a mark; up, that of the images with one whose most
    confident mark lies on a lesion.
    """
    points = []
    for level in _thresholds(marked):
        each = []
        for number, seen in enumerate(marked.of(arm)):
            best, wrong = where.most_confident(_scored(marked, number, arm))
            bearing, free = seen & marked.bearing, seen & ~marked.bearing
            if bearing.any() and free.any():
                right = (best >= wrong) & (best >= level)
                each.append([(wrong[free] >= level).mean(), right[bearing].mean()])
        if each:
            points.append([level, *np.mean(each, axis=0).tolist()])
    return points


def _radius_ratio(marked: Marked, arm: int) -> list[float] | None:
    """Median, lower and upper quartile of the radius of marks on a lesion over that of the lesion."""
    ratios: list[float] = []
    for own, radii in zip(marked.marks, marked.radii, strict=True):
        for number in np.flatnonzero(marked.arms[marked.lesions.image] == arm).tolist():
            away = np.hypot(own.row - marked.lesions.row[number], own.column - marked.lesions.column[number])
            hit = (own.image == marked.lesions.image[number]) & (away <= marked.lesions.radius[number])
            ratios += (radii[hit] / marked.lesions.radius[number]).tolist()
    return np.quantile(ratios, [0.5, 0.25, 0.75]).tolist() if ratios else None


def _difference(marked: Marked, everywhere: bool, margin: float, level: float) -> dict[str, Any]:
    """Real less synthetic images, by the area under the alternative free-response curve; and the verdict on it."""
    row: dict[str, Any] = {"outcome": Compared.NOT_ASSESSABLE.value}
    if not (marked.arms == OWN).any():
        return row | {"why": "It is not known where the synthetic images have lesions: the set has no masks."}
    first, second = (figures(marked, arm, everywhere)["free_response"] for arm in (REAL, OWN))
    if first is None or second is None:
        return row | {"why": f"{LEAST_IMAGES} images of either kind with a lesion are needed of two readers."}
    found = compare(first, second)
    verdict = judge(found, margin, level, ("real images", "synthetic images"), "area under the free-response curve")
    return {
        "outcome": verdict.outcome.value,
        "why": verdict.why,
        "value": found.value,
        "interval": _pair(found.interval(level)),
        "equivalence_interval": _pair(found.interval(equivalence_level(level))),
        "equivalence_p": found.equivalence(margin),
    }


def _pair(interval: Interval) -> list[float]:
    return [interval.low, interval.high]
