"""One contract for every set of images: cohort, generated and added sets, loose folders.

An image set is a folder with `images.npy`, `cases.csv` and `set.json`, and `masks.npy` where it has lesion masks. It is
opened once, checked against its hashes, memory-mapped, and handed on as one frozen value. DICOM, PNG and NPY are
exports of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt

from scansynth.data.stack import StackWriter
from scansynth.errors import CohortError
from scansynth.files import read_csv, read_json, sha256_file, write_csv, write_json

IMAGES, MASKS, TABLE, FACTS = "images.npy", "masks.npy", "cases.csv", "set.json"
"""Names of the files of an image set."""

NEEDED = ("id", "label", "low", "high", "spacing_row", "spacing_col")
"""Columns that the table of every image set has."""

FORMAT = 1
_GREY = ("grey",)

Images = npt.NDArray[np.uint16]
Masks = npt.NDArray[np.uint8]
Shape = tuple[int, int]


class Kind(StrEnum):
    """Where a set comes from."""

    COHORT = "cohort"
    GENERATED = "generated"
    ADDED = "added"
    LOOSE = "loose"
    INSERTED = "inserted"
    """Lesions of a generator in scans of patients of the cohort: for use inside the house only."""


@dataclass(frozen=True)
class SetFacts:
    """What is true of a set as a whole.

    Attributes:
        kind: Where it comes from.
        shape: Rows and columns of each image, pixels.
        channels: Names of the grey channels, in order.
        modality: DICOM Modality.
        provenance: What made it, by name: hashes, counts, never an identifier.
        files: SHA-256 of each file of the set, by its name; empty for a set that lies in memory alone.
    """

    kind: Kind
    shape: Shape
    modality: str
    channels: tuple[str, ...] = _GREY
    provenance: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageSet:
    """A set of images that is valid when it exists.

    Attributes:
        folder: Where it lies; for a loose folder, where its files lie.
        facts: Of the whole.
        rows: The table, one row an image.
        images: uint16 (n, channels, rows, columns); 0 stands for `low` and 65535 for `high` of the image's row.
        masks: uint8 (n, rows, columns), 0 or 1: where the lesion is; none for a set without masks.

    Raises:
        CohortError: Images, masks, table and facts do not fit together.
    """

    folder: Path
    facts: SetFacts
    rows: tuple[Mapping[str, str], ...]
    images: Images
    masks: Masks | None = None

    def __post_init__(self) -> None:
        wanted = (len(self.rows), len(self.facts.channels), *self.facts.shape)
        if self.images.dtype != np.uint16 or self.images.shape != wanted:
            raise CohortError(f"{IMAGES} of {self.folder.name} has the shape {self.images.shape}, not {wanted}")
        if self.masks is not None and (
            self.masks.dtype != np.uint8 or self.masks.shape != (len(self.rows), *self.facts.shape)
        ):
            raise CohortError(f"{MASKS} of {self.folder.name} does not fit its {IMAGES}: {self.masks.shape}")
        lacking = [name for name in NEEDED if self.rows and name not in self.rows[0]]
        if lacking:
            raise CohortError(f"{TABLE} of {self.folder.name} lacks the column {lacking[0]}")
        if len({row["id"] for row in self.rows}) < len(self.rows):
            raise CohortError(f"{TABLE} of {self.folder.name} names an image twice")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ids(self) -> tuple[str, ...]:
        """Name of each image within the set."""
        return tuple(row["id"] for row in self.rows)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label of each image."""
        return tuple(row["label"] for row in self.rows)

    @property
    def planes(self) -> Images:
        """The images as single planes; see `as_planes`."""
        return as_planes(self.images)


def as_planes(images: Images) -> Images:
    """Images (n, channels, rows, columns) as (n, channels * rows, columns): channels stand below each other.

    With one channel this is the image itself. Whatever compares images or looks for copies sees all channels so.
    """
    count, channels, rows, columns = images.shape
    return images.reshape(count, channels * rows, columns)


