"""The marks of a closed study: what they show, and the files with which other programs can compute it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scansynth.data.tensors import load_facts
from scansynth.reader.statistics.analysis import Protocol
from scansynth.reader.statistics.counting import counting
from scansynth.reader.statistics.exported import write_marks, write_workbooks
from scansynth.reader.statistics.localisation import gather, localisation
from scansynth.reader.statistics.outlined import read_lesions
from scansynth.reader.statistics.readings import Reading
from scansynth.study import LESIONS, MARKS, Study


def conclude_where(
    study: Study, protocol: Mapping[str, Any], rule: Protocol, readings: Sequence[Reading]
) -> dict[str, Any] | None:
    """What the marks show, as `analysis.json` holds it; none where none were asked for. Writes them for other programs.

    Args:
        study: The study; its lesions are those of the closing.
        protocol: As it was fixed.
        rule: The analysis's part of it, with what was decided since.
        readings: Of all readers.

    Raises:
        ReaderError: The table of lesions is missing or damaged.
    """
    if protocol.get("marking") is None:
        return None
    ordered = sorted(readings, key=lambda one: (one.reader, one.position))
    kept = counting(ordered, rule.images, rule.excluded)
    outlines = read_lesions(study.reader / LESIONS)
    rows = load_facts(study.cohort).shape[0]
    write_marks(study.reader / MARKS, ordered, outlines, rows)
    write_workbooks(study.reader, gather(ordered, kept, outlines, rows))
    return localisation(ordered, kept, outlines, protocol["marking"], rows, rule.sets, rule.margin, rule.level)
