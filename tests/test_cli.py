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
from command_line import imported, scansynth
from scans import write_tiny_scans

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


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scans and a study of them that `init` made, once for all tests."""
    folder = tmp_path_factory.mktemp("prepared")
    scans = write_tiny_scans(folder / "scans", patients=20)
    assert scansynth(*init_arguments(folder / "study", scans)) == 0
    return folder


@pytest.fixture
def study(prepared: Path, tmp_path: Path) -> Path:
    """The study and its scans, for one test to change."""
    for name in ("scans", "study"):
        shutil.copytree(prepared / name, tmp_path / name)
    return tmp_path / "study"


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256_file(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {"journal.jsonl", "journal.end.json", ".lock"}
    }


def change_labels(scans: Path, change: Callable[[list[dict[str, str]]], None]) -> None:
    rows = read_csv(scans / "labels.csv")
    change(rows)
    write_csv(scans / "labels.csv", list(dict.fromkeys(key for row in rows for key in row)), rows)


def test_no_dicom(tmp_path: Path, refused: Callable[..., str]) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    (scans / "labels.csv").write_text("path,label\np0/i0,nodule\n")
    assert "no usable DICOM" in refused(*init_arguments(tmp_path / "study", scans))
    assert not (tmp_path / "study").exists()


def test_labels_or_unlabelled_must_be_said(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "give either --labels labels.csv or --unlabelled, or write a table" in refused(
        "init", tmp_path / "study", "--dicom", tmp_path
    )


HEAVY = {"torch", "monai", "sklearn", "scipy.stats", "pandas", "matplotlib", "highdicom", "sqlalchemy"}
"""Half a second of the processor or more, each."""


REFUSED = (
    *(
        (*command, "nowhere")
        for command in (
            ("status",), ("run",), ("ingest",), ("train",), ("generate",), ("audit",), ("report",), ("utility",),
            ("reader", "create"), ("reader", "close"), ("reader", "analyse"), ("plan", "utility"),
        )
    ),
    ("audit",),
    ("audit", "--real", "nowhere", "--synthetic", "nowhere", "--out", "new"),
    ("add-set", "nowhere", "images", "--name", "theirs"),
    ("detect", "nowhere", "--dicom", "scans", "--out", "new"),
    ("export", "nowhere", "a-set"),
    ("init", "new", "--dicom", "nowhere", "--unlabelled"),
    ("init", "new"),
    ("nothing",),
)  # fmt: skip


def test_a_refusal_waits_for_no_heavy_library(study: Path) -> None:
    """Of a wrong call, and of a stage that must wait for the one before it."""
    commands = [*REFUSED, *((command, study) for command in ("train", "generate", "audit", "utility"))]
    for command, (code, modules) in zip(commands, imported(*commands), strict=True):
        assert code == 2, command
        assert not modules & HEAVY, command


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
        (unlisted_file, "1 MR images have no row in labels.csv; add the rows"),
        (unknown_label, "labels.csv row 5: the label is not one of clear, nodule; correct it"),
        (two_roles, "a patient has one role"),
        (single_class, "all images have one label"),
        (no_such_role, "there is no such role; the nearest is train, and all are"),
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


def test_the_same_image_twice_is_counted_once(study: Path, tmp_path: Path, accepted: Callable[..., str]) -> None:
    scans = tmp_path / "scans"
    accepted("ingest", study)
    before = len(read_csv(study / "cohort" / "cases.csv"))
    shutil.copy(scans / "p0" / "i0", scans / "p0" / "again")
    change_labels(scans, lambda rows: rows.append({**rows[0], "path": "p0/again"}))
    accepted("ingest", study)
    assert len(read_csv(study / "cohort" / "cases.csv")) == before
    assert [row["reason"] for row in read_csv(study / "cohort" / "excluded.csv")] == ["duplicate"]


def test_too_few_patients(
    tmp_path: Path, tiny_dicom_folder: Folder, accepted: Callable[..., str], refused: Callable[..., str]
) -> None:
    scans = tiny_dicom_folder(patients=3)
    accepted(*init_arguments(tmp_path / "study", scans))
    assert "there are 3 patients, and the roles need at least" in refused("ingest", tmp_path / "study")
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
    ("table", "wrong", "nearest"),
    [("cohort", "windw = 3", "cohort.hu_window"), ("generator", "recip = 'dcgan'", "generator.recipe")],
)
def test_an_unknown_key_is_named_with_the_nearest(
    study: Path, table: str, wrong: str, nearest: str, refused: Callable[..., str]
) -> None:
    settings = study / "study.toml"
    settings.write_text(settings.read_text().replace(f"[{table}]\n", f"[{table}]\n{wrong}\n"))
    line = refused("run", study)
    assert f"unknown key {table}.{wrong.split(maxsplit=1)[0]}" in line
    assert f"nearest known key is {nearest}" in line


def test_an_ill_typed_key(study: Path, refused: Callable[..., str]) -> None:
    settings = study / "study.toml"
    settings.write_text(settings.read_text().replace("size = 32", "size = 'large'"))
    assert "cohort.size" in refused("run", study)


def test_an_unknown_recipe_key(study: Path, refused: Callable[..., str]) -> None:
    settings = study / "study.toml"
    settings.write_text(settings.read_text() + "\n[generator.overrides.network]\nwidht = 3\n")
    assert "network.widht" in refused("run", study)
    assert not (study / "cohort").exists()


def test_a_study_of_another_version(study: Path, refused: Callable[..., str]) -> None:
    settings = study / "study.toml"
    settings.write_text(settings.read_text().replace("format = 2", "format = 99"))
    assert "format 99" in refused("run", study)


def test_not_a_study_and_a_study_twice(study: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "is not a study" in refused("run", tmp_path / "scans")
    assert "is already a study" in refused(*init_arguments(study, tmp_path / "scans"))


def test_a_stage_before_its_time(study: Path, refused: Callable[..., str]) -> None:
    assert "needs ingest" in refused("generate", study)


def test_an_unknown_option(study: Path, refused: Callable[..., str]) -> None:
    assert "No such option: --dry-rnu" in refused("run", study, "--dry-rnu")


def test_a_study_at_work_is_locked(study: Path, refused: Callable[..., str]) -> None:
    code = (
        "import sys, time; from pathlib import Path; from scansynth.study import open_study\n"
        "with open_study(Path(sys.argv[1])).lock(): print('locked', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(study)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "locked\n"
        assert "another scansynth command is running" in refused("ingest", study)
    finally:
        child.kill()
        child.communicate()


def test_a_file_that_cannot_grow_says_so_and_loses_nothing(
    study: Path, tmp_path: Path, accepted: Callable[..., str]
) -> None:
    """The full disk without the right to mount: no file may grow over 20 kB, and the images take 80."""
    accepted("ingest", study)
    before = tree(study)
    change_labels(tmp_path / "scans", lambda rows: rows.reverse())
    code = (
        "import resource, sys; from scansynth.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); sys.argv[0] = 'scansynth'; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "ingest", str(study)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("scansynth:")]
    assert len(lines) == 1
    assert "File too large; free some space and run the same command again" in lines[0]
    assert tree(study) == before


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


def test_ultrasound_is_never_guessed(tmp_path: Path, tiny_dicom_folder: Folder, refused: Callable[..., str]) -> None:
    scans = tiny_dicom_folder(patients=12, modality="US")
    assert "no usable DICOM" in refused(*init_arguments(tmp_path / "study", scans))


def test_a_study_is_never_made_among_the_scans(tiny_dicom_folder: Folder, refused: Callable[..., str]) -> None:
    scans = tiny_dicom_folder(patients=12)
    assert "its own folder" in refused(*init_arguments(scans, scans))
    assert not (scans / "study.toml").exists()


def test_a_damaged_run_is_one_line(study: Path, accepted: Callable[..., str], refused: Callable[..., str]) -> None:
    (study / "gan" / "main").mkdir(parents=True)
    (study / "gan" / "main" / "run.json").write_text("{")
    assert "run.json of the run main is damaged" in refused("status", study)


def test_a_finished_study_stands_without_its_scans(study: Path, tmp_path: Path, accepted: Callable[..., str]) -> None:
    accepted("ingest", study)
    (tmp_path / "scans").rename(tmp_path / "unmounted")
    lines = {line.split()[0]: line for line in accepted("status", study).splitlines() if line}
    assert "done" in lines["ingest"]
    assert "not checked" in lines["ingest"]


def test_the_report_makes_do_with_what_there_is(study: Path, accepted: Callable[..., str]) -> None:
    accepted("ingest", study)
    accepted("report", study)
    assert "scansynth train" in (study / "report" / "index.html").read_text()


def test_reading_commands_make_no_key(study: Path, tmp_path: Path, accepted: Callable[..., str]) -> None:
    accepted("status", study)
    assert not (tmp_path / "institution.key").exists()


def test_the_users_umask_is_respected(study: Path) -> None:
    code = (
        "import os, sys; os.umask(0o077); from pathlib import Path; from scansynth.study import open_study\n"
        "open_study(Path(sys.argv[1])).log('x', 'y')\n"
        "from scansynth.files import new_directory, write_text\n"
        "with new_directory(Path(sys.argv[1]) / 'page') as folder: write_text(folder / 'a', 'b')"
    )
    subprocess.run([sys.executable, "-c", code, str(study)], check=True)
    assert (study / "page").stat().st_mode & 0o077 == 0
    assert (study / "page" / "a").stat().st_mode & 0o077 == 0
