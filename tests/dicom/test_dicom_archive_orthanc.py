"""Pulling from and pushing into a real archive: Orthanc, by DIMSE and by DICOMweb."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from command_line import scansynth
from orthanc import PASSWORD, USER, Orthanc, own_network, running_orthanc
from pulled import fill, kill_and_repeat
from pydicom.uid import RLELossless, generate_uid
from scans import compress, save_dicom
from synthetic_study import make_synthetic_study

from scansynth.data.imageset import open_set
from scansynth.dicom.archive.address import Login, Node, tls_context
from scansynth.dicom.archive.dimse import DimseArchive
from scansynth.dicom.archive.remote import Pace, list_series
from scansynth.dicom.archive.retrieval import Retrieval
from scansynth.dicom.archive.wanted import Wanted
from scansynth.dicom.archive.web import WebArchive
from scansynth.study import Study

WAYS = ("dicomweb", "get", "move")
PATIENTS, IMAGES = 3, 4
YOUNGER = "Attribute with an even group number is not a recognized standard attribute - (0x0008,0x001c)"


@pytest.fixture(scope="module")
def server() -> Iterator[Orthanc]:
    with own_network(), running_orthanc() as archive:
        yield archive


@pytest.fixture
def archive(server: Orthanc, monkeypatch: pytest.MonkeyPatch) -> Orthanc:
    """An empty archive, and the login to it in the environment."""
    server.empty()
    for name, value in (("USER", USER), ("PASSWORD", PASSWORD)):
        monkeypatch.setenv(f"SCANSYNTH_ARCHIVE_{name}", value)
    monkeypatch.setenv("NO_PROXY", "*")
    return server


@pytest.fixture
def scans(tmp_path: Path) -> list[Path]:
    """MR series of three patients, one of them compressed, and a CT series of the first patient."""
    for patient in range(PATIENTS):
        for number in range(IMAGES):
            put_scan(tmp_path / "source" / f"p{patient}" / f"i{number}.dcm", patient, number)
    put_scan(tmp_path / "source" / "p0" / "ct.dcm", 0, 9, "CT")
    return sorted((tmp_path / "source").rglob("*.dcm"))


def uid_of(*names: object) -> str:
    return str(generate_uid(entropy_srcs=[str(name) for name in names]))


def put_scan(path: Path, patient: int, number: int, modality: str = "MR") -> None:
    pixels = np.random.default_rng([patient, number]).integers(0, 4000, (24, 32))
    save_dicom(
        path,
        pixels,
        modality,
        PatientID=f"SECRET-{patient}",
        StudyDate=f"202{patient}0315",
        SeriesDescription="t1 tse" if patient else "localizer",
        StudyInstanceUID=uid_of("study", patient),
        SeriesInstanceUID=uid_of("series", patient, modality),
        SOPInstanceUID=uid_of("image", patient, number),
    )
    if patient == 1:
        compress(path, pixels[None].astype(np.uint16), RLELossless)


def address(archive: Orthanc, way: str) -> list[object]:
    """The options that name the archive."""
    if way == "dicomweb":
        return ["--dicomweb", archive.dicomweb, "--rate", 0]
    listening = ["--by", way, "--listen", f"127.0.0.1:{archive.move_port}"] if way in {"get", "move"} else []
    return ["--pacs", archive.pacs, "--rate", 0, *listening]


def pictures(folder: Path) -> dict[str, np.ndarray]:
    """Pixels of every file by SOP Instance UID."""
    files = [pydicom.dcmread(path) for path in folder.rglob("*") if path.is_file()]
    return {str(file.SOPInstanceUID): file.pixel_array for file in files}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all((one[uid] == other[uid]).all() for uid in one)


@pytest.mark.parametrize("way", WAYS)
def test_everything_comes_unchanged(
    way: str, archive: Orthanc, scans: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    archive.fill(scans)
    assert scansynth("pull", tmp_path / "in", "--since", "2000-01-01", *address(archive, way)) == 0
    told = capfd.readouterr()
    assert f"wrote {len(scans)} images of 4 series, {len(scans)} of them now" in told.out
    assert same(pictures(tmp_path / "in" / "dicom"), pictures(tmp_path / "source"))
    assert (tmp_path / "in").stat().st_mode & 0o077 == 0
    named = " ".join(str(path.relative_to(tmp_path)) for path in (tmp_path / "in").rglob("*"))
    for secret in ("SECRET", "Person", PASSWORD, *pictures(tmp_path / "source")):
        assert secret not in named + told.out + told.err
    with (tmp_path / "in" / "images.csv").open() as stream:
        assert {row["sop_instance_uid"] for row in csv.DictReader(stream)} == pictures(tmp_path / "source").keys()


def connection(archive: Orthanc, way: str) -> WebArchive | DimseArchive:
    if way == "dicomweb":
        return WebArchive(archive.dicomweb, Login(user=USER, password=PASSWORD), Pace(0), tls_context(None))
    own = Node("SCANSYNTH", "127.0.0.1", archive.move_port)
    return DimseArchive(Node.parse(archive.pacs), own, Retrieval.GET, Pace(0))


@pytest.mark.parametrize("way", ["dicomweb", "dimse"])
def test_only_what_was_asked_is_listed(way: str, archive: Orthanc, scans: list[Path]) -> None:
    archive.fill(scans)
    named = ({"PatientID": "SECRET-0"}, {"PatientID": "SECRET-2"})
    series = {"StudyInstanceUID": uid_of("study", 0), "SeriesInstanceUID": uid_of("series", 0, "CT")}
    expected = [
        (Wanted("CT"), [(0, "CT")]),
        (Wanted(since="20210101", until="20211231"), [(1, "MR")]),
        (Wanted(since="20210101"), [(1, "MR"), (2, "MR")]),
        (Wanted("MR", each=named), [(0, "MR"), (2, "MR")]),
        (Wanted(each=({"PatientID": "SECRET-"},)), []),  # never a part of a number
        (Wanted(each=(series,)), [(0, "CT")]),
        (Wanted(description="T1 t*", until="20211231"), [(1, "MR")]),
        (Wanted("PT"), []),
    ]
    with connection(archive, way) as opened:
        for wanted, found in expected:
            listed = list_series(opened, wanted)
            assert {each.uid for each in listed.series} == {uid_of("series", *key) for key in found}, wanted
            assert all(
                len(each.images) == (1 if each.uid == uid_of("series", 0, "CT") else 4) for each in listed.series
            )
        assert len(list_series(opened, Wanted("MR", most=2)).series) == 2


def killed_in_the_middle(arguments: list[object], reached: Path, count: int) -> None:
    """Runs a command in a process of its own, and kills it when `reached` has `count` files or lines."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scansynth.cli", *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        lines = reached.read_bytes().count(b"\n") if reached.is_file() else 0
        if lines >= count:
            break
        time.sleep(0.01)
    assert process.poll() is None, process.stderr.read() if process.stderr else ""
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("way", WAYS)
def test_a_killed_pull_is_not_seen_and_goes_on(
    way: str, archive: Orthanc, scans: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    archive.fill(scans)
    command = ["pull", tmp_path / "in", "--since", "2000-01-01", *address(archive, way), "--rate", 8]
    killed_in_the_middle(command, tmp_path / "in" / "pulled.jsonl", 5)
    assert not (tmp_path / "in" / "dicom").exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "in" / ".dicom").rglob("*.dcm")}
    assert 5 <= len(before) < len(scans)
    assert scansynth("pull", tmp_path / "in", "--since", "2000-01-01", *address(archive, way)) == 0
    kept = [
        (tmp_path / "in" / "dicom" / path.relative_to(tmp_path / "in" / ".dicom"), at) for path, at in before.items()
    ]
    assert sum(path.stat().st_mtime_ns == at for path, at in kept) >= len(before) - 1  # one may lack its line
    assert same(pictures(tmp_path / "in" / "dicom"), pictures(tmp_path / "source"))


