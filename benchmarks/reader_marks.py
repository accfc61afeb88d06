"""How often are verdicts on marks wrong, and how many readers and images do marks need?

    python benchmarks/reader_marks.py --out docs/results/reader_marks.json

No image is made and nobody reads: marks are drawn (scansynth.reader.statistics.searching), and judged by the rules of
docs/reader_statistics.md.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulation import write_simulation

from scansynth.reader.statistics.arms import Compared, judge
from scansynth.reader.statistics.searching import Search, power, study
from scansynth.seeds import generator

IMAGES, MARGIN, LEVEL = 200, 0.1, 0.95
READERS, APART = (3, 5, 8), (0.0, 0.05)


def row(readers: int, apart: float, runs: int, seed: int) -> dict[str, Any]:
    """No difference: coverage of 0 and verdicts; and verdicts at the margin, and at twice the margin."""
    world, held = Search(apart_sd=apart), Counter[str]()
    for run in range(runs):
        found = study(world, readers, IMAGES, generator(seed, "marks", readers, apart, run))
        outcome, wide = judge(found, MARGIN, LEVEL).outcome, found.interval(LEVEL)
        held["held"] += wide.low <= 0.0 <= wide.high
        held["called_different"] += outcome in {Compared.DIFFERENT, Compared.WITHIN}
        held["equivalent"] += outcome in {Compared.EQUIVALENT, Compared.WITHIN}
    rows: dict[str, Any] = {"readers": readers, "apart_sd": apart}
    rows |= {name: held[name] / runs for name in ("held", "called_different", "equivalent")}
    at, twice = (
        power(replace(world, difference=times * MARGIN), readers, IMAGES, MARGIN, LEVEL, runs, seed) for times in (1, 2)
    )
    rows["at_margin_equivalent"] = round(at[Compared.EQUIVALENT] + at[Compared.WITHIN], 4)
    rows["at_twice_different"] = round(twice[Compared.DIFFERENT] + twice[Compared.WITHIN], 4)
    return rows


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300, help="simulated studies for each row")
    parser.add_argument("--first-seed", type=int, default=0, help="of the draws")
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser.parse_args()


def main() -> None:
    """Runs all rows, prints them, and writes JSON."""
    options = arguments()
    started = time.process_time()
    rows = [row(readers, apart, options.runs, options.first_seed) for readers in READERS for apart in APART]
    for one in rows:
        print(one, flush=True)
    write_simulation(
        options.out,
        started,
        runs=options.runs,
        first_seed=options.first_seed,
        images=IMAGES,
        margin=MARGIN,
        level=LEVEL,
        marks=rows,
    )


if __name__ == "__main__":
    main()
