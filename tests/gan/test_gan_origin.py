"""Trainings that start from weights of another run: what is taken, what stays, and who must not be held out."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from image_sets import put_cohort
from tiny_training import CPU, RECIPE, SIDE, smooth_images, tiny_job

from scansynth.config import StudyConfig
from scansynth.console import silent
from scansynth.data.tensors import CASE_COLUMNS, CohortFacts
from scansynth.errors import CheckpointError, ConfigError, LedgerError, ScansynthError
from scansynth.files import read_json, write_json
from scansynth.gan.freezing import freeze, frozen, held
from scansynth.gan.models.families import family_of
from scansynth.gan.run import prepare, train_run
from scansynth.gan.start import new_state
from scansynth.gan.training_loop import train
from scansynth.gan.watching.response import with_change
from scansynth.gan.weights import FACTS, load_generator
from scansynth.learning import checkpoint
from scansynth.ledger import Role
from scansynth.recipe import Change
from scansynth.stage import StageRecord, hash_outputs, read_record, write_record
from scansynth.study import RUN, WEIGHTS, Study

SMALL = {"latent": 8, "style": 8, "grain": 2, "width": 4, "most": 8}
PATIENTS = 60


def _study(
    folder: Path, number: int = 0, key: str = "k", roles: tuple[Role, ...] = tuple(Role), **generator: Any
) -> Study:
    """Sixty patients, numbered from `number`; an image, and a file, belongs to the number."""
    numbers = range(number, number + PATIENTS)
    rows = [
        {
            **dict.fromkeys(CASE_COLUMNS, "1"),
            "id": f"case{number}",
            "patient": f"{key}-patient{number}",
            "pixels": f"{key}-pixels{number}",
            "source_sha256": f"file{number}",
            "role": roles[number % len(roles)].value,
            "label": "nodule",
        }
        for number in numbers
    ]
    facts = CohortFacts(
        modality="CT", sop_class_uid="1.2", shape=(SIDE, SIDE), view="patch", labels=("nodule",), positive="nodule",
        unlabelled=False, files_found=PATIENTS, excluded={}, low=0.0, high=1.0, spacing=(1.0, 1.0), bits_stored=12,
        signed=False, rescale_slope=1.0, rescale_intercept=0.0, key_fingerprint=key,
    )  # fmt: skip
    cohort = folder / "cohort"
    put_cohort(cohort, facts, rows, smooth_images(300)[numbers.start : numbers.stop])
    outputs = hash_outputs(cohort, [cohort / "images.npy", cohort / "cases.csv"])
    write_record(cohort, StageRecord("ingest", {}, {}, outputs, 3))
    overrides = {"network": SMALL, "schedule": {**RECIPE["schedule"], "epochs": 1}, "choice": {"on": False}}
    values = {
        "seed": 3,
        "cohort": {"dicom": "/nowhere", "labels": "/nowhere/labels.csv", "positive": "nodule", "size": SIDE},
        "generator": {"recipe": "compact", "overrides": overrides, **generator},
        "tracking": {"tensorboard": False},
    }
    return Study(folder, StudyConfig.model_validate(values))


TRAINING = (Role.TRAIN, Role.TRAIN, *Role)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a study, to start from."""
    folder = tmp_path_factory.mktemp("first")
    study = _study(folder, roles=TRAINING)
    train_run(study, CPU, silent, lambda line: None)
    return study.run()


def _second(tmp_path: Path, first: Path, **changes: Any) -> Study:
    """A study of other patients with the same key, which starts from `first`."""
    return _study(tmp_path, **{"number": 70, "roles": TRAINING, "start_from": str(first), **changes})


def test_it_begins_with_those_weights_and_its_own_constants(first: Path, tmp_path: Path) -> None:
    job = prepare(_second(tmp_path, first)).job
    assert job.origin is not None
    assert job.origin.known
    begun = new_state(job.recipe, job.form, job.seed, CPU, job.images, job.patients, job.origin)
    fresh = new_state(job.recipe, job.form, job.seed, CPU, job.images, job.patients)
    taken = load_generator(first)[0].network.state_dict()
    assert taken.keys() == begun.generator.state_dict().keys()
    for name, value in begun.generator.state_dict().items():
        source = fresh.generator.state_dict() if name.startswith("bands.") else taken
        assert torch.equal(value, source[name]), name
    assert not torch.equal(taken["bands.centre"], fresh.generator.state_dict()["bands.centre"])
    kept = checkpoint.load_newest(first / "checkpoints", read_json(first / RUN)["identity"], lambda line: None)
    assert kept is not None
    for name, value in begun.discriminator.named_parameters():
        assert torch.equal(value, kept.tensors[f"discriminator/{name}"]), name


def test_frozen_layers_stay_and_all_others_learn(first: Path, tmp_path: Path) -> None:
    """To the last bit, also through a pause; and the run's facts and its record say what it started from."""
    study, told = _second(tmp_path / "one", first, key="other", freeze=2), list[str]()
    job = prepare(study).job
    layers = family_of(job.recipe).layers
    before = new_state(job.recipe, job.form, job.seed, CPU, job.images, job.patients, job.origin)
    assert frozen(layers(before.discriminator)) == 2
    train_run(study, CPU, silent, told.append)
    assert any("start_from" in line and "different institution keys" in line for line in told)
    after = checkpoint.load_newest(job.checkpoints, job.identity, told.append)
    assert after is not None
    for name, value in before.discriminator.named_parameters():
        stayed = name.startswith(("layers.0.", "layers.1."))
        assert torch.equal(value, after.tensors[f"discriminator/{name}"]) is stayed, name
    paused = replace(job, folder=tmp_path / "paused", pause_at=16)
    train(paused, CPU, silent, told.append)
    resumed = train(replace(paused, pause_at=0), CPU, silent, told.append)
    for part, network in (("generator", resumed.generator), ("discriminator", resumed.discriminator)):
        for name, value in network.state_dict().items():
            assert torch.equal(value, after.tensors[f"{part}/{name}"]), name
    facts, record = read_json(study.run() / RUN)["started_from"], read_record(study.run())
    assert facts["frozen_layers"] == 2
    assert facts["weights_sha256"] == load_generator(first)[1].weights_sha256
    assert not facts["roles_known"]
    assert not facts["own_cohort"]
    assert record is not None
    assert record.logged["inputs"]["start_from"] == facts["weights_sha256"]
    chained = prepare(_second(tmp_path / "two", study.run(), key="other", number=140)).job.origin
    assert chained is not None
    assert not chained.known
    assert "themselves started from others" in chained.roles


