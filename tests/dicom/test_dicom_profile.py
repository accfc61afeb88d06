"""The floor under the whitelist: PS3.15's table lets nothing through that is not named here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from scansynth.dicom.attributes import WHITELIST
from scansynth.dicom.profile import HANDLED, actions, let_through, removal_report
from scansynth.dicom.read import Limits, read_header

Write = Callable[..., Any]


def test_the_whitelist_reads_nothing_of_the_profile_but_what_is_handled() -> None:
    assert let_through() == set()
    read = {pydicom.datadict.keyword_for_tag(tag) for tag in WHITELIST}
    assert HANDLED.keys() <= read, "a rule for something that is never read"
    assert {actions()[int(pydicom.tag.Tag(keyword))] for keyword in HANDLED} == {"Z", "X", "U", "Z/D", "X/Z/D"}
    names = {"PatientName", "PatientBirthDate", "AccessionNumber", "InstitutionName", "StudyDate"}
    assert all("compared" in HANDLED[name][0] for name in names)  # to tell persons apart, and written nowhere
    assert "ImageComments" not in read
    assert names | {"ImageComments"} <= {pydicom.datadict.keyword_for_tag(tag) for tag in actions()}


def test_the_report_counts_the_files_that_held_what_was_removed(write_dicom: Write, tmp_path: Path) -> None:
    planted = {
        "PatientBirthDate": "19600102", "InstitutionName": "PLANTED hospital",
        "ReferringPhysicianName": "PLANTED^DOCTOR", "OtherPatientIDsSequence": [pydicom.Dataset()],
    }  # fmt: skip
    pixels = np.arange(64).reshape(8, 8)
    dataset = write_dicom(tmp_path / "a", pixels, **planted)
    dataset.private_block(0x0029, "PLANTED MAKER", create=True).add_new(0x10, "LO", "PLANTED-1")
    dataset.private_block(0x0029, "PLANTED MAKER").add_new(0x11, "LO", "PLANTED-2")
    dataset.add_new(0x60003000, "OW", bytes(8))
    pydicom.dcmwrite(tmp_path / "a", dataset, enforce_file_format=True)
    write_dicom(tmp_path / "b", pixels, PatientSex=None)
    rows = removal_report([read_header(tmp_path / name, Limits()) for name in "ab"])
    found = {row["attribute"]: row for row in rows}
    assert {name: found[name]["files"] for name in planted} == dict.fromkeys(planted, 1)
    assert (found["PatientName"]["files"], found["PatientID"]["files"], found["PatientSex"]["files"]) == (2, 2, 1)
    assert (found["private elements"]["files"], found["overlays"]["files"]) == (1, 1)
    assert found["PatientName"]["tag"] == "(0010,0010)"
    assert str(found["OtherPatientIDsSequence"]["done"]).startswith("removed")
    assert "dropped" in str(found["InstitutionName"]["done"])
    assert "hash" in str(found["PatientID"]["done"])
    assert "Retain Patient Characteristics" in str(found["PatientAge"]["clause"])
    assert all(row["clause"] and row["profile"] for row in rows)
    assert "PLANTED" not in str(rows)
