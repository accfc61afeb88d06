"""How hard is the phantom? A small network, trained on 150 images with a nodule, judged on other patients.

    python benchmarks/phantom_difficulty.py --size 128 --seeds 3 --out docs/results/phantom_difficulty.json

The network sees whole slices. Also printed: how far single summary numbers of an image (mean, spread, brightest
values) tell the classes apart; each should stand near 0.5, or the label is given away.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import shlex
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata
from torch import nn

from scansynth.phantom.cohort import draw_images, draw_patient
from scansynth.seeds import derive_seed

Array = npt.NDArray[Any]


def patient_images(number: int, size: int, seed: int) -> tuple[Array, Array, Array]:
    """A patient's slices scaled to their common 0.5 and 99.5 percentiles (-1, 1), labels, diameters (0: clear)."""
    images = draw_images(draw_patient(number, seed), size, seed)
    pixels = np.stack([image.pixels for image in images]).astype(np.float32)
    low, high = np.percentile(pixels, [0.5, 99.5])
    scaled = np.clip((pixels - low) / (high - low), 0, 1) * 2 - 1
    diameter = np.array([image.nodule.diameter if image.nodule else 0.0 for image in images])
    return scaled.astype(np.float32), (diameter > 0).astype(np.float32), diameter


def cohort(numbers: range, size: int, seed: int) -> tuple[Array, Array, Array, Array]:
    """Images, labels, patient numbers and diameters of some patients."""
    parts = [patient_images(number, size, seed) for number in numbers]
    patients = np.repeat(np.array(numbers), [len(labels) for _, labels, _ in parts])
    images, labels, diameters = (np.concatenate([part[k] for part in parts]) for k in range(3))
    return images, labels, patients, diameters


class Strongest(nn.Module):
    """Mean of the three strongest responses anywhere: (n, 1, h, w) to (n, 1)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mean of the three largest values of each image."""
        return x.flatten(2).topk(3, dim=2).values.mean(dim=2)


