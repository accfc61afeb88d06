"""Figures behind claims -> charts: distributions, and curves beside a band of real patients."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from scansynth.report.figures.figures import COLOURS, Chart, axes_for
from scansynth.report.figures.words import clean, number

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Samples that stand in one picture: (key, words, colour) each."""

    title: str
    axis: str
    counted: str
    series: tuple[tuple[str, str, str], ...]
    note: str


_FLOOR = ("floor", "real against real", "real")
_MADE = ("synthetic", "synthetic", "synthetic")

SPREADS: Mapping[str, Spread] = {
    "fidelity.kid": Spread(
        "Distance from real images (KID)",
        "distance (0: indistinguishable)",
        "draws",
        (_FLOOR, _MADE, ("blurred", "blurred real: the control", "third")),
        "The control must lie clear of the floor, or the measure detects nothing.",
    ),
    "diversity.pair_distance": Spread(
        "Difference between two images",
        "distance between their features",
        "pairs",
        (("real", "real pairs", "real"), ("synthetic", "synthetic pairs", "synthetic")),
        "Synthetic pairs closer than real pairs mean less variety.",
    ),
    "diversity.coverage": Spread(
        "Coverage of real patients",
        "times the expected (1: as new patients would)",
        "draws",
        (_FLOOR, _MADE, ("planted", "a kind of patient left out: the control", "third")),
        "The control must lie left of the floor, or the measure detects nothing.",
    ),
    "structure": Spread(
        "Structural similarity of pairs (MS-SSIM)",
        "structural similarity (1: the same image)",
        "pairs",
        (("real", "real pairs", "real"), ("synthetic", "synthetic pairs", "synthetic")),
        "Synthetic pairs more similar than real pairs mean less variety.",
    ),
    "copies.flag_rate": Spread(
        "Similarity to the nearest training image",
        "similarity (0: chance median, 1: reached by one in ten)",
        "images",
        (("held_out", "real images of other patients", "real"), ("synthetic", "synthetic images", "synthetic")),
        "Right of the threshold, an image is closer to a training image than nearly all real images of other patients.",
    ),
}
"""The chart of each claim that has one."""


def spread_chart(claim: str, figures: Mapping[str, Any], judge: str = "", *, named: bool = False) -> list[Chart]:
    """The chart of a claim's samples, or nothing where it has none.

    Args:
        claim: Its name.
        figures: Samples by series, and perhaps a `threshold`.
        judge: Whose figures they are.
        named: The title names the judge.

    Raises:
        ValueError: A sample holds something that is no number.
    """
    spread = SPREADS.get(claim)
    if spread is None:
        return []
    columns = {key: sample(figures.get(key)) for key, _, _ in spread.series}
    if not any(len(column) for column in columns.values()):
        return []
    threshold = figures.get("threshold")
    title = f"{spread.title} · {clean(judge)}" if named else spread.title
    name = slug("spread", claim, judge)
    return [_spread_chart(spread, name, title, columns, threshold if isinstance(threshold, (int, float)) else None)]


def sample(values: Any) -> Floats:
    """The finite figures of one series; a lone figure is a sample of one.

    Raises:
        ValueError: One is no number.
    """
    try:
        column = np.atleast_1d(np.asarray([] if values is None else values, dtype=np.float64)).ravel()
    except TypeError as fault:
        raise ValueError("a sample holds something that is not a number") from fault
    return column[np.isfinite(column)]


