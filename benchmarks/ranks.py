"""One training on 1, 2 and 4 processes of this machine: images/s, losses, and what communication takes.

    python benchmarks/ranks.py [--recipe compact] [--size 64] [--batch 16] [--rounds 100] [--ranks 1 2 4]
        [--float32] [--out results.json]

Each count of ranks is started by torchrun with one thread a rank, one after the other, on the same images, noise and
seed. The rounds are those of `gan.training_loop` without looks and checkpoints; the first ones are not timed. Losses
are compared with those of one rank, round by round. Time in communication is what rank 0 spends in collective calls,
waiting for the slower ranks included; the processor time of rank 0 leaves waiting out, and other work on the machine
counts least in it. More ranks than cores share cores: that figure says what it costs.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scansynth.gan.models.families import complete, count_weights, family_of
from scansynth.gan.models.family import Batch, Form
from scansynth.gan.start import new_state
from scansynth.learning import ranks
from scansynth.learning.device import pick_device
from scansynth.recipe import Recipe, load_recipe

_FIRST = 5
"""Rounds that are not timed."""

_IMAGES = 256


def smooth_images(count: int, side: int) -> np.ndarray:
    """Pictures of one blob each, uint16 (count, 1, side, side)."""
    random = np.random.default_rng(0)
    axis = np.linspace(-1, 1, side)
    row, column, width = (random.uniform(low, high, (count, 1, 1)) for low, high in ((-1, 1), (-1, 1), (0.2, 0.8)))
    squares = (axis[None, :, None] - row) ** 2 + (axis[None, None, :] - column) ** 2
    return np.asarray(np.rint(65535 * np.exp(-squares / width**2)).astype(np.uint16)[:, None])


class Calls:
    """Counts collective calls, their bytes and their time, in place of a function of `torch.distributed`."""

    def __init__(self, real: Any) -> None:
        self.real, self.seconds, self.bytes, self.number = real, 0.0, 0, 0

    def __call__(self, *arguments: Any) -> Any:
        """Calls the real one."""
        began = time.perf_counter()
        result = self.real(*arguments)
        self.seconds += time.perf_counter() - began
        self.number += 1
        value = arguments[-1] if isinstance(arguments[0], list) else arguments[0]
        self.bytes += value.numel() * value.element_size()
        return result


def child(options: argparse.Namespace) -> dict[str, Any]:
    """What one rank does; rank 0's figures count."""
    torch.set_num_threads(1)
    device, recipe = pick_device(), recipe_of(options)
    if options.float32:
        device = dataclasses.replace(device, precision="float32")
    with ranks.joined() if "RANK" in os.environ else contextlib.nullcontext():
        family, form = family_of(recipe), Form((options.size, options.size), 1, 1)
        images = smooth_images(_IMAGES, options.size)
        state = new_state(recipe, form, 0, device, images, 200)
        data = torch.from_numpy(images.astype(np.float32) / 32767.5 - 1.0).to(device.torch_device)
        calls = {name: Calls(getattr(ranks.dist, name)) for name in ("all_reduce", "all_gather")}
        for name, call in calls.items():
            setattr(ranks.dist, name, call)
        length, losses, began, worked = family.build(*form).noise, [], 0.0, 0.0
        for number in range(_FIRST + options.rounds):
            if number == _FIRST:
                began, worked = time.perf_counter(), time.process_time()
                for call in calls.values():
                    call.seconds, call.bytes, call.number = 0.0, 0, 0
            random = torch.Generator().manual_seed(number)
            chosen = ranks.own(torch.randint(0, _IMAGES, (options.batch,), generator=random))
            noise = ranks.own(torch.randn(options.batch, length, generator=random)).to(device.torch_device)
            labels = torch.zeros(len(chosen), dtype=torch.int64, device=device.torch_device)
            batch = Batch(data[chosen], labels, noise, random, number * options.batch, 10**6)
            losses.append(ranks.mean(family.step(state, batch, recipe, device))[:2].tolist())
        seconds, worked = time.perf_counter() - began, time.process_time() - worked
        spent = sum(call.seconds for call in calls.values())
        return {
            "images_per_second": options.rounds * options.batch / seconds,
            "processor_seconds_a_round": worked / options.rounds,
            "communication_share": spent / seconds,
            "bytes_a_round": sum(call.bytes for call in calls.values()) / options.rounds,
            "calls_a_round": sum(call.number for call in calls.values()) / options.rounds,
            "weights": {
                "generator": count_weights(state.generator),
                "discriminator": count_weights(state.discriminator),
            },
            "device": f"{device.kind}, {device.precision}",
            "losses": losses,
        }


def recipe_of(options: argparse.Namespace) -> Recipe:
    """The recipe with the batch that is measured."""
    return complete(load_recipe(options.recipe, {"schedule": {"batch": options.batch}}))


def measured(count: int, options: argparse.Namespace, arguments: list[str]) -> dict[str, Any]:
    """Starts so many ranks, and gives rank 0's figures."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
        command = [sys.executable, *torchrun, __file__, *arguments, "--child", str(out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "SCANSYNTH_DEVICE": options.device}
        subprocess.run(command, check=True, env=environment)
        found: dict[str, Any] = json.loads(out.read_text())
        return found


def apart(one: list[list[float]], many: list[list[float]], rounds: int) -> float:
    """Largest relative difference of the losses over the first rounds."""
    return float(np.max(np.abs(np.array(many[:rounds]) / np.array(one[:rounds]) - 1.0)))


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="compact")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--device", default="cpu", help="cpu, or cuda with a GPU for each rank")
    parser.add_argument("--float32", action="store_true", help="not in the device's own precision")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", type=Path)
    options = parser.parse_args()
    if options.child is not None:
        figures = child(options)
        if os.environ.get("RANK", "0") == "0":
            options.child.write_text(json.dumps(figures))
        return
    found = {count: measured(count, options, sys.argv[1:]) for count in options.ranks}
    one = found[options.ranks[0]]
    losses = {count: figures.pop("losses") for count, figures in found.items()}
    for count, figures in found.items():
        figures["times_one"] = figures["images_per_second"] / one["images_per_second"]
        figures["losses_apart"] = {
            rounds: apart(losses[options.ranks[0]], losses[count], rounds) for rounds in (1, 5, 20, options.rounds)
        }
        print(
            f"{count} ranks: {figures['images_per_second']:.1f} images/s, {figures['times_one']:.2f} times one; "
            f"{figures['processor_seconds_a_round']:.3f} s of processor a round; "
            f"{figures['communication_share']:.0%} in communication of {figures['bytes_a_round'] / 2**20:.2f} MiB in "
            f"{figures['calls_a_round']:.0f} calls a round; losses within {figures['losses_apart'][options.rounds]:.1e}"
        )
    result = {
        "command": shlex.join(["python", *sys.argv]),
        "recipe": options.recipe,
        "size": options.size,
        "batch": options.batch,
        "rounds": options.rounds,
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "load": os.getloadavg()[0]},
        "torch": torch.__version__,
        "ranks": found,
    }
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
