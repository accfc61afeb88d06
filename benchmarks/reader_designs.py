"""How often are verdicts on readers wrong where readers leave, two sets are read, or patients have several images?

    python benchmarks/reader_designs.py --out docs/results/reader_designs.json

No image is made and nobody reads: answers are drawn (scansynth.reader.statistics.designs), and judged by the rules of
docs/reader_statistics.md.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

from simulation import write_simulation

from scansynth.reader.statistics.arms import Compared, judge
from scansynth.reader.statistics.designs import Arms, compared_power, left_early, several_images, two_sets
from scansynth.reader.statistics.mrmc import average
from scansynth.reader.statistics.simulation import World, true_auc
from scansynth.reader.statistics.verdict import Outcome, decide
from scansynth.seeds import generator
from scansynth.statistics import Interval

IMAGES, MARGIN, LEVEL = 200, 0.1, 0.95
BASE = 0.55  # AUC of the second set
LEAVERS = ((3, 1), (5, 2), (8, 3))
READERS, APART = (3, 5, 8, 12), (0.0, 0.05)


def holds(interval: Interval, value: float) -> bool:
    """Whether the value lies within."""
    return interval.low <= value <= interval.high


def leaving(readers: int, leavers: int, spread: float, runs: int, seed: int) -> dict[str, Any]:
    """Coverage of 0.5 when some readers leave after half of the images or later, and who is called equivalent."""
    held: Counter[str] = Counter()
    for run in range(runs):
        rng = generator(seed, "leaving", readers, leavers, spread, run)
        found = left_early(World(0.5, spread), readers, IMAGES, leavers, rng).general
        held["held"] += holds(found.interval(LEVEL), 0.5)
        held["distinguishable"] += decide(found, MARGIN, LEVEL).outcome is Outcome.DISTINGUISHABLE
    return {"readers": readers, "leave": leavers, "reader_sd": spread} | {name: held[name] / runs for name in held}


def comparing(readers: int, apart: float, runs: int, seed: int) -> dict[str, Any]:
    """Two sets that do not differ: coverage of 0, and how often a difference is called."""
    held: Counter[str] = Counter()
    world = Arms(apart_sd=apart)
    for run in range(runs):
        found = two_sets(world, readers, IMAGES, generator(seed, "comparing", readers, apart, run))
        outcome = judge(found, MARGIN, LEVEL).outcome
        held["held"] += holds(found.interval(LEVEL), 0.0)
        held["called_different"] += outcome in {Compared.DIFFERENT, Compared.WITHIN}
        held["equivalent"] += outcome in {Compared.EQUIVALENT, Compared.WITHIN}
    names = ("held", "called_different", "equivalent")
    return {"readers": readers, "apart_sd": apart} | {name: held[name] / runs for name in names}


def apart_by(difference: float, apart: float, seed: int) -> Arms:
    """Two sets whose AUCs, with six answers, differ by so much."""
    spread = math.hypot(Arms().reader_sd, apart / 2.0)

    def answered(auc: float) -> float:
        return true_auc(World(auc, spread), generator(seed, "margin"))

    low, high, base = 0.0, 2.0 * difference, answered(BASE)
    for _ in range(20):
        middle = (low + high) / 2.0
        above = answered(BASE + middle) - base > difference
        low, high = (low, middle) if above else (middle, high)
    return Arms(auc=BASE, difference=(low + high) / 2.0, apart_sd=apart)


def differing(readers: int, apart: float, runs: int, seed: int) -> dict[str, Any]:
    """Two sets whose AUCs differ by the margin, and by twice as much."""
    rows: dict[str, Any] = {"readers": readers, "apart_sd": apart}
    for name, difference in (("at_margin", MARGIN), ("at_twice", 2 * MARGIN)):
        found = compared_power(apart_by(difference, apart, seed), readers, IMAGES, MARGIN, LEVEL, runs, seed)
        rows[f"{name}_equivalent"] = round(found[Compared.EQUIVALENT] + found[Compared.WITHIN], 4)
        rows[f"{name}_different"] = round(found[Compared.DIFFERENT] + found[Compared.WITHIN], 4)
    return rows


def patients(readers: int, each: int, same: float, runs: int, seed: int) -> dict[str, Any]:
    """Coverage of 0.5 with several images of each patient, their patients known and taken for others."""
    held: Counter[str] = Counter()
    for run in range(runs):
        rng = generator(seed, "patients", readers, each, same, run)
        world = World(0.5, 0.0, shared=0.5)
        scores, truth, names = several_images(world, readers, 60 // each, each, same, rng)
        for name, groups in (("known", names), ("taken_for_others", None)):
            held[name] += holds(average(scores, truth, groups).general.interval(LEVEL), 0.5)
    return {"readers": readers, "each": each, "same": same} | {
        name: held[name] / runs for name in ("known", "taken_for_others")
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="simulated studies for each row")
    parser.add_argument("--first-seed", type=int, default=0, help="of the draws")
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser.parse_args()


def main() -> None:
    """Runs all rows, prints them, and writes JSON."""
    options = arguments()
    started = time.process_time()
    runs, seed = options.runs, options.first_seed
    tables = {
        "readers_who_leave": [leaving(*who, spread, runs, seed) for who in LEAVERS for spread in (0.0, 0.1)],
        "two_sets": [comparing(readers, apart, runs, seed) for readers in READERS for apart in APART],
        "two_sets_that_differ": [differing(readers, apart, runs, seed) for readers in READERS for apart in APART],
        "several_images": [patients(readers, 3, same, runs, seed) for readers in (5, 8) for same in (0.5, 1.0)],
    }
    for name, rows in tables.items():
        for row in rows:
            print(name, row, flush=True)
    write_simulation(
        options.out,
        started,
        runs=runs,
        first_seed=seed,
        images=IMAGES,
        margin=MARGIN,
        level=LEVEL,
        tables=tables,
    )


if __name__ == "__main__":
    main()
