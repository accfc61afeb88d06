"""Membership inference: charts of how well training patients can be identified."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from scansynth.report.audit.artefacts import EvidenceView
from scansynth.report.audit.spreads import Floats, sample
from scansynth.report.figures.figures import COLOURS, Chart, axes_for
from scansynth.report.figures.words import number

_TITLES: Mapping[str, str] = {
    "membership.distance": "Membership inference from closeness to the set",
    "house.discriminator": "Membership inference from the discriminator",
    "house.encoders": "Membership inference from the encoders",
}
_POINTS = 200


def membership_pictures(evidence: EvidenceView, family: str) -> list[Chart]:
    """One curve for each claim of a family, `membership` or `house`, whose scores are there.

    Raises:
        ValueError: A score is no number.
    """
    charts = []
    for name, title in _TITLES.items():
        if not name.startswith(f"{family}."):
            continue
        figures = evidence.figures(name)
        members, others = sample(figures.get("members")), sample(figures.get("others"))
        if len(members) and len(others):
            charts.append(_chart(name, title, members, others, figures.get("exposed")))
    return charts


def passing(members: Floats, others: Floats) -> tuple[Floats, Floats]:
    """Shares of the others and of the members at or above every threshold, from none to all (the ROC curve)."""
    cuts = np.unique(np.concatenate([members, others]))[::-1]
    if len(cuts) > _POINTS:
        cuts = cuts[np.linspace(0, len(cuts) - 1, _POINTS).round().astype(int)]
    shares = [1.0 - np.searchsorted(np.sort(side), cuts, side="left") / len(side) for side in (others, members)]
    ends = [np.concatenate([[0.0], side, [1.0]]) for side in shares]
    return ends[0], ends[1]


def _chart(name: str, title: str, members: Floats, others: Floats, exposed: Any) -> Chart:
    across, upwards = passing(members, others)
    told = _exposed(exposed)
    out: list[Markup] = []
    with axes_for(name.replace(".", "-"), f"{title}. {told}", out) as axes:
        axes.plot([0, 100], [0, 100], color=COLOURS["muted"], linewidth=1.0, linestyle=(0, (4, 2)))
        axes.plot(100 * across, 100 * upwards, color=COLOURS["synthetic"])
        axes.set_xlim(-1, 101)
        axes.set_ylim(-1, 101)
        axes.set_xlabel("other patients wrongly identified, %")
        axes.set_ylabel("training patients identified, %")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    key = (("training patients against others", "synthetic"), ("guessing (dashed)", "muted"))
    return Chart(title, out[0], key, told)


def _exposed(exposed: Any) -> str:
    """How many training patients are identified at a low false-positive rate."""
    if not isinstance(exposed, Mapping):
        return "The further above the dashed line, the more is revealed."
    low, high = (100.0 * float(end) for end in exposed["interval"])
    return (
        f"Where {exposed['passing']} of {exposed['others']} other patients are wrongly identified, "
        f"{number(100.0 * float(exposed['share']))}% of the training patients are correctly identified ({number(low)} "
        f"to {number(high)}%)."
    )
