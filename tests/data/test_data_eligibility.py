"""Which images make a case: units, and images computed from volumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from scansynth.data.scans.eligibility import lacks_air, why_implausible, why_left_out
from scansynth.dicom.read import Limits, read_header

_IMAGE = np.arange(64).reshape(8, 8)
Write = Callable[..., Any]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({}, None),
        ({"RescaleType": "HU"}, None),
        ({"RescaleType": ""}, None),
        ({"RescaleSlope": None}, "bad header"),
        ({"RescaleIntercept": None}, "bad header"),
        ({"RescaleSlope": None, "RescaleIntercept": None}, "bad header"),
        ({"RescaleType": "US"}, "no Hounsfield units"),
        ({"RescaleType": "HU_MOD"}, "no Hounsfield units"),
        ({"RescaleType": "MGML"}, "no Hounsfield units"),
        ({"RescaleType": "%EDW"}, "no Hounsfield units"),
        ({"RescaleType": "100ug/cm3"}, "no Hounsfield units"),
        ({"RescaleType": "Hounsfield Units"}, None),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "EFF_ATOMIC_NUM"]}, "no Hounsfield units"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MAT_SPECIFIC"], "RescaleType": "HU"}, None),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "VMI"]}, None),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "RescaleSlope": None}, "localizer"),
        ({"VolumeBasedCalculationTechnique": "MAX_IP"}, "projection"),
        ({"VolumeBasedCalculationTechnique": "CURVED_MPR"}, "reformatted"),
        ({"VolumeBasedCalculationTechnique": "NONE"}, None),
    ],
)
def test_ct_without_hounsfield_units_is_left_out(
    write_dicom: Write, tmp_path: Path, attributes: dict[str, Any], reason: str | None
) -> None:
    write_dicom(tmp_path / "a", _IMAGE, "CT", **attributes)
    fault = why_left_out(read_header(tmp_path / "a", Limits()), "CT")
    assert (fault and fault.reason) == reason


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_an_empty_rescale_is_a_missing_one(write_dicom: Write, tmp_path: Path, keyword: str) -> None:
    write_dicom(tmp_path / "a", _IMAGE, "CT")
    dataset = pydicom.dcmread(tmp_path / "a")
    setattr(dataset, keyword, None)
    dataset.save_as(tmp_path / "a")
    fault = why_left_out(read_header(tmp_path / "a", Limits()), "CT")
    assert fault is not None
    assert (fault.reason, keyword[:7] in fault.detail) == ("bad header", True)


def test_mr_needs_no_rescale(write_dicom: Write, tmp_path: Path) -> None:
    write_dicom(tmp_path / "a", _IMAGE)
    assert why_left_out(read_header(tmp_path / "a", Limits()), "MR") is None


@pytest.mark.parametrize(
    ("low", "high", "wrong"),
    [(-3000, -1100, True), (3100, 5000, True), (-2000, 800, False), (-1000, -900, False), (1000, 4000, False)],
)
def test_a_ct_beyond_air_or_bone_is_implausible(low: float, high: float, wrong: bool) -> None:
    values = np.linspace(low, high, 64, dtype=np.float32).reshape(8, 8)
    assert (why_implausible(values, "CT") is not None) == wrong
    assert why_implausible(values, "MR") is None


def test_air_is_missed_in_a_chest_whose_intercept_was_lost() -> None:
    chest = np.full((64, 64), 40, np.float32)
    chest[:, :20] = -850
    assert not lacks_air(chest)
    assert lacks_air(chest + 1024)
