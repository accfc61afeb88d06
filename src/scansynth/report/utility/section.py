"""The section "Does it help?": one sentence, the forest, curves, images that changed sides, and the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scansynth.claims.claim import Claim
from scansynth.claims.questions import UTILITY
from scansynth.report.artefacts import Values, pair_of, refusing
from scansynth.report.figures.pictures import single
from scansynth.report.figures.words import clean, count, number, reason
from scansynth.report.utility.artefacts import AGAIN, Example, TrialView
from scansynth.report.utility.contrasts import ARM_WORDS, arm_name, contrast_tables, forest, points_with
from scansynth.report.utility.declaration import changed_since, declared, not_done
from scansynth.report.utility.figures import trial_charts
from scansynth.statistics import Verdict
from scansynth.study import ANALYSIS
from scansynth.utility.statistics.answers import GAIN

OPENINGS: Mapping[Verdict, str] = {
    Verdict.SHOWN: "Yes, in this cohort: a detector finds more lesions with synthetic images added to the real ones.",
    Verdict.REFUTED: "No: a detector does worse when synthetic images are added to the real ones.",
    Verdict.NOT_SHOWN: "Not settled: the data are inconclusive on whether synthetic images help a detector.",
    Verdict.NOT_ASSESSABLE: "This could not be assessed.",
}
"""The answer by the verdict of the main comparison; the reason stands with it."""

_CONTROLS = {"utility.placebo", "utility.positive_control"}
"""Claims that are controls and say nothing about synthetic images."""


def counted(claims: Sequence[Claim]) -> list[Claim]:
    """The claims on synthetic images, without controls."""
    return [claim for claim in claims if claim.claim not in _CONTROLS]


def trial_section(trial: TrialView) -> dict[str, Any]:
    """Everything that the template shows.

    Raises:
        EvidenceError: Figures are missing, or no figures.
    """
    claim, own, verdict = trial.claim(GAIN), counted(trial.claims), trial.judged.verdicts[UTILITY.name]
    tally = [(each, sum(one.verdict is each for one in own)) for each in Verdict]
    with refusing(f"{ANALYSIS} of the trial", AGAIN):
        analysis, block = trial.analysis, trial.analysis["blocks"][0]
        terms = analysis["terms"]
        margin, rate = float(terms["margin"]), float(terms["false_alarm_rate"])
        return {
            "anchor": UTILITY.name,
            "title": UTILITY.title,
            "aim": "that synthetic images help",
            "verdict": verdict,
            "sentence": OPENINGS[verdict],
            "disagreement": reason(claim.why),
            "tally": [row for row in tally if row[1]],
            "forest": forest(block, margin),
            "margin": number(100.0 * margin),
            "level": number(100.0 * float(terms["level"])),
            "charts": trial_charts(analysis),
            "arms": [_arm(row) for row in block["arms"]],
            "with_lesions": any(row["cpm"] is not None for row in block["arms"]),
            "lesion_floor": _lesion_floor(block.get("lesion_floor")),
            "rate": number(100.0 * rate),
            **_examples(trial),
            "groups": [
                {"title": f"By {clean(name)}", "rows": [_group(row) for row in rows]}
                for name, rows in block["groups"].items()
            ],
            "external": [_external(row, analysis.get("external_notes") or {}) for row in block["external"]],
            "left_out": [_left_out(row) for row in analysis.get("left_out") or ()],
            "tables": contrast_tables(analysis["blocks"]),
            "declared": declared(trial),
            "changed_since": changed_since(trial),
            "not_done": not_done(trial),
            "pairs": number(_pairs(block)),
        }


def _percent(estimate: Values | None) -> tuple[str, str]:
    """A share in percent with its interval."""
    if estimate is None:
        return "—", ""
    low, high = pair_of(estimate["interval"])
    return f"{100.0 * float(estimate['value']):.1f}%", f"{100.0 * low:.1f} to {100.0 * high:.1f}"


def _plain(estimate: Values | None) -> tuple[str, str]:
    """A figure of two decimals with its interval."""
    if estimate is None:
        return "—", ""
    low, high = pair_of(estimate["interval"])
    words = [f"{value:.2f}".replace("-", "−") for value in (float(estimate["value"]), low, high)]
    return words[0], f"{words[1]} to {words[2]}"


def _arm(row: Values) -> dict[str, Any]:
    return {
        "name": arm_name(str(row["arm"])),
        "key": clean(row["arm"]),
        "figures": [
            _percent(row["sensitivity"]),
            _percent(row["false_alarms"]),
            _plain(row["auc"]),
            _plain(row["gap"]),
            _percent(row["calibration"]["ece"]),
        ],
        "cpm": _plain(row["cpm"]),
        "thresholds": ", ".join(f"{float(one):.3f}" for one in row["thresholds"]),
    }


def _lesion_floor(floor: Values | None) -> str:
    """CPM without location information, as figures without a verdict; empty without lesions."""
    if floor is None:
        return ""
    value, between = _plain(floor["dealt"])
    more, more_between = _plain(floor["beyond"])
    return (
        f"With the scores kept but the marks moved to those of other patients, CPM would be "
        f"{value} ({between}). The difference from the detector without synthetic images is {more} ({more_between}): "
        f"this part of its CPM comes from localisation."
    )


def _group(row: Values) -> dict[str, Any]:
    gain, alarms = row["gain"], row["false_alarms"]
    return {
        "group": clean(row["group"]),
        "patients": number(int(row["positive_patients"])),
        "images": f"{number(int(row['positive_images']))} / {number(int(row['negative_images']))}",
        "gain": ("—", "") if gain is None else points_with(gain),
        "alarms": ("—", "") if alarms is None else points_with(alarms),
        "why": reason(row["why"]),
    }


def _external(row: Values, notes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Another cohort, with its differences from this study."""
    shown = _group(row)
    told = [reason(row["why"]), *(reason(note) for note in notes.get(str(row["group"]), ()))]
    return {**shown, "why": " ".join(part for part in told if part)}


def _left_out(row: Values) -> dict[str, Any]:
    """Patients left out of training, and what each arm finds among them."""
    by_arm = row["sensitivity"]
    arms = sorted(by_arm, key=lambda arm: list(ARM_WORDS).index(arm) if arm in ARM_WORDS else len(ARM_WORDS))
    found = [(arm_name(str(arm)), *_percent(by_arm[arm])) for arm in arms]
    return {**_group(row), "group": f"{clean(row['column'])}: {clean(row['group'])}", "found": found}


def _examples(trial: TrialView) -> dict[str, Any]:
    caught, missed = trial.changed
    pairs = _pairs(trial.analysis["blocks"][0])
    return {
        "caught": [_example(example, pairs) for example in trial.caught],
        "missed": [_example(example, pairs) for example in trial.missed],
        "caught_of": count(caught, "test image"),
        "missed_of": count(missed, "test image"),
        "changed": caught + missed,
    }


def _pairs(block: Values) -> int:
    """Number of detectors per arm."""
    return max((len(row["thresholds"]) for row in block["arms"]), default=0)


def _example(example: Example, pairs: int) -> dict[str, Any]:
    with_set, without = (f"{round(share * pairs)} of {pairs}" for share in (example.by, example.before))
    return {
        "picture": single(example.image),
        "after": with_set,
        "before": without,
        "alt": f"Real test image with a lesion, found by {with_set} of the detectors with synthetic images and by "
        f"{without} of those without",
    }
