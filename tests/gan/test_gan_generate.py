"""Weights and a seed make a synthetic set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch

from scansynth.console import silent
from scansynth.data.scans.orientation import plane_of
from scansynth.data.sets import MANIFEST, load_set
from scansynth.data.tensors import CohortFacts, to_stored
from scansynth.data.transforms import to_window
from scansynth.dicom.pixels import decode
from scansynth.dicom.read import Limits, read_header
from scansynth.dicom.write import CT_IMAGE_STORAGE
from scansynth.errors import CheckpointError, StorageError, TrainingError
from scansynth.files import read_csv, sha256_file
from scansynth.gan import generate as room
from scansynth.gan.generate import generate
from scansynth.gan.models.dcgan import Dcgan, NetworkSettings, build_generator
from scansynth.gan.sampling import draw
from scansynth.gan.weights import GeneratorFacts, load_generator, save_generator
from scansynth.learning.device import Device
from scansynth.stage import read_record

CPU = Device("cpu", "test", "float32", True)
FACTS = CohortFacts(
    "CT", CT_IMAGE_STORAGE, (32, 32), "patch", ("clear", "nodule"), "nodule", False, 10, {}, -1000.0, 400.0,
    (0.7, 0.7), 16, True, 1.0, 0.0, "0" * 12, "axial",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, settings = tmp_path_factory.mktemp("run"), NetworkSettings(noise=8, width=4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = build_generator((32, 32), 1, settings)
        generator(torch.randn(16, 8))
    facts = GeneratorFacts("dcgan", "dcgan", Dcgan(network=settings).tables(), (32, 32), 1, ("nodule",), 96, "healthy")
    save_generator(folder, generator, facts)
    return folder


def test_the_same_seed_gives_the_same_files_however_many(run: Path, tmp_path: Path) -> None:
    for name, count in (("few", 5), ("many", 19)):
        generate(run, tmp_path / name, FACTS, 7, count, CPU, silent)
    for index in range(5):
        few, many = (tmp_path / name / f"dicom/{index:06d}.dcm" for name in ("few", "many"))
        assert few.read_bytes() == many.read_bytes()
    assert not (tmp_path / "few" / "dicom" / "000005.dcm").exists()


def test_another_seed_gives_other_images_under_other_uids(run: Path, tmp_path: Path) -> None:
    for seed in (7, 8):
        generate(run, tmp_path / str(seed), FACTS, seed, 6, CPU, silent)
    rows = [row for seed in (7, 8) for row in read_csv(tmp_path / str(seed) / MANIFEST)]
    assert len({row["sop_instance_uid"] for row in rows}) == len({row["sha256"] for row in rows}) == 12


def test_the_manifest_says_what_made_each_file(run: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    record = generate(run, tmp_path / "set", FACTS, 7, 6, CPU, lambda done, total, note="": told.append((done, total)))
    weights = load_generator(run)[1].weights_sha256
    rows = read_csv(tmp_path / "set" / MANIFEST)
    assert [row["file"] for row in rows] == [f"dicom/{index:06d}.dcm" for index in range(6)]
    for index, row in enumerate(rows):
        assert (row["index"], row["seed"], row["label"]) == (str(index), "7", "nodule")
        assert row["weights_sha256"] == weights
        assert row["sha256"] == sha256_file(tmp_path / "set" / row["file"])
    assert told == [(count, 6) for count in range(1, 7)]
    assert read_record(tmp_path / "set") == record
    assert record.outputs.keys() == {row["file"] for row in rows} | {MANIFEST, "images.npy", "cases.csv", "set.json"}


def test_the_files_hold_what_the_generator_drew(run: Path, tmp_path: Path) -> None:
    generate(run, tmp_path / "set", FACTS, 7, 4, CPU, silent)
    drawn = np.stack([to_stored(image[0]) for image in draw(load_generator(run)[0], 7, 4)])
    read = load_set(tmp_path / "set", FACTS).planes
    unit = 65535 / 1400  # one Hounsfield unit
    assert np.abs(read.astype(int) - drawn.astype(int)).max() <= unit / 2 + 1
    for place, path in enumerate(sorted((tmp_path / "set" / "dicom").iterdir())):  # the files say what the set says
        values = decode(path, read_header(path, Limits()))
        assert np.abs(to_stored(to_window(values, FACTS.low, FACTS.high)).astype(int) - read[place]).max() <= 1


def test_a_study_of_the_set_has_one_patient_and_a_series_one_frame_of_reference(run: Path, tmp_path: Path) -> None:
    generate(run, tmp_path / "set", FACTS, 7, 4, CPU, silent)
    files = [pydicom.dcmread(path) for path in sorted((tmp_path / "set" / "dicom").iterdir())]
    patients = {(file.StudyInstanceUID, file.PatientID) for file in files}
    frames = {(file.SeriesInstanceUID, file.FrameOfReferenceUID) for file in files}
    assert len(patients) == len({study for study, _ in patients}) == len({patient for _, patient in patients})
    assert len(frames) == len({series for series, _ in frames})


@pytest.mark.parametrize("plane", ["sagittal", ""])
def test_the_files_say_the_plane_of_the_cohort(run: Path, tmp_path: Path, plane: str) -> None:
    generate(run, tmp_path / "set", replace(FACTS, plane=plane), 7, 2, CPU, silent)
    for path in (tmp_path / "set" / "dicom").iterdir():
        assert (plane_of(read_header(path, Limits())) or "") == plane


def test_labels_that_are_not_told_apart_are_refused(run: Path, tmp_path: Path) -> None:
    generate(run, tmp_path / "all", FACTS, 7, 2, CPU, silent, labels=("nodule",))
    assert [row["label"] for row in read_csv(tmp_path / "all" / MANIFEST)] == ["nodule"] * 2
    sampler, facts = load_generator(run)
    save_generator(tmp_path / "run", sampler.network, replace(facts, classes=("clear", "nodule")))
    with pytest.raises(TrainingError, match="does not tell clear, nodule apart") as fault:
        generate(tmp_path / "run", tmp_path / "set", FACTS, 7, 2, CPU, silent, labels=("nodule",))
    assert "\n" not in str(fault.value)
    generate(tmp_path / "run", tmp_path / "set", FACTS, 7, 2, CPU, silent, labels=("nodule", "clear"))


def test_altered_weights_make_nothing(run: Path, tmp_path: Path) -> None:
    for path in run.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "generator.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="altered"):
        generate(tmp_path, tmp_path / "set", FACTS, 7, 4, CPU, silent)
    assert not (tmp_path / "set").exists()


def test_a_full_disk_leaves_the_older_set(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "set"
    generate(run, target, FACTS, 7, 4, CPU, silent)
    before = {path.name: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    real = room.write_synthetic

    def refuse(path: Path, *rest: object) -> bytes:
        if path.name == "000002.dcm":
            raise OSError(28, "No space left on device")
        return bytes(real(path, *rest))

    monkeypatch.setattr(room, "write_synthetic", refuse)
    with pytest.raises(StorageError, match="free some space"):
        generate(run, target, FACTS, 8, 4, CPU, silent)
    assert {path.name: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_from_a_collapsed_generator_nothing_is_drawn_unless_told(run: Path, tmp_path: Path) -> None:
    sampler, facts = load_generator(run)
    save_generator(tmp_path / "run", sampler.network, replace(facts, level="critical"))
    with pytest.raises(TrainingError, match=r"had collapsed.*--even-if-collapsed"):
        generate(tmp_path / "run", tmp_path / "set", FACTS, 7, 4, CPU, silent)
    assert not (tmp_path / "set").exists()
    generate(tmp_path / "run", tmp_path / "set", FACTS, 7, 4, CPU, silent, even_if_collapsed=True)
    assert len(read_csv(tmp_path / "set" / MANIFEST)) == 4
