"""A DICOM file's header: what training needs of it, or why the file cannot be used.

Nothing here reads without a bound: the file's size is checked first, the file is mapped and not read,
long values are skipped, and the pixel data are located, not loaded. The deflated transfer syntax has no
code path at all, so a small file cannot inflate into a large one. Call it through
`scansynth.dicom.sandbox` for files that are not trusted.
"""

from __future__ import annotations

import contextlib
import mmap
import stat
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.tag import BaseTag

from scansynth.dicom import attributes as attr
from scansynth.dicom.frames import ENHANCED, MOST_FRAMES, frame_groups
from scansynth.dicom.header import ULTRASOUND, Header
from scansynth.errors import DicomError

__all__ = ["Header", "Limits", "read_header"]

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
NATIVE = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG})
ENCAPSULATED = frozenset(
    f"1.2.840.10008.1.2.{end}"
    for end in ("4.50", "4.51", "4.57", "4.70", "4.80", "4.81", "4.90", "4.91", "4.201", "4.202", "4.203", "5")
)
"""JPEG baseline, extended, lossless (twice); JPEG-LS (twice); JPEG 2000 (twice); HTJ2K (three); RLE."""

DEFLATED = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.8.1"})
_DICOMDIR = "1.2.840.10008.1.3.10"
_FIRST_PIXELS = int(attr.FLOAT_PIXEL_DATA)
_PIXELS = frozenset(map(int, (attr.FLOAT_PIXEL_DATA, attr.DOUBLE_PIXEL_DATA, attr.PIXEL_DATA)))
_WHITELIST: list[BaseTag | int] = list(map(int, attr.WHITELIST))
_META = 2  # group of the file meta information
_UNDEFINED = 0xFFFFFFFF
_MOST_ELEMENTS = 4096  # of a file, whose tags are kept
_LONG_VALUE = 1 << 16  # bytes; no whitelisted value is longer
CLOSED_FOLDER = "folder without read permission"
"""The reason of a folder that stands for its files."""
_GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
_COLOUR = ("RGB", "YBR", "PALETTE", "HSV", "ARGB", "CMYK", "XYB")


@dataclass(frozen=True)
class Limits:
    """What a file may claim before it is left out.

    Attributes:
        max_pixels: Rows x Columns.
        max_file_bytes: Size of the file.
    """

    max_pixels: int = 1 << 24
    max_file_bytes: int = 1 << 28


@dataclass(frozen=True)
class _PixelElement:
    """Where the pixel data stand: tag, byte offset of the value, its length (none: undefined)."""

    tag: int
    vr: str | None
    offset: int
    length: int | None


def read_header(path: Path, limits: Limits) -> Header:
    """The whitelisted part of one file's header.

    Files without the 128-byte preamble are accepted when they parse as an image.

    Args:
        path: The file.
        limits: Bounds on the file and on the image that it claims to hold.

    Raises:
        DicomError: The file holds no grey image that can be decoded within `limits`; the
            reason is one of few, and the detail holds no value of an identifying attribute.
        MemoryError: The header asked for more memory than this process may take.
    """
    try:
        with mapped(path, limits) as source, quiet():
            return _header(source, limits)
    except DicomError:
        raise
    except EOFError:
        raise DicomError("truncated", "the header ends early") from None
    except MemoryError:
        raise
    except Exception as fault:  # a hostile header may raise anything from within the parser
        if isinstance(fault, OSError) and fault.errno is not None:
            raise DicomError("cannot be read", fault.strerror or "") from None
        raise DicomError("bad header", type(fault).__name__) from None


def read_task(path: str, limits: Mapping[str, int]) -> tuple[dict[str, Any], bytes]:
    """`read_header` in the form in which `scansynth.dicom.child` calls it."""
    header = read_header(Path(path), Limits(**limits))
    return {**vars(header), "groups": [vars(group) for group in header.groups]}, b""


