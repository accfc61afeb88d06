"""Verifies a release where there is no study: files, signature, DICOM marks, and images drawn again."""

from __future__ import annotations

import csv
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scansynth.console import Progress, silent
from scansynth.data.tensors import to_stored
from scansynth.dicom.released import departures, faults_of, free_facts, instance_uid, read_released, stored_pixels
from scansynth.dicom.write import PixelScale, SyntheticFacts, Uids, image_uids, storage_class, to_pixels
from scansynth.errors import DicomError, ReleaseError, ScansynthError
from scansynth.files import read_csv, sha256_file
from scansynth.gan import onnx_model
from scansynth.gan.sampling import BATCH, draw_pass
from scansynth.gan.weights import load_generator
from scansynth.release.manifest import ALWAYS, GENERATOR, ONNX, TABLE, Manifest, differences, read_manifest
from scansynth.release.signature import load_public, signed_by
from scansynth.seeds import generator
from scansynth.study import WEIGHTS

TOLERANCE = 2
"""Stored grey levels by which an image that is drawn again on another processor may differ, in any pixel: float32
differs there in its last digits, and a value that lies between two levels is rounded to either."""


_COLUMNS = ("file", "mask", "png", "png_mask")
"""Of the table: the files of an image."""

_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Verified:
    """What was found.

    Attributes:
        faults: A line each; nothing: the release is what was released.
        notes: What the reader should know.
        images: In the release.
        drawn: Images that were drawn again.
    """

    faults: tuple[str, ...]
    notes: tuple[str, ...]
    images: int
    drawn: int


def verify(
    folder: Path, public_key: Path | None = None, images: int = 4 * BATCH, progress: Progress = silent
) -> Verified:
    """Verifies a release.

    Args:
        folder: The release.
        public_key: The institution's, from elsewhere; none: the one that the signature names.
        images: How many are drawn again, at least; 0: none.
        progress: Called with the number of steps done.

    Raises:
        ReleaseError: There is no readable manifest, or the public key cannot be read.
    """
    if public_key is not None:
        load_public(public_key)  # a key that cannot be read is a refusal, and not a fault of the release
    manifest = read_manifest(folder)
    faults, notes = [], []
    try:
        name = signed_by(folder, public_key)
    except ReleaseError as fault:
        faults.append(str(fault))
    else:
        notes.append(_of_signature(name, compared=public_key is not None))
    changed = differences(folder, manifest.files)
    faults += changed
    if changed:
        return Verified(tuple(faults), (*notes, "files differ, so nothing more was checked"), manifest.images, 0)
    rows = _rows(folder)
    wrong = _of_table(rows, manifest)
    if wrong:
        note = f"{TABLE} and the manifest are not of each other, so nothing more was checked"
        return Verified((*faults, *wrong), (*notes, note), manifest.images, 0)
    faults += _of_files(folder, rows, manifest, progress)
    drawn = 0
    if images and not faults:
        chosen = _passes(rows, images)
        found, apart = _drawn_again(folder, manifest, chosen)
        faults += found or _as_onnx(folder, manifest, notes)
        drawn = sum(len(part) for part in chosen)
        if apart:
            notes.append(f"images drawn again differ by {apart} grey levels at most: another processor drew them")
    return Verified(tuple(faults), tuple(notes), manifest.images, drawn)


def _of_signature(name: str, *, compared: bool) -> str:
    if not name:
        return "not signed, so nothing shows who released this"
    if compared:
        return f"signed with the key that you gave, {name}"
    return f"signed with the key {name}; compare that with the institution, or give --public-key"


def _rows(folder: Path) -> tuple[Mapping[str, str], ...]:
    """The table of images; nothing where it cannot be read."""
    try:
        return tuple(read_csv(folder / TABLE))
    except (OSError, ValueError, csv.Error):
        return ()


def _of_table(rows: Sequence[Mapping[str, str]], manifest: Manifest) -> list[str]:
    """Whether table and manifest are of each other."""
    needed = {"id", "file", "mask", "label", "index", "seed", "weights_sha256", "sop_instance_uid"}
    if not rows or any(row.get(name) is None for row in rows for name in needed):
        return [f"{TABLE} cannot be read, is empty, or lacks a column or a value"]
    faults = []
    places = {int(row["index"]) for row in rows if _NUMBER.fullmatch(row["index"])}
    if len(places) != len(rows) or max(places) >= manifest.drawing.drawn:
        faults.append(f"{TABLE} has an index that is no number, stands there twice, or was not drawn")
    if len(rows) != manifest.images:
        faults.append(f"{TABLE} lists {len(rows)} images, and the manifest says {manifest.images}")
    if {row["weights_sha256"] for row in rows} != {manifest.weights_sha256}:
        faults.append(f"{TABLE} names other weights than the manifest")
    if {row["seed"] for row in rows} != {str(manifest.drawing.seed)}:
        faults.append(f"{TABLE} names another seed than the manifest")
    named = [row[column] for row in rows for column in _COLUMNS if row.get(column)]
    if len(named) > len({*named}):
        faults.append(f"{TABLE} names a file twice")
    faults += [f"a release lacks {name}" for name in sorted({*named, *ALWAYS} - manifest.files.keys())]
    faults += [f"no file of a release: {name}" for name in sorted(manifest.files.keys() - {*named, *ALWAYS})]
    if manifest.files.get(f"{GENERATOR}/{WEIGHTS}") != manifest.weights_sha256:
        faults.append("the generator's weights are not the ones the manifest names")
    return faults


