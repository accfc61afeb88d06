"""A synthetic set of a study: an image set on the cohort's scale, and the manifest of its DICOM files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from scansynth.data.imageset import FACTS, NEEDED, ImageSet, Kind, open_set
from scansynth.data.tensors import CohortFacts, in_pixels
from scansynth.errors import CohortError
from scansynth.files import read_json, write_csv

MANIFEST = "manifest.csv"
COLUMNS = (
    "file",
    "id",
    "index",
    "seed",
    "sop_instance_uid",
    "weights_sha256",
    "label",
    "asked",
    "sha256",
    "mask",
    "mask_sha256",
)
"""Columns of a manifest: `file`, and `mask` as DICOM SEG, relative to the folder; hashes of what was written; what was
`asked` of the image besides its label."""

SET_COLUMNS = (*NEEDED, "seed", "index", "weights_sha256", "source_sha256", "asked")
"""Columns of a synthetic set's table; empty where they do not apply."""

LABEL_SEPARATOR = "|"
"""Stands between the labels of an image whose generator learned several classes without telling them apart."""


def write_manifest(folder: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Writes `manifest.csv`: the files that were written from a set, with the hash of each."""
    write_csv(folder / MANIFEST, COLUMNS, rows)


def set_rows(
    facts: CohortFacts, labels: Sequence[str], columns: Mapping[str, Sequence[object]]
) -> list[dict[str, object]]:
    """Rows of a synthetic set's table, numbered from 0: the cohort's scale and spacing stand in each.

    Args:
        facts: Of the cohort that the set imitates.
        labels: Of the images.
        columns: Other columns of `SET_COLUMNS`, a value for each image.
    """
    scale = {
        "low": repr(facts.low),
        "high": repr(facts.high),
        "spacing_row": f"{facts.spacing[0]:.9g}",
        "spacing_col": f"{facts.spacing[1]:.9g}",
    }
    blank = dict.fromkeys(SET_COLUMNS, "")
    return [
        {
            **blank,
            **scale,
            "id": f"{place:06d}",
            "index": place,
            "label": label,
            **{name: values[place] for name, values in columns.items()},
        }
        for place, label in enumerate(labels)
    ]


def is_inserted(folder: Path) -> bool:
    """Whether a folder holds a set of lesions in scans of patients."""
    return (folder / FACTS).is_file() and read_json(folder / FACTS).get("kind") == Kind.INSERTED


def origins_of(name: str) -> str:
    """Name of the table, in the folder that never leaves, that says which scan each image of such a set shows."""
    return f"{name}-origins.csv"


def load_set(folder: Path, facts: CohortFacts) -> ImageSet:
    """The synthetic set in `folder`, checked against its hashes and against the cohort.

    Args:
        folder: The set's folder.
        facts: Facts of the cohort that it imitates.

    Raises:
        CohortError: There is no set, a file is missing, altered or damaged, it is empty, or has another shape.
    """
    try:
        made = open_set(folder)
    except FileNotFoundError:
        raise CohortError(f"there is no image set {folder.name}; run: scansynth generate STUDY") from None
    except CohortError as fault:
        raise CohortError(f"{fault}; generate the set again") from None
    if not len(made):
        raise CohortError(f"the set {folder.name} is empty; generate it again")
    if made.facts.shape != tuple(facts.shape):
        raise CohortError(
            f"the set {folder.name} has images of {in_pixels(made.facts.shape)}, and the cohort of "
            f"{in_pixels(facts.shape)}; generate the set again"
        )
    return made
