"""A cohort of pictures and volumes: scale, spacing and orientation as the table and the files say, or refused."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from scans import write_labels

from scansynth.config import StudyConfig
from scansynth.data.ingest import ingest
from scansynth.data.tensors import load_cohort
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.errors import CohortError
from scansynth.files import read_csv
from scansynth.pipeline.new_study import Wishes, create
from scansynth.study import Study

KEY = InstitutionKey(b"k" * 32)


def study_of(folder: Path, scans: Path, **settings: object) -> Study:
    cohort = {"dicom": str(scans), "labels": str(scans / "labels.csv"), "size": 32, "positive": "nodule", **settings}
    return Study(folder, StudyConfig.model_validate({"cohort": cohort}))


def row(number: int, name: str, **more: str) -> dict[str, str]:
    return {"path": name, "label": ("nodule", "clear")[number % 2], "patient_id": f"P{number}", **more}


def grey(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (32, 32)).astype(np.uint8)


def images_of(study: Study) -> np.ndarray:
    return np.load(study.cohort / "images.npy").reshape(-1, 32, 32)


def test_pictures_become_a_cohort_on_their_whole_range(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    rows = []
    for number in range(12):
        values = np.repeat(grey(number)[..., None], 3, axis=2) if number % 2 else grey(number)
        name = f"{number}.{('png', 'tif')[number % 3 == 0]}"
        Image.fromarray(values).save(scans / name)
        rows.append(row(number, name, spacing="0.7"))
    colour = np.stack([grey(20), grey(21), grey(22)], axis=2)
    Image.fromarray(colour).save(scans / "colour.png")
    Image.fromarray(grey(30)).save(scans / "unlisted.png")
    Image.fromarray(np.eye(32, dtype=np.uint8)).save(scans / "mask.png")
    rows[0]["mask"] = "mask.png"
    write_labels(scans / "labels.csv", [*rows, row(12, "colour.png", spacing_row="0.5", spacing_col="0.25")])
    made = create(tmp_path / "made", Wishes(scans, scans / "labels.csv", view="patch"))
    assert (made.config.cohort.modality, made.config.cohort.size) == ("OT", 32)
    summary = ingest(made, KEY)
    cohort, images = load_cohort(made.cohort), images_of(made)
    assert summary.facts.excluded == {"colour image": 1}
    assert any("12 images are pictures" in note for note in summary.warnings)
    assert {case.spacing for case in cohort.cases} == {(0.7, 0.7)}
    assert {(case.low, case.high) for case in cohort.cases} == {(0.0, 65535.0)}
    wanted = {(grey(number).astype(np.uint16) * 257).tobytes() for number in range(12)}
    assert {image.astype(np.uint16).tobytes() for image in images} == wanted
    assert np.load(made.cohort / "masks.npy").sum() == 32


def test_a_cohort_of_which_nothing_is_left_says_why(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(6):
        Image.fromarray(np.stack([grey(number), grey(9), grey(8)], axis=2)).save(scans / f"{number}.png")
    write_labels(scans / "labels.csv", [row(number, f"{number}.png", spacing="0.7") for number in range(6)])
    with pytest.raises(CohortError, match=r"no image is left \(6 colour image\): .*dicom.md"):
        ingest(study_of(tmp_path / "study", scans, modality="MR"), KEY)


def test_pictures_of_twelve_bits_in_sixteen_are_said_to_be_dark(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(12):
        Image.fromarray(grey(number).astype(np.uint16) * 16).save(scans / f"{number}.png")
    write_labels(scans / "labels.csv", [row(number, f"{number}.png", spacing="0.7") for number in range(12)])
    notes = ingest(study_of(tmp_path / "study", scans, modality="OT"), KEY).warnings
    assert [note for note in notes if "6% of their range" in note]


def test_a_picture_without_spacing_is_refused_with_its_row(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    Image.fromarray(grey(0)).save(scans / "a.png")
    write_labels(scans / "labels.csv", [row(0, "a.png", spacing="")])
    with pytest.raises(CohortError, match=r"row 2: a picture does not say.*spacing_row and spacing_col, in mm"):
        ingest(study_of(tmp_path / "study", scans, modality="OT"), KEY)
    write_labels(scans / "labels.csv", [row(0, "a.png", spacing="-1")])
    with pytest.raises(CohortError, match="row 2: spacing, or spacing_row and spacing_col, must be mm above 0"):
        ingest(study_of(tmp_path / "study", scans, modality="OT"), KEY)


@pytest.mark.parametrize("plane", ["axial", "coronal"])
def test_a_volume_gives_the_slices_of_a_plane_with_its_lesion(plane: str, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    x, y, z = np.mgrid[:32, :32, :32]  # to the right, to the front, to the head
    lesion = ((x - 20) ** 2 + (y - 12) ** 2 + (z - 25) ** 2 <= 25).astype(np.uint8)
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    rows = []
    for number in range(10):
        values = (lesion.astype(int) * 1000 + np.random.default_rng(number).integers(0, 50, lesion.shape)).astype(
            np.int16
        )
        nibabel.save(nibabel.Nifti1Image(values, affine), scans / f"{number}.nii.gz")
        rows.append(row(number, f"{number}.nii.gz"))
    nibabel.save(nibabel.Nifti1Image(lesion, affine), scans / "m.nii.gz")
    rows[0]["mask"] = "m.nii.gz"
    write_labels(scans / "labels.csv", rows)
    study = study_of(tmp_path / "study", scans, modality="MR", plane=plane)
    summary = ingest(study, KEY)
    assert (summary.cases, summary.patients) == (320, 10)
    assert {case.spacing for case in load_cohort(study.cohort).cases} == {(1.5, 1.5)}
    images, masks = images_of(study), np.load(study.cohort / "masks.npy").reshape(-1, 32, 32)
    assert masks.sum() == lesion.sum()
    best = int(masks.sum(axis=(1, 2)).argmax())
    assert ((images[best] > 32768) == (masks[best] > 0)).mean() > 0.99
    rows_, columns = np.nonzero(masks[best])
    # the patient's right is at the left of the picture; the front is up in axial slices, the head in coronal ones
    assert columns.mean() == pytest.approx(31 - 20, abs=0.3)
    assert rows_.mean() == pytest.approx(31 - (12 if plane == "axial" else 25), abs=0.3)


def _claims(side: int) -> bytes:
    """A small PNG file that claims so many rows and columns (PNG specification, 11.2.2 and 11.2.4)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 22))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _volume_bomb(side: int) -> bytes:
    """A small NIfTI file that claims a huge volume, and inflates to more than it may."""
    head = nibabel.Nifti1Header()
    head.set_data_shape((side, side, 64))
    head.set_data_dtype(np.float32)
    return gzip.compress(head.binaryblock + bytes(4) + bytes(1 << 24))


def test_bombs_among_pictures_cost_a_line_each(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    rows = [row(number, f"p{number}.png", spacing="0.7") for number in range(12)]
    for number in range(12):
        Image.fromarray(grey(number)).save(scans / f"p{number}.png")
    bombs = {
        "wide.png": _claims(60_000),
        "within.png": _claims(4_000),
        "volume.nii.gz": _volume_bomb(30_000),
        "cut.nii.gz": _volume_bomb(64)[:500],
        "empty.png": b"",
    }
    for number, (name, data) in enumerate(bombs.items(), 12):
        (scans / name).write_bytes(data)
        rows.append(row(number, name, spacing="0.7"))
    write_labels(scans / "labels.csv", rows)
    study = study_of(tmp_path / "study", scans, modality="OT")
    summary = ingest(study, KEY)
    assert summary.cases == 12
    left = read_csv(study.cohort / "excluded.csv")
    assert len(left) == len(bombs)
    assert all(one["reason"] and len(one["reason"] + one["detail"]) < 200 for one in left)
    assert not any("crashed" in one["reason"] for one in left)
