"""The lesion detector finds places where places differ, and is told apart from luck where they are given away."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from image_sets import change_set
from PIL import Image
from tiny_trial import SIDE, make_study

from scansynth.data.imageset import open_set
from scansynth.data.tensors import load_cohort
from scansynth.files import read_csv
from scansynth.ledger import Role
from scansynth.study import Study
from scansynth.utility.gathering import blocks, detections
from scansynth.utility.grid import Grid, declare, write_plan
from scansynth.utility.job import run_job


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        return importlib.import_module("lesions")


def reals_alone(folder: Path, **utility: Any) -> Study:
    """A study whose trial has the arm basic and no other."""
    made = make_study(folder, masks=True, lesions="on", **utility)
    reals = made.config.utility.model_copy(update={"arms": ("basic",)})
    return replace(made, config=made.config.model_copy(update={"utility": reals}))


def trained(study: Study) -> Grid:
    grid = declare(study, lambda fraction, pair, without: ())
    write_plan(study, grid)
    for spec in grid.specs:
        run_job(spec)
    return grid


def judged(benchmark: ModuleType, folder: Path, centred: bool) -> dict[str, Any]:
    """What four detectors find that learned for a second."""
    study = reals_alone(folder, pairs=4, steps=60)
    if centred:
        found = open_set(study.cohort)
        images, masks = np.array(found.planes), np.array(found.masks)
        rows, columns = np.indices((SIDE, SIDE))
        for image, mask in zip(images, masks, strict=True):
            if mask.any():
                shift = [SIDE // 2 - round(float(place[mask > 0].mean())) for place in (rows, columns)]
                image[:], mask[:] = np.roll(image, shift, (0, 1)), np.roll(mask, shift, (0, 1))
        change_set(study.cohort, images=images, masks=masks)
    found: dict[str, Any] = benchmark.judge(study, trained(study), draws=200)
    return found


def test_places_are_found_where_they_differ(benchmark: ModuleType, tmp_path: Path) -> None:
    found = judged(benchmark, tmp_path / "study", centred=False)
    assert found["places_found"] == "shown"
    cpm = {name: estimate["value"] for name, estimate in found["cpm"].items()}
    assert cpm["detector"] > 0.8
    assert cpm["elsewhere"] < 0.5
    assert cpm["middle"] < 0.3
    assert found["less"]["detector less middle"]["value"] == pytest.approx(cpm["detector"] - cpm["middle"])


def test_where_lesions_lie_in_the_middle_their_place_is_given_away(benchmark: ModuleType, tmp_path: Path) -> None:
    found = judged(benchmark, tmp_path / "study", centred=True)
    assert found["less"]["detector less elsewhere"]["value"] < 0.1
    assert found["cpm"]["middle"]["value"] > 0.8
    assert found["cpm"]["elsewhere"]["value"] > 0.8


def test_a_lesion_that_nobody_outlined_is_left_out_of_the_curves(tmp_path: Path) -> None:
    study = reals_alone(tmp_path / "study", steps=10)
    test = [case for case in load_cohort(study.cohort).cases if case.role is Role.TEST]
    masks = np.array(open_set(study.cohort).masks)
    masks[next(case.index for case in test if case.label == "nodule")] = 0
    change_set(study.cohort, masks=masks)
    grid = trained(study)
    (found,) = detections(study, grid, blocks(study, grid)).values()
    assert len(found.patients) == len(test) - 1
    assert {one.images for one in (*found.marks[0], *found.dealt)} == {len(test) - 1}
    assert len(found.marks[0][0].found) == sum(case.label == "nodule" for case in test) - 1


def test_windows_are_cut_with_their_masks(benchmark: ModuleType, shared_data: Path, tmp_path: Path) -> None:
    def middles(reach: int) -> np.ndarray:
        out = tmp_path / f"reach-{reach}"
        benchmark.cut_patches(shared_data / "lidc-patches", out, reach, limit=120)
        places = []
        for row in read_csv(out / "labels.csv"):
            pixels = benchmark.pydicom.dcmread(out / row["path"]).pixel_array.astype(float)
            assert pixels.shape == (benchmark.WINDOW, benchmark.WINDOW)
            if row["mask"]:
                mask = np.asarray(Image.open(out / row["mask"])) > 0
                assert mask.shape == pixels.shape
                assert np.sqrt(mask.sum() / np.pi) <= benchmark.LARGEST
                assert pixels[mask].mean() > pixels[~mask].mean(), "a nodule is denser than the lung around it"
                places.append([float(place[mask].mean()) for place in np.indices(mask.shape)])
        assert len(places) > 10
        return np.array(places) - (benchmark.WINDOW - 1) / 2

    assert np.abs(middles(0)).mean() < 2.0
    assert np.abs(middles(benchmark.REACH)).mean() > 3.0
