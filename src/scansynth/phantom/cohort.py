"""A procedural chest-MR cohort, written as an archive would hand it over: DICOM, masks, labels.csv.

Every patient is drawn from its own seed: a larger cohort begins with the patients of a smaller one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from scansynth.dicom.modules import derive_uid
from scansynth.dicom.phantom_write import PhantomFacts, write_phantom
from scansynth.errors import ConfigError
from scansynth.files import new_directory, storage_faults, write_csv
from scansynth.phantom.anatomy import draw_anatomy
from scansynth.phantom.nodules import SMALLEST, Nodule, draw_nodule, paint_nodule, place
from scansynth.phantom.scanner import MANUFACTURERS, Scanner, acquire, draw_scanner
from scansynth.phantom.shapes import Field, Grid
from scansynth.phantom.slices import Contrast, Slice, draw_slice
from scansynth.seeds import generator

COLUMNS = ("path", "patient_id", "label", "mask", "diameter_mm", "nodule_type", "site")
NODULE, CLEAR = "nodule", "clear"
SLICES = 4  # a patient
_RENDER = 256  # drawn at this size or more, then averaged down
_LEVELS = (-58.0, 62.0)  # of the first and the last slice, millimetres toward the feet
_THICKNESS = 6.0
_MEN, _FIRST_MAKER, _SECOND_MAKER, _STRONG, _NORTH, _AFFECTED = 0.6, 0.6, 0.8, 0.35, 0.65, 0.75
_FIELDS_OF_VIEW = {"north": 360.0, "south": 390.0}  # millimetres: each site has its protocol


@dataclass(frozen=True)
class PhantomPatient:
    """Who a phantom patient is: what stands in the headers and shows in the images.

    Attributes:
        number: From 1.
        sex: F or M.
        age: Years.
        site: north or south.
        manufacturer: Of the scanner.
        field_strength: Tesla.
        affected: Slices that hold a nodule, by index.
    """

    number: int
    sex: str
    age: int
    site: str
    manufacturer: str
    field_strength: float
    affected: tuple[int, ...]


@dataclass(frozen=True)
class PhantomCohort:
    """What `write_phantom_cohort` wrote."""

    folder: Path
    labels: Path
    patients: int
    images: int
    positives: int


@dataclass(frozen=True)
class PhantomImage:
    """One slice as stored, with its truth.

    Attributes:
        pixels: uint16 (size, size), 12 bits.
        mask: bool (size, size); none on a clear slice.
        nodule: The nodule; none on a clear slice.
        level: z of the slice, millimetres toward the feet.
        spacing: Millimetres between pixels.
        scanner: The examination.
    """

    pixels: npt.NDArray[np.uint16]
    mask: npt.NDArray[np.bool_] | None
    nodule: Nodule | None
    level: float
    spacing: float
    scanner: Scanner


def draw_patient(number: int, seed: int) -> PhantomPatient:
    """Patient `number` of the cohort of this seed.

    Each trait follows an evenly spread sequence over the patients (multiples of an irrational number, Kronecker),
    so that a small cohort already has the stated shares: 60% men; makers 3:1:1; 35% at 3 T; 65% in the north; 75%
    with a nodule.
    """
    start = generator(seed, "traits").random(5)
    turns = np.array([math.sqrt(2), math.sqrt(3), math.sqrt(5), math.sqrt(7), math.sqrt(11)])
    sex, maker, strength, site, ill = (start + number * turns) % 1.0
    rng = generator(seed, "patient", number)
    age = int(np.clip(rng.normal(62, 12), 25, 90))
    count = int(rng.choice([1, 2, 3], p=[0.3, 0.45, 0.25])) if ill < _AFFECTED else 0
    return PhantomPatient(
        number=number,
        sex="M" if sex < _MEN else "F",
        age=age,
        site="north" if site < _NORTH else "south",
        manufacturer=MANUFACTURERS[int(maker >= _FIRST_MAKER) + int(maker >= _SECOND_MAKER)],
        field_strength=3.0 if strength < _STRONG else 1.5,
        affected=tuple(sorted(int(k) for k in rng.permutation(SLICES)[:count])),
    )


def draw_images(patient: PhantomPatient, size: int, seed: int) -> list[PhantomImage]:
    """All slices of a patient.

    Args:
        patient: From `draw_patient`.
        size: Side of the images in pixels.
        seed: The cohort's seed.
    """
    rng = generator(seed, "body", patient.number)
    anatomy = draw_anatomy(rng, patient.sex, patient.age)
    scanner = draw_scanner(rng, patient.manufacturer, patient.field_strength)
    factor = max(1, math.ceil(_RENDER / size))
    grid = Grid.make(size * factor, _FIELDS_OF_VIEW[patient.site] * float(rng.uniform(0.97, 1.05)))
    levels = np.linspace(*_LEVELS, SLICES) + rng.uniform(-9, 9, SLICES)
    images = []
    for k, level in enumerate(levels):
        own = generator(seed, "slice", patient.number, k)
        piece = draw_slice(anatomy, float(level), _THICKNESS, scanner.contrast, grid, own)
        nodule, cover = None, None
        if k in patient.affected:
            nodule, cover = _add_nodule(piece, scanner.contrast, grid, generator(seed, "nodule", patient.number, k))
        spacing = grid.pixel * factor
        pixels = acquire(_shrink(piece.signal, factor), _shrink(piece.moving, factor), spacing, scanner, own)
        mask = None if cover is None else _mask(_shrink(cover, factor))
        images.append(PhantomImage(pixels, mask, nodule, float(level), spacing, scanner))
    return images


def _add_nodule(piece: Slice, contrast: Contrast, grid: Grid, rng: np.random.Generator) -> tuple[Nodule, Field]:
    """A nodule in the slice, shrunk until it fits into the lungs; returns its coverage."""
    nodule = draw_nodule(rng)
    while (centre := place(nodule, piece, grid, rng)) is None:
        nodule = replace(nodule, diameter=max(0.85 * nodule.diameter, SMALLEST))
    return nodule, paint_nodule(piece, nodule, centre, contrast, grid, rng)


def _shrink(field: Field, factor: int) -> Field:
    """Means over blocks of factor x factor pixels."""
    side = len(field) // factor
    return field.reshape(side, factor, side, factor).mean(axis=(1, 3), dtype=np.float32) if factor > 1 else field


def _mask(cover: Field) -> npt.NDArray[np.bool_]:
    """Pixels at least half covered; a nodule smaller than a pixel gets the one it covers most."""
    return cover >= min(0.5, float(cover.max()))


def _write_mask(path: Path, mask: npt.NDArray[np.bool_]) -> None:
    """A mask as an 8-bit PNG: 255 inside."""
    Image.fromarray(mask.astype(np.uint8) * 255).save(path, optimize=False)


def _facts(patient: PhantomPatient, image: PhantomImage, number: int, seed: int) -> PhantomFacts:
    """What the file of a slice says."""
    scanner, key = image.scanner, ("phantom", seed, patient.number)
    slower = image.scanner.field_strength / 1.5
    return PhantomFacts(
        patient=patient.number,
        sex=patient.sex,
        age=patient.age,
        manufacturer=f"{scanner.manufacturer} (phantom)",
        model=scanner.model,
        field_strength=scanner.field_strength,
        study_uid=derive_uid(*key, "study"),
        series_uid=derive_uid(*key, "series"),
        instance_uid=derive_uid(*key, "instance", number),
        frame_uid=derive_uid(*key, "frame"),
        number=number,
        position=round(-image.level, 3),
        thickness=_THICKNESS,
        spacing=image.spacing,
        echo_ms=round(2.3 / slower, 2),
        repeat_ms=round(4.4 * slower**0.5, 2),
        phase_direction=scanner.phase_direction,
    )


def _write_patient(folder: Path, patient: PhantomPatient, size: int, seed: int) -> list[dict[str, str]]:
    """A patient's files and rows of labels.csv."""
    name = f"PHANTOM-{patient.number:04d}"
    (folder / "dicom" / name).mkdir(parents=True)
    rows = []
    for number, image in enumerate(draw_images(patient, size, seed), start=1):
        path, mask = f"dicom/{name}/{number:02d}.dcm", f"masks/{name}_{number:02d}.png"
        write_phantom(folder / path, image.pixels, _facts(patient, image, number, seed))
        row = {"path": path, "patient_id": name, "label": CLEAR, "site": patient.site}
        if image.mask is not None and image.nodule is not None:
            _write_mask(folder / mask, image.mask)
            facts = {"mask": mask, "diameter_mm": f"{image.nodule.diameter:.1f}", "nodule_type": image.nodule.kind}
            row |= {"label": NODULE} | facts
        rows.append({column: row.get(column, "") for column in COLUMNS})
    return rows