def _of_files(folder: Path, rows: Sequence[Mapping[str, str]], manifest: Manifest, progress: Progress) -> list[str]:
    """Whether each DICOM file is readable, says that it is synthetic, names nobody, and says what it should, no more.

    What the table does not say of an image is the same in all of them.
    """
    faults, free = [], None
    for done, row in enumerate(rows, start=1):
        read = {row[what]: read_released(folder / row[what]) for what in ("file", "mask") if row[what]}
        own = [f"{name}: not a DICOM file as scansynth writes them" for name, found in read.items() if found is None]
        own += [f"{name}: {fault}" for name, found in read.items() if found is not None for fault in faults_of(found)]
        image, mask = read[row["file"]], read.get(row["mask"])
        if image is not None and instance_uid(image) != _uids(row, manifest).instance:
            own.append(f"{row['file']}: its UID does not follow from its weights, seed and index")
        if image is not None and not own:
            try:
                free = free or free_facts(image)
                apart = departures(image, mask, _facts(row, manifest, free))
                own = [f"{name}: {fault}" for name, part in zip(read, apart, strict=False) for fault in part]
            except DicomError as fault:
                own = [f"{row['file']}: {fault}"]
        faults += own
        progress(done, len(rows))
    return faults


def _facts(row: Mapping[str, str], manifest: Manifest, free: tuple[str, tuple[float, float], str]) -> SyntheticFacts:
    """What the file of an image should say.

    Raises:
        DicomError: No file could say it.
    """
    about, (plane, spacing, part) = manifest.drawing, free
    return SyntheticFacts(
        about.modality, storage_class(about.modality, plane), about.low, about.high, spacing, row["label"],
        manifest.weights_sha256, _uids(row, manifest), int(row["index"]) + 1, plane, part, manifest.scansynth,
    )  # fmt: skip


def _uids(row: Mapping[str, str], manifest: Manifest) -> Uids:
    return image_uids(manifest.weights_sha256, manifest.drawing.seed, int(row["index"]))


def _passes(rows: Sequence[Mapping[str, str]], images: int) -> list[list[Mapping[str, str]]]:
    """Rows of some passes of the generator, chosen at random, until they hold enough images."""
    by_pass: dict[int, list[Mapping[str, str]]] = {}
    for row in rows:
        by_pass.setdefault(int(row["index"]) // BATCH, []).append(row)
    order = generator(int.from_bytes(secrets.token_bytes(7), "big"), "verify").permutation(sorted(by_pass))
    chosen: list[list[Mapping[str, str]]] = []
    for number in order:
        if sum(len(part) for part in chosen) >= images:
            break
        chosen.append(by_pass[int(number)])
    return chosen


def _as_onnx(folder: Path, manifest: Manifest, notes: list[str]) -> list[str]:
    """Whether the ONNX file draws what the weights draw; adds a note where no program is there to run it."""
    try:
        sampler, _ = load_generator(folder / GENERATOR)
        indices = range(min(BATCH, manifest.drawing.drawn))
        apart = onnx_model.apart((folder / ONNX).read_bytes(), sampler, manifest.drawing.seed, indices)
    except (ScansynthError, OSError) as fault:
        return [f"{ONNX}: {_told(fault)}"]
    if apart is None:
        notes.append(f"{ONNX} was not run: onnxruntime is not installed")
        return []
    fits = apart <= onnx_model.TOLERANCE
    return [] if fits else [f"{ONNX}: it draws other images than the weights ({apart:.2g} apart in [-1, 1])"]


def _told(fault: Exception) -> str:
    """What is wrong, without the advice to those who have the study."""
    return str(fault).partition(";")[0]


def _drawn_again(
    folder: Path, manifest: Manifest, chosen: Sequence[Sequence[Mapping[str, str]]]
) -> tuple[list[str], int]:
    """Faults of images that are not those that the weights draw, and by how many grey levels the others differ."""
    about, largest = manifest.drawing, 0
    try:
        sampler, facts = load_generator(folder / GENERATOR)
        scale = PixelScale.choose(about.modality, about.low, about.high)
    except (ScansynthError, DicomError) as fault:
        return [f"the generator cannot draw: {_told(fault)}"], 0
    if sha256_file(folder / GENERATOR / WEIGHTS) != facts.weights_sha256:
        return ["the generator's weights are not the ones it names"], 0
    faults = []
    for rows in chosen:
        first = int(rows[0]["index"]) // BATCH * BATCH
        made = draw_pass(sampler, about.seed, range(first, min(first + BATCH, about.drawn)))
        for row in rows:
            again = to_pixels(to_stored(made[int(row["index"]) - first, 0]), scale)
            found = read_released(folder / row["file"])
            stored = None if found is None else stored_pixels(found)
            if stored is None or stored.shape != again.shape:
                faults.append(f"{row['file']}: its pixels do not fit its header")
                continue
            apart = int(np.abs(stored.astype(np.int64) - again.astype(np.int64)).max())
            largest = max(largest, apart)
            if apart > TOLERANCE:
                faults.append(f"{row['file']}: weights and seed draw another image ({apart} grey levels apart)")
    return faults, largest
