"""Holds two cohorts of the same scans against each other: the same images, pixels, labels, roles and patients?

    python benchmarks/same_cohort.py BEFORE AFTER [BEFORE AFTER ...] --out docs/results/same_cohort.json

Each is a study folder that was ingested, with the same seed, options and institution key, by two versions of the
program. Patients may carry other keyed hashes: what counts is that the same images belong together.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from scansynth.files import read_csv, write_json


def compare(before: Path, after: Path) -> dict[str, Any]:
    """Counts of what is the same, by the hash of each source file."""
    rows = [read_csv(study / "cohort" / "cases.csv") for study in (before, after)]
    pixels = [np.load(study / "cohort" / "images.npy", mmap_mode="r") for study in (before, after)]
    places = [{row["source_sha256"]: place for place, row in enumerate(own)} for own in rows]
    shared = sorted(places[0].keys() & places[1].keys())
    pairs = [(rows[0][places[0][name]], rows[1][places[1][name]]) for name in shared]
    together = {(old["patient"], new["patient"]) for old, new in pairs}
    reasons = [
        dict(Counter(row["reason"] for row in read_csv(study / "cohort" / "excluded.csv"))) for study in (before, after)
    ]
    return {
        "images": [len(own) for own in rows],
        "images_of_both": len(shared),
        "same_pixels": sum(
            np.array_equal(np.squeeze(pixels[0][places[0][name]]), np.squeeze(pixels[1][places[1][name]]))
            for name in shared
        ),
        "same_role": sum(old["role"] == new["role"] for old, new in pairs),
        "same_label": sum(old["label"] == new["label"] for old, new in pairs),
        "same_keyed_patient": sum(old["patient"] == new["patient"] for old, new in pairs),
        "patients": [len({row["patient"] for row in own}) for own in rows],
        "same_grouping": len(together) == len({old for old, _ in together}) == len({new for _, new in together}),
        "left_out": reasons,
    }


def main() -> None:
    """Compares pairs of studies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+", metavar="STUDY")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if len(options.studies) % 2:
        parser.error("give pairs of studies: before, after")
    pairs = zip(options.studies[::2], options.studies[1::2], strict=True)
    found: dict[str, Any] = {before.name: compare(before, after) for before, after in pairs}
    found["command"] = "python benchmarks/same_cohort.py BEFORE AFTER ... --out " + str(options.out)
    found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(found)
    if options.out:
        write_json(options.out, found)


if __name__ == "__main__":
    main()
