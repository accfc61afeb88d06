"""What must come out of a trial whose answer is known: more cases help, and wrong labels do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_trial import area_under_curve, make_set, make_study, synthetic_images

from scansynth.files import read_csv
from scansynth.trial.grid import declare
from scansynth.trial.job import run_job

ARMS = ("basic", "basic-synthetic", "reserve", "shuffled")
FAINT = 0.18  # contrast at which three images of a class teach something, and two dozen teach all there is
PAIRS = 2


@pytest.fixture(scope="module")
def areas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Area under the curve on test of each arm and pair. The synthetic images are as good as new patients."""
    folder: Path = tmp_path_factory.mktemp("known")
    options = {"arms": ARMS, "pairs": PAIRS, "fractions": (0.125,), "ratios": (8.0,), "steps": 60, "batch": 16}
    study = make_study(folder / "study", contrast=FAINT, **options)
    sets = {
        pair: [
            make_set(study, f"{label}-p{pair}", images, label=label, fraction=0.125, pair=pair)
            for label, images in (
                ("nodule", synthetic_images(24, seed=100 + pair, contrast=FAINT)),
                ("clear", synthetic_images(24, lesion=False, seed=200 + pair, contrast=FAINT)),
            )
        ]
        for pair in range(PAIRS)
    }
    found: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for spec in declare(study, lambda fraction, pair: sets[pair]).specs:
        run_job(spec)
        rows = [row for row in read_csv(spec.folder / "scores.csv") if row["role"] == "test"]
        scores = np.array([float(row["score"]) for row in rows])
        found[spec.arm].append(area_under_curve(scores, np.array([row["positive"] == "1" for row in rows])))
    return {arm: np.array(values) for arm, values in found.items()}


def test_more_real_patients_help(areas: dict[str, np.ndarray]) -> None:
    assert areas["reserve"].mean() > areas["basic"].mean() + 0.02, areas


def test_images_as_good_as_new_patients_help(areas: dict[str, np.ndarray]) -> None:
    assert areas["basic-synthetic"].mean() > areas["basic"].mean() + 0.02, areas


def test_the_same_images_with_wrong_labels_do_not(areas: dict[str, np.ndarray]) -> None:
    assert areas["shuffled"].mean() < areas["basic-synthetic"].mean() - 0.1, areas
