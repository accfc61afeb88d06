"""A tiny phantom through every stage by the command line, as a user would do it."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from command_line import imported, scansynth
from markupsafe import escape
from PIL import Image

from scansynth.claims.rules import CLAIMS
from scansynth.config import GovernanceSettings
from scansynth.files import read_csv, read_json, read_json_lines, sha256_file
from scansynth.gan import memory, training_loop
from scansynth.gan.state import TrainingState
from scansynth.gan.training_loop import TrainingJob
from scansynth.gan.watching.health import Level, Trouble

TINY = """
[generator.overrides.network]
width = 4
[generator.overrides.schedule]
epochs = 12
log_every_images = 100
grid_every_images = 200
[synthetic]
images = 60
[evidence]
draws = 20
"""


@pytest.fixture(scope="module", autouse=True)
def own_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An institution key of the test's own: the user's is never touched."""
    path = tmp_path_factory.mktemp("key") / "institution.key"
    with pytest.MonkeyPatch.context() as patch:
        path.write_bytes(bytes(range(32)))  # given, as which patient gets which role follows from it
        path.chmod(0o600)
        patch.setenv("SCANSYNTH_INSTITUTION_KEY", str(path))
        yield path


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "scans"
    assert scansynth("phantom", folder, "--patients", 60, "--size", 32, "--seed", 5) == 0
    return folder


def new_study(folder: Path, scans: Path) -> Path:
    labels = scans / "labels.csv"
    assert scansynth("init", folder, "--dicom", scans, "--labels", labels, "--view", "chest", "--size", 32) == 0
    (folder / "study.toml").write_text((folder / "study.toml").read_text() + TINY)
    return folder


def ingested(study: Path, folder: Path) -> Path:
    """The study as it was after ingest, in another folder."""
    folder.mkdir()
    shutil.copy(study / "study.toml", folder)
    for name in ("cohort", "private"):
        if (study / name).exists():
            shutil.copytree(study / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, scans: Path) -> Path:
    folder = new_study(tmp_path_factory.mktemp("study") / "study", scans)
    assert scansynth("run", folder) == 0
    return folder


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


def test_every_stage_wrote_its_record(study: Path) -> None:
    for folder in ("cohort", "gan/main", "synthetic/main", "evidence/main", "report"):
        record = read_json(study / folder / "stage.json")
        assert record["outputs"], folder
        for name, digest in record["outputs"].items():
            assert sha256_file(study / folder / name) == digest, name
        assert record["versions"]["scansynth"]
    record = read_json(study / "evidence" / "main" / "stage.json")
    assert record["inputs"]["scores"] == sha256_file(study / "gan" / "main" / "scores.csv")


def test_the_run_that_tests_of_the_report_make_up_has_the_keys_of_a_real_one(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "report"))
    made = importlib.import_module("fake_study").make_study(tmp_path / "made")
    run = "gan/main/run.json"
    assert read_json(made.folder / run).keys() <= read_json(study / run).keys()
    lines = [
        {key for line in read_json_lines(at / "gan/main/log.jsonl") for key in line} for at in (made.folder, study)
    ]
    assert {key for key in lines[0] if not key.startswith("average_")} <= lines[1]  # this recipe has no average


def test_each_patient_has_one_role_and_the_generator_saw_train_alone(study: Path) -> None:
    cases = read_csv(study / "cohort" / "cases.csv")
    roles: dict[str, set[str]] = {}
    for case in cases:
        roles.setdefault(case["patient"], set()).add(case["role"])
    assert all(len(found) == 1 for found in roles.values())
    record = read_json(study / "gan" / "main" / "stage.json")
    seen = {role for patient in record["patients"] for role in roles[patient]}
    assert seen == set(record["roles"])
    assert "train" in seen
    # test patients are scored by the discriminator once the weights are final; tune and reserve are never read
    assert seen <= {"train", "calibrate", "test"}
    # calibrate patients are what the diversity is compared with; nobody else is read in the training
    assert set(read_json(study / "gan" / "main" / "run.json")["roles_in_training"]) <= {"train", "calibrate"}


