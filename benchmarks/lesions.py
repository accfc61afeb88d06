"""Does the lesion detector find places? On the phantom, and on lung CT patches with the nodule off centre and centred.

    python benchmarks/lesions.py --patches FOLDER --work FOLDER --out docs/results/lesions.json

FOLDER of --patches is a copy of `lidc-patches`; --work is kept, and the same command goes on there. Three cohorts:

- `phantom`: whole slices of 128 pixels, lesions where the anatomy allows them;
- `off-centre`: of each patch of 40 pixels a window of 24 at a random place, the nodule's centre up to 8 pixels from its
  middle each way; windows of patches without a nodule are drawn likewise;
- `centred`: the middle 24 pixels of the same patches.

Nodules whose mask is larger than a disc of 5 pixels radius are left out of both: they fill such a window. Each cohort
is ingested, and five detectors of the arm `basic` are trained as a trial trains them. CPM is measured on test patients,
beside what needs no knowledge of an image's places: the same marks at other patients' lesion locations
(`elsewhere`), and one
mark in the middle of each image, with its score (`middle`). On `off-centre` the detectors of `centred` are tried too.

The rule, written before any of these detectors was trained: that places are found is `shown` when the 95% interval of
CPM less that of `elsewhere` lies wholly above 0, `refuted` when wholly below, else `not shown`. (It took `middle` for
the floor at first, with nodules of all sizes. A trial run of 20 steps told that several marks an image pass that
without knowing anything, and that large nodules lie in the middle wherever they are; both changed before the first
whole training.) Expected is `shown` on `phantom` and `off-centre`, with `middle` far below the detector, and on
`centred` a `middle` about as good as the detector: there it is the answer.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import torch
from numpy.typing import NDArray
from PIL import Image

from scansynth.config import StudyConfig
from scansynth.data.ingest import ingest
from scansynth.data.tensors import load_cohort, select
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.files import new_directory, read_csv, write_csv, write_json
from scansynth.learning.device import pick_device
from scansynth.ledger import Use
from scansynth.metrics.marks import Candidates, Lesions, Marks, mark
from scansynth.phantom.cohort import write_phantom_cohort
from scansynth.seeds import generator
from scansynth.statistics import Direction, verdict
from scansynth.study import LESIONS, Study
from scansynth.utility.detector.detector import load_detector, score_images
from scansynth.utility.gathering import blocks, detections, lesions_of
from scansynth.utility.grid import Grid, declare, run_grid, write_plan
from scansynth.utility.statistics.effects import measure
from scansynth.utility.statistics.froc import CURVE, POINTS, measure_froc
from scansynth.utility.statistics.outcomes import Block, Scored
from scansynth.utility.statistics.resampling import aucs, once, rank
from scansynth.utility.statistics.results import as_plain

WINDOW, REACH = 24, 8
"""Side of the window, and how far its middle may lie from that of the patch, each way; pixels of the patch."""

LARGEST = 5.0
"""Radius of the largest nodule that takes part, pixels of the patch, as that of a disc of the mask's area."""

PAIRS, DRAWS, RATE = 5, 2000, 0.1
PATIENTS, PHANTOM_SIDE, PATCH_SIDE = 240, 128, 64
COHORTS = ("phantom", "off-centre", "centred")


def cut_patches(source: Path, out: Path, reach: int, seed: int = 0, limit: int | None = None) -> None:
    """A cohort of windows of the patches, their masks cut alike; it appears whole, or not at all.

    Args:
        source: Folder with `labels.csv`, uncompressed DICOM, and masks.
        out: New folder.
        reach: How far a window's middle may lie from that of its patch, each way, pixels; 0: it never does.
        seed: Of the places.
        limit: Of images; none: all.
    """
    rows = [row for row in read_csv(source / "labels.csv")[:limit] if _is_small(source, row)]
    with new_directory(out) as folder:
        for row in rows:
            down, across = generator(seed, "window", row["path"]).integers(-reach, reach + 1, size=2)
            image = pydicom.dcmread(source / row["path"])
            window = _window(image.pixel_array, int(down), int(across))
            image.Rows, image.Columns = window.shape
            image.PixelData = window.tobytes()
            (folder / row["path"]).parent.mkdir(parents=True, exist_ok=True)
            image.save_as(folder / row["path"])
            if row["mask"]:
                (folder / row["mask"]).parent.mkdir(parents=True, exist_ok=True)
                mask = np.asarray(Image.open(source / row["mask"]))
                Image.fromarray(_window(mask, int(down), int(across))).save(folder / row["mask"])
        write_csv(folder / "labels.csv", ("path", "patient_id", "label", "mask"), [_named(row) for row in rows])