def network(width: int) -> nn.Module:
    """Four convolutions, a logit at every place, and the strongest places: 63 thousand parameters at width 24."""

    def block(before: int, after: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
        convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        return [convolution, nn.BatchNorm2d(after), nn.ReLU()]

    wide = 8 * width // 3
    layers = [*block(1, width, 5, 2), *block(width, wide // 2), nn.MaxPool2d(2), *block(wide // 2, wide)]
    return nn.Sequential(*layers, *block(wide, wide), nn.Conv2d(wide, 1, 1), Strongest())


def train(images: Array, labels: Array, seed: int, epochs: int, width: int) -> tuple[nn.Module, list[float]]:
    """Trains with small random shifts and a one-cycle schedule; gives the loss of each epoch."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = network(width).to(memory_format=torch.channels_last)
    x, y = torch.from_numpy(images)[:, None], torch.from_numpy(labels)[:, None]
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    steps = epochs * -(-len(x) // 16)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for batch in np.array_split(rng.permutation(len(x)), -(-len(x) // 16)):
            shift = rng.integers(-6, 7, 2)
            seen = torch.roll(x[batch], tuple(int(s) for s in shift), dims=(2, 3))
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(seen.contiguous(memory_format=torch.channels_last))
            loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(batch)
        losses.append(total / len(x))
    return net, losses


@torch.no_grad()
def scores(net: nn.Module, images: Array) -> Array:
    """Logits of images."""
    net.eval()
    return np.concatenate([net(torch.from_numpy(part)[:, None]).numpy()[:, 0] for part in np.array_split(images, 16)])


def auc(labels: Array, values: Array) -> float:
    """Area under the curve: share of (nodule, clear) pairs in the right order, ties count half."""
    ranks, positives = rankdata(values), int(labels.sum())
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(labels) - positives)))


def interval(labels: Array, values: Array, patients: Array, draws: int = 1000) -> tuple[float, float]:
    """95% interval of the AUC, patients drawn with replacement."""
    rng = np.random.default_rng(0)
    members = [np.nonzero(patients == patient)[0] for patient in np.unique(patients)]
    found = []
    for _ in range(draws):
        rows = np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))])
        found.append(auc(labels[rows], values[rows]))
    return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


def telltales(images: Array, labels: Array, patients: Array) -> dict[str, dict[str, Any]]:
    """AUC of single numbers of an image, with intervals."""
    flat = images.reshape(len(images), -1)
    numbers = {
        "mean": flat.mean(1),
        "spread": flat.std(1),
        "median": np.median(flat, 1),
        "90th percentile": np.quantile(flat, 0.9, axis=1),
        "share at the maximum": (flat >= 1).mean(1),
        "mean gradient": np.abs(np.diff(images, axis=2)).mean((1, 2)),
    }
    return {k: {"auc": auc(labels, v), "interval": interval(labels, v, patients, 300)} for k, v in numbers.items()}


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    parser.add_argument("--positives", type=int, default=150, help="training images with a nodule")
    parser.add_argument("--test-patients", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=3, help="how many times: other phantom, other network")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--width", type=int, default=24, help="channels of the first layer")
    parser.add_argument("--jobs", type=int, default=1, help="seeds worked on at once, one thread each")
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser.parse_args()


def one_seed(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Draws a cohort, trains, judges."""
    torch.set_num_threads(1)
    started = time.process_time()
    patients = 0
    positives = 0
    while positives < options.positives:  # patients in order, until enough images have a nodule
        patients += 1
        positives += len(draw_patient(patients, seed).affected)
    images, labels, _, _ = cohort(range(1, patients + 1), options.size, seed)
    others = range(5001, 5001 + options.test_patients)
    test, truth, owners, diameters = cohort(others, options.size, seed)
    drawn = time.process_time() - started
    net, losses = train(images, labels, derive_seed(seed, "network"), options.epochs, options.width)
    found = scores(net, test)
    result: dict[str, Any] = {
        "seed": seed,
        "train": {"patients": patients, "nodule": int(labels.sum()), "clear": int((labels == 0).sum())},
        "test": {"patients": options.test_patients, "nodule": int(truth.sum()), "clear": int((truth == 0).sum())},
        "auc": auc(truth, found),
        "interval": interval(truth, found, owners),
        "auc_train": auc(labels, scores(net, images)),
        "loss": {"first": losses[0], "last": losses[-1], "last_but_five": losses[-6]},
        "processor_seconds": {"draw": drawn, "train": time.process_time() - started - drawn},
        "telltales": telltales(test, truth, owners),
    }
    clear = truth == 0
    for name, low, high in (("4-8 mm", 0.1, 8), ("8-15 mm", 8, 15), ("15-30 mm", 15, 31)):
        keep = clear | ((diameters >= low) & (diameters < high))
        result.setdefault("auc_by_diameter", {})[name] = auc(truth[keep], found[keep])
    return result


def line(run: dict[str, Any]) -> str:
    """A seed's row of the table."""
    low, high = run["interval"]
    sizes = " ".join(f"{value:6.3f}" for value in run["auc_by_diameter"].values())
    mean, seconds = run["telltales"]["mean"]["auc"], sum(run["processor_seconds"].values())
    area = f"{run['auc']:6.3f} {low:7.3f}-{high:6.3f}  {run['auc_train']:5.3f}"
    return f"{run['seed']:5d} {area} {sizes} {mean:10.3f} {seconds:8.0f}"


def main() -> None:
    """Runs all seeds, prints a table and JSON."""
    options = arguments()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    runs = []
    print(" seed    AUC    95% interval  train  small middle  large  mean grey  seconds", flush=True)
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for run in pool.map(partial(one_seed, options), seeds):
            runs.append(run)
            print(line(run), flush=True)
    values = [run["auc"] for run in runs]
    summary = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": f"{processor()}, 1 thread, Python {platform.python_version()}, torch {torch.__version__}",
        "parameters": sum(p.numel() for p in network(options.width).parameters()),
        "auc_mean": float(np.mean(values)),
        "auc_range": [min(values), max(values)],
        "runs": runs,
    }
    text = json.dumps(summary, indent=2)
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