@contextlib.contextmanager
def mapped(path: Path, limits: Limits) -> Iterator[BinaryIO]:
    """The file as a read-only map: a claimed length of 4 GB reads no more than the file holds."""
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise DicomError(CLOSED_FOLDER, "grant this user read permission for it and its contents")
    if not stat.S_ISREG(found.st_mode):
        raise DicomError("not a file")
    if found.st_size == 0:
        raise DicomError("not DICOM", "the file is empty")
    if found.st_size > limits.max_file_bytes:
        raise DicomError("too large", f"the file has {found.st_size} bytes, the limit is {limits.max_file_bytes}")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as source:
        yield cast(BinaryIO, source)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The parser's warnings quote values, identifying ones too: none leaves."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def _header(source: BinaryIO, limits: Limits) -> Header:
    """Reads and checks, the cheapest refusals first."""
    marked = read_preamble(source, force=True) is not None
    syntax = _transfer_syntax(source, marked)
    try:
        dataset, pixels, present = _dataset(source, syntax)
    except Exception as fault:
        if not marked:
            raise DicomError("not DICOM") from None
        if isinstance(fault, ValueError):  # the map refuses to seek past its end
            raise DicomError("truncated", "a value ends beyond the file") from None
        raise
    if not marked and attr.SOP_CLASS_UID not in dataset:
        raise DicomError("not DICOM")
    if attr.text(dataset, attr.SOP_CLASS_UID) == _DICOMDIR:
        raise DicomError("DICOMDIR")
    if pixels is None or pixels.tag != attr.PIXEL_DATA:
        raise DicomError("no pixel data", "" if pixels is None else "floating-point pixels are not read")
    syntax = syntax or _encoding(dataset)
    header = replace(attr.whitelisted(dataset, syntax, pixels.offset, pixels.length), present=present)
    _check_image(dataset, header, limits)
    _check_extent(source, header, pixels)
    if header.sop_class_uid in ENHANCED:
        header = replace(header, groups=frame_groups(_functional_groups(source, syntax), dataset, header.frames))
    return header


def _functional_groups(source: BinaryIO, syntax: str) -> Dataset:
    """The sequences of functional groups, however long they are: a second pass, for enhanced files alone."""
    source.seek(0)
    read_preamble(source, force=True)
    read_dataset(source, False, True, stop_when=_after_meta)
    wanted: list[BaseTag | int] = [attr.SHARED_FUNCTIONAL_GROUPS, attr.PER_FRAME_FUNCTIONAL_GROUPS]
    implicit, little = layout(source, syntax)
    return read_dataset(
        source, implicit, little, stop_when=lambda tag, _vr, _length: tag >= attr.FLOAT_PIXEL_DATA, specific_tags=wanted
    )


def _transfer_syntax(source: BinaryIO, marked: bool) -> str:
    """The transfer syntax named by the file meta group (PS3.10 section 7.1); empty when there is none."""
    meta = read_dataset(source, False, True, stop_when=_after_meta)
    if attr.text(meta, attr.MEDIA_STORAGE_SOP_CLASS_UID) == _DICOMDIR:
        raise DicomError("DICOMDIR")
    syntax = attr.text(meta, attr.TRANSFER_SYNTAX_UID)
    if syntax in DEFLATED:
        raise DicomError("deflated transfer syntax", "write the file again as explicit VR little endian")
    if syntax and syntax not in NATIVE | ENCAPSULATED:
        if not marked:
            raise DicomError("not DICOM")
        raise DicomError("unsupported transfer syntax")
    return syntax


def _dataset(source: BinaryIO, syntax: str) -> tuple[Dataset, _PixelElement | None, tuple[int, ...]]:
    """The whitelisted elements, where the pixel data stand, and the tags of all before them; stops there."""
    found: list[_PixelElement] = []
    present: list[int] = []

    def stop(tag: int, vr: str | None, length: int) -> bool:
        number = int(tag)  # compared as a number: a tag's own comparisons take longer than all else here
        if number < _FIRST_PIXELS:
            present.append(number)
            return False
        if number in _PIXELS:
            known = None if length == _UNDEFINED else length
            found.append(_PixelElement(number, vr, source.tell(), known))
        return True

    implicit, little = layout(source, syntax)
    dataset = read_dataset(source, implicit, little, stop_when=stop, defer_size=_LONG_VALUE, specific_tags=_WHITELIST)
    return dataset, found[-1] if found else None, tuple(present[:_MOST_ELEMENTS])


