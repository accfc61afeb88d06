"""The utility trial on a study of public scans: every arm and control, doses, and shares of the train patients.

    python benchmarks/utility.py --study STUDY --out docs/results/utility.json [--parts default levers dose tenth ...]

STUDY is ingested; its generators may be trained already, by `scansynth utility` or before. Each part is a trial of its
own by the rules of docs/utility.md, with the settings below and nothing else changed; jobs that two parts share are
run once. What is finished is kept in the study, and the same command goes on; the result is written after each part.
The seconds of the default part count its detectors alone, with generators and sets given.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from scansynth.config import ARMS
from scansynth.console import Progress
from scansynth.engine.processes import worker_count
from scansynth.files import read_json, write_json
from scansynth.learning.device import pick_device
from scansynth.pipeline.supply import Supply, make_supplies, supplied, supplies
from scansynth.pipeline.utility import conclude, declared
from scansynth.study import RUN, Study, open_study
from scansynth.utility.grid import run_grid, write_plan
from scansynth.utility.job import FIT

LOW = ("basic", "basic-synthetic", "duplicates", "reserve")

PARTS: dict[str, dict[str, Any]] = {
    "default": {},
    "levers": {"arms": ARMS},
    "dose": {"arms": LOW, "ratios": (1.0, 0.0, 0.25, 0.5, 2.0, 5.0)},
    "tenth": {"arms": LOW, "fractions": (0.1,)},
    "quarter": {"arms": LOW, "fractions": (0.25,)},
    "half": {"arms": LOW, "fractions": (0.5,)},
    "rival": {"arms": ("basic", "duplicates", "copy-paste", "reserve"), "fractions": (0.1, 0.25)},
}
"""Settings of `utility` that each part changes, written before any detector was trained; the doses 2 and 5, which the
trial's plan names too, joined when those up to 1 were known, and `rival`, which needs no generator, when all were."""

TIMES = ("load_at_start", "jobs_run_now", "seconds_now", "workers")


@contextlib.contextmanager
def bar(title: str) -> Iterator[Progress]:
    """A line a minute."""
    last = [time.monotonic()]

    def tell(done: int, total: int, note: str = "") -> None:
        if time.monotonic() - last[0] > 60.0 or done == total:
            last[0] = time.monotonic()
            print(f"  {title}: {done} of {total} {note}", flush=True)

    yield tell


def with_settings(study: Study, part: str) -> Study:
    """The study with the settings of a part."""
    settings = study.config.utility.model_copy(update=PARTS[part])
    return Study(study.folder, study.config.model_copy(update={"utility": settings}))


def images_of(study: Study) -> int:
    """Images of the largest set that the study's trial needs; 0 where it needs none."""
    return max((supply.images for supply in supplies(study)), default=0)


def generator_facts(study: Study, supply: Supply) -> dict[str, Any]:
    """What stands of one generator beside its weights."""
    run = read_json(supplied(study, supply).run() / RUN)
    return {"run": supply.run} | {key: run[key] for key in ("train_images", "images_seen", "level", "device")}


def run_part(study: Study, part: str, even_if_collapsed: bool) -> dict[str, Any]:
    """One trial, and what it took."""
    own = with_settings(study, part)
    with bar("generators") as progress:
        make_supplies(own, progress, print, even_if_collapsed=even_if_collapsed)
    grid = declared(own)
    write_plan(own, grid)
    began = time.monotonic()
    with bar("detectors") as progress:
        ran = run_grid(own, grid, progress)
    seconds = time.monotonic() - began
    with bar("analysis") as progress:
        analysis = conclude(own, grid, progress)
    facts = [read_json(spec.folder / FIT) for spec in grid.specs]
    for contrast in analysis.blocks[0].contrasts:
        print(f"  {part}: {contrast.arm} less {contrast.other}: {contrast.verdict.value}. {contrast.why}", flush=True)
    return {
        "plan_sha256": grid.plan["sha256"],
        "settings": grid.plan["settings"],
        "roles": grid.plan["roles"],
        "fit": grid.plan["fit"],
        "jobs": len(grid.specs),
        "jobs_run_now": len(ran),
        "seconds_now": round(seconds, 1),
        "job_seconds": round(sum(fact["job_seconds"] for fact in facts), 1),
        "fit_processor_seconds": round(sum(fact["fit_processor_seconds"] for fact in facts), 1),
        "peak_mib_of_a_job": max(fact["peak_mib"] for fact in facts),
        "generators": [generator_facts(own, supply) for supply in supplies(own)],
        "workers": worker_count(own.config.engine, len(grid.specs)),
        "analysis": analysis.as_json(),
    }


def main() -> None:
    """Runs the parts that are asked for, and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=tuple(PARTS))
    parser.add_argument("--even-if-collapsed", action="store_true")
    arguments = parser.parse_args()
    study = open_study(arguments.study)
    summary: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    summary["command"] = "python benchmarks/utility.py --study STUDY --out docs/results/utility.json"
    device = pick_device()
    summary["machine"] = (
        f"{platform.machine()}, {device.kind}: {device.name}, {device.precision}, Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )
    with study.lock():
        for part in sorted(arguments.parts, key=lambda part: -images_of(with_settings(study, part))):
            with bar("sets") as progress:  # the largest first: drawn once, they serve all parts
                even = arguments.even_if_collapsed
                make_supplies(with_settings(study, part), progress, print, even_if_collapsed=even)
        for part in arguments.parts:
            load = {"load_at_start": round(os.getloadavg()[0], 1)}
            before, now = summary.get(part, {}), load | run_part(study, part, arguments.even_if_collapsed)
            if not now["jobs_run_now"]:  # only analysed again: what the jobs took stands
                now |= {key: before[key] for key in TIMES if key in before}
            summary[part] = now
            summary["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            write_json(arguments.out, summary)
            print(f"wrote {arguments.out} ({part})", flush=True)


if __name__ == "__main__":
    main()
