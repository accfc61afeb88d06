"""What tests of the cohort share."""

from __future__ import annotations

import pytest
from in_process import InProcessPool

from scansynth.data import ingest as stage


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "DecodePool", InProcessPool)
