"""Text in the pixels: looked for in every image, read where something looks like text, and dealt with.

Where text may stand is told by the process that decodes (`dicom.text`); only these spots are read, many at a time.
An image with text is left out, or its text is blackened and the whole image read again, as the study says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from scansynth.config import BurnedIn
from scansynth.data.scans.join import Scan
from scansynth.data.scans.tesseract import LETTERS, SCALES, Tesseract, find_tesseract
from scansynth.dicom.sandbox import Decoded
from scansynth.errors import DicomError

BURNED_IN = "burned-in text"
"""Why an image is left out."""

UNCLEAN, UNREAD = "burned-in text that stays", "text not searched"
LIKE_TEXT, NO_LETTERS = "looks like text, nothing read: kept", "no letters read at three sizes: kept"
"""What is said of a spot in which no text was read: some letters were guessed there, or none."""

_TEXT = "text"
_GUESSED = 3  # letters that the program guesses at one of three sizes, from which a spot may hold text after all
_RESIDUE = 2  # letters that may not be left after blackening: half a name
_BYTES, _SPOTS = 1 << 27, 64
"""Images, in bytes, and spots that wait for one reading."""

Result = Decoded | DicomError
Pair = tuple[Scan, Result]


@dataclass
class TextSearch:
    """The search, and what it found; one for an ingest.

    Attributes:
        program: Reads; none: nothing is searched.
        wish: What becomes of an image with text.
        searched: Case of each image that was searched.
        listed: Scans with a spot that was read: whether text stands there, what was done, and the spots.
    """

    wish: BurnedIn
    program: Tesseract | None = field(default_factory=find_tesseract)
    searched: set[str] = field(default_factory=set)
    listed: list[tuple[Scan, bool, str, str]] = field(default_factory=list)

    def search(self, decoded: Iterable[Pair]) -> Iterator[Pair]:
        """The same scans in the same order; with text, an image is blackened there, or a reason in its place."""
        if self.program is None:
            yield from decoded
            return
        waiting: list[Pair] = []
        size = spots = 0
        for pair in decoded:
            waiting.append(pair)
            if isinstance(pair[1], Decoded):
                size, spots = size + pair[1].values.nbytes, spots + len(pair[1].text)
            if size >= _BYTES or spots >= _SPOTS:
                yield from self._settle(waiting)
                waiting, size, spots = [], 0, 0
        yield from self._settle(waiting)

    def _settle(self, pairs: list[Pair]) -> Iterator[Pair]:
        """Reads all spots of some images at once."""
        images = [image for _, image in pairs if isinstance(image, Decoded)]
        self.searched |= {scan.case for scan, image in pairs if isinstance(image, Decoded)}
        crops = [image.values[top:end, first:last] for image in images for top, end, first, last in image.text]
        read = self._graded(crops)
        if read is None:
            yield from ((scan, _failed(image)) for scan, image in pairs)
            return
        answers = iter(read)
        for scan, image in pairs:
            if isinstance(image, DicomError) or not image.text:
                yield scan, image
                continue
            grades = [next(answers) for _ in image.text]
            found = [box for box, grade in zip(image.text, grades, strict=True) if grade == _TEXT]
            doubt = LIKE_TEXT if LIKE_TEXT in grades else NO_LETTERS
            result, done = self._with_text(image, found) if found else (image, doubt)
            self.listed.append((scan, bool(found), done, "; ".join(_words(box) for box in found or image.text)))
            yield scan, result

    def _with_text(self, image: Decoded, found: list[tuple[int, int, int, int]]) -> tuple[Result, str]:
        """What becomes of an image with text, and a word for it."""
        if self.wish == "keep":
            return image, "kept, as cohort.burned_in says"
        if self.wish == "leave out":
            return DicomError(BURNED_IN, "private/burned_in.csv says where"), "left out"
        values = image.values.copy()
        for top, end, first, last in found:
            values[top:end, first:last] = values.min()
        if self._texts([values], _RESIDUE) != [False]:
            return DicomError(UNCLEAN, "text was read again after blackening"), "left out: blackening did not help"
        return replace(image, values=values, text=(), counts=None), "blackened and read again"

    def _graded(self, pictures: list[np.ndarray]) -> list[str] | None:
        """What each picture holds, as it is read at up to three sizes; none: the program failed."""
        if self.program is None:
            return None
        grades = [NO_LETTERS] * len(pictures)
        try:
            for scale in SCALES:
                open_ones = [place for place, grade in enumerate(grades) if grade != _TEXT]
                read = self.program.letters([pictures[place] for place in open_ones], scale)
                for place, (sure, guessed) in zip(open_ones, read, strict=True):
                    if sure >= LETTERS:
                        grades[place] = _TEXT
                    elif guessed >= _GUESSED:
                        grades[place] = LIKE_TEXT
        except RuntimeError:
            return None
        return grades

    def _texts(self, pictures: list[np.ndarray], least: int = LETTERS) -> list[bool] | None:
        """Whether each picture holds text; none: the program failed."""
        try:
            return self.program.texts(pictures, least) if self.program else None
        except RuntimeError:
            return None

    def sentence(self) -> str:
        """What was searched and found; it also stands in what leaves the study."""
        if self.program is None:
            return (
                "text in the pixels was not searched: Tesseract is not installed; look at the images, or install it "
                "and ingest again"
            )
        texts = [done for _, text, done, _ in self.listed if text]
        kinds = [f"{texts.count(done)} {done}" for done in sorted(set(texts))]
        unread = sum(done == LIKE_TEXT for _, _, done, _ in self.listed)
        looks = f"; {unread} more have a spot that looks like text and could not be read" if unread else ""
        return (
            f"text in the pixels was searched with Tesseract {self.program.version} in {len(self.searched)} images: "
            f"{len(texts)} hold text{' (' + ', '.join(kinds) + ')' if kinds else ''}{looks}"
        )

    def note(self) -> str:
        """The same for the terminal, with the file of the study that names the images."""
        return self.sentence() + (" (private/burned_in.csv names the files)" if self.listed else "")


def _failed(image: Result) -> Result:
    """An image that was to be searched and could not be."""
    if isinstance(image, DicomError) or not image.text:
        return image
    return DicomError(UNREAD, "Tesseract failed on a spot that looks like text")


def _words(box: tuple[int, int, int, int]) -> str:
    return f"rows {box[0]}-{box[1] - 1}, columns {box[2]}-{box[3] - 1}"
