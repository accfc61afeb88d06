"""Patient groups: how often each appears, and other findings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from scansynth.report.audit.artefacts import EvidenceView
from scansynth.report.audit.spreads import sample, slug
from scansynth.report.figures.figures import COLOURS, Chart, axes_for
from scansynth.report.figures.words import clean, number
from scansynth.statistics import Verdict

_FAMILY = "fairness."
_LETTERS = 24
"""Letters of a group's name in a chart; the table has it in full."""

_TICKS = (0.1, 0.2, 0.5, 0.8, 1.0, 1.25, 2.0, 5.0, 10.0)
_MARGIN = 1.25
_FURTHEST = math.log(20.0)

Row = Mapping[str, Any]


def _percent(value: float) -> str:
    return f"{number(100.0 * value)}%"


def _points(value: float) -> str:
    return number(100.0 * value)


def _times(value: float) -> str:
    return number(math.exp(min(value, 20.0)))


@dataclass(frozen=True)
class _Column:
    """One figure of a group: its key, its head, how it is written; its interval's key and its verdict's."""

    key: str
    head: str
    write: Callable[[float], str]
    interval: str = ""
    claim: str = ""


_COLUMNS = (
    _Column("patients", "training patients", number),
    _Column("share_real", "of the training images", _percent),
    _Column("share_fake", "of the set, estimated", _percent),
    _Column("log_disparity", "times as often", _times, "interval", "fairness.share"),
    _Column("coverage", "coverage (1: as all patients)", number, "coverage_interval", "fairness.coverage"),
    _Column("kid", "distance beyond chance (KID)", number, "kid_interval", "fairness.kid"),
    _Column("flag_rate", "flagged as copies more often, points", _points, "flag_rate_interval", "fairness.flag_rate"),
)


def group_pictures(evidence: EvidenceView) -> dict[str, Any]:
    """A picture of the shares and a table for each attribute, and the sizes of lesions, as far as figures are there.

    Raises:
        ValueError: A figure is no number.
    """
    charts, tables = [], []
    for (attribute, judge), rows in _by_attribute(evidence).items():
        title = f"{attribute} · {judge}" if judge else attribute
        charts += _chart(title, rows)
        tables.append(_table(title, rows))
    # one judge's sizes are plotted; the verdicts of all are below
    of_sizes = [behind.figures for behind in evidence.behind if behind.claim == "fairness.lesion_size"]
    sizes = next((figures for figures in of_sizes if figures.get("edges")), {})
    return {"charts": [*charts, *size_chart(sizes)], "groups": tables, "facts": [*_left_out(evidence), *_tails(sizes)]}


def _by_attribute(evidence: EvidenceView) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """All figures of each group, by attribute, judge and group; verdicts by claim."""
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for behind in evidence.behind:
        rows = behind.figures.get("groups")
        if not behind.claim.startswith(_FAMILY) or not behind.attribute or not isinstance(rows, list):
            continue
        for row in rows:
            kept = found.setdefault((behind.attribute, behind.judge), {}).setdefault(str(row["group"]), {})
            kept.update({key: value for key, value in row.items() if key != "verdict"})
            kept[behind.claim] = row.get("verdict")
    return found


def _left_out(evidence: EvidenceView) -> list[str]:
    """Attributes that were not assessed, and why."""
    return [
        f"Not assessed by {clean(name)}: {clean(why)}."
        for behind in evidence.behind
        if behind.claim.startswith(_FAMILY) and isinstance(behind.figures.get("left_out"), Mapping)
        for name, why in behind.figures["left_out"].items()
    ]


def _tails(sizes: Mapping[str, Any]) -> list[str]:
    """What the set holds of the smallest and the largest lesions."""
    rows = sizes.get("tails")
    return [
        f"Lesions of the size of the {clean(row['tail'])} of the training patients: {_percent(float(row['set']))} "
        "of the set."
        for row in (rows if isinstance(rows, list) else [])
    ]


def _figure(row: Row, key: str) -> float | None:
    value = row.get(key)
    return None if value is None else float(value)