def layout(source: BinaryIO, syntax: str) -> tuple[bool, bool]:
    """Whether the VR is implicit and the bytes little-endian; looked at when no transfer syntax is named."""
    if syntax:
        return syntax == IMPLICIT_LITTLE, syntax != EXPLICIT_BIG
    start = source.read(6)
    source.seek(-len(start), 1)
    explicit = len(start) == 6 and start[4:6].isalpha() and start[4:6].isupper()
    # groups up to 00FF come first in every image; read with the wrong byte order they are 0100 and above
    big = explicit and int.from_bytes(start[:2], "little") >= 0x0400
    return not explicit, not big


def _after_meta(tag: int, _vr: str | None, _length: int) -> bool:
    """Whether the file meta group is over."""
    return int(tag) >> 16 != _META


def _encoding(dataset: Dataset) -> str:
    """The native transfer syntax that the dataset turned out to have."""
    implicit, little = dataset.original_encoding
    if implicit:
        return IMPLICIT_LITTLE
    return EXPLICIT_LITTLE if little else EXPLICIT_BIG


def _check_image(dataset: Dataset, header: Header, limits: Limits) -> None:
    """Refuses what is not one grey image of a size within the limits (PS3.3 C.7.6.3)."""
    if not header.photometric_interpretation:
        raise DicomError("bad header", "Photometric Interpretation is missing")
    if header.samples_per_pixel == 1 and not header.photometric_interpretation.startswith((*_GREY, *_COLOUR)):
        raise DicomError("bad header", "Photometric Interpretation is none of the standard's")
    if header.samples_per_pixel != 1 or header.photometric_interpretation not in _GREY:
        raise DicomError("ultrasound" if header.modality in ULTRASOUND else "colour image", "only grey images are read")
    single = header.frames == 1 and attr.SHARED_FUNCTIONAL_GROUPS not in dataset
    if not single and (header.sop_class_uid not in ENHANCED or header.frames > MOST_FRAMES):
        raise DicomError("multi-frame", f"only enhanced CT, MR and PET of {MOST_FRAMES} frames at most are read")
    if header.rows < 1 or header.columns < 1:
        raise DicomError("bad header", "Rows or Columns is missing or 0")
    if header.rows * header.columns > limits.max_pixels:
        raise DicomError("too large", f"{header.rows} x {header.columns} pixels, the limit is {limits.max_pixels}")
    if header.bits_allocated not in {8, 16} or not 1 < header.bits_stored <= header.bits_allocated:
        raise DicomError("unsupported bit depth", f"{header.bits_stored} of {header.bits_allocated} bits")
    if not header.bits_stored - 1 <= header.high_bit < header.bits_allocated:
        raise DicomError("bad header", "High Bit lies outside the pixel")
    if header.pixel_representation not in {0, 1}:
        raise DicomError("bad header", "Pixel Representation is neither 0 nor 1")
    if attr.MODALITY_LUT_SEQUENCE in dataset:
        raise DicomError("modality lookup table", "only rescale slope and intercept are applied")


def _check_extent(source: BinaryIO, header: Header, pixels: _PixelElement) -> None:
    """Refuses pixel data that the file does not hold."""
    source.seek(0, 2)
    held = source.tell() - pixels.offset
    if pixels.length is not None and pixels.length > held:
        raise DicomError("truncated", f"{held} of {pixels.length} bytes of pixel data")
    if header.transfer_syntax_uid not in NATIVE:
        if header.transfer_syntax_uid and held < 8:
            raise DicomError("truncated", "there is no compressed image")
        return
    if pixels.length is None:
        raise DicomError("bad header", "uncompressed pixel data of undefined length")
    needed = header.frames * header.rows * header.columns * header.bits_allocated // 8
    if pixels.length < needed:
        raise DicomError("truncated", f"{pixels.length} of {needed} bytes of pixel data")
    if header.transfer_syntax_uid == EXPLICIT_BIG and header.bits_allocated == 8 and pixels.vr == "OW":
        raise DicomError("unsupported transfer syntax", "8-bit pixels in big-endian words")
