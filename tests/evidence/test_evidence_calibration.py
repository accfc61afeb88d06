"""How often the court errs, by simulation: the rates that `docs/evidence.md` promises to measure."""

from collections import Counter

import numpy as np

from scansynth.evidence import diversity, fidelity
from scansynth.evidence.claims import Claim
from scansynth.statistics import Verdict, patient_halves

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


def test_a_control_that_is_missed_takes_the_verdict_away() -> None:
    rng = np.random.default_rng(0)
    real, names = cohort(rng)
    halves = patient_halves(names, 60, rng)
    claim = fidelity.assess(rng.normal(size=(120, D)), real, names, halves, {"nothing": real}, 0.95, rng).claim
    assert claim.verdict is Verdict.NOT_ASSESSABLE


def test_a_set_of_one_image_has_finite_figures() -> None:
    rng = np.random.default_rng(0)
    claims = variety_of(np.zeros((60, D)), rng)
    assert {claim.verdict for claim in claims.values()} == {Verdict.REFUTED}
