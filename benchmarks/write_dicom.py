"""How long a synthetic set takes to reach the disk: synced once, against each file and its folder synced by itself.

    python benchmarks/write_dicom.py [--count 2000] [--size 256] [--repeats 3] [--out docs/results/write_dicom.json]

Both ways write the same DICOM files in turns on the same disk: `once` is what `generate` does, `each` renames and syncs
file by file. Encoding is part of both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from scansynth.dicom.modules import encode
from scansynth.dicom.write import MR_IMAGE_STORAGE, SyntheticFacts, build_dataset, image_uids, write_synthetic
from scansynth.files import new_directory, write_bytes

_WEIGHTS = "ab" * 32
Write = Callable[[Path, np.ndarray, SyntheticFacts], object]


def facts(index: int) -> SyntheticFacts:
    """What one file says."""
    return SyntheticFacts(
        "MR",
        MR_IMAGE_STORAGE,
        0.0,
        1200.0,
        (1.4, 1.4),
        "nodule",
        _WEIGHTS,
        image_uids(_WEIGHTS, 0, index),
        index + 1,
        "axial",
    )


def seconds(write: Write, images: np.ndarray, count: int, folder: Path) -> float:
    """Time of writing a set of `count` files and renaming its folder."""
    os.sync()  # what the other way left unwritten is not charged to this one
    began = time.perf_counter()
    with new_directory(folder) as out:
        for index in range(count):
            write(out / "dicom" / f"{index:06d}.dcm", images[index % len(images)], facts(index))
    return time.perf_counter() - began


def each(path: Path, image: np.ndarray, made: SyntheticFacts) -> None:
    """One file, synced with its folder before the next is begun."""
    write_bytes(path, encode(build_dataset(image, made)))


def measure(count: int, size: int, repeats: int, place: Path) -> dict[str, object]:
    """Both ways in turns."""
    images = np.random.default_rng(0).integers(0, 65536, (16, size, size)).astype(np.uint16)
    times: dict[str, list[float]] = {"each": [], "once": []}
    with tempfile.TemporaryDirectory(dir=place) as room:
        for turn in range(repeats):
            for name, write in (("each", each), ("once", write_synthetic)):
                times[name].append(seconds(write, images, count, Path(room) / f"{name}{turn}"))
    ratios = [before / after for before, after in zip(times["each"], times["once"], strict=True)]
    return {
        "command": shlex.join(["python", *sys.argv]),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}",
        "load_average": round(os.getloadavg()[0], 1),
        "files": count,
        "side": size,
        "seconds_each": [round(value, 2) for value in times["each"]],
        "seconds_once": [round(value, 2) for value in times["once"]],
        "times_as_fast": round(float(np.median(ratios)), 2),
    }


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(), help="a folder on the disk to be measured")
    parser.add_argument("--out", type=Path, default=Path("docs/results/write_dicom.json"))
    options = parser.parse_args()
    result = measure(options.count, options.size, options.repeats, options.folder)
    text = json.dumps(result, indent=2, sort_keys=True)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
