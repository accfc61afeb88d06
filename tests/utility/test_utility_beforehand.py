"""Before any training: what a trial counts on, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_trial import make_study

from scansynth.errors import ConfigError
from scansynth.pipeline import prospect
from scansynth.pipeline.supply import supplies
from scansynth.utility.statistics.power import plan_utility


def test_the_plan_reckons_with_all_comparisons_and_with_sites_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prospect, "seconds_of_step", lambda *_: 1.0)
    monkeypatch.setattr(prospect, "supplies", lambda _: ())
    settings = {"pairs": 2, "ratios": [0.5, 1.0], "lesions": "off", "network": "small", "steps": 10}
    arms = ["real", "basic", "synthetic", "basic-synthetic", "duplicates", "reserve"]
    study = make_study(tmp_path / "study", arms=arms, **settings)
    plan = prospect.prospect(study, 0.064, 0.8)
    assert plan.wish.comparisons == 4, "the primary, the published, less duplicates, and synthetic less basic"
    assert plan.chance < plan_utility(plan.counts, pairs=2).chance
    assert prospect.cost(study).jobs == 2 * (3 + 2 * 3)
    apart = make_study(tmp_path / "apart", arms=arms, leave_out="site", **settings)
    assert prospect.cost(apart).jobs == 2 * (3 + 2 * 3) + 2 * 2 * 6, (
        "two sites, two pairs, six arms with the first ratio"
    )


def test_a_trial_without_synthetic_lesions_is_refused_before_any_training(tmp_path: Path) -> None:
    assert {supply.label for supply in supplies(make_study(tmp_path / "both", classes=["clear", "nodule"]))} == {
        "clear",
        "nodule",
    }
    with pytest.raises(ConfigError, match=r"utility\.classes leaves out nodule"):
        supplies(make_study(tmp_path / "clear", classes=["clear"]))
