"""How often are the verdicts on readers wrong, and what does a reader study of some size show? Made-up readers.

    python benchmarks/reader_error_rates.py --out docs/results/reader_error_rates.json

No image is made and nobody reads: answers of readers are drawn (scansynth.reader.statistics.simulation), and judged by
the rule of docs/reader_statistics.md. Readers' AUCs differ by a standard deviation of 0, 5, 10 or 21.5 points; a fifth
of the variance of a score belongs to the image and is the same for all readers.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from simulation import write_simulation

from scansynth.reader.statistics.crossed import crossed_logit
from scansynth.reader.statistics.planning import exact_images, power, share_power
from scansynth.reader.statistics.roc import quantile
from scansynth.reader.statistics.simulation import (
    ShareWorld,
    World,
    pooled_interval,
    readings,
    share_interval,
    study,
    true_auc,
)
from scansynth.reader.statistics.verdict import Outcome, decide
from scansynth.seeds import generator
from scansynth.statistics import Interval

READERS, SPREADS = (2, 3, 4, 5, 8, 12), (0.0, 0.05, 0.10, 0.215)
IMAGES, MARGIN, LEVEL = 200, 0.1, 0.95
SHARE_DESIGNS = ((2, 100), (5, 200), (8, 200), (12, 100))
AUC_DESIGNS = tuple((readers, images) for readers in (3, 5, 8, 12) for images in (100, 200, 400))


def holds(interval: Interval, value: float) -> bool:
    """Whether the value lies within."""
    return interval.low <= value <= interval.high


def coverage(readers: int, spread: float, runs: int, seed: int) -> dict[str, Any]:
    """How often 95% intervals hold the AUC when there is nothing to see."""
    world = World(0.5, spread)
    held: Counter[str] = Counter()
    outcomes: Counter[Outcome] = Counter()
    for run in range(runs):
        found = study(world, readers, IMAGES, generator(seed, "coverage", readers, spread, run))
        held["ours"] += holds(found.general.interval(LEVEL), 0.5)
        held["these_readers"] += holds(found.these.interval(LEVEL), 0.5)
        away = abs(found.general.auc - 0.5)
        for name, freedom in (("hillis", found.hillis), ("r_minus_1", readers - 1.0)):
            held[name] += away <= quantile((1 + LEVEL) / 2, freedom) * found.general.error
        outcomes[decide(found.general, MARGIN, LEVEL).outcome] += 1
    return {
        "readers": readers,
        "reader_sd": spread,
        "held": {name: held[name] / runs for name in ("ours", "hillis", "r_minus_1", "these_readers")},
        "outcomes": {outcome.value: outcomes[outcome] / runs for outcome in Outcome},
    }


def at_the_margin(spread: float, seed: int) -> World:
    """A world whose true AUC, with six answers, is 0.5 plus the margin."""
    low, high = 0.5 + MARGIN, 0.5 + 2 * MARGIN
    for _ in range(20):
        middle = (low + high) / 2
        above = true_auc(World(middle, spread), generator(seed, "margin")) > 0.5 + MARGIN
        low, high = (low, middle) if above else (middle, high)
    return World((low + high) / 2, spread)


def false_equivalence(readers: int, spread: float, runs: int, seed: int) -> dict[str, Any]:
    """How often equivalence is shown when the AUC lies at the margin: 5% at most is promised."""
    found = power(at_the_margin(spread, seed), readers, IMAGES, MARGIN, LEVEL, runs, seed)
    shown = found[Outcome.EQUIVALENT] + found[Outcome.WITHIN]
    return {"readers": readers, "reader_sd": spread, "equivalence_shown": shown}


def auc_power(readers: int, images: int, spread: float, runs: int, seed: int) -> dict[str, Any]:
    """How often equivalence within the margin is shown when there is nothing to see."""
    found = power(World(0.5, spread), readers, images, MARGIN, LEVEL, runs, seed)
    shown = found[Outcome.EQUIVALENT] + found[Outcome.WITHIN]
    return {"readers": readers, "images": images, "reader_sd": spread, "equivalence_shown": shown}


def share_coverage(spread: float, runs: int, seed: int) -> dict[str, Any]:
    """Two readers of 100 synthetic images: how often intervals of "called real" hold one half."""
    world = ShareWorld(0.5, spread)
    held: Counter[str] = Counter()
    for run in range(runs):
        calls = world.calls(2, 100, generator(seed, "shares", spread, run))
        held["pooled_wilson"] += holds(pooled_interval(calls, LEVEL), 0.5)
        held["two_way"] += holds(share_interval(calls, LEVEL), 0.5)
    return {"reader_sd": spread, **{name: held[name] / runs for name in ("pooled_wilson", "two_way")}}


def logit_coverage(readers: int, spread: float, runs: int, seed: int) -> dict[str, Any]:
    """How often the crossed logit's 95% interval holds no difference."""
    fits = []
    for run in range(runs):
        rng = generator(seed, "crossed", readers, spread, run)
        fits.append(crossed_logit(*readings(World(0.5, spread), readers, IMAGES // 2, IMAGES // 2, rng)))
    converged = [fit for fit in fits if fit.converged]
    held = float(np.mean([holds(fit.interval(LEVEL), 0.0) for fit in converged]))
    return {"readers": readers, "reader_sd": spread, "converged": len(converged) / runs, "held": held}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="simulated studies for each row; a tenth for the logit")
    parser.add_argument("--first-seed", type=int, default=0, help="of the draws")
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser.parse_args()


def main() -> None:
    """Runs all rows, prints them, and writes JSON."""
    options = arguments()
    started = time.process_time()
    runs, seed = options.runs, options.first_seed
    few = max(runs // 10, 1)
    tables = {
        "coverage": [coverage(readers, spread, runs, seed) for readers in READERS for spread in SPREADS],
        "false_equivalence": [
            false_equivalence(readers, spread, runs, seed) for readers in READERS[1:] for spread in SPREADS[:3]
        ],
        "power": [
            auc_power(readers, images, spread, runs, seed) for spread in (0.05, 0.10) for readers, images in AUC_DESIGNS
        ],
        "shares": {
            "one_reader": {str(margin): exact_images(margin) for margin in (0.10, 0.05)},
            "power": [
                {
                    "readers": readers,
                    "images": images,
                    "reader_sd": 0.10,
                    "equivalence_shown": share_power(ShareWorld(0.5, 0.10), readers, images, MARGIN, LEVEL, runs, seed),
                }
                for readers, images in SHARE_DESIGNS
            ],
            "two_readers": [share_coverage(spread, runs, seed) for spread in SPREADS],
        },
        "crossed_logit": [logit_coverage(readers, spread, few, seed) for readers in (3, 5) for spread in SPREADS],
    }
    for name, rows in tables.items():
        print(name)
        for row in rows if isinstance(rows, list) else rows.items():
            print("  ", row, flush=True)
    write_simulation(
        options.out,
        started,
        runs=runs,
        first_seed=seed,
        images=IMAGES,
        margin=MARGIN,
        level=LEVEL,
        shared_variance=World().shared,
        image_sd=ShareWorld().image_sd,
        tables=tables,
    )


if __name__ == "__main__":
    main()
