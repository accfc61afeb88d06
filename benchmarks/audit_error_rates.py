"""How often are the verdicts on realism and variety wrong? Made-up features, judged by the rules of docs/evidence.md.

    python benchmarks/audit_error_rates.py --out docs/results/audit_error_rates.json

No image is made. Features are 24 numbers; patients are of ten kinds, and of the variance a third lies between kinds, a
third between the patients of a kind, and a third between the images of a patient. Two judges see the same images; half
of what the second one sees is what the first one sees, turned. A claim counts as
refuted when its interval lies wholly on the wrong side of its margin, whether or not its control passed: so no failed
control can hide an error. Claims that train classifiers are not among them.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from simulation import write_simulation

from scansynth.audit.questions import coverage, diversity, fidelity, worth
from scansynth.claims.claim import Claim
from scansynth.seeds import generator
from scansynth.statistics import Verdict, patient_halves, verdict

Floats = npt.NDArray[np.float64]

D = 24
KINDS, GONE = 10, 3
SHARED = 0.5  # of the variance of the second judge's features
_TURN = np.linalg.qr(np.random.default_rng(0).normal(size=(D, D)))[0]
_CENTRES = np.random.default_rng(1).normal(size=(2, KINDS, D))
FAMILIES = {
    "realism": (*fidelity.CLAIMS, "fidelity.precision", "fidelity.density"),
    "variety": (*diversity.CLAIMS, "diversity.coverage", "diversity.recall"),
}
CLAIMS = tuple(name for family in FAMILIES.values() for name in family)
FAULTS = (
    "none",
    "none, three images of each patient",
    "shifted",
    "eight images",
    "half the variation",
    "three kinds of ten gone",
)
ROWS = (
    # test patients, images of each, synthetic images, fault; and runs, as times those asked for
    *((20, 2, 60, fault, 1.0) for fault in FAULTS[:1]),
    *((40, 3, 120, fault, 1.0) for fault in FAULTS[:2]),
    *((40, 3, 120, fault, 0.2) for fault in FAULTS[2:]),
)


def images(patients: int, each: int, rng: np.random.Generator, kinds: int = KINDS) -> Floats:
    """Images of patients as both judges will see them, (2, n, D): the first judge's, and the second's own part.

    Args:
        patients: How many; each of a kind that is drawn.
        each: Images of each patient.
        rng: Draws everything but the kinds' centres.
        kinds: Only the first so many kinds.
    """
    names, count = np.repeat(np.arange(patients), each), patients * each
    centres = _CENTRES[:, rng.integers(kinds, size=patients)]
    own = rng.normal(size=(2, patients, D))
    return np.asarray(((centres + own)[:, names] + rng.normal(size=(2, count, D))) / np.sqrt(3.0), dtype=np.float64)


def seen(latent: Floats) -> tuple[Floats, Floats]:
    """Features by each of the two judges."""
    turned = latent[0] @ _TURN
    return latent[0], np.sqrt(SHARED) * turned + np.sqrt(1.0 - SHARED) * latent[1]


def synthetic(count: int, fault: str, rng: np.random.Generator) -> Floats:
    """A set with a fault, (2, count, D)."""
    if fault == "three kinds of ten gone":
        return images(count, 1, rng, KINDS - GONE)
    if fault == FAULTS[1]:
        return images(-(-count // 3), 3, rng)[:, :count]
    fresh = images(count, 1, rng)
    if fault == "shifted":
        return fresh + 0.6
    if fault == "half the variation":
        return fresh / 2.0
    if fault == "eight images":
        return few(fresh, 8, rng)
    return fresh


def few(features: Floats, kinds: int, rng: np.random.Generator) -> Floats:
    """As many images, but only some of them different, with slight noise."""
    places = np.arange(features.shape[-2]) % kinds
    return features[..., places, :] + rng.normal(0.0, 0.05, features.shape)


def claims(made: Floats, real: Floats, names: npt.NDArray[Any], draws: int, rng: np.random.Generator) -> list[Claim]:
    """All claims by one judge, with faults planted among its features."""
    halves = patient_halves(names, draws, rng)
    others = [rng.permutation(real[~half]) for half in halves[:10]]
    poor = {
        "diversity.pair_distance": {"one image": [few(x, 1, rng) for x in others], "calm": [x / 2 for x in others]},
        "diversity.near_pairs": {"eight images": [few(x, 8, rng) for x in others]},
    }
    spoiled = {
        coverage.MIXED_UP: 2.0 * rng.normal(size=real.shape),
        coverage.NOISE: real + 1.0,
        coverage.CALM: real / 2.0,
    }
    repeats = worth.Spoiled(real + rng.normal(0.0, 0.05, real.shape), real / 2.0)
    found = [
        fidelity.assess(made, real, names, halves, {"shift": real + 0.6}, 0.95, rng),
        *diversity.assess(made, real, names, halves, poor, 0.95),
        *worth.assess(made, real, names, repeats, draws, 0.95, rng),
        *coverage.assess(made, real, names, spoiled, draws, 0.95, rng).values(),
    ]
    return [finding.claim for finding in found]


def one_audit(
    patients: int, each: int, made: int, fault: str, draws: int, rng: np.random.Generator
) -> tuple[list[Claim], list[Claim]]:
    """The claims by both judges on one set."""
    names = np.repeat(np.arange(patients), each)
    sets, reals = seen(synthetic(made, fault, rng)), seen(images(patients, each, rng))
    first, second = (claims(x, y, names, draws, rng) for x, y in zip(sets, reals, strict=True))
    return first, second


def on_the_wrong_side(claim: Claim) -> bool:
    """Whether the figures say `refuted`, whatever the control says."""
    if claim.interval is None or claim.margin is None:
        return False
    return verdict(claim.interval, claim.margin, claim.direction) is Verdict.REFUTED


def rates(audits: Iterable[tuple[list[Claim], list[Claim]]]) -> dict[str, Any]:
    """Shares of the audits: by claim the judges' mean, by family and together any claim by either judge."""
    refuted: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    families: Counter[str] = Counter()
    runs = 0
    for audit in audits:
        runs += 1
        wrong: set[str] = set()
        for claim in (claim for judge in audit for claim in judge):
            shown[claim.claim] += claim.verdict is Verdict.SHOWN
            missed[claim.claim] += claim.verdict is Verdict.NOT_ASSESSABLE
            if on_the_wrong_side(claim):
                refuted[claim.claim] += 1
                wrong.add(claim.claim)
        families.update(family for family, members in FAMILIES.items() if wrong.intersection(members))
        families["any"] += bool(wrong)
    return {
        "runs": runs,
        "family_wise": {family: families[family] / runs for family in (*FAMILIES, "any")},
        "refuted": {name: refuted[name] / (2 * runs) for name in CLAIMS},
        "shown": {name: shown[name] / (2 * runs) for name in CLAIMS},
        "control_missed": {name: missed[name] / (2 * runs) for name in CLAIMS},
    }


