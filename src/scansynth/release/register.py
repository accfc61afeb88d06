"""The register of a release: by what its images are known again, and whether a file is one of them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from scansynth.data.elsewhere.foreign import reading_pool
from scansynth.data.imageset import Images
from scansynth.data.scans.duplicates import pixel_digest
from scansynth.dicom.header import Header
from scansynth.dicom.read import Limits
from scansynth.errors import DicomError, ReleaseError
from scansynth.files import END, lost_lines, read_csv, read_json, sha256_file, write_json
from scansynth.metrics.fingerprint import SIDE, Prints, fingerprint, likeness
from scansynth.release.manifest import MANIFEST, TABLE, read_manifest
from scansynth.seeds import generator
from scansynth.study import Study

REGISTER, PRINTS = "register.json", "fingerprints.npy"

TRIED = 40
"""Images of the set, at most, that are laid on all others to see how alike different images of it are."""

_TOO_ALIKE = 0.95
"""Where different images of a set are as alike as this, likeness tells nothing."""


@dataclass(frozen=True)
class Register:
    """How images are known again.

    Attributes:
        threshold: Likeness from which on a file counts as an image of the release; none: its images are too alike.
        alike: The largest likeness of two different images of the set.
        tried: Images that were laid on all others to know that.
        aspect: Rows over columns.
    """

    threshold: float | None
    alike: float
    tried: int
    aspect: float


_TYPES = TypeAdapter(Register)
"""Holds that each value is of its type."""


@dataclass(frozen=True)
class Known:
    """What is known of a file.

    Attributes:
        release: SHA-256 of the manifest of the release, its first 12 digits.
        image: Id of the image.
        by: How it was known: its UID, its pixels, or its likeness.
        likeness: Of the file and the image, at most 1.
        ours: It is the image. A file that has the UID of an image and other pixels is not.
    """

    release: str
    image: str
    by: str
    likeness: float
    ours: bool


def write_register(folder: Path, images: Images, seed: int) -> None:
    """Writes the register of released images, uint16 (n, channels, rows, columns), into a release."""
    planes = images[:, 0]
    prints = np.stack([fingerprint(image) for image in planes])
    np.save(folder / PRINTS, prints, allow_pickle=False)
    write_json(folder / REGISTER, asdict(_calibrated(planes, prints, seed)))


def _calibrated(planes: NDArray[np.uint16], prints: Prints, seed: int) -> Register:
    """The threshold, halfway between 1 and the likeness of the most alike of different images.

    An image drawn like these exceeds the largest of `tried` such likenesses in one of `tried` + 1 cases, by ranks;
    the threshold lies above that. Each is searched for whole and cropped, as a file would be.
    """
    rows, columns = planes.shape[1:]
    aspect = rows / columns
    chosen = generator(seed, "register").permutation(len(planes))[:TRIED]
    alike = 0.0
    for place in chosen if len(planes) > 1 else ():
        image = planes[place]
        top, left = round(rows * 0.1), round(columns * 0.1)
        for query in (image, image[top : rows - top, left : columns - left]):
            scores = np.delete(likeness(query, prints, aspect), place)
            alike = max(alike, float(scores.max()))
    threshold = None if alike > _TOO_ALIKE else (1.0 + alike) / 2.0
    return Register(threshold, round(alike, 4), len(chosen), aspect)


def copy_register(release: Path, folder: Path) -> None:
    """Keeps the register of a release elsewhere, beside its manifest."""
    for name in (REGISTER, PRINTS, TABLE):
        shutil.copyfile(release / name, folder / name)


def whose(file: Path, places: Sequence[Path]) -> Known | None:
    """What is known of a file: the best match in the registers of some releases; none: nothing is like it.

    Args:
        file: DICOM, PNG, JPEG or TIFF.
        places: Releases, or what a study keeps of them.

    Raises:
        ReleaseError: The file cannot be read, or a register is missing or damaged.
    """
    uid, values = _read(file)
    found = [match for place in places if (match := _match(uid, values, place)) is not None]
    return max(found, key=lambda match: (match.ours, match.by == "its UID", match.likeness), default=None)


def registers_of(study: Study) -> tuple[Path, ...]:
    """What a study keeps of its releases.

    Raises:
        ReleaseError: It has released nothing.
    """
    places = tuple(place for place in study.releases if (place / REGISTER).is_file())
    if not places:
        raise ReleaseError("this study has released nothing; only released images are registered")
    return places


def _read(file: Path) -> tuple[str, NDArray[np.float32]]:
    """UID, empty where the file has none, and values of a file of any origin; read in a confined process."""
    with reading_pool() as pool:
        (header,) = pool.scan_all([file], Limits())
        if isinstance(header, Header):
            (image,) = pool.decode_all([(file, header)])
            uid = header.sop_instance_uid
        else:
            (raster,) = pool.scan_rasters([file], Limits())
            if isinstance(raster, DicomError):
                raise ReleaseError(
                    f"{file.name} cannot be read as DICOM ({header.reason}) or picture ({raster.reason})"
                )
            (image,) = pool.decode_rasters([(file, raster)])
            uid = ""
    if isinstance(image, DicomError):
        raise ReleaseError(f"{file.name} cannot be read: {image.reason}")
    return uid, image.values


def _match(uid: str, values: NDArray[np.float32], place: Path) -> Known | None:
    try:
        about, manifest = Register(**read_json(place / REGISTER)), read_manifest(place)
        prints: Prints = np.load(place / PRINTS, allow_pickle=False)
        rows = read_csv(place / TABLE)
        _TYPES.validate_json(json.dumps(asdict(about)), strict=True)
    except (OSError, EOFError, ValueError, TypeError, csv.Error) as fault:
        raise ReleaseError(f"the register of the release in {place} is missing or damaged") from fault
    columns = {"id", "pixels", "sop_instance_uid"}
    whole = about.aspect > 0 and all(row.get(name) is not None for row in rows for name in columns)
    if prints.dtype != np.int8 or prints.shape != (len(rows), SIDE, SIDE) or not (rows and whole):
        raise ReleaseError(f"the register of the release in {place} is missing or damaged")
    name = sha256_file(place / MANIFEST)[:12]
    scores = likeness(values, prints, about.aspect)
    best = int(scores.argmax())
    exact = _same_pixels(values, manifest.drawing.low, manifest.drawing.high, rows)
    if exact is not None:
        return Known(name, rows[exact]["id"], "its pixels", 1.0, True)
    alike = about.threshold is not None and float(scores[best]) >= about.threshold
    named = next((number for number, row in enumerate(rows) if uid and row["sop_instance_uid"] == uid), None)
    if named is not None:
        same = alike and best == named
        return Known(name, rows[named]["id"], "its UID", float(scores[named]), same)
    return Known(name, rows[best]["id"], "its likeness", float(scores[best]), True) if alike else None


def _same_pixels(values: NDArray[np.float32], low: float, high: float, rows: Sequence[Mapping[str, str]]) -> int | None:
    """Place of the image with these very pixels: as a picture has them, or as source units."""
    units = np.clip(np.rint((values.astype(np.float64) - low) * (65535.0 / (high - low))), 0.0, 65535.0)
    digests = {pixel_digest(values), pixel_digest(units.astype(np.uint16))}
    return next((number for number, row in enumerate(rows) if row["pixels"] in digests), None)


def journal_cut_off(study: Study) -> str:
    """What knows of a line at the end of the journal that is gone from it, in words; empty: nothing does.

    The study keeps the hash of the last line beside the journal, and each release that of the last line before it:
    who cuts off lines must alter them, too, and those of a release that is out there cannot be altered.
    """
    known = {}
    try:
        if study.journal_end.is_file():
            known[str(read_json(study.journal_end)[END])] = f"that {study.journal_end.name} names as the last"
        elif study.journal_head():
            return f"that {study.journal_end.name} named as the last, and that file is gone"
        for place in study.releases:
            known[read_manifest(place).journal] = f"before the release {place.name}"
    except (ValueError, TypeError, KeyError, OSError):
        return f"that {study.journal_end.name} named as the last, and that file is damaged"
    lost = lost_lines(study.journal, [digest for digest in known if digest])
    return known[lost[0]] if lost else ""
