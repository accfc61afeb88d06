"""Lesions made in clear scans: what is kept of a scan, whose scans are used, and what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from image_sets import put_cohort
from scipy import ndimage
from tiny_training import CPU, RECIPE

from scansynth.audit.compared import gather
from scansynth.config import StudyConfig
from scansynth.console import silent
from scansynth.data.export import export
from scansynth.data.imageset import Kind, open_set
from scansynth.data.outgoing import outgoing
from scansynth.data.sets import is_inserted, origins_of
from scansynth.data.tensors import CohortFacts, load_cohort, select
from scansynth.data.windows import REACH, lesion_of, window_of, windowed
from scansynth.dicom.write import CT_IMAGE_STORAGE, as_written, image_uids
from scansynth.errors import CohortError, ConfigError, TrainingError
from scansynth.files import read_csv
from scansynth.gan.generate import file_facts, generate
from scansynth.gan.insertion.scenes import scenes_of, train_images
from scansynth.gan.insertion.surroundings import as_labels, composed, from_labels, softened, surroundings
from scansynth.gan.models.families import check_into, complete, family_of
from scansynth.gan.run import prepare, train_run
from scansynth.gan.synthetic_set import make_set
from scansynth.gan.training_loop import train
from scansynth.gan.weights import load_generator
from scansynth.ledger import Role, Use
from scansynth.pipeline.asked import study_inserting, with_count
from scansynth.pipeline.supply import make_supplies
from scansynth.recipe import load_recipe
from scansynth.release.candidate import gather as gather_release
from scansynth.stage import StageRecord, hash_outputs, write_record
from scansynth.study import Study

SIDE = 48
ROLES = (Role.TRAIN,) * 20 + (Role.TUNE,) * 2 + (Role.CALIBRATE,) * 6 + (Role.TEST,) * 4
FACTS = CohortFacts(
    "CT", CT_IMAGE_STORAGE, (SIDE, SIDE), "any", ("clear", "nodule"), "nodule", False, 64, {}, -1000.0, 400.0,
    (0.7, 0.7), 16, True, 1.0, 0.0, "0" * 12, "axial",
)  # fmt: skip
SMALL = {"latent": 8, "style": 8, "grain": 2, "width": 8, "most": 8}


def put(cohort: Path, facts: CohortFacts = FACTS, masked: bool = True, clear: bool = True) -> None:
    """Of each patient a clear image and one with a bright disc; each patient has a grey level of its own."""
    rows, images, masks = [], [], []
    for number, role in enumerate(ROLES):
        rng = np.random.default_rng(number)
        for label in ("clear", "nodule") if clear else ("nodule",):
            down, across = np.mgrid[0:SIDE, 0:SIDE]
            disc = np.hypot(down - rng.integers(14, 34), across - rng.integers(14, 34)) <= rng.uniform(2.0, 5.0)
            grey = 12000 + 500 * number + rng.integers(0, 4000, (SIDE, SIDE))
            disc &= label == "nodule"
            images.append((grey + 30000 * disc).astype(np.uint16))
            masks.append(disc.astype(np.uint8))
            rows.append(
                {
                    "id": f"{number:06x}{label == 'nodule':06x}", "patient": f"{number:016x}", "role": role.value,
                    "label": label, "low": -1000.0, "high": 400.0, "spacing_row": 0.7, "spacing_col": 0.7, "sop": "",
                    "source_sha256": "", "source_side": SIDE, "attr_site": "a" if number % 2 else "b",
                }
            )  # fmt: skip
    put_cohort(cohort, facts, rows, np.stack(images), np.stack(masks) if masked else None)
    outputs = hash_outputs(cohort, [cohort / "images.npy", cohort / "cases.csv"])
    write_record(cohort, StageRecord("ingest", {}, {}, outputs, 3))


def study_of(folder: Path, **generator: Any) -> Study:
    """A study that inserts into clear scans."""
    overrides = {
        "network": SMALL,
        "schedule": {**RECIPE["schedule"], "epochs": 2, "batch": 8},
        "choice": {"on": False},
    }
    values = {
        "seed": 3,
        "cohort": {"dicom": "/nowhere", "labels": "/nowhere/labels.csv", "positive": "nodule", "size": SIDE},
        "generator": {"recipe": "insert", "overrides": overrides, **generator},
        "synthetic": {"name": "in", "into": "clear", "images": 20},
        "tracking": {"tensorboard": False},
    }
    return Study(folder, StudyConfig.model_validate(values))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """One that has trained for a moment and made its set."""
    made = study_of(tmp_path_factory.mktemp("study"))
    put(made.cohort)
    train_run(made, CPU, silent, lambda line: None)
    make_set(made, 20, CPU, silent, lambda line: None, even_if_collapsed=True)
    return made


def test_what_is_made_anew_is_the_lesion_and_three_pixels_around_it() -> None:
    """All of it on the lesion and a pixel beside it, ever less beyond, and nothing at a distance."""
    mask = np.zeros((32, 32), np.float32)
    mask[12:17, 10:18] = 1.0
    soft = softened(torch.from_numpy(2.0 * mask - 1.0)[None, None])[0, 0].numpy()
    apart = ndimage.distance_transform_cdt(mask == 0, "chessboard")
    assert (soft[apart <= 1] == 1.0).all()
    assert ((soft > 0.0) == (apart <= REACH)).all()
    beside = [soft[14, 17 + step] for step in range(REACH + 2)]
    assert beside == sorted(beside, reverse=True)


def test_a_network_is_not_told_what_the_lesion_was() -> None:
    """Surroundings are the same whatever lies in the lesion; and labels give them back."""
    random = torch.Generator().manual_seed(0)
    grey, mask = torch.rand(3, 2, 32, 32, generator=random), -torch.ones(3, 1, 32, 32)
    mask[:, :, 12:17, 10:18] = 1.0
    given = surroundings(torch.cat([grey, mask], 1))
    other = torch.where(softened(mask) == 1.0, torch.rand(3, 2, 32, 32, generator=random), grey)
    assert torch.equal(surroundings(torch.cat([other, mask], 1)), given)
    assert torch.equal(from_labels(as_labels(given), (3, 32, 32)), given)
    made = composed(given, torch.zeros_like(grey))
    outside = (softened(mask) == 0.0).expand_as(grey)
    assert torch.equal(made[:, :2][outside], grey[outside])
    assert torch.equal(made[:, 2:], mask)


def test_a_window_holds_its_lesion_or_is_none() -> None:
    """Also at the image's edge; and a lesion that would fill it, or leave the image, has none."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        mask = np.zeros((48, 60), np.uint8)
        row, column, height, width = rng.integers(0, 48), rng.integers(0, 60), *rng.integers(1, 40, 2)
        mask[row : row + height, column : column + width] = 1
        box = window_of(mask, 32)
        wide = np.pad(mask, REACH)
        grown = ndimage.binary_dilation(wide, np.ones((2 * REACH + 1,) * 2))
        inside = not (grown.sum() > grown[REACH:-REACH, REACH:-REACH].sum())
        rows, columns = np.nonzero(mask)
        small = max(np.ptp(rows), np.ptp(columns)) + 1 + 2 * REACH <= 30
        assert (box is not None) is bool(inside and small)
        if box is not None:
            assert mask[box].shape == (32, 32)
            assert mask[box].sum() == mask.sum()


