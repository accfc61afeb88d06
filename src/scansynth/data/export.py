"""A synthetic set as PNG or NPY with labels.csv and masks, for training elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from scansynth.console import Progress
from scansynth.data.imageset import ImageSet, Kind
from scansynth.data.sets import load_set
from scansynth.data.tensors import load_cohort
from scansynth.errors import StudyError
from scansynth.files import new_directory, storage_faults, write_csv
from scansynth.study import Study


def export(study: Study, name: str, form: Literal["png", "npy"], out: Path, progress: Progress) -> int:
    """Writes the images of a set with their labels; returns how many.

    PNG is 16-bit grey, one file an image, and one of 0 and 255 for its mask where the set has masks. NPY is one array,
    uint16 (n, channels, rows, columns), and uint8 (n, rows, columns) of masks. In images 0 stands for the cohort's low
    and 65535 for its high source value. Where the background of the images is a patient, labels.csv says so.

    Raises:
        StudyError: The folder exists.
        CohortError: There is no such set, or a file of it was altered.
    """
    if out.exists():
        raise StudyError(f"{out} exists; choose another folder with --out")
    made = load_set(study.synthetic(name), load_cohort(study.cohort).facts)
    if form == "png" and len(made.facts.channels) > 1:
        raise StudyError(f"a PNG holds one grey channel and the set has {len(made.facts.channels)}; export --to npy")
    inserted = made.facts.kind is Kind.INSERTED
    with new_directory(out) as folder, storage_faults(out):
        rows = []
        for place, row in enumerate(made.rows):
            asked = {"asked": row["asked"]} if any(other.get("asked") for other in made.rows) else {}
            asked |= {"background": "patient"} if inserted else {}
            rows.append({"id": row["id"], "label": row["label"], **asked, **_files(folder, made, place, form)})
            progress(place + 1, len(made))
        if form == "npy":
            np.save(folder / "images.npy", made.images, allow_pickle=False)
            if made.masks is not None:
                np.save(folder / "masks.npy", made.masks, allow_pickle=False)
        write_csv(folder / "labels.csv", list(rows[0]), rows)
    return len(made)


def _files(folder: Path, made: ImageSet, place: int, form: Literal["png", "npy"]) -> dict[str, object]:
    """Writes the files of one image, and returns the columns of labels.csv that name them."""
    if form == "npy":
        return {"index": place}
    name = f"{made.rows[place]['id']}.png"
    Image.fromarray(np.array(made.images[place, 0])).save(folder / name)
    if made.masks is None:
        return {"path": name}
    Image.fromarray(np.array(made.masks[place]) * 255).save(folder / f"mask-{name}")
    return {"path": name, "mask": f"mask-{name}"}
