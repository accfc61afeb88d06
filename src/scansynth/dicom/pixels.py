"""Pixel data to an array in the units of the modality. Runs in a child process: see `sandbox`."""

from __future__ import annotations

import hashlib
import os
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from scansynth.dicom.header import Header
from scansynth.dicom.read import EXPLICIT_BIG, NATIVE
from scansynth.dicom.streams import join_fragments, stream_facts
from scansynth.errors import DicomError

_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_RLE = "1.2.840.10008.1.2.5"
_PLUGINS = {
    "1.2.840.10008.1.2.4.50": "pillow",
    "1.2.840.10008.1.2.4.57": "gdcm",
    "1.2.840.10008.1.2.4.70": "gdcm",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg",
    _RLE: "pylibjpeg",
}
"""One decoder for each transfer syntax, so that a file reads the same on every machine."""

_UNSIGNED = frozenset(f"1.2.840.10008.1.2.4.{end}" for end in ("50", "51", "57", "70", "80", "81"))
"""JPEG and JPEG-LS: the stream knows no sign, so it must hold all of Bits Stored for the header's sign to be found."""

_MEASURED = frozenset({"CT", "PT", "NM"})
"""Modalities whose values are measured quantities: Hounsfield units, activity, counts."""

_INT16 = np.iinfo(np.int16)
_OTHER_SIZE = "the compressed image has another size than the header"
_LARGEST = 1 << 28  # bytes of a file, as `read.Limits` has it


def decode(path: Path, header: Header) -> np.ndarray:
    """The image of one file.

    The stored value is masked to Bits Stored, padding takes the lowest value of the image, and rescale slope and
    intercept are applied (PS3.3 C.11.1.1.2); window and VOI are not. MONOCHROME1 is a hint for the display, after all
    these (C.7.6.3.1.2): values that are measured stay as they are, and values without a unit are inverted in the
    stored range, so that higher is brighter in every image.

    Args:
        path: The file.
        header: As `read_header` gave it for this file.

    Returns:
        float32 (rows, columns) in output units (HU for CT).

    Raises:
        DicomError: The pixel data are cut short, or their decoder refuses them.
        MemoryError: The decoder asked for more memory than this process may take.
    """
    return _decoded(_file_bytes(path)[0], header).astype(np.float32, copy=False)


def _decoded(file: bytes, header: Header) -> np.ndarray:
    """The image of one file from the file's bytes as `to_units` gives it; see `decode`."""
    data = _pixel_bytes(file, header)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            native = header.transfer_syntax_uid in NATIVE
            stored, bits = (_native(data, header), header.bits_allocated) if native else _compressed(data, header)
    except (DicomError, MemoryError):
        raise
    except Exception as fault:  # decoders raise what they like, and their words may quote the file
        if "memory" in str(fault).lower():
            raise MemoryError from None
        raise DicomError("cannot be decoded", type(fault).__name__) from None
    if stored.shape != (header.rows, header.columns):
        raise DicomError("cannot be decoded", _OTHER_SIZE)
    return to_units(stored, header, bits)


def decode_with_hash(path: str, header: Header) -> tuple[np.ndarray, str]:
    """The image as `to_units` gives it, and the file's SHA-256; the file is read once for both."""
    file, digest = _file_bytes(Path(path)) if header.frames == 1 else _shared_file(path, Path(path).stat().st_mtime_ns)
    return _decoded(file, header), digest


@lru_cache(maxsize=1)
def _shared_file(path: str, mtime_ns: int) -> tuple[bytes, str]:
    """The file of several images, kept until another one comes: a child is asked for one frame after the other."""
    return _file_bytes(Path(path))


def inverted(header: Header) -> bool:
    """Whether the hint MONOCHROME1 turns the values over: they have no unit, and the display alone says what is bright.

    Hounsfield units, activity and counts are measured, whatever the display does with them.
    """
    return header.photometric_interpretation == "MONOCHROME1" and header.modality not in _MEASURED


