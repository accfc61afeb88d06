from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage, stats

from scansynth.audit.compared import Compared, Reals
from scansynth.audit.context import Context
from scansynth.audit.questions import telltales
from scansynth.audit.questions.telltales import answer
from scansynth.claims import traces
from scansynth.claims.claim import Claim, Finding, not_assessable
from scansynth.claims.traces import AS_STORED, FILES, PIXELS, blocks_reader_export, ruling
from scansynth.config import EvidenceSettings
from scansynth.console import silent
from scansynth.data.tensors import Case
from scansynth.ledger import Role
from scansynth.metrics import planted, probe
from scansynth.metrics.telltales import TRACES
from scansynth.statistics import Interval, Verdict

SIDE, PATIENTS = 32, 60
Images = Any


def scans(count: int, seed: int) -> Images:
    """Smooth images with fine grain: (count, 32, 32) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(count, SIDE, SIDE)), (0, 2, 2)) * 2
    grain = rng.normal(0, 0.05, smooth.shape)
    return np.clip(smooth * rng.uniform(0.6, 1, (count, 1, 1)) + grain, -0.98, 0.98).astype(np.float32)


def reals(images: Images, role: Role, each: int = 1) -> Reals:
    cases = tuple(
        Case(i, f"{role}{i}", f"{role}-{i // each}", role, "", 0.0, 1.0, (1.0, 1.0), {}) for i in range(len(images))
    )
    return Reals(cases, images)


def compared(synthetic: Images, seed: int = 0, patients: int = PATIENTS, each: int = 2) -> Compared:
    return Compared(
        files=tuple(f"{i}.dcm" for i in range(len(synthetic))),
        synthetic=synthetic,
        labels=("",),
        view="any",
        unlabelled=False,
        train=reals(scans(4, seed + 100), Role.TRAIN),
        calibrate=reals(scans(4, seed + 200), Role.CALIBRATE),
        test=reals(scans(patients * each, seed + 300), Role.TEST, each),
        inputs={},
    )


def asked(compared: Compared, seed: int = 0) -> Mapping[str, Finding]:
    context = Context(
        compared, EvidenceSettings(), seed, compared.synthetic, compared.test, np.zeros((0, 1), np.bool_), (), None
    )
    return {finding.claim.claim: finding for finding in answer(context, silent)}


def in_whole_units(images: Images) -> Images:
    """As a file of whole Hounsfield units from -1000 to 400 gives them back."""
    return (np.rint((images + 1) * 700) / 700 - 1).astype(np.float32)


def with_an_edge(images: Images) -> Images:
    made = images.copy()
    made[:, :, -1] = made[:, :, -2]
    return made


@pytest.mark.parametrize(
    ("spoil", "trace"),
    [
        (planted.jpeg, "fine detail dropped in blocks of 8 pixels"),
        (with_an_edge, "border that repeats its neighbour, right"),
        (lambda images: np.clip(images * 1.6, -1, 1), "share of"),
    ],
)
def test_a_history_that_readers_would_see_is_refuted_and_named(spoil: Callable[[Images], Images], trace: str) -> None:
    finding = asked(compared(spoil(scans(120, 1))))[PIXELS]
    assert finding.claim.verdict is Verdict.REFUTED
    assert finding.figures["by_model"]["boosting"] > 0.9
    assert trace in finding.claim.why
    assert finding.figures["p"] < traces.CHANCE
    assert blocks_reader_export([finding.claim]) == finding.claim.why
    assert "Readers must not be shown" in finding.claim.why


def test_how_values_were_written_down_is_told_and_does_not_count() -> None:
    finding = asked(compared(in_whole_units(scans(120, 1))))[PIXELS]
    assert finding.claim.verdict is not Verdict.REFUTED
    assert finding.figures["extra"][AS_STORED] > 0.95
    assert "As stored, it is" in finding.claim.why
    assert blocks_reader_export([finding.claim]) is None


def test_real_against_real_is_held_up_at_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The p of the rule, on made-up reals: 12 draws; docs/evidence.md has 40 of real scans."""
    monkeypatch.setattr(probe, "PERMUTATIONS", 40)
    found = [asked(compared(scans(60, 1000 + seed), 2000 + seed, 40, 1), seed)[PIXELS] for seed in range(12)]
    assert sum(finding.figures["p"] < 0.05 for finding in found) <= stats.binom.ppf(0.995, 12, 0.05)
    assert all(finding.claim.verdict in {Verdict.SHOWN, Verdict.NOT_SHOWN} for finding in found)


