"""Everything that needs a GPU, in one run: one JSON file and one page.

    python benchmarks/gpu.py --out docs/results/gpu.json
    python benchmarks/gpu.py --out gpu.json --rehearse      on a CPU, small: that the script runs, and no figure

The second is how it is kept ready on machines without a GPU. Each part runs in a process of its own (in a rehearsal in
one), one after the other, and is written when it is done; one that fails or takes longer than `--longest` is listed
with the reason, and the others go on. Started again it makes only the parts that are missing. All parts together are
meant to take some 12 minutes of one large GPU; `--parts` names some of them.

* published: the published job, 280,000 images of 256 pixels with `dcgan` (14 hours on A100s). First both ways are
  timed, the loop as it is and with both networks through `torch.compile` and CUDA graphs; the faster one then makes
  the whole job. The target is 3 minutes.
* profile: operators by time, operations and bytes of a round, and the share of what the device reaches.
* compact: `compact` at 256 pixels for `--seconds`: images/s, memory, and losses that stay numbers.
* sampling: images/s out of both generators at 256 pixels.
* copies: the search for near copies, 1,400 x 1,400 at 256 pixels and 10,000 x 10,000 at 64, with its memory.
* detectors: the detector's sizes medium and large, with and without places: steps/s and memory.
* resume: a training twice, and once stopped in the middle and continued in another process: are the weights the same
  bytes?

Images are made up, since speed does not hang on what they show. Nothing is read but the program.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from copies_speed import scans
from gpu_page import write_page
from ranks import smooth_images
from train_throughput import Enough, Stopwatch, count_round, job_of, memory_now, profile_rounds, roofline, shares

from scansynth.audit.questions.likeness import open_likenesses
from scansynth.console import silent
from scansynth.data.augment import plan_augmentation
from scansynth.data.permission import permission
from scansynth.files import read_json, write_json
from scansynth.gan import training_loop
from scansynth.gan.models.families import complete, family_of
from scansynth.gan.models.family import Form
from scansynth.gan.sampling import Latent, images_of
from scansynth.gan.start import new_state, shapes_of
from scansynth.gan.state import TrainingState
from scansynth.gan.training_job import TrainingJob
from scansynth.gan.training_loop import train
from scansynth.learning.device import Device, pick_device
from scansynth.metrics.ncc import Flip
from scansynth.recipe import Recipe, load_recipe
from scansynth.utility.detector.fit import FitSettings, fit
from scansynth.utility.detector.material import Material, Phase
from scansynth.utility.detector.networks import SIZES, map_factor

PUBLISHED = 280_000
TARGET_SECONDS = 180
Options = argparse.Namespace


def recipe_of(name: str, options: Options) -> Recipe:
    """A recipe with a schedule that does not end, and without looks that would end it."""
    asked: dict[str, Any] = {"schedule": {"epochs": 10**6, "batch": options.batch}}
    if options.rehearse:
        asked["network"] = {"width": 8}
    return complete(load_recipe(name, asked))


def made_up_job(folder: Path, recipe: Recipe, options: Options, total: int = 0) -> TrainingJob:
    """A training on made-up images; `total` is where it ends, rounded down to whole passes."""
    images = smooth_images(options.images, options.size)
    if total:
        epochs = max(1, total // (options.images // options.batch * options.batch))
        recipe = recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update={"epochs": epochs})})
    return job_of(folder, images, recipe)


@contextlib.contextmanager
def compiled_networks(device: Device, wanted: bool = True) -> Iterator[None]:
    """Within it the loop's networks are compiled, with CUDA graphs; on a CPU that is only traced."""
    real = training_loop.new_state

    def compiled(*arguments: Any) -> TrainingState:
        state = real(*arguments)
        for network in (state.generator, state.discriminator):
            network.compile(**({"mode": "reduce-overhead"} if device.kind == "cuda" else {"backend": "eager"}))
        return state

    training_loop.new_state = compiled if wanted else real
    try:
        yield
    finally:
        training_loop.new_state = real


def rate_of(recipe: Recipe, options: Options) -> dict[str, Any]:
    """Images/s of the loop once it is warm, and the most memory."""
    watch = Stopwatch(options.batch, options.seconds)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
        train(made_up_job(Path(folder), recipe, options), pick_device(), lambda *_: watch.round_done(), print)
    return {"images_per_second": round(watch.rate, 1), "memory_mib": round(max([memory_now(), *watch.memory]))}


