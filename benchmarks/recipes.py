"""Recipes beside each other on one cohort, for the same time of one core. Prints and keeps what is judged.

    python benchmarks/recipes.py STUDY [--recipe compact --recipe dcgan] [--seconds 240] [--classes all] [--out LOG]

STUDY is an ingested study. Each recipe trains for so many seconds of processor time of one thread, not of the wall
clock: so other work on the machine takes nothing from either. The learning rate runs down over that time. Judged is
the network that images are drawn from, by the judge's features (`JUDGE_SEED`), against the images of tune patients;
the role test is never read. A cohort of too few patients has no tune patients: then a quarter of its images is held
out, of the same patients, and `held_out` says so.

* kid: against tune, with pairs of one patient left out; kid_real is train against tune.
* varied: the collapse monitor's figures of a last look at the same network, and the figures among them at which a
  training would be said to have collapsed; the reals beside it are the tune images.
* nearer: how often an image made is more like the nearest of some train images than the nearest tune image, as many of
  each, by the search for copies. The train images are dealt into sets of that size: mean and standard deviation over
  them. A generator that remembers nobody has 0.5, but for which patients happen to be the tune patients: nearer_real is
  the same of images of calibrate patients. too_near is the share nearer to a train image than all but 1% of tune images
  are: what lies near to everybody raises it, too.
* coverage, recall (k = 3) and pair (median distance of two images, over that of tune): as many synthetic images as tune
  patients, one image of each, mean of 20 draws; coverage_real and so on have train patients in their place.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from scansynth.data import augment
from scansynth.data.permission import permission
from scansynth.data.tensors import load_cohort, select, to_signed, to_stored
from scansynth.files import read_json, write_bytes, write_json
from scansynth.gan.grid import grid, png
from scansynth.gan.models.families import complete, family_of
from scansynth.gan.models.family import Batch, Form
from scansynth.gan.sampling import Latent, images_of
from scansynth.gan.start import new_state, shapes_of
from scansynth.gan.watching.choice import flips_of
from scansynth.gan.watching.collapse import SAMPLES, STEPPED, RealImages, look, new_monitor
from scansynth.gan.watching.health import CRITICAL
from scansynth.learning.device import pick_device
from scansynth.ledger import Use
from scansynth.metrics.diversity import distances, pair_distance
from scansynth.metrics.features import JUDGE_SEED, fit_scale, random_encoder
from scansynth.metrics.kid import kid
from scansynth.metrics.ncc import Flip
from scansynth.metrics.prdc import coverage, recall
from scansynth.metrics.search import open_search
from scansynth.recipe import Recipe, load_recipe
from scansynth.seeds import derive_seed

_MADE, _DRAWS, _BALL = 640, 20, 3


@dataclass(frozen=True)
class Reals:
    """Real images (n, channels, rows, columns) in [-1, 1] with patient and class of each."""

    images: NDArray[np.float32]
    patients: NDArray[np.str_]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Material:
    """What is trained on, what is judged against, and images of calibrate patients, which may stand for a set."""

    train: Reals
    tune: Reals
    calibrate: NDArray[np.float32]
    classes: int
    plan_of: Any
    held_out: str


def material(study: Path, classes: tuple[str, ...] | None, seed: int) -> Material:
    """Train and tune images of an ingested study."""
    cohort = load_cohort(study / "cohort")
    names = list(classes or cohort.facts.labels)
    parts, held_out = [], "tune patients"
    for use in (Use.GENERATOR, Use.STOPPING):
        chosen = select(cohort, use, classes)
        labels = np.array([names.index(case.label) if case.label in names else 0 for case in chosen.cases], np.int64)
        parts.append(Reals(to_signed(chosen.images), np.array(chosen.patients), labels))
    train, tune = parts
    if not len(tune.images):
        order = np.random.default_rng(seed).permutation(len(train.images))
        held_out = "a quarter of the images, of the same patients"
        train, tune = (
            Reals(train.images[places], order[places].astype(str), train.labels[places])
            for places in (order[len(order) // 4 :], order[: len(order) // 4])
        )
    calibrate = to_signed(select(cohort, Use.COPY_THRESHOLD, classes).images)
    permitted = permission(cohort.facts.modality, cohort.facts.view)
    return Material(
        train,
        tune,
        calibrate,
        len(names),
        lambda recipe: augment.plan_augmentation(recipe.augmentation, permitted),
        held_out,
    )


def trained(recipe: Recipe, found: Material, seconds: float, seed: int) -> tuple[nn.Module, int, int]:
    """The generator after so much processor time, the length of its noise, and how many images it saw."""
    device, family, plan = pick_device(), family_of(recipe), found.plan_of(recipe)
    shape = found.train.images.shape
    form = Form((shape[2], shape[3]), shape[1], found.classes)
    length, size = shapes_of(family, form).noise, recipe.schedule.batch
    state = new_state(recipe, form, seed, device, to_stored(found.train.images), len(set(found.train.patients)))
    data, labels = torch.from_numpy(found.train.images), torch.from_numpy(found.train.labels)
    began, told, order, seen = time.process_time(), 0.0, torch.empty(0, dtype=torch.int64), 0
    sums, rounds = torch.zeros(4), 0
    while (spent := time.process_time() - began) < seconds:
        random = torch.Generator().manual_seed(derive_seed(seed, "step", seen))
        if len(order) < size:
            order = torch.randperm(len(data), generator=random)
        chosen, order = order[:size], order[size:]
        real = data[chosen]
        if not plan.nothing:
            real = augment.apply(real, augment.draw(plan, size, random))
        total = max(seen + size, round((seen + size) * seconds / max(spent, 1.0)))
        batch = Batch(real, labels[chosen], torch.randn(size, length, generator=random), random, seen, total)
        sums += family.step(state, batch, recipe, device)
        seen, rounds = seen + size, rounds + 1
        if spent - told > seconds / 20:
            figures = " ".join(f"{value:.3f}" for value in (sums / rounds).tolist())
            strength = getattr(state.discriminator, "strength", torch.zeros(0)).tolist()
            print(f"{spent:5.0f} s  {seen:6d} images  {figures}  strength {strength}", flush=True)
            told, rounds = spent, 0
            sums.zero_()
    return state.sampler, length, seen


def judged(made: NDArray[np.float32], found: Material) -> dict[str, float]:
    """The figures of a set of images, and the same of train patients' images in its place."""
    encoder = random_encoder(JUDGE_SEED)
    train, tune, drawn = (encoder(images[:, 0]) for images in (found.train.images, found.tune.images, made))
    scale = fit_scale(train)
    train, tune, drawn = scale(train), scale(tune), scale(drawn)
    result = {"kid": kid(drawn, tune, None, found.tune.patients)}
    result["kid_real"] = kid(train, tune, found.train.patients, found.tune.patients)
    for name, other, groups in (
        ("", drawn, np.arange(len(drawn)).astype(str)),
        ("_real", train, found.train.patients),
    ):
        random = np.random.default_rng(0)
        draws = [_of_draw(tune, found.tune.patients, other, groups, random) for _ in range(_DRAWS)]
        for number, figure in enumerate(("coverage", "recall", "pair")):
            result[figure + name] = float(np.mean([draw[number] for draw in draws]))
    return {name: round(value, 4) for name, value in result.items()}


