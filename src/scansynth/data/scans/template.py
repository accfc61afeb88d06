"""A labels.csv to fill in: every file of a folder, with what its header says."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from scansynth.console import Progress, silent
from scansynth.data.labels.people import same_person
from scansynth.data.labels.read import LEFT_OUT
from scansynth.data.scans.eligibility import commonest_modality, why_left_out
from scansynth.data.scans.orientation import plane_of
from scansynth.data.scans.sources import Source, find_sources
from scansynth.dicom.header import Header
from scansynth.dicom.read import Limits
from scansynth.dicom.sandbox import scan_all
from scansynth.errors import CohortError, DicomError
from scansynth.files import write_bytes

COLUMNS = (
    "path", "sop_instance_uid", "label", "patient_id", "site", "modality", "plane", "pixels", "patient_number",
    "series_number", LEFT_OUT,
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@")  # what a spreadsheet would compute


def write_template(path: Path, dicom: Path, workers: int, progress: Progress = silent) -> int:
    """Writes the table, in UTF-8 with a mark that spreadsheets know, and returns how many files it lists.

    It holds no identifier of a header but where a path cannot be written as text: then the SOP Instance UID. Patients
    and series are numbered as they come, so that images which belong together can be labelled together.

    Args:
        path: The new file.
        dicom: Folder with the scans.
        workers: Processes that read headers.
        progress: Told how far the work is.

    Raises:
        CohortError: The file exists, or there is no scan.
        StorageError: It cannot be written.
    """
    if path.exists():
        raise CohortError(f"{path} exists, and labels in it would be lost; choose another file")
    sources = find_sources(dicom)
    results = scan_all([source.path for source in sources], Limits(), workers)
    found: list[tuple[Source, Header | DicomError]] = []
    for source, result in zip(sources, results, strict=True):
        found.append((source, result))
        progress(len(found), len(sources), "reading headers")
    modality = commonest_modality(header for _, header in found if not isinstance(header, DicomError))
    if modality is None:
        raise CohortError("no usable DICOM image was found; point --dicom at the folder of scans")
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(_rows(found, modality))
    write_bytes(path, stream.getvalue().encode("utf-8-sig"))
    return len(found)


def _rows(found: Iterable[tuple[Source, Header | DicomError]], modality: str) -> Iterable[dict[str, str]]:
    patients: dict[str, int] = {}
    series: dict[str, int] = {}
    for source, header in found:
        name = source.relative if not source.relative.startswith(_FORMULA) else f"./{source.relative}"
        writable = name.isprintable() and not any("\ud800" <= letter <= "\udfff" for letter in name)
        if isinstance(header, DicomError):
            if writable:
                yield {"path": name, LEFT_OUT: header.reason}
            continue
        whose = same_person(header.patient_id)
        fault = why_left_out(header, modality)
        yield {
            "path": name if writable else "",
            "sop_instance_uid": "" if writable else header.sop_instance_uid,
            "modality": header.modality,
            "plane": plane_of(header) or "",
            "pixels": f"{header.rows} x {header.columns}",
            "patient_number": str(patients.setdefault(whose, len(patients) + 1)) if whose else "",
            "series_number": str(series.setdefault(header.series_instance_uid, len(series) + 1)),
            LEFT_OUT: fault.reason if fault else "",
        }
