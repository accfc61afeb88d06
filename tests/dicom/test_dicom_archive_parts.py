"""Addresses, logins, lists, paces and bodies of archives: what is wrong is said before anything is sent."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scansynth.dicom.archive.address import Login, Node, check_url, load_login, tls_context
from scansynth.dicom.archive.folder import relative_path
from scansynth.dicom.archive.multipart import boundary_of, pack, unpack
from scansynth.dicom.archive.remote import Image, Pace
from scansynth.dicom.archive.wanted import Wanted, as_day, read_list
from scansynth.errors import ArchiveError, DicomError


def test_an_address_of_an_application_entity() -> None:
    assert Node.parse("PACS@10.0.0.5:104") == Node("PACS", "10.0.0.5", 104)
    assert Node.parse("A-B.C@[::1]:11112") == Node("A-B.C", "::1", 11112)
    for wrong in (
        "PACS",
        "PACS@host",
        "@host:104",
        "SEVENTEEN-LETTERS@host:1",
        "A@host:99999",
        "A\\B@host:1",
        "A@b@c:1",
    ):
        with pytest.raises(ArchiveError):
            Node.parse(wrong)


def test_a_login_goes_over_tls_to_the_address_alone() -> None:
    token = Login(token="t")
    assert check_url("https://archive.example/dicom-web/", token) == "https://archive.example/dicom-web"
    assert check_url("http://127.0.0.1:8042/dicom-web", token)
    assert check_url("http://archive.example/dicom-web", Login())
    for wrong in ("http://archive.example", "ftp://archive.example", "https://", "https://a.example/?x=1", "archive"):
        with pytest.raises(ArchiveError):
            check_url(wrong, token)
    with pytest.raises(ArchiveError, match="do not put a user or password") as told:
        check_url("https://me:hidden@archive.example", Login())
    assert "hidden" not in str(told.value)


def test_a_login_comes_from_a_file_of_the_owner_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "login.toml"
    file.write_text('token = "abc"\n')
    file.chmod(0o644)
    with pytest.raises(ArchiveError, match="chmod 600"):
        load_login(file, {})
    file.chmod(0o600)
    assert load_login(file, {"SCANSYNTH_ARCHIVE_TOKEN": "other"}) == Login(token="abc")
    named = {"SCANSYNTH_ARCHIVE_USER": "me", "SCANSYNTH_ARCHIVE_PASSWORD": "hidden\n"}
    assert load_login(None, named) == Login(user="me", password="hidden")
    assert "hidden" not in repr(load_login(None, named))
    assert not load_login(None, {})
    for text in ("token = [", 'key = "x"', "token = 5", 'user = "me"', 'token = "a b"', 'token = "a"\nuser = "b"', ""):
        file.write_text(text)
        with pytest.raises(ArchiveError):
            load_login(file, {})
    with pytest.raises(ArchiveError, match="cannot read the login"):
        load_login(tmp_path / "none", {})


def test_certificates_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ArchiveError, match="give a PEM file"):
        tls_context(tmp_path / "ca.pem")
    assert tls_context(None).check_hostname


def test_what_is_asked_is_said_and_days_are_days() -> None:
    assert (as_day("2024-02-29"), as_day("20240229"), as_day(None)) == ("20240229", "20240229", "")
    for wrong in ({}, {"since": as_day("2023-02-29")}, {"since": "20240102", "until": "20240101"}, {"modality": "M*"}):
        with pytest.raises(ArchiveError):
            Wanted(**wrong)


def test_an_answer_that_was_not_asked_for_is_passed_over() -> None:
    wanted = Wanted("MR", "20200101", "20201231", "t1*[a]", ({"PatientID": "p 7"},))
    _, study = next(wanted.studies())
    assert wanted.admits(study, {"PatientID": "P 7 ", "StudyDate": "20200630"})
    assert wanted.admits(study, {"PatientID": "p 7"})  # no day said
    assert not wanted.admits(study, {"PatientID": "p 70"})
    assert not wanted.admits(study, {})  # a patient is not taken on trust
    assert not wanted.admits(study, {"PatientID": "p 7", "StudyDate": "20210101"})
    series = wanted.series("1.2", {})
    assert wanted.admits(series, {"Modality": "MR", "SeriesDescription": "T1 axial [a]"})
    assert not wanted.admits(series, {"Modality": "CT", "SeriesDescription": "t1[a]"})
    assert not wanted.admits(series, {"Modality": "MR", "SeriesDescription": "t1a"})


def test_a_list_names_one_study_a_line(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("\ufeffStudyInstanceUID,note,patient_id\n1.2.3,x,\n,,P7\n,,\n", encoding="utf-8")
    assert read_list(file) == ({"StudyInstanceUID": "1.2.3"}, {"PatientID": "P7"})
    for text in (
        "",
        "name\nx\n",
        "PatientID\n\n",
        "PatientID\nP*\n",
        "StudyInstanceUID\n../..\n",
        "SeriesInstanceUID\n1.2\n",
    ):
        file.write_text(text)
        with pytest.raises(ArchiveError):
            read_list(file)
    with pytest.raises(ArchiveError, match="cannot read"):
        read_list(tmp_path / "none")


@settings(max_examples=50)
@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_no_uid_becomes_a_path(study: str, series: str, instance: str) -> None:
    parts = relative_path(Image(study, series, instance)).split("/")
    assert [len(part) for part in parts] == [16, 16, 36]
    assert set("".join(parts)) <= set("0123456789abcdef.dcm")
    assert parts[2].endswith(".dcm")


def test_images_pass_evenly() -> None:
    now, slept = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(4.0, lambda: now[0], sleep)
    for _ in range(9):
        pace.wait()
    assert now[0] == pytest.approx(2.0)
    now[0] += 10.0  # a pause is not made up for
    pace.wait()
    pace.wait()
    assert slept[-1] == pytest.approx(0.25)
    unhindered = Pace(0, lambda: now[0], sleep)
    before = len(slept)
    unhindered.wait()
    unhindered.wait()
    assert len(slept) == before


@settings(max_examples=20)
@given(st.binary(max_size=300))
def test_a_body_comes_back(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        kind, body = pack(data)
        boundary = boundary_of(kind)
        assert boundary is not None
        for extra in (b"", b"\r\n", b"\r\nafter the last boundary"):
            (Path(name) / "body").write_bytes(body + extra)
            unpack(Path(name) / "body", boundary, Path(name) / "file")
            assert (Path(name) / "file").read_bytes() == data
        for end in range(0, len(body) - 4, 5):
            (Path(name) / "body").write_bytes(body[:end])
            with pytest.raises(DicomError):
                unpack(Path(name) / "body", boundary, Path(name) / "file")


def test_several_files_and_other_kinds_of_body(tmp_path: Path) -> None:
    kind, body = pack(b"one")
    boundary = boundary_of(kind)
    assert boundary is not None
    part = body[: body.rindex(b"--" + boundary.encode())]
    (tmp_path / "body").write_bytes(part + body)
    with pytest.raises(DicomError, match="not one file"):
        unpack(tmp_path / "body", boundary, tmp_path / "file")
    assert boundary_of("application/dicom; transfer-syntax=1.2") is None
    for wrong in ("", "text/html", "multipart/related", 'multipart/related; boundary="\r\n"', "application/json"):
        with pytest.raises(DicomError):
            boundary_of(wrong)
