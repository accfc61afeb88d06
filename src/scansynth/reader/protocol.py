"""The protocol: what is fixed and hashed before reading begins."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scansynth import __version__
from scansynth.claims.rules import RULE_VERSION
from scansynth.config import ReaderSettings
from scansynth.data.tensors import CohortFacts
from scansynth.errors import ReaderError
from scansynth.files import read_json, sha256_file
from scansynth.reader.server.worklist import Marking, Preset, SecondQuestion
from scansynth.reader.statistics.counting import LEAST_IMAGES, LEAST_SHARE
from scansynth.reader.unaware import write_up_first
from scansynth.study import PROTOCOL

FORMAT = 1
ANSWERS = ("no", "yes")
"""Of the second question."""

SCALE = (
    "definitely real",
    "probably real",
    "perhaps real",
    "perhaps synthetic",
    "probably synthetic",
    "definitely synthetic",
)
"""Answers of the blinded reader study, 1 to 6."""

CERTAINTY = ("hardly suspicious", "slightly suspicious", "suspicious", "highly suspicious", "certain")
"""Confidence in a mark, 1 to 5."""

QUESTION = "Is this image a real scan, or synthetic?"

PRIMARY = {
    "figure": "the readers' mean AUC for distinguishing synthetic from real images, first answers only",
    "variance": "readers and images are both random samples (Obuchowski and Rockette, jackknife covariances)",
    "readers": f"whoever answered all images, or at least {LEAST_SHARE:.0%} of them and {LEAST_IMAGES} of either kind",
    "verdicts": [
        "distinguishable",
        "equivalent within the margin",
        "different but within the margin",
        "inconclusive",
        "not assessable",
    ],
}
"""The primary analysis; everything else is reported beside it and does not affect the verdict."""

TEST = "two one-sided tests that the figure lies within 0.5 and the margin, {each:g}% each"

COMPARISON = (
    "each reader's AUC of the set less that of the set it is compared with, against the same real images; two "
    "one-sided tests that the readers' mean difference lies within 0 and the margin, {each:g}% each; it decides "
    "nothing else"
)
"""What is made of two sets; the primary analysis is of the study's own set alone."""

WHERE = (
    "for real and for synthetic images apart: the chance that a finding is marked with more confidence than the most "
    "confident false mark of an image without (area under the alternative free-response curve), and the difference of "
    "the two; two one-sided tests that it lies within 0 and the margin, {each:g}% each; it decides nothing else"
)
"""What is made of marks."""

_WINDOWS = {"CT": (("Lung", -600.0, 1500.0), ("Mediastinum", 40.0, 400.0))}
"""Windows of each modality in source values, as radiologists use them; shown where the study's range holds a part."""


@dataclass(frozen=True)
class Fixed:
    """What a protocol holds beside the settings.

    Attributes:
        study: Random name of the reader study.
        images: How many images there are, both kinds together.
        repeated: How many of them are shown twice.
        labels: What they show.
        inputs: Digests of cohort, set and audit.
        synthetic_set: Name of the set.
        commitment: Hash of the sealed truth.
        sealed_sha256: Of the file with it.
        probe_sha256: Of the file with what the probe found.
        spares_sha256: Of the file with the seats for readers who may be added.
        override: Who overruled the probe's refusal, why, and what the refusal said.
        finding: Label that the question about a finding asks for; empty where the cohort has no labels.
    """

    study: str
    images: int
    repeated: int
    labels: tuple[str, ...]
    inputs: Mapping[str, str]
    synthetic_set: str
    commitment: str
    sealed_sha256: str
    probe_sha256: str
    spares_sha256: str
    override: Mapping[str, str] | None
    finding: str = ""


