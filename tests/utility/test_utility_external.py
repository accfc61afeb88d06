"""Detectors on strangers and on new scans: nobody twice, nothing compared that cannot be, and everything marked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from image_sets import change_set
from PIL import Image
from scans import save_dicom
from tiny_trial import SIDE, area_under_curve, draw_image, make_set, make_study, synthetic_images, write_facts

from scansynth.config import UtilitySettings
from scansynth.data.elsewhere.foreign import reading_pool
from scansynth.data.tensors import load_cohort, to_signed
from scansynth.dicom.capture import RESEARCH_ONLY
from scansynth.errors import CohortError, ConfigError, LedgerError, StudyError
from scansynth.files import read_csv, read_json
from scansynth.learning.device import pick_device
from scansynth.study import Study
from scansynth.utility.detect import detect, pick_job
from scansynth.utility.detector.detector import load_detector
from scansynth.utility.detector.overlay import draw_overlay, occlusion_map
from scansynth.utility.external import ExternalSpec, check_external, comparable, external_specs, score_external
from scansynth.utility.grid import Grid, declare, write_plan
from scansynth.utility.job import run_job


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Grid]:
    """A study with one finished detector."""
    study = make_study(tmp_path_factory.mktemp("trained") / "study", steps=60)
    make_set(study, "trial", synthetic_images(24))
    grid = declare(study, lambda fraction, pair, without: (study.synthetic("trial"),))
    write_plan(study, grid)
    run_job(grid.specs[0])
    return study, grid


def spec_for(study: Study, grid: Grid, other: Study, *, resample: bool = False, key: bool = False) -> ExternalSpec:
    return ExternalSpec("other", str(study.folder), str(other.folder), (grid.specs[0].name,), resample, key)


def test_strangers_are_scored_by_the_frozen_detector(trained: tuple[Study, Grid], tmp_path: Path) -> None:
    study, grid = trained
    other = make_study(tmp_path / "other", name="other")
    weights = (grid.specs[0].folder / "detector.safetensors").read_bytes()
    score_external(spec_for(study, grid, other))
    table = grid.specs[0].folder / "external-other.csv"
    rows = read_csv(table)
    assert {row["role"] for row in rows} == {"external"}
    assert [row["case"] for row in rows] == [case.case for case in load_cohort(other.cohort).cases]
    scores = np.array([float(row["score"]) for row in rows])
    assert area_under_curve(scores, np.array([row["positive"] == "1" for row in rows])) > 0.9
    assert (grid.specs[0].folder / "detector.safetensors").read_bytes() == weights
    before = table.stat().st_mtime_ns
    score_external(spec_for(study, grid, other))
    assert table.stat().st_mtime_ns == before, "it is not scored twice"


def test_shared_patients_are_refused(trained: tuple[Study, Grid], tmp_path: Path) -> None:
    study, grid = trained
    twin = make_study(tmp_path / "twin")  # the same patients
    with pytest.raises(LedgerError, match="80 patients of the external cohort other are patients of this study"):
        score_external(spec_for(study, grid, twin))


def test_another_key_is_refused_unless_allowed(trained: tuple[Study, Grid], tmp_path: Path) -> None:
    study, grid = trained
    other = make_study(tmp_path / "other", name="third")
    write_facts(other.cohort, key="key-2")
    with pytest.raises(
        LedgerError, match=r"nobody can check that none of them is a patient of this study; .*utility\.other_key"
    ):
        score_external(spec_for(study, grid, other))
    score_external(spec_for(study, grid, other, key=True))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"modality": "MR"}, "Modality MR instead of CT"),
        ({"spacing": [1.4, 1.4]}, "pixel spacing 1.4 mm instead of 0.7 mm"),
        ({"view": "patch"}, "view patch instead of any"),
    ],
)
def test_what_differs_is_named_and_refused_or_taken_by_choice(
    trained: tuple[Study, Grid], tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    other = make_study(tmp_path / "other", name="other")
    write_facts(other.cohort, **changes)
    ours, its = load_cohort(trained[0].cohort), load_cohort(other.cohort)
    with pytest.raises(CohortError, match=words):
        comparable(ours, its, "other", False)
    part, notes = comparable(ours, its, "other", True)
    assert part.images.shape == (160, 1, SIDE, SIDE)
    assert words in notes[0]


def test_resampling_doubles_a_coarse_image_about_its_centre(trained: tuple[Study, Grid], tmp_path: Path) -> None:
    other = make_study(tmp_path / "other", name="other")
    images = np.zeros((160, SIDE, SIDE), np.uint16)
    images[:, 12:20, 12:20] = 65535
    change_set(other.cohort, images=images)
    write_facts(other.cohort, spacing=[1.4, 1.4])
    part, _ = comparable(load_cohort(trained[0].cohort), load_cohort(other.cohort), "other", True)
    shown = to_signed(part.planes[0]) > 0
    assert shown.sum() == pytest.approx(256, abs=20)
    assert shown[9:23, 9:23].all()


def test_external_cohorts_are_refused_before_any_training(trained: tuple[Study, Grid], tmp_path: Path) -> None:
    def naming(*folders: Path, **utility: bool) -> Study:
        settings = UtilitySettings(external=tuple(map(str, folders)), **utility)
        return Study(trained[0].folder, trained[0].config.model_copy(update={"utility": settings}))

    good = make_study(tmp_path / "good", name="other")
    check_external(naming(good.folder))
    with pytest.raises(CohortError, match="the external cohort none: the study has no cohort yet"):
        check_external(naming(good.folder, tmp_path / "none"))
    with pytest.raises(LedgerError, match="80 patients of the external cohort twin"):
        check_external(naming(make_study(tmp_path / "twin").folder))
    write_facts(good.cohort, spacing=[1.4, 1.4])
    with pytest.raises(CohortError, match="external cohort good differs: pixel spacing"):
        check_external(naming(good.folder))
    check_external(naming(good.folder, resample=True))
    write_facts(good.cohort, spacing=[0.7, 1.4])
    with pytest.raises(CohortError, match=r"pixels of another shape: pixel spacing 0\.7 x 1\.4 mm instead of 0\.7 mm"):
        check_external(naming(good.folder, resample=True))


def test_two_cohorts_of_one_name_are_refused(trained: tuple[Study, Grid]) -> None:
    study, grid = trained
    settings = UtilitySettings(external=("../a/site", "../b/site"))
    config = study.config.model_copy(update={"utility": settings})
    with pytest.raises(CohortError, match="have the same name"):
        external_specs(Study(study.folder, config), grid)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scans as an archive would hand them over, three with a lesion, and a file that is none."""
    folder = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(4)
    for number in range(6):
        image, _ = draw_image(rng, number < 3)
        hounsfield = image.astype(float) / 65535.0 * 1400.0 - 1000.0
        save_dicom(folder / f"scan-{number}.dcm", np.rint(hounsfield + 1024).astype(np.int16), "CT",
                   PixelSpacing=[0.7, 0.7])  # fmt: skip
    (folder / "broken.dcm").write_bytes(b"no scan" * 100)
    return folder


