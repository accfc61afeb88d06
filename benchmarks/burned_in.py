"""Text in the pixels: how often clean images are noted, and how often planted text is missed.

    python benchmarks/burned_in.py FOLDER [FOLDER ...] [--images N] [--planted N] [--out FILE]

Each folder holds DICOM files without text. A name and a date of 8 to 24 pixels are planted at the upper or lower edge,
at half, 0.7 and 0.9 of the grey range. Needs Tesseract.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scansynth.data.scans.burned_in import TextSearch
from scansynth.data.scans.eligibility import why_left_out
from scansynth.data.scans.sources import find_sources
from scansynth.dicom.pixels import decode
from scansynth.dicom.read import Limits, read_header
from scansynth.dicom.sandbox import Decoded
from scansynth.dicom.text import text_places
from scansynth.errors import DicomError
from scansynth.seeds import generator

WORDS = "SMITH JOHN 1961-03-07"


def images_of(folder: Path, count: int) -> list[np.ndarray]:
    """Images spread over a folder."""
    found = []
    for source in find_sources(folder):
        try:
            header = read_header(source.path, Limits())
            if why_left_out(header, header.modality) is None and header.modality != "US":
                found.append((source.path, header))
        except DicomError:
            continue
    return [decode(path, header) for path, header in found[:: max(1, len(found) // count)][:count]]


def planted(image: np.ndarray, rng: np.random.Generator, level: float) -> np.ndarray:
    """The image with a name and a date at an edge, at a share of its range."""
    height = int(rng.integers(8, 25))
    top = int(rng.integers(2, 8)) if rng.random() < 0.5 else image.shape[0] - height - 8
    layer = Image.new("L", (image.shape[1], image.shape[0]), 0)
    font = ImageFont.load_default(height)
    ImageDraw.Draw(layer).text((int(rng.integers(2, 30)), top), WORDS, fill=255, font=font)
    share = np.asarray(layer, np.float32) / 255.0
    low, high = float(image.min()), float(image.max())
    return np.asarray(image * (1 - share) + share * (low + level * (high - low)), np.float32)


def graded(images: list[np.ndarray]) -> dict[str, int]:
    """How many images were found with text, how many are noted, and how many are passed."""
    search = TextSearch("leave out")
    pairs: Any = (
        (SimpleNamespace(case=str(place)), Decoded(image, "", tuple(text_places(image))))
        for place, image in enumerate(images)
    )
    for _ in search.search(pairs):
        pass
    counts = Counter(done for _, _, done, _ in search.listed)
    return {"images": len(images), **counts, "no spot": len(images) - len(search.listed)}


def main() -> None:
    """Parses the command line and prints the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--planted", type=int, default=60)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}",
        "command": f"python benchmarks/burned_in.py DATA/chest-mr DATA/lidc-slices/dicom --out {options.out}",
    }
    for folder in options.folders:
        images = images_of(folder, options.images)
        rng = generator(0, "burned-in text")
        result[folder.name if folder.name != "dicom" else folder.parent.name] = {
            "clean": graded(images),
            **{
                f"planted at {level}": graded([planted(image, rng, level) for image in images[: options.planted]])
                for level in (0.5, 0.7, 0.9)
            },
        }
    text = json.dumps(result, indent=2) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
