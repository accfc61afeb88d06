"""What must come out of a trial whose answer is known, from training to verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from tiny_trial import make_set, make_study, synthetic_images

from scansynth.ledger import Role
from scansynth.statistics import Verdict
from scansynth.utility.gathering import blocks
from scansynth.utility.grid import declare
from scansynth.utility.job import run_job
from scansynth.utility.statistics.analysis import analyse
from scansynth.utility.statistics.results import Analysis, Terms
from scansynth.utility.statistics.rulings import Contrast

ARMS = ("basic", "basic-synthetic", "duplicates", "reserve", "shuffled")
PATIENTS = {Role.TRAIN: 24, Role.TUNE: 2, Role.CALIBRATE: 120, Role.RESERVE: 24, Role.TEST: 150}
FAINT = 0.18  # contrast at which three images of a class teach something, and two dozen teach all there is
PAIRS = 4
TERMS = Terms(margin=0.1, draws=200)


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """Of detectors that learned from three patients. The synthetic images are as good as new patients."""
    folder: Path = tmp_path_factory.mktemp("known")
    options = {"arms": ARMS, "pairs": PAIRS, "fractions": (0.125,), "ratios": (8.0,), "steps": 50, "batch": 16}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tiny_trial.PATIENTS", PATIENTS)
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
    grid = declare(study, lambda fraction, pair, without: sets[pair])
    for spec in grid.specs:
        run_job(spec)
    return analyse(blocks(study, grid), TERMS, 0)


@pytest.fixture(scope="module")
def contrasts(analysis: Analysis) -> Mapping[tuple[str, str], Contrast]:
    return {(one.arm, one.other): one for one in analysis.blocks[0].contrasts}


def test_more_real_patients_are_shown_to_help(contrasts: Mapping[tuple[str, str], Contrast]) -> None:
    found = contrasts["reserve", "basic"]
    assert found.verdict is Verdict.SHOWN, found.why
    assert found.auc.interval.low > 0.02


def test_images_as_good_as_new_patients_are_shown_to_help(contrasts: Mapping[tuple[str, str], Contrast]) -> None:
    for other in ("basic", "duplicates"):
        found = contrasts["basic-synthetic", other]
        assert found.verdict is Verdict.SHOWN, found.why


def test_duplicates_are_not(contrasts: Mapping[tuple[str, str], Contrast]) -> None:
    found = contrasts["duplicates", "basic"]
    assert found.verdict is Verdict.NOT_SHOWN, found.why


def test_the_same_images_with_wrong_labels_are_not(analysis: Analysis) -> None:
    (found,) = (one for one in analysis.blocks[0].contrasts if one.arm == "shuffled")
    assert found.verdict in {Verdict.NOT_SHOWN, Verdict.REFUTED}, found.why
    area = {row.arm: row.auc.value for row in analysis.blocks[0].arms}
    assert area["shuffled"] < area["basic-synthetic"] - 0.1
    assert np.isfinite(list(area.values())).all()
