"""Buffers: the one path by which images of both kinds become what readers see."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scansynth.metrics.telltales import as_readers_see
from scansynth.reader.design import Design
from scansynth.reader.pool import Pool, Subject

Stored = NDArray[np.uint16]


@dataclass(frozen=True)
class Rendered:
    """What readers see, one for each presentation, and what the practice shows.

    Attributes:
        shown: uint16 (presentations, side, side), in the numbering of `Design.orders`.
        practice: uint16 (practice images, side, side).
        names: A random name for each presentation's buffer.
        practice_names: The same of the practice.
    """

    shown: Stored
    practice: Stored
    names: tuple[str, ...]
    practice_names: tuple[str, ...]

    def as_bytes(self) -> dict[str, bytes]:
        """Every buffer by its name."""
        return {
            name: encode(image)
            for names, images in ((self.names, self.shown), (self.practice_names, self.practice))
            for name, image in zip(names, images, strict=True)
        }


def render(design: Design, pool: Pool, rng: np.random.Generator) -> Rendered:
    """Clips, spreads and rounds every image alike; each presentation with noise of its own.

    An image and its repeat have two buffers that differ, so that equal bytes do not reveal a repeat.

    Args:
        design: What is shown.
        pool: The images.
        rng: Of the noise; from the secret, else the noise could be subtracted again.
    """
    shown = _images(pool, [design.subject_of(number) for number in range(design.presentations)])
    practice = _images(pool, design.practice, practice=True)
    return Rendered(
        shown=as_readers_see(shown, rng),
        practice=as_readers_see(practice, rng),
        names=_names(len(shown)),
        practice_names=_names(len(practice)),
    )


def _images(pool: Pool, subjects: Sequence[Subject], practice: bool = False) -> Stored:
    return np.array([pool.image(subject, practice) for subject in subjects], np.uint16).reshape(
        -1, *pool.synthetic_images.shape[1:]
    )


def _names(count: int) -> tuple[str, ...]:
    return tuple(secrets.token_hex(16) for _ in range(count))


def encode(image: Stored) -> bytes:
    """An image as raw little-endian 16-bit values, row by row; no header."""
    return image.astype("<u2").tobytes()


def decode(data: bytes, rows: int, columns: int) -> Stored:
    """The image of a buffer, uint16 (rows, columns).

    Raises:
        ValueError: The length is another.
    """
    return np.frombuffer(data, "<u2").reshape(rows, columns).astype(np.uint16)