def varied(network: nn.Module, length: int, found: Material, seed: int) -> dict[str, Any]:
    """What the collapse monitor says of the generator at its end."""
    random = torch.Generator().manual_seed(derive_seed(seed, "watched"))
    labels = np.resize(np.random.default_rng(1).permutation(found.train.labels), 2 * SAMPLES)
    latent = Latent(torch.randn(2 * SAMPLES, length, generator=random), torch.from_numpy(labels))
    tune = RealImages(found.train.images, found.tune.images, tuple(found.tune.patients.tolist()), found.held_out)
    step = torch.randn(STEPPED, length, generator=random)
    monitor = new_monitor(tune, latent.part(0, SAMPLES), step, seed)
    figures = look(monitor, network, latent.part(SAMPLES, 2 * SAMPLES))
    low = [name for name, limit in CRITICAL.items() if not figures[name] >= limit]
    return {"varied": {name: round(value, 3) for name, value in figures.items()}, "collapsed": low}


def nearness(made: NDArray[np.float32], found: Material, flips: Sequence[Flip]) -> dict[str, float]:
    """How near images lie to those of train patients, and to those of tune patients, whom the generator never saw."""
    train, tune, drawn = (images[:, 0] for images in (found.train.images, found.tune.images, made))
    size = min(len(tune), len(train) // 2)
    order = np.random.default_rng(2).permutation(len(train))
    sets = [train[order[start : start + size]] for start in range(0, len(train) - size + 1, size)]
    unseen = open_search(tune[:size], flips).nearest(drawn).score
    nearer = [float(np.mean(open_search(part, flips).nearest(drawn).score > unseen)) for part in sets]
    search = open_search(train, flips)
    too_near = float(np.mean(search.nearest(drawn).score > search.threshold(tune, 0.99)))
    result = {"nearer": float(np.mean(nearer)), "nearer_spread": float(np.std(nearer)), "too_near": too_near}
    return {name: round(value, 3) for name, value in result.items()}


def near(made: NDArray[np.float32], found: Material, plan: augment.AugmentationPlan) -> dict[str, float]:
    """`nearness` of images made, and how much nearer to train patients than to tune patients others are, as it is."""
    flips = flips_of(plan.flip_left_right, plan.flip_up_down)
    if not len(found.calibrate):
        return nearness(made, found, flips)
    return {**nearness(made, found, flips), "nearer_real": nearness(found.calibrate, found, flips)["nearer"]}


def _of_draw(
    tune: NDArray[np.float64],
    patients: NDArray[np.str_],
    other: NDArray[np.float64],
    groups: NDArray[np.str_],
    random: np.random.Generator,
) -> tuple[float, float, float]:
    """Coverage, recall, and ratio of the median pair distances, one image of each patient."""
    one, two = (
        features[[random.choice(np.flatnonzero(names == name)) for name in random.permutation(np.unique(names))]]
        for features, names in ((tune, patients), (other, groups))
    )
    count = min(len(one), len(two))
    one, two = one[:count], two[:count]
    across, within, among = distances(one, two), distances(one), distances(two)
    ball = min(_BALL, count - 1)
    return coverage(within, across, ball), recall(among, across, ball), pair_distance(among) / pair_distance(within)


def _keep(out: Path, row: dict[str, Any]) -> None:
    """Adds a run to the file of results."""
    command = f"python benchmarks/recipes.py STUDY --seconds SECONDS --out {out}"
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"
    )
    found = read_json(out) if out.exists() else {"command": command, "machine": machine, "runs": []}
    write_json(out, {**found, "runs": [*found["runs"], row]})


