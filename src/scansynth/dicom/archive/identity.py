"""What a file from an archive is, and whether it is whole; looked at in a confined child process.

An archive is trusted no more than a folder of files: what arrives may be cut short, be another image than was asked
for, or be made to break its reader.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydicom.filereader import read_dataset, read_preamble
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from scansynth.dicom import attributes as attr
from scansynth.dicom.children import Sandbox
from scansynth.dicom.header import valid_uid
from scansynth.dicom.read import DEFLATED, Limits, layout, mapped, quiet
from scansynth.errors import DicomError

MOST_BYTES = Limits().max_file_bytes
"""Of one file: as much as ingest reads."""

_UIDS = (
    attr.SOP_CLASS_UID,
    Tag("StudyInstanceUID"),
    Tag("SeriesInstanceUID"),
    Tag("SOPInstanceUID"),
)
_PIXELS = {attr.FLOAT_PIXEL_DATA, attr.DOUBLE_PIXEL_DATA, attr.PIXEL_DATA}
_LONG_VALUE = 1 << 16
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True)
class Identity:
    """Which image a file holds; identifiers stay out of its `repr`.

    Attributes:
        sop_class: Storage class.
        study: Study Instance UID, well formed.
        series: Series Instance UID, well formed.
        instance: SOP Instance UID, well formed.
        synthetic: Whether the file says that it is synthetic (PS3.3 C.12.1).
    """

    sop_class: str
    study: str = field(repr=False)
    series: str = field(repr=False)
    instance: str = field(repr=False)
    synthetic: bool

    def __post_init__(self) -> None:
        if not all(valid_uid(uid) for uid in (self.sop_class, self.study, self.series, self.instance)):
            raise DicomError("bad UID", "a UID is missing or malformed")


def identify(path: Path) -> Identity:
    """Reads a whole DICOM file, element by element, and returns which image it holds.

    Raises:
        DicomError: It is no DICOM file (PS3.10), is cut short, or could inflate without bound.
    """
    try:
        with mapped(path, Limits()) as source, quiet():
            return _identity(source)
    except (EOFError, ValueError, struct.error):  # the map refuses to seek past its end
        raise DicomError("truncated", "the file ends within a value") from None


def _identity(source: Any) -> Identity:
    if read_preamble(source, force=True) is None:
        raise DicomError("not DICOM")
    meta = read_dataset(source, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    syntax = attr.text(meta, attr.TRANSFER_SYNTAX_UID)
    if syntax in DEFLATED:
        raise DicomError("deflated transfer syntax")
    last, pixels = 0, False

    def note(tag: int, _vr: str | None, length: int) -> bool:
        """Remembers where the value ends, and whether there are pixels; stops nothing."""
        nonlocal last, pixels
        last, pixels = source.tell() + (0 if length == _UNDEFINED else length), pixels or tag in _PIXELS
        return False

    implicit, little = layout(source, syntax)
    wanted: list[BaseTag | int] = [*_UIDS, attr.SYNTHETIC_DATA]
    found = read_dataset(source, implicit, little, stop_when=note, defer_size=_LONG_VALUE, specific_tags=wanted)
    source.seek(0, 2)
    if last > source.tell() or not last:
        raise DicomError("truncated", "the file ends within a value")
    sop_class, study, series, instance = (attr.text(found, tag) for tag in _UIDS)
    if not pixels and UID(sop_class).name.endswith("Image Storage"):
        raise DicomError("truncated", "an image without pixels: the file ends between two values")
    return Identity(sop_class, study, series, instance, attr.text(found, attr.SYNTHETIC_DATA) == "YES")


def identify_task(path: str) -> tuple[dict[str, Any], bytes]:
    """`identify` in the form in which `scansynth.dicom.child` calls it."""
    try:
        return asdict(identify(Path(path))), b""
    except (DicomError, MemoryError):
        raise
    except Exception as fault:  # a hostile file may raise anything from within the parser
        raise DicomError("bad header", type(fault).__name__) from None


class Identifier:
    """Identifies files in a child process; a context manager."""

    def __init__(self) -> None:
        self._sandbox: Sandbox[Path] = Sandbox(
            "scansynth.dicom.archive.identity:identify_task", lambda path: {"path": str(path)}, 1, 1 << 30, 30.0
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sandbox.close()

    def __call__(self, paths: Iterable[Path]) -> Iterator[Identity | DicomError]:
        """What each file is, or why it cannot be used, in the order of the paths."""
        for _, outcome in self._sandbox.run(paths):
            if isinstance(outcome, DicomError):
                yield outcome
                continue
            try:
                yield Identity(**outcome.value)
            except (DicomError, TypeError):
                yield DicomError("bad header")
