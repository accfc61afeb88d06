"""How well `whose` knows released images again, and how often it claims others.

    python benchmarks/whose.py --release RELEASE --others NAME=FOLDER ... --out docs/results/whose.json

RELEASE is a release; each FOLDER holds an `images.npy` as image sets have it: the cohort that the set was modelled on,
a set by the same generator under another seed, a set of another kind. Images are laid on the register of the release as
they are and after each change, and count as claimed from the release's own threshold on.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image

from scansynth.files import read_csv, read_json
from scansynth.metrics.fingerprint import likeness
from scansynth.release.manifest import TABLE
from scansynth.release.register import PRINTS, REGISTER
from scansynth.seeds import generator
from scansynth.statistics import clopper_pearson

Change = Callable[[np.ndarray], np.ndarray]


def jpeg(quality: int) -> Change:
    """Brought to 8 bits and compressed."""

    def change(image: np.ndarray) -> np.ndarray:
        low, high = float(image.min()), float(image.max())
        grey = np.rint((image - low) * (255.0 / max(high - low, 1.0))).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(grey).save(stream, "JPEG", quality=quality)
        return np.asarray(Image.open(stream))

    return change


def resized(times: float) -> Change:
    """Another size, bilinear."""

    def change(image: np.ndarray) -> np.ndarray:
        size = (round(image.shape[1] * times), round(image.shape[0] * times))
        return np.asarray(Image.fromarray(image.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))

    return change


def cropped(top: float, left: float) -> Change:
    """80% of both sides, from a place given in shares of the side."""

    def change(image: np.ndarray) -> np.ndarray:
        rows, columns = image.shape
        first, start = round(rows * top), round(columns * left)
        return image[first : first + round(rows * 0.8), start : start + round(columns * 0.8)]

    return change


CHANGES: Mapping[str, Change] = {
    "as it is": lambda image: image,
    "JPEG, quality 75": jpeg(75),
    "JPEG, quality 40": jpeg(40),
    "half the size": resized(0.5),
    "twice the size": resized(2.0),
    "cropped to 80%, middle": cropped(0.1, 0.1),
    "cropped to 80%, corner": cropped(0.0, 0.2),
    "cropped, enlarged, JPEG 60": lambda image: jpeg(60)(resized(1.6)(cropped(0.05, 0.15)(image))),
}


def share(found: int, of: int) -> dict[str, Any]:
    """A share with its 95% interval."""
    interval = clopper_pearson(found, of)
    return {"claimed": found, "of": of, "interval": [round(interval.low, 4), round(interval.high, 4)]}


def main() -> None:
    """Parses the command line, lays images on the register, writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", type=Path, required=True)
    parser.add_argument("--others", nargs="+", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    about, prints = read_json(options.release / REGISTER), np.load(options.release / PRINTS)
    threshold = about["threshold"] if about["threshold"] is not None else 2.0
    rows = read_csv(options.release / TABLE)
    draw = generator(0, "whose")
    places = draw.permutation(len(rows))[: options.images]
    ours = [pydicom.dcmread(options.release / rows[place]["file"]).pixel_array for place in places]
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "command": "python benchmarks/whose.py --release RELEASE --others NAME=FOLDER --out docs/results/whose.json",
        "register": {**about, "images": len(rows)},
        "known again": {},
        "claimed of others": {},
    }
    for name, change in CHANGES.items():
        scores = [likeness(change(image), prints, about["aspect"]) for image in ours]
        found = zip(scores, places, strict=True)
        right = sum(one.argmax() == place and one.max() >= threshold for one, place in found)
        result["known again"][name] = share(int(right), len(ours))
        print(name, right, len(ours), flush=True)
    for given in options.others:
        title, _, folder = given.partition("=")
        images = np.load(Path(folder) / "images.npy", mmap_mode="r")
        chosen = [np.array(images[place, 0]) for place in draw.permutation(len(images))[: options.images]]
        result["claimed of others"][title] = {}
        for name in ("as it is", "JPEG, quality 40", "half the size", "cropped to 80%, middle"):
            claimed = sum(likeness(CHANGES[name](one), prints, about["aspect"]).max() >= threshold for one in chosen)
            result["claimed of others"][title][name] = share(int(claimed), len(chosen))
            print(title, name, claimed, len(chosen), flush=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