class SetWriter:
    """Writes an image set image by image, so that memory does not grow with it.

    Args:
        folder: An empty folder, usually of `files.new_directory`.
        shape: Rows and columns.
        channels: Names of the channels.
        masked: Whether the set has masks.
        keep: Images that stand in the folder already; their masks are written again.
    """

    def __init__(
        self, folder: Path, shape: Shape, channels: tuple[str, ...] = _GREY, *, masked: bool = False, keep: int = 0
    ) -> None:
        self._folder, self._shape, self._channels, self._masked, self._keep = folder, shape, channels, masked, keep
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        whole = (len(self._channels), *self._shape)
        self._images = self._stack.enter_context(StackWriter(self._folder / IMAGES, whole, "<u2", self._keep))
        self._masks = (
            self._stack.enter_context(StackWriter(self._folder / MASKS, self._shape, "u1")) if self._masked else None
        )
        return self

    def append(self, image: Images, mask: Masks | None = None) -> None:
        """Adds one image.

        Args:
            image: uint16 (channels, rows, columns), or (rows, columns) for one channel.
            mask: uint8 (rows, columns), 0 or 1; none: empty, in a set with masks.

        Raises:
            ValueError: Image or mask has another shape.
        """
        self.append_image(image)
        self.append_mask(mask)

    def append_image(self, image: Images) -> None:
        """Adds one image; its mask is added apart."""
        self._images.append(image if image.ndim == 3 else image[None])

    def append_mask(self, mask: Masks | None) -> None:
        """Adds the mask of the next image that has none yet."""
        if self._masks is not None:
            self._masks.append(np.zeros(self._shape, np.uint8) if mask is None else mask)

    @property
    def images(self) -> BinaryIO:
        """The open file of the images."""
        return self._images.stream

    def move(self, folder: Path) -> None:
        """Moves the files to another folder of the same disk, once all images are there."""
        for name in (IMAGES, *((MASKS,) if self._masked else ())):
            (self._folder / name).replace(folder / name)
        self._folder = folder

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, fault, trace)

    def finish(
        self,
        kind: Kind,
        modality: str,
        rows: Iterable[Mapping[str, object]],
        columns: Sequence[str] = NEEDED,
        provenance: Mapping[str, str] | None = None,
    ) -> SetFacts:
        """Writes table and facts once all images are there; returns the facts, with the hash of each file.

        Args:
            kind: Where the set comes from.
            modality: DICOM Modality.
            rows: One for each image, in the images' order, with the keys of `columns`.
            columns: Columns of the table, `NEEDED` among them.
            provenance: What made the set.
        """
        write_csv(self._folder / TABLE, columns, rows)
        names = (IMAGES, TABLE, *((MASKS,) if self._masked else ()))
        facts = SetFacts(
            kind=kind,
            shape=self._shape,
            modality=modality,
            channels=self._channels,
            provenance=dict(provenance or {}),
            files={name: sha256_file(self._folder / name) for name in names},
        )
        write_json(self._folder / FACTS, {"format": FORMAT, **asdict(facts)})
        return facts


def open_set(folder: Path) -> ImageSet:
    """The image set in a folder, checked against its hashes; read once in a process, while its files stay as they are.

    Raises:
        FileNotFoundError: There is no image set.
        CohortError: A file is missing, altered or damaged, or the parts do not fit together.
    """
    facts = folder / FACTS
    if not facts.is_file():
        raise FileNotFoundError(facts)
    names = (FACTS, IMAGES, TABLE, MASKS)
    found = [(name, (folder / name).stat()) for name in names if (folder / name).is_file()]
    return _opened(folder, tuple((name, one.st_ino, one.st_size, one.st_mtime_ns) for name, one in found))


@lru_cache(maxsize=8)
def _opened(folder: Path, stamps: tuple[tuple[str, int, int, int], ...]) -> ImageSet:
    """The set whose files bear these stamps."""
    facts = _read_facts(folder)
    there = {name for name, *_ in stamps}
    for name, digest in facts.files.items():
        if name not in there:
            raise CohortError(f"{name} of {folder.name} is missing")
        if sha256_file(folder / name) != digest:
            raise CohortError(f"{name} of {folder.name} was altered after it was written")
    if not {IMAGES, TABLE} <= facts.files.keys():
        raise CohortError(f"{FACTS} of {folder.name} is damaged")
    try:
        rows = tuple(read_csv(folder / TABLE))
        images: Images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
        masks: Masks | None = (
            np.load(folder / MASKS, mmap_mode="r", allow_pickle=False) if MASKS in facts.files else None
        )
    except (OSError, ValueError) as fault:
        raise CohortError(f"the image set {folder.name} is damaged") from fault
    return ImageSet(folder, facts, rows, images, masks)


def _read_facts(folder: Path) -> SetFacts:
    try:
        values = read_json(folder / FACTS)
        version = values.pop("format")
        if version != FORMAT:
            raise CohortError(f"{folder.name} is an image set of format {version}, and this scansynth reads {FORMAT}")
        rows, columns = (int(side) for side in values["shape"])
        return SetFacts(
            **{
                **values,
                "kind": Kind(values["kind"]),
                "shape": (rows, columns),
                "channels": tuple(values["channels"]),
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise CohortError(f"{FACTS} of {folder.name} is damaged") from fault
