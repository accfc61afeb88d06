"""The plan's clock runs for both kinds of detector."""

from __future__ import annotations

from pathlib import Path

import pytest

from scansynth.data.tensors import Cohort, CohortFacts
from scansynth.pipeline import prospect
from scansynth.utility.detector.fit import FitSettings

FACTS = CohortFacts(
    "MR", "1.2.840.10008.5.1.4.1.1.4", (32, 32), "any", ("clear", "nodule"), "nodule", False, 0, {}, 0.0, 1.0,
    (1.0, 1.0), 12, False, 1.0, 0.0, "key",
)  # fmt: skip


@pytest.mark.parametrize("lesions", [False, True])
def test_a_step_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lesions: bool) -> None:
    monkeypatch.setattr(prospect, "_PROBE_STEPS", 3)
    monkeypatch.setattr(prospect, "_NOISE_IMAGES", 16)
    settings = FitSettings("small", lesions, 10, 4, 1e-3)
    assert 0.0 < prospect.seconds_of_step(settings, Cohort(tmp_path, FACTS, ())) < 10.0
