"""A synthetic set as PNG or NPY with labels.csv, for training elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from scansynth.console import Progress
from scansynth.data.sets import load_set
from scansynth.data.tensors import load_cohort
from scansynth.errors import StudyError
from scansynth.files import new_directory, storage_faults, write_csv
from scansynth.study import Study


def export(study: Study, name: str, form: Literal["png", "npy"], out: Path, progress: Progress) -> int:
    """Writes the images of a set with their labels; returns how many.

    PNG is 16-bit grey, one file an image. NPY is one array, uint16 (n, side, side). In both 0 stands for the
    cohort's low and 65535 for its high source value.

    Raises:
        StudyError: The folder exists.
        CohortError: There is no such set, or a file of it was altered.
    """
    if out.exists():
        raise StudyError(f"{out} exists; choose another folder with --out")
    made = load_set(study.synthetic(name), load_cohort(study.cohort).facts)
    with new_directory(out) as folder, storage_faults(out):
        rows = []
        for index, (row, image) in enumerate(zip(made.rows, made.images, strict=True)):
            file = f"{Path(row['file']).stem}.png"
            if form == "png":
                Image.fromarray(image).save(folder / file)
            rows.append({"path" if form == "png" else "index": file if form == "png" else index, "label": row["label"]})
            progress(index + 1, len(made.rows))
        if form == "npy":
            np.save(folder / "images.npy", made.images, allow_pickle=False)
        write_csv(folder / "labels.csv", list(rows[0]), rows)
    return len(made.rows)