def slug(*parts: str) -> str:
    """Words as a name within the page: small letters, digits and strokes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(part for part in parts if part).lower()).strip("-")


def _spread_chart(
    spread: Spread, name: str, title: str, columns: Mapping[str, Floats], threshold: float | None
) -> Chart:
    series = [row for row in spread.series if len(columns[row[0]])]
    everything = np.concatenate(
        [columns[key] for key, _, _ in series] + [np.array([] if threshold is None else [threshold])]
    )
    low, high = float(everything.min()), float(everything.max())
    space = (high - low) * 0.03 or 0.5
    bins = np.linspace(low - space, high + space, 33)
    middle = ", ".join(f"{words}: median {number(float(np.median(columns[key])))}" for key, words, _ in series)
    described = f"{title}. {middle}." + (f" Threshold {number(threshold)}." if threshold is not None else "")
    out: list[Markup] = []
    with axes_for(name, described, out) as axes:
        for key, _, colour in series:
            _outline(axes, columns[key], bins, colour)
        if threshold is not None:
            mark_threshold(axes, threshold, left=threshold > (low + high) / 2)
        axes.set_xlim(bins[0], bins[-1])
        axes.set_ylim(0, axes.get_ylim()[1] * 1.12)
        axes.set_xlabel(spread.axis)
        axes.set_ylabel(f"share of {spread.counted}, %")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    return Chart(title, out[0], tuple((words, colour) for _, words, colour in series), spread.note)


def mark_threshold(axes: Axes, threshold: float, *, left: bool) -> None:
    """A dashed line with its figure on one side."""
    axes.axvline(threshold, color=COLOURS["ink"], linewidth=1.1, linestyle=(0, (4, 2)))
    axes.annotate(
        f"threshold {number(threshold)} " if left else f" threshold {number(threshold)}",
        (threshold, 1.0),
        xycoords=("data", "axes fraction"),
        ha="right" if left else "left",
        va="top",
    )


def _outline(axes: Axes, values: Floats, bins: Floats, colour: str) -> None:
    """A histogram in percent: tinted, with an outline; a lone figure is a line with a dot."""
    if len(values) < 3:
        for value in values:
            axes.plot([value, value], [0, 50], color=COLOURS[colour])
        return
    share = np.histogram(values, bins=bins)[0] * (100.0 / len(values))
    axes.stairs(share, bins, fill=True, color=COLOURS[colour], alpha=0.16, linewidth=0)
    axes.stairs(share, bins, color=COLOURS[colour], linewidth=1.4)


@dataclass(frozen=True)
class _Curve:
    """One picture of `appearance`: the synthetic curve beside the band of real halves."""

    key: str
    title: str
    across: str
    upwards: str
    note: str


_CURVES = (
    _Curve(
        "spectrum",
        "Fine and coarse detail",
        "waves per pixel (left: coarse, right: fine)",
        "power, powers of ten",
        "A synthetic line below the band at the right means too smooth; above it or with steps, traces of upsampling.",
    ),
    _Curve(
        "histogram",
        "Grey levels",
        "grey level, % (0: black, 100: white)",
        "share of pixels, %",
        "Logarithmic scale. Spikes or gaps that real images lack are traces of rounding or clipping.",
    ),
)


def appearance_charts(figures: Mapping[str, Any]) -> list[Chart]:
    """The spectrum and the grey levels, where present.

    Raises:
        ValueError: A curve holds something that is no number, or curves differ in length.
    """
    charts = []
    for curve in _CURVES:
        rows = figures.get(curve.key)
        if not isinstance(rows, Mapping):
            continue
        columns = [sample(rows.get(key)) for key in ("x", "synthetic", "low", "high")]
        if len({len(column) for column in columns}) != 1:
            raise ValueError("curves differ in length")
        if len(columns[0]) > 1:
            charts.append(_curve_chart(curve, columns))
    return charts


def _curve_chart(curve: _Curve, columns: Sequence[Floats]) -> Chart:
    x, made, low, high = columns
    if curve.key == "histogram":
        x = 50.0 * (x + 1.0)
        made, low, high = (np.maximum(100.0 * part, 1e-3) for part in (made, low, high))
    out: list[Markup] = []
    with axes_for(f"appearance-{curve.key}", f"{curve.title}: synthetic beside real. {curve.note}", out) as axes:
        axes.fill_between(x, low, high, color=COLOURS["real"], alpha=0.28, linewidth=0)
        axes.plot(x, (low + high) / 2.0, color=COLOURS["real"], linewidth=0.9)
        axes.plot(x, made, color=COLOURS["synthetic"], linewidth=1.5, linestyle=(0, (5, 1.5)))
        if curve.key == "histogram":
            axes.set_yscale("log")
        else:
            axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel(curve.across)
        axes.set_ylabel(curve.upwards)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.margins(x=0.01)
    key = (("halves of the real patients", "real"), ("synthetic (dashed)", "synthetic"))
    return Chart(curve.title, out[0], key, curve.note)
