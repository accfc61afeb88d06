"""How well the mean image in compact's weights tells who was among the training patients. Prints and keeps figures.

    python benchmarks/mean_image.py STUDY [STUDY ...] [--out LOG]

STUDY is an ingested study. Its patients of all roles but test are drawn into three groups: members, as many others, and
a reference that the attacker knows. The mean of the members' images is what the weights hold. An image x is scored by
how it lies along the mean: (x - r) C^-1 (m - r), with mean r and covariance C of the reference, in its first principal
directions, all at 20 x 20 pixels (Homer et al. 2008, doi 10.1371/journal.pgen.1000167; the likelihood ratio of
Sankararaman et al. 2009, doi 10.1038/ng.436). auc is that of members against others; 0.5 tells nothing. One image of
each patient is scored, all of the members' are in the mean. auc_8_places and auc_1_place: of the mean as it is kept of
fewer than 200 and of fewer than 50 patients.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from scansynth.data.tensors import load_cohort, to_signed
from scansynth.files import write_json
from scansynth.gan.layers.haar import coarser
from scansynth.ledger import Role
from scansynth.metrics.roc import auc

_COUNTS, _DRAWS, _DIRECTIONS, _SIDE, _MANY = (5, 10, 20, 50, 100, 130, 190), 10, 60, 20, 10**6


def _attack(flat: NDArray[np.float64], patients: NDArray[np.str_], count: int, seed: int) -> list[float]:
    """AUC with the mean as it is, with that of 8 x 8 places, and with one number."""
    random = np.random.default_rng(seed)
    names = random.permutation(np.unique(patients))
    inside, others, known = names[:count], names[count : 2 * count], names[2 * count :]
    reference = flat[np.isin(patients, known)]
    centre = reference.mean(0)
    power, directions = np.linalg.eigh(np.cov(reference.T))
    axes = min(_DIRECTIONS, len(reference) // 4)
    whiten = directions[:, -axes:] / np.sqrt(power[-axes:])
    first = [flat[random.choice(np.flatnonzero(patients == name))] for name in (*inside, *others)]
    points = (np.array(first) - centre) @ whiten
    mean = flat[np.isin(patients, inside)].mean(0)
    aucs = []
    for told in (_MANY, 199, 1):  # how many patients the mean is said to be of
        kept = coarser(torch.from_numpy(mean.reshape(1, _SIDE, _SIDE)), told).numpy().reshape(-1)
        scores = points @ ((kept - centre) @ whiten)
        aucs.append(auc(scores[:count], scores[count:]))
    return aucs


def main() -> None:
    """Attacks each study's mean image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    asked = parser.parse_args()
    rows = []
    for study in asked.studies:
        cohort = load_cohort(study / "cohort")
        cases = [case for case in cohort.cases if case.role is not Role.TEST]
        images = to_signed(cohort.images.images[[case.index for case in cases]])
        small = functional.adaptive_avg_pool2d(torch.from_numpy(images), _SIDE).numpy()
        flat = small.reshape(len(images), -1).astype(np.float64)
        patients = np.array([case.patient for case in cases])
        for count in _COUNTS:
            if 3 * count > len(np.unique(patients)):
                continue
            draws = np.array([_attack(flat, patients, count, seed) for seed in range(_DRAWS)])
            means = dict(zip(("auc", "auc_8_places", "auc_1_place"), draws.mean(0).round(3).tolist(), strict=True))
            rows.append({"study": study.name, "patients": count, **means, "draws": _DRAWS})
            print(json.dumps(rows[-1]), flush=True)
    if asked.out:
        command = f"python benchmarks/mean_image.py STUDY STUDY --out {asked.out}"
        machine = f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
        write_json(asked.out, {"command": command, "machine": machine, "runs": rows})


if __name__ == "__main__":
    main()
