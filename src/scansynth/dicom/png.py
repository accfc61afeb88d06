"""Grey PNG files of unknown origin, read under the same bounds as DICOM files.

Sizes are taken from the header (PNG, third edition, 11.2.1 IHDR) and checked before anything is inflated. Call it
through `scansynth.dicom.sandbox`.
"""

from __future__ import annotations

import hashlib
import io
import stat
import struct
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scansynth.dicom.read import Limits
from scansynth.errors import DicomError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IHDR = struct.Struct(">I4sIIBB")
_GREY = 0  # colour type of grey without transparency
_EIGHT_TO_SIXTEEN = 257  # 255 becomes 65535
Image.preinit()  # the decoders are loaded before the child process confines itself


@dataclass(frozen=True)
class PngHeader:
    """What is kept of a PNG's header: rows and columns in pixels, and bits for each pixel (8 or 16)."""

    rows: int
    columns: int
    bits: int


def read_png_header(path: Path, limits: Limits) -> PngHeader:
    """Size and bit depth of one grey PNG.

    Raises:
        DicomError: The file is no grey PNG of 8 or 16 bits within `limits`.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise DicomError("not a file")
        if found.st_size > limits.max_file_bytes:
            raise DicomError("too large", f"the file has {found.st_size} bytes, the limit is {limits.max_file_bytes}")
        with path.open("rb") as stream:
            start = stream.read(len(_SIGNATURE) + _IHDR.size)
    except OSError as fault:
        raise DicomError("cannot be read", fault.strerror or "") from None
    if not start.startswith(_SIGNATURE):
        raise DicomError("not PNG", "the file is named .png and holds something else")
    if len(start) < len(_SIGNATURE) + _IHDR.size:
        raise DicomError("truncated", "the header ends early")
    _, kind, columns, rows, bits, colour = _IHDR.unpack(start[len(_SIGNATURE) :])
    if kind != b"IHDR" or not rows or not columns:
        raise DicomError("bad header", "the PNG does not begin with its size")
    if rows * columns > limits.max_pixels:
        raise DicomError("too large", f"{rows} x {columns} pixels, the limit is {limits.max_pixels}")
    if colour != _GREY:
        raise DicomError("colour image", "only grey PNG without transparency is read")
    if bits not in {8, 16}:
        raise DicomError("unsupported bit depth", f"{bits} bits; 8 or 16 are read")
    return PngHeader(rows, columns, bits)


def decode_png(path: Path, header: PngHeader) -> np.ndarray:
    """The image of one file.

    Args:
        path: The file.
        header: As `read_png_header` gave it.

    Returns:
        uint16 (rows, columns): 16 bits as they are; 8 bits times 257, so that 255 becomes 65535.

    Raises:
        DicomError: The image cannot be decoded, or is not the one of the header.
        MemoryError: The decoder asked for more memory than this process may take.
    """
    return _decoded(_file_bytes(path), header)


def _file_bytes(path: Path) -> bytes:
    """The whole file, read once."""
    try:
        return path.read_bytes()
    except OSError as fault:
        raise DicomError("cannot be read", fault.strerror or "") from None


def _decoded(file: bytes, header: PngHeader) -> np.ndarray:
    """The image of one file from the file's bytes; see `decode_png`."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(file), formats=["PNG"]) as image:
            warnings.simplefilter("ignore")
            if image.size != (header.columns, header.rows):
                raise DicomError("cannot be decoded", "the image has another size than the header")
            values = np.asarray(image)
    except (DicomError, MemoryError):
        raise
    except Exception as fault:  # decoders raise what they like, and their words may quote the file
        reason = "truncated" if "truncated" in str(fault) else "cannot be decoded"
        raise DicomError(reason, type(fault).__name__) from None
    if values.shape != (header.rows, header.columns) or values.dtype not in (np.uint8, np.uint16):
        raise DicomError("cannot be decoded", "the decoder gave another image than the header names")
    return values.astype(np.uint16) * _EIGHT_TO_SIXTEEN if values.dtype == np.uint8 else values.astype(np.uint16)


def header_task(path: str, limits: Mapping[str, int]) -> tuple[dict[str, Any], bytes]:
    """`read_png_header` in the form in which `scansynth.dicom.child` calls it."""
    return asdict(read_png_header(Path(path), Limits(**limits))), b""


def image_task(path: str, header: Mapping[str, int]) -> tuple[dict[str, Any], bytes]:
    """`decode_png` in the form in which `scansynth.dicom.child` calls it; the file is read once, for its hash too."""
    file = _file_bytes(Path(path))
    return {"sha256": hashlib.sha256(file).hexdigest()}, _decoded(file, PngHeader(**header)).astype("<u2").tobytes()
