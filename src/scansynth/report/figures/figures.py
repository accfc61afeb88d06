"""Figures -> inline SVG that follows the page's colours, light or dark.

matplotlib draws with stand-in colours, which become CSS variables; text stays text, in the page's font.
Figures are small and of one width, so that three fit side by side on a desktop screen and one below the other on a
phone, with text of the same size.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
def axes_for(name: str, described: str, out: list[Markup], height: float = _SIZE[1]) -> Iterator[Axes]:
    """Axes in the page's style; when the block ends, their SVG stands in `out`.

    Args:
        name: Of the figure, unique on the page.
        described: The figure in one sentence, for those who do not see it.
        out: Gets the SVG.
        height: In inches; the width is the same for all.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_SIZE[0], height), layout="constrained")
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
