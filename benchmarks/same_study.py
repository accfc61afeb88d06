"""Holds two studies against each other: are the generator's weights the same bytes, and the claims the same figures?

    python benchmarks/same_study.py before/study after/study --out docs/results/moves.json

Made for changes that only move and rename: make the same study (`make demo`) before and after, then compare. Whatever
differs is listed; the exit status is 1 when anything does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from scansynth.files import read_json, sha256_file, write_json

FIGURES = ("value", "unit", "interval", "level", "floor", "control", "margin", "direction", "verdict", "n", "roles")
"""What a claim states; its sentences may be worded anew."""


def claims_of(study: Path) -> dict[str, dict[str, Any]]:
    """Every claim of a study's audit by its name, judge and attribute."""
    content = read_json(next((study / "evidence").glob("*/claims.json")))
    rows = content["claims"] if isinstance(content, dict) else content
    return {" ".join((row["claim"], row["judge"], row["attribute"])).strip(): row for row in rows}


def compare(before: Path, after: Path) -> dict[str, Any]:
    """Digests of the weights, and every figure of a claim that is another."""
    weights = [sha256_file(next((study / "gan").glob("*/generator.safetensors"))) for study in (before, after)]
    old, new = claims_of(before), claims_of(after)
    differing = [
        f"{name}: {key}"
        for name in sorted(old.keys() & new.keys())
        for key in FIGURES
        if old[name][key] != new[name][key]
    ]
    return {
        "weights": weights,
        "weights_equal": weights[0] == weights[1],
        "claims": [len(old), len(new)],
        "claims_in_one_alone": sorted(old.keys() ^ new.keys()),
        "figures_compared": len(FIGURES) * len(old.keys() & new.keys()),
        "figures_that_differ": differing,
    }


def main() -> None:
    """Compares two studies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = {
        "command": f"python benchmarks/same_study.py before/study after/study --out {options.out}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        **compare(options.before, options.after),
    }
    print(json.dumps(found, indent=2))
    if options.out:
        write_json(options.out, found)
    sys.exit(0 if found["weights_equal"] and not found["figures_that_differ"] + found["claims_in_one_alone"] else 1)


if __name__ == "__main__":
    main()
