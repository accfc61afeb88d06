"""What to do next: patients first, then readers, then use; and the cause that figures point to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from fake_evidence import claim

from scansynth.claims.judged import judged
from scansynth.claims.traces import PIXELS
from scansynth.metrics.telltales import TRACES
from scansynth.report.audit.advice import TRACE_CAUSES, advise, traces_by_strength
from scansynth.report.audit.artefacts import Behind, EvidenceView
from scansynth.statistics import Verdict


def evidence(*refuted: str, figures: Mapping[str, Mapping[str, Any]] | None = None) -> EvidenceView:
    names = ("fidelity.kid", "diversity.near_pairs", "copies.real_files", "copies.flag_rate", "fairness.share", PIXELS)
    claims = [claim(name, Verdict.REFUTED if name in refuted else Verdict.SHOWN) for name in names]
    behind = tuple(Behind(name, "", "", rows) for name, rows in (figures or {}).items())
    return EvidenceView(judged(claims), (), 0, behind)


def test_patients_come_before_readers_and_readers_before_use() -> None:
    order = ["copies.real_files", "copies.flag_rate", PIXELS, "fidelity.kid", "diversity.near_pairs", "fairness.share"]
    starts = ["Do not release it: real", "Do not release it: it reveals", "Not for readers yet", "Improve the images",
              "Train for more variety", "Do not use it for the groups"]  # fmt: skip
    for place, start in enumerate(starts):
        assert advise(evidence(*order[place:])).step.startswith(start)
    assert advise(evidence()).step.startswith("Nothing was found against the set")
    assert not advise(evidence()).causes


def test_the_strongest_traces_are_named_with_their_cause() -> None:
    traces = {"bits in use": 0.5, "border that repeats its neighbour, top": 0.97, "share of black": 0.99,
              "border that repeats its neighbour, left": 0.9, "edges along any other grid": 0.8}  # fmt: skip
    found = advise(evidence(PIXELS, figures={PIXELS: {"traces": traces}})).causes["traces"]
    assert found.index("share of black, 99 of 100") < found.index("neighbour, top, 97 of 100")
    assert "left" not in found
    assert next(name for name, _ in traces_by_strength(traces)) == "share of black"


def test_every_trace_has_a_cause() -> None:
    for name in TRACES:
        assert any(name.startswith(start) for start in TRACE_CAUSES)


@pytest.mark.parametrize(("step", "word"), [(-1.0, "too smooth: 0.1 times"), (1.0, "too rough: 10 times")])
def test_the_spectrum_says_what_is_wrong_with_fine_detail(step: float, word: str) -> None:
    count = 12
    curve = {"x": list(range(count)), "low": [-0.1] * count, "high": [0.1] * count,
             "synthetic": [0.0] * 8 + [step] * 4}  # fmt: skip
    found = advise(evidence("fidelity.kid", figures={"appearance": {"spectrum": curve}})).causes["realism"]
    assert word in found


def test_the_judge_that_finds_fewer_decides_what_a_set_is_worth() -> None:
    view = evidence()
    rows = tuple(
        Behind("diversity.vendi", judge, "", {"worth": {"images": 400, "patients": 60, "independent": worth}})
        for judge, worth in (("one", 60.0), ("other", 21.4))
    )
    view = EvidenceView(view.judged, (), 0, rows)
    assert advise(view).worth == "400 images are worth about 21 images of different patients"
    assert "at least 60" in advise(EvidenceView(view.judged, (), 0, rows[:1])).worth
