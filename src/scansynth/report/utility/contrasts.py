"""The comparisons of a trial: each arm in words, the forest plot and the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scansynth.report.artefacts import Values, optional, pair_of
from scansynth.report.figures.forest import Axis, axis_of, scale, strip
from scansynth.report.figures.words import clean, number, reason
from scansynth.statistics import Verdict
from scansynth.utility.statistics.outcomes import BASIC, PLACEBO, POSITIVE_CONTROL, PUBLISHED, REAL
from scansynth.utility.statistics.rulings import CONTROLS, PRIMARY

ARM_WORDS: Mapping[str, tuple[str, str]] = {
    "real": ("real only", "the real images as they are"),
    "basic": ("real, augmented", "the real images with flips and slight rotations: the baseline of all others"),
    "synthetic": ("real + synthetic", "real and synthetic images as they are, as in the published work"),
    "basic-synthetic": ("real + synthetic, augmented", "real and synthetic images with flips and slight rotations"),
    "duplicates": ("real + duplicates, augmented", "as many duplicates of real images as there were synthetic ones"),
    "nearest": ("real + nearest real, augmented", "for each synthetic image the training image nearest to it"),
    "shuffled": ("real + shuffled synthetic, augmented", "synthetic images whose labels were shuffled"),
    "synthetic-only": ("synthetic only, augmented", "synthetic images in place of the real ones with a lesion"),
    "pretrained": (
        "synthetic first, then real, augmented",
        "first half of training on synthetic images, second half on real ones",
    ),
    "filtered": ("real + filtered synthetic, augmented", "the more realistic half of twice as many synthetic images"),
    "copy-paste": (
        "real + pasted lesions, augmented",
        "real lesions of the training patients, blended into their clear scans",
    ),
    "reserve": ("real + more real, augmented", "real images of patients that were kept aside"),
}
"""Each arm: short name, and description. “Augmented” is basic augmentation."""

_MARKS: Mapping[tuple[str, str], tuple[str, str]] = {
    PRIMARY: ("the main comparison", "decides"),
    (PUBLISHED, REAL): ("as published", ""),
    (PLACEBO, BASIC): ("placebo", "must bring no gain"),
    (POSITIVE_CONTROL, BASIC): ("positive control", "must bring a gain"),
}

_OUTCOMES: Mapping[Verdict, str] = {
    Verdict.SHOWN: "a gain is shown",
    Verdict.REFUTED: "does worse",
    Verdict.NOT_SHOWN: "no gain is shown",
    Verdict.NOT_ASSESSABLE: "not assessable",
}
"""Outcome of a control, which is not a claim on synthetic images."""


def arm_name(arm: str) -> str:
    """An arm in short words."""
    return ARM_WORDS[arm][0] if arm in ARM_WORDS else clean(arm)


def points(value: float) -> str:
    """A change in percentage points, with its sign."""
    text = f"{100.0 * value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def points_with(estimate: Values) -> tuple[str, str]:
    """A change in points, and its interval in words."""
    low, high = pair_of(estimate["interval"])
    return points(float(estimate["value"])), f"{points(low)} to {points(high)}"


def forest(block: Values, margin: float) -> dict[str, Any]:
    """All contrasts of a block below each other: gain of sensitivity, and beside it the change of false alarms.

    Args:
        block: Of analysis.json.
        margin: Most that false alarms may rise.
    """
    rows = list(block["contrasts"])
    if not rows:
        return {"rows": []}
    gains = _axis([row["gain"] for row in rows], (0.0, float("inf")))
    alarms = _axis([row["false_alarms"] for row in rows], (float("-inf"), 100.0 * margin))
    return {
        "rows": [_row(row, gains, alarms) for row in rows],
        "gain_scale": scale(gains, "Axis: change of sensitivity in percentage points"),
        "alarms_scale": scale(alarms, "Axis: change of false alarms in percentage points"),
    }


def _axis(estimates: Sequence[Values], good: tuple[float, float]) -> Axis:
    figures = [100.0 * end for one in estimates for end in (*pair_of(one["interval"]), float(one["value"]))]
    return axis_of(figures, 0.0, good, 4.0)


def _row(row: Values, gains: Axis, alarms: Axis) -> dict[str, Any]:
    arm, other = str(row["arm"]), str(row["other"])
    mark, duty = _MARKS.get((arm, other), ("control" if arm in CONTROLS else "", ""))
    verdict = Verdict(row["verdict"])
    return {
        "name": arm_name(arm),
        "other": arm_name(other),
        "mark": mark,
        "duty": duty,
        "primary": (arm, other) == PRIMARY,
        "control": arm in CONTROLS,
        "gain": _cell("Change of sensitivity in points", row["gain"], gains),
        "alarms": _cell("Change of false alarms in points", row["false_alarms"], alarms),
        "verdict": verdict,
        "kept": _kept(arm, verdict),
        "outcome": _OUTCOMES[verdict],
    }


def _kept(arm: str, verdict: Verdict) -> str:
    """Whether a control passed; empty for what is not a control, or has no requirement."""
    if arm not in {PLACEBO, POSITIVE_CONTROL} or verdict is Verdict.NOT_ASSESSABLE:
        return ""
    return "control passed" if (verdict is Verdict.SHOWN) is (arm == POSITIVE_CONTROL) else "failed"


def _cell(what: str, estimate: Values, axis: Axis) -> dict[str, Any]:
    low, high = pair_of(estimate["interval"])
    value, between = points_with(estimate)
    ends = (100.0 * low, 100.0 * high)
    return {
        "value": value,
        "between": between,
        "strip": strip(100.0 * float(estimate["value"]), ends, axis, f"{what}: {value}, interval {between}."),
    }


def contrast_tables(blocks: Sequence[Values]) -> list[dict[str, Any]]:
    """Every contrast of every block in figures, its reason and the figure of each pair."""
    return [
        {
            "title": block_name(block),
            "why": reason(block["why"]),
            "rows": [_figures(row) for row in block["contrasts"]],
            "lesions": [
                (_versus(str(name)), *points_with(estimate)) for name, estimate in block["lesion_contrasts"].items()
            ],
        }
        for block in blocks
    ]


def _versus(name: str) -> str:
    """Two arms that analysis.json names as one key."""
    arm, _, other = name.partition(" - ")
    return f"{arm_name(arm)} against {arm_name(other)}"


def block_name(block: Values) -> str:
    """A block in words: share of the patients and dose."""
    share, ratio = 100.0 * float(block["fraction"]), float(block["ratio"])
    return f"{number(share)}% of the training patients, {number(ratio)} synthetic images per real image"


def _figures(row: Values) -> dict[str, Any]:
    holm = optional(row["p_holm"])
    auc, auc_between = points_with(row["auc"])
    return {
        "name": f"{arm_name(str(row['arm']))}, against {arm_name(str(row['other']))}",
        "key": f"{clean(row['arm'])} − {clean(row['other'])}",
        "gain": points_with(row["gain"]),
        "alarms": points_with(row["false_alarms"]),
        "auc": (auc, auc_between),
        "p": chance(float(row["gain"]["p"])),
        "holm": "control" if holm is None else chance(holm),
        "pairs": ", ".join(points(float(one)) for one in row["gain"]["pairs"]),
        "differ": f"{100.0 * float(row['discordance']):.0f}% and {100.0 * float(row['negative_discordance']):.0f}%",
        "verdict": Verdict(row["verdict"]),
        "why": reason(row["why"]),
    }


def chance(p: float) -> str:
    """A p value."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