def test_the_synthetic_set_is_marked_dicom(study: Path) -> None:
    rows = read_csv(study / "synthetic" / "main" / "manifest.csv")
    weights = sha256_file(study / "gan" / "main" / "generator.safetensors")
    assert len(rows) == 60
    assert {row["weights_sha256"] for row in rows} == {weights}
    assert len({row["sop_instance_uid"] for row in rows}) == 60
    image = pydicom.dcmread(study / "synthetic" / "main" / rows[0]["file"])
    assert image[0x0008, 0x001C].value == "YES"
    assert image.Modality == "MR"
    assert weights in image.DerivationDescription


def test_claims_are_complete_and_pages_self_contained(study: Path) -> None:
    claims = read_json(study / "evidence" / "main" / "claims.json")["claims"]
    assert [claim["claim"] for claim in claims] == list(CLAIMS)
    page = (study / "report" / "index.html").read_text()
    for claim in claims:
        assert claim["value"] is not None or claim["verdict"] == "not assessable", claim["claim"]
        assert str(escape(claim["question"])) in page
    assert len(page) < 15_000_000
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_no_identifier_leaves_private(study: Path, scans: Path) -> None:
    names = {row["patient_id"] for row in read_csv(scans / "labels.csv")}
    uids = {pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in scans.rglob("*.dcm")}
    planted = [text.encode() for text in (*names, *uids, "PHANTOM^", str(scans))]
    for path in study.rglob("*"):
        if path.is_file() and path.name != "study.toml" and "private" not in path.parts:
            data = path.read_bytes()
            assert not any(text in data for text in planted), path.relative_to(study)


def test_status_of_a_finished_study_imports_no_network_and_no_reader_of_dicom(study: Path) -> None:
    ((code, modules),) = imported(("status", study))
    assert code == 0
    assert not modules & {"torch", "monai", "sklearn", "scipy.stats", "pandas", "matplotlib", "pydicom", "highdicom"}


def test_nothing_runs_twice_and_a_changed_setting_runs_what_follows(
    tmp_path: Path, study: Path, scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(study)
    assert scansynth("run", study) == 0
    assert "nothing is stale" in capsys.readouterr().out
    after = tree(study)
    assert before == after
    settings = study / "study.toml"
    original = settings.read_text()
    settings.write_text(original.replace("draws = 20", "draws = 21"))
    try:
        assert scansynth("status", study) == 0
        lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
        assert "done" in lines["train"]
        assert "done" in lines["generate"]
        assert "stale" in lines["audit"]
        assert "draws" in lines["audit"]
        assert "stale" in lines["report"]
    finally:
        settings.write_text(original)


def test_dry_run_writes_nothing_and_tells_hours_and_disk(
    tmp_path: Path, scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = new_study(tmp_path / "study", scans)
    before = tree(folder)
    assert scansynth("run", folder, "--dry-run") == 0
    out = capsys.readouterr().out
    assert "hours" in out
    assert "GB" in out
    assert tree(folder) == before


def test_export_gives_the_same_images_in_both_forms(study: Path, tmp_path: Path) -> None:
    assert scansynth("export", study, "main", "--to", "png", "--out", tmp_path / "png") == 0
    assert scansynth("export", study, "main", "--to", "npy", "--out", tmp_path / "npy") == 0
    array = np.load(tmp_path / "npy" / "images.npy")
    rows = read_csv(tmp_path / "png" / "labels.csv")
    assert array.shape == (60, 1, 32, 32)
    assert [row["label"] for row in rows] == ["nodule"] * 60
    for row, image in zip(rows, array, strict=True):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "png" / row["path"])), image[0])


