"""The first part: how many readers noticed anything, and how well they found the finding on images of either kind.

None of it decides anything. Rules: `docs/reader_statistics.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scansynth.data.sets import LABEL_SEPARATOR
from scansynth.reader.statistics.arms import Difference, compare, compare_areas
from scansynth.reader.statistics.counting import LEAST_SHARE
from scansynth.reader.statistics.mrmc import Figures
from scansynth.reader.statistics.readings import Reading, Table, table
from scansynth.reader.statistics.roc import Mask
from scansynth.reader.statistics.said import Said
from scansynth.reader.statistics.verdict import LEAST_READERS
from scansynth.statistics import Interval, clopper_pearson, difference_of_shares

FIRST_YES = 4
"""The least answer that says the finding is there; the scale is 1 (definitely not) to 6 (definitely)."""

LEAST_IMAGES = 5
"""Of either kind, with the finding for sensitivity, without it for specificity, both for the AUC."""


def noticing(
    readings: Sequence[Reading],
    said: Sequence[Said],
    finding: str,
    images: int,
    level: float,
    excluded: Collection[str] = (),
) -> dict[str, Any]:
    """What came of the first part, as analysis.json holds it.

    Args:
        readings: Of the first part; an answer is about the finding.
        said: What readers said at its end.
        finding: Label that the question asks for.
        images: That each reader was asked for.
        level: Of the intervals.
        excluded: Readers whose answers were set aside when they left.
    """
    heard = [one for one in said if one.reader not in excluded]
    controls, others = ([one for one in heard if one.control is wanted] for wanted in (True, False))
    kept = [one for one in readings if one.reader not in excluded]
    mixed = [one for one in kept if one.reader not in {one.reader for one in said if one.control}]
    return {
        "finding": finding,
        "images": images,
        "readers": _group(others, level),
        "controls": _group(controls, level) if controls else None,
        "difference": {name: _apart(others, controls, name, level) for name in ("noticed", "suspected")},
        "true_percent": _true_percent(mixed),
        "figures": _figures(mixed, finding, images, level),
        "words": [
            {"reader": one.reader, "control": one.control, "noticed": one.noticed, "words": one.words}
            for one in sorted(heard, key=lambda one: one.reader)
            if one.words
        ],
    }


def _group(said: Sequence[Said], level: float) -> dict[str, Any]:
    percents = sorted(one.percent for one in said if one.percent is not None)
    thought = {"median": float(np.median(percents)), "least": percents[0], "most": percents[-1]} if percents else None
    return {name: _share(said, name, level) for name in ("noticed", "suspected")} | {"percent": thought}


def _yes(said: Sequence[Said], name: str) -> tuple[int, int]:
    answers = [getattr(one, name) for one in said if getattr(one, name) is not None]
    return sum(answers), len(answers)


def _share(said: Sequence[Said], name: str, level: float) -> dict[str, Any] | None:
    """How many readers said yes, with the exact interval over readers; none where nobody was asked."""
    count, of = _yes(said, name)
    if not of:
        return None
    return {"count": count, "of": of, "value": count / of, "interval": _pair(clopper_pearson(count, of, level))}


def _apart(others: Sequence[Said], controls: Sequence[Said], name: str, level: float) -> dict[str, Any] | None:
    """The readers' share less that of the controls, with its interval and Fisher's exact p."""
    (yes, of), (control_yes, control_of) = _yes(others, name), _yes(controls, name)
    if not of or not control_of:
        return None
    value, interval = difference_of_shares((yes, of), (control_yes, control_of), level)
    p = float(stats.fisher_exact([[yes, of - yes], [control_yes, control_of - control_yes]]).pvalue)
    return {"value": value, "interval": _pair(interval), "p": min(p, 1.0)}


def _true_percent(readings: Sequence[Reading]) -> float | None:
    """How many of the images that readers saw before being told were synthetic."""
    kinds = {reading.image: reading.synthetic for reading in readings}
    return 100.0 * sum(kinds.values()) / len(kinds) if kinds else None


def _figures(readings: Sequence[Reading], finding: str, images: int, level: float) -> dict[str, Any]:
    """AUC, sensitivity and specificity for the finding on real images, less those on synthetic ones."""
    whole = table(readings)
    enough = (whole.answers > 0).sum(axis=1) >= LEAST_SHARE * images
    kept = {name for name, own in zip(whole.readers, enough.tolist(), strict=True) if own}
    whole = table(reading for reading in readings if reading.reader in kept)
    positive = np.array(
        [finding != "" and finding in label.split(LABEL_SEPARATOR) for label in whole.labels], dtype=np.bool_
    )
    called = np.where(whole.answers > 0, whole.answers >= FIRST_YES, np.nan).astype(np.float64)
    kinds = (~whole.synthetic, whole.synthetic)

    def areas() -> Difference:
        real, made = (np.where(kind[None, :], whole.scores, np.nan) for kind in kinds)
        return compare_areas(real, made, positive)

    def right(part: Mask, answers: NDArray[np.float64]) -> Difference:
        real, made = (shares(np.where((part & kind)[None, :], answers, np.nan)) for kind in kinds)
        return compare(real, made)

    return {
        "auc": _measured(whole, (positive, ~positive), level, areas),
        "sensitivity": _measured(whole, (positive,), level, lambda: right(positive, called)),
        "specificity": _measured(whole, (~positive,), level, lambda: right(~positive, 1.0 - called)),
    }


def _measured(whole: Table, needed: Sequence[Mask], level: float, figure: Callable[[], Difference]) -> dict[str, Any]:
    """One figure on images of both kinds, and its difference, real less synthetic; or why there is none."""
    readers, seen = len(whole.readers), whole.answers > 0
    row: dict[str, Any] = dict.fromkeys(("real", "synthetic", "difference", "interval", "p")) | {"readers": readers}
    if readers < LEAST_READERS:
        return row | {"why": f"{readers} of at least {LEAST_READERS} readers answered enough images"}
    kinds = (~whole.synthetic, whole.synthetic)
    fewest = min(int(seen[:, part & kind].sum(axis=1).min()) for part in needed for kind in kinds)
    if fewest < LEAST_IMAGES:
        return row | {"why": f"it needs {LEAST_IMAGES} images of each kind, and a reader answered {fewest} of one"}
    found = figure()
    row |= {"real": found.arms[0].general.auc, "synthetic": found.arms[1].general.auc, "difference": found.value}
    if found.error == 0.0:
        return row | {"why": "all readers did equally well on all images, so that no interval can be computed"}
    return row | {"interval": _pair(found.interval(level)), "p": found.p, "why": ""}


def shares(right: NDArray[np.float64]) -> Figures:
    """Each reader's share of right answers, with and without each image.

    Args:
        right: 1 or 0, not a number where a reader did not see an image, (R, C); each saw two at least.
    """
    seen = np.isfinite(right)
    total, count = np.where(seen, right, 0.0).sum(axis=1, keepdims=True), seen.sum(axis=1, keepdims=True)
    values = total / count
    left_out = np.where(seen, (total - np.where(seen, right, 0.0)) / (count - 1), values)
    return Figures(values[:, 0], left_out, int(count.min()))


def _pair(interval: Interval) -> list[float]:
    return [interval.low, interval.high]
