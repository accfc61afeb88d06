"""The course of a training -> its figures: curves over the images seen, with what roll-backs gave up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from scansynth.gan.watching.health import CRITICAL
from scansynth.report.figures.figures import COLOURS, Chart, axes_for
from scansynth.report.figures.words import number
from scansynth.report.training.course import Columns, Course, Event, Kind

_MARKS = {Kind.COLLAPSE: ("collapse", "v-refuted", "-"), Kind.WARNING: ("warning", "v-refuted", ":")}
_BACK = ("back here", "ink", "-")
_MARK_SIZE, _MARK_HEIGHT = 7.5, 9.0  # of a mark's word, points
_LETTER = 0.0195  # width of its letters, as a share of the axis
_MARK_ROWS = 4
_ABOVE = 1.2  # space above the limit, where all curves lie below it
_NEAR = 0.06  # of the axis: two marks of one kind so close need one word


@dataclass(frozen=True)
class _Curves:
    """Columns of the log that stand in one figure: (column, words, colour) each.

    Attributes:
        collapse: The figure of the monitor whose limit is drawn; empty for none.
        marked: Whether alarms and roll-backs are marked.
    """

    name: str
    title: str
    series: tuple[tuple[str, str, str], ...]
    note: str
    limits: tuple[float | None, float | None] = (None, None)
    collapse: str = ""
    marked: bool = False


_LOWEST = {"nearest": ("generator_nearest", "average_nearest"), "vendi": ("generator_vendi", "average_vendi")}
"""Figures that are drawn of whichever network has less: a collapse of either one counts."""

_TRAINING = (
    _Curves(
        "diversity",
        "Variety",
        (
            ("generator_median_pair", "generator before averaging", "third"),
            ("diversity", "generator that makes the images", "synthetic"),
        ),
        "Distance between two images, relative to that between two real ones. 1 means as varied as real images.",
        (0.0, None),
        "median_pair",
        marked=True,
    ),
    _Curves(
        "repeats",
        "Repeats",
        (("nearest", "distance to the nearest image", "real"), ("vendi", "number of distinct images", "synthetic")),
        "Relative to real images; near 0, the same images keep recurring.",
        (0.0, None),
        "nearest",
        marked=True,
    ),
    _Curves(
        "tune-kid",
        "Distance from tune patients",
        (("tune_kid", "KID against tune patients", "synthetic"),),
        "Neither network sees these patients. When the distance grows again, the training has gone on too long.",
        marked=True,
    ),
    _Curves(
        "tune-shares",
        "Reach and closeness",
        (
            ("tune_recall", "tune images that lie among the synthetic ones", "real"),
            ("tune_copies", "synthetic images closer to a training image than other patients are", "synthetic"),
        ),
        "Shares of the images. The second one should stay near 0.01.",
        (0.0, None),
    ),
    _Curves(
        "loss",
        "Losses",
        (("loss_d", "discriminator", "real"), ("loss_g", "generator", "synthetic")),
        "Stable losses do not prove that the images vary: see the variety.",
        marked=True,
    ),
    _Curves(
        "scores",
        "Discriminator output",
        (("d_real", "of real images", "real"), ("d_fake", "of synthetic images", "synthetic")),
        "1 means “certainly real”. Close together: the discriminator cannot distinguish them.",
        (0.0, 1.0),
    ),
    _Curves(
        "speed",
        "Speed",
        (("images_per_second", "images per second", "third"),),
        "Images through both networks per second.",
        (0.0, None),
    ),
)


def training_charts(course: Course) -> list[Chart]:
    """Figures of a run's course, one for each group of columns that its log holds."""
    log = _with_lowest(course.log)
    lost = [_with_lowest(part) for part in course.given_up]
    averaged = "average_median_pair" in log
    charts = []
    for curves in _TRAINING:
        # without an average, the generator's own curve is the one that is shown anyway
        series = [row for row in curves.series if averaged or row[0] != "generator_median_pair"]
        series = [row for row in series if _shows(log, row[0]) or any(_shows(part, row[0]) for part in lost)]
        if series:
            charts.append(_chart(curves, series, log, lost, course.events if curves.marked else ()))
    return charts


def _with_lowest(log: Columns) -> Columns:
    """The log with the columns of `_LOWEST`."""
    found = {name: [log[column] for column in columns if column in log] for name, columns in _LOWEST.items()}
    return {**log, **{name: np.fmin.reduce(columns) for name, columns in found.items() if columns}}


def _shows(log: Columns, name: str) -> bool:
    return name in log and bool(np.isfinite(log[name]).any())