def _is_small(source: Path, row: dict[str, str]) -> bool:
    """Whether the nodule, if there is one, is no larger than those that take part."""
    if not row["mask"]:
        return True
    area = np.count_nonzero(np.asarray(Image.open(source / row["mask"])))
    return bool(np.sqrt(area / np.pi) <= LARGEST)


def _named(row: dict[str, str]) -> dict[str, object]:
    return {name: row[name] for name in ("path", "patient_id", "label", "mask")}


def _window(values: NDArray[Any], down: int, across: int) -> NDArray[Any]:
    """The window whose middle lies so far from that of the image."""
    row, column = ((side - WINDOW) // 2 + shift for side, shift in zip(values.shape, (down, across), strict=True))
    return np.ascontiguousarray(values[row : row + WINDOW, column : column + WINDOW])


def make_study(name: str, source: Path, folder: Path, steps: int) -> Study:
    """A cohort with lesions, ingested where it is not yet."""
    phantom = name == "phantom"
    config = StudyConfig.model_validate(
        {
            "name": name,
            "cohort": {
                "dicom": str(source),
                "labels": str(source / "labels.csv"),
                "positive": "nodule",
                "size": PHANTOM_SIDE if phantom else PATCH_SIDE,
                "view": "chest" if phantom else "patch",
            },
            "utility": {"pairs": PAIRS, "lesions": "on", "network": "small", "steps": steps, "draws": DRAWS},
        }
    )
    reals = config.utility.model_copy(update={"arms": ("basic",)})  # no synthetic image takes part
    study = Study(folder, config.model_copy(update={"utility": reals}))
    if not study.cohort.exists():
        ingest(study, InstitutionKey(b"benchmark key" * 3), lambda done, total, note="": None)
    return study


def train(study: Study) -> Grid:
    """The detectors, trained where they are not yet."""
    grid = declare(study, lambda fraction, pair, without: ())
    write_plan(study, grid)
    run_grid(study, grid, lambda done, total, note="": print(f"  {study.config.name}: {done} of {total}", flush=True))
    return grid


@dataclass(frozen=True)
class Row:
    """A detector, or what stands in for one, on the test images.

    Attributes:
        name: As in the result.
        marks: Of each pair.
    """

    name: str
    marks: tuple[Marks, ...]


def mark_middles(scores: NDArray[np.float64], side: int, lesions: Lesions) -> Marks:
    """One mark in the middle of each image, with the image's score."""
    middle = np.full(len(scores), (side - 1) / 2.0)
    return mark(Candidates(np.arange(len(scores)), middle, middle, scores), lesions, len(scores))


def strangers(study: Study, block: Block, lesions: Lesions, other: Grid) -> Row:
    """The detectors of another cohort of the same patients on the test images."""
    test = select(load_cohort(study.cohort), Use.UTILITY)
    place = {case.case: index for index, case in enumerate(test.cases)}
    images = test.planes[[place[str(case)] for case in block.test.cases]]
    device, marks = pick_device(), []
    for spec in other.specs:
        network, _ = load_detector(spec.folder, device)
        found = score_images(network, images, device).candidates or ()
        seen = [(image, *asdict(one).values()) for image, ones in enumerate(found) for one in ones]
        image, row, column, score = (np.array(values) for values in zip(*seen, strict=True))
        marks.append(mark(Candidates(image, row, column, score), lesions, len(images)))
    return Row("detector of centred", tuple(marks))


def judge(study: Study, grid: Grid, other: Grid | None = None, draws: int = DRAWS) -> dict[str, Any]:
    """Every figure of a cohort."""
    (block,) = blocks(study, grid)
    side, scores = load_cohort(study.cohort).facts.shape[0], block.test.scores[0]
    place = {str(case): index for index, case in enumerate(block.test.cases)}
    lesions = lesions_of(read_csv(study.trial / LESIONS), place)
    found = detections(study, grid, (block,))[0]
    if len(found.patients) < len(place):
        raise SystemExit("an image with a lesion has no mask: it has no place in this comparison")
    rows = [
        Row("detector", found.marks[0]),
        Row("elsewhere", found.dealt),
        Row("middle", tuple(mark_middles(own, side, lesions) for own in scores)),
        *([] if other is None else [strangers(study, block, lesions, other)]),
    ]
    together = replace(found, marks=tuple(row.marks for row in rows))
    froc = measure_froc(together, draws, generator(0, "lesions"))
    compared = [(0, 1), (0, 2), *([(0, 3), (3, 1)] if other is not None else [])]
    area = measure(block.calibrate, block.test, RATE, draws, generator(0, "images")).auc.arm(0)
    learned = [one for (_, _), one in sorted(block.train.items())]
    return {
        "test_patients": len(np.unique(block.test.patients)),
        "test_images": len(block.test.cases),
        "test_lesions": len(lesions.image),
        "median_radius_pixels": float(np.median(lesions.radius)),
        "side": side,
        "auc_of_images": as_plain(area),
        "auc_on_train": [round(_auc(one), 4) for one in learned],
        "cpm": {row.name: as_plain(froc.cpm.arm(place)) for place, row in enumerate(rows)},
        "found_at": {
            row.name: {f"{point:g}": as_plain(froc.points[CURVE.index(point)].arm(place)) for point in POINTS}
            for place, row in enumerate(rows)
        },
        "less": {
            f"{rows[one].name} less {rows[other].name}": as_plain(froc.cpm.contrast(one, other))
            for one, other in compared
        },
        "places_found": verdict(froc.cpm.contrast(0, 1).interval, 0.0, Direction.AT_LEAST).value,
    }


def _auc(one: Scored) -> float:
    """Of the images that a detector learned from."""
    positive, negative = one.scores[one.positive], one.scores[~one.positive]
    return float(aucs(positive, once(len(positive)), rank(negative, once(len(negative))))[0])


def sources(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Path]:
    """The scans of each cohort, made where they are not yet."""
    folders = {name: options.work / f"{name}-scans" for name in names}
    for name, folder in folders.items():
        if folder.exists():
            continue
        if name == "phantom":
            write_phantom_cohort(folder, PATIENTS, PHANTOM_SIDE)
        else:
            cut_patches(options.patches, folder, REACH if name == "off-centre" else 0)
    return folders


def main() -> None:
    """Trains and judges the cohorts, and writes the result after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=800)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    device = pick_device()
    result: dict[str, Any] = {
        "command": "python benchmarks/lesions.py --patches FOLDER --work FOLDER --out docs/results/lesions.json",
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {device.kind}: {device.name}, "
        f"Python {platform.python_version()}, torch {torch.__version__}",
        "pairs": PAIRS,
        "steps": options.steps,
        "draws": DRAWS,
        "window_pixels": WINDOW,
        "reach_pixels": REACH,
        "largest_radius_pixels": LARGEST,
        "cohorts": {},
    }
    names = [name for name in COHORTS if name == "phantom" or options.patches]
    folders = sources(options, names)
    grids: dict[str, tuple[Study, Grid]] = {}
    for name in names:
        study = make_study(name, folders[name].resolve(), (options.work / name).resolve(), options.steps)
        grids[name] = (study, train(study))
    for name in names:
        other = grids["centred"][1] if name == "off-centre" else None
        result["cohorts"][name] = judge(*grids[name], other)
        print(f"{name}: places found: {result['cohorts'][name]['places_found']}", flush=True)
        write_json(options.out, result)


if __name__ == "__main__":
    main()
