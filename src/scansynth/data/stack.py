"""A `.npy` file that grows image by image, so that memory does not grow with it."""

from __future__ import annotations

import math
import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt


class StackWriter:
    """Appends equal images to one `.npy` of shape (n, *shape), which `numpy.load` can memory-map.

    The header is written twice. numpy pads it so that the first axis can grow to 21 digits without moving the
    data (numpy.lib.format, GROWTH_AXIS_MAX_DIGITS).

    Args:
        path: The file.
        shape: Of one image.
        dtype: Of its values.
        keep: Images of a file that is there already and goes on after them.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike, keep: int = 0) -> None:
        self._path, self._shape, self._dtype = path, shape, np.dtype(dtype)
        self._count = keep

    def __enter__(self) -> Self:
        self.stream: BinaryIO = self._path.open("r+b" if self._count else "wb")
        self._start = self._header()
        self.stream.seek(self._count * math.prod(self._shape) * self._dtype.itemsize, os.SEEK_CUR)
        self.stream.truncate()
        return self

    def append(self, image: npt.NDArray[np.generic]) -> None:
        """Adds one image.

        Raises:
            ValueError: It has another shape.
        """
        if image.shape != self._shape:
            raise ValueError(f"an image of shape {image.shape} in a stack of {self._shape}")
        self.stream.write(np.ascontiguousarray(image, self._dtype).tobytes())
        self._count += 1

    def _header(self) -> int:
        """Writes the header for the present count, and returns where the data begin, in bytes."""
        self.stream.seek(0)
        facts = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._count, *self._shape)}
        np.lib.format.write_array_header_1_0(self.stream, facts)
        return self.stream.tell()

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._header() != self._start:
                raise RuntimeError("the header of the stack has grown over its data")
        finally:
            self.stream.close()


def forget_pages(images: npt.NDArray[np.generic]) -> None:
    """Lets go of the memory into which parts of a mapped file were read; they are read again when they are needed."""
    base: object = images
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
