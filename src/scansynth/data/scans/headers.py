"""The header of every image of a cohort: DICOM files that lie there, and other files that labels.csv names."""

from __future__ import annotations

from pathlib import Path

from scansynth.config import CohortSettings
from scansynth.console import Progress
from scansynth.data.labels.read import LabelRow, Labels
from scansynth.data.scans.matching import Found
from scansynth.data.scans.sources import Source, find_sources, source_of
from scansynth.dicom.header import Header
from scansynth.dicom.read import Limits
from scansynth.dicom.sandbox import DecodePool, PictureJob
from scansynth.errors import CohortError, DicomError

UNKNOWN = "OT"
"""Modality of a picture when study.toml names none: other (PS3.3 C.7.3.1.1.1)."""

_VOLUMES = (".nii", ".nii.gz")
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def find_headers(
    folder: Path, labels: Labels | None, settings: CohortSettings, pool: DecodePool, progress: Progress
) -> Found:
    """Every image of every file with its header, or the fault that stopped the file.

    A PNG, JPEG, TIFF or NIfTI file is an image of the cohort where a row of labels.csv names it, and is passed over
    otherwise: beside scans such files are commonly masks.

    Raises:
        CohortError: There is no file that may be a scan, or a picture has no spacing.
    """
    listed = pictures_of(folder, labels)
    marked = labels.mask_files if labels else frozenset()
    passed = marked | {row.path for row, _ in listed}
    sources = [source for source in find_sources(folder) if source.relative not in passed]
    if not sources and not listed:
        raise CohortError("the DICOM folder holds no file that could be a scan; point cohort.dicom at the scans")
    limits = Limits(max_pixels=settings.max_pixels)
    everything = [*sources, *(source for _, source in listed)]
    jobs = [_job(row, source, settings) for row, source in listed]
    headers = pool.scan_all([source.path for source in sources], limits)
    found: list[tuple[Source, Header | DicomError]] = []
    for results, part in ((headers, sources), (pool.scan_pictures(jobs, limits), everything[len(sources) :])):
        for source, result in zip(part, results, strict=True):
            images = (result,) if isinstance(result, DicomError) else result.images
            found += [(source, image) for image in images]
            progress(min(len(found), len(everything)), len(everything), "reading headers")
    return found


def pictures_of(folder: Path, labels: Labels | None) -> list[tuple[LabelRow, Source]]:
    """Rows that name a PNG, JPEG, TIFF or NIfTI file, with the file; a row without its file is for others."""
    found = []
    for row in labels.rows if labels else ():
        name = (row.path or "").lower()
        if row.path and name.endswith(_PICTURES + _VOLUMES):
            source = source_of(folder, row.path)
            if source is not None:
                found.append((row, source))
    return found


def _job(row: LabelRow, source: Source, settings: CohortSettings) -> PictureJob:
    if row.spacing is None and not source.relative.lower().endswith(_VOLUMES):
        raise CohortError(
            f"labels.csv row {row.row}: a picture does not say how large its pixels are; add a column spacing, or "
            "spacing_row and spacing_col, in mm"
        )
    plane = settings.plane or "axial"
    return PictureJob(source.path, source.relative, settings.modality or UNKNOWN, row.spacing, plane)
