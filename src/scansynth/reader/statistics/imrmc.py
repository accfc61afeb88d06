"""The readings in the format of iMRMC, the program of the FDA for multi-reader studies.

Rows of readerID, caseID, modalityID and score under a line `BEGIN DATA:`. For each case one row says the truth: its
reader and its modality are `truth`, its score is 1 (signal present: synthetic) or 0. Format: the iMRMC user manual and
its R package's `dfMRMC_example`. iMRMC knows no second reading of a case, so repeats are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from scansynth.errors import ReaderError
from scansynth.files import write_text
from scansynth.reader.statistics.readings import Reading, counted

BEGIN = "BEGIN DATA:"
TRUTH = "truth"
MODALITY = "scansynth"
"""The one modality; iMRMC compares two where there are two."""

Row = tuple[str, str, str, int]


def rows(readings: Iterable[Reading]) -> list[Row]:
    """Truth rows, then each reader's first answers, in order.

    Case numbers are made up, so that nothing of the cohort leaves with the file.
    """
    kept = counted(readings)
    images = sorted({reading.image for reading in kept})
    names = {image: f"c{number:04d}" for number, image in enumerate(images, start=1)}
    truths: list[Row] = [(TRUTH, names[image], TRUTH, int(image[0])) for image in images]
    answers: list[Row] = [(reading.reader, names[reading.image], MODALITY, reading.answer) for reading in kept]
    return truths + sorted(answers)


def write_imrmc(path: Path, readings: Iterable[Reading]) -> None:
    """Writes the file, whole or not at all.

    Raises:
        ReaderError: A reader's name has a comma, or is the word that marks the truth.
    """
    found = rows(readings)
    kept = [row for row in found if row[2] != TRUTH]
    if any("," in row[0] or row[0] in {TRUTH, "-1"} for row in kept):
        raise ReaderError("a reader's name must not contain a comma or be truth or -1; rename the reader")
    cases = [row for row in found if row[2] == TRUTH]
    head = [
        "Reader study of synthetic images; 1 is synthetic, and a higher score means synthetic",
        f"N0: {sum(row[3] == 0 for row in cases)}",
        f"N1: {sum(row[3] == 1 for row in cases)}",
        f"NR: {len({row[0] for row in kept})}",
        "NM: 1",
        BEGIN,
    ]
    write_text(path, "\n".join([*head, *(f"{r}, {c}, {m}, {s}" for r, c, m, s in found)]) + "\n")


def read_imrmc(path: Path) -> list[Row]:
    """The rows of an iMRMC file.

    Raises:
        ReaderError: A row is not of the format, a case has no truth or two, or a reading comes twice.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    if BEGIN not in lines:
        raise ReaderError(f"{path.name} has no line {BEGIN}")
    found: list[Row] = []
    for line in filter(None, (line.strip() for line in lines[lines.index(BEGIN) + 1 :])):
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 4 or not parts[3].isdecimal():
            raise ReaderError(f"{path.name}: {line!r} is not reader, case, modality, score")
        found.append((parts[0], parts[1], parts[2], int(parts[3])))
    truths = [row[1] for row in found if row[0] in {TRUTH, "-1"}]
    readings = [row[:3] for row in found if row[0] not in {TRUTH, "-1"}]
    if len(set(truths)) != len(truths) or {row[1] for row in readings} - set(truths):
        raise ReaderError(f"{path.name}: each case needs one row of truth")
    if len(set(readings)) != len(readings):
        raise ReaderError(f"{path.name}: a reader read a case twice, which iMRMC does not know")
    return found
