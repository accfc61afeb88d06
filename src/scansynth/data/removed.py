"""What the sources said of their patients and what became of it: `deidentification.csv`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from scansynth.data.join import Scan
from scansynth.dicom.profile import COLUMNS, removal_report
from scansynth.files import write_csv

REMOVED = "deidentification.csv"


def write_removed(folder: Path, scans: Iterable[Scan]) -> None:
    """Writes one row for each attribute that the confidentiality profile of PS3.15 wants removed and a file held."""
    headers = {scan.source.relative: scan.header for scan in scans}
    write_csv(folder / REMOVED, COLUMNS, removal_report(headers.values()))
