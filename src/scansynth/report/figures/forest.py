"""Many intervals below each other on one axis: a row each, with the zone that is good tinted behind all of them.

Like `intervals` drawn by hand in percent of the width, so that the rows stretch with the page and stand in a table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape
from matplotlib.ticker import MaxNLocator

from scansynth.report.figures.words import number, span

_HEIGHT, _MIDDLE = 30, 15
_SCALE_HEIGHT = 20
_SPACE = 0.06


@dataclass(frozen=True)
class Axis:
    """One axis for all rows.

    Attributes:
        low: Left end.
        high: Right end.
        null: Where nothing differs.
        good: The zone that is good; its ends are margins where they lie within the axis.
    """

    low: float
    high: float
    null: float
    good: tuple[float, float]

    def at(self, value: float) -> float:
        """A value's place in percent of the width, 0..100."""
        return min(max(100.0 * (value - self.low) / (self.high - self.low), 0.0), 100.0)


def axis_of(figures: Iterable[float], null: float, good: tuple[float, float], least: float) -> Axis:
    """The axis that shows all figures, what is null, and the ends of the good zone.

    Args:
        figures: Of all rows.
        null: Where nothing differs.
        good: The zone that is good; an end may be infinite.
        least: Width of the axis at least.
    """
    ends = [end for end in good if abs(end) != float("inf")]
    shown = [*figures, null, *ends]
    low, high = min(shown), max(shown)
    space = max((high - low) * _SPACE, (least - (high - low)) / 2.0)
    return Axis(low - space, high + space, null, good)


def strip(
    value: float, ends: tuple[float, float], axis: Axis, said: str, inner: tuple[float, float] | None = None
) -> Markup:
    """One row as inline SVG.

    Args:
        value: The figure.
        ends: Of its interval.
        axis: Of all rows.
        said: The row in a sentence, for those who do not see it.
        inner: Ends of a second, narrower interval, drawn thick.
    """
    left, right = axis.at(ends[0]), axis.at(ends[1])
    parts = [*_ground(axis), _line(left, right, _MIDDLE, _MIDDLE, "interval")]
    parts += [_line(end, end, _MIDDLE - 5, _MIDDLE + 5, "interval-end") for end in (left, right)]
    if inner is not None:
        parts.append(_line(axis.at(inner[0]), axis.at(inner[1]), _MIDDLE, _MIDDLE, "interval-inner"))
    parts.append(f'<circle cx="{axis.at(value):.2f}%" cy="{_MIDDLE}" r="5" class="value"/>')
    return _picture(_HEIGHT, said, parts)


def scale(axis: Axis, said: str) -> Markup:
    """The figures along the axis, for the foot of the column."""
    ticks = [
        tick
        for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(axis.low, axis.high)
        if axis.low <= tick <= axis.high
    ]
    parts = [_line(0.0, 100.0, 1, 1, "axis")]
    for tick in ticks:
        x = axis.at(tick)
        anchor = "start" if x < 6 else "end" if x > 94 else "middle"
        parts.append(_line(x, x, 1, 5, "axis"))
        parts.append(f'<text x="{x:.2f}%" y="17" text-anchor="{anchor}">{escape(number(round(tick, 9)))}</text>')
    return _picture(_SCALE_HEIGHT, said, parts)


def told(what: str, value: float, ends: tuple[float, float]) -> str:
    """A row in words."""
    return f"{what}: {number(round(value, 3))}, interval {span((round(ends[0], 3), round(ends[1], 3)))}"


def _ground(axis: Axis) -> list[str]:
    """The good zone, its margins, and where nothing differs."""
    left, right = axis.at(axis.good[0]), axis.at(axis.good[1])
    parts = [f'<rect x="{left:.2f}%" y="0" width="{right - left:.2f}%" height="{_HEIGHT}" class="good"/>']
    parts += [_line(axis.at(end), axis.at(end), 0, _HEIGHT, "margin") for end in axis.good if _within(axis, end)]
    if axis.null not in axis.good:
        parts.append(_line(axis.at(axis.null), axis.at(axis.null), 0, _HEIGHT, "axis"))
    return parts


def _within(axis: Axis, end: float) -> bool:
    return axis.low < end < axis.high


def _line(x1: float, x2: float, y1: int, y2: int, kind: str) -> str:
    return f'<line x1="{x1:.2f}%" x2="{x2:.2f}%" y1="{y1}" y2="{y2}" class="{kind}"/>'


def _picture(height: int, said: str, parts: list[str]) -> Markup:
    head = f'<svg class="interval-picture strip-row" width="100%" height="{height}" role="img" '
    return Markup(f'{head}aria-label="{escape(said)}">{"".join(parts)}</svg>')
