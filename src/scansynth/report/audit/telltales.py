"""The section on processing traces: one chart, then the strongest traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from scansynth.claims.claim import Claim
from scansynth.claims.traces import FILES, PIXELS
from scansynth.report.audit.advice import traces_by_strength
from scansynth.report.audit.artefacts import EvidenceView
from scansynth.report.figures.figures import COLOURS, Chart, axes_for
from scansynth.report.figures.words import clean

_WORDS = {PIXELS: "pixels", FILES: "files"}
_TRACES_LISTED = 8


@dataclass(frozen=True)
class _Row:
    """One claim in the picture."""

    words: str
    claim: Claim
    figures: Mapping[str, Any]


def telltales_pictures(evidence: EvidenceView) -> dict[str, Any]:
    """A chart or none, and a table for each claim with a figure.

    Raises:
        ValueError: A figure is no number.
    """
    rows = [
        _Row(_WORDS[claim.claim], claim, evidence.figures(claim.claim))
        for claim in evidence.claims
        if claim.claim in _WORDS and claim.value is not None
    ]
    return {
        "charts": [_chart(rows)] if rows else [],
        "traces": [{"title": row.words, "numbers": _numbers(row), "traces": _traces(row)} for row in rows],
    }


def _times(auc: Any) -> str:
    """An AUC as times in 100; a dash when it is no number."""
    return f"{100 * auc:.0f} in 100" if isinstance(auc, (int, float)) and np.isfinite(auc) else "—"


def _numbers(row: _Row) -> list[tuple[str, str]]:
    """The figure, what it is compared with, and the strongest traces."""
    claim, figures = row.claim, row.figures
    found = [("synthetic against real", _times(claim.value))]
    if claim.floor is not None:
        found.append(("real against real, on average", _times(claim.floor.mean)))
    found += [(f"planted: {clean(control.name)}", _times(control.found)) for control in claim.control]
    found += [(f"by {clean(name)} alone", _times(auc)) for name, auc in _pairs(figures.get("by_model"))]
    found += [(clean(name), _times(auc)) for name, auc in _pairs(figures.get("extra"))]
    p = figures.get("p")
    return [*found, ("permutation p", f"{p:.3f}" if isinstance(p, (int, float)) else "—")]


def _traces(row: _Row) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each trace by itself, as readers see the images and, where that is another thing, as they are stored."""
    found = [("Single traces", "traces"), ("Single traces, as stored (reported only)", "traces_as_stored")]
    listed = [(title, traces_by_strength(row.figures.get(key))[:_TRACES_LISTED]) for title, key in found]
    return [(title, [(name, _times(auc)) for name, auc in rows]) for title, rows in listed if rows]


def _pairs(table: Any) -> list[tuple[str, Any]]:
    return list(table.items()) if isinstance(table, Mapping) else []


def _chart(rows: Sequence[_Row]) -> Chart:
    """Each claim's figure with its interval, beside its floor and its planted trace."""
    title = "How often the synthetic image of a pair is identified"
    told = ", ".join(f"{row.words}: {_times(row.claim.value)}" for row in rows)
    out: list[Markup] = []
    with axes_for("telltales", f"{title}. {told}.", out) as axes:
        for place, row in enumerate(rows):
            _draw(axes, place, row.claim)
        axes.axvline(50, color=COLOURS["muted"], linewidth=1.0)
        axes.axvline(100 * float(rows[0].claim.margin or 0.5), color=COLOURS["ink"], linestyle=(0, (4, 2)))
        axes.set_yticks(range(len(rows)), [row.words for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("times in 100 (50: guessing)")
        axes.grid(visible=False)
    key = (("synthetic", "synthetic"), ("real against real", "real"), ("planted trace", "third"))
    return Chart(title, out[0], key, "Dashed: the margin. The planted trace must lie far right, or the test is void.")


def _draw(axes: Axes, place: int, claim: Claim) -> None:
    if claim.floor is not None:
        axes.plot(
            [100 * claim.floor.low, 100 * claim.floor.high], [place + 0.22] * 2, color=COLOURS["real"], linewidth=5
        )
    if claim.interval is not None:
        axes.plot([100 * claim.interval.low, 100 * claim.interval.high], [place] * 2, color=COLOURS["synthetic"])
    axes.plot([100 * float(claim.value or 0.0)], [place], "o", color=COLOURS["synthetic"])
    for control in claim.control:
        axes.plot([100 * control.found], [place - 0.22], "s", color=COLOURS["third"])
