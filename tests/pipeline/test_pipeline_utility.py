"""A tiny phantom through the whole trial by the command line: generators, sets, detectors, claims."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from command_line import scansynth

from scansynth.claims.judged import schema
from scansynth.data.fractions import train_part
from scansynth.data.tensors import load_cohort
from scansynth.errors import ConfigError
from scansynth.files import read_json, read_json_lines, sha256_file
from scansynth.gan.run import prepare
from scansynth.pipeline.supply import missing, supplied, supplies, untrained
from scansynth.pipeline.utility import declared
from scansynth.study import open_study
from scansynth.utility.gathering import blocks

TINY = """
[generator.overrides.network]
width = 4
[generator.overrides.schedule]
epochs = 6
log_every_images = 100
grid_every_images = 200
[utility]
arms = ["real", "basic", "synthetic", "basic-synthetic", "duplicates", "reserve"]
pairs = 2
fractions = [1.0, 0.5]
ratios = [0.5]
steps = 12
batch = 8
draws = 200
"""


@pytest.fixture(scope="module", autouse=True)
def own_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An institution key of the test's own, and training as short as tests can wait for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCANSYNTH_INSTITUTION_KEY", str(tmp_path_factory.mktemp("key") / "institution.key"))
        patch.setattr("scansynth.pipeline.supply.LEAST_TRAINING", 200)
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scans, folder = tmp_path_factory.mktemp("phantom") / "scans", tmp_path_factory.mktemp("study") / "study"
    assert scansynth("phantom", scans, "--patients", 80, "--size", 32, "--seed", 5) == 0
    labels = scans / "labels.csv"
    assert scansynth("init", folder, "--dicom", scans, "--labels", labels, "--view", "chest", "--size", 32) == 0
    (folder / "study.toml").write_text((folder / "study.toml").read_text() + TINY)
    assert scansynth("utility", folder) == 2  # there is no cohort yet
    assert scansynth("ingest", folder) == 0
    assert scansynth("utility", folder, "--even-if-collapsed") == 0
    return folder


def test_each_generator_has_its_seed_and_its_patients(study: Path) -> None:
    opened = open_study(study)
    wanted = supplies(opened)
    assert {(supply.fraction, supply.pair) for supply in wanted} == {(1.0, 0), (1.0, 1), (0.5, 0), (0.5, 1)}
    assert not missing(opened, wanted)
    assert not untrained(opened, wanted)
    assert len({supply.run for supply in wanted}) == 4
    assert wanted[0].run == "main", "the study's own generator is the first of the trial's"
    cohort = load_cohort(opened.cohort)
    positive = [case for case in cohort.cases if case.label == "nodule"]
    for supply in wanted:
        run = read_json(supplied(opened, supply).run() / "run.json")
        part = train_part(cohort, supply.fraction, supply.seed)
        assert run["train_patients"] == len({case.patient for case in positive if case.patient in part})
        assert run["train_images"] == sum(case.patient in part for case in positive)
    assert wanted[0].images > wanted[-1].images > 0


def test_the_result_is_whole_and_by_the_published_schema(study: Path) -> None:
    trial = study / "trial"
    record = read_json(trial / "stage.json")
    assert record["stage"] == "utility"
    assert set(record["outputs"]) == {"plan.json", "analysis.json", "claims.json"}
    for name, digest in record["outputs"].items():
        assert sha256_file(trial / name) == digest
    assert {"train", "calibrate", "test", "reserve"} == set(record["roles"])
    claims = read_json(trial / "claims.json")
    jsonschema.validate(claims, schema())
    assert [row["name"] for row in claims["questions"]] == ["help"]
    claims = claims["claims"]
    assert {"utility.gain", "utility.published"} <= {claim["claim"] for claim in claims}
    assert all(claim["inputs"]["cohort"] for claim in claims)
    analysis = read_json(trial / "analysis.json")
    assert [(block["fraction"], block["ratio"]) for block in analysis["blocks"]] == [(1.0, 0.5), (0.5, 0.5)]
    assert len(list((trial / "jobs").iterdir())) == 6 * 2 * 2


def test_blocks_hold_what_the_jobs_scored(study: Path) -> None:
    opened = open_study(study)
    found = blocks(opened, declared(opened))
    cases = {case.case: case for case in load_cohort(opened.cohort).cases}
    for block in found:
        assert block.arms == opened.config.utility.arms
        assert block.test.scores.shape[:2] == (6, 2)
        assert {cases[name].role.value for name in block.test.cases.tolist()} == {"test"}
        assert {cases[name].role.value for name in block.calibrate.cases.tolist()} == {"calibrate"}
        assert np.array_equal(block.test.positive, [cases[name].label == "nodule" for name in block.test.cases])
    assert not np.array_equal(found[0].test.scores, found[1].test.scores)


def test_what_is_done_is_not_done_again(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (study / "trial" / "jobs").rglob("*") if path.is_file()}
    plan = sha256_file(study / "trial" / "plan.json")
    assert scansynth("utility", study, "--even-if-collapsed") == 0
    assert "24 of them from before" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert sha256_file(study / "trial" / "plan.json") == plan
    written = [line for line in read_json_lines(study / "journal.jsonl") if line["stage"] == "utility"]
    assert written[-1]["ran"] == 0


def test_status_says_how_the_trial_stands(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert scansynth("status", study) == 0
    assert "utility   done      24 of 24 detectors" in capsys.readouterr().out
    config = (study / "study.toml").read_text()
    (study / "study.toml").write_text(config.replace("steps = 12", "steps = 13"))
    assert scansynth("status", study) == 0
    assert "utility   stale     changed: steps" in capsys.readouterr().out
    (study / "study.toml").write_text(config)


def test_a_damaged_job_is_named_and_made_again(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = study / "trial" / "jobs" / "f100-r0-basic-p1"
    (job / "scores.csv").unlink()
    assert scansynth("utility", study, "--even-if-collapsed") == 0
    assert "23 of them from before" in capsys.readouterr().out
    assert (job / "scores.csv").is_file()


def test_the_plan_tells_what_is_missing_before_any_training(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert scansynth("plan", "utility", study) == 0
    told = capsys.readouterr().out
    assert "missing: " in told
    assert "24 detectors" in told
    assert "generators to train" not in told
    assert "differ on 5% of lesions" not in told
    assert scansynth("plan", "utility", study, "--discordance", "0.05") == 0
    assert "differ on 5% of lesions" in capsys.readouterr().out
    for option in ("--gain", "--discordance"):
        assert scansynth("plan", "utility", study, option, "1.5") == 2


def test_too_few_patients_run_and_are_not_assessable(study: Path) -> None:
    verdicts = {claim["claim"]: claim["verdict"] for claim in read_json(study / "trial" / "claims.json")["claims"]}
    assert set(verdicts.values()) == {"not assessable"}
    assert "missing" in json.dumps(read_json(study / "trial" / "claims.json"))


def test_a_site_is_left_out_of_generators_and_detectors(study: Path) -> None:
    """The last test: it changes what the study declares."""
    config = (study / "study.toml").read_text().replace("fractions = [1.0, 0.5]", 'leave_out = "site"')
    (study / "study.toml").write_text(config)
    assert scansynth("utility", study, "--even-if-collapsed") == 0
    opened = open_study(study)
    cohort = load_cohort(opened.cohort)
    apart = [supply for supply in supplies(opened) if supply.without[0]]
    assert [(supply.without[1], supply.pair) for supply in apart] == [
        (site, pair) for site in ("north", "south") for pair in (0, 1)
    ]
    for supply in apart:
        there = {case.patient for case in cohort.cases if case.attributes["site"] == supply.without[1]}
        run = supplied(opened, supply).run()
        seen = {case.patient for case in cohort.cases if case.role.value == "train" and case.label == "nodule"} - there
        assert read_json(run / "run.json")["train_patients"] == len(seen)
        assert read_json(run / "stage.json")["settings"]["leave_out"] == list(supply.without)
        ready = prepare(supplied(opened, supply))
        assert not there & {*ready.reals.patients, *ready.used.patients}, "nor do its alarms look at them"
    nowhere = replace(apart[0], without=("site", "east"))
    with pytest.raises(ConfigError, match=r"generator\.leave_out: no case has east in the column site"):
        prepare(supplied(opened, nowhere))
    rows = read_json(study / "trial" / "analysis.json")["left_out"]
    assert [row["group"] for row in rows] == ["north", "south"]
    assert len(list((study / "trial" / "jobs").glob("*-without-*"))) == 2 * 2 * 6
    before = {path: path.stat().st_mtime_ns for path in (study / "trial" / "jobs").rglob("stage.json")}
    assert scansynth("utility", study, "--even-if-collapsed") == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}, "what is done is not done again"
