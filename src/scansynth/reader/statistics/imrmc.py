"""The readings in the format of iMRMC, the program of the FDA for multi-reader studies; RJafroc reads it as well.

Rows of readerID, caseID, modalityID and score under a line `BEGIN DATA:`. For each case one row says the truth: its
reader is -1, its modality 0, its score 1 (signal present: synthetic) or 0. All names are whole numbers, as RJafroc
wants them; lines before the data say which reader is which. Format: the iMRMC user manual, and `DfReadDataFile` of
RJafroc. Neither knows a second reading of a case, so repeats are left out; RJafroc wants every reader to have read all.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from scansynth.errors import ReaderError
from scansynth.files import write_text
from scansynth.reader.statistics.readings import Reading, counted

BEGIN = "BEGIN DATA:"
TRUTH = -1
"""In the place of the reader, for rows of truth."""

OWN, SECOND = 1, 2
"""The modalities: the study's set, and the one that it is compared with. Real images are read once and stand in both;
rows of truth have 0."""

Row = tuple[int, int, int, int]


def rows(readings: Iterable[Reading]) -> list[Row]:
    """Truth rows, then each reader's first answers, in order.

    Case numbers are made up, so that nothing of the cohort leaves with the file.
    """
    kept = counted(readings)
    images = sorted({reading.image for reading in kept})
    numbers = {image: number for number, image in enumerate(images, start=1)}
    readers = _numbers(kept)
    truths: list[Row] = [(TRUTH, numbers[image], 0, int(image[0])) for image in images]
    of_real = (OWN, SECOND) if any(reading.arm == SECOND for reading in kept) else (OWN,)
    answers = [
        (readers[reading.reader], numbers[reading.image], modality, reading.answer)
        for reading in kept
        for modality in ((max(reading.arm, OWN),) if reading.synthetic else of_real)
    ]
    return truths + sorted(answers)


def _numbers(readings: Iterable[Reading]) -> dict[str, int]:
    """The number of each reader, in the order of their names."""
    return {name: number for number, name in enumerate(sorted({reading.reader for reading in readings}), start=1)}


def write_imrmc(path: Path, readings: Iterable[Reading]) -> None:
    """Writes the file, whole or not at all."""
    kept = tuple(readings)
    found, readers = rows(kept), _numbers(kept)
    cases = [row for row in found if row[0] == TRUTH]
    head = [
        "Reader study of synthetic images; 1 is synthetic, and a higher score means synthetic",
        *(f"reader {number} is {name}" for name, number in readers.items()),
        f"N0: {sum(row[3] == 0 for row in cases)}",
        f"N1: {sum(row[3] == 1 for row in cases)}",
        f"NR: {len({row[0] for row in found} - {TRUTH})}",
        f"NM: {len({row[2] for row in found} - {0})}",
        BEGIN,
    ]
    write_text(path, "\n".join([*head, *(",".join(map(str, row)) for row in found)]) + "\n")


def read_imrmc(path: Path) -> list[Row]:
    """The rows of an iMRMC file whose names are whole numbers.

    Raises:
        ReaderError: A row is not of the format, a case has no truth or two, or a reading comes twice.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    if BEGIN not in lines:
        raise ReaderError(f"{path.name} has no line {BEGIN}")
    found: list[Row] = []
    for line in filter(None, (line.strip() for line in lines[lines.index(BEGIN) + 1 :])):
        try:
            reader, case, modality, score = (int(part) for part in line.split(","))
        except ValueError:
            raise ReaderError(f"{path.name}: {line!r} is not reader, case, modality, score") from None
        found.append((reader, case, modality, score))
    truths = [row[1] for row in found if row[0] == TRUTH]
    readings = [row[:3] for row in found if row[0] != TRUTH]
    if len(set(truths)) != len(truths) or {row[1] for row in readings} - set(truths):
        raise ReaderError(f"{path.name}: each case needs one row of truth")
    if len(set(readings)) != len(readings):
        raise ReaderError(f"{path.name}: a reader read a case twice, which iMRMC does not allow")
    return found