def test_a_patient_is_withdrawn_and_what_learned_from_it_is_stale(
    study: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    shutil.copytree(study, folder)
    learned = read_json(study / "gan" / "main" / "stage.json")["patients"]
    case = next(
        row for row in read_csv(study / "cohort" / "cases.csv") if row["role"] == "train" and row["patient"] in learned
    )
    source = next(row["file"] for row in read_csv(study / "private" / "linkage.csv") if row["case"] == case["id"])
    number = pydicom.dcmread(scans / source, stop_before_pixels=True).PatientID
    before = tree(folder)

    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert scansynth("withdraw", folder, number) == 0
    assert "nothing was removed" in capsys.readouterr().out
    assert tree(folder) == before

    assert scansynth("withdraw", folder, number, "--yes") == 0
    said = "".join(capsys.readouterr())
    for name, how in (
        ("gan/main", "learned from images of the patient"),
        ("synthetic/main", "was made from what the patient touched"),
        ("evidence/main", "has figures or pictures of the patient"),
        ("report", "has figures or pictures of the patient"),
    ):
        assert any(line.startswith(name) and how in line for line in said.splitlines()), said
    assert number not in said
    left = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in left if number.encode() in path.read_bytes()]
    assert not [path for path in left if case["id"].encode() in path.read_bytes() and "cohort" in path.parts]
    assert not (folder / "report").exists()
    assert not (folder / "gan" / "main" / "real.png").exists()
    assert scansynth("status", folder) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "done" in lines["ingest"], lines["ingest"]
    assert all("stale" in lines[name] for name in ("train", "generate", "audit")), lines

    assert scansynth("withdraw", folder, case["patient"], "--yes") == 0, "by the keyed hash, and once more"
    assert "already marked as withdrawn" in capsys.readouterr().err
    assert scansynth("withdraw", folder, "NOBODY-1", "--yes") == 2
    refused = capsys.readouterr().err
    assert "no patient of this study" in refused
    assert "NOBODY" not in refused


KILLED = """import os, signal, sys
from scansynth.cli import main
from scansynth.learning import checkpoint

save = checkpoint.save


def save_and_die(*given):
    save(*given)
    os.kill(os.getpid(), signal.SIGKILL)


checkpoint.save = save_and_die
sys.argv[0] = "scansynth"
main()
"""


def test_training_killed_and_run_again_gives_the_same_weights(study: Path, tmp_path: Path) -> None:
    """At its first save, and in other processes than the training that nobody killed; at any moment: `make drill`."""
    folder = ingested(study, tmp_path / "study")
    text = (folder / "study.toml").read_text()
    (folder / "study.toml").write_text(text.replace("[generator]\n", "[generator]\ncheckpoint_minutes = 0.0001\n"))
    command = [sys.executable, "-c", KILLED, "train", str(folder)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (folder / "gan" / "main" / "stage.json").exists()
    assert not (folder / "gan" / "main" / "generator.safetensors").exists()
    (saved,) = (int(path.name.split("-")[1]) for path in folder.glob("gan/main/checkpoints/0*"))
    assert 0 < saved < read_json(study / "gan" / "main" / "run.json")["images_total"]
    assert scansynth("train", folder) == 0
    weights = "gan/main/generator.safetensors"
    assert sha256_file(folder / weights) == sha256_file(study / weights)
    images = [row["images"] for row in read_json_lines(folder / "gan" / "main" / "log.jsonl")]
    assert images == sorted(set(images)), "a line of the log stands twice after the kill"


def test_ctrl_c_is_one_line_and_exit_2(study: Path, tmp_path: Path) -> None:
    folder = ingested(study, tmp_path / "study")
    text = (folder / "study.toml").read_text()
    (folder / "study.toml").write_text(text.replace("epochs = 12", "epochs = 12000"))
    command = [sys.executable, "-m", "scansynth.cli", "run", str(folder)]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 600
    while not (folder / "gan" / "main" / "log.jsonl").exists():
        assert child.poll() is None, child.stderr and child.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=600)
    assert child.returncode == 2
    assert "Traceback" not in stderr
    refusals = [line for line in stderr.splitlines() if line.startswith("scansynth:")]
    assert len(refusals) == 1
    assert "run again to go on" in refusals[0]
    saved = json.loads(next(folder.glob("gan/main/checkpoints/0*/state.json")).read_text())
    assert saved["images"] > 0


