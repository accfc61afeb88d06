"""A sweep: what is asked, who goes on, what is chosen, and that a killed one goes on where it stopped."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_sets import put_cohort

from scansynth.config import EngineSettings
from scansynth.console import silent
from scansynth.data.tensors import CASE_COLUMNS, CohortFacts
from scansynth.engine.job import Job, Outcome, attempt
from scansynth.errors import ConfigError, TrainingError
from scansynth.files import read_json
from scansynth.gan import trial_run
from scansynth.gan.models.families import complete
from scansynth.gan.trial_run import RungResult, TrialTask, result_file
from scansynth.gan.watching import choice, collapse
from scansynth.learning.device import Device
from scansynth.ledger import Role
from scansynth.pipeline import sweep
from scansynth.pipeline.sweep import Trial, parse_settings, run_sweep, rungs, spoken
from scansynth.recipe import load_recipe
from scansynth.stage import StageRecord, hash_outputs, write_record
from scansynth.study import Study, open_study

CPU = Device("cpu", "test", "float32", True)
SIDE = 32
ROLES = (Role.TRAIN, Role.TRAIN, Role.TUNE, Role.CALIBRATE)
STUDY = f"""seed = 3
[cohort]
dicom = "/nowhere"
labels = "/nowhere/labels.csv"
positive = "nodule"
size = {SIDE}
key = "key"
[generator]
recipe = "dcgan"
[generator.overrides.network]
noise = 8
width = 4
[generator.overrides.schedule]
epochs = 8
batch = 8
"""


def new_study(folder: Path, roles: Sequence[Role] = ROLES) -> Study:
    """Sixty patients with an image of one blob each."""
    random, axis = np.random.default_rng(0), np.linspace(-1, 1, SIDE)
    row, column, width = (random.uniform(low, high, (60, 1, 1)) for low, high in ((-1, 1), (-1, 1), (0.2, 0.8)))
    squares = (axis[None, :, None] - row) ** 2 + (axis[None, None, :] - column) ** 2
    names = dict.fromkeys(CASE_COLUMNS, "1")
    rows = [
        {**names, "id": f"c{n}", "patient": f"p{n}", "role": roles[n % len(roles)].value, "label": "nodule"}
        for n in range(60)
    ]
    facts = CohortFacts(
        modality="CT", sop_class_uid="1.2", shape=(SIDE, SIDE), view="patch", labels=("nodule",), positive="nodule",
        unlabelled=False, files_found=60, excluded={}, low=0.0, high=1.0, spacing=(1.0, 1.0),
        bits_stored=12, signed=False, rescale_slope=1.0, rescale_intercept=0.0, key_fingerprint="k",
    )  # fmt: skip
    there = folder / "cohort"
    put_cohort(there, facts, rows, np.rint(65535 * np.exp(-squares / width**2)).astype(np.uint16))
    outputs = hash_outputs(there, [there / "images.npy", there / "cases.csv"])
    write_record(there, StageRecord("ingest", {}, {}, outputs, 3))
    (folder / "study.toml").write_text(STUDY)
    return open_study(folder)


class Here:
    """Runs jobs in this process; after `most` of them the sweep is killed."""

    def __init__(self, most: int = 10**6) -> None:
        self.most, self.ran = most, list[tuple[str, int]]()

    def __call__(
        self, function: Callable[[Any], None], jobs: Sequence[Job[Any]], settings: EngineSettings, progress: Any
    ) -> tuple[Outcome, ...]:
        outcomes = []
        for number, job in enumerate(jobs, 1):
            if len(self.ran) == self.most:
                raise KeyboardInterrupt
            outcomes.append(attempt(function, job.name, job.argument))
            self.ran.append((Path(job.argument.folder).name, job.argument.rung))
            progress(number, len(jobs))
        return tuple(outcomes)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Here]:
    """Puts jobs into this process."""

    def put(most: int = 10**6) -> Here:
        ran = Here(most)
        monkeypatch.setattr(sweep, "run_jobs", ran)
        return ran

    return put


def scored(monkeypatch: pytest.MonkeyPatch, scores: dict[int, Sequence[float | None]]) -> None:
    """Lets trials stand as planned, by number and rung, without training."""

    def stand(task: TrialTask) -> None:
        number = int(Path(task.folder).name.removeprefix("trial-"))
        score = scores[number][task.rung]
        figures = {} if score is None else {"tune_kid": score, "tune_recall": 0.5, "tune_copies": 0.0}
        found = RungResult(round(1000 * task.share), score, figures, "healthy", "" if score is not None else "NaN")
        result_file(Path(task.folder), task.rung).write_text(json.dumps(vars(found)))

    monkeypatch.setattr(sweep, "run_trial", stand)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["loss.penalty=0.1,0.2"], [{"loss.penalty": 0.1}, {"loss.penalty": 0.2}]),
        (["ema.on=true,false"], [{"ema.on": True}, {"ema.on": False}]),
        (["optimiser.betas=[0.0,0.9],[0.5,0.9]"], [{"optimiser.betas": [0.0, 0.9]}, {"optimiser.betas": [0.5, 0.9]}]),
        (["a.b=x, y"], [{"a.b": "x"}, {"a.b": "y"}]),
        (["a=1,2", "b=3"], [{"a": 1, "b": 3}, {"a": 2, "b": 3}]),
        (["a=1,2", "b=3,4"], [{"a": 1, "b": 3}, {"a": 1, "b": 4}, {"a": 2, "b": 3}, {"a": 2, "b": 4}]),
    ],
)
def test_values_are_those_of_toml_and_all_are_combined(asked: list[str], found: list[dict[str, Any]]) -> None:
    trials = parse_settings(asked)
    assert [dict(trial.settings) for trial in trials] == found
    assert len({trial.name for trial in trials}) == len(found)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["loss.penalty"], "is not of the form"),
        (["=1,2"], "is not of the form"),
        (["a=1,2", "a=3"], "twice; give all its values in one"),
        (["a=1,2,1"], "names a value twice"),
        (["a=1"], "asks for 1"),
        ([f"a={','.join(map(str, range(300)))}"], "asks for 300"),
    ],
)
def test_what_cannot_be_swept_is_refused(asked: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_settings(asked)


def test_keys_with_dots_are_tables() -> None:
    assert Trial(1, {"loss.penalty": 1, "loss.rate": 2, "name": "x"}).tables == {
        "loss": {"penalty": 1, "rate": 2},
        "name": "x",
    }


@pytest.mark.parametrize(
    ("trials", "found"),
    [(2, [(2, 1.0)]), (3, [(3, 0.5), (2, 1.0)]), (8, [(8, 0.25), (4, 0.5), (2, 1.0)])],
)
def test_half_as_many_go_twice_as_far(trials: int, found: list[tuple[int, float]]) -> None:
    assert rungs(trials) == found


def test_the_worse_half_is_dropped_and_the_best_at_the_end_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Callable[..., Here]
) -> None:
    study, ran = new_study(tmp_path), here()
    scored(monkeypatch, {1: [3.0], 2: [2.0, 1.0], 3: [None], 4: [1.0, 1.5]})
    told: list[tuple[int, int]] = []
    found = run_sweep(study, ["loss.penalty=1,2,3,4"], lambda done, total, note="": told.append((done, total)))
    assert ran.ran == [*((f"trial-00{number}", 0) for number in range(1, 5)), ("trial-004", 1), ("trial-002", 1)]
    assert [(line.trial.number, line.share, line.ended) for line in found.lines] == [
        (2, 1.0, "chosen"),
        (4, 1.0, "trained to the end"),
        (1, 0.5, "fell behind"),
        (3, 0.5, "failed"),
    ]
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert "no state to draw from" in spoken(found)[3]
    recipe = complete(load_recipe(str(found.recipe)))
    assert recipe.loss["penalty"] == 2
    assert recipe.network["width"] == 4  # the study's own overrides
    assert recipe.choice.on

    scored(monkeypatch, {})  # nothing is asked again
    again = run_sweep(study, ["loss.penalty=1,2,3,4"], silent)
    assert (again, len(ran.ran)) == (found, 6)


def test_without_any_state_to_draw_from_nothing_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Callable[..., Here]
) -> None:
    here()
    scored(monkeypatch, {1: [None], 2: [None]})
    with pytest.raises(TrainingError, match=r"no trial has a state to draw from \(the first one: NaN\)"):
        run_sweep(new_study(tmp_path), ["loss.penalty=1,2"], silent)


def test_a_wrong_key_is_refused_before_anything_trains(tmp_path: Path, here: Callable[..., Here]) -> None:
    ran = here()
    with pytest.raises(ConfigError, match=r"unknown key loss\.penalti"):
        run_sweep(new_study(tmp_path), ["loss.penalti=1,2"], silent)
    assert ran.ran == []


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_a_killed_sweep_goes_on_and_ends_as_the_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Callable[..., Here]
) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(trial_run, "pick_device", lambda: CPU)
    for measuring in (choice, collapse):  # what chance does is another test's business
        monkeypatch.setattr(measuring, "_NULL_DRAWS", 20)
    asked = ["optimiser.learning_rate=2e-4,1e38,4e-4"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    new_study(whole)
    shutil.copytree(whole, broken)
    ran = here()
    found = run_sweep(open_study(whole), asked, silent)
    assert ran.ran == [("trial-001", 0), ("trial-002", 0), ("trial-003", 0), *[(name, 1) for name, _ in ran.ran[3:]]]
    assert {name for name, _ in ran.ran[3:]} == {"trial-001", "trial-003"}
    assert found.lines[-1].ended == "failed"
    assert "no longer finite" in found.lines[-1].result.reason
    images = [read_json(result_file(found.folder / "trial-001", rung))["images"] for rung in (0, 1)]
    assert images == [96, 192]  # of 30 images, 24 in an epoch

    here(4)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(open_study(broken), asked, silent)
    rest = here()
    again = run_sweep(open_study(broken), asked, silent)
    assert len(rest.ran) == 1
    assert rows(again.folder) == rows(found.folder)
    assert again.recipe.read_bytes() == found.recipe.read_bytes()


def test_too_few_tune_patients_are_refused(tmp_path: Path) -> None:
    new_study(tmp_path, (Role.TRAIN, Role.CALIBRATE))
    task = TrialTask(str(tmp_path), str(tmp_path / "trial"), "{}", 0, 1.0)
    with pytest.raises(ConfigError, match="too few"):
        trial_run.run_trial(task)
