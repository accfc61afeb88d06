"""Evidence made up: every claim of the rules, by two judges and three attributes, with the figures behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from scansynth.audit.encoders import FIXED, LEARNED
from scansynth.claims.claim import Claim, Control, Floor, Measurement, decide, not_assessable
from scansynth.claims.rules import RULES
from scansynth.statistics import Direction, Interval, Verdict

ATTRIBUTES = ("sex", "age band", "manufacturer")
GROUPS = {"sex": ("F", "M"), "age band": ("0 to 39", "40 to 59", "60 to 79", "80 and over")}
N = {"synthetic images": 80, "real images": 41, "real patients": 12}

_FIGURES: Mapping[str, tuple[float, tuple[float, float], tuple[float, float, float], float]] = {
    "KID": (0.0431, (0.0362, 0.0498), (0.0031, 0.0058, 0.0174), 0.0174),
    "times the real variety": (0.94, (0.91, 0.97), (0.8, 1.0, 1.21), 0.8),
    "times the real number": (0.94, (0.91, 0.97), (0.8, 1.0, 1.21), 0.8),
    "times the expected": (0.83, (0.74, 0.92), (0.86, 1.0, 1.14), 0.86),
    "times the overall coverage": (0.93, (0.85, 1.01), (0.86, 1.0, 1.14), 0.9),
    "AUC": (0.55, (0.51, 0.59), (0.41, 0.5, 0.6), 0.6),
    "share of images": (0.0125, (0.0003, 0.0268), (0.0, 0.01, 0.04), 0.05),
    "difference of shares": (0.02, (-0.01, 0.05), (-0.03, 0.0, 0.03), 0.05),
    "log ratio of shares": (0.31, (0.24, 0.38), (-0.1, 0.0, 0.12), 0.223),
}
"""By unit: value, interval, floor, margin."""


def claim(name: str, verdict: Verdict | None = None, judge: str = "", attribute: str = "", found: float = 1.0) -> Claim:
    """One claim; its interval lies where `verdict` wants it, or where the table above has it."""
    rule = RULES[name]
    if verdict is Verdict.NOT_ASSESSABLE:
        made = not_assessable(name, f"Fewer than 30 real patients tell of {attribute or 'this'}.", N)
        return replace(made, judge=judge, attribute=attribute)
    value, ends, floor, margin = _FIGURES[rule.unit]
    if verdict is not None:
        good = -1.0 if rule.direction is Direction.AT_MOST else 1.0
        step = {Verdict.SHOWN: good, Verdict.REFUTED: -good, Verdict.NOT_SHOWN: 0.0}[verdict] * 0.2 * abs(margin)
        width = 0.1 * abs(margin)
        value, ends = margin + step, (margin + step - width, margin + step + width)
    measured = Measurement(
        value, Interval(*ends), 0.95, Floor("real patients against real patients", *floor, 200),
        (Control("blur", 1.0, 0.8), Control("planted fault", found, 0.8)), margin, N,
    )  # fmt: skip
    made = decide(name, measured, dict.fromkeys(Verdict, f"The figure is {value:.3g}. So it is, by this measure."))
    return replace(made, judge=judge, attribute=attribute)


def everything(inputs: Mapping[str, str]) -> tuple[Claim, ...]:
    """All claims, all four verdicts among them; the judges differ on one."""
    rows: list[Claim] = []
    for name, rule in RULES.items():
        if rule.by_judge:
            rows += [claim(name, judge=FIXED)]
            other = Verdict.SHOWN if name == "diversity.coverage" else None
            rows += [claim(name, other, judge=LEARNED, found=0.6 if name == "diversity.recall" else 1.0)]
        elif rule.by_attribute:
            rows += [claim(name, attribute=attribute) for attribute in ATTRIBUTES[:2]]
            rows += [claim(name, Verdict.NOT_ASSESSABLE, attribute=ATTRIBUTES[2])]
        else:
            gone = name in {"fidelity.c2st_native", "telltales.files"}
            found = 0.6 if name == "copies.flag_rate" else 1.0
            rows.append(claim(name, Verdict.NOT_ASSESSABLE if gone else None, found=found))
    return tuple(replace(row, inputs=dict(inputs)) for row in rows)


def distributions(rng: np.random.Generator, synthetic: int) -> list[dict[str, Any]]:
    """The figures behind the pictures, as `audit.run.judge_compared` writes them."""
    rows: list[dict[str, Any]] = []

    def add(name: str, figures: Mapping[str, Any], judge: str = "", attribute: str = "") -> None:
        rows.append({"claim": name, "judge": judge, "attribute": attribute, "figures": dict(figures)})

    for judge in (FIXED, LEARNED):
        kid = {"floor": rng.normal(0.0058, 0.002, 200), "synthetic": rng.normal(0.043, 0.004, 60)}
        add("fidelity.kid", _lists({**kid, "blurred": rng.normal(0.09, 0.006, 60)}), judge)
        pairs = {"synthetic": rng.gamma(9, 0.1, 300), "real": rng.gamma(10, 0.1, 300)}
        add("diversity.pair_distance", _lists(pairs), judge)
        reach = {"floor": rng.normal(1, 0.08, 200), "synthetic": rng.normal(0.83, 0.05, 200)}
        add("diversity.coverage", _lists({**reach, "planted": rng.normal(0.7, 0.04, 50)}), judge)
    copies = {
        "synthetic": rng.normal(0.71, 0.06, synthetic).clip(0, 1),
        "held_out": rng.normal(0.68, 0.07, 40).clip(0, 1),
    }
    published = {"scale 1.05": 0.97, "crop": 0.61, "blend 80/20": 0.57}
    add("copies.flag_rate", {**_lists(copies), "threshold": 0.87, "published": published})
    for name in ("membership.distance", "house.discriminator", "house.encoders"):
        add(name, membership(rng))
    for attribute, groups in GROUPS.items():
        for name in ("fairness.share", "fairness.coverage"):
            add(name, {"groups": group_rows(rng, groups, name)}, attribute=attribute)
    rows[-1]["figures"]["left_out"] = {"institution": "it has one value only"}
    add("fairness.lesion_size", sizes(rng))
    worth = {"images": 80, "patients": 12, "independent": 12.0}
    alike = {"synthetic": rng.normal(0.4, 0.1, 100), "real": rng.normal(0.35, 0.1, 100)}
    add("diversity.vendi", {"worth": worth, "structure": _lists(alike)}, FIXED)
    add("diversity.vendi", {"worth": {**worth, "independent": 7.2}, "structure": {}}, LEARNED)
    add("telltales.pixels", traces())
    add("fidelity.c2st_pixels", {"slight": {"noise of 1%": 0.83, "blur of 0.35 pixels": 0.51}, "seen_from": 0.6})
    add("appearance", appearance(rng))
    return rows


def _lists(samples: Mapping[str, Any]) -> dict[str, list[float]]:
    return {key: [float(value) for value in values] for key, values in samples.items()}


def membership(rng: np.random.Generator) -> dict[str, Any]:
    scores = {"members": rng.normal(0.2, 1, 60), "others": rng.normal(0, 1, 40), "floor": rng.normal(0.5, 0.05, 200)}
    return {**_lists(scores), "exposed": {"share": 0.03, "interval": [0.004, 0.1], "passing": 1, "others": 40}}


def group_rows(rng: np.random.Generator, groups: tuple[str, ...], name: str) -> list[dict[str, Any]]:
    """The groups of one attribute as one claim leaves them: all figures, and its own verdict on each."""
    rows: list[dict[str, Any]] = []
    for group in groups:
        value = float(rng.normal(0, 0.2))
        rows.append(
            {
                "group": group, "patients": 40, "test_patients": 31, "share_real": 1 / len(groups),
                "share_fake": float(np.exp(value)) / len(groups), "log_disparity": value,
                "interval": [value - 0.2, value + 0.2], "told_apart": 0.8, "skew_found": 0.9,
                "coverage": 0.95 + value / 4, "coverage_interval": [0.85, 1.05], "kid": 0.01,
                "kid_interval": [-0.01, 0.03], "flag_rate": 0.01, "flag_rate_interval": [-0.02, 0.04],
                "verdict": "not shown" if name == "fairness.share" else "shown",
            }
        )  # fmt: skip
    small = {"group": "values that fewer than 5 patients share", "patients": 3, "test_patients": 1}
    return [*rows, {**small, "verdict": "not assessable"}]


def sizes(rng: np.random.Generator) -> dict[str, Any]:
    edges = np.linspace(3, 30, 25)
    made, real = (np.histogram(rng.gamma(shape, 2, 400), edges)[0] / 400 for shape in (6, 5))
    tails = [{"tail": f"{end} 33%", "real": 0.333, "set": 0.3} for end in ("smallest", "largest")]
    return {**_lists({"edges": edges, "synthetic": made, "real": real}), "column": "diameter mm", "tails": tails}


def traces() -> dict[str, Any]:
    return {
        "floor": [0.45, 0.5, 0.55], "by_model": {"boosting": 0.55, "logistic": 0.53}, "p": 0.2,
        "control": {"JPEG at quality 90": 1.0}, "traces": {"gaps between grey values": 0.58, "dark border": 0.52},
        "extra": {"as stored": 0.71}, "traces_as_stored": {"gaps between grey values": 0.7},
    }  # fmt: skip


def appearance(rng: np.random.Generator) -> dict[str, Any]:
    frequency = np.arange(1, 33) / 64
    middle = -1.0 - 4.0 * frequency
    grey = np.linspace(-0.98, 0.98, 64)
    share = np.exp(-((grey + 0.6) ** 2) * 8) + 0.3 * np.exp(-((grey - 0.1) ** 2) * 30)
    share /= share.sum()
    return {
        "spectrum": _curves(frequency, middle, 0.12, middle - 1.2 * frequency**2 + rng.normal(0, 0.02, 32)),
        "histogram": _curves(grey, share, 0.1 * share, share * rng.uniform(0.8, 1.25, 64)),
        "synthetic_images": 80, "real_images": 41, "real_patients": 12,
    }  # fmt: skip


def _curves(x: Any, middle: Any, half: Any, made: Any) -> dict[str, Any]:
    low, high = middle - half, middle + half
    return _lists({"x": x, "synthetic": made, "low": low, "high": high})
