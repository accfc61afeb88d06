"""The search for copies: time and memory, beside a Fourier transform and a plain loop over the pairs.

    python benchmarks/copies_speed.py --out docs/results/copies_speed.json

Made-up images: smoothed noise, of no scan. Three parts, each in a process of its own, with the four mirror images:

1. all pairs of 1,400 x 1,400 images of 64 and of 256 pixels, aligned and plain correlation, everything included;
2. 10,000 x 10,000 images by tiles: memory with all of them, time of a strip of the queries, multiplied up;
3. the aligned search beside two others with the same band, shifts and mirror images, by turns: a plain loop
   (`scipy.signal.correlate` pair by pair, every local mean and norm anew) and one Fourier transform for each query,
   multiplied with all references at once. All three must give the same score. Both are timed on a sample of pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from scipy import fft, ndimage, signal

from scansynth.audit.questions.likeness import open_likenesses
from scansynth.learning.device import pick_device
from scansynth.metrics.ncc import RADIUS, STEP, Flip, nearest, prepare

Images = NDArray[np.float32]

FLIPS = tuple(Flip)
SIZES = (64, 256)
_AXES = {Flip.NONE: (), Flip.LEFT_RIGHT: (1,), Flip.TOP_BOTTOM: (0,), Flip.BOTH: (0, 1)}
_CHUNK = 200


def scans(count: int, size: int, seed: int) -> Images:
    """Smoothed noise in [-1, 1], (count, size, size)."""
    rng = np.random.default_rng(seed)
    images = np.empty((count, size, size), np.float32)
    for start in range(0, count, _CHUNK):
        part = rng.normal(size=images[start : start + _CHUNK].shape).astype(np.float32)
        smooth = ndimage.gaussian_filter(part, (0, size / 24, size / 24))
        images[start : start + _CHUNK] = np.clip(smooth / (2.5 * smooth.std()), -1, 1)
    return images


def gibibytes() -> float:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def timed(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds by the clock and by processor time."""
    clock, processor = time.monotonic(), time.process_time()
    work()
    return {
        "seconds": round(time.monotonic() - clock, 2),
        "processor_seconds": round(time.process_time() - processor, 2),
    }


def whole(size: int, options: argparse.Namespace) -> dict[str, Any]:
    """Part 1."""
    count = options.images
    train, made = scans(count, size, 0), scans(count, size, 1)
    before = gibibytes()
    device = pick_device().kind
    figures = timed(lambda: open_likenesses(train, FLIPS, device=device).nearest(made))
    return {"size": size, "images": count, **figures, "peak_gib": round(gibibytes(), 2), "images_gib": round(before, 2)}


def large(size: int, options: argparse.Namespace) -> dict[str, Any]:
    """Part 2: all images in memory, a strip of the queries searched."""
    count, strip = options.many, options.strip
    train, made = prepare(scans(count, size, 0)), prepare(scans(count, size, 1))
    figures = timed(lambda: nearest(made[:strip], train, FLIPS, device=pick_device().kind))
    return {
        "size": size,
        "images": count,
        "strip": strip,
        **figures,
        "processor_seconds_multiplied_up": round(figures["processor_seconds"] * count / strip, 0),
        "peak_gib": round(gibibytes(), 2),
    }


def plain_loop(made: Images, train: Images) -> NDArray[np.float64]:
    """Best aligned correlation of each pair, pair by pair, as one writes it first; (n,)."""
    scores = []
    for query, reference in zip(made, train, strict=True):
        best = -1.0
        for flip in FLIPS:
            centre = np.flip(query, _AXES[flip])[RADIUS:-RADIUS, RADIUS:-RADIUS].astype(np.float64)
            centre = centre - centre.mean()
            ones = np.ones_like(centre)
            sums = signal.correlate(reference.astype(np.float64), ones, mode="valid")
            squares = signal.correlate(reference.astype(np.float64) ** 2, ones, mode="valid")
            spread = np.sqrt(np.maximum(squares - sums**2 / centre.size, 1e-12)) * np.linalg.norm(centre)
            best = max(best, float((signal.correlate(reference, centre, mode="valid") / spread).max()))
        scores.append(best)
    return np.array(scores)


def fourier(made: Images, train: Images) -> NDArray[np.float64]:
    """Best aligned correlation of each query with all references, by one transform for each; (n,)."""
    side = train.shape[1]
    inner = side - 2 * RADIUS
    steps = 2 * RADIUS + 1
    spectra = fft.rfft2(train)
    sums = _windows(train, inner)
    spread = np.sqrt(np.maximum(_windows(train.astype(np.float64) ** 2, inner) - sums**2 / inner**2, 1e-12))
    scores = []
    for query in made:
        best = -1.0
        for flip in FLIPS:
            centre = np.flip(query, _AXES[flip])[RADIUS:-RADIUS, RADIUS:-RADIUS]
            centre = (centre - centre.mean()).astype(np.float32)
            across = fft.irfft2(spectra * np.conj(fft.rfft2(centre, (side, side))), (side, side))[:, :steps, :steps]
            best = max(best, float((across / spread).max() / np.linalg.norm(centre)))
        scores.append(best)
    return np.array(scores)


