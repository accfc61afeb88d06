"""The marks of a closed study: what they show, and the files with which other programs can compute it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scansynth.claims.claim import Claim
from scansynth.data.tensors import load_facts
from scansynth.files import sha256_file
from scansynth.reader.statistics.analysis import Protocol
from scansynth.reader.statistics.counting import counting
from scansynth.reader.statistics.exported import write_marks, write_workbooks
from scansynth.reader.statistics.localisation import gather, localisation
from scansynth.reader.statistics.located import located
from scansynth.reader.statistics.outlined import read_lesions
from scansynth.reader.statistics.readings import Reading
from scansynth.seeds import generator
from scansynth.study import LESIONS, MARKS, Study


def conclude_where(
    study: Study,
    protocol: Mapping[str, Any],
    rule: Protocol,
    readings: Sequence[Reading],
    seed: int,
    inputs: Mapping[str, str],
) -> tuple[dict[str, Any] | None, tuple[Claim, ...]]:
    """What the marks show, as `analysis.json` holds it, and the claim; none where none were asked for.

    Writes the marks for other programs.

    Args:
        study: The study; its lesions are those of the closing.
        protocol: As it was fixed.
        rule: The analysis's part of it, with what was decided since.
        readings: Of all readers.
        seed: Of the claim's floor and control.
        inputs: Digests for the claim.

    Raises:
        ReaderError: The table of lesions is missing or damaged.
    """
    if protocol.get("marking") is None:
        return None, ()
    ordered = sorted(readings, key=lambda one: (one.reader, one.position))
    kept = counting(ordered, rule.images, rule.excluded)
    outlines = read_lesions(study.reader / LESIONS)
    rows = load_facts(study.cohort).shape[0]
    write_marks(study.reader / MARKS, ordered, outlines, rows)
    marked = gather(ordered, kept, outlines, rows)
    write_workbooks(study.reader, marked)
    told = localisation(ordered, kept, outlines, protocol["marking"], rows, rule.sets, rule.margin, rule.level)
    inputs = {**inputs, "lesions": sha256_file(study.reader / LESIONS)}
    return told, (located(told, marked, rule.level, inputs, generator(seed, "reader located")),)
