"""One claim as a picture: value and interval against margin and floor.

Plain SVG, not matplotlib: positions are percentages, so the chart stretches with the page while its text keeps its
size on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from markupsafe import Markup, escape

from scansynth.report.figures.words import number, span
from scansynth.statistics import Direction

_HEIGHT, _TOP, _BOTTOM = 86, 19, 68
_AXIS, _FLOOR = 34, 56
_SPACE = 0.12


def _ends(values: Iterable[float]) -> tuple[float, float]:
    """Ends of the axis: all figures with space on both sides."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite), max(finite)
    space = (high - low) * _SPACE or max(abs(high), 1.0) * _SPACE
    return low - space, high + space


def _label(x: float, y: int, text: str, kind: str) -> str:
    """Text at `x` percent, anchored so that it stays inside the picture."""
    anchor = "start" if x < 25 else "end" if x > 75 else "middle"
    return f'<text x="{x:.2f}%" y="{y}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'


def interval_picture(
    value: float | None,
    ends: tuple[float, ...],
    margin: float | None,
    floor: tuple[float, ...],
    direction: Direction,
) -> Markup | None:
    """The picture as inline SVG; none when there is no figure to draw.

    Args:
        value: The claim's figure.
        ends: Ends of its interval, or nothing.
        margin: The limit.
        floor: What real images give against real images: low, middle, high; or nothing.
        direction: Which side of the margin is good.
    """
    if value is None:
        return None
    limits = () if margin is None else (margin,)
    figures = (value, *ends, *limits, *floor)
    low, high = _ends(figures)
    at = {figure: min(max(100 * (figure - low) / (high - low), 0.0), 100.0) for figure in figures}
    parts = []
    if margin is not None:
        parts += _margin(at[margin], margin, direction)
    parts.append(f'<line x1="0" x2="100%" y1="{_AXIS}" y2="{_AXIS}" class="axis"/>')
    if floor:
        parts += _floor([at[figure] for figure in floor], floor)
    if ends:
        left, right = at[ends[0]], at[ends[1]]
        parts.append(_line(left, right, _AXIS, _AXIS, "interval"))
        parts += [_line(end, end, _AXIS - 6, _AXIS + 6, "interval-end") for end in (left, right)]
    parts.append(f'<circle cx="{at[value]:.2f}%" cy="{_AXIS}" r="6" class="value"/>')
    return Markup(
        f'<svg class="interval-picture" width="100%" height="{_HEIGHT}" role="img" '
        f'aria-label="{escape(_sentence(value, ends, margin, floor, direction))}">{"".join(parts)}</svg>'
    )


def _margin(x: float, margin: float, direction: Direction) -> list[str]:
    """The good zone, the limit, and its name."""
    left, right = (0.0, x) if direction is Direction.AT_MOST else (x, 100.0)
    return [
        f'<rect x="{left:.2f}%" y="{_TOP}" width="{right - left:.2f}%" height="{_BOTTOM - _TOP}" class="good"/>',
        _line(x, x, _TOP - 2, _BOTTOM + 2, "margin"),
        _label(x, _TOP - 6, f"margin: {direction.value} {number(margin)}", "t-margin"),
    ]


def _floor(places: list[float], floor: tuple[float, ...]) -> list[str]:
    """The range of the floor, its middle, and its name, on a row of its own below the axis."""
    left, middle, right = places[0], places[len(places) // 2], places[-1]
    return [
        _line(left, right, _FLOOR, _FLOOR, "floor-band"),
        f'<svg x="{middle:.2f}%" y="{_FLOOR}" overflow="visible"><path d="M0-6L6 0 0 6-6 0z" class="floor"/></svg>',
        _label(middle, _HEIGHT - 3, f"floor {_range(floor)}", "t-floor"),
    ]


def _range(floor: tuple[float, ...]) -> str:
    return span((floor[0], floor[-1]) if len(floor) > 1 else floor)


def _line(x1: float, x2: float, y1: int, y2: int, kind: str) -> str:
    return f'<line x1="{x1:.2f}%" x2="{x2:.2f}%" y1="{y1}" y2="{y2}" class="{kind}"/>'


def _sentence(
    value: float, ends: tuple[float, ...], margin: float | None, floor: tuple[float, ...], direction: Direction
) -> str:
    """The picture in one sentence, for those who do not see it."""
    parts = [f"Value {number(value)}"]
    if ends:
        parts.append(f"interval {span(ends)}")
    if margin is not None:
        parts.append(f"margin {direction.value} {number(margin)}")
    if floor:
        parts.append(f"floor {_range(floor)}")
    return ", ".join(parts) + "."