def to_units(stored: np.ndarray, header: Header, bits: int) -> np.ndarray:
    """Stored values to output units.

    Args:
        stored: Integers (rows, columns), as allocated: bits above Bits Stored may hold anything.
        header: The image's header.
        bits: Width of the values as they come: as allocated, or of the compressed stream.

    Returns:
        (rows, columns): int16 where slope and intercept make whole numbers that fit, else float32.
    """
    allocated = stored.astype(np.int32)
    # a stream that does not reach up to High Bit holds the values alone, wherever the header wants them in the word
    shift = header.high_bit + 1 - header.bits_stored if bits > header.high_bit else 0
    values = _take_bits(allocated >> shift, header.bits_stored, header.pixel_representation == 1)
    outside = None
    if header.padding is not None:
        # writers give the padding value as allocated or as stored
        allocated = _take_bits(allocated, header.bits_allocated, header.pixel_representation == 1)
        outside = _within(values, header.padding) | _within(allocated, header.padding)
    if inverted(header):
        values = (-1 if header.pixel_representation else (1 << header.bits_stored) - 1) - values
    if outside is not None and outside.any() and not outside.all():
        inside = values[~outside]
        values = np.where(outside, inside.min() if header.rescale_slope > 0 else inside.max(), values)
    if header.rescale_slope == 1.0 and header.rescale_intercept.is_integer():
        values = values + int(header.rescale_intercept)
        if values.min() >= _INT16.min and values.max() <= _INT16.max:
            return values.astype(np.int16)
        return values.astype(np.float32)
    return (values * header.rescale_slope + header.rescale_intercept).astype(np.float32)


def _take_bits(values: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """The lowest `bits` of int32 values, sign extended when they are two's complement."""
    taken = values & ((1 << bits) - 1)
    if signed:
        sign = 1 << (bits - 1)
        taken = (taken ^ sign) - sign
    return taken


def _within(values: np.ndarray, ends: tuple[int, int]) -> np.ndarray:
    return (values >= ends[0]) & (values <= ends[1])


def _file_bytes(path: Path) -> tuple[bytes, str]:
    """The whole file, read once, and its SHA-256."""
    try:
        with path.open("rb") as stream:
            # by its own size: memory for the largest file would be taken and given back for each
            data = stream.read(min(os.fstat(stream.fileno()).st_size, _LARGEST) + 1)
    except OSError as fault:
        raise DicomError("cannot be read", fault.strerror or "") from None
    if len(data) > _LARGEST:
        raise DicomError("too large", f"the file has more than {_LARGEST} bytes")
    return data, hashlib.sha256(data).hexdigest()


def _pixel_bytes(file: bytes, header: Header) -> memoryview:
    """The value of the pixel data element: of this frame alone when it is not compressed."""
    if header.transfer_syntax_uid not in NATIVE:
        return memoryview(file)[header.pixel_offset :][: header.pixel_length or _LARGEST]
    size = header.rows * header.columns * header.bits_allocated // 8
    return memoryview(file)[header.pixel_offset + header.frame * size :][:size]


def _native(data: memoryview, header: Header) -> np.ndarray:
    """Uncompressed pixels (PS3.5 section 8.1), as allocated."""
    order = ">" if header.transfer_syntax_uid == EXPLICIT_BIG else "<"
    stored = np.frombuffer(data, dtype=f"{order}u{header.bits_allocated // 8}")
    if stored.size != header.rows * header.columns:
        raise DicomError("truncated", "pixel data")
    return stored.reshape(header.rows, header.columns)


def _compressed(data: memoryview, header: Header) -> tuple[np.ndarray, int]:
    """Compressed pixels of one frame as their decoder gives them, and how many bits wide its values are."""
    frame = join_fragments(data, header.frames, header.frame)
    bits = header.bits_allocated  # RLE packs the words as they are (PS3.5 annex G)
    if header.transfer_syntax_uid != _RLE:
        facts = stream_facts(frame)
        bits = facts.bits
        if (facts.rows, facts.columns, facts.components) != (header.rows, header.columns, 1):
            # pydicom would fold 48 x 40 pixels into 24 x 80 without a word
            raise DicomError("cannot be decoded", _OTHER_SIZE)
        if header.pixel_representation and bits < header.bits_stored and header.transfer_syntax_uid in _UNSIGNED:
            raise DicomError("cannot be decoded", "fewer bits than Bits Stored: the sign of its values cannot be told")
    if header.transfer_syntax_uid == _JPEG_EXTENDED:
        # of the decoders here only this one reads 12 bits
        return np.asarray(imagecodecs.jpeg_decode(frame)), bits
    options: dict[str, Any] = {
        "rows": header.rows,
        "columns": header.columns,
        "samples_per_pixel": 1,
        "number_of_frames": 1,
        "bits_allocated": header.bits_allocated,
        "bits_stored": bits,  # all that the stream holds: `to_units` takes the value out of them
        "pixel_representation": header.pixel_representation,
        "photometric_interpretation": header.photometric_interpretation,
        "pixel_keyword": "PixelData",
    }
    plugin = _PLUGINS[header.transfer_syntax_uid]
    decoder = get_decoder(header.transfer_syntax_uid)
    array, _ = decoder.as_array(encapsulate([frame], has_bot=False), raw=True, decoding_plugin=plugin, **options)
    return np.asarray(array), bits
