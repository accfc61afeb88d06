"""Reading text in pictures with Tesseract, where it is installed: many small pictures by one call.

Starting the program takes longer than reading a word, so pictures are put below each other on one page.
"""

from __future__ import annotations

import functools
import io
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

PROGRAM, LANGUAGE = "tesseract", "eng"
_SECONDS = 120.0
SCALES = (3, 2, 5)
"""Times that a small picture is enlarged: letters of 8 pixels are read at 24, others better at another size."""
_LARGE = 1 << 18  # pixels; such pictures are read as they are: small letters stand in small pictures
_EDGE = 20
LETTERS = 4
"""Letters and digits that make a text: a side marker is not text."""
_SURE, _WEAK = 40.0, 10.0
"""Confidence in percent from which a word counts, and from which something may stand there."""

Picture = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tesseract:
    """The program, as found on this machine."""

    path: str
    version: str

    def texts(self, pictures: Sequence[Picture], least: int = LETTERS) -> list[bool]:
        """Whether each picture holds text: enough letters or digits in words that are read with confidence.

        Args:
            pictures: (rows, columns) each, any unit.
            least: Letters and digits that make a text.

        Raises:
            RuntimeError: The program failed or took too long.
        """
        return [sure >= least for sure, _ in self.letters(pictures)]

    def letters(self, pictures: Sequence[Picture], scale: int = SCALES[0]) -> list[tuple[int, int]]:
        """Letters and digits in each picture: in words that are read with confidence, and in all but guesses.

        Args:
            pictures: (rows, columns) each, any unit.
            scale: One of `SCALES`.

        Raises:
            RuntimeError: The program failed or took too long.
        """
        if not pictures:
            return []
        page, ends = _page([_black_on_white(picture, scale) for picture in pictures])
        sure, weak = [0] * len(pictures), [0] * len(pictures)
        for top, confidence, word in _words(self._read(page)):
            place, count = int(np.searchsorted(ends, top, side="right")), sum(map(str.isalnum, word))
            sure[place] += count * (confidence >= _SURE)
            weak[place] += count * (confidence >= _WEAK)
        return list(zip(sure, weak, strict=True))

    def _read(self, page: npt.NDArray[np.uint8]) -> str:
        """The program's table of words."""
        stream = io.BytesIO()
        Image.fromarray(page).save(stream, "PPM")
        # sparse text in no order; one thread, as others of ours work beside it
        command = [self.path, "stdin", "stdout", "--psm", "11", "--dpi", "150", "-l", LANGUAGE, "tsv"]
        try:
            done = subprocess.run(
                command,
                input=stream.getvalue(),
                capture_output=True,
                check=True,
                timeout=_SECONDS,
                env={**os.environ, "OMP_THREAD_LIMIT": "1"},
            )
        except (OSError, subprocess.SubprocessError) as fault:  # its words may quote the picture
            raise RuntimeError(type(fault).__name__) from None
        return done.stdout.decode("utf-8", "replace")


@functools.cache
def find_tesseract() -> Tesseract | None:
    """The program; none when it is not installed, or does not work."""
    path = shutil.which(PROGRAM)
    if path is None:
        return None
    try:
        told = [_told(path, option) for option in ("--version", "--list-langs")]
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"tesseract v?([\d.]+)", told[0])
    return Tesseract(path, version[1] if version else "") if LANGUAGE in told[1].split() else None


def _told(path: str, option: str) -> str:
    """What the program answers to an option; an older one answers on stderr."""
    done = subprocess.run([path, option], capture_output=True, check=True, timeout=_SECONDS)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def _black_on_white(picture: Picture, enlarged: int) -> npt.NDArray[np.uint8]:
    """Grey levels with a bright background, large enough to be read, with a white edge."""
    low, high = float(picture.min()), float(picture.max())
    grey = (picture - low) * (255.0 / max(high - low, 1e-9))
    if np.median(grey) < 128:
        grey = 255.0 - grey
    image = Image.fromarray(np.rint(grey).astype(np.uint8))
    scale = enlarged if picture.size <= _LARGE else 1
    image = image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC)
    return np.pad(np.asarray(image), _EDGE, constant_values=255)


def _page(pictures: Sequence[npt.NDArray[np.uint8]]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The pictures below each other, and the row after each."""
    wide = max(picture.shape[1] for picture in pictures)
    padded = [np.pad(one, ((0, 0), (0, wide - one.shape[1])), constant_values=255) for one in pictures]
    return np.vstack(padded), np.cumsum([len(one) for one in padded])


def _words(table: str) -> list[tuple[int, float, str]]:
    """Top row, confidence and text of each word of the program's table."""
    found = []
    for line in table.splitlines()[1:]:
        cells = line.split("\t")
        if len(cells) == 12 and cells[11].strip():
            found.append((int(cells[7]), float(cells[10]), cells[11]))
    return found
