"""The section on the reader study: one sentence, figures by reader, example images, and the machine apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scansynth.claims.questions import READERS
from scansynth.report.artefacts import Values, listed, pair_of, refusing
from scansynth.report.figures.pictures import single
from scansynth.report.figures.words import clean, number, reason
from scansynth.report.reader.artefacts import AGAIN, LISTS, ReadersView, Seen
from scansynth.report.reader.details import agreement_rows, details, protocol_rows, published
from scansynth.report.reader.figures import between, reader_charts, reader_forest, two
from scansynth.report.reader.noticing import noticed
from scansynth.report.reader.places import places
from scansynth.statistics import Verdict
from scansynth.study import ANALYSIS, MACHINE, PROBE

OPENINGS: Mapping[str, str] = {
    "distinguishable": "Yes: readers distinguish the synthetic images from real ones.",
    "equivalent within the margin": "No, within the margin that was fixed in advance: readers do no better than "
    "guessing.",
    "different but within the margin": "Hardly: readers do better or worse than guessing, but by less than the margin "
    "that was fixed in advance.",
    "inconclusive": "Not settled: these readings are inconclusive.",
    "not assessable": "This could not be assessed.",
}
"""The answer by the outcome; the reason stands with it."""

_LISTS: Mapping[str, tuple[str, str, str]] = {
    "synthetic_fooled_most": ("Synthetic, most often called real", "synthetic", "called real by"),
    "real_fooled_most": ("Real, most often called synthetic", "real", "called synthetic by"),
    "synthetic_fooled_none": ("Synthetic, and called synthetic by all", "synthetic", ""),
    "real_fooled_none": ("Real, and called real by all", "real", ""),
}


def reader_section(readers: ReadersView) -> dict[str, Any]:
    """Everything that the template shows.

    Raises:
        EvidenceError: Figures are missing, or no figures.
    """
    verdict, analysis = readers.judged.verdicts[READERS.name], readers.analysis
    with refusing(f"{MACHINE} of the reader study", AGAIN):
        machine = _machine(readers.machine)
    with refusing(f"{PROBE} of the reader study", AGAIN):
        probe = _probe(readers.probe)
    with refusing(f"{ANALYSIS} of the reader study", AGAIN):
        outcome = str(analysis["verdict"]["outcome"])
        level = float(analysis["level"])
        return {
            "anchor": READERS.name,
            "title": READERS.title,
            "aim": "that readers cannot distinguish them",
            "verdict": verdict,
            "sentence": OPENINGS[outcome],
            "outcome": outcome,
            "disagreement": reason(analysis["verdict"]["why"]),
            "tally": [(verdict, 1)],
            "notices": _notices(readers),
            "forest": reader_forest(analysis, readers.machine),
            "machine": machine,
            "level": number(100.0 * level),
            "narrow_level": number(100.0 * (1.0 - 2.0 * (1.0 - level))),
            "band": between((0.5 - float(analysis["margin"]), 0.5 + float(analysis["margin"]))),
            "charts": reader_charts(analysis),
            "where": places(analysis.get("where")),
            "rows": [_reader(row) for row in analysis["readers"]],
            "lists": [_list(name, readers) for name in _LISTS],
            "any_seen": any(readers.seen[name] for name in LISTS),
            "agreement": agreement_rows(analysis["agreement"]),
            "labels": [_label(name, row) for name, row in analysis["labels"].items()],
            "groups": [
                {"title": f"By {clean(name)}", "rows": [_label(group, row) for group, row in rows.items()]}
                for name, rows in analysis["groups"].items()
            ],
            "second": _second(analysis["second_question"], readers.protocol.get("second_question")),
            "comments": [_comment(row) for row in analysis["comments"]],
            "changed": _changed(analysis["changed"]),
            **noticed(analysis),
            "details": details(analysis),
            "protocol": protocol_rows(readers),
            "published": published(level),
            "probe": probe,
            "n": ", ".join(f"{number(int(amount))} {clean(what)}" for what, amount in analysis["n"].items()),
        }


def _notices(readers: ReadersView) -> list[str]:
    """Notices beside the verdict: notes of the analysis, an early close, another set."""
    analysis = readers.analysis
    found = (
        []
        if readers.of_this_set
        else [
            f"The readers saw the set {clean(readers.protocol['synthetic_set'])}; the rest of this page is about "
            f"another."
        ]
    )
    found += [reason(note) for note in analysis["notes"]]
    unfinished = analysis["closing"]["unfinished"]
    if unfinished:
        told = [f"{clean(name)} had given {given} of {asked} answers" for name, (given, asked) in unfinished.items()]
        found.append(f"The study was closed early: {listed(told)}.")
    return found


def _machine(machine: Values) -> str:
    """What the machine's figure is, in words."""
    learned = float(machine["learned"])
    if not 0.0 <= float(machine["auc"]) <= 1.0 or pair_of(machine["interval"])[0] > float(machine["auc"]):
        raise ValueError("no AUC")
    doubt = (
        ""
        if learned == 1.0
        else f" Only {100.0 * learned:.0f}% of the networks learned even their training images: the reference is weak."
    )
    return (
        f"A neural network was trained on half of the {number(int(machine['images']))} images, with their truth, and "
        f"read the other half. It shows what can be detected. It is not a reader and enters none of the readers' "
        f"figures.{doubt}"
    )