def write_up(settings: ReaderSettings, fixed: Fixed, now: datetime.datetime) -> dict[str, Any]:
    """The protocol as `protocol.json` holds it; no count of either kind."""
    second = second_question(settings)
    return {
        "format": FORMAT,
        "study": fixed.study,
        "title": settings.title,
        "created": now.astimezone(datetime.UTC).isoformat(timespec="seconds"),
        "scansynth": __version__,
        "rule_version": RULE_VERSION,
        "primary": {**PRIMARY, "test": TEST.format(each=100.0 * (1.0 - settings.level))},
        "margin": settings.margin,
        "level": settings.level,
        "readers": settings.readers,
        "images": fixed.images,
        "repeats": settings.repeats,
        "repeated": fixed.repeated,
        "presentations": fixed.images + fixed.repeated,
        "practice": settings.practice,
        "mix": settings.mix,
        "labels": list(fixed.labels),
        "question": QUESTION,
        "scale": list(SCALE),
        "second_question": None
        if second is None
        else {"text": second.text, "options": list(second.options), "confidence": second.confidence},
        "finding": fixed.finding,
        "marking": None if settings.marks is None else {"finding": settings.marks, "levels": list(CERTAINTY)},
        "where": None if settings.marks is None else WHERE.format(each=100.0 * (1.0 - settings.level)),
        "unaware": write_up_first(settings, fixed.finding),
        "references": settings.references,
        "comments": settings.comments,
        "break_every": settings.break_every,
        "expiry_days": settings.expiry_days,
        "synthetic_set": fixed.synthetic_set,
        "against": settings.against,
        "comparison": None if settings.against is None else COMPARISON.format(each=100.0 * (1.0 - settings.level)),
        "inputs": dict(fixed.inputs),
        "commitment": fixed.commitment,
        "sealed_sha256": fixed.sealed_sha256,
        "probe_sha256": fixed.probe_sha256,
        "spares_sha256": fixed.spares_sha256,
        "override": None if fixed.override is None else dict(fixed.override),
    }


def require_whole(settings: ReaderSettings, labels: Sequence[str]) -> None:
    """Checks that no setting is about something that is not asked: left alone, it would be passed over in silence.

    Args:
        settings: Of the study.
        labels: Of the cohort.

    Raises:
        ReaderError: One is.
    """
    if settings.confidence and settings.question is None:
        raise ReaderError("reader.confidence is asked of the second answer; set reader.question, or unset it")
    if settings.unaware_controls and not settings.unaware:
        raise ReaderError("reader.unaware_controls is about the first part; set reader.unaware, or unset it")
    if settings.finding is not None and settings.question is None:
        raise ReaderError("reader.finding is what the question asks for; set reader.question, or unset it")
    if settings.finding is not None and settings.finding not in labels:
        known = f"give one of {', '.join(labels)}" if labels else "unset it, since the cohort has none"
        raise ReaderError(f"reader.finding is {settings.finding}, which is no label of the cohort; {known}")


def second_question(settings: ReaderSettings) -> SecondQuestion | None:
    """The other question to each image; none where only one is asked."""
    if settings.question is None:
        return None
    return SecondQuestion(settings.question, ANSWERS, settings.confidence)


def marking(settings: ReaderSettings) -> Marking | None:
    """What is to be marked in each image; none: nothing."""
    return None if settings.marks is None else Marking(settings.marks, CERTAINTY)


def presets(facts: CohortFacts) -> tuple[Preset, ...]:
    """Windows that suit the cohort's modality; the first shows everything."""
    low, width = facts.low, facts.high - facts.low
    found = [Preset("Full range", low + width / 2.0, width)]
    usual = _WINDOWS.get(facts.modality)
    if usual is None:
        found += [
            Preset("Dark parts", low + width / 4.0, width / 2.0),
            Preset("Middle", low + width / 2.0, width / 2.0),
        ]
        return tuple(found)
    for name, center, wide in usual:
        if center - wide / 2.0 < facts.high and center + wide / 2.0 > facts.low:
            found.append(Preset(name, center, wide))
    return tuple(found)


def read_protocol(folder: Path, expected_sha256: str) -> dict[str, Any]:
    """The protocol of a reader study, as it was when the readers began.

    Args:
        folder: The reader study.
        expected_sha256: What the worklist says of it.

    Raises:
        ReaderError: It is missing, damaged, or was changed since.
    """
    path = folder / PROTOCOL
    try:
        if sha256_file(path) != expected_sha256:
            raise ReaderError(f"{PROTOCOL} was changed after the study was created; restore the file")
        values: dict[str, Any] = read_json(path)
    except FileNotFoundError:
        raise ReaderError(f"the study has no {PROTOCOL}; run: scansynth reader create STUDY") from None
    except ValueError:
        raise ReaderError(f"{PROTOCOL} is damaged; restore the file") from None
    return values
