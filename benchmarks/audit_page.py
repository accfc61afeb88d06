"""The page of `audit.py`: what each set read, claim by claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scansynth.claims.rules import CLAIMS, RULE_VERSION
from scansynth.files import write_text
from scansynth.statistics import Verdict, binomial_upper

QUESTIONS = {
    "real": ("fidelity.",),
    "varied": ("diversity.",),
    "copied": ("copies.", "membership.", "anonymity."),
    "fair": ("fairness.",),
    "traces": ("telltales.",),
    "in-house": ("house.",),
}
DEAR = "classifiers of pixels"
Audit = Mapping[str, Any]


def write_page(content: Mapping[str, Any], path: Path) -> None:
    """Writes the page."""
    cohorts = "\n\n".join(
        _cohort(name, rows, [audit for audit in content["audits"] if audit["cohort"] == name])
        for name, rows in content["cohorts"].items()
    )
    seconds = sum(part["seconds"] for audit in content["audits"] for part in audit["parts"].values())
    text = f"""# The audit audited

Sets whose truth is known were put before the questions of the audit that their fault is judged by, and sets in which
nothing is planted before all of them. How each was made, and what it must read, stands at the top of
`benchmarks/audit.py` and was written down before these runs, but for blur, where it says so.
{_version(content["rule_version"])}

{cohorts}

{seconds / 60:.0f} minutes of processor time. Made by `{content["command"]}` on {content["machine"]}.
"""
    write_text(path, text)


def _version(version: int) -> str:
    """Under which rules the figures came about."""
    return f"Rule version {version}." + ("" if version == RULE_VERSION else f" The audit is at {RULE_VERSION}.")


def _cohort(name: str, rows: Mapping[str, Any], audits: list[Audit]) -> str:
    honest = [audit for audit in audits if audit["set"] == "others"]
    return f"""## On `{name}`

{_sets(rows, audits)}

{_bounds(rows["others"], honest)}

Each claim, over all draws in which nothing was planted:

{_claims(honest)}"""


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def _of(audit: Audit) -> Iterable[Mapping[str, Any]]:
    return (claim for part in audit["parts"].values() for claim in part["claims"])


def _refuted(audit: Audit, starts: tuple[str, ...]) -> bool:
    return any(claim["claim"].startswith(starts) and claim["verdict"] == Verdict.REFUTED for claim in _of(audit))


def _sets(rows: Mapping[str, Any], audits: list[Audit]) -> str:
    lines = []
    for kind, row in rows.items():
        of = [audit for audit in audits if audit["set"] == kind]
        if not row["draws"]:
            lines.append([row["title"], "not run", "", _short(row["must"]), "", "", ""])
            continue
        seen = [f"{word} {sum(_refuted(audit, starts) for audit in of)}" for word, starts in QUESTIONS.items()]
        seen = [words for words in seen if not words.endswith(" 0")]
        low, high = row["interval"]
        good = f"{row['as_it_should_be']} of {row['draws']}"
        enough = "yes" if row["verdict"] else "**no**"
        lines.append(
            [
                row["title"],
                row["draws"],
                ", ".join(seen) or "none",
                _short(row["must"]),
                good,
                f"{low:.0%} to {high:.0%}",
                enough,
            ]
        )
    head = (
        "set",
        "draws",
        "refuted, in how many draws",
        "must be refuted",
        "as it should be",
        "95% interval",
        "enough",
    )
    return _table(head, lines)


def _bounds(row: Mapping[str, Any], honest: list[Audit]) -> str:
    """What so few draws leave open."""
    if not row["draws"]:
        return "No set with nothing planted was asked everything yet."
    failed = row["draws"] - row["as_it_should_be"]
    dear = sum(DEAR in audit["parts"] for audit in honest)
    return (
        f"Of {row['draws']} sets with nothing planted {failed} had a claim that read `refuted`; the classifiers of "
        f"pixels were asked in {dear} of them. So few draws leave an error rate of up to "
        f"{binomial_upper(failed, row['draws']):.0%} open (one-sided 95%); longer series of single claims stand with "
        "[the rules](../evidence.md). The images that were passed off are several of one patient, which makes the "
        "traces err more often than they state."
    )


def _short(names: Sequence[str]) -> str:
    topics = sorted({name.partition(".")[0] for name in names})
    if not names:
        return "none of any"
    return f"`{names[0]}`" if len(names) == 1 else "one of " + ", ".join(f"`{topic}.*`" for topic in topics)


def _name(claim: Mapping[str, Any]) -> str:
    extra = ", ".join(part for part in (claim["judge"], claim["attribute"]) if part)
    return f"`{claim['claim']}`" + (f" ({extra})" if extra else "")


def _claims(audits: list[Audit]) -> str:
    counts: dict[str, Counter[str]] = {}
    order = {name: place for place, name in enumerate(CLAIMS)}
    for audit in audits:
        for claim in sorted(_of(audit), key=lambda claim: order[claim["claim"]]):
            counts.setdefault(_name(claim), Counter())[claim["verdict"]] += 1
    kinds = (Verdict.SHOWN, Verdict.NOT_SHOWN, Verdict.REFUTED, Verdict.NOT_ASSESSABLE)
    rows = [
        [name, *(found[kind.value] for kind in kinds)]
        for name, found in sorted(counts.items(), key=lambda x: order[x[0].split("`")[1]])
    ]
    return _table(("claim", *(kind.value for kind in kinds)), rows)