def as_it_is(options: Options) -> dict[str, Any]:
    """The loop's speed."""
    return rate_of(recipe_of("dcgan", options), options)


def compiled(options: Options) -> dict[str, Any]:
    """The loop's speed with compiled networks."""
    with compiled_networks(pick_device()):
        return rate_of(recipe_of("dcgan", options), options)


def published(options: Options) -> dict[str, Any]:
    """The whole published job, the faster way."""
    found = {way: part(way, options) for way in ("as_it_is", "compiled")}
    rates = {way: row.get("images_per_second", 0.0) for way, row in found.items()}
    way = max(rates, key=lambda name: float(rates[name]))
    with tempfile.TemporaryDirectory() as folder, compiled_networks(pick_device(), way == "compiled"):
        job = made_up_job(Path(folder), recipe_of("dcgan", options), options, options.total)
        began = time.perf_counter()
        train(job, pick_device(), silent, print)
        seconds = time.perf_counter() - began
    whole = job.total >= PUBLISHED * 0.99
    return {
        **found,
        "way": way,
        "images": job.total,
        "seconds": round(seconds, 1),
        "target": ("met" if seconds < TARGET_SECONDS else "missed") if whole else "not asked",
    }


def profiled(options: Options) -> dict[str, Any]:
    """What bounds a round."""
    options.width = 8 if options.rehearse else 64
    device = pick_device()
    counted, reached = count_round(options, device), roofline(device)
    rate = rate_of(recipe_of("dcgan", options), options)["images_per_second"]
    return {
        "operators": profile_rounds(options, device),
        "counted_a_round": counted,
        "roofline": reached,
        "share_of_roofline": shares(counted, reached, rate, options),
    }


def compact(options: Options) -> dict[str, Any]:
    """`compact` at full size."""
    return rate_of(recipe_of("compact", options), options)


def sampling(options: Options) -> dict[str, Any]:
    """Images/s out of both generators."""
    device, found = pick_device(), {}
    for name in ("dcgan", "compact"):
        recipe, form = recipe_of(name, options), Form((options.size, options.size), 1, 1)
        stored = smooth_images(options.images, options.size)
        state = new_state(recipe, form, 0, device, stored, len(stored))
        length = shapes_of(family_of(recipe), form).noise
        latent = Latent(torch.randn(options.drawn, length), torch.zeros(options.drawn, dtype=torch.int64))
        images_of(state.sampler, latent.part(0, 16).to(device.torch_device)).cpu()
        began = time.perf_counter()
        images_of(state.sampler, latent.to(device.torch_device)).cpu()
        found[name] = {"images_per_second": round(options.drawn / (time.perf_counter() - began), 1)}
    return found


def copies(options: Options) -> dict[str, Any]:
    """The search for near copies."""
    found = {}
    for size, count in options.searches:
        train_side, made = scans(count, size, 0), scans(count, size, 1)
        began = time.perf_counter()
        open_likenesses(train_side, tuple(Flip), device=str(pick_device().torch_device)).nearest(made)
        row = {"seconds": round(time.perf_counter() - began, 2), "memory_mib": round(memory_now())}
        found[f"{count:,} x {count:,} at {size} px"] = row
    return found


def detectors(options: Options) -> dict[str, Any]:
    """The larger detectors, each with and without places."""
    device, found = pick_device(), {}
    images = smooth_images(64, options.size)[:, 0]
    for size in ("medium", "large"):
        for lesions in (False, True):
            known = np.ones(len(images), bool)
            every = map_factor(options.size, SIZES[size])
            targets = (images[:, ::every, ::every] >> 8).astype(np.uint8)
            material = Material(images, targets, known) if lesions else Material(images)
            phase = Phase(1.0, np.arange(32), np.arange(32, 64), True)
            settings = FitSettings(size, lesions, options.steps, options.batch, 1e-3)
            plan = plan_augmentation(recipe_of("dcgan", options).augmentation, permission("MR", "chest"))
            done = fit(material, (phase,), settings, plan, 0, device)
            found[f"{size}{' with places' if lesions else ''}"] = {
                "weights": done.weights,
                "steps_per_second": round(options.steps / done.seconds, 2),
                "memory_mib": round(memory_now()),
            }
    return found


