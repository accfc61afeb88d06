"""Buffers: the one path by which images of both kinds become what readers see."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scansynth.metrics.telltales import as_readers_see
from scansynth.reader.design import Design
from scansynth.reader.nearest import nearest
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
        aside: What stands beside, by the names of its buffers, uint16 (side, side) each.
        nearest_names: For each practice image the buffer of the real image nearest to it; empty where there is none.
        mask_names: For each practice image the buffer of its mask; empty where there is none.
        reference_names: Of the real images to look at beside.
    """

    shown: Stored
    practice: Stored
    names: tuple[str, ...]
    practice_names: tuple[str, ...]
    aside: Mapping[str, Stored]
    nearest_names: tuple[str, ...]
    mask_names: tuple[str, ...]
    reference_names: tuple[str, ...]

    def as_bytes(self) -> dict[str, bytes]:
        """Every buffer by its name."""
        read = {
            name: encode(image)
            for names, images in ((self.names, self.shown), (self.practice_names, self.practice))
            for name, image in zip(names, images, strict=True)
        }
        return read | {name: encode(image) for name, image in self.aside.items()}


def render(design: Design, pool: Pool, rng: np.random.Generator) -> Rendered:
    """Clips, spreads and rounds every image alike; each presentation with noise of its own.

    An image and its repeat have two buffers that differ, so that equal bytes do not reveal a repeat.

    Args:
        design: What is shown.
        pool: The images.
        rng: Of the noise; from the secret, else the noise could be subtracted again.
    """
    shown = _images(pool, [design.subject_of(number) for number in range(design.presentations)])
    return render_told(pool, design.practice, design.references, rng, shown)


def render_told(
    pool: Pool, practice: Sequence[Subject], references: Sequence[Subject], rng: np.random.Generator, shown: Stored
) -> Rendered:
    """Renders images whose truth is told, with what stands beside them.

    Args:
        pool: The images.
        practice: What the truth is told of.
        references: Real images of the train role.
        rng: Of the noise.
        shown: Stored images that are read beside; may be none.
    """
    told = _images(pool, practice, practice=True)
    reals = _images(pool, pool.practice, practice=True)
    owners = [subject.patient for subject in pool.practice]
    near = nearest(told, [subject.patient for subject in practice], reals, owners)
    used = sorted({place for place in near if place >= 0})
    near_names = dict(zip(used, _names(len(used)), strict=True))
    masks = [pool.mask(subject) for subject in practice]
    mask_names = tuple(secrets.token_hex(16) if mask is not None else "" for mask in masks)
    reference_names = _names(len(references))
    shown, told = as_readers_see(shown, rng), as_readers_see(told, rng)
    beside = as_readers_see(np.concatenate([reals[used], _images(pool, references, practice=True)]), rng)
    aside = dict(zip((*near_names.values(), *reference_names), beside, strict=True))
    return Rendered(
        shown=shown,
        practice=told,
        names=_names(len(shown)),
        practice_names=_names(len(told)),
        aside=aside | {name: mask for name, mask in zip(mask_names, masks, strict=True) if mask is not None},
        nearest_names=tuple(near_names.get(place, "") for place in near),
        mask_names=mask_names,
        reference_names=reference_names,
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
