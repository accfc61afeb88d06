"""Training side by side with the loop that a tutorial gives: images per second, memory, share of the roofline.

    python benchmarks/train_throughput.py [--size 256] [--width 64] [--batch 16] [--seconds 60] [--repeats 5]
        [--threads N] [--dicom FOLDER] [--sides ours tutorial compiled] [--out results.json]

All sides train the same networks at the same batch, by turns, each in a process of its own; start-up and the
first rounds are not timed. The tutorial's side follows PyTorch's DCGAN tutorial: float32, NCHW, Adam as it
comes, a DataLoader with two workers that decodes DICOM in every epoch and normalises it in Python, two backward
passes in the discriminator's step, and `.item()` after each step. Ours is `scansynth.gan.training_loop.train`
itself, with augmentation, replay, log and monitor. The third side that can be named,
`compiled`, is ours with both networks through `torch.compile`, on a GPU with CUDA graphs; it needs a C++ compiler.

Memory is looked at ten times on the way, so that one sees whether it grows. The profile names the operators that
take the time of ten rounds.

Operations are those of torch's counter; bytes are what each operation reads and writes, as if no cache helped.
The roofline is what this machine reaches in a large product and a large copy.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from scansynth.config import TrackingSettings
from scansynth.data.augment import plan_augmentation
from scansynth.data.permission import permission
from scansynth.data.tensors import to_signed, to_stored
from scansynth.gan import training_loop
from scansynth.gan.models.dcgan import Dcgan
from scansynth.gan.models.families import complete, family_of
from scansynth.gan.models.family import Batch, Form
from scansynth.gan.start import new_state
from scansynth.gan.state import TrainingState
from scansynth.gan.training_loop import TrainingJob, train
from scansynth.gan.watching.collapse import RealImages
from scansynth.learning.device import Device, pick_device
from scansynth.phantom.cohort import write_phantom_cohort
from scansynth.recipe import Recipe, load_recipe

WARM_UP = 4  # rounds that are not timed
FILLED_AFTER = 2  # rounds until the history of fakes is full, as it is in a long run
PROFILED = 10
MEMORY_LOOKS = 10
PUBLISHED_IMAGES = 280_000
TARGET = 8.0  # times the tutorial's speed, on a CPU with AMX


def read_image(path: Path, size: int) -> NDArray[np.float32]:
    """One DICOM image, decoded and brought to [-1, 1] by its own percentiles: (size, size)."""
    pixels = pydicom.dcmread(path).pixel_array.astype(np.float32)
    low, high = np.percentile(pixels, [0.5, 99.5])
    scaled = np.clip((pixels - low) / max(float(high - low), 1e-6), 0.0, 1.0) * 2.0 - 1.0
    if scaled.shape != (size, size):
        whole = torch.from_numpy(scaled)[None, None]
        scaled = nn.functional.interpolate(whole, (size, size), mode="bilinear", antialias=True)[0, 0].numpy()
    return scaled.astype(np.float32)


class DicomImages(Dataset[Tensor]):
    """The tutorial's data set: a file is decoded whenever it is asked for."""

    def __init__(self, files: list[Path], size: int) -> None:
        self.files, self.size = files, size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(read_image(self.files[index], self.size))[None]


class Enough(Exception):
    """The time of a measurement is over."""


class Stopwatch:
    """Counts the images between its warm-up and the end of its time."""

    def __init__(self, batch: int, seconds: float) -> None:
        self.batch, self.seconds = batch, seconds
        self.rounds, self.began, self.rate = 0, 0.0, 0.0
        self.memory: list[float] = []

    def round_done(self) -> None:
        """Call it after each round; raises `Enough` when the time is over."""
        self.rounds += 1
        if self.rounds == WARM_UP:
            _wait()
            self.began = time.perf_counter()
        elif self.rounds > WARM_UP:
            passed = time.perf_counter() - self.began
            if passed >= self.seconds * (len(self.memory) + 1) / MEMORY_LOOKS:
                self.memory.append(memory_now())
            if passed >= self.seconds:
                _wait()
                self.rate = (self.rounds - WARM_UP) * self.batch / (time.perf_counter() - self.began)
                raise Enough


def memory_now() -> float:
    """Memory that this process holds, on the GPU where there is one, MiB."""
    if torch.cuda.is_available():
        return torch.cuda.memory_reserved() / 2**20
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def job_of(folder: Path, images: NDArray[np.uint16], recipe: Recipe) -> TrainingJob:
    """A training of images (n, 1, side, side), which does nothing beside it: it is watched against its own images."""
    signed = to_signed(images)
    return TrainingJob(
        folder=folder,
        images=images,
        labels=np.zeros(len(images), np.int64),
        patients=len(images),
        form=Form((images.shape[2], images.shape[3]), 1, 1),
        watched=RealImages(signed, signed, tuple(map(str, range(len(images)))), "itself"),
        chosen_on=None,
        recipe=recipe,
        plan=plan_augmentation(recipe.augmentation, permission("MR", "chest")),
        seed=0,
        inputs="0" * 64,
        tracking=TrackingSettings(),
        wandb_mode="offline",
        checkpoint_minutes=1e6,
        keep=2,
    )