def test_detect_scores_scans_and_marks_every_picture(trained: tuple[Study, Grid], scans: Path, tmp_path: Path) -> None:
    study, out = trained[0], tmp_path / "out"
    with reading_pool() as pool:
        found = detect(study, scans, out, pool)
    assert (found.images, found.detector) == (6, "f100-r0-basic-p0")
    assert sum(found.left.values()) == 1
    rows = read_csv(out / "scores.csv")
    assert [row["file"] for row in rows] == [f"scan-{number}.dcm" for number in range(6)]
    scores = [float(row["score"]) for row in rows]
    assert min(scores[:3]) > max(scores[3:])
    assert sum(row["above_threshold"] == "1" for row in rows) == found.above
    for number, row in enumerate(rows):
        with Image.open(out / row["overlay"]) as picture:
            assert picture.mode == "RGB"
            shown = np.asarray(picture)
        dataset = pydicom.dcmread(out / row["dicom"])
        assert dataset.pixel_array.tobytes() == shown.tobytes()
        assert dataset.BurnedInAnnotation == "YES"
        assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
        assert dataset.ImageComments.startswith(RESEARCH_ONLY)
        assert dataset.DerivationDescription.startswith(RESEARCH_ONLY)
        text = (out / row["dicom"]).read_bytes()
        assert not any(name in text for name in (b"Planted", b"PID-1", b"SIEMENS")), "nothing of the source's header"
        assert dataset.InstanceNumber == number + 1
    assert len({pydicom.dcmread(out / row["dicom"]).SOPInstanceUID for row in rows}) == 6
    facts = read_json(out / "detect.json")
    assert facts["warning"] == RESEARCH_ONLY
    assert str(tmp_path) not in json.dumps(facts)
    assert [row["reason"] for row in read_csv(out / "excluded.csv")]