def test_of_lesions_apart_the_largest_that_fits_is_learned() -> None:
    """Near ones go together; one that is too large is passed over."""
    mask = np.zeros((96, 96), np.uint8)
    mask[10:14, 10:14], mask[10:14, 16:19], mask[60:66, 60:65] = 1, 1, 1
    mask[5:45, 50:90] = 1
    found = lesion_of(mask, 32)
    assert found is not None
    assert found.sum() == 30
    mask[60:66, 60:65] = 0
    found = lesion_of(mask, 32)
    assert found is not None
    assert found.sum() == 28


def test_outside_of_a_lesion_an_image_is_its_scan_to_the_bit(study: Study) -> None:
    """In the grey levels that its file can hold; and within it is not."""
    cohort, made = load_cohort(study.cohort), open_set(study.synthetic())
    weights = load_generator(study.run())[1].weights_sha256
    about = file_facts(cohort.facts, "nodule", weights, image_uids(weights, 3, 0), 0, inserted=True)
    origins = read_csv(study.linkage / origins_of("in"))
    by_name = {case.case: case for case in cohort.cases}
    assert made.masks is not None
    assert len(made) == len(origins) == 20
    for image, mask, row in zip(made.images, made.masks, origins, strict=True):
        scan, source = by_name[row["background"]], by_name[row["mask_of"]]
        wanted = as_written(cohort.images.images[scan.index], about)
        anew = softened(torch.from_numpy(2.0 * mask.astype(np.float32) - 1.0)[None, None])[0, 0].numpy() > 0.0
        assert np.array_equal(image[:, ~anew], wanted[:, ~anew])
        assert not np.array_equal(image[:, anew], wanted[:, anew])
        assert (scan.label, source.label, scan.role, source.role) == ("clear", "nodule", Role.TRAIN, Role.TRAIN)
        assert scan.patient != source.patient
        own = cohort.images.masks[source.index]  # type: ignore[index]  # the cohort has masks
        assert np.array_equal(*(part[ndimage.find_objects(part)[0]] for part in (mask, own)))


