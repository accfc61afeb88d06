"""A synthetic set: its manifest, and its images read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scansynth.data.labels import inside
from scansynth.data.tensors import CohortFacts, in_pixels, to_stored
from scansynth.data.transforms import to_window
from scansynth.dicom.pixels import decode
from scansynth.dicom.raster import RasterHeader, decode_raster
from scansynth.dicom.read import Limits, read_header
from scansynth.errors import CohortError, DicomError
from scansynth.files import read_csv, sha256_file, write_csv

MANIFEST = "manifest.csv"
COLUMNS = ("file", "index", "seed", "sop_instance_uid", "weights_sha256", "label", "sha256")
"""Columns of a manifest; `file` is relative to the set's folder."""

LABEL_SEPARATOR = "|"
"""Stands between the labels of an image whose generator learned several classes without telling them apart."""


@dataclass(frozen=True)
class SyntheticSet:
    """A synthetic set whose every file is the one that was written.

    Attributes:
        folder: Where it lies.
        rows: The manifest, in its order.
        images: uint16 (M, size, size) on the cohort's scale: the cohort's low and high map to 0 and 65535.
    """

    folder: Path
    rows: tuple[Mapping[str, str], ...]
    images: npt.NDArray[np.uint16]


def write_manifest(folder: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Writes `manifest.csv` of a set whose files are already there, and returns its path.

    Args:
        folder: The set's folder.
        rows: One for each file, with the keys of `COLUMNS` but `sha256`, which is taken from the file.
    """
    full = [{**row, "sha256": sha256_file(folder / str(row["file"]))} for row in rows]
    write_csv(folder / MANIFEST, COLUMNS, full)
    return folder / MANIFEST


def load_set(folder: Path, facts: CohortFacts) -> SyntheticSet:
    """The set in `folder`, read back from its files: DICOM, or 16-bit PNG on the cohort's scale in an added set.

    Args:
        folder: The set's folder.
        facts: Facts of the cohort that it imitates: size, and the source values of -1 and +1.

    Raises:
        CohortError: The manifest is missing, or a file is missing, altered, unreadable or of another size.
    """
    rows = _read_manifest(folder)
    images = np.empty((len(rows), *facts.shape), np.uint16)
    for index, row in enumerate(rows):
        images[index] = _image(folder, row, facts)
    return SyntheticSet(folder, tuple(rows), images)


def _read_manifest(folder: Path) -> list[dict[str, str]]:
    """Rows of the manifest, each with every column and a path inside the folder."""
    try:
        rows = read_csv(folder / MANIFEST)
    except FileNotFoundError:
        raise CohortError(f"the set {folder.name} has no {MANIFEST}; run: scansynth generate STUDY") from None
    except UnicodeDecodeError:
        raise CohortError(f"{MANIFEST} of the set {folder.name} is not UTF-8; generate the set again") from None
    if not rows:
        raise CohortError(f"the set {folder.name} is empty; generate it again")
    for number, row in enumerate(rows, start=2):
        if any(row.get(column) is None for column in COLUMNS) or inside(row["file"]) is None:
            raise CohortError(f"{MANIFEST} row {number} of the set {folder.name} is damaged; generate the set again")
    return rows


def _image(folder: Path, row: Mapping[str, str], facts: CohortFacts) -> npt.NDArray[np.uint16]:
    """One image on the cohort's scale, uint16 (size, size)."""
    path = folder / row["file"]
    what = f"{row['file']} of the set {folder.name}"
    if not path.is_file():
        raise CohortError(f"{what} is missing; generate the set again")
    if sha256_file(path) != row["sha256"]:
        raise CohortError(f"{what} was altered after it was made; generate the set again")
    try:
        if path.suffix == ".png":
            return decode_raster(path, RasterHeader(*facts.shape, 16))
        header = read_header(path, Limits())
        values = decode(path, header)
    except DicomError as fault:
        raise CohortError(f"{what} cannot be read ({fault.reason}); generate the set again") from fault
    if values.shape != facts.shape:
        raise CohortError(f"{what} is not {in_pixels(facts.shape)} as the cohort is; generate the set again")
    return to_stored(to_window(values, facts.low, facts.high))