def test_a_collapse_that_no_change_helps_ends_the_run_marked(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ingested(study, tmp_path / "study")
    real = training_loop._look

    def collapsed(job: TrainingJob, state: TrainingState, *rest: Any) -> dict[str, float]:
        figures = real(job, state, *rest)
        planted = {"level": Level.CRITICAL, "troubles": (Trouble.COLLAPSE,), "reasons": ("generator: planted",)}
        state.health = replace(state.health, **planted, clear=False)
        return figures

    monkeypatch.setattr(training_loop, "_look", collapsed)
    assert scansynth("run", folder) == 2
    said = capsys.readouterr().err
    assert said.count("going back to the beginning") == 3
    assert "the generator collapsed at" in said
    assert "half the learning rate" in said
    monkeypatch.undo()
    run = folder / "gan" / "main"
    assert read_json(run / "generator.json")["level"] == "critical"
    assert read_json(run / "run.json")["changes"] == ["penalty", "rate", "penalty"]
    assert scansynth("run", folder) == 2  # not trained again, and nothing drawn
    said = capsys.readouterr().err
    assert "had collapsed when its training ended" in said
    assert not (folder / "synthetic").exists()
    assert scansynth("generate", folder, "--even-if-collapsed") == 0
    assert scansynth("run", folder) == 0
    page = (folder / "report" / "index.html").read_text()
    assert "The generator had collapsed when its training ended" in page


def test_what_cannot_fit_in_memory_is_refused_before_the_first_step(
    study: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = new_study(tmp_path / "study", scans)
    monkeypatch.setattr(memory, "available_bytes", lambda device: 1 << 20)
    assert scansynth("ingest", folder) == 0
    cohorts = [(root / "cohort" / "cases.csv").read_text() for root in (study, folder)]
    assert cohorts[0] == cohorts[1], "the same scans and the same key give the same cohort"
    assert scansynth("train", folder) == 2
    said = capsys.readouterr().err
    assert "the training needs about" in said
    assert not (folder / "gan").exists()


def test_status_tells_where_a_training_is_and_the_terminal_when_real_cases_go_to_trackers(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ingested(study, tmp_path / "study")
    (folder / "study.toml").write_text((folder / "study.toml").read_text() + "[tracking]\nreal_images = true\n")
    assert scansynth("train", folder) == 0
    assert "tracking.real_images is on: real cases go to the trackers" in capsys.readouterr().err
    assert scansynth("status", folder) == 0
    said = capsys.readouterr().out
    assert re.search(r"^training  at [\d,]+ of [\d,]+ images, variety \d\.\d\d, warming$", said, re.MULTILINE), said


def test_a_study_fresh_from_init_is_not_released_and_its_journal_holds_together(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scansynth("release", study, "--out", tmp_path / "out") == 2
    said = "".join(capsys.readouterr())
    for key in GovernanceSettings.model_fields:
        assert f"governance.{key} in study.toml is not filled in" in " ".join(said.split())
    assert not (tmp_path / "out").exists()
    assert scansynth("journal", study) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "train: written" in said
    assert "release: refused" in said
    assert "the chain of lines is whole" in said
    copy = tmp_path / "study"
    copy.mkdir()
    for name in ("study.toml", "journal.end.json"):
        shutil.copy(study / name, copy)
    lines = (study / "journal.jsonl").read_text().splitlines(keepends=True)
    (copy / "journal.jsonl").write_text("".join([lines[0], *lines[2:]]))
    assert scansynth("journal", copy) == 2
    assert "line 2 does not follow" in " ".join(capsys.readouterr().err.split())
    (copy / "journal.jsonl").write_text("".join(lines[:-1]))
    assert scansynth("journal", copy) == 2
    assert "cut off or changed at its end" in " ".join(capsys.readouterr().err.split())
    (copy / "journal.jsonl").write_text("".join(lines))
    assert scansynth("journal", copy) == 0
    written = [json.loads(line) for line in lines if json.loads(line)["event"] == "written"]
    for line in written:
        if line["stage"] != "init":
            assert line["inputs"], line["stage"]
        assert line["stage"] == "init" or len(line["settings"]) == 64