def _share(row: Values) -> tuple[str, str]:
    """A share, and its intervals: Wilson's, and the exact one of Clopper and Pearson."""
    (low, high), (least, most) = pair_of(row["wilson"]), pair_of(row["clopper_pearson"])
    between = f"{100.0 * low:.0f} to {100.0 * high:.0f}; exact {100.0 * least:.0f} to {100.0 * most:.0f}"
    return f"{100.0 * float(row['value']):.0f}%", between


def _reader(row: Values) -> dict[str, Any]:
    """One reader's table; a reader who saw too little has counts of answers alone."""
    full = "H" in row
    return {
        "name": clean(row["reader"]),
        "finished": bool(row["finished"]),
        "images": number(int(row["images"])),
        "counts": [
            number(int(row[key]))
            for key in (
                "synthetic_called_synthetic",
                "synthetic_called_real",
                "real_called_synthetic",
                "real_called_real",
            )
        ]
        if full
        else ["—"] * 4,
        "H": _share(row["H"]) if full else ("—", ""),
        "F": _share(row["F"]) if full else ("—", ""),
        "d": two(float(row["d_prime"])) if full else "—",
        "c": two(float(row["criterion"])) if full else "—",
        "auc": two(float(row["auc"])) if full else "—",
        "auc_between": between(pair_of(row["auc_interval"])) if full else "",
        "verdict": clean(row["verdict"]["outcome"]),
        "why": reason(row["verdict"]["why"]),
    }


def _label(name: Any, row: Values) -> dict[str, Any]:
    shares = ["—" if row[key] is None else f"{100.0 * float(row[key]):.0f}%" for key in ("H", "F")]
    return {
        "name": clean(name) or "no label",
        "images": f"{number(int(row['synthetic']))} / {number(int(row['real']))}",
        "H": shares[0],
        "F": shares[1],
        "auc": "—" if row["auc"] is None else two(float(row["auc"])),
        "between": clean(row["why"]) if row["auc"] is None else between(pair_of(row["interval"])),
    }


def _second(rows: Sequence[Values], asked: Values | None) -> dict[str, Any] | None:
    """How often each answer to the second question was given."""
    if not rows or asked is None:
        return None
    options = [clean(option) for option in asked["options"]]
    return {
        "text": clean(asked["text"]),
        "options": options,
        "rows": [
            {
                "name": f"{'synthetic' if row['synthetic'] else 'real'}, {clean(row['label']) or 'no label'}",
                "answers": number(int(row["answers"])),
                "shares": [
                    f"{100.0 * int(row['options'].get(str(place), 0)) / max(int(row['answers']), 1):.0f}%"
                    for place in range(1, len(options) + 1)
                ],
            }
            for row in rows
        ],
    }


def _comment(row: Values) -> dict[str, str]:
    """What a reader wrote, with what the image was and what was answered."""
    kind = "synthetic" if row["synthetic"] else "real"
    return {
        "image": f"{clean(row['reader'])}, image {number(int(row['position']))}",
        "kind": f"{kind}, {clean(row['label'])}" if row["label"] else kind,
        "answer": str(int(row["answer"])),
        "text": clean(row["comment"]),
    }


def _changed(row: Values) -> str:
    """How many answers were changed before the next was given."""
    answers, sides = int(row["answers"]), int(row["sides"])
    if not answers:
        return "No reader changed an answer."
    told = f"{number(answers)} answer{'s were' if answers > 1 else ' was'} changed before the next was given"
    return f"{told}, {number(sides)} of them from real to synthetic or back. The last answer counts."


def _list(name: str, readers: ReadersView) -> dict[str, Any]:
    title, kind, _ = _LISTS[name]
    return {
        "title": title,
        "kind": kind,
        "shown": [
            _seen(seen, int(readers.analysis["n"]["readers who read all"]), _LISTS[name]) for seen in readers.seen[name]
        ],
        "none": readers.listed[name] == 0,
    }


def _seen(seen: Seen, readers: int, words_of: tuple[str, str, str]) -> dict[str, Any]:
    title, kind, verb = words_of
    fooled = 1.0 - seen.called_synthetic if kind == "synthetic" else seen.called_synthetic
    words = f"{verb} {round(fooled * readers)} of {readers}" if verb else f"mean answer {seen.answer:.1f}"
    return {"picture": single(seen.image), "words": words, "alt": f"{title}: {words}"}


def _probe(probe: Values) -> dict[str, Any]:
    """What the probe found before reading, and who overruled it."""
    override, value = probe["override"], probe["auc"]
    figure = ""
    if value is not None:
        ends = "" if probe["interval"] is None else f", interval {between(pair_of(probe['interval']))}"
        figure = f"Its AUC was {two(float(value))}{ends}."
    return {
        "verdict": Verdict(probe["verdict"]),
        "why": reason(probe["why"]),
        "figure": figure,
        "refused": "" if probe["refused"] == probe["why"] else reason(probe["refused"]),
        "audit": clean(probe["audit"]),
        "name": clean(override["name"]) if override else "",
        "reason": reason(override["reason"]) if override else "",
    }
