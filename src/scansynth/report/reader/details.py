"""What is folded away in the readers' section: agreement, trends, another model, the protocol, a published study."""

from __future__ import annotations

from typing import Any

from scansynth.reader.statistics.detection import Share
from scansynth.reader.statistics.verdict import Published, percent
from scansynth.report.artefacts import Values, pair_of
from scansynth.report.figures.words import clean, moment, number, reason, setting
from scansynth.report.reader.artefacts import ReadersView
from scansynth.report.reader.figures import between, two

_KAPPAS = (
    ("two answers", "real or synthetic"),
    ("plain", "six answers, unweighted"),
    ("linear", "six answers, linear weights"),
    ("quadratic", "six answers, quadratic weights"),
)
_TRENDS = {
    "right": ("share correct", "points", 100.0),
    "called_synthetic": ("share called synthetic", "points", 100.0),
    "log_seconds": ("time, logarithm", "", 1.0),
}

PUBLISHED_COUNT, PUBLISHED_OF = 76, 200
"""Synthetic images called real in the work that this software began with: two radiologists, 100 images each."""

SUPPOSED = (0.62, 0.38, 0.10)
"""Shares of the real images called synthetic that would fit: the readers guess, see something, see much."""


def agreement_rows(agreement: Values) -> list[dict[str, Any]]:
    """Agreement: between readers, within readers, and within each reader."""
    rows = [("between two readers", agreement["between"]), ("within readers", agreement["within"])]
    rows += [(f"within {clean(name)}", row) for name, row in agreement["within_readers"].items()]
    return [_agreement(name, row) for name, row in rows if row is not None]


def _agreement(name: str, row: Values) -> dict[str, Any]:
    kappas, intervals = row["kappas"], row["intervals"]
    return {
        "name": name,
        "images": number(round(float(row["images"]), 1)),
        "same": f"{100.0 * float(row['same']):.0f}%",
        "side": f"{100.0 * float(row['same_side']):.0f}%",
        "kappas": [
            (
                two(float(kappas[key])) if key in kappas else "—",
                between(pair_of(intervals[key])) if key in intervals else "",
            )
            for key, _ in _KAPPAS
        ],
    }


KAPPA_HEADS = tuple(words for _, words in _KAPPAS)


def details(analysis: Values) -> list[tuple[str, str]]:
    """Figures beside the primary result, a line each."""
    rows = []
    primary = analysis["primary"]
    if primary:
        rows += _primary(primary)
    rows += _sets(analysis["sets"])
    for name, (words, unit, times) in _TRENDS.items():
        trend = analysis["course"]["trends"][name]
        if trend is not None:
            change = f"{times * float(trend['per_hundred_images']):+.2f}".replace("-", "−")
            rows.append((f"{words}, change over 100 images", f"{change} {unit} (p {float(trend['p']):.3f})".strip()))
    rows += _times(analysis["course"])
    return [*rows, *_crossed(analysis["crossed_logit"])]


def _primary(primary: Values) -> list[tuple[str, str]]:
    rows = [
        ("spread between readers (standard deviation)", two(float(primary["reader_sd"]))),
        ("for these readers only", between(pair_of(primary["interval_for_these_readers"]))),
        ("standard error, degrees of freedom", f"{float(primary['standard_error']):.3f}, "
         f"{number(round(float(primary['degrees_of_freedom']), 1))}"),
        ("p of the two one-sided tests", f"{float(primary['equivalence_p']):.3f}"),
    ]  # fmt: skip
    floor = primary["floor"]
    if floor is not None:
        ends = between((float(floor["low"]), float(floor["high"])))
        rows.append(("distance from chance with randomly permuted truth", ends))
    for check in primary["controls"]:
        passed = "" if check["passed"] else ", failed"
        found, needed = float(check["found"]), float(check["needed"])
        told = f"{percent(found, needed)}, needed {100.0 * needed:.0f}%{passed}"
        rows.append((f"control: {clean(check['name'])}", told))
    return rows


