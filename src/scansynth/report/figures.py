"""Figures -> inline SVG that follows the page's colours, light or dark.

matplotlib draws with stand-in colours, which become CSS variables; text stays text, in the page's font.
Figures are small and of one width, so that they stand three abreast on a desk and one below the other on a
phone, with letters of the same size.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from scansynth.report.words import number

COLOURS = {
    "ink": "#010203",
    "muted": "#010204",
    "line": "#010205",
    "real": "#010206",
    "synthetic": "#010207",
    "third": "#010208",
    "v-refuted": "#010209",
}
"""Stand-ins for the page's colour variables."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "scansynth",
    "axes.formatter.useoffset": False,
    "font.size": 8.5,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.5,
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "text.color": COLOURS["ink"],
    "path.simplify": True,
}
_SIZE = (3.7, 2.25)


@dataclass(frozen=True)
class Chart:
    """One figure: its title, its SVG, its key (name and colour variable of each series), and one line below."""

    title: str
    svg: Markup
    key: tuple[tuple[str, str], ...]
    note: str


@contextmanager
def axes_for(name: str, described: str, out: list[Markup]) -> Iterator[Axes]:
    """Axes in the page's style; when the block ends, their SVG stands in `out`.

    Args:
        name: Of the figure, unique on the page.
        described: The figure in one sentence, for those who do not see it.
        out: Gets the SVG.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.subplots()
        yield axes
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    out.append(_inline(stream.getvalue(), name, described))


def _inline(svg: str, name: str, described: str) -> Markup:
    """SVG of matplotlib made fit to stand within a page.

    Header, metadata and its style sheet go; ids get the figure's name, since those of two figures would
    clash; colours become variables; fonts are left to the page.
    """
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r"font-family:[^;\"]+;? ?", "", svg)
    for variable, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    svg = re.sub(r"\s*\n\s*", " ", svg)
    sized = re.compile(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>')
    head = f'<svg viewBox="\\1" class="chart" role="img" aria-label="{escape(described)}" '
    head += 'xmlns:xlink="http://www.w3.org/1999/xlink">'
    return Markup(sized.sub(head, svg, count=1))


@dataclass(frozen=True)
class _Spread:
    """Samples that stand in one figure of distributions: (key, words, colour) each."""

    name: str
    title: str
    axis: str
    counted: str
    series: tuple[tuple[str, str, str], ...]
    note: str


_SPREADS = (
    _Spread(
        "nearest_train_ncc",
        "Likeness to the nearest training image",
        "likeness (1: the same image)",
        "images",
        (("held_out", "real images of other patients", "real"), ("synthetic", "synthetic images", "synthetic")),
        "Right of the threshold, an image is closer to a training image than nearly all real images of other patients.",
    ),
    _Spread(
        "pair_distance",
        "Distance between two images of one kind",
        "distance between their features",
        "pairs",
        (("real", "real pairs", "real"), ("synthetic", "synthetic pairs", "synthetic")),
        "Synthetic pairs nearer than real pairs mean less variety.",
    ),
    _Spread(
        "kid",
        "Distance from real images (KID)",
        "distance (0: not told apart)",
        "draws",
        (
            ("floor", "real against real", "real"),
            ("synthetic", "synthetic", "synthetic"),
            ("blurred", "blurred real: the control", "third"),
        ),
        "The control must lie clear of the floor, or the measure sees nothing.",
    ),
)


def distribution_charts(distributions: Mapping[str, Any], names: Sequence[str]) -> list[Chart]:
    """Figures of the named distributions, as far as they are there.

    Args:
        distributions: `distributions.json`: by name, samples by series, and perhaps a `threshold`.
        names: Which, in this order.
    """
    charts = []
    for spread in _SPREADS:
        samples = distributions.get(spread.name) if spread.name in names else None
        if not isinstance(samples, Mapping):
            continue
        columns = {key: _sample(samples.get(key)) for key, _, _ in spread.series}
        if any(len(column) for column in columns.values()):
            threshold = samples.get("threshold")
            charts.append(_spread_chart(spread, columns, threshold if isinstance(threshold, (int, float)) else None))
    return charts


def _sample(values: Any) -> NDArray[np.float64]:
    """The finite figures of one series; a lone figure is a sample of one."""
    column = np.atleast_1d(np.asarray([] if values is None else values, dtype=np.float64)).ravel()
    return column[np.isfinite(column)]


def _spread_chart(spread: _Spread, columns: Mapping[str, NDArray[np.float64]], threshold: float | None) -> Chart:
    series = [row for row in spread.series if len(columns[row[0]])]
    everything = np.concatenate(
        [columns[key] for key, _, _ in series] + [np.array([] if threshold is None else [threshold])]
    )
    low, high = float(everything.min()), float(everything.max())
    room = (high - low) * 0.03 or 0.5
    bins = np.linspace(low - room, high + room, 33)
    middle = ", ".join(f"{words}: median {number(float(np.median(columns[key])))}" for key, words, _ in series)
    described = f"{spread.title}. {middle}." + (f" Threshold {number(threshold)}." if threshold is not None else "")
    out: list[Markup] = []
    with axes_for(f"spread-{spread.name.replace('_', '-')}", described, out) as axes:
        for key, _, colour in series:
            _outline(axes, columns[key], bins, colour)
        if threshold is not None:
            axes.axvline(threshold, color=COLOURS["ink"], linewidth=1.1, linestyle=(0, (4, 2)))
            left = threshold > (low + high) / 2
            axes.annotate(
                f"threshold {number(threshold)} " if left else f" threshold {number(threshold)}",
                (threshold, 1.0),
                xycoords=("data", "axes fraction"),
                ha="right" if left else "left",
                va="top",
            )
        axes.set_xlim(bins[0], bins[-1])
        axes.set_ylim(0, axes.get_ylim()[1] * 1.12)
        axes.set_xlabel(spread.axis)
        axes.set_ylabel(f"share of {spread.counted}, %")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    return Chart(spread.title, out[0], tuple((words, colour) for _, words, colour in series), spread.note)


def _outline(axes: Axes, values: NDArray[np.float64], bins: NDArray[np.float64], colour: str) -> None:
    """A histogram in percent: tinted, with an outline; a lone figure is a line with a dot."""
    if len(values) < 3:
        for value in values:
            axes.plot([value, value], [0, 50], color=COLOURS[colour])
        return
    share = np.histogram(values, bins=bins)[0] * (100.0 / len(values))
    axes.stairs(share, bins, fill=True, color=COLOURS[colour], alpha=0.16, linewidth=0)
    axes.stairs(share, bins, color=COLOURS[colour], linewidth=1.4)
