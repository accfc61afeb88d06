"""By how much images that are drawn again differ where other hardware draws them.

    python benchmarks/redraw.py RELEASE ... --out docs/results/redraw.json

Each RELEASE is drawn again from its weights and seed by processes that stand for other hardware: other numbers of
threads, instruction sets of older processors (`ATEN_CPU_CAPABILITY`, `ONEDNN_MAX_CPU_ISA`), and no oneDNN, so that
PyTorch's own convolutions compute. Told for each: the greatest distance from the released files in stored grey levels,
the share of pixels that differ, and the greatest distance in [-1, 1]. The release must have been made on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scansynth.data.tensors import to_stored
from scansynth.dicom.released import read_released, stored_pixels
from scansynth.dicom.write import PixelScale, to_pixels
from scansynth.files import read_csv
from scansynth.gan.sampling import BATCH, draw_pass
from scansynth.gan.weights import load_generator
from scansynth.release.manifest import GENERATOR, TABLE, read_manifest

SETTINGS: dict[str, dict[str, str]] = {
    "1 thread": {"OMP_NUM_THREADS": "1"},
    "2 threads": {"OMP_NUM_THREADS": "2"},
    "4 threads": {"OMP_NUM_THREADS": "4"},
    "AVX2": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "SSE 4.1": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "no oneDNN": {"OMP_NUM_THREADS": "1", "NO_ONEDNN": "1"},
    "no oneDNN, 2 threads, AVX2": {"OMP_NUM_THREADS": "2", "NO_ONEDNN": "1", "ATEN_CPU_CAPABILITY": "avx2"},
    "no oneDNN, SSE": {"OMP_NUM_THREADS": "1", "NO_ONEDNN": "1", "ATEN_CPU_CAPABILITY": "default"},
}


def draw(release: Path, passes: int, out: Path) -> None:
    """Draws the first images of a release as this process does, (n, rows, columns) in [-1, 1]."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.backends.mkldnn.enabled = "NO_ONEDNN" not in os.environ
    about = read_manifest(release).drawing
    sampler, _ = load_generator(release / GENERATOR)
    drawn = [
        draw_pass(sampler, about.seed, range(first, min(first + BATCH, about.drawn)))
        for first in range(0, min(passes * BATCH, about.drawn), BATCH)
    ]
    np.save(out, np.concatenate(drawn)[:, 0])


def measured(release: Path, passes: int) -> dict[str, Any]:
    """What each setting makes of a release."""
    manifest = read_manifest(release)
    about = manifest.drawing
    scale = PixelScale.choose(about.modality, about.low, about.high)
    _, facts = load_generator(release / GENERATOR)
    with tempfile.TemporaryDirectory() as folder:
        made = {
            name: in_child(release, passes, Path(folder) / f"{n}.npy", SETTINGS[name])
            for n, name in enumerate(SETTINGS)
        }
    stored = {}
    for row in read_csv(release / TABLE):
        found = read_released(release / row["file"]) if int(row["index"]) < len(made["1 thread"]) else None
        if found is not None:
            stored[int(row["index"])] = stored_pixels(found)
    settings = {}
    for name, images in made.items():
        again = {index: to_pixels(to_stored(images[index]), scale).astype(np.int64) for index in stored}
        apart = np.stack([np.abs(again[index] - stored[index].astype(np.int64)) for index in stored])
        settings[name] = {
            "grey_levels": int(apart.max()),
            "share_of_pixels": float((apart > 0).mean()),
            "apart": float(np.abs(images - made["1 thread"]).max()),
        }
    levels = int(max(values.max() for values in stored.values())) - int(min(values.min() for values in stored.values()))
    about_it = {"recipe": facts.recipe, "family": facts.family, "shape": list(facts.shape), "images": len(stored)}
    return {**about_it, "grey_levels_in_use": levels, "settings": settings}


def in_child(release: Path, passes: int, out: Path, settings: dict[str, str]) -> np.ndarray:
    """What a process with these settings draws."""
    command = [sys.executable, __file__, "--draw", str(release), "--passes", str(passes), "--out", str(out)]
    subprocess.run(command, check=True, env={**os.environ, **settings})
    return np.load(out)


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("releases", type=Path, nargs="*")
    parser.add_argument("--draw", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--passes", type=int, default=16, help="passes of the generator, 16 images each")
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args()
    if told.draw is not None:
        draw(told.draw, told.passes, told.out)
        return
    releases = " ".join(["RELEASE"] * len(told.releases))
    content = {
        "command": f"python benchmarks/redraw.py {releases} --passes {told.passes} --out docs/results/{told.out.name}",
        "machine": f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, torch {torch.__version__}",
        "releases": [measured(release, told.passes) for release in told.releases],
    }
    told.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for one in content["releases"]:
        print(one)


if __name__ == "__main__":
    main()