def test_the_set_says_what_it_is(study: Study, tmp_path: Path) -> None:
    """In its facts, its files, its exports, and to the audit; and nothing names a scan outside of `private/`."""
    made = open_set(study.synthetic())
    assert (made.facts.kind, set(made.labels)) == (Kind.INSERTED, {"nodule"})
    assert made.masks is not None
    assert is_inserted(study.synthetic())
    first = pydicom.dcmread(study.synthetic() / "dicom" / "000000.dcm")
    assert "only the lesion is synthetic" in first.ImageComments
    assert "no patient was scanned" not in str(first)
    assert "scan of a patient" in first.DerivationDescription
    export(study, "in", "png", tmp_path / "out", silent)
    assert {row["background"] for row in read_csv(tmp_path / "out" / "labels.csv")} == {"patient"}
    names = [row["background"] for row in read_csv(study.linkage / origins_of("in"))]
    told = [path.read_text() for path in study.synthetic().glob("*.*") if path.suffix in {".csv", ".json"}]
    assert not [name for name in names for text in told if name in text]


def test_no_release_and_no_push_takes_it(study: Study) -> None:
    """A reason that nobody can override."""
    parts = gather_release(study)
    assert parts.made is None
    assert any("its background is a patient" in fault and "never released" in fault for fault in parts.faults)
    with pytest.raises(CohortError, match="for use inside the house only"):
        outgoing(study, "in")


def test_the_audit_compares_windows_about_lesions(study: Study) -> None:
    """Real and synthetic ones of one side, with a sentence that says so; numbers of cases stay those of the cohort."""
    compared, cohort = gather(study.cohort, study.synthetic()), load_cohort(study.cohort)
    assert compared.synthetic.shape == (20, 32, 32)
    assert compared.train.images.shape == (20, 32, 32)
    assert compared.test.images.shape == (4, 32, 32)
    assert "windows of 32 pixels" in compared.caveat
    for case, image in zip(compared.train.cases, compared.train.images, strict=True):
        mask = cohort.images.masks[case.index]  # type: ignore[index]  # the cohort has masks
        box = window_of(mask, 32)
        assert box is not None
        assert cohort.cases[case.index] == case
        stored = np.rint((image.astype(np.float64) + 1.0) * 32767.5)
        assert np.array_equal(stored, cohort.images.images[case.index, 0][box])


def test_scans_of_other_roles_change_nothing(study: Study, tmp_path: Path) -> None:
    """The images of all but train patients are made noise, and the set is the same to the bit."""
    other = study_of(tmp_path)
    put(other.cohort)
    images = np.load(other.cohort / "images.npy")
    masks = np.load(other.cohort / "masks.npy")
    cases = load_cohort(other.cohort).cases
    for case in cases:
        if case.role is not Role.TRAIN:
            images[case.index] = np.random.default_rng(case.index).integers(0, 65535, images[case.index].shape)
    rows = read_csv(other.cohort / "cases.csv")
    put_cohort(other.cohort, FACTS, rows, images[:, 0], masks)
    shutil.copytree(study.run(), other.run())
    record = make_set(other, 20, CPU, silent, lambda line: None, even_if_collapsed=True)
    assert np.array_equal(np.load(other.synthetic() / "images.npy"), np.load(study.synthetic() / "images.npy"))
    known = {case.patient for case in cases if case.role is Role.TRAIN}
    assert record.roles == ("train",)
    assert set(record.patients) <= known
    used = read_csv(other.linkage / origins_of("in"))
    assert {row["background"][:6] for row in used} <= {patient[-6:] for patient in record.patients}


def test_who_is_left_out_is_no_background(study: Study) -> None:
    """A share of the patients, and those of a site."""
    cohort = load_cohort(study.cohort)
    part = train_images(cohort, 0.5, 3, ("site", "a"))
    assert {case.attributes["site"] for case in part.cases} == {"b"}
    assert len(set(part.patients)) <= 10
    scenes = scenes_of(cohort, part, 12, 0, 32)
    assert len(scenes) == 12
    assert {part.cases[one.scan].label for one in scenes} == {"clear"}


