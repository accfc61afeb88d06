"""A picture of a result as DICOM: valid, marked, and nothing else in it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest

from scansynth.dicom.capture import RESEARCH_ONLY, CaptureFacts, build_capture, write_capture
from scansynth.dicom.modules import derive_uid, encode
from scansynth.dicom.write import Uids
from scansynth.errors import DicomError

VALIDATOR = shutil.which("dciodvfy")
UIDS = Uids(*(derive_uid(name) for name in ("study", "series", "instance", "frame")))
FACTS = CaptureFacts(UIDS, 3, "weights ab; map over the image", "score 0.7, above the threshold", "detector")


def picture(rows: int = 21, columns: int = 33) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, columns, 3)).astype(np.uint8)


def complaints(path: Path) -> list[str]:
    if VALIDATOR is None:
        pytest.skip("dciodvfy (Debian package dicom3tools) is not installed")
    done = subprocess.run([VALIDATOR, str(path)], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert "SCImage" in lines, "the validator must have recognised the storage class"
    return [line for line in lines if line.startswith("Error")]


def test_validator_finds_no_error(tmp_path: Path) -> None:
    write_capture(tmp_path / "a.dcm", picture(), FACTS)
    assert complaints(tmp_path / "a.dcm") == []


def test_validator_does_find_a_planted_error(tmp_path: Path) -> None:
    dataset = build_capture(picture(), FACTS)
    del dataset.ConversionType
    (tmp_path / "bad.dcm").write_bytes(encode(dataset))
    assert complaints(tmp_path / "bad.dcm")


def test_pixels_come_back_and_the_marks_are_there(tmp_path: Path) -> None:
    shown = picture(7, 5)  # an odd number of bytes
    write_capture(tmp_path / "a.dcm", shown, FACTS)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    assert dataset.pixel_array.tobytes() == shown.tobytes()
    assert dataset.BurnedInAnnotation == "YES"
    assert RESEARCH_ONLY in dataset.DerivationDescription
    assert RESEARCH_ONLY in dataset.ImageComments
    assert dataset.PatientName == "RESEARCH^ONLY"
    assert dataset.PatientIdentityRemoved == "YES"


def test_other_forms_are_refused() -> None:
    with pytest.raises(DicomError, match="colour picture"):
        build_capture(picture()[..., 0], FACTS)
    with pytest.raises(DicomError, match="colour picture"):
        build_capture(picture().astype(np.uint16), FACTS)
    with pytest.raises(DicomError, match="number"):
        CaptureFacts(UIDS, 0, "", "", "")