def _windows(images: NDArray[Any], inner: int) -> NDArray[np.float64]:
    """Sums over the inner x inner pixels under each shift, (n, steps, steps)."""
    table = np.pad(images.astype(np.float64).cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    steps = 2 * RADIUS + 1
    low, high = slice(0, steps), slice(inner, inner + steps)
    return table[:, high, high] - table[:, low, high] - table[:, high, low] + table[:, low, low]


def beside(size: int, options: argparse.Namespace) -> dict[str, Any]:
    """Part 3: microseconds of processor time for a pair, by turns, and the ratios of each turn."""
    train, made = prepare(scans(1000, size, 0)), prepare(scans(512, size, 1))
    pairs, queries = options.pairs, options.queries
    turns: list[dict[str, float]] = []
    for _ in range(options.repeats):
        ours = timed(lambda: nearest(made, train, FLIPS))["processor_seconds"] / (len(made) * len(train))
        by_loop = timed(lambda: plain_loop(made[:pairs], train[:pairs]))["processor_seconds"] / pairs
        by_fourier = timed(lambda: fourier(made[:queries], train))["processor_seconds"] / (queries * len(train))
        turns.append({"ours": ours * 1e6, "loop": by_loop * 1e6, "fourier": by_fourier * 1e6})
    same = [nearest(made[i : i + 1], train[i : i + 1], FLIPS, step=1).score[0] for i in range(5)]
    halved = [nearest(made[i : i + 1], train[i : i + 1], FLIPS).score[0] for i in range(5)]
    loop, spectrum = plain_loop(made[:5], train[:5]), [fourier(made[i : i + 1], train[i : i + 1])[0] for i in range(5)]
    return {
        "pairs": {"ours": len(made) * len(train), "loop": pairs, "fourier": queries * len(train)},
        "microseconds_a_pair": {side: _spread([turn[side] for turn in turns]) for side in ("ours", "loop", "fourier")},
        "times_faster_than_the_loop": _spread([turn["loop"] / turn["ours"] for turn in turns]),
        "times_faster_than_fourier": _spread([turn["fourier"] / turn["ours"] for turn in turns]),
        "largest_difference_of_the_scores": float(
            max(np.abs(same - loop).max(), np.abs(same - np.array(spectrum)).max())
        ),
        f"largest_difference_by_summing_every_{STEP}nd_pixel": float(np.abs(np.array(halved) - loop).max()),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {name: round(f(values), 2) for name, f in (("median", statistics.median), ("low", min), ("high", max))}


PARTS: dict[str, Callable[[int, argparse.Namespace], dict[str, Any]]] = {
    "whole": whole,
    "large": large,
    "beside": beside,
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1400, help="images on each side of part 1")
    parser.add_argument("--many", type=int, default=10_000, help="images on each side of part 2")
    parser.add_argument("--strip", type=int, default=512, help="queries searched in part 2")
    parser.add_argument("--pairs", type=int, default=200, help="pairs of the plain loop in part 3")
    parser.add_argument("--queries", type=int, default=8, help="queries of the Fourier transform in part 3")
    parser.add_argument("--repeats", type=int, default=3, help="turns of part 3")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=64, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser.parse_args()


def main() -> None:
    """Runs each part in a process of its own and writes JSON."""
    options = arguments()
    if options.part:
        print(json.dumps(PARTS[options.part](options.size, options)))
        return
    rest = [word for word in sys.argv[1:] if not word.startswith("--out") and word != str(options.out)]
    load = os.getloadavg()[0]

    def run(part: str, size: int) -> dict[str, Any]:
        command = [sys.executable, __file__, *rest, "--part", part, "--size", str(size)]
        found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(part, size, json.dumps(found), flush=True)
        return found

    summary = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, torch {torch.__version__} on "
        f"{torch.get_num_threads()} threads, scipy {scipy.__version__}, device {pick_device().kind}",
        "load_when_it_began": round(load, 1),
        "mirror_images": len(FLIPS),
        "shifts": (2 * RADIUS + 1) ** 2,
        "all_pairs": [run("whole", size) for size in SIZES],
        "by_tiles": run("large", SIZES[0]),
        "beside_others": run("beside", SIZES[0]),
    }
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
