"""PNG, JPEG and TIFF files of unknown origin, read under the same bounds as DICOM files.

What a file holds is told by its first bytes, not by its name. Its size is taken from its header and checked before
anything is inflated. Call it through `scansynth.dicom.sandbox`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import stat
import struct
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from scansynth.dicom.read import Limits
from scansynth.errors import DicomError

_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"II*\0": "TIFF", b"MM\0*": "TIFF"}
_IHDR = struct.Struct(">I4sIIBB")
_PALETTE = 3  # PNG colour type (PNG, third edition, 11.2.1 IHDR)
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT, _ORIENTATION = 258, 262, 339, 274  # TIFF 6.0 tags; the last EXIF's too
_UPRIGHT = 1
_EIGHT_TO_SIXTEEN = 257  # 255 becomes 65535
_DEEP = 16
_JPEG_NOISE = 2  # levels that rounding of colour differences may set equal channels apart
Image.init()  # the decoders are loaded before the child process confines itself

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class RasterHeader:
    """What is kept of a file's header.

    Attributes:
        rows: Pixels.
        columns: Pixels.
        bits: For each sample; 8 for a palette.
        kind: PNG, JPEG or TIFF.
    """

    rows: int
    columns: int
    bits: int
    kind: str = "PNG"


def kind_of_raster(start: bytes) -> str | None:
    """PNG, JPEG or TIFF by a file's first bytes; none for anything else."""
    return next((kind for signature, kind in _SIGNATURES.items() if start.startswith(signature)), None)


def read_raster_header(path: Path, limits: Limits) -> RasterHeader:
    """Size and depth of one picture.

    Raises:
        DicomError: The file is no picture of one page within `limits`.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise DicomError("not a file")
        if found.st_size > limits.max_file_bytes:
            raise DicomError("too large", f"the file has {found.st_size} bytes, the limit is {limits.max_file_bytes}")
        with path.open("rb") as stream:
            start = stream.read(8 + _IHDR.size)
    except OSError as fault:
        raise DicomError("cannot be read", fault.strerror or "") from None
    kind = kind_of_raster(start)
    if kind is None:
        raise DicomError("not a picture", "the file is not what its name says")
    header = _png(start) if kind == "PNG" else _other(path, kind)
    if header.rows * header.columns > limits.max_pixels:
        raise DicomError("too large", f"{header.rows} x {header.columns} pixels, the limit is {limits.max_pixels}")
    return header


def _png(start: bytes) -> RasterHeader:
    """From the first chunk of a PNG."""
    if len(start) < 8 + _IHDR.size:
        raise DicomError("truncated", "the header ends early")
    _, chunk, columns, rows, bits, colour = _IHDR.unpack(start[8:])
    if chunk != b"IHDR" or not rows or not columns:
        raise DicomError("bad header", "the PNG does not begin with its size")
    return RasterHeader(rows, columns, 8 if colour == _PALETTE else bits, "PNG")


def _other(path: Path, kind: str) -> RasterHeader:
    """From the header of a JPEG or TIFF, which Pillow reads without decoding the image."""
    with _opened(path, kind) as image:
        columns, rows = image.size
        bits: object = 8
        if kind == "TIFF":
            if getattr(image, "n_frames", 1) != 1:
                raise DicomError("multi-frame", "save each page of the TIFF as a file of its own")
            bits = image.getexif().get(_BITS_PER_SAMPLE) or (1,)
            bits = bits[0] if isinstance(bits, tuple) else bits
        if not isinstance(bits, int) or not rows or not columns:
            raise DicomError("bad header", f"the {kind} does not say its size")
        return RasterHeader(rows, columns, bits, kind)


@contextlib.contextmanager
def _opened(file: Path | io.BytesIO, kind: str) -> Iterator[Image.Image]:
    """The file under Pillow; whatever a decoder raises becomes a reason, because its words may quote the file."""
    try:
        with warnings.catch_warnings(), Image.open(file, formats=[kind]) as image:
            warnings.simplefilter("ignore")
            yield image
    except (DicomError, MemoryError):
        raise
    except Exception as fault:
        reason = "truncated" if "truncated" in str(fault) else "cannot be decoded"
        raise DicomError(reason, type(fault).__name__) from None


def decode_raster(path: Path, header: RasterHeader) -> npt.NDArray[np.uint16]:
    """One grey image: as it is, or three equal channels, or a palette of greys, all of it opaque.

    Args:
        path: The file.
        header: As `read_raster_header` gave it.

    Returns:
        uint16 (rows, columns): 16 bits as they are; 8 bits times 257, so that 255 becomes 65535.

    Raises:
        DicomError: It is not grey, not opaque, of another depth, or cannot be decoded.
        MemoryError: The decoder asked for more memory than this process may take.
    """
    return _grey(_file_bytes(path), header)


def _file_bytes(path: Path) -> bytes:
    """The whole file, read once."""
    try:
        return path.read_bytes()
    except OSError as fault:
        raise DicomError("cannot be read", fault.strerror or "") from None


def _grey(file: bytes, header: RasterHeader) -> npt.NDArray[np.uint16]:
    """The image of one file from the file's bytes; see `decode_raster`."""
    if header.bits not in {8, _DEEP}:
        raise DicomError("unsupported bit depth", f"{header.bits} bits; 8 or 16 are read")
    colours, alpha = layers(file, header)
    if colours.dtype not in (np.uint8, np.uint16):
        raise DicomError("unsupported bit depth", "only whole numbers of 8 or 16 bits are read")
    if alpha is not None and alpha.min() < np.iinfo(alpha.dtype).max:
        raise DicomError("transparent pixels", "save the image without transparency")
    grey = colours[..., 0]
    apart = np.abs(colours.astype(np.int32) - grey.astype(np.int32)[..., None]).max()
    if apart > (_JPEG_NOISE if header.kind == "JPEG" else 0):
        raise DicomError("colour image", "its channels differ; only grey images are read")
    return grey.astype(np.uint16) * (_EIGHT_TO_SIXTEEN if grey.dtype == np.uint8 else 1)


