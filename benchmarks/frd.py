"""Is the Fréchet radiomics distance steady enough to be a judge? Writes frd.json.

    python benchmarks/frd.py STUDY --radiomics PYTHON --out docs/results/frd.json [--patients 300] [--draws 100]

STUDY is an ingested study: one image a patient is taken, of all roles, for no generator is judged here. PYTHON is the
interpreter of an environment that holds frd-score 1.0.1 and pyradiomics 3.0.1 (which has no wheel and must be built:
`pip install "setuptools<70" wheel versioneer cython numpy`, then `pip install --no-build-isolation pyradiomics==3.0.1
frd-score`). The 464 features of FRD version 1 are taken there, from 16-bit pictures.

In each draw two halves of patients are taken, and the second is the synthetic set: as it is, or with a fault that was
planted. How far a measure separates the draws with a fault from those without is its power: the area under the curve,
0.5 is chance. KID with the audit's fixed filters is asked of the same draws.

The rule, written before the first run. FRD becomes a judge of the audit when all of these hold:

* at 50 images a side, it separates every fault as well as KID does, less 0.02 at most, and one better by 0.05;
* its figure for two halves of the same patients changes by less than a tenth between 50 images a side and the most;
* it takes at most 0.05 s an image: the demonstration's audit asks 1,500 images and has 60 s.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import linalg

from scansynth.data.tensors import Case, load_cohort, to_signed
from scansynth.files import write_json
from scansynth.metrics import planted
from scansynth.metrics.features import JUDGE_SEED, fit_scale, random_encoder
from scansynth.metrics.kid import kid
from scansynth.metrics.roc import auc

SEED = 11
Images = NDArray[np.float32]
Floats = NDArray[np.float64]

_FEATURES = """
import sys
from pathlib import Path
import numpy as np
from frd_score import frd
folder, processes = Path(sys.argv[1]), int(sys.argv[2])
frd.logging.disable()
extractor = frd.get_feature_extractor(features=None, frd_version="v1")
files = sorted(str(path) for path in folder.glob("*.png"))
values, _, _ = frd.compute_features(files, extractor, num_workers=processes, frd_version="v1")
np.save(folder / "features.npy", values)
"""

FAULTS: dict[str, Callable[[Images], Images]] = {
    "blur of 0.35 pixel": lambda images: planted.blur(images, 0.35),
    "blur of 1 pixel": planted.blur,
    "noise of 1%": lambda images: planted.noise(images, 0.01, np.random.default_rng(SEED)),
    "JPEG, quality 90": planted.jpeg,
    "gamma 1.1": lambda images: planted.gamma(images, 1.1),
}


def one_a_patient(study: Path, most: int) -> Images:
    """An image of each of at most `most` patients, (n, rows, columns) in [-1, 1]."""
    cohort = load_cohort(study / "cohort")
    first: dict[str, Case] = {}
    for case in cohort.cases:
        first.setdefault(case.patient, case)
    order = np.random.default_rng(SEED).permutation(sorted(case.index for case in first.values()))[:most]
    return to_signed(np.asarray(cohort.images.images[np.sort(order), 0]))


def radiomics(images: Images, python: Path, processes: int) -> tuple[Floats, float]:
    """Features (n, d) and processor seconds an image."""
    with tempfile.TemporaryDirectory() as name:
        for index, image in enumerate(images):
            grey = np.round((image + 1) / 2 * 65535).astype(np.uint16)
            Image.fromarray(grey).save(Path(name) / f"{index:05d}.png")
        before = os.times()
        words = [str(python), "-c", _FEATURES, name, str(processes)]
        subprocess.run(words, check=True, capture_output=True)
        after = os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        return np.load(Path(name) / "features.npy"), spent / len(images)


def frd(real: Floats, made: Floats) -> float:
    """FRD of version 1: Fréchet's distance in units of the first set's spread, its logarithm (arXiv 2412.01496)."""
    mean, spread = real.mean(axis=0), real.std(axis=0)
    kept = np.isfinite(mean) & (spread > 0) & np.isfinite(made).all(axis=0)
    one, two = ((side[:, kept] - mean[kept]) / spread[kept] for side in (real, made))
    first, second = np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    # the trace of the root of a product: by the roots of its eigenvalues, as stable as sqrtm and faster
    root = np.sqrt(np.maximum(linalg.eigvals(first @ second).real, 0)).sum()
    distance = ((one.mean(axis=0) - two.mean(axis=0)) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * root
    return float(np.log(max(distance, 1e-12)))


def asked(size: int, draws: int, measure: Callable[[Floats, Floats], float], real: Floats, made: Floats) -> Floats:
    """The measure on so many draws of two disjoint sets of patients, the second of them from `made`."""
    rng = np.random.default_rng(SEED)
    pairs = (np.split(rng.permutation(len(real))[: 2 * size], 2) for _ in range(draws))
    return np.asarray([measure(real[one], made[two]) for one, two in pairs])


def powers(sizes: list[int], draws: int, measure: Callable[[Floats, Floats], float], sets: dict[str, Floats]) -> Any:
    """For each size the real-against-real figures and how far each fault is separated from them."""
    rows = []
    for size in sizes:
        floor = asked(size, draws, measure, sets["real"], sets["real"])
        row: dict[str, Any] = {
            "images a side": size,
            "real": [round(float(v), 4) for v in np.quantile(floor, (0.05, 0.5, 0.95))],
        }
        for fault in FAULTS:
            found = asked(size, draws, measure, sets["real"], sets[fault])
            row[fault] = round(float(auc(found, floor)), 3)
        rows.append(row)
    return rows


def verdict(ours: Any, theirs: Any, seconds: float) -> dict[str, bool]:
    """The three parts of the rule."""
    small, least = {fault: theirs[0][fault] - ours[0][fault] for fault in FAULTS}, theirs[0]["real"][1]
    return {
        "sees as much as KID, and more somewhere": bool(min(small.values()) >= -0.02 and max(small.values()) >= 0.05),
        "steady between sizes": bool(abs(theirs[-1]["real"][1] - least) < 0.1 * abs(least)),
        "quick enough": bool(seconds <= 0.05),
    }


def main() -> None:
    """Both measures on all sets."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--radiomics", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=300)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    images = one_a_patient(options.study, options.patients)
    encode = random_encoder(JUDGE_SEED)
    scale, started = fit_scale(encode(images)), time.process_time()
    ours, theirs, seconds = dict[str, Floats](), dict[str, Floats](), list[float]()
    for name in ("real", *FAULTS):
        made = FAULTS[name](images) if name in FAULTS else images
        ours[name] = scale(encode(made))
        theirs[name], each = radiomics(made, options.radiomics, options.processes)
        seconds.append(each)
        print(name, f"{each:.2f} s an image", flush=True)
    sizes = [size for size in (50, 100, 150) if 2 * size <= len(images)]
    rows = {
        "KID": powers(sizes, options.draws, kid, ours),
        "FRD": powers(sizes, options.draws, frd, theirs),
    }
    write_json(
        options.out,
        {
            "command": "python benchmarks/frd.py STUDY --radiomics PYTHON --out docs/results/frd.json",
            "patients": len(images),
            "side": images.shape[1],
            "draws": options.draws,
            "processor seconds an image": round(float(np.median(seconds)), 3),
            "power": rows,
            "rule": verdict(rows["KID"], rows["FRD"], float(np.median(seconds))),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "seconds": round(time.process_time() - started),
        },
    )


if __name__ == "__main__":
    main()