def row(patients: int, each: int, made: int, fault: str, runs: int, options: argparse.Namespace) -> dict[str, Any]:
    """The rates of one case; each run has its own seed."""
    seeds = range(options.first_seed, options.first_seed + runs)
    audits = (
        one_audit(patients, each, made, fault, options.draws, generator(seed, "audit", str(patients), fault))
        for seed in seeds
    )
    case = {"test_patients": patients, "images_each": each, "synthetic_images": made, "fault": fault}
    return {**case, **rates(audits)}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs",
        type=int,
        default=200,
        help="made-up cohorts and sets for each row without a fault; a fifth for others",
    )
    parser.add_argument("--draws", type=int, default=60, help="halves of the patients behind each floor")
    parser.add_argument("--first-seed", type=int, default=0, help="run i has the seed first-seed + i")
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser.parse_args()


def main() -> None:
    """Runs all rows, prints a table, and writes JSON."""
    options = arguments()
    started = time.process_time()
    rows = []
    for patients, each, made, fault, share in ROWS:
        rows.append(row(patients, each, made, fault, round(share * options.runs), options))
        print(f"\n{patients} patients, {made} images, fault: {fault}; any claim {rows[-1]['family_wise']['any']:.1%}")
        for name in CLAIMS:
            shares = "  ".join(f"{key} {rows[-1][key][name]:6.1%}" for key in ("refuted", "shown", "control_missed"))
            print(f"  {name:25s} {shares}", flush=True)
    write_simulation(options.out, started, draws=options.draws, first_seed=options.first_seed, rows=rows)


if __name__ == "__main__":
    main()