def digest(state: TrainingState) -> str:
    """Of both networks' weights."""
    found = hashlib.sha256()
    for network in (state.generator, state.discriminator):
        for name, value in sorted(network.state_dict().items()):
            found.update(name.encode() + value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def trained(options: Options) -> dict[str, Any]:
    """One training in a folder, to `--pause` or to the end."""
    job = made_up_job(options.folder, recipe_of("dcgan", options), options, options.resumed)
    pause = job.total // 2 // job.batch * job.batch if options.pause else 0
    return {"digest": digest(train(replace(job, pause_at=pause), pick_device(), silent, print))}


def resume(options: Options) -> dict[str, Any]:
    """Whether a repeated and a continued training give the same bytes."""
    digests = {}
    with tempfile.TemporaryDirectory() as place:
        for name, pauses in (("once", (False,)), ("again", (False,)), ("continued", (True, False))):
            for pause in pauses:
                asked = {"folder": Path(place) / name, "pause": pause}
                found = part("trained", options, asked)
                if "failed" in found:
                    return found
                digests[name] = found["digest"]
    return {
        "repeated": digests["again"] == digests["once"],
        "continued": digests["continued"] == digests["once"],
        "images": options.resumed,
    }


PARTS: dict[str, Callable[[Options], dict[str, Any]]] = {
    "published": published,
    "profile": profiled,
    "compact": compact,
    "sampling": sampling,
    "copies": copies,
    "detectors": detectors,
    "resume": resume,
}
INNER = {"as_it_is": as_it_is, "compiled": compiled, "trained": trained}


def part(name: str, options: Options, more: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """A part in a process of its own, in a rehearsal in this one; `failed` and the reason where it did not end well."""
    if options.rehearse:
        try:
            return {**PARTS, **INNER}[name](argparse.Namespace(**{**vars(options), **more}))
        except Exception as fault:  # whatever it was, the other parts go on
            return {"failed": f"{type(fault).__name__}: {fault}"[:200]}
    command = [sys.executable, __file__, "--part", name, "--seconds", str(options.seconds)]
    command += ["--folder", str(more["folder"])] if more else []
    command += ["--pause"] if more.get("pause") else []
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=options.longest)
    except subprocess.TimeoutExpired:
        return {"failed": f"it took longer than {options.longest:g} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["it ended without a message"])[-1][:200]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def arguments() -> Options:
    """The command line, and the sizes that a rehearsal makes small."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rehearse", action="store_true", help="small, on any machine")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seconds", type=float, help="of each timed training")
    parser.add_argument("--longest", type=float, default=300.0, help="seconds that a part may take")
    parser.add_argument("--part", choices=[*PARTS, *INNER], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--pause", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    small = options.rehearse
    options.size, options.batch, options.images = (32, 4, 16) if small else (256, 16, 1400)
    options.total, options.resumed = (32, 32) if small else (PUBLISHED, 28_000)
    options.drawn, options.steps = (32, 2) if small else (4096, 100)
    options.searches = ((32, 40),) if small else ((256, 1400), (64, 10_000))
    options.seconds = options.seconds or (0.2 if small else 20.0)
    return options


def main() -> int:
    """All parts that are missing, the page after each."""
    options = arguments()
    if options.part:
        print(json.dumps({**PARTS, **INNER}[options.part](options)))
        return 0
    if options.out is None:
        print("name the file of the results with --out", file=sys.stderr)
        return 2
    device = pick_device()
    if device.kind != "cuda" and not options.rehearse:
        print("this machine has no GPU that torch can use; --rehearse runs the script small", file=sys.stderr)
        return 2
    result: dict[str, Any] = {
        "command": f"python benchmarks/gpu.py --out docs/results/{options.out.name}"
        + (" --rehearse" if options.rehearse else ""),
        "machine": f"{platform.machine()}, {device.kind}: {device.name}, torch {torch.__version__}",
        "rehearsal": options.rehearse,
        "parts": {},
    }
    if options.out.is_file() and read_json(options.out)["machine"] == result["machine"]:
        result["parts"] = {name: row for name, row in read_json(options.out)["parts"].items() if "failed" not in row}
    for name in (name for name in options.parts if name not in result["parts"]):
        result["parts"][name] = part(name, options)
        write_json(options.out, result)
        write_page(result, options.out.with_suffix(".md"))
        print(name, result["parts"][name], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
