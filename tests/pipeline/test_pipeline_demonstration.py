"""The demonstration, small: from nothing to the report and a reader study, and once more without work."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import scansynth

from scansynth.audit import encoders
from scansynth.audit import run as audit_run
from scansynth.files import read_csv, read_json, sha256_file
from scansynth.pipeline import demonstration
from scansynth.pipeline.new_study import Wishes
from scansynth.study import PAGE, Study

SMALL = """
[generator.overrides.network]
width = 4
[generator.overrides.ema]
half_life_images = 50
[generator.overrides.schedule]
epochs = 8
log_every_images = 100
[synthetic]
images = 60
[evidence]
draws = 20
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer patients, smaller images, two groups of claims; the same recipe and the same steps."""
    create = demonstration.create

    def shortened(folder: Path, wishes: Wishes) -> Study:
        made = create(folder, wishes)
        (folder / "study.toml").write_text((folder / "study.toml").read_text() + SMALL)
        return made

    monkeypatch.setattr(demonstration, "PATIENTS", 150)
    monkeypatch.setattr(demonstration, "SIZE", 32)
    monkeypatch.setattr(demonstration, "READING", {**demonstration.READING, "images": 30, "practice": 2})
    monkeypatch.setattr(demonstration, "create", shortened)
    quick = tuple(group for group in audit_run.CLAIM_GROUPS if group.name in {"realism", "real files"})
    monkeypatch.setattr(audit_run, "CLAIM_GROUPS", quick)
    monkeypatch.setattr(encoders, "LEAST_IMAGES", 10_000)  # no judge is learned


def test_the_demonstration_runs_from_nothing_to_the_report_and_readers(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    untouched = tmp_path / "own" / "institution.key"
    monkeypatch.setenv("SCANSYNTH_INSTITUTION_KEY", str(untouched))
    out = tmp_path / "demo"
    assert scansynth("demo", "--out", out) == 0
    said = capsys.readouterr()
    study = out / "study"
    assert f"wrote {study / 'report' / PAGE}" in said.out
    assert f"next: scansynth reader serve {study}" in said.out
    links = [line.split()[1] for line in said.out.splitlines() if "/i/" in line]
    assert len(set(links)) == 3, "one link a reader"
    assert len(read_csv(study / "synthetic" / "main" / "manifest.csv")) == 60
    assert read_json(study / "evidence" / "main" / "claims.json")["claims"]
    assert "Phantom chest MR" in (study / "report" / PAGE).read_text()
    assert "reader study" in (study / "report" / PAGE).read_text().lower(), "the page says that one is under way"
    assert not untouched.exists(), "the institution's own key is no part of it"

    before = {path: sha256_file(path) for path in study.rglob("*") if path.is_file() and path.suffix != ".jsonl"}
    assert scansynth("demo", "--out", out) == 0
    again = capsys.readouterr().out
    assert "/i/" not in again, "no second reader study, and no link is shown twice"
    assert f"next: scansynth reader serve {study}" in again
    changed = [path.name for path, digest in before.items() if sha256_file(path) != digest]
    assert set(changed) <= {"journal.end.json"}
