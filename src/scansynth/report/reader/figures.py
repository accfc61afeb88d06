"""Pictures of the reader study: the readers' AUC below each other, their answers, and the course of the reading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from scansynth.report.artefacts import Values, pair_of
from scansynth.report.figures.figures import COLOURS, Chart, axes_for
from scansynth.report.figures.forest import Axis, axis_of, scale, strip
from scansynth.report.figures.words import clean

CHANCE = 0.5
_SHORT = (
    "definitely\nreal",
    "probably\nreal",
    "perhaps\nreal",
    "perhaps\nsynth.",
    "probably\nsynth.",
    "definitely\nsynth.",
)


def reader_forest(analysis: Values, machine: Values) -> dict[str, Any]:
    """The AUC of each reader, of their mean, and apart from them of the machine; the good zone is the margin's.

    Args:
        analysis: As analysis.json holds it.
        machine: As machine.json holds it; empty: none.
    """
    margin = float(analysis["margin"])
    people = [row for row in analysis["readers"] if row.get("auc") is not None]
    primary = analysis["primary"]
    shown = [(float(row["auc"]), pair_of(row["auc_interval"])) for row in people]
    if primary:
        shown.append((float(primary["auc"]), pair_of(primary["interval"])))
    if machine:
        shown.append((float(machine["auc"]), pair_of(machine["interval"])))
    figures = [figure for value, ends in shown for figure in (value, *ends)]
    axis = axis_of(figures, CHANCE, (CHANCE - margin, CHANCE + margin), 0.3)
    axis = Axis(max(axis.low, 0.0), min(axis.high, 1.0), axis.null, axis.good)
    return {
        "people": [_person(row, axis) for row in people],
        "mean": _mean(primary, axis) if primary else None,
        "machine": _machine(machine, axis) if machine else None,
        "scale": scale(axis, "Axis: AUC, 0.5 is guessing"),
    }


def two(value: float) -> str:
    """An AUC, or another figure of two decimals."""
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "−")


def between(ends: tuple[float, float]) -> str:
    """The ends of an interval, two decimals."""
    return f"{two(ends[0])} to {two(ends[1])}"


def _note(finished: bool, counts: bool) -> str:
    """What must be said beside a reader's figure."""
    if finished:
        return "" if counts else "left out: not in the mean"
    return "did not finish" if counts else "did not finish: not in the mean"


def _person(row: Values, axis: Axis) -> dict[str, Any]:
    value, ends = float(row["auc"]), pair_of(row["auc_interval"])
    name = clean(row["reader"])
    return {
        "name": name,
        "note": _note(bool(row["finished"]), bool(row["counts"])),
        "value": two(value),
        "between": between(ends),
        "verdict": clean(row["verdict"]["outcome"]),
        "strip": strip(value, ends, axis, f"Reader {name}: AUC {two(value)}, interval {between(ends)}."),
    }


def _mean(primary: Values, axis: Axis) -> dict[str, Any]:
    value, ends = float(primary["auc"]), pair_of(primary["interval"])
    narrow = pair_of(primary["equivalence_interval"])
    said = f"Mean of the readers: AUC {two(value)}, interval {between(ends)}, for equivalence {between(narrow)}."
    return {
        "value": two(value),
        "between": between(ends),
        "narrow": between(narrow),
        "strip": strip(value, ends, axis, said, inner=narrow),
    }


def _machine(machine: Values, axis: Axis) -> dict[str, Any]:
    value, ends = float(machine["auc"]), pair_of(machine["interval"])
    said = f"A machine, not a person: AUC {two(value)}, interval {between(ends)}."
    return {"value": two(value), "between": between(ends), "strip": strip(value, ends, axis, said)}


def reader_charts(analysis: Values) -> list[Chart]:
    """The answers by what the images were, and the course of the reading.

    Raises:
        ValueError, TypeError, KeyError: A figure is missing or no number.
    """
    return [*_answers(analysis["readers"]), *_course(analysis["course"]["quarters"])]


def _answers(readers: Sequence[Values]) -> list[Chart]:
    counts = {
        kind: np.sum([row[f"answers_{kind}"] for row in readers], axis=0, dtype=np.float64)
        for kind in ("real", "synthetic")
    }
    if any(kind.shape != (6,) for kind in counts.values()):
        raise ValueError("six answers are counted")
    if not all(kind.sum() for kind in counts.values()):
        return []
    shares = {kind: 100.0 * found / found.sum() for kind, found in counts.items()}
    title = "Answers given"
    told = "; ".join(f"{kind}: {', '.join(f'{share:.0f}%' for share in found)}" for kind, found in shares.items())
    out: list[Markup] = []
    with axes_for("reader-answers", f"{title}, from definitely real to definitely synthetic. {told}.", out) as axes:
        for kind, aside in (("real", -0.2), ("synthetic", 0.2)):
            axes.bar(np.arange(6) + aside, shares[kind], width=0.36, color=COLOURS[kind], alpha=0.85)
        axes.axvline(2.5, color=COLOURS["muted"], linewidth=0.9, linestyle=(0, (4, 2)))
        axes.set_xticks(range(6), _SHORT, fontsize=6.5)
        axes.set_ylabel("of the answers, %")
        axes.yaxis.set_major_locator(MaxNLocator(4))
    key = (("real images", "real"), ("synthetic images", "synthetic"))
    note = "All readers together, first answers only. Left of the dashed line an image was called real."
    return [Chart(title, out[0], key, note)]


def _course(quarters: Sequence[Values]) -> list[Chart]:
    """Share correct and time by quarter of the reading."""
    if len(quarters) < 2:
        return []
    names = [("first", "second", "third", "last")[place] for place in range(len(quarters))]
    right = np.array([100.0 * float(part["right"]) for part in quarters])
    ends = np.array([pair_of(part["right_interval"]) for part in quarters]) * 100.0
    seconds = np.array([float(part["seconds"]) for part in quarters])
    charts = []
    title = "Share correct over the course of reading"
    out: list[Markup] = []
    told = "; ".join(f"{name} quarter {value:.0f}%" for name, value in zip(names, right, strict=True))
    with axes_for("reader-course", f"{title}. {told}.", out) as axes:
        axes.axhline(50.0, color=COLOURS["muted"], linewidth=0.9)
        axes.vlines(range(len(names)), ends[:, 0], ends[:, 1], color=COLOURS["ink"], linewidth=1.8)
        axes.plot(range(len(names)), right, "o-", markersize=5, linewidth=0.9, color=COLOURS["ink"])
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.35, len(names) - 0.65)
        axes.set_xlabel("quarter of the reading")
        axes.set_ylabel("right, %")
        axes.yaxis.set_major_locator(MaxNLocator(4))
    note = "Rising: the readers learn. Falling: they tire. All readers together; the grey line is guessing."
    charts.append(Chart(title, out[0], (("share correct, with its interval", "ink"),), note))
    title = "Time per image over the course of reading"
    again: list[Markup] = []
    told = "; ".join(f"{name} quarter {value:.1f} s" for name, value in zip(names, seconds, strict=True))
    with axes_for("reader-seconds", f"{title}. {told}.", again) as axes:
        axes.plot(range(len(names)), seconds, "o-", markersize=5, color=COLOURS["third"])
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.35, len(names) - 0.65)
        axes.set_ylim(0, max(float(seconds.max()) * 1.25, 1.0))
        axes.set_xlabel("quarter of the reading")
        axes.set_ylabel("seconds on screen, median")
        axes.yaxis.set_major_locator(MaxNLocator(4))
    charts.append(Chart(title, again[0], (("all readers together", "third"),), "Half of the answers took less time."))
    return charts