def run_ours(files: list[Path], recipe: Recipe, size: int, device: Device, watch: Stopwatch) -> None:
    """Our loop, from the same files; they are decoded once, before it."""
    images = np.stack([to_stored(read_image(path, size)) for path in files])[:, None]
    with tempfile.TemporaryDirectory() as folder:
        job = job_of(Path(folder), images, recipe)
        train(job, device, lambda done, total, note="": watch.round_done(), print)


def run_compiled(files: list[Path], recipe: Recipe, size: int, device: Device, watch: Stopwatch) -> None:
    """Our loop with compiled networks; compiling falls into the first rounds."""
    real = training_loop.new_state

    def compiled(*arguments: Any) -> Any:
        state = real(*arguments)
        for network in (state.generator, state.discriminator):
            network.compile(mode="reduce-overhead" if device.kind == "cuda" else "default")
        return state

    training_loop.new_state = compiled
    run_ours(files, recipe, size, device, watch)


def run_tutorial(files: list[Path], recipe: Recipe, size: int, device: Device, watch: Stopwatch) -> None:
    """The tutorial's loop, in its order, with the labels and rates of the recipe."""
    place, family = device.torch_device, family_of(recipe)
    assert isinstance(family, Dcgan)
    networks, losses = family.build((size, size), 1, 1), family.loss
    generator, discriminator, length = networks.generator.to(place), networks.discriminator.to(place), networks.noise
    rate, betas = recipe.optimiser.learning_rate, recipe.optimiser.betas
    optimiser_d = torch.optim.Adam(discriminator.parameters(), lr=rate, betas=betas)
    optimiser_g = torch.optim.Adam(generator.parameters(), lr=rate, betas=betas)
    criterion = nn.BCEWithLogitsLoss()
    images = DicomImages(files, size)
    loader = DataLoader(
        images, recipe.schedule.batch, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True
    )
    while True:
        for batch in loader:
            real = batch.to(place)
            discriminator.zero_grad()
            output = discriminator(real).view(-1)
            label = torch.full_like(output, losses.real_target)
            error_real = criterion(output, label)
            error_real.backward()
            said_real = output.sigmoid().mean().item()
            fake = generator(torch.randn(len(real), length, device=place))
            output = discriminator(fake.detach()).view(-1)
            error_fake = criterion(output, label.fill_(losses.fake_target))
            error_fake.backward()
            said_fake = output.sigmoid().mean().item()
            optimiser_d.step()
            generator.zero_grad()
            output = discriminator(fake).view(-1)
            error = criterion(output, label.fill_(losses.generator_target))
            error.backward()
            optimiser_g.step()
            _ = (error_real + error_fake).item(), error.item(), said_real, said_fake  # what the tutorial prints
            watch.round_done()


SIDES: dict[str, Callable[[list[Path], Recipe, int, Device, Stopwatch], None]] = {
    "ours": run_ours,
    "tutorial": run_tutorial,
    "compiled": run_compiled,
}


