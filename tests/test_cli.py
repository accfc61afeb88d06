"""Bad input at the command line: one line on stderr, exit code 2, nothing half-written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from scansynth.cli import main
from scansynth.files import read_csv, sha256_file, write_csv

Folder = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSYNTH_INSTITUTION_KEY", str(tmp_path / "institution.key"))


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command that must refuse; its one line."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["scansynth", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        lines = [line for line in error.splitlines() if line.startswith("scansynth:")]
        assert len(lines) == 1, error
        return lines[0]

    return run


@pytest.fixture
def accepted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command that must succeed; its standard output."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["scansynth", *map(str, arguments)])
        main()
        return capsys.readouterr().out

    return run


def init_arguments(study: Path, scans: Path) -> list[object]:
    return ["init", study, "--dicom", scans, "--labels", scans / "labels.csv", "--size", 32]


@pytest.fixture
def study(tmp_path: Path, tiny_dicom_folder: Folder, accepted: Callable[..., str]) -> Iterator[Path]:
    scans = tiny_dicom_folder(patients=20)
    accepted(*init_arguments(tmp_path / "study", scans))
    return tmp_path / "study"


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256_file(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {"journal.jsonl", ".lock"}
    }


def change_labels(scans: Path, change: Callable[[list[dict[str, str]]], None]) -> None:
    rows = read_csv(scans / "labels.csv")
    change(rows)
    write_csv(scans / "labels.csv", list(dict.fromkeys(key for row in rows for key in row)), rows)


def test_no_dicom(tmp_path: Path, refused: Callable[..., str]) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    (scans / "labels.csv").write_text("path,label\n")
    assert "no usable DICOM" in refused(*init_arguments(tmp_path / "study", scans))
    assert not (tmp_path / "study").exists()


def test_labels_or_unlabelled_must_be_said(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "--unlabelled" in refused("init", tmp_path / "study", "--dicom", tmp_path)


def lost_file(rows: list[dict[str, str]]) -> None:
    rows[3]["path"] = "p9/nowhere"


def unlisted_file(rows: list[dict[str, str]]) -> None:
    del rows[3]


def unknown_label(rows: list[dict[str, str]]) -> None:
    rows[3]["label"] = "nodul"


def two_roles(rows: list[dict[str, str]]) -> None:
    for row in rows:
        row["role"] = ""
    rows[0]["role"], rows[1]["role"] = "train", "test"


def single_class(rows: list[dict[str, str]]) -> None:
    for row in rows:
        row["label"] = "nodule"


def no_such_role(rows: list[dict[str, str]]) -> None:
    for row in rows:
        row["role"] = "tran"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lost_file, "there is no such file"),
        (unlisted_file, "label"),
        (unknown_label, "row 5"),
        (two_roles, "a patient has one role"),
        (single_class, "one label"),
        (no_such_role, "train"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_wrong_labels(
    study: Path, tmp_path: Path, change: Callable[[list[dict[str, str]]], None], says: str, refused: Callable[..., str]
) -> None:
    change_labels(tmp_path / "scans", change)
    before = tree(study)
    assert says in refused("ingest", study)
    assert tree(study) == before


def test_the_same_image_twice(study: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    scans = tmp_path / "scans"
    shutil.copy(scans / "p0" / "i0", scans / "p0" / "again")
    change_labels(scans, lambda rows: rows.append({**rows[0], "path": "p0/again"}))
    assert "more than once" in refused("ingest", study)


def test_too_few_patients(
    tmp_path: Path, tiny_dicom_folder: Folder, accepted: Callable[..., str], refused: Callable[..., str]
) -> None:
    scans = tiny_dicom_folder(patients=3)
    accepted(*init_arguments(tmp_path / "study", scans))
    assert "patients" in refused("ingest", tmp_path / "study")
    assert not (tmp_path / "study" / "cohort").exists()


def test_a_truncated_file_is_left_out_and_the_rest_goes_on(
    study: Path, tmp_path: Path, accepted: Callable[..., str]
) -> None:
    path = tmp_path / "scans" / "p0" / "i0"
    path.write_bytes(path.read_bytes()[:-700])
    accepted("ingest", study)
    assert [row["reason"] for row in read_csv(study / "cohort" / "excluded.csv")] == ["truncated"]
    assert len(np.load(study / "cohort" / "images.npy", mmap_mode="r")) == 39


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[cohort]\n",
            "[cohort]\nwindw = 3\n",
        ),
        ("[generator]\n", "[generator]\nrecip = 'dcgan'\n"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(
    study: Path, text: str, says: str, refused: Callable[..., str]
) -> None:
    settings = study / "study.toml"
    settings.write_text(settings.read_text().replace(text, says))
    line = refused("run", study)
    assert "unknown key" in line
    assert "nearest known key" in line
    assert ("cohort.hu_window" if "windw" in says else "generator.recipe") in line


def test_an_ill_typed_key(study: Path, refused: Callable[..., str]) -> None:
    settings = study / "study.toml"
    settings.write_text(settings.read_text().replace("size = 32", "size = 'large'"))
    assert "cohort.size" in refused("run", study)


def test_an_unknown_recipe_key(study: Path, refused: Callable[..., str]) -> None:
    settings = study / "study.toml"
    settings.write_text(settings.read_text() + "\n[generator.overrides.network]\nwidht = 3\n")
    assert "network.width" in refused("run", study)


def test_a_study_of_another_version(study: Path, refused: Callable[..., str]) -> None:
    settings = study / "study.toml"
    settings.write_text(settings.read_text().replace("format = 1", "format = 99"))
    assert "format 99" in refused("run", study)


def test_not_a_study_and_a_study_twice(study: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "is not a study" in refused("run", tmp_path / "scans")
    assert "is a study already" in refused(*init_arguments(study, tmp_path / "scans"))


def test_a_stage_before_its_time(study: Path, refused: Callable[..., str]) -> None:
    assert "needs ingest" in refused("generate", study)


def test_an_unknown_option(study: Path, refused: Callable[..., str]) -> None:
    assert "--dry" in refused("run", study, "--dry-rnu")


def test_a_study_at_work_is_locked(study: Path, refused: Callable[..., str]) -> None:
    code = (
        "import sys, time; from pathlib import Path; from scansynth.study import open_study\n"
        "with open_study(Path(sys.argv[1])).lock(): print('locked', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(study)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "locked\n"
        assert "another scansynth is at work" in refused("ingest", study)
    finally:
        child.kill()
        child.communicate()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB; needs the right to mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let tests mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_says_so_and_loses_nothing(
    small_disk: Path, tiny_dicom_folder: Folder, accepted: Callable[..., str], refused: Callable[..., str]
) -> None:
    scans = tiny_dicom_folder(patients=20)
    study = small_disk / "study"
    accepted(*init_arguments(study, scans))
    accepted("ingest", study)
    before = tree(study / "cohort")
    room = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(b"x" * (room.f_bavail * room.f_frsize - 40_000))
    change_labels(scans, lambda rows: rows.reverse())
    line = refused("ingest", study)
    assert "No space left" in line
    assert "free" in line
    assert tree(study / "cohort") == before


def test_a_read_only_folder(
    tmp_path: Path, small_disk: Path, tiny_dicom_folder: Folder, refused: Callable[..., str]
) -> None:
    scans = tiny_dicom_folder(patients=20)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "Read-only" in refused(*init_arguments(small_disk / "study", scans))


def test_help_is_quick_to_load() -> None:
    heavy = ("torch", "monai", "pydicom")
    code = f"import sys; import scansynth.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
