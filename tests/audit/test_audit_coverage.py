"""Neighbours and different images: how they are drawn, what they find, and how wide their intervals are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from scansynth.audit.questions import coverage, worth
from scansynth.claims.claim import Claim, Finding
from scansynth.metrics.diversity import distances
from scansynth.metrics.prdc import caught, crowd, inside, precision, reached
from scansynth.metrics.prdc import coverage as share_reached
from scansynth.metrics.prdc import density as mean_crowd
from scansynth.statistics import Verdict

D = 16
CENTRES = 4.0 * np.eye(10, D)
ALL = (*coverage.CLAIMS, *worth.CLAIMS)


def images(patients: int, each: int, rng: np.random.Generator, kinds: int = 10) -> np.ndarray:
    """Features of patients of a few kinds, images of one patient alike."""
    own = CENTRES[rng.integers(kinds, size=patients)] + 0.8 * rng.normal(size=(patients, D))
    return np.repeat(own, each, axis=0) + 0.6 * rng.normal(size=(patients * each, D))


def findings(
    made: np.ndarray, real: np.ndarray, names: np.ndarray, rng: np.random.Generator, draws: int = 30
) -> dict[str, Finding]:
    centre = real.mean(axis=0)
    spoiled = {
        coverage.MIXED_UP: 3.0 * rng.normal(size=real.shape),
        coverage.NOISE: real + 1.5,
        coverage.CALM: (real + centre) / 2.0,
    }
    repeats = worth.Spoiled(real + 0.02 * rng.normal(size=real.shape), (real + centre) / 2.0)
    found = coverage.assess(made, real, names, spoiled, draws, 0.95, rng)
    return found | {f.claim.claim: f for f in worth.assess(made, real, names, repeats, draws, 0.95, rng)}


def claims(made: np.ndarray, seed: int, patients: int = 60) -> dict[str, Claim]:
    rng = np.random.default_rng(seed)
    real, names = images(patients, 2, rng), np.repeat(np.arange(patients), 2)
    return {name: finding.claim for name, finding in findings(made, real, names, rng).items()}


# Draws


def test_halves_are_of_different_patients_and_every_image_has_its_turn() -> None:
    patients = np.array([3, 3, 3, 1, 2, 2, 7, 5, 5, 4])
    drawn = coverage.draw_images(patients, 3, (50, 4), np.random.default_rng(0))
    assert drawn.shape == (50, 4, 2, 3)
    for both in drawn.reshape(-1, 6):
        assert len(np.unique(patients[both])) == 6
    assert (np.sort(patients[drawn[:, :1]], axis=-1) == np.sort(patients[drawn], axis=-1)).all(), "patients of a draw"
    assert set(np.unique(drawn)) == set(range(10))
    assert coverage.half_size(patients, 100) == 3
    assert coverage.half_size(patients, 4) == 2


def test_parts_of_a_set_share_no_image() -> None:
    for both in coverage.draw_parts(21, 10, 30, np.random.default_rng(0)).reshape(30, 20):
        assert len(np.unique(both)) == 20


def test_many_draws_at_a_time_are_the_draws_one_by_one() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 4)), rng.normal(0.5, 1.0, (25, 4))
    rows, columns = (np.stack([rng.permutation(n)[:12] for _ in range(6)]).reshape(2, 3, 12) for n in (30, 25))
    real, across = coverage.take(distances(x), rows, rows), coverage.take(distances(x, y), rows, columns)
    found = inside(real, across, 3)
    for place in np.ndindex(2, 3):
        one = distances(x[rows[place]]), distances(x[rows[place]], y[columns[place]])
        assert caught(found)[place] == precision(*one, 3)
        assert crowd(found, 3)[place] == mean_crowd(*one, 3)
        assert reached(found)[place] == share_reached(*one, 3)


def test_a_kind_is_left_out_with_its_neighbours_and_nobody_is_repeated() -> None:
    rng = np.random.default_rng(2)
    line = np.sort(rng.normal(size=40))
    places = np.stack([rng.permutation(40)[:20] for _ in range(50)])
    kept = coverage.without_a_kind(np.abs(line[:, None] - line[None, :]), places, rng)
    assert kept.shape == (50, 14)
    for before, after in zip(places, kept, strict=True):
        assert len(np.unique(after)) == 14
        gone = np.sort([int(np.sum(before < place)) for place in set(before) - set(after)])
        assert (np.diff(gone) == 1).all(), "on a line those who are gone stand side by side"


# What is found


def test_new_patients_are_not_called_off_and_intervals_hold_the_truth() -> None:
    runs = 25
    wrong, held = dict.fromkeys(ALL, 0), dict.fromkeys(ALL, 0)
    for seed in range(runs):
        for name, claim in claims(images(120, 1, np.random.default_rng(1000 + seed)), seed).items():
            assert claim.interval is not None
            assert claim.margin is not None
            wrong[name] += claim.interval.high < claim.margin
            held[name] += claim.interval.low <= 1.0 <= claim.interval.high
            assert claim.margin < 1.0, "the margin of a figure that is too low lies below what is expected"
    assert max(wrong.values()) <= 1
    assert min(held.values()) >= 0.85 * runs, held


def spread(made: np.ndarray, factor: float) -> np.ndarray:
    return made.mean(axis=0) + factor * (made - made.mean(axis=0))


FAULTS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "fidelity.precision": lambda rng: np.concatenate([images(70, 1, rng), 3.0 * rng.normal(size=(50, D))]),
    "fidelity.density": lambda rng: np.concatenate([images(70, 1, rng), 3.0 * rng.normal(size=(50, D))]),
    "diversity.coverage": lambda rng: images(120, 1, rng, kinds=6),
    "diversity.recall": lambda rng: spread(images(120, 1, rng), 0.4),
    "diversity.nearest": lambda rng: images(20, 1, rng)[np.arange(120) % 20],
    "diversity.vendi": lambda rng: images(8, 1, rng)[np.arange(120) % 8],
}


@pytest.mark.parametrize("name", ALL)
def test_each_figure_refutes_its_own_fault(name: str) -> None:
    verdicts = []
    for seed in range(3):
        claim = claims(FAULTS[name](np.random.default_rng(2000 + seed)), seed, patients=100)[name]
        assert claim.interval is not None
        assert claim.margin is not None
        verdicts.append(claim.interval.high < claim.margin)
    assert all(verdicts)


def test_a_control_that_is_missed_takes_the_verdict_away() -> None:
    rng = np.random.default_rng(0)
    real, names = images(40, 1, rng), np.arange(40)
    nothing = dict.fromkeys((coverage.MIXED_UP, coverage.NOISE, coverage.CALM), real)
    found = coverage.assess(images(80, 1, rng), real, names, nothing, 40, 0.95, rng)
    for name in ("fidelity.precision", "fidelity.density", "diversity.recall"):
        assert found[name].claim.verdict is Verdict.NOT_ASSESSABLE
    apart = worth.Spoiled(images(40, 1, rng), images(40, 1, rng))
    nearest, vendi = worth.assess(images(80, 1, rng), real, names, apart, 40, 0.95, rng)
    assert nearest.claim.verdict is Verdict.NOT_ASSESSABLE
    assert vendi.claim.verdict is Verdict.NOT_ASSESSABLE


def test_a_kind_that_no_figure_could_miss_is_no_control() -> None:
    """Where patients are of no kinds, nothing can be left out, and coverage says that it cannot tell."""
    rng = np.random.default_rng(0)
    real, names = rng.normal(size=(40, D)), np.arange(40)
    claim = findings(rng.normal(size=(80, D)), real, names, rng)["diversity.coverage"].claim
    assert claim.verdict is Verdict.NOT_ASSESSABLE
    assert "left out" in claim.why


def test_no_scale_and_the_same_seed_the_same_claim() -> None:
    rng = np.random.default_rng(0)
    real, made, names = images(30, 2, rng), images(60, 1, rng), np.repeat(np.arange(30), 2)
    first, again, large = (
        findings(scale * made, scale * real, names, np.random.default_rng(1)) for scale in (1.0, 1.0, 2.0)
    )
    assert first == again
    for name in ALL:
        assert large[name].claim.value == pytest.approx(first[name].claim.value, rel=1e-6)
        assert large[name].claim.margin == pytest.approx(first[name].claim.margin, rel=1e-6)


def test_a_set_of_one_image_has_finite_figures_and_is_refuted() -> None:
    rng = np.random.default_rng(0)
    real, names = images(40, 2, rng), np.repeat(np.arange(40), 2)
    found = findings(np.repeat(real[:1], 60, axis=0), real, names, rng)
    for name in ("diversity.nearest", "diversity.vendi", "diversity.coverage", "diversity.recall"):
        claim = found[name].claim
        assert claim.interval is not None
        assert claim.margin is not None
        assert claim.interval.high < claim.margin, name


def test_few_patients_get_figures_and_what_ten_cannot_answer_is_not_answered() -> None:
    rng = np.random.default_rng(0)
    real, names = images(10, 2, rng), np.repeat(np.arange(10), 2)
    found = {name: finding.claim for name, finding in findings(images(50, 1, rng), real, names, rng, draws=20).items()}
    assert set(found) == set(ALL)
    for name, claim in found.items():
        assert claim.interval is not None
        assert claim.interval.low < claim.value < claim.interval.high, name
        assert claim.value == pytest.approx(1.0, abs=0.15), "a set of new patients"
        assert claim.verdict is not Verdict.REFUTED, claim.why
    # with ten kinds of patients among ten, a kind left out cannot be missed, nor eight images be told from many
    unanswerable = {name for name, claim in found.items() if claim.verdict is Verdict.NOT_ASSESSABLE}
    assert unanswerable == {"diversity.coverage", "diversity.vendi"}


# What the set is worth


@pytest.mark.parametrize("kinds", [5, 20])
def test_repeats_are_worth_the_different_images(kinds: int) -> None:
    rng = np.random.default_rng(3)
    real, names = images(80, 1, rng), np.arange(80)
    few = images(kinds, 1, rng)[np.arange(200) % kinds]
    found = worth.worth(few, real, names, rng)
    assert (found.images, found.patients) == (200, 80)
    assert found.independent == pytest.approx(kinds, rel=0.5)
    assert "200 synthetic images are worth about" in found.words


def test_what_a_set_is_worth_and_its_structure_stand_behind_the_vendi_claim() -> None:
    rng = np.random.default_rng(4)
    real, names = images(40, 2, rng), np.repeat(np.arange(40), 2)
    finding = findings(images(80, 1, rng), real, names, rng)["diversity.vendi"]
    told = worth.attach(finding, worth.Worth(80, 40, 40.0), {"synthetic": [0.5], "real": [0.25, 0.35]})
    assert told.claim.verdict is finding.claim.verdict
    assert told.claim.why.startswith(finding.claim.why)
    assert "at least 40 images of different patients" in told.claim.why
    assert "of 0.50 on average, images of two real patients 0.30" in told.claim.why
    assert told.figures["worth"]["independent"] == 40.0
    quiet = worth.attach(finding, worth.Worth(80, 40, 12.3), {})
    assert "structure" not in quiet.figures
    assert "MS-SSIM" not in quiet.claim.why
    assert "about 12 images" in quiet.claim.why


def test_structure_is_told_from_176_pixels() -> None:
    rng = np.random.default_rng(5)
    small = np.zeros((4, 64, 64), np.float32)
    assert "176" in worth.structure(small, small, np.arange(4), rng)["not_available"]
    large = rng.uniform(-1.0, 1.0, (6, 176, 176)).astype(np.float32)
    alike = worth.structure(np.repeat(large[:1], 6, axis=0), large, np.arange(6), rng)
    assert alike["synthetic"] == pytest.approx([1.0] * 3, abs=1e-4)
    assert max(alike["real"]) < 0.5