def test_detect_goes_by_what_the_detector_learned_and_not_by_a_newer_cohort(
    trained: tuple[Study, Grid], scans: Path, tmp_path: Path
) -> None:
    """Ingested again with another spacing: the detector is still the one of the old images."""
    facts = (trained[0].cohort / "cohort.json").read_bytes()
    try:
        write_facts(trained[0].cohort, spacing=[7.0, 7.0], modality="MR")
        with reading_pool() as pool:
            assert detect(trained[0], scans, tmp_path / "out", pool, pictures=False).images == 6
    finally:
        (trained[0].cohort / "cohort.json").write_bytes(facts)


def test_detect_refuses_in_one_line(trained: tuple[Study, Grid], scans: Path, tmp_path: Path) -> None:
    study = trained[0]
    with reading_pool() as pool:
        with pytest.raises(StudyError, match="--out exists"):
            detect(study, scans, tmp_path, pool)
        with pytest.raises(CohortError, match="not a folder"):
            detect(study, tmp_path / "none", tmp_path / "out", pool)
        with pytest.raises(ConfigError, match="no arm reserve; choose one of basic, basic-synthetic"):
            detect(study, scans, tmp_path / "out", pool, "reserve")
        with pytest.raises(StudyError, match="not trained yet"):
            detect(study, scans, tmp_path / "out", pool, "basic-synthetic")
        wide = tmp_path / "wide"
        wide.mkdir()
        save_dicom(wide / "a.dcm", np.arange(1024, dtype=np.int16).reshape(32, 32), "CT", PixelSpacing=[9.0, 9.0])
        with pytest.raises(CohortError, match="same field of view"):
            detect(study, wide, tmp_path / "out", pool)
    assert not (tmp_path / "out").exists()


def test_occlusion_points_at_the_lesion(trained: tuple[Study, Grid]) -> None:
    study, grid = trained
    device = pick_device()
    network, _ = load_detector(pick_job(study, "basic"), device)
    rng = np.random.default_rng(8)
    inside = []
    for _ in range(6):
        image, mask = draw_image(rng, True)
        seen = occlusion_map(network, image, device)
        assert seen.shape == (SIDE, SIDE)
        assert seen.min() >= 0.0
        row, column = np.unravel_index(seen.argmax(), seen.shape)
        rows, columns = np.nonzero(mask)
        inside.append(np.hypot(row - rows.mean(), column - columns.mean()) < 8.0)
    assert np.mean(inside) >= 0.8
    assert grid.specs[0].folder == pick_job(study, "basic")


def test_overlay_leaves_an_unmarked_image_grey_and_marks_the_top() -> None:
    image = np.full((32, 32), 30000, np.uint16)
    seen = np.zeros((32, 32), np.float32)
    plain = draw_overlay(image, seen, 1.0, ("a", "b"))
    body = plain[34:-34]
    assert (body == body[0, 0]).all()
    seen[10:20, 10:20] = 1.0
    marked = draw_overlay(image, seen, 1.0, ("a", "b"))[34:-34]
    middle, corner = marked[marked.shape[0] * 15 // 32, marked.shape[1] * 15 // 32], marked[0, 0]
    assert middle[0] > corner[0]
    assert middle[2] < corner[2]
    assert plain[:34].max() > 200, "the banner says something"
