"""The default grid of a trial in local processes and through Ray, generators and sets given.

    python benchmarks/utility_engine.py --study STUDY --out docs/results/utility_engine.json [--order ray local]

STUDY is ingested, and holds the generators and sets of a default trial, as `benchmarks/utility.py` makes them. Every
side trains all detectors anew, in a folder of its own beside which the study stays as it is, with two workers of one
thread each. Ray is started on this machine; its start counts. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from scansynth.config import UtilitySettings
from scansynth.files import read_json, write_json
from scansynth.learning.device import pick_device
from scansynth.pipeline.utility import declared
from scansynth.study import Study, open_study
from scansynth.utility.grid import run_grid, write_plan
from scansynth.utility.job import FIT

WORKERS = 2
ADDRESSES = {"local": "", "ray": "local"}
GIVEN = ("study.toml", "cohort", "gan", "synthetic")


def run_side(given: Path, side: str, place: Path) -> dict[str, Any]:
    """All detectors of the default trial, trained again."""
    folder = place / "study"
    folder.mkdir()
    for name in GIVEN:
        (folder / name).symlink_to(given / name)
    study = open_study(folder)
    engine = study.config.engine.model_copy(update={"workers": WORKERS, "address": ADDRESSES[side]})
    study = Study(folder, study.config.model_copy(update={"engine": engine, "utility": UtilitySettings()}))
    grid = declared(study)
    write_plan(study, grid)
    load, began = os.getloadavg()[0], time.monotonic()
    run_grid(study, grid, lambda done, total, note="": print(f"  {side}: {done} of {total} {note}", flush=True))
    seconds = time.monotonic() - began
    fits = [read_json(spec.folder / FIT) for spec in grid.specs]
    of_jobs = sum(fit["job_seconds"] for fit in fits)
    return {
        "side": side,
        "seconds": round(seconds, 1),
        "jobs": len(fits),
        "job_seconds": round(of_jobs, 1),
        "outside_jobs_seconds": round(seconds - of_jobs / WORKERS, 1),
        "fit_processor_seconds": round(sum(fit["fit_processor_seconds"] for fit in fits), 1),
        "peak_mib_of_a_job": max(fit["peak_mib"] for fit in fits),
        "load_at_start": round(load, 1),
    }


def main() -> None:
    """Runs the sides in turn, and writes the result after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--order", nargs="+", choices=tuple(ADDRESSES), default=["ray", "local"])
    options = parser.parse_args()
    given, device = options.study.resolve(), pick_device()
    runs: list[dict[str, Any]] = []
    for side in options.order:
        with tempfile.TemporaryDirectory() as place:
            runs.append(run_side(given, side, Path(place).resolve()))
        seconds = {name: [run["seconds"] for run in runs if run["side"] == name] for name in ADDRESSES}
        ratio = sum(seconds["ray"]) / sum(seconds["local"]) if len(seconds["ray"]) == len(seconds["local"]) else None
        result = {
            "command": "python benchmarks/utility_engine.py --study STUDY --out docs/results/utility_engine.json "
            f"--order {' '.join(options.order)}",
            "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {device.kind}: {device.name}, "
            f"{device.precision}, Python {platform.python_version()}, torch {torch.__version__}",
            "workers": WORKERS,
            "runs": runs,
            "ray_to_local": None if ratio is None else round(ratio, 3),
        }
        write_json(options.out, result)
        print(runs[-1], flush=True)


if __name__ == "__main__":
    main()
