"""How often is the verdict on copies right? Made-up scores, judged by the rule of docs/evidence.md.

    python benchmarks/copies_error_rates.py --out docs/results/copies_error_rates.json

Three scores of calibrate images and of new patients are drawn from one normal distribution of variance 0.98, in which
half of the variance is shared by the images of a patient, and half of either half by the three scores of an image; a
copy scores far above all, and every planted copy is found. For the excess of the set, images of 8 x 8 pixels of normal
noise are made, half of whose variance the images of a patient share, and searched as scans are; a copy is a training
image with as much noise again as it holds. What is left is the luck of the draw, and how the rule deals with it.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from simulation import write_simulation

from scansynth.audit.questions.copies import Scores, assess
from scansynth.audit.questions.excess import Excess, Unsearched, excess
from scansynth.metrics.alone import open_alone
from scansynth.metrics.ncc import Flip
from scansynth.seeds import generator
from scansynth.statistics import Verdict

Floats = npt.NDArray[np.float64]

SCORES = 3
SIDE = 8
TRAIN_EACH = 3
SPREAD = 0.7  # between patients, and again between the images of one
WIDTH = 0.3  # what a score of 1 is on the scale of atanh
COPY = 9.0  # above any score that chance brings about
ROWS = (
    # calibrate patients, images of each, share of copies; five times as many train
    *((20, 1, 0.0), (10, 2, 0.0), (40, 1, 0.0), (20, 2, 0.0)),
    *((patients, 3, share) for patients in (20, 60, 100) for share in (0.0, 0.05, 0.10)),
)
TRAIN_TIMES = 5


def alike(count: int, rng: np.random.Generator) -> Floats:
    """Normal scores of `count` patients or images, half of whose variance the scores share, (SCORES, count)."""
    shared, own = rng.normal(0.0, SPREAD, (1, count)), rng.normal(0.0, SPREAD, (SCORES, count))
    return np.asarray((shared + own) / np.sqrt(2.0), dtype=np.float64)


def images(patients: int, each: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Normal noise, half of it shared by the images of a patient, (n, SIDE, SIDE); patient of each."""
    names = np.repeat(np.arange(patients), each)
    noise = rng.normal(size=(patients, SIDE, SIDE))[names] + rng.normal(size=(len(names), SIDE, SIDE))
    return (noise / np.sqrt(2.0)).astype(np.float32), names


def beyond(patients: int, each: int, copies: int, made: int, rng: np.random.Generator) -> Excess:
    """The excess of one made-up set of new patients, of which the first are noisy copies."""
    train, whose = images(TRAIN_TIMES * patients, TRAIN_EACH, rng)
    calibrate, names = images(patients, each, rng)
    fresh = images(made, 1, rng)[0]
    fresh[:copies] = train[rng.permutation(len(train))[:copies]] + rng.normal(size=(copies, SIDE, SIDE))
    search = open_alone(train, whose, (Flip.NONE,))
    own, _, nearest = search.own_left_out(train)
    held, _, place = search.nearest(calibrate)
    real = Unsearched(
        np.concatenate([own, held]),
        np.concatenate([whose, names + len(whose)]),
        whose[np.concatenate([nearest, place])],
        np.arange(len(own) + len(held)) < len(own),
    )
    return excess(search.nearest(fresh)[0], real)


def one_verdict(patients: int, each: int, copies: int, made: int, rng: np.random.Generator) -> tuple[Verdict, bool]:
    """The verdict on one made-up set, and whether its excess alone says `refuted`."""
    fresh = alike(made, rng) + alike(made, rng)
    fresh[:, :copies] = COPY
    names = np.repeat(np.arange(patients), each)
    calibrate = alike(patients, rng)[:, names] + alike(len(names), rng)
    planted = {"exact": np.tanh(np.full((SCORES, 50), WIDTH * COPY))}
    found = beyond(patients, each, copies, made, rng)
    scores = Scores(np.tanh(WIDTH * fresh), np.tanh(WIDTH * calibrate), names, planted, excess=found)
    return assess(scores, {}, 0.95, rng).claim.verdict, found.found


def row(patients: int, each: int, share: float, options: argparse.Namespace) -> dict[str, Any]:
    """Shares of the verdicts over all runs of one case; each run has its own seed."""
    copies = round(share * options.made)
    counts: Counter[Verdict] = Counter()
    by_excess = 0
    for run in range(options.runs):
        rng = generator(options.first_seed + run, "copies", str(patients), str(each), str(copies))
        verdict, alone = one_verdict(patients, each, copies, options.made, rng)
        counts[verdict] += 1
        by_excess += alone
    return {
        "calibrate_patients": patients,
        "images_each": each,
        "share_of_copies": share,
        **{verdict.value: counts[verdict] / options.runs for verdict in Verdict},
        "refuted by the excess": by_excess / options.runs,
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="made-up sets for each row")
    parser.add_argument("--made", type=int, default=400, help="synthetic images in a set")
    parser.add_argument("--first-seed", type=int, default=0, help="run i has the seed first-seed + i")
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser.parse_args()


def main() -> None:
    """Runs all rows, prints a table, and writes JSON."""
    options = arguments()
    started = time.process_time()
    rows = []
    print("patients  images each  copies      shown    refuted  not shown  not assessable  by the excess", flush=True)
    for patients, each, share in ROWS:
        rows.append(row(patients, each, share, options))
        shares = "  ".join(f"{rows[-1][verdict.value]:9.1%}" for verdict in Verdict)
        print(
            f"{patients:8d}  {each:11d}  {share:6.0%}  {shares}  {rows[-1]['refuted by the excess']:9.1%}", flush=True
        )
    write_simulation(
        options.out,
        started,
        runs=options.runs,
        first_seed=options.first_seed,
        synthetic_images=options.made,
        rows=rows,
    )


if __name__ == "__main__":
    main()
