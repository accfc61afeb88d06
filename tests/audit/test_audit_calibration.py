"""How often the audit errs, by simulation: the rates that `docs/evidence.md` promises to measure.

`benchmarks/audit_error_rates.py` holds the made-up patients, and runs 200 of each case; here are fewer.
"""

import importlib
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from scansynth.audit.questions import diversity, fidelity
from scansynth.claims.claim import Claim, Control, Measurement, decide, floor_of
from scansynth.statistics import Interval, Verdict, patient_halves

D = 24
RUNS = 25


def cohort(rng: np.random.Generator, patients: int = 40, each: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Features of test patients, images of one patient alike: (n, d) and (n,)."""
    names = np.repeat(np.arange(patients), each)
    return 0.8 * rng.normal(size=(patients, D))[names] + 0.6 * rng.normal(size=(len(names), D)), names


def few(features: np.ndarray, kinds: int, rng: np.random.Generator) -> np.ndarray:
    return features[np.arange(64) % kinds] + rng.normal(0, 0.05, (64, D))


def fidelity_of(synthetic: np.ndarray, rng: np.random.Generator) -> Claim:
    real, names = cohort(rng)
    halves = patient_halves(names, 60, rng)
    return fidelity.assess(synthetic, real, names, halves, {"shift": real + 0.6}, 0.95, rng).claim


def variety_of(synthetic: np.ndarray, rng: np.random.Generator) -> dict[str, Claim]:
    real, names = cohort(rng)
    halves = patient_halves(names, 60, rng)
    seconds = [rng.permutation(real[~half]) for half in halves[:10]]
    planted = {
        "diversity.pair_distance": {"one": [few(x, 1, rng) for x in seconds], "half": [x / 2 for x in seconds]},
        "diversity.near_pairs": {"eight": [few(x, 8, rng) for x in seconds]},
    }
    found = diversity.assess(synthetic, real, names, halves, planted, 0.95)
    return {finding.claim.claim: finding.claim for finding in found}


def test_new_patients_are_not_called_fakes_and_shifted_ones_are() -> None:
    fresh, shifted = Counter(), Counter()
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        fresh[fidelity_of(rng.normal(size=(120, D)), rng).verdict] += 1
        shifted[fidelity_of(rng.normal(0.6, 1, (120, D)), rng).verdict] += 1
    assert fresh[Verdict.REFUTED] <= 2
    assert fresh[Verdict.SHOWN] >= RUNS / 2
    assert shifted[Verdict.SHOWN] == 0
    assert shifted[Verdict.REFUTED] >= 0.8 * RUNS


def test_new_patients_are_not_called_poor_and_few_images_are() -> None:
    fresh, eight, calm = Counter(), Counter(), Counter()
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        images = rng.normal(size=(120, D))
        for name, claim in variety_of(images, rng).items():
            fresh[name, claim.verdict] += 1
        eight[variety_of(few(images, 8, rng), rng)["diversity.near_pairs"].verdict] += 1
        calm[variety_of(images / 2, rng)["diversity.pair_distance"].verdict] += 1
    for name in diversity.SHARES:
        assert fresh[name, Verdict.REFUTED] <= 2
        assert fresh[name, Verdict.SHOWN] >= RUNS / 2
    assert eight == {Verdict.REFUTED: RUNS}
    assert calm == {Verdict.REFUTED: RUNS}


def test_where_plants_are_missed_faults_are_found_as_before_and_silence_counts_for_nothing() -> None:
    fresh, shifted = Counter(), Counter()
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        for found, mean in ((fresh, 0.0), (shifted, 0.6)):
            real, names = cohort(rng)
            halves = patient_halves(names, 60, rng)
            made = rng.normal(mean, 1, (120, D))
            found[fidelity.assess(made, real, names, halves, {"nothing": real}, 0.95, rng).claim.verdict] += 1
    assert set(fresh) | set(shifted) <= {Verdict.NOT_ASSESSABLE, Verdict.REFUTED}
    assert fresh[Verdict.REFUTED] <= 2
    assert shifted[Verdict.REFUTED] >= 0.8 * RUNS


def classifier(bias: float, fault: float, rng: np.random.Generator) -> Claim:
    """A classifier that tells any two groups of images apart by `bias`, and a set with a fault by more."""
    value, error = 0.5 + bias + fault + rng.normal(0, 0.03), 0.03
    measured = Measurement(
        value=value,
        interval=Interval(value - 1.96 * error, value + 1.96 * error),
        level=0.95,
        floor=floor_of("halves", 0.5 + bias + rng.normal(0, 0.03, 100)),
        control=(Control("blur", 1.0, 0.8),),
        margin=0.6,
        n={},
    )
    return decide("fidelity.c2st_pixels", measured, {verdict: verdict.value for verdict in Verdict})


def test_a_measure_that_alarms_on_real_images_refutes_no_honest_set() -> None:
    """Of 400 honest sets at most 5% lie beyond the floor; significantly more would be 28. Faults are still found."""
    rng = np.random.default_rng(0)
    honest, poor, sound = (
        Counter(classifier(bias, fault, rng).verdict for _ in range(400))
        for bias, fault in ((0.2, 0.0), (0.2, 0.2), (0.0, 0.2))
    )
    assert honest[Verdict.REFUTED] <= 28
    assert honest[Verdict.NOT_ASSESSABLE] >= 300  # by its interval alone each of these would be refuted
    assert honest[Verdict.SHOWN] == 0
    assert poor[Verdict.REFUTED] >= 380
    assert sound[Verdict.REFUTED] >= 200


def test_a_set_of_one_image_has_finite_figures() -> None:
    rng = np.random.default_rng(0)
    claims = variety_of(np.zeros((60, D)), rng)
    assert {claim.verdict for claim in claims.values()} == {Verdict.REFUTED}


# Both judges, all claims that rest on features


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:  # benchmarks import each other as scripts of one folder do
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        return importlib.import_module("audit_error_rates")


def rates(simulation: ModuleType, fault: str, runs: int) -> dict:
    audits = (simulation.one_audit(40, 3, 120, fault, 40, np.random.default_rng(seed)) for seed in range(runs))
    return dict(simulation.rates(audits))


@pytest.mark.parametrize("fault", ["none", "none, three images of each patient"])
def test_with_nothing_wrong_no_claim_is_refuted_by_either_judge(simulation: ModuleType, fault: str) -> None:
    """At most one of 20 audits may hold any wrong `refuted`: 5% for all claims read together."""
    found = rates(simulation, fault, 20)
    assert set(found["refuted"]) == set(simulation.CLAIMS)
    assert found["family_wise"]["any"] <= 0.05


@pytest.mark.parametrize(
    ("fault", "finders"),
    [
        ("shifted", ("fidelity.kid", "fidelity.density")),
        ("eight images", ("diversity.near_pairs", "diversity.nearest", "diversity.vendi", "fidelity.kid")),
        ("half the variation", ("diversity.pair_distance", "diversity.nearest", "diversity.recall", "diversity.vendi")),
    ],
)
def test_what_is_wrong_is_found_by_the_claims_that_are_for_it(
    simulation: ModuleType, fault: str, finders: tuple[str, ...]
) -> None:
    found = rates(simulation, fault, 5)
    for name in finders:
        assert found["refuted"][name] >= 0.8, name


@pytest.mark.parametrize(
    ("fault", "finders"),
    [
        ("none", ()),
        ("shifted", ("fidelity.kid", "fidelity.density")),
        ("eight images", ("diversity.near_pairs", "diversity.nearest", "diversity.vendi", "fidelity.kid")),
        ("half the variation", ("diversity.pair_distance", "diversity.nearest", "diversity.recall", "diversity.vendi")),
    ],
)
def test_twice_as_many_images_change_no_verdict(simulation: ModuleType, fault: str, finders: tuple[str, ...]) -> None:
    """More images of one source make a figure surer; they neither lift nor lower it."""
    names, values = np.repeat(np.arange(40), 3), []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        twice = simulation.seen(simulation.synthetic(240, fault, rng))[0]
        real = simulation.seen(simulation.images(40, 3, rng))[0]
        once, doubled = (
            {claim.claim: claim for claim in simulation.claims(made, real, names, 40, np.random.default_rng(seed))}
            for made in (twice[:120], twice)
        )
        for name, claim in once.items():
            assert {claim.verdict, doubled[name].verdict} != {Verdict.SHOWN, Verdict.REFUTED}, name
            wrong = simulation.on_the_wrong_side(claim), simulation.on_the_wrong_side(doubled[name])
            assert wrong[0] == wrong[1] or name not in finders, name
            assert fault != "none" or not any(wrong), name
            if name != "fidelity.kid":
                values.append((claim.value, doubled[name].value))
    np.testing.assert_allclose(*np.mean(values, axis=0), rtol=0.03)


def test_the_judges_of_the_simulation_see_the_same_images_in_part(simulation: ModuleType) -> None:
    first, second = simulation.seen(simulation.images(2000, 1, np.random.default_rng(0)))
    assert first.var(axis=0).mean() == pytest.approx(1.0, abs=0.35)
    strongest = np.linalg.svd(np.corrcoef(first.T, second.T)[:24, 24:])[1].mean()
    assert 0.4 < strongest < 0.9
