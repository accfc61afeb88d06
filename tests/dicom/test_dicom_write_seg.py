"""The lesion of a synthetic image as DICOM SEG: valid, beside its image, and read back as it was."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from scansynth.dicom.masks.read import read_mask_file
from scansynth.dicom.masks.target import Target
from scansynth.dicom.write import (
    CT_IMAGE_STORAGE,
    MR_IMAGE_STORAGE,
    SECONDARY_CAPTURE,
    SyntheticFacts,
    image_uids,
    write_synthetic,
)
from scansynth.dicom.write_seg import build_segmentation, write_segmentation
from scansynth.errors import DicomError

VALIDATOR = shutil.which("dciodvfy")
KNOWN = "Attribute with an even group number is not a recognized standard attribute - (0x0008,0x001c)"
SHAPE = (24, 40)


def facts(modality: str) -> SyntheticFacts:
    storage = {"MR": MR_IMAGE_STORAGE, "CT": CT_IMAGE_STORAGE}.get(modality, SECONDARY_CAPTURE)
    low, high = (-1000.0, 400.0) if modality == "CT" else (0.0, 1200.0)
    return SyntheticFacts(
        modality, storage, low, high, (1.4, 1.5), "nodule", "ab" * 32, image_uids("ab" * 32, 0, 3), 4, "axial"
    )


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, SHAPE).astype(np.uint16)


@pytest.fixture
def mask() -> np.ndarray:
    lesion = np.zeros(SHAPE, np.uint8)
    lesion[4:9, 5:12] = 1
    return lesion


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_the_lesion_stands_beside_its_image_and_reads_back(
    modality: str, image: np.ndarray, mask: np.ndarray, tmp_path: Path
) -> None:
    write_synthetic(tmp_path / "image.dcm", image, facts(modality))
    data = write_segmentation(tmp_path / "seg.dcm", image, mask, facts(modality))
    of, seg = pydicom.dcmread(tmp_path / "image.dcm"), pydicom.dcmread(tmp_path / "seg.dcm")
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "FrameOfReferenceUID"):
        assert seg[keyword].value == of[keyword].value, keyword
    assert seg.SeriesInstanceUID != of.SeriesInstanceUID
    assert (seg.Modality, seg[0x0008001C].value, seg.PatientIdentityRemoved) == ("SEG", "YES", "YES")
    assert "ab" * 32 in seg.ContributingEquipmentSequence[0].ContributionDescription
    for placed in (True, False):
        target = Target(
            *SHAPE, "image.dcm", str(of.SOPInstanceUID), (0.0, 0.0, 0.0) if placed else None, (1, 0, 0, 0, 1, 0),
            (1.4, 1.5),
        )  # fmt: skip
        assert (read_mask_file(tmp_path / "seg.dcm", target) == mask).all()
    assert data == write_segmentation(tmp_path / "again.dcm", image, mask, facts(modality))


def test_a_lesion_without_a_place_in_space_is_that_of_its_image(
    image: np.ndarray, mask: np.ndarray, tmp_path: Path
) -> None:
    unplaced = replace(facts("MR"), sop_class_uid=SECONDARY_CAPTURE, plane="")
    write_synthetic(tmp_path / "image.dcm", image, unplaced)
    write_segmentation(tmp_path / "seg.dcm", image, mask, unplaced)
    of, seg = pydicom.dcmread(tmp_path / "image.dcm"), pydicom.dcmread(tmp_path / "seg.dcm")
    assert of.StudyInstanceUID == seg.StudyInstanceUID
    assert "FrameOfReferenceUID" not in of
    assert "FrameOfReferenceUID" not in seg
    target = Target(*SHAPE, "image.dcm", str(of.SOPInstanceUID), None, None, (1.4, 1.5))
    assert (read_mask_file(tmp_path / "seg.dcm", target) == mask).all()


@pytest.mark.parametrize("modality", ["MR", "CT", "US"])
def test_validator_finds_no_error_in_a_segmentation(
    modality: str, image: np.ndarray, mask: np.ndarray, tmp_path: Path
) -> None:
    if VALIDATOR is None:
        pytest.skip("dciodvfy (Debian package dicom3tools) is not installed")
    for name, lesion in (("some", mask), ("none", mask * 0)):
        write_segmentation(tmp_path / f"{name}.dcm", image, lesion, facts(modality))
        done = subprocess.run([VALIDATOR, str(tmp_path / f"{name}.dcm")], capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        assert "Segmentation" in lines, "the validator must have recognised the storage class"
        assert [line for line in lines if line.startswith("Error") and KNOWN not in line] == []


def test_what_cannot_be_a_segmentation_is_refused(image: np.ndarray, mask: np.ndarray) -> None:
    for wrong in (mask[:-1], mask * np.uint8(255)):
        with pytest.raises(DicomError, match="not a mask of the image"):
            build_segmentation(image, wrong, facts("MR"))
