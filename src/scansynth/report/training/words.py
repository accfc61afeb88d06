"""A training in words: how it ended, what happened on the way, and its facts."""

from __future__ import annotations

from typing import Any

from scansynth.gan.health import Level
from scansynth.report.collect import TrainingView
from scansynth.report.figures.words import CHANGES, clean, duration, number, times
from scansynth.report.training.course import Event, Kind

_ENDS = {
    Level.WARMING: (
        "The training ended before the images had once been as varied as real ones",
        "The images are not yet as varied as real ones",
    ),
    Level.HEALTHY: (
        "The training ended with images about as varied as real ones",
        "So far the images are about as varied as real ones",
    ),
    Level.WARNING: ("The training ended under a warning", "The training stands under a warning"),
    Level.CRITICAL: (
        "The training ended in a collapse: the images are far more alike than real ones",
        "The generator has collapsed: its images are far more alike than real ones",
    ),
}
"""How a training ended, and how one stands that has not ended."""

_HAPPENED = {
    Kind.COLLAPSE: "Collapse",
    Kind.WARNING: "Warning",
    Kind.OVER: "Over",
    Kind.BACK: "Went back",
}
EVENTS_LISTED = 20
"""Alarms and roll-backs that the page lists, at most."""

_WATCHED = {"generator": "Generator", "average": "Averaged generator", "losses": "Losses"}
"""The page's names of what the monitor watches."""


def level(training: TrainingView) -> Level | None:
    """How the training stands, or ended; none before the first look."""
    told = str((training.facts.get("level") if training.ended else None) or training.course.level)
    return Level(told) if told in set(Level) else None


def ending(training: TrainingView) -> str:
    """One sentence: how the training ended, how often it went back, and what was changed."""
    now = level(training)
    unseen = "The variety of the images has not been looked at"
    start = _ENDS[now][0 if training.ended else 1] if now else unseen
    backs = training.course.roll_backs
    if not backs:
        return f"{start}; it never went back to an earlier state."
    changes = ", then ".join(CHANGES[back.change][0] for back in backs if back.change in CHANGES)
    return f"{start}; on the way it collapsed and went back {times(len(backs))}: {changes or 'nothing is told'}."


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
        what, why = CHANGES.get(event.change, ("a change that is not known", ""))
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
    return f"{told}." if told else "No reason is told."


def facts_rows(training: TrainingView) -> list[tuple[str, str]]:
    """Short facts of a run."""
    facts, log = training.facts, training.course.log
    sizes = facts.get("parameters") or {}
    rows = [("training images", _amount(facts.get("train_images"))), ("patients", _amount(facts.get("train_patients")))]
    rows.append(("images seen", _images_seen(training)))
    if len(log.get("epoch", ())):
        rows.append(("passes over the images", number(float(log["epoch"][-1]))))
    if len(log.get("seconds", ())):
        rows.append(("length", duration(float(log["seconds"][-1])) + _given_up(training)))
    if len(log.get("images_per_second", ())):
        middle = sorted(log["images_per_second"])[len(log["images_per_second"]) // 2]
        rows.append(("images a second, median", number(float(middle))))
    rows.append(("computed on", f"{_device(facts.get('device'))}, {clean(facts.get('precision', 'float32'))}"))
    rows.append(("variety held against", clean(facts.get("variety_against", "not stated"))))
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


def _given_up(training: TrainingView) -> str:
    """Time that roll-backs gave up."""
    parts = [part["seconds"] for part in training.course.given_up if len(part.get("seconds", ()))]
    return f", {duration(sum(float(part[-1] - part[0]) for part in parts))} given up" if parts else ""


def _amount(value: Any) -> str:
    return number(float(value)) if isinstance(value, (int, float)) else "not stated"


def _device(value: Any) -> str:
    text = clean(value or "not stated")
    return {"cpu": "processor (CPU)", "cuda": "graphics card (GPU)"}.get(text.split(":")[0], text)