def _ends(row: Row, key: str) -> tuple[float, float] | None:
    value = row.get(key)
    return None if not isinstance(value, list | tuple) or len(value) != 2 else (float(value[0]), float(value[1]))


def _table(attribute: str, rows: Mapping[str, Row]) -> dict[str, Any]:
    columns = [column for column in _COLUMNS if any(_figure(row, column.key) is not None for row in rows.values())]
    return {
        "title": f"By {clean(attribute)}",
        "heads": [column.head for column in columns],
        "rows": [(clean(group), [_cell(row, column) for column in columns]) for group, row in rows.items()],
    }


def _cell(row: Row, column: _Column) -> dict[str, str]:
    """A figure, its interval, and the verdict on this group alone."""
    value, ends = _figure(row, column.key), _ends(row, column.interval)
    verdict = str(row.get(column.claim) or "")
    return {
        "figure": "—" if value is None else column.write(value),
        "interval": "" if ends is None else f"{column.write(ends[0])} to {column.write(ends[1])}",
        "verdict": verdict if verdict in set(Verdict) else "",
    }


def _chart(attribute: str, rows: Mapping[str, Row]) -> list[Chart]:
    """How often each group appears, relative to the training patients."""
    found = [(group, _figure(row, "log_disparity"), _ends(row, "interval")) for group, row in rows.items()]
    shown = [(group, value, ends) for group, value, ends in found if value is not None]
    if not shown:
        return []
    title = f"How often each group appears, by {clean(attribute)}"
    told = "; ".join(f"{clean(group)}: {_times(value)} times" for group, value, _ in shown)
    out: list[Markup] = []
    height = max(1.5, 0.75 + 0.27 * len(shown))
    with axes_for(slug("groups", attribute), f"{title}. {told}.", out, height) as axes:
        axes.axvspan(1 / _MARGIN, _MARGIN, color=COLOURS["real"], alpha=0.14, linewidth=0)
        axes.axvline(1.0, color=COLOURS["muted"], linewidth=1.0)
        for place, (_, value, ends) in enumerate(shown):
            if ends is not None:
                axes.plot([math.exp(_within(end)) for end in ends], [place, place], color=COLOURS["synthetic"])
            axes.plot([math.exp(_within(value))], [place], "o", markersize=5, color=COLOURS["synthetic"])
        axes.set_yticks(range(len(shown)), [_short(clean(group)) for group, _, _ in shown], parse_math=False)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, 0.7), max(high, 1.45))
        low, high = axes.get_xlim()
        ticks = [tick for tick in _TICKS if low <= tick <= high]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("times as often as among the training images")
        axes.grid(visible=False)
    key = (("the set, with its interval", "synthetic"), ("as often as it should be", "real"))
    return [Chart(title, out[0], key, "The interval must lie within the band, from 0.8 to 1.25 times.")]


def _within(value: float) -> float:
    return min(max(value, -_FURTHEST), _FURTHEST)


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


def size_chart(figures: Mapping[str, Any]) -> list[Chart]:
    """Lesion sizes predicted by the same predictor, in the set and among the training patients.

    Raises:
        ValueError: A figure is no number.
    """
    edges, made, real = (sample(figures.get(key)) for key in ("edges", "synthetic", "real"))
    if len(edges) < 3 or not len(made) == len(real) == len(edges) - 1:
        return []
    title = "Size of the lesions, as predicted from the images"
    column = clean(figures.get("column") or "size")
    out: list[Markup] = []
    with axes_for("lesion-sizes", f"{title}. By {column}.", out) as axes:
        for values, colour in ((real, "real"), (made, "synthetic")):
            axes.stairs(100.0 * values, edges, fill=True, color=COLOURS[colour], alpha=0.16, linewidth=0)
            axes.stairs(100.0 * values, edges, color=COLOURS[colour], linewidth=1.4)
        axes.set_xlabel(_short(column), parse_math=False)
        axes.set_ylabel("share of images, %")
        axes.yaxis.set_major_locator(MaxNLocator(4))
    key = (("training images", "real"), ("synthetic images", "synthetic"))
    return [Chart(title, out[0], key, "Thin ends on the synthetic side: the smallest or largest lesions are missing.")]
