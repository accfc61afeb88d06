"""The readings in the format of iMRMC, the program of the FDA for multi-reader studies; RJafroc reads a kind of it.

Rows of readerID, caseID, modalityID and score under a line `BEGIN DATA:`. For each case one row says the truth, with a
score of 1 (signal present: synthetic) or 0. iMRMC wants the word `truth` for reader and modality of such a row
(`doAUCmrmc` of its R package); RJafroc wants -1 for the reader, and whole numbers for all readers and cases
(`DfReadDataFile`), and every reader to have read every case. So there are two files. Neither program knows a second
reading of a case, so repeats are left out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from scansynth.errors import ReaderError
from scansynth.files import write_text
from scansynth.reader.statistics.readings import Reading, counted

BEGIN = "BEGIN DATA:"
TRUTH = "truth"
"""In the place of reader and modality, for rows of truth."""

TRUTH_NUMBER = "-1"
"""In the place of the reader, where programs want a number."""

OWN, SECOND = 1, 2
"""The modalities: the study's set, and the one that it is compared with. Real images stand in both."""


@dataclass(frozen=True)
class Ratings:
    """What a file holds.

    Attributes:
        truth: Whether the signal is there, by case.
        rows: Reader, case, modality and score of each reading, in the order of the file.
    """

    truth: Mapping[str, bool]
    rows: tuple[tuple[str, str, str, float], ...]


def ratings(readings: Iterable[Reading]) -> Ratings:
    """Each reader's first answers, in order.

    All names are whole numbers. Those of cases are made up, so that nothing of the cohort leaves with the file.
    """
    kept = counted(readings)
    images = sorted({reading.image for reading in kept})
    numbers = {image: number for number, image in enumerate(images, start=1)}
    readers = _numbers(kept)
    of_real = (OWN, SECOND) if any(reading.arm == SECOND for reading in kept) else (OWN,)
    answers = sorted(
        (readers[reading.reader], numbers[reading.image], modality, reading.answer)
        for reading in kept
        for modality in ((max(reading.arm, OWN),) if reading.synthetic else of_real)
    )
    return Ratings(
        {str(numbers[image]): image[0] for image in images},
        tuple((str(reader), str(case), str(modality), float(score)) for reader, case, modality, score in answers),
    )


def _numbers(readings: Iterable[Reading]) -> dict[str, int]:
    """The number of each reader, in the order of their names."""
    return {name: number for number, name in enumerate(sorted({reading.reader for reading in readings}), start=1)}


def write_imrmc(path: Path, readings: Iterable[Reading]) -> None:
    """Writes the file for iMRMC, whole or not at all."""
    _write(path, tuple(readings), TRUTH)


def write_rjafroc(path: Path, readings: Iterable[Reading]) -> None:
    """Writes the file for RJafroc: real images and the study's own set, of the readers who read all of them.

    Where there is no such reader, there is no file.
    """
    kept = [reading for reading in counted(readings) if reading.arm != SECOND]
    images = len({reading.image for reading in kept})
    read = Counter(reading.reader for reading in kept)
    whole = tuple(reading for reading in kept if read[reading.reader] == images)
    if whole:
        _write(path, whole, TRUTH_NUMBER)
    else:
        path.unlink(missing_ok=True)  # of an analysis before


def _write(path: Path, kept: tuple[Reading, ...], truth: str) -> None:
    """Writes a file whose rows of truth have this reader."""
    found, readers = ratings(kept), _numbers(kept)
    head = [
        "Reader study of synthetic images; 1 is synthetic, and a higher score means synthetic",
        *(f"reader {number} is {name}" for name, number in readers.items()),
        f"N0: {sum(not signal for signal in found.truth.values())}",
        f"N1: {sum(found.truth.values())}",
        f"NR: {len({row[0] for row in found.rows})}",
        f"NM: {len({row[2] for row in found.rows})}",
        BEGIN,
    ]
    rows = [(truth, case, TRUTH, float(signal)) for case, signal in found.truth.items()] + list(found.rows)
    table = [",".join((reader, case, modality, f"{score:g}")) for reader, case, modality, score in rows]
    write_text(path, "\n".join([*head, *table]) + "\n")


def read_imrmc(path: Path) -> Ratings:
    """What a file of either kind holds, whatever its names are.

    Raises:
        ReaderError: A row is not of the format, a case has no truth or two, or a reading comes twice.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    if BEGIN not in lines:
        raise ReaderError(f"{path.name} has no line {BEGIN}")
    truth: dict[str, bool] = {}
    rows: dict[tuple[str, str, str], float] = {}
    for line in filter(None, lines[lines.index(BEGIN) + 1 :]):
        reader, case, modality, score = _parts(line, path.name)
        if reader.lower() in {TRUTH, TRUTH_NUMBER}:
            if case in truth or score not in {0.0, 1.0}:
                raise ReaderError(f"{path.name}: each case needs one row of truth, with a score of 0 or 1")
            truth[case] = score == 1.0
        elif (reader, case, modality) in rows:
            raise ReaderError(f"{path.name}: a reader read a case twice, which iMRMC does not allow")
        else:
            rows[reader, case, modality] = score
    if {case for _, case, _ in rows} - set(truth):
        raise ReaderError(f"{path.name}: each case needs one row of truth, with a score of 0 or 1")
    return Ratings(truth, tuple((*place, score) for place, score in rows.items()))


def _parts(line: str, origin: str) -> tuple[str, str, str, float]:
    """Reader, case, modality and score of a row."""
    parts = [part.strip().strip('"') for part in line.split(",")]
    try:
        reader, case, modality, text = parts
        score = float(text)
    except ValueError:
        score = math.nan
    if not all(parts) or not math.isfinite(score):
        raise ReaderError(f"{origin}: {line[:60]!r} is not reader, case, modality, score")
    return reader, case, modality, score
