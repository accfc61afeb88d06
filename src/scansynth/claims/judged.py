"""claims.json: the verdict of each question, and the claims behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from scansynth.claims.claim import Claim, Control, Floor
from scansynth.claims.questions import EVERY_QUESTION, together
from scansynth.claims.rules import RULE_VERSION
from scansynth.errors import EvidenceError
from scansynth.files import read_json, write_json
from scansynth.statistics import Direction, Interval, Verdict


@dataclass(frozen=True)
class Judged:
    """What a claims.json holds.

    Attributes:
        verdicts: Of each question on which there is a claim, by its name.
        claims: All of them.
    """

    verdicts: Mapping[str, Verdict]
    claims: tuple[Claim, ...]


def judged(claims: Sequence[Claim]) -> Judged:
    """Claims with the verdicts that they come to together."""
    return Judged(together(claims), tuple(claims))


def write_claims(path: Path, claims: Sequence[Claim]) -> None:
    """Writes claims.json, whole or not at all."""
    verdicts = together(claims)
    questions = [
        {"name": question.name, "question": question.title, "verdict": verdicts[question.name]}
        for question in EVERY_QUESTION
        if question.name in verdicts
    ]
    write_json(path, {"questions": questions, "claims": [claim.as_row() for claim in claims]})


def read_judged(path: Path, whose: str = "evidence", again: str = "audit") -> Judged:
    """What stands in a claims.json.

    Args:
        path: Of the file.
        whose: What was judged, for a refusal.
        again: The command that writes the file, likewise.

    Raises:
        EvidenceError: The file is damaged, was written under other rules, or states verdicts that its claims do not
            come to.
    """
    damaged = EvidenceError(f"{path.name} is damaged or of another version; run {again} again")
    try:
        content = read_json(path)
        rows = content["claims"] if isinstance(content, dict) else content  # a list before rule version 3
        others = {int(row["rule_version"]) for row in rows} - {RULE_VERSION}
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise damaged from fault
    if others:
        raise EvidenceError(
            f"the {whose} was judged by rule version {min(others)}, and this is version {RULE_VERSION}; "
            f"run {again} again"
        )
    try:
        claims = tuple(_from_row(row) for row in rows)
        stated = {row["name"]: Verdict(row["verdict"]) for row in content["questions"]}
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise damaged from fault
    if stated != together(claims):
        raise damaged
    return Judged(stated, claims)


def read_claims(path: Path) -> tuple[Claim, ...]:
    """The claims of an audit; see `read_judged`."""
    return read_judged(path).claims


def _from_row(row: Mapping[str, Any]) -> Claim:
    controls = tuple(Control(item["name"], item["found"], item["needed"]) for item in row["control"])
    return Claim(
        **{
            **row,
            "interval": None if row["interval"] is None else Interval(*row["interval"]),
            "floor": None if row["floor"] is None else Floor(**row["floor"]),
            "control": controls,
            "direction": Direction(row["direction"]),
            "verdict": Verdict(row["verdict"]),
            "roles": tuple(row["roles"]),
        }
    )


def schema() -> dict[str, Any]:
    """The published JSON Schema of claims.json (draft 2020-12)."""
    resource = resources.files("scansynth") / "claims" / "claims.schema.json"
    with resources.as_file(resource) as path:
        content: dict[str, Any] = read_json(path)
    return content
