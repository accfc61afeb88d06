"""Scores of real images by the last discriminator: each by itself, after the training, and without a trace in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from image_sets import put_cohort
from tiny_training import CPU, RECIPE, SIDE, smooth_images

from scansynth.config import CohortSettings, GeneratorSettings, StudyConfig, TrackingSettings
from scansynth.console import silent
from scansynth.data.tensors import CASE_COLUMNS, Cohort, CohortFacts, Selection, load_cohort, select
from scansynth.errors import Interrupted, LedgerError, TrainingError
from scansynth.files import read_csv, read_json, sha256_file
from scansynth.gan import run as run_room
from scansynth.gan.material import material_of
from scansynth.gan.models.dcgan import NetworkSettings, build_discriminator
from scansynth.gan.run import train_run
from scansynth.gan.scores import COLUMNS, scores_of, write_scores
from scansynth.learning.checkpoint import weights_bytes
from scansynth.ledger import Role, Use, check
from scansynth.stage import StageRecord, hash_outputs, read_record, write_record
from scansynth.study import SCORES, WEIGHTS, Study

ROLES = (Role.TRAIN, Role.TRAIN, Role.TUNE, Role.CALIBRATE, Role.RESERVE, Role.TEST)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(params=[True, False], ids=["spectral norm", "batch norm"])
def discriminator(request: pytest.FixtureRequest) -> torch.nn.Module:
    """A discriminator that has seen a few batches, in training mode."""
    network = build_discriminator((SIDE, SIDE), 1, NetworkSettings(noise=8, width=4, spectral_norm=request.param))
    for seed in range(3):
        network(torch.from_numpy(smooth_images(8, seed)[:, None] / 65535.0).float())
    return network


def test_a_score_depends_on_its_image_alone(discriminator: torch.nn.Module) -> None:
    images, labels = smooth_images(37, seed=5)[:, None], np.zeros(37, np.int64)
    scores = scores_of(discriminator, images, labels)
    assert len(set(scores.tolist())) == 37
    order = np.random.default_rng(0).permutation(37)
    np.testing.assert_array_equal(scores_of(discriminator, images[order], labels), scores[order])
    np.testing.assert_array_equal(scores_of(discriminator, images[[20]], labels[:1]), scores[[20]])


def test_scoring_leaves_the_discriminator_as_it_came(discriminator: torch.nn.Module) -> None:
    before = weights_bytes(discriminator.state_dict())
    scores_of(discriminator, smooth_images(20)[:, None], np.zeros(20, np.int64))
    assert weights_bytes(discriminator.state_dict()) == before
    assert discriminator.training
    assert all(value.grad is None for value in discriminator.parameters())


def test_a_score_that_is_no_number_is_refused(tmp_path: Path, discriminator: torch.nn.Module) -> None:
    with torch.no_grad():
        next(discriminator.parameters()).fill_(torch.nan)
    there = cohort(tmp_path / "cohort")
    asked = select(there, Use.MEMBERSHIP)
    with pytest.raises(TrainingError, match="NaN or infinite"):
        write_scores(tmp_path, discriminator, asked.cases, material_of(there, asked, (), masks=False))
    assert not (tmp_path / SCORES).exists()


def cohort(folder: Path) -> Cohort:
    """Sixty patients with an image each, in all five roles, and a label that the generator does not learn."""
    rows = [
        {
            **dict.fromkeys(CASE_COLUMNS, "1"),
            "id": f"case{index}",
            "patient": f"patient{index}",
            "role": ROLES[index % len(ROLES)].value,
            "label": "clear" if index >= 54 else "nodule",
        }
        for index in range(60)
    ]
    put_cohort(
        folder,
        CohortFacts(
            modality="CT", sop_class_uid="1.2", shape=(SIDE, SIDE), view="patch",
            labels=("clear", "nodule"), positive="nodule",
            unlabelled=False, files_found=60, excluded={}, low=0.0, high=1.0, spacing=(1.0, 1.0),
            bits_stored=12, signed=False, rescale_slope=1.0, rescale_intercept=0.0, key_fingerprint="k",
        ),
        rows,
        smooth_images(60),
    )  # fmt: skip
    outputs = hash_outputs(folder, [folder / "images.npy", folder / "cases.csv"])
    write_record(folder, StageRecord("ingest", {}, {}, outputs, 3))
    return load_cohort(folder)


def new_study(folder: Path) -> Study:
    cohort(folder / "cohort")
    settings = CohortSettings(dicom="/nowhere", labels="/nowhere/labels.csv", positive="nodule", size=SIDE)
    overrides = {name: dict(table) for name, table in RECIPE.items()}
    schedule = {**overrides["schedule"], "epochs": 1}
    generator = GeneratorSettings(recipe="dcgan", overrides={**overrides, "schedule": schedule})
    tracking = TrackingSettings(tensorboard=False)
    return Study(folder, StudyConfig(seed=3, cohort=settings, generator=generator, tracking=tracking))


def trained(study: Study) -> StageRecord:
    return train_run(study, CPU, silent, lambda text: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Study:
    torch.set_num_threads(1)
    study = new_study(tmp_path_factory.mktemp("scores") / "study")
    trained(study)
    return study


def test_the_run_writes_a_score_for_each_patient_that_may_be_asked(whole: Study) -> None:
    rows = read_csv(whole.run() / SCORES)
    assert tuple(rows[0]) == COLUMNS
    asked = [case for case in load_cohort(whole.cohort).cases if case.label == "nodule"]
    asked = [case for case in asked if case.role in {Role.TRAIN, Role.CALIBRATE, Role.TEST}]
    assert [(row["case"], row["role"]) for row in rows] == [(case.case, case.role.value) for case in asked]
    assert len({row["score"] for row in rows}) > 30
    assert all(np.isfinite(float(row["score"])) for row in rows)


def test_the_record_names_scores_roles_and_patients(whole: Study) -> None:
    record = read_record(whole.run())
    assert record is not None
    assert record.outputs[SCORES] == sha256_file(whole.run() / SCORES)
    assert record.roles == ("calibrate", "test", "train")
    known = {case.patient: case.role for case in load_cohort(whole.cohort).cases}
    check(Use.MEMBERSHIP, frozenset(known[patient] for patient in record.patients))
    with pytest.raises(LedgerError):
        check(Use.MEMBERSHIP, frozenset({Role.RESERVE}))
    # what the training itself read stands apart
    assert set(read_json(whole.run() / "run.json")["roles_in_training"]) <= {"train", "calibrate"}


def test_weights_are_the_same_bits_without_scoring(
    whole: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_study(tmp_path / "study")
    monkeypatch.setattr(run_room, "write_scores", lambda folder, *rest: (folder / SCORES).write_text(""))
    trained(study)
    assert (study.run() / WEIGHTS).read_bytes() == (whole.run() / WEIGHTS).read_bytes()
    newest = [sorted(s.run().glob("checkpoints/*/tensors.safetensors"))[-1].read_bytes() for s in (study, whole)]
    assert newest[0] == newest[1]


def test_images_of_test_patients_are_read_after_the_weights_are_final(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, real = new_study(tmp_path / "study"), run_room.select

    def watched(found: object, use: Use, *rest: object) -> Selection:
        assert use is not Use.MEMBERSHIP or (study.run() / WEIGHTS).exists()
        return real(found, use, *rest)

    monkeypatch.setattr(run_room, "select", watched)
    trained(study)
    assert (study.run() / SCORES).exists()


def stop_after(images: int) -> Callable[..., None]:
    def progress(done: int, total: int, note: str = "") -> None:
        if done >= images:
            raise KeyboardInterrupt

    return progress


def test_a_continued_run_writes_the_same_scores(whole: Study, tmp_path: Path) -> None:
    study = new_study(tmp_path / "study")
    study = replace(study, config=study.config.model_copy(
        update={"generator": study.config.generator.model_copy(update={"checkpoint_minutes": 1e-9})}
    ))  # fmt: skip
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        train_run(study, CPU, stop_after(8), lambda text: None)
    assert not (study.run() / SCORES).exists()
    trained(study)
    assert (study.run() / SCORES).read_bytes() == (whole.run() / SCORES).read_bytes()


def test_train_again_only_writes_what_is_missing(whole: Study, tmp_path: Path) -> None:
    other = new_study(tmp_path / "other")
    shutil.copytree(whole.run(), other.run())
    for name in (SCORES, WEIGHTS):
        (other.run() / name).unlink()
    trained(other)
    for name in (SCORES, WEIGHTS):
        assert (other.run() / name).read_bytes() == (whole.run() / name).read_bytes()
