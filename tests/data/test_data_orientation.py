"""Raster orientation: every way of storing a slice gives one picture, and masks go with it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scans import write_labels

from scansynth.config import StudyConfig
from scansynth.data.imageset import open_set
from scansynth.data.ingest import ingest
from scansynth.data.scans.orientation import Turn, orientation_notes, plane_of, turn_of
from scansynth.data.tensors import load_cohort, load_facts
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.dicom.header import Header
from scansynth.dicom.read import Limits, read_header
from scansynth.errors import CohortError
from scansynth.files import read_csv
from scansynth.study import Study

Write = Callable[..., Any]
KEY = InstitutionKey(b"k" * 32)
RASTER = {"axial": [1, 0, 0, 0, 1, 0], "coronal": [1, 0, 0, 0, 0, -1], "sagittal": [0, 1, 0, 0, 0, -1]}
"""Patient's right at the left and front up; right at the left and head up; front at the left and head up."""


def directions() -> list[list[int]]:
    """All 24 pairs of different axes, either way: what rows and columns may run along."""
    units = [tuple(sign * int(axis == k) for k in range(3)) for axis in range(3) for sign in (1, -1)]
    return [[*row, *column] for row, column in itertools.permutations(units, 2) if not np.dot(row, column)]


def sampled(orientation: list[int], shape: tuple[int, int]) -> np.ndarray:
    """A slice through the middle of one anatomy, stored the way of `orientation`; all its pixels differ."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    down, along = np.mgrid[: shape[0], : shape[1]] - (np.array(shape)[:, None, None] - 1) / 2
    place = along[..., None] * row + down[..., None] * column
    return (1000 + place @ np.array([1.0, 20.0, 400.0])).astype(np.int32) % 4096


def header_of(write_dicom: Write, path: Path, pixels: np.ndarray, **attributes: Any) -> Header:
    write_dicom(path, pixels, **attributes)
    return read_header(path, Limits())


@pytest.mark.parametrize("stored", directions(), ids=str)
def test_every_way_of_storing_a_slice_gives_one_picture(write_dicom: Write, tmp_path: Path, stored: list[int]) -> None:
    """Feet first, prone, on the side, seen from the other end: rows 9, columns 15 of the turned picture."""
    plane = ("sagittal", "coronal", "axial")[int(np.abs(np.cross(stored[:3], stored[3:])).argmax())]
    wanted = sampled(RASTER[plane], (9, 15))
    along = int(np.abs(stored[:3]).argmax())
    swapped = along != int(np.abs(RASTER[plane][:3]).argmax())
    pixels = sampled(stored, (15, 9) if swapped else (9, 15))
    header = header_of(write_dicom, tmp_path / "a", pixels, ImageOrientationPatient=stored)
    turn = turn_of(header)
    assert plane_of(header) == plane
    assert turn.transpose == swapped
    assert turn.pair((1.0, 2.0)) == ((2.0, 1.0) if swapped else (1.0, 2.0))
    np.testing.assert_array_equal(turn.apply(pixels), wanted)
    assert bool(turn) == (stored != RASTER[plane])


@pytest.mark.parametrize("degrees", [-30, -12, 7, 30, 40])
@pytest.mark.parametrize("stored", [[1, 0, 0, 0, 1, 0], [-1, 0, 0, 0, 1, 0], [0, -1, 0, 1, 0, 0]])
def test_a_tilted_gantry_or_an_oblique_slice_stays_in_its_plane(
    write_dicom: Write, tmp_path: Path, degrees: int, stored: list[int]
) -> None:
    angle = np.radians(degrees)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    tilted = [round(float(x), 6) for half in (stored[:3], stored[3:]) for x in tilt @ half]
    flat = header_of(write_dicom, tmp_path / "flat", np.arange(64).reshape(8, 8), ImageOrientationPatient=stored)
    slanted = header_of(write_dicom, tmp_path / "tilted", np.arange(64).reshape(8, 8), ImageOrientationPatient=tilted)
    assert plane_of(slanted) == "axial"
    assert turn_of(slanted) == turn_of(flat)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"ImageOrientationPatient": [1, 0, 0, 0, 1]},
        {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
        {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
        {"ImageOrientationPatient": [2, 0, 0, 0, 2, 0]},
        {"PatientOrientation": ["R", "F"], "Modality": "MG"},  # which breast it is, and may not be undone
        {"PatientOrientation": ["R", "X"]},
    ],
)
def test_without_a_sound_orientation_nothing_moves_and_it_is_said(
    write_dicom: Write, tmp_path: Path, attributes: dict[str, Any]
) -> None:
    header = header_of(write_dicom, tmp_path / "a", np.arange(64).reshape(8, 8), **attributes)
    assert (plane_of(header), turn_of(header)) == (None, Turn())
    assert "no image says how the patient lies" in orientation_notes([header])[0]


@pytest.mark.parametrize(
    ("letters", "turn"),
    [
        (["L", "F"], Turn()),
        (["R", "F"], Turn(flip_columns=True)),
        (["LP", "FR"], Turn()),
        (["F", "L"], Turn(transpose=True)),
        (["P", "F"], Turn()),
        (["A", "F"], Turn(flip_columns=True)),
        (["L", "H"], Turn(flip_rows=True)),
    ],
)
def test_a_radiograph_says_it_in_letters(write_dicom: Write, tmp_path: Path, letters: list[str], turn: Turn) -> None:
    pixels = np.arange(64).reshape(8, 8)
    assert turn_of(header_of(write_dicom, tmp_path / "a", pixels, modality="CR", PatientOrientation=letters)) == turn


def study_of(folder: Path, dicom: Path, **settings: Any) -> Study:
    labels = dicom / "labels.csv"
    values = {"dicom": str(dicom), "size": 32, "labels": str(labels), **settings}
    return Study(folder, StudyConfig.model_validate({"cohort": values}))


def test_masks_boxes_and_spacing_turn_with_the_image(tmp_path: Path, write_dicom: Write, in_process: None) -> None:
    """One anatomy in all eight axial orders; the lesion is the bright block, given as a mask or as a box."""
    whole = np.full((24, 32), 100)
    whole[3:9, 20:30] = 2000
    rows = []
    axial = [way for way in directions() if not way[2] and not way[5]]
    assert len(axial) == 8
    for number, (stored, form) in enumerate(itertools.product(axial, ("mask", "box"))):
        turn = turn_of(header_of(write_dicom, tmp_path / "probe", whole, ImageOrientationPatient=stored))
        pixels = whole[:: -1 if turn.flip_rows else 1, :: -1 if turn.flip_columns else 1]
        pixels = pixels.T if turn.transpose else pixels
        name = f"scans/p{number}.dcm"
        spacing = [2.0, 1.0] if turn.transpose else [1.0, 2.0]
        write_dicom(
            tmp_path / name, pixels, PatientID=f"P{number}", ImageOrientationPatient=stored, PixelSpacing=spacing
        )
        lesion = pixels > 1000
        row: dict[str, Any] = {"path": f"p{number}.dcm", "label": ("nodule", "clear")[number % 2]}
        if form == "mask":
            Image.fromarray(lesion.astype(np.uint8) * 255).save(tmp_path / "scans" / f"m{number}.png")
            row |= {"mask": f"m{number}.png", "x": "", "y": "", "width": "", "height": ""}
        else:
            down, along = np.nonzero(lesion)
            size = {"width": np.ptp(along) + 1, "height": np.ptp(down) + 1}
            row |= {"mask": "", "x": along.min(), "y": down.min(), **size}
        rows.append(row)
    write_labels(tmp_path / "scans" / "labels.csv", rows)
    study = study_of(tmp_path / "study", tmp_path / "scans")
    summary = ingest(study, KEY)
    assert any("14 images were stored mirrored" in note for note in summary.warnings)
    # one picture under 16 patients makes no person of them, and is not passed over in silence
    assert summary.patients == 16
    assert any(
        "16 images of 16 patients show one picture" in note and "same_pictures.csv" in note for note in summary.warnings
    )
    assert len(read_csv(study.linkage / "same_pictures.csv")) >= 15
    images, masks = open_set(study.cohort).planes, np.load(study.cohort / "masks.npy")
    assert len(images) == 16
    assert (images == images[0]).all()
    assert (masks == masks[0]).all()
    assert ((images[0] > 40000) == masks[0]).all()
    assert {case.spacing for case in load_cohort(study.cohort).cases} == {(1.0, 2.0)}


def test_one_plane_is_picked_and_mixed_ones_are_noted(tmp_path: Path, write_dicom: Write, in_process: None) -> None:
    draw = np.random.default_rng(0)
    rows = []
    ways = [*RASTER.values(), None]
    for number in range(28):
        given = {} if (way := ways[number % 4]) is None else {"ImageOrientationPatient": way}
        write_dicom(tmp_path / "scans" / f"p{number}", draw.integers(0, 999, (32, 32)), PatientID=f"P{number}", **given)
        rows.append({"path": f"p{number}", "label": ("nodule", "clear")[number // 4 % 2]})
    write_labels(tmp_path / "scans" / "labels.csv", rows)
    summary = ingest(study_of(tmp_path / "all", tmp_path / "scans"), KEY)
    assert (summary.cases, summary.facts.plane) == (28, "")
    assert any("7 axial, 7 coronal, 7 sagittal" in note and "cohort.plane" in note for note in summary.warnings)
    assert any(note.startswith("7 images do not say how the patient lies") for note in summary.warnings)
    study = study_of(tmp_path / "one", tmp_path / "scans", plane="sagittal")
    summary = ingest(study, KEY)
    assert (summary.cases, dict(summary.facts.excluded)) == (7, {"other plane": 21})
    assert load_facts(study.cohort).plane == "sagittal"
    assert {row["detail"].split(",")[0] for row in read_csv(study.cohort / "excluded.csv")} == {
        "axial", "coronal", "not said",
    }  # fmt: skip
    for number in range(28):
        if number % 4 == 2:
            (tmp_path / "scans" / f"p{number}").unlink()
    write_labels(tmp_path / "scans" / "labels.csv", [row for n, row in enumerate(rows) if n % 4 != 2])
    with pytest.raises(CohortError, match=r"no MR image can be used: .*other plane"):
        ingest(study_of(tmp_path / "none", tmp_path / "scans", plane="sagittal"), KEY)