def main() -> None:
    """Trains and judges each recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--recipe", action="append")
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--classes", default="all", help="labels that the generator sees, with commas between")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", default="{}", help="keys of the recipe set otherwise, as JSON")
    parser.add_argument("--out", type=Path, help="JSON file to which each run is added")
    parser.add_argument("--pictures", type=Path, help="folder for a grid of each recipe's images")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    classes = None if asked.classes == "all" else tuple(asked.classes.split(","))
    found = material(asked.study, classes, asked.seed)
    for name in asked.recipe or ("compact", "dcgan"):
        recipe = complete(load_recipe(name, json.loads(asked.set)))
        began = time.monotonic()
        network, length, seen = trained(recipe, found, asked.seconds, asked.seed)
        wall = time.monotonic() - began
        noise = torch.randn(_MADE, length, generator=torch.Generator().manual_seed(derive_seed(asked.seed, "judged")))
        labels = np.resize(np.random.default_rng(0).permutation(found.train.labels), _MADE)
        made = images_of(network, Latent(noise, torch.from_numpy(labels))).numpy()
        row = {
            "study": asked.study.name, "shape": made.shape[2:], "classes": asked.classes, "recipe": name,
            "set": json.loads(asked.set), "seed": asked.seed, "cpu_seconds": asked.seconds, "wall_seconds": round(wall),
            "images": seen, "train": len(found.train.images), "tune": len(found.tune.images),
            "held_out": found.held_out, **judged(made, found), **near(made, found, found.plan_of(recipe)),
            **varied(network, length, found, asked.seed),
        }  # fmt: skip
        print(json.dumps(row), flush=True)
        if asked.out:
            _keep(asked.out, row)
        if asked.pictures:
            columns = 8
            write_bytes(asked.pictures / f"{asked.study.name}-{name}.png", png(grid(made[: columns**2, 0], columns)))


if __name__ == "__main__":
    main()
