"""Trains one peer for so many processor seconds of one thread, and draws a set at each checkpoint.

    PYTHON benchmarks/contestants/harness.py NAME --images train.npy --out FOLDER --seconds 120 300 --draw 128

`benchmarks/peers.py` starts it, with the Python of the peer's own environment: nothing here may import scansynth. A
file beside this one is one peer, and its `start(given)` gives an object with the members of `Peer`. Only
what `step` does counts as training; images lie in memory for all, and no peer reads files or writes checkpoints.

Written to FOLDER: `SECONDS.npy` (uint16, n x rows x columns, 0..65535 for -1..1) and then `SECONDS.json`, which says
that the set is whole.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import random
import time
from pathlib import Path
from typing import Protocol

os.environ["OMP_NUM_THREADS"] = "1"  # before torch reads it

import numpy as np
import torch
from batches import Given
from numpy.typing import NDArray


class Peer(Protocol):
    """What a file of this folder gives.

    Attributes:
        batch: Real images of a step.
        settings: In words: networks, batch, rates, sampler.
    """

    batch: int
    settings: str

    def step(self) -> None:
        """One step of the training."""

    def draw(self, count: int) -> NDArray[np.float32]:
        """So many images (count, rows, columns) in [-1, 1]."""


def peak() -> float:
    """Most memory that this process has held, MiB; not `ru_maxrss`, which counts the process that started it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def write_set(folder: Path, seconds: float, images: NDArray[np.float32], row: dict[str, object]) -> None:
    """The images, then the record that says that they are whole."""
    stored = np.rint((np.clip(images, -1, 1) + 1) * 32767.5).astype(np.uint16)
    np.save(folder / f"{seconds:g}.npy", stored)
    text = json.dumps(row, indent=2)
    (folder / f"{seconds:g}.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Trains, and draws at each checkpoint."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("name")
    parser.add_argument("--images", type=Path, required=True, help="uint16 (n, rows, columns), 0..65535 for -1..1")
    parser.add_argument("--patients", type=int, required=True, help="of how many patients the images are")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, nargs="+", required=True)
    parser.add_argument("--draw", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=("narrow", "authors"), default="narrow")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(asked.seed)
    np.random.seed(asked.seed)  # noqa: NPY002 - a peer may draw from the global state
    torch.manual_seed(asked.seed)
    stored = np.load(asked.images).astype(np.float32)
    images = torch.from_numpy(stored / 32767.5 - 1)[:, None]
    before = peak()
    given = Given(images, asked.patients, asked.size, max(asked.seconds))
    peer: Peer = importlib.import_module(asked.name).start(given)
    asked.out.mkdir(parents=True, exist_ok=True)
    spent, steps, trained = 0.0, 0, 0.0
    for seconds in sorted(asked.seconds):
        while spent < seconds:
            began = time.process_time()
            peer.step()
            spent += time.process_time() - began
            steps += 1
        trained = max(trained, peak())
        began = time.process_time()
        made = peer.draw(asked.draw)
        drawing = time.process_time() - began
        write_set(
            asked.out,
            seconds,
            made,
            {
                "peer": asked.name,
                "seed": asked.seed,
                "size": asked.size,
                "settings": peer.settings,
                "processor_seconds": round(spent, 1),
                "steps": steps,
                "images": steps * peer.batch,
                "images_per_second_trained": round(steps * peer.batch / spent, 2),
                "images_per_second_drawn": round(len(made) / max(drawing, 1e-9), 3),
                "memory_before_mib": round(before),
                "memory_training_mib": round(trained),
                "machine": f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}",
            },
        )
        print(f"{asked.name} seed {asked.seed}: {spent:.0f} s, {steps * peer.batch} images", flush=True)


if __name__ == "__main__":
    main()