def test_a_pull_killed_at_any_moment_and_repeated_gives_the_same(archive: Orthanc, tmp_path: Path) -> None:
    fill(archive, tmp_path / "source")
    found = kill_and_repeat(archive, "get", tmp_path / "get", 4)
    assert found["killed"] == 4
    assert found["different"] == []


def test_a_pull_grows_and_heals(
    archive: Orthanc, scans: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    archive.fill(scans[:-1])
    command = ["pull", tmp_path / "in", "--since", "2000-01-01", *address(archive, "get")]
    assert scansynth(*command) == 0
    archive.fill(scans[-1:])
    files = sorted((tmp_path / "in" / "dicom").rglob("*.dcm"))
    files[0].write_bytes(files[0].read_bytes()[:-2])
    files[1].write_bytes(files[1].read_bytes()[:-2] + b"xx")
    files[2].unlink()
    capfd.readouterr()
    assert scansynth(*command) == 0
    assert "4 of them now" in capfd.readouterr().out
    assert same(pictures(tmp_path / "in" / "dicom"), pictures(tmp_path / "source"))
    assert scansynth(*command) == 0
    assert " 0 of them now" in capfd.readouterr().out
    assert scansynth(*command, "--modality", "MR") == 2
    assert "another folder" in capfd.readouterr().err


@pytest.mark.parametrize("way", ["dicomweb", "get"])
def test_who_is_not_let_in_is_told(
    way: str, archive: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCANSYNTH_ARCHIVE_PASSWORD", "not-this-one")
    other = ["--pacs", archive.pacs.replace("ORTHANC", "ELSEWHERE"), "--by", "get"]
    named = address(archive, way) if way == "dicomweb" else other
    assert scansynth("pull", tmp_path / "in", "--modality", "MR", *named) == 2
    told = capfd.readouterr().err
    assert ("refused the login" if way == "dicomweb" else "rejected SCANSYNTH") in told
    assert "not-this-one" not in told
    assert told.count("scansynth:") == 1
    assert "Traceback" not in told


def pixels_of_set(study: Study) -> dict[str, np.ndarray]:
    return pictures(study.synthetic() / "dicom")


@pytest.mark.parametrize(("way", "plane"), [("dicomweb", "sagittal"), ("pacs", "")])
def test_a_set_is_stored_and_returned_as_it_was(
    way: str, plane: str, archive: Orthanc, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    study = make_synthetic_study(tmp_path / "study", images=5, quarantine=[1], plane=plane)
    assert scansynth("push", study.folder, *address(archive, way)) == 0
    told = capfd.readouterr()
    assert "kept back 1 images" in told.err
    assert "7 files of the set main are in the archive, 7 of them sent now" in told.out
    stored = archive.instances()
    sent = pixels_of_set(study)
    kept_back = str(pydicom.dcmread(study.synthetic() / "dicom" / "000001.dcm").SOPInstanceUID)
    assert stored.keys() == sent.keys() - {kept_back}
    (tmp_path / "stored").mkdir()
    for uid, data in stored.items():
        (tmp_path / "stored" / uid).write_bytes(data)
    del sent[kept_back]
    assert same(pictures(tmp_path / "stored"), sent)
    back = "dicomweb" if way == "dicomweb" else "get"
    (tmp_path / "list.csv").write_text(
        "StudyInstanceUID\n"
        + "\n".join({str(pydicom.dcmread(tmp_path / "stored" / uid).StudyInstanceUID) for uid in stored})
    )
    assert scansynth("pull", tmp_path / "back", "--list", tmp_path / "list.csv", *address(archive, back)) == 0
    assert same(pictures(tmp_path / "back" / "dicom"), sent)
    masks = open_set(study.synthetic()).masks
    assert masks is not None
    lesions = [pydicom.dcmread(path) for path in (tmp_path / "back" / "dicom").rglob("*.dcm")]
    for lesion in (one for one in lesions if one.Modality == "SEG"):
        assert (lesion.pixel_array.reshape(32, 32) == masks[int(lesion.InstanceNumber) - 1]).all()
        assert lesion[0x0008001C].value == "YES"
    validator = shutil.which("dciodvfy")
    for uid in stored if validator else ():
        found = subprocess.run([str(validator), tmp_path / "stored" / uid], capture_output=True, text=True, check=False)
        assert "Error" not in found.stderr.replace(f"Error - {YOUNGER}", ""), found.stderr


@pytest.mark.parametrize("way", ["dicomweb", "pacs"])
def test_a_killed_push_goes_on(way: str, archive: Orthanc, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study = make_synthetic_study(tmp_path / "study", images=6)
    named = archive.dicomweb if way == "dicomweb" else archive.pacs
    sent = study.pushed("main", named)
    killed_in_the_middle(["push", study.folder, *address(archive, way), "--rate", 8], sent, 2)
    before = sent.read_bytes().count(b"\n")
    assert scansynth("push", study.folder, *address(archive, way)) == 0
    assert f"9 files of the set main are in the archive, {9 - before} of them sent now" in capfd.readouterr().out
    assert archive.instances().keys() == pixels_of_set(study).keys()


def test_what_the_archive_lost_is_sent_again(
    archive: Orthanc, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    study = make_synthetic_study(tmp_path / "study", images=3)
    command = ["push", study.folder, *address(archive, "dicomweb")]
    assert scansynth(*command) == 0
    archive.empty()
    assert scansynth(*command) == 2
    assert "took 5 files that it does not list" in capfd.readouterr().err
    assert scansynth(*command) == 0
    assert len(archive.instances()) == 5


def test_real_scans_are_refused(
    archive: Orthanc, scans: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    study = make_synthetic_study(tmp_path / "study", images=3)
    shutil.copy(scans[0], study.synthetic() / "dicom" / "000002.dcm")
    assert scansynth("push", study.folder, *address(archive, "dicomweb")) == 2
    assert "real scans are never pushed" in capfd.readouterr().err
    assert not archive.instances()
    assert os.environ["SCANSYNTH_ARCHIVE_PASSWORD"] == PASSWORD
