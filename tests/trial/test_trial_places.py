"""The lesion detector finds places where places differ, and is told apart from luck where they are given away."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_trial import SIDE, make_study

from scansynth.files import read_csv
from scansynth.trial.grid import declare, write_plan
from scansynth.trial.job import run_job


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        return importlib.import_module("lesions")


def judged(benchmark: ModuleType, folder: Path, centred: bool) -> dict[str, Any]:
    """What two detectors find that learned for a second."""
    made = make_study(folder, masks=True, lesions="on", pairs=2, steps=60)
    reals = made.config.utility.model_copy(update={"arms": ("basic",)})
    study = replace(made, config=made.config.model_copy(update={"utility": reals}))
    if centred:
        images, masks = (np.load(study.cohort / name) for name in ("images.npy", "masks.npy"))
        rows, columns = np.indices((SIDE, SIDE))
        for image, mask in zip(images, masks, strict=True):
            if mask.any():
                shift = [SIDE // 2 - round(float(place[mask > 0].mean())) for place in (rows, columns)]
                image[:], mask[:] = np.roll(image, shift, (0, 1)), np.roll(mask, shift, (0, 1))
        np.save(study.cohort / "images.npy", images)
        np.save(study.cohort / "masks.npy", masks)
    grid = declare(study, lambda fraction, pair: ())
    write_plan(study, grid)
    for spec in grid.specs:
        run_job(spec)
    found: dict[str, Any] = benchmark.judge(study, grid, draws=200)
    return found


def test_places_are_found_where_they_differ(benchmark: ModuleType, tmp_path: Path) -> None:
    found = judged(benchmark, tmp_path / "study", centred=False)
    assert found["places_found"] == "shown"
    cpm = {name: estimate["value"] for name, estimate in found["cpm"].items()}
    assert cpm["detector"] > 0.8
    assert cpm["elsewhere"] < 0.5
    assert cpm["middle"] < 0.3


def test_where_lesions_lie_in_the_middle_their_place_is_given_away(benchmark: ModuleType, tmp_path: Path) -> None:
    found = judged(benchmark, tmp_path / "study", centred=True)
    assert found["places_found"] != "shown"
    assert found["cpm"]["middle"]["value"] > 0.8
    assert found["cpm"]["elsewhere"]["value"] > 0.8


def test_windows_are_cut_with_their_masks(benchmark: ModuleType, shared_data: Path, tmp_path: Path) -> None:
    def middles(reach: int) -> np.ndarray:
        out = tmp_path / f"reach-{reach}"
        benchmark.cut_patches(shared_data / "lidc-patches", out, reach, limit=60)
        places = []
        for row in read_csv(out / "labels.csv"):
            pixels = benchmark.pydicom.dcmread(out / row["path"]).pixel_array.astype(float)
            assert pixels.shape == (benchmark.WINDOW, benchmark.WINDOW)
            if row["mask"]:
                mask = np.asarray(Image.open(out / row["mask"])) > 0
                assert mask.shape == pixels.shape
                assert pixels[mask].mean() > pixels[~mask].mean(), "a nodule is denser than the lung around it"
                places.append([float(place[mask].mean()) for place in np.indices(mask.shape)])
        assert len(places) > 10
        return np.array(places) - (benchmark.WINDOW - 1) / 2

    assert np.abs(middles(0)).mean() < 2.0
    assert np.abs(middles(benchmark.REACH)).mean() > 3.0