def layers(file: bytes, header: RasterHeader) -> tuple[Array, Array | None]:
    """A picture's colours, from the bytes of its file: (rows, columns, 1 or 3), and its opacity.

    The opacity is (rows, columns), or none where all is opaque.

    Palettes are resolved and bits are spread over 8. Grey values of a TIFF where 0 is white are turned over.

    Raises:
        DicomError: The picture cannot be decoded, is not the one of the header, or wants to be turned for display.
    """
    with _opened(io.BytesIO(file), header.kind) as image:
        if image.size != (header.columns, header.rows):
            raise DicomError("cannot be decoded", "the image has another size than the header")
        if image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT:
            raise DicomError("turned for display", "save the picture upright, without an orientation mark")
        if header.bits == _DEEP and len(image.getbands()) > 1:  # Pillow keeps 8 bits of such a picture
            import imagecodecs  # noqa: PLC0415 - takes a moment, and the parent, which decodes nothing, needs it not

            decode = imagecodecs.png_decode if header.kind == "PNG" else imagecodecs.tiff_decode
            values = np.asarray(decode(file))
        else:
            values = _values(image)
        if header.kind == "TIFF" and image.getexif().get(_PHOTOMETRIC) == 0 and image.mode.startswith("I;16"):
            values = np.iinfo(np.uint16).max - values
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[:2] != (header.rows, header.columns) or not 1 <= values.shape[2] <= 4:
        raise DicomError("cannot be decoded", "the decoded image does not match the header")
    opacity = values.shape[2] in {2, 4}
    return (values[..., :-1], values[..., -1]) if opacity else (values, None)


def _values(image: Image.Image) -> Array:
    """Grey, grey and alpha, RGB or RGBA, as (rows, columns) or (rows, columns, channels)."""
    clear = image.info.get("transparency")
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
        if isinstance(clear, int):  # one grey value stands for nothing
            return np.stack([values, np.where(values == clear, 0, 65535).astype(np.uint16)], axis=-1)
        return values
    if clear is not None or image.mode in {"PA", "La", "RGBa"}:
        return np.asarray(image.convert("RGBA"))
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode in {"L", "LA", "RGB", "RGBA", "I", "F"}:
        return np.asarray(image)
    return np.asarray(image.convert("RGB"))


def header_task(path: str, limits: Mapping[str, int]) -> tuple[dict[str, Any], bytes]:
    """`read_raster_header` in the form in which `scansynth.dicom.child` calls it."""
    return asdict(read_raster_header(Path(path), Limits(**limits))), b""


def image_task(path: str, header: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """`decode_raster` in the form in which `scansynth.dicom.child` calls it; the file is read once."""
    file = _file_bytes(Path(path))
    return {"sha256": hashlib.sha256(file).hexdigest()}, _grey(file, RasterHeader(**header)).astype("<u2").tobytes()
