from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from scansynth.audit.compared import Compared, Reals
from scansynth.audit.context import Context, View, open_context
from scansynth.audit.encoders import Encoders
from scansynth.audit.questions import discrimination
from scansynth.audit.questions.discrimination import FEATURES, MARGIN, NATIVE, PIXELS, Effort, assess, native_side
from scansynth.claims.claim import Claim, Finding
from scansynth.config import EvidenceSettings
from scansynth.console import silent
from scansynth.data.tensors import Case
from scansynth.ledger import Role
from scansynth.metrics import c2st, planted
from scansynth.metrics.c2st import by_features
from scansynth.statistics import Verdict

SIDE, PATIENTS = 32, 56
_FEW = Effort(figure=1, floor=2, control=2, most=48)
LITTLE = {FEATURES: Effort(figure=3, floor=6, control=3, most=48), PIXELS: _FEW, NATIVE: _FEW}


def scans(count: int, seed: int) -> np.ndarray:
    """Smooth images with fine grain, (count, 32, 32) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    coarse = ndimage.gaussian_filter(rng.normal(size=(count, SIDE, SIDE)), (0, 2.5, 2.5)) * 4
    return np.asarray(np.clip(coarse + rng.normal(0, 0.05, coarse.shape), -1, 1), np.float32)


def reals(patients: int, role: Role, seed: int, source_side: int = 0) -> Reals:
    """Two images of each patient."""
    cases = tuple(
        Case(i, f"{role}{i}", f"{role}-{i // 2}", role, "a", 0.0, 1.0, (1.0, 1.0), {}, source_side=source_side)
        for i in range(2 * patients)
    )
    return Reals(cases, scans(2 * patients, seed))


def context(patients: int = PATIENTS, source_side: int = 0) -> Context:
    compared = Compared(
        files=tuple(f"{i}" for i in range(80)),
        synthetic=scans(80, 1),
        labels=("a",),
        view="patch",
        unlabelled=False,
        train=reals(4, Role.TRAIN, 2),
        calibrate=reals(4, Role.CALIBRATE, 3),
        test=reals(patients, Role.TEST, 4, source_side),
        inputs={},
    )
    return open_context(compared, Encoders((), None), EvidenceSettings(draws=20), seed=7)


def seen(heard: Context) -> Context:
    """With one judge, who sees an 8 x 8 thumbnail and the strength of the grain."""

    def encode(images: np.ndarray) -> np.ndarray:
        grain = np.log(np.abs(np.diff(images, axis=2)).mean(axis=(1, 2)) + 1e-3)
        return np.column_stack([images[:, ::16, ::16].reshape(len(images), -1), 4 * grain]).astype(np.float64)

    view = View("thumbnail", encode, encode(heard.synthetic), encode(heard.real.images))
    return replace(heard, views=(view,))


def both(one: Context) -> tuple[Finding, ...]:
    return (*discrimination.answer_by_features(one, silent), *discrimination.answer_by_pixels(one, silent))


@pytest.fixture(autouse=True)
def _little_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discrimination, "EFFORT", LITTLE)


@pytest.fixture(scope="module")
def fine() -> dict[str, Claim]:
    """What is said of a set of new patients: trained once, read by several tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discrimination, "EFFORT", LITTLE)
        return {finding.claim.claim: finding.claim for finding in both(seen(context()))}


def test_new_patients_are_not_told_and_a_blurred_set_is(fine: dict[str, Claim]) -> None:
    good = seen(context())
    assert set(fine) == {FEATURES, PIXELS}
    for claim in fine.values():
        assert claim.verdict in {Verdict.SHOWN, Verdict.NOT_SHOWN}, claim.why
        assert all(control.passed for control in claim.control), claim.control
        assert claim.interval is not None
        assert claim.interval.low < MARGIN
    assert fine[FEATURES].judge == "thumbnail"
    poor = planted.blur(good.synthetic, 1.0)
    view = replace(good.views[0], synthetic=good.views[0].encode(poor))
    found = both(replace(good, synthetic=poor, views=(view,)))
    assert [finding.claim.verdict for finding in found] == [Verdict.REFUTED, Verdict.REFUTED]
    assert {"floor", "synthetic", "planted"} <= set(found[0].figures)


def test_networks_that_were_hardly_trained_prove_nothing_by_their_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c2st, "STEPS", 1)
    heard = context()
    silent_one, found = (
        discrimination.answer_by_pixels(replace(heard, synthetic=synthetic), silent)[0].claim
        for synthetic in (heard.synthetic, planted.blur(heard.synthetic, 1.0))
    )
    for claim in (silent_one, found):
        assert {control.name for control in claim.control if not control.passed} >= {discrimination.KNOWN}
    assert silent_one.verdict is Verdict.NOT_ASSESSABLE
    assert found.verdict is Verdict.REFUTED  # by the residuals, and a fault that was found stands


