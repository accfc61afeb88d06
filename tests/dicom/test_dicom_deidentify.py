"""Keyed hashes, the key's file, and the few facts that leave a header."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scansynth.dicom.deidentify import InstitutionKey, default_key_path, facts, load_key
from scansynth.dicom.header import Header, valid_uid
from scansynth.dicom.read import Limits, read_header
from scansynth.errors import ConfigError, DicomError, StorageError

_KEY = InstitutionKey(b"k" * 32)


@pytest.fixture
def header(write_dicom: Callable[..., Any], tmp_path: Path) -> Header:
    write_dicom(tmp_path / "a", np.zeros((4, 4), int))
    return read_header(tmp_path / "a", Limits())


def test_hashes_are_stable_and_of_the_promised_form() -> None:
    assert _KEY.patient_hash("P1") == InstitutionKey(b"k" * 32).patient_hash(" P1 ")
    assert re.fullmatch("[0-9a-f]{16}", _KEY.patient_hash("P1"))
    assert re.fullmatch("[0-9a-f]{16}", _KEY.fingerprint)
    assert re.fullmatch("[0-9a-f]{12}", _KEY.case_id("1.2.3"))
    assert re.fullmatch("[0-9a-f]{12}", _KEY.file_key("a/b.dcm"))
    for number in range(200):
        uid = _KEY.keyed_uid(f"1.2.{number}")
        assert valid_uid(uid)
        assert re.fullmatch(r"2\.25\.[1-9][0-9]{0,38}", uid)


def test_known_answer() -> None:
    """The definition is fixed: another value would part every study from its patients' roles."""
    assert _KEY.patient_hash("P1") == "0d1b868aaf00a59d"


def test_domains_and_keys_are_apart() -> None:
    other = InstitutionKey(b"o" * 32)
    assert len({_KEY.case_id("x"), _KEY.file_key("x"), _KEY.patient_hash("x")[:12], other.case_id("x")}) == 4
    assert _KEY.fingerprint != other.fingerprint
    assert len({_KEY.patient_hash(str(number)) for number in range(5000)}) == 5000


@pytest.mark.parametrize("missing", ["", " ", "\0 "])
def test_an_empty_patient_id_is_refused(missing: str) -> None:
    with pytest.raises(DicomError, match="no patient ID"):
        _KEY.patient_hash(missing)


def test_the_secret_shows_nowhere() -> None:
    key = InstitutionKey(b"SECRET" * 6)
    assert "SECRET" not in f"{key!r} {key} {key.fingerprint} {key.patient_hash('a')}"
    for leak in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(key)


def test_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "institution.key"
    made = load_key(path)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert len(path.read_bytes()) == 32
    assert load_key(path).fingerprint == made.fingerprint
    assert load_key(tmp_path / "other.key").fingerprint != made.fingerprint
    assert [found.name for found in path.parent.iterdir()] == ["institution.key"]


def test_many_at_once_make_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = list(threads.map(lambda _: load_key(tmp_path / "k").fingerprint, range(16)))
    assert len(set(keys)) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    load_key(tmp_path / "k")
    (tmp_path / "k").chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_key(tmp_path / "k")


def test_a_short_or_odd_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(b"x" * 31)
    (tmp_path / "k").chmod(0o600)
    with pytest.raises(ConfigError, match="fewer than 32"):
        load_key(tmp_path / "k")
    with pytest.raises(ConfigError):
        load_key(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises((ConfigError, StorageError)):
        load_key(tmp_path / "file" / "below")


def test_where_the_key_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SCANSYNTH_INSTITUTION_KEY", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert default_key_path() == tmp_path / ".config/scansynth/institution.key"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "x"))
    assert default_key_path() == tmp_path / "x/scansynth/institution.key"
    monkeypatch.setenv("SCANSYNTH_INSTITUTION_KEY", str(tmp_path / "named"))
    assert load_key().fingerprint == load_key(tmp_path / "named").fingerprint


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"sex": "F", "age_band": "50-59", "manufacturer": "siemens"}),
        ({"age_years": 89}, {"sex": "F", "age_band": "80-89", "manufacturer": "siemens"}),
        ({"age_years": 90}, {"sex": "F", "age_band": "90+", "manufacturer": "siemens"}),
        ({"age_years": 107}, {"sex": "F", "age_band": "90+", "manufacturer": "siemens"}),
        ({"age_years": 0, "sex": ""}, {"age_band": "0-9", "manufacturer": "siemens"}),
        ({"age_years": None, "manufacturer": "TOSHIBA_MEC"}, {"sex": "F", "manufacturer": "canon"}),
        ({"age_years": None, "manufacturer": "GE MEDICAL SYSTEMS"}, {"sex": "F", "manufacturer": "ge"}),
        ({"age_years": None, "manufacturer": ""}, {"sex": "F"}),
    ],
)
def test_facts_are_coarse(header: Header, changes: dict[str, Any], expected: dict[str, str]) -> None:
    assert facts(dataclasses.replace(header, **changes)) == expected


@pytest.mark.parametrize(
    ("tesla", "expected"), [(2.89, "2.9"), (1.5, "1.5"), (3.0, "3.0"), (15000.0, "1.5"), (-1.0, None), (50.0, None)]
)
def test_field_strength_is_rounded(header: Header, tesla: float, expected: str | None) -> None:
    assert facts(dataclasses.replace(header, magnetic_field_strength=tesla)).get("field_strength") == expected


@pytest.mark.filterwarnings("ignore:Invalid value for VR AS")
def test_no_planted_identifier_leaves(write_dicom: Callable[..., Any], tmp_path: Path) -> None:
    """Every text attribute of the header holds a planted name; only closed lists leave."""
    write_dicom(
        tmp_path / "b", np.zeros((4, 4), int), PatientID="PLANTED-1", PatientName="PLANTED^2", PatientSex="PLANTED3",
        PatientAge="PLAN", Manufacturer="Property of PLANTED-4, 12.3.1961", BodyPartExamined="PLANTED5",
        InstitutionName="PLANTED-6", ImageType=["PLANTED7", "X"], ConversionType="PLANTED8",
    )  # fmt: skip
    found = read_header(tmp_path / "b", Limits())
    assert facts(found) == {"manufacturer": "other"}
    # persons of one Patient ID are told apart by them in this process; nothing that prints a header shows them
    assert not re.search(r"PLANTED-6|PLANTED\^2", repr(found))
