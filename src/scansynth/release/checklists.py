"""Reporting checklists, filled from the evidence: what a release answers, where, and what a person must still write."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from scansynth.claims.claim import Claim, sensible
from scansynth.claims.questions import HOUSE
from scansynth.release.answers import CLAIMS, REPORT, Answers, answers
from scansynth.release.candidate import Candidate
from scansynth.release.cards import NOT_PROVIDED, plain
from scansynth.release.manifest import Manifest


@dataclass(frozen=True)
class Item:
    """One thing that a list asks.

    Attributes:
        number: Of the item, or its topic.
        asks: What is asked, in our words.
        answer: Name of the line that answers; empty: none does.
        claims: Beginnings of the names of claims that answer.
    """

    number: str
    asks: str
    answer: str = ""
    claims: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checklist:
    """A list of items.

    Attributes:
        name: Its name.
        source: Who wrote it, and where.
        compared: With what of the source our items were compared.
        items: What it asks.
    """

    name: str
    source: str
    compared: str
    items: tuple[Item, ...]


def checklists() -> tuple[Checklist, ...]:
    """The lists that a release fills."""
    text = (resources.files("scansynth.release") / "checklists.toml").read_text(encoding="utf-8")
    return tuple(
        Checklist(one["name"], one["source"], one["compared"], tuple(_item(item) for item in one["items"]))
        for one in tomllib.loads(text)["list"]
    )


def _item(values: Mapping[str, Any]) -> Item:
    return Item(**{**values, "claims": tuple(values.get("claims", ()))})


def filled(candidate: Candidate, about: Manifest) -> str:
    """Every list with its answers, Markdown."""
    known = answers(candidate, about)
    claims = [(place, one) for place, one in enumerate(candidate.evidence.judged.claims, 1) if not HOUSE.holds(one)]
    parts = [
        f"# Checklists: synthetic images of {plain(about.study)}",
        "What these lists ask is told in short and in other words than theirs: consult the lists themselves. Answers "
        f"were filled in from the study; “{NOT_PROVIDED}” stands where no program knows the answer and a person must "
        f"write it. Claims are linked to the report; all of them with interval, floor and control: [{CLAIMS}]({CLAIMS})"
        ".",
    ]
    for one in checklists():
        rows = [(item, _answered(item, known, claims)) for item in one.items]
        told = sum(text != NOT_PROVIDED for _, text in rows)
        lines = [f"| {item.number} | {plain(item.asks)} | {text} |" for item, text in rows]
        parts += [
            f"## {one.name}",
            f"{one.source}. {told} of {len(rows)} items are answered here.",
            f"Compared with the source: {one.compared[0].lower()}{one.compared[1:]}.",
            "\n".join(["| item | asks | answer |", "| --- | --- | --- |", *lines]),
        ]
    return "\n\n".join(parts) + "\n"


def _answered(item: Item, known: Answers, claims: Sequence[tuple[int, Claim]]) -> str:
    """The cell of an item."""
    said = []
    if item.answer:
        text, place = known[item.answer]
        if text.strip():
            said.append(f"{plain(text)} ([{place}]({place}))")
    said += [_claim(place, claim) for place, claim in claims if claim.claim.startswith(item.claims or ("?",))]
    return "; ".join(said) or NOT_PROVIDED


def _claim(place: int, claim: Claim) -> str:
    """A claim in a few words, linked to its place in the report."""
    whose = ", ".join(part for part in (claim.judge, claim.attribute) if part)
    value = "" if claim.value is None else f" {sensible(claim.value)}"
    ends = "" if claim.interval is None else f" ({sensible(claim.interval.low)} to {sensible(claim.interval.high)})"
    name = f"[`{claim.claim}`]({REPORT}#claim-{place}){f' by {plain(whose)}' if whose else ''}"
    return f"{name} **{claim.verdict.value}**{value}{ends}"
