"""Two modalities, or any two arms, that the same readers read: from a table of scores that any program can write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.errors import ReaderError
from scansynth.files import read_csv
from scansynth.reader.statistics.arms import Compared, Comparison, Difference, compare_areas, judge
from scansynth.reader.statistics.counting import LEAST_IMAGES
from scansynth.reader.statistics.imrmc import read_imrmc
from scansynth.reader.statistics.roc import Floats, Mask
from scansynth.reader.statistics.verdict import equivalence_level

COLUMNS = ("reader", "modality", "case", "truth", "score")
"""Of the table; `patient` may stand beside them. truth is 1 where the finding is there, 0 where it is not."""

SUFFIX = ".imrmc"


@dataclass(frozen=True)
class Scores:
    """Scores of readers in two modalities.

    Attributes:
        names: Of the modalities.
        readers: Who read in both.
        left_out: Who read in one alone.
        first: Scores in the first, not a number where a reader did not read a case in it, (R, C).
        second: In the second, (R, C).
        positive: Whether the finding is there, (C,).
        patients: Whose cases belong together, (C,).
    """

    names: tuple[str, str]
    readers: tuple[str, ...]
    left_out: tuple[str, ...]
    first: Floats
    second: Floats
    positive: Mask
    patients: NDArray[np.int64]


@dataclass(frozen=True)
class _Row:
    reader: str
    modality: str
    case: str
    positive: bool
    patient: str
    score: float


def read_scores(path: Path, modalities: Sequence[str] = ()) -> Scores:
    """The scores in a table, or in a file of iMRMC (`.imrmc`).

    Args:
        path: The file.
        modalities: Two of those that occur, the first one first; empty: the two that occur, in order.

    Raises:
        ReaderError: A row is impossible, or there are not two modalities, or fewer than two readers read in both.
    """
    rows = _of_imrmc(path) if path.suffix.lower() == SUFFIX else _of_table(path)
    found = sorted({row.modality for row in rows})
    wanted = tuple(modalities) or tuple(found)
    if len(wanted) != 2 or len(set(wanted)) != 2 or not set(wanted) <= set(found):
        raise ReaderError(
            f"{path.name} has the modalities {', '.join(found) or 'none'}; name two of them: --modality A --modality B"
        )
    kept = [row for row in rows if row.modality in wanted]
    read = [{row.reader for row in kept if row.modality == name} for name in wanted]
    readers, everyone = sorted(read[0] & read[1]), read[0] | read[1]
    if len(readers) < 2:
        raise ReaderError(f"{path.name}: {len(readers)} readers read in both modalities, and two are needed at least")
    cases = sorted({row.case for row in kept})
    places = {name: place for place, name in enumerate(cases)}
    scores = np.full((2, len(readers), len(cases)), np.nan)
    truth = {row.case: (row.positive, row.patient) for row in kept}
    for row in kept:
        if row.reader in readers:
            scores[wanted.index(row.modality), readers.index(row.reader), places[row.case]] = row.score
    return Scores(
        (wanted[0], wanted[1]),
        tuple(readers),
        tuple(sorted(everyone - set(readers))),
        scores[0],
        scores[1],
        np.array([truth[name][0] for name in cases], dtype=np.bool_),
        np.unique([truth[name][1] for name in cases], return_inverse=True)[1].astype(np.int64),
    )


def _of_imrmc(path: Path) -> list[_Row]:
    try:
        found = read_imrmc(path)
    except UnicodeDecodeError:
        raise ReaderError(f"{path.name} is not a file of iMRMC") from None
    return [
        _Row(reader, modality, case, found.truth[case], f"case {case}", score)
        for reader, case, modality, score in found.rows
    ]


def _of_table(path: Path) -> list[_Row]:
    try:
        table = read_csv(path)
    except (UnicodeDecodeError, ValueError):
        raise ReaderError(
            f"{path.name} is not a table; give a CSV file with the columns {', '.join(COLUMNS)}"
        ) from None
    rows, seen, truth = [], set(), dict[str, tuple[bool, str]]()
    for number, row in enumerate(table, start=2):
        absent = [name for name in COLUMNS if not (row.get(name) or "").strip()]
        if absent:
            raise ReaderError(f"{path.name}: row {number} has no {', '.join(absent)}")
        made = _row(row, f"{path.name}: row {number}")
        key = (made.reader, made.modality, made.case)
        if key in seen:
            raise ReaderError(f"{path.name}: row {number}: {made.reader} scored {made.case} in {made.modality} before")
        if truth.setdefault(made.case, (made.positive, made.patient)) != (made.positive, made.patient):
            raise ReaderError(f"{path.name}: row {number}: {made.case} had another truth or patient before")
        seen.add(key)
        rows.append(made)
    return rows


def _row(row: dict[str, str], where: str) -> _Row:
    try:
        score = float(row["score"])
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise ReaderError(f"{where}: the score {row['score']!r} is not a number")
    truth = row["truth"].strip()
    if truth not in {"0", "1"}:
        raise ReaderError(f"{where}: the truth {truth!r} is neither 0 nor 1")
    reader, modality, case = (row[name].strip() for name in ("reader", "modality", "case"))
    return _Row(reader, modality, case, truth == "1", (row.get("patient") or "").strip() or f"case {case}", score)


def compare_modalities(scores: Scores, margin: float, level: float) -> dict[str, Any]:
    """The readers' mean difference of AUC, first less second, with its verdict, as JSON holds it.

    Args:
        scores: Of both modalities.
        margin: Largest difference that does not matter.
        level: Of the intervals.

    Raises:
        ReaderError: A reader scored fewer than two patients of a class in a modality, or a number is out of range.
    """
    if not 0.0 < margin < 0.5 or not 0.5 < level < 1.0:
        raise ReaderError("give a margin between 0 and 0.5, and a level between 0.5 and 1")
    found = compare_areas(scores.first, scores.second, scores.positive, scores.patients)
    verdict = _judged(scores, found, margin, level)
    wide, narrow = found.interval(level), found.interval(equivalence_level(level))
    return {
        "modalities": list(scores.names),
        "readers": list(scores.readers),
        "left_out": list(scores.left_out),
        "cases": {"positive": int(scores.positive.sum()), "negative": int((~scores.positive).sum())},
        "patients": len(set(scores.patients.tolist())),
        "margin": margin,
        "level": level,
        "auc": [arm.general.auc for arm in found.arms],
        "auc_intervals": [[*_ends(arm.general.interval(level))] for arm in found.arms],
        "difference": found.value,
        "interval": [*_ends(wide)],
        "equivalence_interval": [*_ends(narrow)],
        "standard_error": found.error,
        "degrees_of_freedom": min(found.freedom, 1e9),
        "p": found.p,
        "equivalence_p": found.equivalence(margin),
        "outcome": verdict.outcome.value,
        "why": verdict.why,
    }


def _judged(scores: Scores, found: Difference, margin: float, level: float) -> Comparison:
    """The verdict; none with fewer images of a class than a verdict needs."""
    fewest = min(found.arms[place].general.fewest for place in (0, 1))
    if fewest < LEAST_IMAGES:
        why = f"A reader scored {fewest} images of a class, and {LEAST_IMAGES} are needed."
        return Comparison(Compared.NOT_ASSESSABLE, why)
    return judge(found, margin, level, scores.names)


def _ends(interval: Any) -> tuple[float, float]:
    return interval.low, interval.high
