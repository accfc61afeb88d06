"""What to do next with a set, and the likeliest cause of what was refuted, as far as the figures point to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scansynth.claims.claim import Claim
from scansynth.claims.traces import PIXELS
from scansynth.report.audit.artefacts import EvidenceView
from scansynth.report.audit.spreads import sample
from scansynth.report.figures.words import clean, number
from scansynth.statistics import Verdict

TELLING = 0.75
"""AUC of a single trace, or of the whole, from which it is named as a cause."""

_NAMED = 2

TRACE_CAUSES: Mapping[str, str] = {
    "share of black": "its background is not the black of the scans",
    "share of white": "its brightest parts do not reach white as those of the scans do",
    "border that repeats": "its outermost rows and columns do not repeat as those of the scans do (padding, resizing)",
    "border of one grey": "its borders are not of one grey value as those of the scans are",
    "edges along a grid of 8": "one side went through JPEG compression",
    "fine detail dropped": "one side went through JPEG compression",
    "edges along any other": "upsampling left a grid",
    "": "its grey values stand in other steps than those of the scans",
}
"""What stands behind a trace, by the beginning of its name; the last: of all on grey values."""


@dataclass(frozen=True)
class Advice:
    """What the top of the page says beside the verdicts.

    Attributes:
        step: What to do next.
        causes: Of each refuted question, by name, where something points to one.
        worth: How many images of different patients the set is worth; empty where it is not known.
    """

    step: str
    causes: Mapping[str, str]
    worth: str


def advise(evidence: EvidenceView) -> Advice:
    """The advice on one set.

    Raises:
        ValueError: A figure is no number.
    """
    refuted = {claim.claim for claim in evidence.claims if claim.verdict is Verdict.REFUTED}
    causes = {
        "realism": _of_realism(evidence),
        "variety": _of_variety(refuted),
        "copies": _of_copies(refuted),
        "traces": _of_traces(evidence),
    }
    bad = {name for name, verdict in evidence.judged.verdicts.items() if verdict is Verdict.REFUTED}
    return Advice(
        _step(evidence, refuted), {key: why for key, why in causes.items() if why and key in bad}, _worth(evidence)
    )


def _step(evidence: EvidenceView, refuted: set[str]) -> str:
    """One sentence or two, by what matters most: patients first, then readers, then use."""
    if "copies.real_files" in refuted:
        return (
            "Do not release it: real images are among the synthetic ones. Remove those in quarantine.csv, and find how "
            "they came in."
        )
    if any(name.partition(".")[0] in ("copies", "membership", "anonymity") for name in refuted):
        return (
            "Do not release it: it reveals training patients. Look at the pairs, withhold what quarantine.csv "
            "lists, and train on more patients or stop earlier."
        )
    told = _auc(evidence, PIXELS)
    if PIXELS in refuted and told is not None:
        return (
            f"Not for readers yet: the synthetic image is picked in {_times(told)} by how it was written, whatever it "
            "shows."
        )
    if any(name.startswith("fidelity.") for name in refuted):
        told = max((value for claim in evidence.claims if (value := _c2st(claim)) is not None), default=None)
        share = f" A classifier picks the synthetic image in {_times(told)}." if told is not None else ""
        return f"Improve the images first: they differ from scans of new patients.{share}"
    if any(name.startswith("diversity.") for name in refuted):
        return "Train for more variety first: the images repeat each other or leave kinds of patients out."
    if any(name.startswith("fairness.") for name in refuted):
        return "Do not use it for the groups of patients that it leaves out; add training patients of these groups."
    if all(claim.verdict is Verdict.NOT_ASSESSABLE for claim in evidence.claims):
        return "Nothing could be assessed: see under each question what is missing."
    return (
        "Nothing was found against the set. Next: a utility trial and a reader study; more test patients would decide "
        "what is open."
    )


def _auc(evidence: EvidenceView, name: str) -> float | None:
    return next((claim.value for claim in evidence.claims if claim.claim == name), None)


def _c2st(claim: Claim) -> float | None:
    return claim.value if claim.claim.startswith("fidelity.c2st") and claim.verdict is Verdict.REFUTED else None


def _times(auc: float) -> str:
    return f"{100.0 * auc:.0f} of 100 pairs"


def traces_by_strength(table: Any) -> list[tuple[str, float]]:
    """Traces with their AUC, the most telling first; a file does not keep the order of its rows."""
    if not isinstance(table, Mapping):
        return []
    rows = [(clean(name), float(auc)) for name, auc in table.items() if isinstance(auc, int | float)]
    return sorted(rows, key=lambda row: -row[1])


def _of_traces(evidence: EvidenceView) -> str:
    rows = traces_by_strength(evidence.figures(PIXELS).get("traces"))
    found: dict[str, str] = {}
    for name, auc in rows:
        cause = next(words for start, words in TRACE_CAUSES.items() if name.startswith(start))
        if auc >= TELLING and cause not in found:
            found[cause] = f"{cause} ({name}, {100.0 * auc:.0f} of 100)"
    return "; ".join(list(found.values())[:_NAMED])


def _of_realism(evidence: EvidenceView) -> str:
    """By the spectrum; else by the traces."""
    curves = evidence.figures("appearance").get("spectrum")
    if isinstance(curves, Mapping):
        made, low, high = (sample(curves.get(key)) for key in ("synthetic", "low", "high"))
        for part, words in (
            (slice(2 * len(made) // 3, None), "fine"),
            (slice(len(made) // 3, 2 * len(made) // 3), "middle"),
        ):
            if len(made) < 6 or not len(made) == len(low) == len(high):
                break
            share = 10.0 ** float(np.mean(made[part] - (low[part] + high[part]) / 2.0))
            if np.mean(made[part] < low[part]) > 0.5:
                return f"it is too smooth: {_power(share)} the {words} detail of real images, by power"
            if np.mean(made[part] > high[part]) > 0.5:
                return f"it is too rough: {_power(share)} the {words} detail of real images, by power"
    return _of_traces(evidence)


def _power(share: float) -> str:
    return f"{number(share)} times" if share >= 0.01 else "under 0.01 times"


def _of_variety(refuted: set[str]) -> str:
    if refuted & {"diversity.near_pairs", "diversity.nearest", "diversity.vendi", "diversity.pair_distance"}:
        return "the generator repeats itself: see under Training when its variety fell"
    return "kinds of patients that are rare in training are missing: see the groups"


def _of_copies(refuted: set[str]) -> str:
    if "copies.real_files" in refuted:
        return "real files were put into the set"
    return "too long a training for so few patients"


def _worth(evidence: EvidenceView) -> str:
    """By the judge that finds the fewest."""
    rows: Sequence[Mapping[str, Any]] = [
        row.figures["worth"] for row in evidence.behind if isinstance(row.figures.get("worth"), Mapping)
    ]
    if not rows:
        return ""
    least = min(rows, key=lambda row: float(row["independent"]))
    more = "at least" if float(least["independent"]) >= float(least["patients"]) else "about"
    independent = number(round(float(least["independent"])))
    return f"{number(least['images'])} images are worth {more} {independent} images of different patients"
