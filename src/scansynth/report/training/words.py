"""A training run in words: how it ended, what happened, and its facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scansynth.gan.watching.health import Level
from scansynth.report.collect import TrainingView
from scansynth.report.figures.words import CHANGES, clean, duration, number, times
from scansynth.report.training.course import Event, Kind

_ENDS = {
    Level.WARMING: (
        "Training ended before the images ever became as varied as real ones",
        "The images are not yet as varied as real ones",
    ),
    Level.HEALTHY: (
        "Training ended with images about as varied as real ones",
        "So far the images are about as varied as real ones",
    ),
    Level.WARNING: ("Training ended under a warning", "Training is under a warning"),
    Level.CRITICAL: (
        "Training ended in mode collapse: the images are far less varied than real ones",
        "The generator has collapsed: its images are far less varied than real ones",
    ),
}
"""How a training ended, and how one stands that has not ended."""

_HAPPENED = {
    Kind.COLLAPSE: "Collapse",
    Kind.WARNING: "Warning",
    Kind.OVER: "Over",
    Kind.BACK: "Rolled back",
}
EVENTS_LISTED = 20
"""Most alarms and roll-backs that the page lists."""

_WATCHED = {"generator": "Generator", "average": "Averaged generator", "losses": "Losses"}
"""The page's names of what the monitor watches."""


def level(training: TrainingView) -> Level | None:
    """How the training stands, or ended; none before the first look."""
    told = str((training.facts.get("level") if training.ended else None) or training.course.level)
    return Level(told) if told in set(Level) else None


def ending(training: TrainingView) -> str:
    """One sentence: how the training ended, how often it went back, and what was changed."""
    now = level(training)
    unseen = "The variety of the images has not been evaluated"
    start = _ENDS[now][0 if training.ended else 1] if now else unseen
    backs = training.course.roll_backs
    if not backs:
        return f"{start}; it was never rolled back."
    changes = ", then ".join(CHANGES[back.change][0] for back in backs if back.change in CHANGES)
    return f"{start}; it collapsed and was rolled back {times(len(backs))}: {changes or 'not recorded'}."


def event_rows(events: tuple[Event, ...]) -> list[dict[str, str]]:
    """The newest alarms and roll-backs: after how many images, what, and the reason or the change."""
    return [
        {
            "images": number(event.left_at if event.kind is Kind.BACK else event.images),
            "what": _HAPPENED[event.kind],
            "kind": event.kind.value,
            "words": _happened(event),
        }
        for event in events[-EVENTS_LISTED:]
    ]


def _happened(event: Event) -> str:
    """The reason of an alarm, or what a roll-back did."""
    if event.kind is Kind.BACK:
        what, why = CHANGES.get(event.change, ("an unknown change", ""))
        where = f"To the state after {number(event.images)} images" if event.images else "To the beginning"
        return f"{where}; {what}" + (f": {why}." if why else ".")
    if event.kind is Kind.OVER:
        return "No longer a collapse, still a warning." if event.level == Level.WARNING else "The alarm is over."
    by_network: dict[str, list[str]] = {}
    for reason in map(clean, event.reasons):
        name, mark, rest = reason.partition(": ")
        known = bool(mark) and name in _WATCHED
        by_network.setdefault(_WATCHED[name] if known else "", []).append(rest if known else reason)
    told = ". ".join(f"{name}: {'; '.join(rest)}" if name else "; ".join(rest) for name, rest in by_network.items())
    return f"{told}." if told else "No reason is recorded."


def _started_from(began: Mapping[str, Any]) -> str:
    """The weights of another run that a training was started from."""
    own = "this cohort" if began.get("own_cohort") else "another cohort"
    return (
        f"weights {str(began.get('weights_sha256', ''))[:12]} of {own}, recipe {clean(began.get('recipe', ''))}; "
        f"{_amount(began.get('frozen_layers'))} layers of the discriminator not trained; roles of its patients: "
        f"{clean(began.get('roles', 'not stated'))}"
    )


def facts_rows(training: TrainingView) -> list[tuple[str, str]]:
    """Short facts of a run."""
    facts, log = training.facts, training.course.log
    sizes = facts.get("parameters") or {}
    rows = [("training images", _amount(facts.get("train_images"))), ("patients", _amount(facts.get("train_patients")))]
    rows += [("images seen", _images_seen(training)), ("images drawn from", _drawn_from(training))]
    if len(log.get("epoch", ())):
        rows.append(("passes over the images", number(float(log["epoch"][-1]))))
    if len(log.get("seconds", ())):
        rows.append(("length", duration(float(log["seconds"][-1])) + _given_up(training)))
    if len(log.get("images_per_second", ())):
        middle = sorted(log["images_per_second"])[len(log["images_per_second"]) // 2]
        rows.append(("images per second, median", number(float(middle))))
    rows.append(("computed on", f"{_device(facts.get('device'))}, {clean(facts.get('precision', 'float32'))}"))
    rows.append(("variety compared with", clean(facts.get("variety_against", "not stated"))))
    began = facts.get("started_from")
    if began:
        rows.append(("started from", _started_from(began)))
    for key, words in (("generator", "generator, parameters"), ("discriminator", "discriminator, parameters")):
        if key in sizes:
            rows.append((words, _amount(sizes[key])))
    return [*rows, ("seed", clean(facts.get("seed", "not stated")))]


def _images_seen(training: TrainingView) -> str:
    """How many, and of how many when that is not all."""
    total, seen = training.facts.get("images_total"), training.facts.get("images_seen")
    if not training.ended and len(training.course.log.get("images", ())):
        seen = float(training.course.log["images"][-1])
    return _amount(total) if seen in (None, total) else f"{_amount(seen)} of {_amount(total)}"


def _drawn_from(training: TrainingView) -> str:
    """Which state of the training makes the images, and how it was chosen."""
    chosen = training.facts.get("chosen")
    if not isinstance(chosen, dict):
        return "the last state" if training.ended else "not yet known"
    figures = ", ".join(
        f"{words} {number(float(chosen[name]))}"
        for name, words in (("tune_kid", "KID"), ("tune_recall", "recall"), ("tune_copies", "share near to training"))
        if isinstance(chosen.get(name), (int, float))
    )
    over = ", after which it did not improve" if training.facts.get("gets_no_better") else ""
    return f"the state after {_amount(chosen.get('images'))} images{over}, chosen on tune patients ({figures})"


def _given_up(training: TrainingView) -> str:
    """Time discarded by roll-backs."""
    parts = [part["seconds"] for part in training.course.given_up if len(part.get("seconds", ()))]
    return f", {duration(sum(float(part[-1] - part[0]) for part in parts))} discarded" if parts else ""


def _amount(value: Any) -> str:
    return number(float(value)) if isinstance(value, (int, float)) else "not stated"


def _device(value: Any) -> str:
    text = clean(value or "not stated")
    return {"cpu": "processor (CPU)", "cuda": "graphics card (GPU)"}.get(text.split(":")[0], text)