def peak_memory() -> dict[str, float]:
    """Peak memory of this process, without its data workers, and on the GPU, MiB."""
    found = {"process_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if torch.cuda.is_available():
        found["gpu_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return found


def child(side: str, options: argparse.Namespace) -> None:
    """One measurement of one side, printed as JSON."""
    files = find_files(options.dicom, options.images)
    watch = Stopwatch(options.batch, options.seconds)
    try:
        SIDES[side](files, recipe_of(options), options.size, pick_device(), watch)
    except Enough:
        found = {"images_per_second": watch.rate, "rounds": watch.rounds - WARM_UP, "memory_mib": watch.memory}
        print(json.dumps({**found, **peak_memory()}))


def measure(side: str, options: argparse.Namespace) -> dict[str, Any]:
    """One measurement in a process of its own."""
    values = {"size": options.size, "width": options.width, "batch": options.batch, "seconds": options.seconds}
    values |= {"dicom": options.dicom, "images": options.images, "threads": options.threads}
    arguments = [text for key, value in values.items() for text in (f"--{key}", str(value))]
    command = [sys.executable, __file__, "--child", side, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def recipe_of(options: argparse.Namespace) -> Recipe:
    """The recipe `dcgan` without an end; its history of fakes is full within the warm-up."""
    schedule = {"batch": options.batch, "epochs": 10**6}
    replay = {"capacity": FILLED_AFTER * options.batch}
    asked = {"network": {"width": options.width}, "replay": replay, "schedule": schedule}
    return complete(load_recipe("dcgan", asked))


def find_files(folder: Path, count: int) -> list[Path]:
    """The first DICOM files under a folder; a file is told by the letters DICM behind its preamble."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as stream:
            if stream.read(132)[128:] == b"DICM":
                found.append(path)
        if len(found) == count:
            break
    return found


class Traffic(TorchDispatchMode):
    """Adds up the bytes of all tensors that operations read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operation and counts it."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            leaves = torch.utils._pytree.tree_leaves((args, kwargs, result))
            self.bytes += sum(leaf.numel() * leaf.element_size() for leaf in leaves if isinstance(leaf, Tensor))
        return result


def ready(options: argparse.Namespace, recipe: Recipe, device: Device) -> tuple[TrainingState, Batch]:
    """A fresh state and one batch of noise as images."""
    place, random = device.torch_device, torch.Generator().manual_seed(0)
    state = new_state(recipe, Form((options.size, options.size), 1, 1), 0, device)
    real = torch.rand(options.batch, 1, options.size, options.size, generator=random).to(place) * 2 - 1
    noise = torch.randn(options.batch, family_of(recipe).build((32, 32), 1, 1).noise, generator=random).to(place)
    labels = torch.zeros(options.batch, dtype=torch.int64, device=place)
    return state, Batch(real, labels, noise, random, 0, 10**6)


def count_round(options: argparse.Namespace, device: Device) -> dict[str, float]:
    """Operations and bytes of one full round: both networks' steps, replay and average."""
    recipe = recipe_of(options)
    family, (state, batch) = family_of(recipe), ready(options, recipe, device)
    for _ in range(WARM_UP):  # makes the optimisers' moments and fills the history
        family.step(state, batch, recipe, device)
    with FlopCounterMode(display=False) as operations, Traffic() as traffic:
        family.step(state, batch, recipe, device)
    weights = [*state.generator.parameters(), *state.discriminator.parameters()]
    return {
        "operations": operations.get_total_flops(),
        "bytes": traffic.bytes,
        "weights": sum(value.numel() for value in weights),
        "weight_bytes_with_moments": 3 * sum(value.numel() * value.element_size() for value in weights),
    }


def profile_rounds(options: argparse.Namespace, device: Device) -> list[dict[str, Any]]:
    """Operators that take the most time of some rounds, with their share."""
    recipe = recipe_of(options)
    family, (state, batch) = family_of(recipe), ready(options, recipe, device)
    family.step(state, batch, recipe, device)
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.kind == "cuda" else [])
    with profile(activities=kinds) as seen:
        for _ in range(PROFILED):
            family.step(state, batch, recipe, device)
        _wait()
    key = "self_device_time_total" if device.kind == "cuda" else "self_cpu_time_total"
    events = sorted(seen.key_averages(), key=lambda event: -getattr(event, key))
    whole = sum(getattr(event, key) for event in events)
    return [{"operator": event.key, "share": round(getattr(event, key) / whole, 4)} for event in events[:10]]


def best_seconds(work: Callable[[], object], repeats: int = 7) -> float:
    """The least time of some runs, after one to warm up."""
    found = []
    for _ in range(repeats + 1):
        _wait()
        began = time.perf_counter()
        work()
        _wait()
        found.append(time.perf_counter() - began)
    return min(found[1:])


def roofline(device: Device) -> dict[str, float]:
    """What this machine reaches: operations/s of a large product, bytes/s of a large copy."""
    side, numbers = (8192, 1 << 28) if device.kind == "cuda" else (2048, 1 << 25)
    found = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        matrix = torch.ones(side, side, dtype=dtype, device=device.torch_device)
        found[f"{name}_operations_per_second"] = 2.0 * side**3 / best_seconds(lambda matrix=matrix: matrix @ matrix)
    source = torch.ones(numbers, device=device.torch_device)
    target = torch.empty_like(source)
    found["copy_bytes_per_second"] = 8.0 * numbers / best_seconds(lambda: target.copy_(source))
    return found


def shares(counted: dict[str, float], reached: dict[str, float], rate: float, options: argparse.Namespace) -> Any:
    """How much of the machine's arithmetic and of its memory speed our loop uses."""
    rounds, peak = rate / options.batch, reached[f"{pick_device().precision}_operations_per_second"]
    arithmetic, memory = counted["operations"] / peak, counted["bytes"] / reached["copy_bytes_per_second"]
    return {
        "arithmetic": rounds * arithmetic,
        "memory_without_caches": rounds * memory,
        "bound_by": "arithmetic" if arithmetic > memory else "memory, if no cache helps",
    }


def machine(device: Device, threads: int) -> dict[str, Any]:
    """What was measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    flags: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return {
        "cpu": name,
        "threads": threads,
        "amx_bf16": bool(flags.get("amx_bf16")),
        "avx512_bf16": bool(flags.get("avx512_bf16")),
        "device": dataclasses.asdict(device),
        "python": platform.python_version(),
        "versions": {package: metadata.version(package) for package in ("torch", "monai", "numpy", "pydicom")},
        "load_average": os.getloadavg()[0],
    }


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values)}


def ratio(rates: dict[str, list[float]], one: str, other: str) -> dict[str, float] | None:
    """How much faster one side was than the other, run by run; none when either was not run."""
    if one not in rates or other not in rates:
        return None
    return spread([mine / theirs for mine, theirs in zip(rates[one], rates[other], strict=True)])


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one run."""
    sides = options.sides
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for number in range(options.repeats):
        for side in sides[:: 1 if number % 2 == 0 else -1]:  # no side is always the first
            runs[side].append(measure(side, options))
    rates = {side: [run["images_per_second"] for run in runs[side]] for side in sides}
    device = pick_device()
    counted, reached = count_round(options, device), roofline(device)
    ours = statistics.median(rates["ours"])
    return {
        "size": options.size,
        "width": options.width,
        "batch": options.batch,
        "seconds_each": options.seconds,
        "images_per_second": {side: spread(values) for side, values in rates.items()},
        "ratio": ratio(rates, "ours", "tutorial"),
        "compiled_over_ours": ratio(rates, "compiled", "ours"),
        "peak_memory": {side: max(runs[side], key=lambda run: run["process_mib"]) for side in sides},
        "profile": profile_rounds(options, device),
        "counted_a_round": counted,
        "operations_an_image": counted["operations"] / options.batch,
        "roofline": reached,
        "share_of_roofline": shares(counted, reached, ours, options),
        "published_job_seconds_extrapolated": PUBLISHED_IMAGES / ours,
        "machine": machine(device, options.threads),
        "command": shlex.join(["python", *sys.argv]),
    }


def show(result: dict[str, Any]) -> None:
    """Prints the figures as JSON, and what they say."""
    print(json.dumps(result, indent=2))
    line = "{median:.2f} ({least:.2f}-{greatest:.2f})".format
    rates, memory, at = result["images_per_second"], result["peak_memory"], result["machine"]
    print(f"\n| {result['size']} px, batch {result['batch']} | images/s | peak memory, MiB |\n| --- | --- | --- |")
    for side, rate in rates.items():
        print(f"| {side} | {line(**rate)} | {memory[side]['process_mib']:.0f} |")
    print(f"\n{result['operations_an_image'] / 1e9:.1f} billion operations an image")
    if result["ratio"]:
        print(f"ours over the tutorial's: {line(**result['ratio'])}")
    held = result["peak_memory"]["ours"]["memory_mib"]
    print(f"our memory on the way: {', '.join(f'{value:.0f}' for value in held)} MiB")
    if result["compiled_over_ours"]:
        print(f"compiled over ours: {line(**result['compiled_over_ours'])}")
    print("most time: " + ", ".join(f"{one['operator']} {one['share']:.0%}" for one in result["profile"][:4]))
    share = result["share_of_roofline"]
    print(
        f"share of the roofline: arithmetic {share['arithmetic']:.0%}, "
        f"memory {share['memory_without_caches']:.0%} (if no cache helped); bound by {share['bound_by']}"
    )
    print(
        f"the published job of {PUBLISHED_IMAGES:,} images would take "
        f"{result['published_job_seconds_extrapolated']:,.0f} s at this speed (extrapolated)"
    )
    if at["device"]["kind"] == "cpu" and result["ratio"]:
        amx = "yes" if at["amx_bf16"] else "no, so the target is not judged here"
        print(f"target {TARGET:g} times on a CPU with AMX; measured {result['ratio']['median']:.2f}; AMX: {amx}")


def main() -> None:
    """Parses the command line; without --dicom a phantom is written first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--dicom", type=Path)
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=["ours", "tutorial"])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", choices=sorted(SIDES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.child:
        child(options.child, options)
        return
    with tempfile.TemporaryDirectory() as place:
        if options.dicom is None:
            options.dicom = Path(place) / "phantom"
            write_phantom_cohort(options.dicom, patients=max(4, options.images // 4), size=options.size, seed=0)
        result = compare(options)
    show(result)
    if options.out is not None:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