def test_a_continued_training_gives_the_same_weights(study: Study, tmp_path: Path) -> None:
    """Stopped after the first checkpoint, and gone on with."""
    job = prepare(study).job
    whole = train(replace(job, folder=tmp_path / "whole"), CPU, silent, lambda line: None)
    half = replace(job, folder=tmp_path / "half")
    train(replace(half, pause_at=job.total // 2), CPU, silent, lambda line: None)
    after = train(half, CPU, silent, lambda line: None)
    assert after.images == whole.images == job.total
    for name, value in whole.sampler.state_dict().items():
        assert torch.equal(value, after.sampler.state_dict()[name]), name


def test_the_same_seed_gives_the_same_set_whatever_its_length(study: Study, tmp_path: Path) -> None:
    beside = with_count(study_inserting(study, (), {}, "clear"), 6)
    assert beside.config.synthetic.name == "in-into-clear"
    make_set(beside, 6, CPU, silent, lambda line: None, even_if_collapsed=True)
    few = np.load(beside.synthetic() / "images.npy")
    assert np.array_equal(few, np.load(study.synthetic() / "images.npy")[:6])
    shutil.rmtree(beside.synthetic())


def test_training_reads_windows_of_train_patients(study: Study) -> None:
    """And names everybody whom it reads; what is looked at meanwhile are lesions in clear scans."""
    ready, cohort = prepare(study), load_cohort(study.cohort)
    train_cases = select(windowed(cohort, 32), Use.GENERATOR)
    assert ready.job.images.shape == (20, 2, 32, 32)
    assert np.array_equal(ready.job.images[:, :1], train_cases.images)
    assert ready.scenes is not None
    assert ready.scenes.roles == ("train",)
    assert {case.label for case in ready.scenes.cases} == {"clear", "nodule"}
    assert ready.job.looked_at is not None
    assert ready.job.looked_at.shape[1:] == ready.job.labels.shape[1:] == (1 + 2 * 32 * 32,)


def refused(study: Study, words: str, kind: type[Exception] = CohortError) -> None:
    with pytest.raises(kind, match=words) as fault:
        prepare(study)
    assert "\n" not in str(fault.value)


def test_what_cannot_be_inserted_is_refused(tmp_path: Path) -> None:
    """Before anything is trained, in one line."""
    bare = study_of(tmp_path / "no masks")
    put(bare.cohort, masked=False)
    refused(bare, "windows about lesions need lesion masks")
    nobody = study_of(tmp_path / "no clear scans")
    put(nobody.cohort, clear=False)
    refused(nobody, "inserting lesions needs train images without a lesion")
    unknown = study_of(tmp_path / "no positive label", classes=["nodule"])
    put(unknown.cohort, replace(FACTS, positive=None))
    refused(unknown, "need the label that means a lesion")
    both = study_of(tmp_path / "two", classes=["clear", "nodule"])
    put(both.cohort)
    refused(both, "inserts nodule alone", ConfigError)
    large = study_of(tmp_path / "large", overrides={"network": {"window": 64}})
    put(large.cohort)
    refused(large, "the images have 48 x 48 pixels")


def test_recipe_and_set_must_go_together(study: Study, tmp_path: Path) -> None:
    for name, into, words in (
        ("insert", "", 'set synthetic.into = "clear"'),
        ("compact", "clear", "set generator.recipe to insert"),
    ):
        with pytest.raises(ConfigError, match=words):
            check_into(complete(load_recipe(name)), into)
    with pytest.raises(TrainingError, match="no whole images"):
        generate(study.run(), tmp_path / "set", FACTS, 7, 4, CPU, silent, even_if_collapsed=True)
    assert family_of(load_recipe("insert")).window == 32
    with pytest.raises(ConfigError, match="the trial takes whole synthetic images"):
        make_supplies(study, silent, print)
    both = study.config.synthetic.model_copy(update={"labels": ("nodule",)})
    with pytest.raises(ConfigError, match="into takes neither labels nor asked"):
        make_set(Study(study.folder, study.config.model_copy(update={"synthetic": both})), 4, CPU, silent, print)
    with pytest.raises(ConfigError, match="--into takes no label and no condition"):
        study_inserting(study, (), {"diameter": "4-8"}, "clear")
