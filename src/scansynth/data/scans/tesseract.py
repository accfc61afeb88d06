"""Reading text in pictures with Tesseract, where it is installed: many small pictures by one call.

Starting the program takes longer than reading a word, so many pictures go to it at once. Each is a page of its own: on
one page the program's threshold, its letter height and its lines are those of all pictures together, and a picture's
text depended on its neighbours.
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
_PAGE = "1"  # level of a page's row in the program's table
_LARGE = 1 << 18  # pixels; such pictures are read as they are: small letters stand in small pictures
_EDGE = 20
LETTERS = 4
"""Letters and digits that make a text: a side marker is not text."""
_SURE, _WEAK = 40.0, 10.0
"""Confidence in percent from which a word counts, and from which something may stand there."""

Picture = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Letters:
    """Letters and digits of a picture, in small letters.

    Attributes:
        sure: Of words that are read with confidence.
        guessed: Of these and of all words but guesses.
    """

    sure: str
    guessed: str


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
        return [len(letters.sure) >= least for letters in self.letters(pictures)]

    def letters(self, pictures: Sequence[Picture], scale: int = SCALES[0]) -> list[Letters]:
        """What is read in each picture, whatever else is read with it.

        Args:
            pictures: (rows, columns) each, any unit.
            scale: One of `SCALES`.

        Raises:
            RuntimeError: The program failed or took too long.
        """
        if not pictures:
            return []
        pages = [_black_on_white(picture, scale) for picture in pictures]
        words = _words(self._read(pages))
        if len(words) != len(pages):
            raise RuntimeError("pages were left out")
        return [Letters(_joined(of_page, _SURE), _joined(of_page, _WEAK)) for of_page in words]

    def _read(self, pages: Sequence[npt.NDArray[np.uint8]]) -> str:
        """The program's table of pages and words."""
        stream = io.BytesIO()
        first, *others = map(Image.fromarray, pages)
        first.save(stream, "TIFF", save_all=True, append_images=others)
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


def _words(table: str) -> list[list[tuple[float, str]]]:
    """Confidence and text of each word of the program's table, page by page; a page without words has a row, too."""
    pages: list[list[tuple[float, str]]] = []
    for line in table.splitlines()[1:]:
        cells = line.split("\t")
        if cells[0] == _PAGE:
            pages.append([])
        elif len(cells) == 12 and cells[11].strip():
            pages[-1].append((float(cells[10]), cells[11]))
    return pages


def _joined(words: Sequence[tuple[float, str]], least: float) -> str:
    """Letters and digits of the words that are read with this confidence."""
    return "".join(filter(str.isalnum, "".join(word for confidence, word in words if confidence >= least).casefold()))