def test_the_same_cohort_may_start_again_and_says_so(first: Path) -> None:
    study = _study(first.parent.parent, roles=TRAINING, start_from="gan/main", run="more")
    origin = prepare(study).job.origin
    assert origin is not None
    assert origin.own
    assert prepare(_study(first.parent.parent, roles=TRAINING, run="more")).job.identity != prepare(study).job.identity


HELD_OUT = (Role.TEST, Role.CALIBRATE, Role.TRAIN)


def test_nobody_whom_it_learned_from_may_be_held_out(first: Path, tmp_path: Path) -> None:
    """By patient, by pixels under another number, and by file under another key; else it says what it cannot tell."""
    with pytest.raises(LedgerError, match=r"whom its weights learned from are held out here \(calibrate, test\)"):
        prepare(_study(tmp_path / "a", number=1, roles=HELD_OUT, start_from=str(first)))
    with pytest.raises(LedgerError, match=r"are held out here \(calibrate, test\)"):
        prepare(_study(tmp_path / "b", number=1, key="other", roles=HELD_OUT, start_from=str(first)))
    with pytest.raises(LedgerError, match=r"are held out here \(train\)"):  # a train patient, but not of this share
        prepare(_study(tmp_path / "c", roles=TRAINING, start_from=str(first), fraction=0.6))
    strange = prepare(_second(tmp_path / "d", first, key="other")).job.origin
    assert strange is not None
    assert not strange.known
    assert "different institution keys" in strange.roles
    moved = tmp_path / "e" / "gan" / "main"
    shutil.copytree(first, moved)
    alone = prepare(_second(tmp_path / "f", moved)).job.origin
    assert alone is not None
    assert "is not beside them" in alone.roles


@pytest.mark.parametrize(
    ("generator", "wrong"),
    [
        ({"start_from": "gan/nowhere"}, "there is no trained run in gan/nowhere"),
        ({"start_from": "gan/main"}, "the run that is to be trained"),
        ({"recipe": "dcgan", "overrides": {"network": {"noise": 8}}}, "the family of those weights is compact"),
        ({"overrides": {"network": {**SMALL, "width": 8}}}, r"the network\.width of those weights is 4, and .* 8"),
        ({"freeze": 99}, r"generator\.freeze = 99: .* at most \d+ can be frozen"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(
    first: Path, tmp_path: Path, generator: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(ConfigError, match=wrong) as fault:
        prepare(_second(tmp_path, first, **generator))
    assert "\n" not in str(fault.value)


def test_a_run_that_is_not_whole_is_refused(first: Path, tmp_path: Path) -> None:
    """Altered weights, a collapsed generator, images of another size, and layers that nobody has learned."""

    def begin(name: str, **generator: Any) -> ScansynthError:
        with pytest.raises(ScansynthError) as fault:
            prepare(_second(tmp_path / f"study-{name}", tmp_path / name, **generator))
        assert "\n" not in str(fault.value)
        return fault.value

    for name, changed in (("collapsed", {"level": "critical"}), ("size", {"shape": [40, 40]})):
        shutil.copytree(first, tmp_path / name)
        write_json(tmp_path / name / FACTS, {**read_json(first / FACTS), **changed})
    assert "had collapsed" in str(begin("collapsed"))
    assert "does not fit" in str(begin("size"))
    shutil.copytree(first, tmp_path / "altered")
    (tmp_path / "altered" / WEIGHTS).write_bytes(b"")
    assert isinstance(begin("altered"), CheckpointError)
    shutil.copytree(first, tmp_path / "bare", ignore=shutil.ignore_patterns("checkpoints"))
    assert "take generator.freeze out" in str(begin("bare", freeze=1))
    origin = prepare(_second(tmp_path / "bare-study", tmp_path / "bare")).job.origin
    assert origin is not None
    assert origin.discriminator is None


def test_layers_are_frozen_only_with_a_run_to_start_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name the run there"):
        _study(tmp_path, freeze=1)


def test_frozen_layers_stay_frozen_through_a_step_and_a_change(tmp_path: Path) -> None:
    """`held` gives back what it took, and spectral normalisation switched on leaves the frozen ones frozen."""
    job = tiny_job(tmp_path, {"network": {"spectral_norm": False}})
    state = new_state(job.recipe, job.form, 3, CPU, job.images)
    layers = family_of(job.recipe).layers
    freeze(layers(state.discriminator), 1)
    with held(state.discriminator):
        assert not any(weights.requires_grad for weights in state.discriminator.parameters())
    assert [weights.requires_grad for weights in layers(state.discriminator)[1].parameters()] == [True]
    assert frozen(layers(state.discriminator)) == 1
    changed = with_change(state, job.recipe, Change.SPECTRAL_NORM, job.form, CPU)
    assert changed.discriminator is not state.discriminator
    assert frozen(layers(changed.discriminator)) == 1
    assert frozen([]) == 0