def test_what_was_not_found_may_be_shown_and_what_was_not_looked_for_may_not() -> None:
    n = {"synthetic images": 3}
    ok = asked(compared(scans(120, 1)))[PIXELS].claim
    assert blocks_reader_export([ok]) is None
    assert "run audit" in str(blocks_reader_export([]))
    assert "run audit" in str(blocks_reader_export([not_assessable(FILES, "", n)]))
    lacking = not_assessable(PIXELS, "Too few real patients.", n)
    assert "Too few real patients." in str(blocks_reader_export([lacking]))


@pytest.mark.parametrize(
    ("interval", "value", "p", "verdict"),
    [
        ((0.9, 1.0), 0.95, 0.005, Verdict.REFUTED),
        ((0.5, 0.58), 0.55, 0.005, Verdict.REFUTED),
        ((0.5, 0.58), 0.55, 0.01, Verdict.SHOWN),
        ((0.5, 0.6), 0.55, 0.3, Verdict.SHOWN),
        ((0.5, 0.61), 0.55, 0.02, Verdict.NOT_SHOWN),
        ((0.3, 0.4), 0.35, 0.005, Verdict.SHOWN),
    ],
)
def test_the_rule(interval: tuple[float, float], value: float, p: float, verdict: Verdict) -> None:
    assert ruling(Interval(*interval), value, p) is verdict


def test_a_missed_plant_voids_silence_and_not_a_trace_that_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted, "jpeg", lambda images: images)
    for images, verdict in ((with_an_edge(scans(120, 1)), Verdict.REFUTED), (scans(120, 1), Verdict.NOT_ASSESSABLE)):
        claim = asked(compared(images))[PIXELS].claim
        assert claim.verdict is verdict
        assert "JPEG" in claim.why
        assert blocks_reader_export([claim]) is not None


def test_too_few_patients_or_pixels_and_no_files_are_said() -> None:
    few = asked(compared(scans(60, 1), patients=telltales.LEAST_PATIENTS - 1))
    assert "30 are needed" in few[PIXELS].claim.why
    small = compared(scans(60, 1))
    small = replace(
        small, synthetic=small.synthetic[:, :8, :8], test=Reals(small.test.cases, small.test.images[:, :8, :8])
    )
    assert "too small" in asked(small)[PIXELS].claim.why
    assert "no files" in asked(small)[FILES].claim.why


def test_images_of_one_grey_value_are_figures_like_any_other() -> None:
    finding = asked(compared(np.zeros((60, SIDE, SIDE), np.float32)))[PIXELS]
    assert finding.claim.verdict is Verdict.REFUTED


def test_the_same_images_give_the_same_figures() -> None:
    one, two = (asked(compared(scans(80, 5)))[PIXELS] for _ in range(2))
    assert one == two
    assert tuple(one.figures["traces"]) != ()
    assert set(one.figures["traces"]) == set(TRACES)


# Files


def facts(count: int, seed: int, **changes: Any) -> tuple[dict[str, Any], ...]:
    rng = np.random.default_rng(seed)
    plain = {"transfer syntax": "1.2", "rows": 64, "row spacing": 0.7, "padding": None}
    return tuple({"file size": int(rng.normal(9000, 300)), **plain, **changes} for _ in range(count))


def with_files(real: Mapping[str, Any], made: Mapping[str, Any]) -> Claim:
    base = compared(scans(80, 1))
    full = replace(base, test_files=facts(2 * PATIENTS, 1, **real), synthetic_files=facts(80, 2, **made))
    return asked(full)[FILES].claim


@pytest.mark.parametrize("change", [{"transfer syntax": "1.4"}, {"rows": 128}, {"padding": -2000}, {"file size": 9900}])
def test_a_header_that_tells_is_refuted_and_holds_no_readers_up(change: Mapping[str, Any]) -> None:
    claim = with_files({}, change)
    assert claim.verdict is Verdict.REFUTED, claim.why
    assert next(iter(change)) in claim.why
    assert "Readers see no files" in claim.why
    assert claim.control[0].found >= traces.NEEDED


def test_alike_files_are_not_told() -> None:
    claim = with_files({}, {})
    assert claim.verdict in {Verdict.SHOWN, Verdict.NOT_SHOWN}
    assert with_files({"row spacing": float("nan")}, {"row spacing": float("nan")}).value == claim.value
