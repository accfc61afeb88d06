"""Training a detector of the trial beside the plain way, and its grid in local processes beside Ray.

    python benchmarks/utility_speed.py [--dicom FOLDER --labels CSV --positive LABEL] [--steps N] [--repeats R]

The plain way is what a tutorial does for each arm: a PyTorch `DataLoader` whose dataset reads a DICOM file with
pydicom, brings it to [-1, 1] and to size by the same transforms, and augments it; then the same network, batch,
optimiser and number of steps. It runs once in float32 as tutorials do, and once with our number format and memory
layout, which leaves the data's way alone as the difference. Every side runs by turns in a process of its own, on one
thread. Then a small grid runs in two local processes and in two workers of Ray.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

_MEBI = 1024  # ru_maxrss counts KiB on Linux
_WORKERS, _BATCH, _SIZE = 2, 32, 64
SIDES = ("ours", "plain", "plain_same_format")
ENGINES = {"local": "", "ray": "local"}


def make_study(options: argparse.Namespace, folder: Path, **utility: Any) -> Any:
    """The study that all sides work on; it is ingested where it is not yet."""
    from scansynth.config import StudyConfig  # noqa: PLC0415
    from scansynth.data.ingest import ingest  # noqa: PLC0415 - each child imports only its side
    from scansynth.dicom.deidentify import InstitutionKey  # noqa: PLC0415
    from scansynth.study import Study  # noqa: PLC0415

    patch = options.positive == "nodule" and options.modality == "CT"
    cohort = {
        "dicom": str(options.dicom),
        "labels": str(options.labels),
        "positive": options.positive,
        "size": _SIZE,
        "view": "patch" if patch else "chest",
    }
    config = StudyConfig.model_validate({"cohort": cohort})
    settings = config.utility.model_copy(update={"batch": _BATCH, "network": "small", "lesions": "off", **utility})
    study = Study(folder, config.model_copy(update={"utility": settings}))
    if not study.cohort.exists():
        ingest(study, InstitutionKey(b"benchmark key" * 3), lambda done, total, note="": None)
    return study


def ours(options: argparse.Namespace) -> dict[str, float]:
    """One arm as a job trains it: images in memory, half a batch positive."""
    from scansynth.data.fractions import train_part  # noqa: PLC0415
    from scansynth.data.tensors import load_cohort  # noqa: PLC0415
    from scansynth.learning.device import pick_device  # noqa: PLC0415
    from scansynth.utility.arms import phases_of  # noqa: PLC0415
    from scansynth.utility.detector.fit import FitSettings, fit  # noqa: PLC0415
    from scansynth.utility.pools import divide, gather  # noqa: PLC0415

    study = make_study(options, options.study)
    began = time.perf_counter()
    cohort = load_cohort(study.cohort)
    division = divide(cohort, train_part(cohort, 1.0, 0))
    pools = gather(cohort, division, "basic", 0.0, [], "small", False, 0)
    ready = time.perf_counter() - began
    settings = FitSettings("small", False, options.steps, _BATCH, 2e-3)
    fitted = fit(pools.material, phases_of("basic", pools.sources, 0.0, 0), settings, plan(options), 0, pick_device())
    return {"seconds": fitted.seconds, "cpu_seconds": fitted.processor_seconds, "prepare_seconds": ready}


def plan(options: argparse.Namespace) -> Any:
    """The augmentation of all sides."""
    from scansynth.data.augment import plan_augmentation  # noqa: PLC0415
    from scansynth.data.permission import permission  # noqa: PLC0415
    from scansynth.recipe import AugmentationSettings  # noqa: PLC0415

    return plan_augmentation(AugmentationSettings(rotation_degrees=15.0), permission(options.modality, "patch"))


def read_image(path: Path) -> Any:
    """One scan as a tensor (1, size, size) in [-1, 1], by the transforms that ingest uses."""
    import numpy as np  # noqa: PLC0415
    import pydicom  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from pydicom.pixels import apply_rescale  # noqa: PLC0415

    from scansynth.data.transforms import resize, series_window, to_window  # noqa: PLC0415

    dataset = pydicom.dcmread(path)
    values = np.asarray(apply_rescale(dataset.pixel_array, dataset), np.float32)
    window = (-1000.0, 400.0) if dataset.Modality == "CT" else series_window([values], (0.5, 99.5))
    return torch.from_numpy(resize(to_window(values, *window), (_SIZE, _SIZE)))[None]


class Scans:
    """A dataset that reads a scan each time it is asked for one."""

    def __init__(self, rows: list[dict[str, str]], folder: Path, positive: str) -> None:
        self.paths = [folder / row["path"] for row in rows]
        self.labels = [float(row["label"] == positive) for row in rows]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> tuple[Any, float]:
        return read_image(self.paths[place]), self.labels[place]


def plain(options: argparse.Namespace, same_format: bool = False) -> dict[str, float]:
    """One arm as a tutorial trains it, with the same batches: half positive, each image once a pass."""
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from torch.nn import functional  # noqa: PLC0415
    from torch.utils.data import DataLoader  # noqa: PLC0415

    from scansynth.data.augment import apply, draw  # noqa: PLC0415
    from scansynth.learning.device import pick_device  # noqa: PLC0415
    from scansynth.utility.detector.material import Phase, dealt_batches  # noqa: PLC0415
    from scansynth.utility.detector.networks import build  # noqa: PLC0415

    with options.labels.open(encoding="utf-8", newline="") as stream:
        data = Scans(list(csv.DictReader(stream)), options.dicom, options.positive)
    positive = np.array(data.labels) > 0.5
    phase = Phase(1.0, np.flatnonzero(positive), np.flatnonzero(~positive), True)
    batches = [batch.tolist() for batch in dealt_batches(phase, options.steps, _BATCH, 0)]
    began, began_cpu = time.perf_counter(), time.process_time()
    device, network = pick_device(), build("small", _SIZE, False)
    layout = device.memory_format if same_format else torch.contiguous_format
    network.to(memory_format=layout)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    random, augmentation = torch.Generator().manual_seed(0), plan(options)
    for images, labels in DataLoader(data, batch_sampler=batches, num_workers=0):
        shown = apply(images, draw(augmentation, len(images), random)).contiguous(memory_format=layout)
        with device.autocast() if same_format else contextlib.nullcontext():
            logits, _ = network(shown)
        loss = functional.binary_cross_entropy_with_logits(logits.float(), labels.float())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - began_cpu}


def grid(options: argparse.Namespace, engine: str) -> dict[str, float]:
    """A small grid of three arms and two pairs, from the start of its workers to its last job."""
    from scansynth.files import read_json  # noqa: PLC0415
    from scansynth.utility.grid import declare, run_grid, write_plan  # noqa: PLC0415

    work = options.study.with_name(f"grid-{engine}-{time.time_ns()}")
    work.mkdir()
    (work / "cohort").symlink_to(options.study / "cohort")
    study = make_study(options, work, arms=("real", "basic", "duplicates"), pairs=2, steps=options.grid_steps)
    place = study.config.engine.model_copy(update={"workers": _WORKERS, "address": ENGINES[engine]})
    study = type(study)(study.folder, study.config.model_copy(update={"engine": place}))
    declared = declare(study, lambda fraction, pair, without: ())
    write_plan(study, declared)
    began = time.perf_counter()
    run_grid(study, declared)
    seconds = time.perf_counter() - began
    fits = [read_json(spec.folder / "fit.json") for spec in declared.specs]
    return {
        "seconds": seconds,
        "jobs": len(fits),
        "cpu_seconds": sum(fit["fit_processor_seconds"] for fit in fits),
        "outside_seconds": seconds - sum(fit["job_seconds"] for fit in fits) / _WORKERS,
        "job_peak_mib": max(fit["peak_mib"] for fit in fits),
    }


def child(options: argparse.Namespace) -> None:
    """Runs one side and prints its figures as JSON."""
    if options.child == "ingest":
        make_study(options, options.study)
        figures: dict[str, float] = {}
    elif options.child in ENGINES:
        figures = grid(options, options.child)
    else:
        figures = ours(options) if options.child == "ours" else plain(options, options.child == "plain_same_format")
    figures["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEBI
    print(json.dumps(figures))


def measure(options: argparse.Namespace, side: str) -> dict[str, float]:
    """One side in a fresh process."""
    command = [sys.executable, __file__, "--child", side, "--study", str(options.study)]
    for name in ("dicom", "labels", "positive", "modality", "steps", "grid_steps"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"the side {side} failed")
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values)}


def ratios(mine: list[dict[str, float]], theirs: list[dict[str, float]], key: str) -> dict[str, float]:
    """Spread of the ratios theirs / mine of the runs that stood side by side."""
    return spread([other[key] / one[key] for one, other in zip(mine, theirs, strict=True)])


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """All sides by turns."""
    load = os.getloadavg()[0]
    measure(options, "ingest")
    engines = [name for name in ENGINES if name != "ray" or ray_is_there()]
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in (*SIDES, *engines)}
    for _ in range(options.repeats):
        for side in (*SIDES, *engines):
            runs[side].append(measure(options, side))
    result: dict[str, Any] = {
        "steps": options.steps,
        "batch": _BATCH,
        "size": _SIZE,
        "repeats": options.repeats,
        "seconds_per_step": {side: spread([run["seconds"] / options.steps for run in runs[side]]) for side in SIDES},
        "cpu_seconds_per_step": {
            side: spread([run["cpu_seconds"] / options.steps for run in runs[side]]) for side in SIDES
        },
        "peak_mib": {side: spread([run["peak_mib"] for run in runs[side]]) for side in SIDES},
        "prepare_seconds_ours": spread([run["prepare_seconds"] for run in runs["ours"]]),
        "times_faster_by_the_clock": {side: ratios(runs["ours"], runs[side], "seconds") for side in SIDES[1:]},
        "times_faster_by_processor_time": {side: ratios(runs["ours"], runs[side], "cpu_seconds") for side in SIDES[1:]},
        "grid": {
            "jobs": int(runs["local"][0]["jobs"]),
            "steps": options.grid_steps,
            "workers": _WORKERS,
            **{name: {"seconds": spread([run["seconds"] for run in runs[name]]),
                      "outside_jobs_seconds": spread([run["outside_seconds"] for run in runs[name]]),
                      "job_peak_mib": spread([run["job_peak_mib"] for run in runs[name]])}
               for name in engines},
        },
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}",
        "load_average": load,
        "command": " ".join(["python", *sys.argv]),
    }  # fmt: skip
    if "ray" in engines:
        result["grid"]["ray_to_local"] = ratios(runs["local"], runs["ray"], "seconds")
    return result


def ray_is_there() -> bool:
    """Whether Ray, an extra, is installed."""
    import importlib.util  # noqa: PLC0415

    return importlib.util.find_spec("ray") is not None


def main() -> None:
    """Parses the command line; without --dicom a phantom is written first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dicom", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--positive", default="nodule")
    parser.add_argument("--modality", default="MR")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--grid-steps", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    parser.add_argument("--study", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", choices=("ingest", *SIDES, *ENGINES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    with tempfile.TemporaryDirectory() as place:
        options.study = Path(place).resolve() / "study"
        if options.dicom is None:
            options.dicom = Path(place) / "phantom"
            options.labels = options.dicom / "labels.csv"
            program = (
                "import sys; from scansynth.phantom.cohort import write_phantom_cohort; from pathlib import Path; "
                "write_phantom_cohort(Path(sys.argv[1]), patients=120, size=128, seed=0)"
            )
            # in a process of its own, so that this one stays small and its children measure themselves
            subprocess.run([sys.executable, "-c", program, str(options.dicom)], check=True)
        options.dicom, options.labels = options.dicom.resolve(), options.labels.resolve()
        result = compare(options)
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