def write_phantom_cohort(
    folder: Path,
    patients: int,
    size: int = 256,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> PhantomCohort:
    """Writes a phantom cohort; it appears whole at `folder`, or not at all.

    `dicom/PHANTOM-0001/01.dcm ...`, `masks/PHANTOM-0001_01.png ...`, `labels.csv`. Equal arguments give equal bytes
    on one machine; patient i does not depend on how many there are.

    Args:
        folder: New folder, or an empty one.
        patients: How many.
        size: Side of the images in pixels, 32 to 1024.
        seed: Of every random draw.
        progress: Called after each patient with patients done and in all.

    Raises:
        ConfigError: A number is out of range, or the folder holds something.
        StorageError: The folder cannot be written.
    """
    if not 1 <= patients <= 100_000:
        raise ConfigError("a phantom cohort has 1 to 100000 patients")
    if not 32 <= size <= 1024:
        raise ConfigError("a phantom image has 32 to 1024 pixels a side")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not an empty folder; choose a new one")
    rows = []
    with new_directory(folder) as work, storage_faults(folder):
        (work / "masks").mkdir()
        for number in range(1, patients + 1):
            rows += _write_patient(work, draw_patient(number, seed), size, seed)
            if progress is not None:
                progress(number, patients)
        write_csv(work / "labels.csv", COLUMNS, rows)
    positives = sum(row["label"] == NODULE for row in rows)
    return PhantomCohort(folder, folder / "labels.csv", patients, len(rows), positives)