def test_how_slight_a_fault_is_seen_is_told_and_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    few = Effort(figure=1, floor=2, control=2, most=48, slight=1)
    monkeypatch.setattr(discrimination, "EFFORT", {**discrimination.EFFORT, PIXELS: few})
    (finding,) = discrimination.answer_by_pixels(context(), silent)
    told = finding.figures["slight"]
    assert set(told) == {
        "noise of 1%", "blur of 0.35 pixels", "fine detail 2% weaker", "grey values in 256 steps"
    }  # fmt: skip
    assert all(0.0 <= auc <= 1.0 for auc in told.values())
    assert all(f"{fault} (" in finding.claim.why for fault in told)
    assert not {control.name for control in finding.claim.control} & set(told)


def test_the_steps_in_which_grey_values_were_stored_do_not_decide(fine: dict[str, Claim]) -> None:
    heard = context()
    stored = replace(heard, synthetic=planted.eight_bits(heard.synthetic))
    claims = [fine[PIXELS], discrimination.answer_by_pixels(stored, silent)[0].claim]
    assert Verdict.REFUTED not in {claim.verdict for claim in claims}


def test_the_native_size_is_asked_where_images_were_enlarged_and_nowhere_else() -> None:
    for side, asked in ((0, [PIXELS]), (SIDE, [PIXELS]), (48, [PIXELS]), (20, [PIXELS, NATIVE]), (8, [PIXELS])):
        heard = context(PATIENTS if side == 20 else 12, side)
        found = discrimination.answer_by_pixels(heard, silent)
        assert [finding.claim.claim for finding in found] == asked
    few = Reals(
        tuple(replace(case, source_side=20 * (i % 3 == 0)) for i, case in enumerate(heard.real.cases)),
        heard.real.images,
    )
    assert native_side(few, SIDE) == 0  # known for too few


def test_too_few_patients_train_nothing() -> None:
    found = both(seen(context(patients=19)))
    assert [(finding.claim.claim, finding.claim.judge) for finding in found] == [(FEATURES, "thumbnail"), (PIXELS, "")]
    for finding in found:
        assert finding.claim.verdict is Verdict.NOT_ASSESSABLE
        assert "19 test patients" in finding.claim.why


def made(seed: int, shift: float = 0.0, count: int = 40) -> tuple[np.ndarray, ...]:
    """Features of a set, of two alike images of each patient, and their patients."""
    rng = np.random.default_rng(seed)
    real = np.repeat(rng.normal(size=(count, 6)), 2, axis=0) + rng.normal(0, 0.3, (2 * count, 6))
    return rng.normal(shift, 1.04, (90, 6)), real, np.repeat(np.arange(count), 2)


def judged(seed: int, shift: float, tell: Callable[..., c2st.Trial] = by_features) -> Verdict:
    synthetic, real, patients = made(seed, shift)
    rng = np.random.default_rng(seed)
    return assess(FEATURES, synthetic, real, patients, {"blur": real + 1.0}, tell, 0.95, rng).claim.verdict


def test_error_rates_by_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discrimination, "EFFORT", {FEATURES: Effort(figure=2, floor=3, control=1, most=500)})
    honest = [judged(seed, 0.0) for seed in range(20)]
    assert honest.count(Verdict.REFUTED) == 0
    assert honest.count(Verdict.NOT_ASSESSABLE) == 0
    shifted = [judged(seed, 0.6) for seed in range(10)]
    assert shifted.count(Verdict.SHOWN) == 0
    assert shifted.count(Verdict.REFUTED) >= 8


def test_many_images_of_a_patient_are_one_witness() -> None:
    synthetic, real, patients = made(0)
    sizes = []

    def counted(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> c2st.Trial:
        places = [int(np.flatnonzero((real == row).all(axis=1))[0]) for row in first]
        sizes.append(len(first))
        assert len(np.unique(patients[places])) == len(places)
        assert len(second) == len(first)
        return c2st.Trial(0.5, 0.001)

    found = assess(FEATURES, synthetic, real, patients, {"blur": real}, counted, 0.95, np.random.default_rng(0))
    assert set(sizes) == {40, 20}  # the figure's, and half of it
    assert found.claim.verdict is Verdict.NOT_ASSESSABLE  # the blur was not found


def test_the_interval_does_not_shrink_with_more_draws_nor_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic, real, patients = made(1)
    widths = []
    for draws, trial in ((2, c2st.Trial(0.5, 0.002)), (50, c2st.Trial(0.5, 0.002)), (50, c2st.Trial(1.0, 0.0))):
        monkeypatch.setattr(discrimination, "EFFORT", {FEATURES: Effort(draws, 4, 2, 500)})
        tell = lambda first, second, rng, trial=trial: trial  # noqa: E731
        interval = assess(
            FEATURES, synthetic, real, patients, {"blur": real}, tell, 0.95, np.random.default_rng(0)
        ).claim.interval
        assert interval is not None
        widths.append(interval.high - interval.low)
    assert widths[0] == pytest.approx(widths[1])
    assert widths[2] == pytest.approx(1 / 40)