def _sets(found: Values | None) -> list[tuple[str, str]]:
    """The comparison with another set."""
    if found is None:
        return []
    first, second = (clean(name) for name in found["sets"])
    rows = [(f"{first} against {second}: {clean(found['outcome'])}", reason(found["why"]))]
    if "auc" in found:
        for name, auc, ends in zip(found["sets"], found["auc"], found["auc_intervals"], strict=True):
            rows.append((f"readers' mean AUC of {clean(name)}", f"{two(float(auc))} ({between(pair_of(ends))})"))
        rows.append(("p of the two one-sided tests of their difference", f"{float(found['equivalence_p']):.3f}"))
    return rows


def _times(course: Values) -> list[tuple[str, str]]:
    seconds = course["seconds"]
    rows = [
        (f"seconds per image, {name} (median)", f"{float(seconds[name]['median']):.1f}")
        for name in ("synthetic", "real", "right", "wrong")
        if name in seconds
    ]
    if seconds.get("quick") is not None:
        rows.append(("answers given within a second", f"{100.0 * float(seconds['quick']):.1f}%"))
    after = course["after_breaks"]
    if after is not None:
        told = f"{100.0 * float(after['after']['right']):.0f}% and {100.0 * float(after['others']['right']):.0f}%"
        rows.append((f"correct in the first {after['images_each']} images after a pause, and otherwise", told))
    return rows


def _crossed(crossed: Values | None) -> list[tuple[str, str]]:
    """The check by another model."""
    if crossed is None:
        return []
    name = "check by another model (crossed logit): slope, 0 if readers cannot distinguish"
    if not crossed["converged"]:
        return [(name, clean(crossed["note"]))]
    low, high = pair_of(crossed["interval"])
    note = f"; {clean(crossed['note'])}" if crossed["note"] else ""
    return [(name, f"{two(float(crossed['slope']))} ({between((low, high))}){note}")]


def protocol_rows(readers: ReadersView) -> list[tuple[str, str]]:
    """What was fixed before reading began, a line each."""
    protocol, closing = readers.protocol, readers.analysis["closing"]
    return [
        ("title", clean(protocol["title"])),
        ("fixed", moment(str(protocol["created"]))),
        ("closed", moment(str(closing["closed"]))),
        ("question", clean(protocol["question"])),
        ("answers", setting(list(protocol["scale"]))),
        ("findings to be marked", clean(protocol["marking"]["finding"]) if protocol.get("marking") else "none"),
        ("primary figure", clean(protocol["primary"]["figure"])),
        ("variance", clean(protocol["primary"]["variance"])),
        ("test", clean(protocol["primary"]["test"])),
        ("margin around 0.5", number(float(protocol["margin"]))),
        ("readers planned", number(int(protocol["readers"]))),
        ("images per reader", number(int(protocol["images"]))),
        ("of these shown twice, unannounced", number(int(protocol["repeated"]))),
        ("images before readers were told", number(int((protocol["unaware"] or {"images": 0})["images"]))),
        ("practice images, not counted", number(int(protocol["practice"]))),
        ("mix of real and synthetic", clean(protocol["mix"])),
        ("labels", setting(list(protocol["labels"])) or "none"),
        ("set that was read", clean(protocol["synthetic_set"])),
        ("set that it is compared with", clean(protocol["against"]) if protocol["against"] else "none"),
        ("commitment to the sealed truth", clean(protocol["commitment"])),
    ]


def published(level: float) -> dict[str, Any]:
    """What can be said of the published study, and what it would mean with the missing figure supplied."""
    fooled = Share(PUBLISHED_COUNT, PUBLISHED_OF)
    rows = []
    for false_alarms in SUPPOSED:
        distance = Published(fooled, false_alarms).d_prime
        rows.append((f"{100.0 * false_alarms:.0f}%", two(distance or 0.0)))
    return {
        "share": f"{100.0 * fooled.value:.0f}%",
        "of": f"{number(fooled.count)} of {number(fooled.of)}",
        "wilson": _percent(fooled.wilson(level)),
        "exact": _percent(fooled.exact(level)),
        "why": clean(Published(fooled).decide().why),
        "rows": rows,
    }


def _percent(interval: Any) -> str:
    return f"{100.0 * interval.low:.1f} to {100.0 * interval.high:.1f}%"
