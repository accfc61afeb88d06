"""A `.npy` file that grows image by image, so that memory does not grow with it."""

from __future__ import annotations

import mmap
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt


class StackWriter:
    """Appends equal images to one `.npy` of shape (n, *shape), which `numpy.load` can memory-map.

    The header is written twice. numpy pads it so that the first axis can grow to 21 digits without moving the
    data (numpy.lib.format, GROWTH_AXIS_MAX_DIGITS).
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self._path, self._shape, self._dtype = path, shape, np.dtype(dtype)
        self._count = 0

    def __enter__(self) -> Self:
        self._stream: BinaryIO = self._path.open("wb")
        self._start = self._header()
        return self

    def append(self, image: npt.NDArray[np.generic]) -> None:
        """Adds one image.

        Raises:
            ValueError: It has another shape.
        """
        if image.shape != self._shape:
            raise ValueError(f"an image of shape {image.shape} in a stack of {self._shape}")
        self._stream.write(np.ascontiguousarray(image, self._dtype).tobytes())
        self._count += 1

    def _header(self) -> int:
        """Writes the header for the present count, and returns where the data begin, in bytes."""
        self._stream.seek(0)
        facts = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._count, *self._shape)}
        np.lib.format.write_array_header_1_0(self._stream, facts)
        return self._stream.tell()

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._header() != self._start:
                raise RuntimeError("the header of the stack has grown over its data")
        finally:
            self._stream.close()


def forget_pages(images: npt.NDArray[np.generic]) -> None:
    """Lets go of the memory into which parts of a mapped file were read; they are read again when they are needed."""
    base: object = images
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
