"""What the sources said of their patients and what became of it: `deidentification.csv`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from scansynth.data.scans.burned_in import TextSearch
from scansynth.data.scans.join import Left, Scan
from scansynth.dicom.header import SUSPECT
from scansynth.dicom.profile import COLUMNS, removal_report, report_row
from scansynth.files import write_csv

REMOVED = "deidentification.csv"


_PIXELS = "PS3.15 E.3.1, Clean Pixel Data Option"
_FACES = "PS3.15 E.3.2, Clean Recognizable Visual Features Option"


def write_removed(folder: Path, scans: Sequence[Scan], left: Iterable[Left], search: TextSearch) -> None:
    """Writes one row for each attribute that the confidentiality profile of PS3.15 wants removed and a file held.

    Then what became of text in the pixels, a row for each way, and that faces are kept.

    Args:
        folder: The cohort's.
        scans: Those that make cases.
        left: Files left out.
        search: For text in the pixels.
    """
    headers = {scan.source.relative: scan.header for scan in scans}
    rows = [*removal_report(headers.values()), *_in_pixels(len(scans), left, search)]
    write_csv(folder / REMOVED, COLUMNS, rows)


def _in_pixels(images: int, left: Iterable[Left], search: TextSearch) -> list[dict[str, object]]:
    suspect = Counter(item.reason for item in left if item.reason in SUSPECT)
    done = [(count, f"file left out: {reason}") for reason, count in sorted(suspect.items())]
    if search.program is None:
        done.append((images, "not searched: Tesseract is not installed"))
    else:
        found = Counter(what for _, _, what, _ in search.listed)
        done += [(count, what) for what, count in sorted(found.items())]
        done.append((len(search.searched), f"searched with Tesseract {search.program.version}"))
    pixels = [report_row("text in the pixels", "(7FE0,0010)", count, "", what, _PIXELS) for count, what in done]
    return [*pixels, report_row("recognizable faces", "(7FE0,0010)", images, "", "kept: none is removed", _FACES)]
