"""Does a classifier that is not ours see more than the pixel judge? Adds a row to independent_judge.json.

    python benchmarks/independent_judge.py STUDY --name NAME [--minutes 60] --out docs/results/independent_judge.json

STUDY has an audited set. Two classifiers that share no code with the judge learn to separate the set from the test
patients' images, one image a patient and as many synthetic ones, and are tried on images that they did not see (five
folds; the network two):

* boosting (scikit-learn's `HistGradientBoostingClassifier`) on the logarithm of the power in 24 rings of frequency, 32
  quantiles of the grey values, and mean and spread of 8 x 8 patches;
* a network of MONAI (`DenseNet121`, one channel) on the pixels, `--minutes` of processor time in all; 0: not asked.

Both see the images as the judge does, rounded to what a screen shows. The rule, written before the first run: the judge
is not done where the lower end of a classifier's interval (DeLong) lies above the judge's own figure.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold
from torch.nn import functional

from scansynth.audit.compared import gather
from scansynth.claims.judged import read_claims
from scansynth.data.tensors import to_signed, to_stored
from scansynth.files import read_json, write_json
from scansynth.metrics.membership import auc_interval
from scansynth.metrics.telltales import as_readers_see
from scansynth.study import CLAIMS_FILE

SEED = 5
RINGS, QUANTILES, PATCH = 24, 32, 8
JUDGE = "fidelity.c2st_pixels"

Images = NDArray[np.float32]
Floats = NDArray[np.float64]


def described(images: Images) -> Floats:
    """Spectrum, grey levels and patches, (n, d)."""
    n, rows, columns = images.shape
    power = np.abs(np.fft.fft2(images - images.mean(axis=(1, 2), keepdims=True))) ** 2
    radius = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns)[None])
    ring = np.minimum((radius / 0.5 * RINGS).astype(int), RINGS - 1).ravel()
    sums = np.stack([np.bincount(ring, one.ravel(), RINGS) for one in power]) / np.bincount(ring, minlength=RINGS)
    levels = np.quantile(images.reshape(n, -1), np.linspace(0, 1, QUANTILES), axis=1).T
    inner = images[:, : rows // PATCH * PATCH, : columns // PATCH * PATCH]
    patches = inner.reshape(n, rows // PATCH, PATCH, columns // PATCH, PATCH)
    parts = (np.log(sums + 1e-9), levels, patches.mean(axis=(2, 4)), patches.std(axis=(2, 4)))
    return np.concatenate([part.reshape(n, -1) for part in parts], axis=1)


def boosting(images: Images, real: NDArray[np.bool_]) -> Floats:
    """Scores of all images, each by a model that did not see it (n,)."""
    x, scores = described(images), np.zeros(len(images))
    for learn, held in StratifiedKFold(5, shuffle=True, random_state=SEED).split(x, real):
        model = HistGradientBoostingClassifier(random_state=SEED).fit(x[learn], real[learn])
        scores[held] = model.predict_proba(x[held])[:, 1]
    return scores


def network(images: Images, real: NDArray[np.bool_], minutes: float) -> Floats:
    """The same by a DenseNet that is trained for half of the minutes on each half."""
    from monai.networks.nets import DenseNet121  # noqa: PLC0415 - slow to import, and not always asked

    scores = np.zeros(len(images))
    x, y = torch.from_numpy(images)[:, None], torch.from_numpy(real.astype(np.float32))
    for fold, (learn, held) in enumerate(StratifiedKFold(2, shuffle=True, random_state=SEED).split(images, real)):
        torch.manual_seed(SEED + fold)
        rng, start = np.random.default_rng([SEED, fold]), time.process_time()
        net = DenseNet121(spatial_dims=2, in_channels=1, out_channels=1)
        optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
        while time.process_time() - start < 30 * minutes:
            batch = torch.from_numpy(rng.choice(learn, 32, replace=False))
            shown = x[batch].flip(-1) if rng.random() < 0.5 else x[batch]
            loss = functional.binary_cross_entropy_with_logits(net(shown)[:, 0], y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        net.eval()
        with torch.no_grad():
            scores[held] = torch.cat([net(part)[:, 0] for part in x[held].split(64)]).numpy()
    return scores


def sides(study: Path) -> tuple[Images, NDArray[np.bool_]]:
    """One image of each test patient and as many synthetic ones, and which are real."""
    compared, rng = gather(study / "cohort", study / "synthetic" / "main"), np.random.default_rng(SEED)
    patients = compared.test.patients
    real = np.array([rng.choice(np.flatnonzero(patients == patient)) for patient in np.unique(patients)])
    made = rng.permutation(len(compared.synthetic))[: len(real)]
    both = np.concatenate([compared.test.images[real], compared.synthetic[made]])
    seen = to_signed(as_readers_see(to_stored(both), rng))
    return seen, np.arange(len(both)) < len(real)


def main() -> None:
    """One study; the rows of other studies in the file stay."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--name", required=True, help="what the row is called: cohort and recipe")
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    claims = read_claims(options.study / "evidence" / "main" / CLAIMS_FILE)
    judge = next(float(claim.value) for claim in claims if claim.claim == JUDGE and claim.value is not None)
    images, real = sides(options.study)
    scores = {"boosting": boosting(images, real)}
    if options.minutes:
        scores[f"network, {options.minutes:g} minutes"] = network(images, real, options.minutes)
    row: dict[str, Any] = {
        "set": options.name,
        "images_a_side": int(real.sum()),
        "side": images.shape[1],
        "judge": judge,
    }
    for name, score in scores.items():
        value, interval = auc_interval(score[real], score[~real], 0.95)
        row[name] = {"auc": round(value, 3), "interval": [round(interval.low, 3), round(interval.high, 3)]}
        row[name]["sees_more"] = interval.low > judge
    known = read_json(options.out)["rows"] if options.out.is_file() else []
    rows = [other for other in known if other["set"] != options.name] + [row]
    write_json(
        options.out,
        {
            "command": f"python benchmarks/independent_judge.py STUDY --name NAME --minutes {options.minutes:g} "
            f"--out docs/results/{options.out.name}",
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, no GPU",
            "rows": rows,
        },
    )
    print(row)


if __name__ == "__main__":
    main()