def _chart(
    curves: _Curves,
    series: Sequence[tuple[str, str, str]],
    log: Columns,
    lost: Sequence[Columns],
    events: Sequence[Event],
) -> Chart:
    out: list[Markup] = []
    with axes_for(f"training-{curves.name}", _described(curves, series, log, events), out) as axes:
        for key, _, colour in series:
            for part in lost:
                axes.plot(*_points(part, key), color=COLOURS[colour], alpha=0.5, linewidth=1.0)
            images, values = _points(log, key)
            dots = "o" if len(images) < 4 else None
            axes.plot(images, values, color=COLOURS[colour], marker=dots, markersize=3)
        low, high = curves.limits
        axes.set_ylim(low, None if high is None else high * 1.02)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        _thousands(axes, max(float(part["images"].max()) for part in (log, *lost) if len(part["images"])))
        if curves.collapse:
            _limit(axes, CRITICAL[curves.collapse])
        _mark(axes, events)
    return Chart(curves.title, out[0], tuple((words, colour) for _, words, colour in series), curves.note)


def _points(part: Columns, key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Images seen and values of one curve, where it has values: not every figure is taken at every look."""
    values = part.get(key, np.full(len(part["images"]), np.nan))
    there = np.isfinite(values)
    return part["images"][there], values[there]


def _described(curves: _Curves, series: Sequence[tuple[str, str, str]], log: Columns, events: Sequence[Event]) -> str:
    """The figure in words, for those who do not see it."""
    ends = ", ".join(
        f"{words} from {number(_end(log[key], 0))} to {number(_end(log[key], -1))}" for key, words, _ in series
    )
    told = [f"{word} at {number(event.images)} images" for event in events if (word := _word(event))]
    return f"{curves.title} over images seen: {ends}." + (f" Marked: {', '.join(told)}." if told else "")


def _end(values: NDArray[np.float64], which: int) -> float | None:
    """The first or last finite figure of a column."""
    finite = values[np.isfinite(values)]
    return float(finite[which]) if len(finite) else None


def _thousands(axes: Axes, largest: float) -> None:
    """The axis of images seen, in thousands when there are many."""
    if largest >= 2_000:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}")
        axes.set_xlabel("images seen, thousands")
    else:
        axes.set_xlabel("images seen")
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _limit(axes: Axes, limit: float) -> None:
    """The line below which a generator has collapsed, with its name; it is in sight however little varies."""
    axes.set_ylim(top=max(axes.get_ylim()[1], _ABOVE * limit))
    axes.axhline(limit, color=COLOURS["ink"], linewidth=1.0, linestyle=(0, (4, 2)))
    axes.annotate(
        f"collapse below {number(limit)}",
        (1.0, limit),
        xytext=(0, -2),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=_MARK_SIZE,
    )


def _word(event: Event) -> str:
    return _BACK[0] if event.kind is Kind.BACK else _MARKS[event.kind][0] if event.kind in _MARKS else ""


def _mark(axes: Axes, events: Sequence[Event]) -> None:
    """A vertical line for each alarm and roll-back, with its word above the axes.

    Words begin at their line and are set from the right to the left, each above those that it would run into, so
    that no line crosses a word. Where a near one says the same, or there is no space, the line stands alone.
    """
    left, right = axes.get_xlim()
    seen = {(event.images, event.kind) for event in events if _word(event) and event.images <= right}
    left = min([left, *(images for images, _ in seen)])
    axes.set_xlim(left, right)
    placed: list[tuple[float, int, str]] = []  # start, row, word
    for images, kind in sorted(seen, reverse=True):
        word, colour, style = _BACK if kind is Kind.BACK else _MARKS[kind]
        start = (images - left) / (right - left)
        end = start + _LETTER * (len(word) + 1)
        crossed = [mark for mark in placed if mark[0] < end]
        row = 1 + max((row for _, row, _ in crossed), default=-1)
        near = end if kind is Kind.WARNING else start + _NEAR
        alone = row >= _MARK_ROWS or any(begin < near and said == word for begin, _, said in crossed)
        if not alone:
            placed.append((start, row, word))
        _draw_mark(axes, images, "" if alone else word, row, COLOURS[colour], style)


def _draw_mark(axes: Axes, images: int, word: str, row: int, colour: str, style: str) -> None:
    """One line through the axes; where it has a word, it goes on to that word's row."""
    across = axes.get_xaxis_transform()
    look: dict[str, Any] = {"color": colour, "linestyle": style, "linewidth": 0.8}
    axes.plot([images, images], [0.0, 1.0], transform=across, zorder=1.5, **look)
    if word:
        axes.annotate(
            f"\u00a0{word}",  # a space that SVG keeps
            (images, 1.0),
            xytext=(0, 1 + _MARK_HEIGHT * row),
            xycoords=across,
            textcoords="offset points",
            color=colour,
            fontsize=_MARK_SIZE,
            arrowprops={"arrowstyle": "-", "relpos": (0, 0), "patchA": None, "shrinkA": 0, "shrinkB": 0, **look},
        )
