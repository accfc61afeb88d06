"""Does the copy search find the copies that a generator makes? Writes generator_copies.json.

    python benchmarks/generator_copies.py STUDY --out docs/results/generator_copies.json [--patients 20 50 100]

Filters that catch altered scans were shown to miss near copies from generators (arXiv 2510.01793). Here a generator is
made to repeat its patients, so that it is known of every image which scan it repeats: the networks of `dcgan` learn to
draw each scan of a few patients from a code of its own (generative latent optimisation, Bojanowski et al. 2018, arXiv
1707.05776, equation 2, with the absolute difference). An image is drawn from a code with a tenth of noise. Sets are
taken as the training goes on, whenever the median correlation of images and their scans passes a level: at the first
they are blurred repetitions, at the last near copies. STUDY is an ingested study; 20, 50 or 100 of its train patients
are taken, with two scans each.

* Found: how many of these images pass the audit's copy threshold, and how many of those for the scan that they repeat.
* False alarms: a second generator repeats as many test patients as well, and the audit searches its images among the
  train patients, who have nothing to do with them.

The rule, written before the first run: at a correlation of 0.95 and above, at least 95% are found and the claim reads
`refuted` in every run; of the false alarms no more than the claim's margin, and no claim reads `refuted`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from simulation import write_simulation
from torch import nn

from scansynth.audit.compared import Compared, Reals
from scansynth.audit.context import open_context
from scansynth.audit.encoders import make_encoders
from scansynth.audit.questions import copies
from scansynth.claims.claim import Claim
from scansynth.config import EvidenceSettings
from scansynth.console import silent
from scansynth.data.tensors import load_cohort, select, to_signed
from scansynth.gan.models.dcgan import NetworkSettings, build_generator
from scansynth.ledger import Use
from scansynth.statistics import clopper_pearson

LEVELS = (0.9, 0.95, 0.98, 0.99)
EACH = 2
BATCH, RATE, MOST_ROUNDS, LOOK = 32, 2e-3, 8000, 10
NOISE = 0.1

Images = NDArray[np.float32]


def reals(study: Path, use: Use) -> Reals:
    """All images of a use, in [-1, 1]."""
    found = select(load_cohort(study / "cohort"), use)
    return Reals(found.cases, to_signed(found.planes))


def some(whole: Reals, patients: int, rng: np.random.Generator) -> Reals:
    """Two images each of so many patients."""
    chosen = rng.permutation(np.unique(whole.patients))[:patients]
    places = np.concatenate([np.flatnonzero(whole.patients == patient)[:EACH] for patient in chosen])
    return Reals(tuple(whole.cases[place] for place in places), whole.images[places])


def correlation(one: Images, two: Images) -> NDArray[np.float64]:
    """Pixel correlation of each pair, (n,)."""
    flat = [
        side.reshape(len(side), -1) - side.reshape(len(side), -1).mean(axis=1, keepdims=True) for side in (one, two)
    ]
    return np.asarray((flat[0] * flat[1]).sum(1) / np.linalg.norm(flat[0], axis=1) / np.linalg.norm(flat[1], axis=1))


def repeated(scans: Images, seed: int) -> Iterator[tuple[float, Images]]:
    """Images of a generator that repeats `scans`, one of each, whenever a level is passed."""
    torch.manual_seed(seed)
    settings, target = NetworkSettings(noise=64, width=32), torch.from_numpy(scans)[:, None]
    generator = build_generator((scans.shape[1], scans.shape[2]), 1, settings)
    codes = nn.Parameter(nn.functional.normalize(torch.randn(len(scans), 64)) * 8)  # as long as normal noise is
    groups: list[dict[str, Any]] = [{"params": generator.parameters()}, {"params": [codes], "lr": 10 * RATE}]
    optimiser = torch.optim.Adam(groups, RATE)
    levels = list(LEVELS)
    for round_ in range(1, MOST_ROUNDS + 1):
        batch = torch.randint(len(scans), (min(BATCH, len(scans)),))
        optimiser.zero_grad(set_to_none=True)
        (generator.train()(codes[batch]) - target[batch]).abs().mean().backward()
        optimiser.step()
        if round_ % LOOK == 0:
            with torch.no_grad():
                noisy = codes + NOISE * torch.randn(codes.shape)
                images = generator.eval()(noisy)[:, 0].numpy()
            reached = float(np.median(correlation(images, scans)))
            while levels and reached >= levels[0]:
                yield levels.pop(0), images
            if not levels:
                return


def judged(compared: Compared, made: Images, seed: int) -> tuple[Claim, NDArray[np.bool_], dict[int, str]]:
    """The claim, which images pass the threshold, and the nearest case of each of those."""
    compared = replace(compared, synthetic=made, files=tuple(f"{place:06d}" for place in range(len(made))))
    context = open_context(compared, make_encoders(compared.train.images), EvidenceSettings(), seed)
    (found,) = copies.answer(context, silent)
    above = np.array(found.figures["synthetic"]) > found.figures["threshold"]
    return found.claim, above, {int(row["image"]): row["nearest"] for row in found.flagged}


def row(claim: Claim, above: NDArray[np.bool_], found: int) -> dict[str, Any]:
    """What the audit said of one set."""
    interval = clopper_pearson(float(above.sum()), len(above), 0.95)
    return {
        "images": len(above),
        "above": int(above.sum()),
        "share": round(float(above.mean()), 4),
        "interval": [round(interval.low, 4), round(interval.high, 4)],
        "right scan": found,
        "verdict": claim.verdict.value,
        "margin": claim.margin,
    }


def run(study: Path, patients: int, seed: int) -> list[dict[str, Any]]:
    """All levels of one seed, copies and false alarms in pairs."""
    rng = np.random.default_rng([seed, patients])
    train, test = (some(reals(study, use), patients, rng) for use in (Use.COPY_SEARCH, Use.REALISM))
    compared = Compared((), train.images[:0], (), "patch", True, train, reals(study, Use.COPY_THRESHOLD), test, {})
    rows = []
    for whose, scans in ("train", train), ("test", test):
        for level, made in repeated(scans.images, seed):
            claim, above, nearest = judged(compared, made, seed)
            right = sum(scans.cases[place].case == near for place, near in nearest.items())
            rows.append(
                {"patients": patients, "seed": seed, "repeats": whose, "level": level, **row(claim, above, right)}
            )
            print(rows[-1], flush=True)
    return rows


def held(rows: list[dict[str, Any]]) -> dict[str, bool]:
    """The parts of the rule."""
    near = [row for row in rows if row["repeats"] == "train" and row["level"] >= 0.95]
    others = [row for row in rows if row["repeats"] == "test"]
    return {
        "95% found": all(row["share"] >= 0.95 for row in near),
        "refuted": all(row["verdict"] == "refuted" for row in near),
        "false alarms within the margin": all(row["share"] <= row["margin"] for row in others),
        "no false verdict": all(row["verdict"] != "refuted" for row in others),
    }


def main() -> None:
    """All numbers of patients and seeds."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--patients", type=int, nargs="+", default=[20, 50, 100])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    started, rows = time.process_time(), []
    for seed in range(options.seeds):
        for patients in options.patients:
            rows += run(options.study, patients, seed)
            of = " ".join(map(str, options.patients))
            command = (
                f"python benchmarks/generator_copies.py STUDY --patients {of} --seeds {options.seeds} "
                f"--out docs/results/{options.out.name}"
            )
            write_simulation(options.out, started, command=command, rows=rows, rule=held(rows))


if __name__ == "__main__":
    main()
