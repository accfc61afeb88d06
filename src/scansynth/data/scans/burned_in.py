"""Text in the pixels: looked for in every image, read where something looks like text, and dealt with.

Where text may stand is told by the process that decodes (`dicom.text`); only these spots are read, many at a time.
An image with text is left out, or its text is blackened and the whole image read again, as the study says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from scansynth.config import BurnedIn
from scansynth.data.scans.join import Scan
from scansynth.data.scans.tesseract import LETTERS, SCALES, Letters, Tesseract, find_tesseract
from scansynth.dicom.sandbox import Decoded
from scansynth.errors import DicomError

BURNED_IN = "burned-in text"
"""Why an image is left out."""

UNCLEAN, UNREAD = "burned-in text that stays", "text not searched"
LIKE_TEXT, NO_LETTERS = "looks like text, nothing read: kept", "no letters read at three sizes: kept"
"""What is said of a spot in which no text was read: some letters were guessed there, or none."""

_TEXT = "text"
_GUESSED = 3  # letters that the program guesses at one of three sizes, from which a spot may hold text after all
_SAME = 3  # letters in a row that two sizes must have in common
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
        read = self._graded([crop for image in images for crop in _crops(image)])
        answers = iter(read or [])
        for scan, image in pairs:
            if isinstance(image, DicomError) or not image.text:
                yield scan, image
                continue
            # what the program fails on together it is given image by image: a fault is its own image's alone
            grades = [next(answers) for _ in image.text] if read is not None else self._graded(_crops(image))
            if grades is None:
                yield scan, DicomError(UNREAD, "Tesseract failed on a spot that looks like text")
                continue
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
        read: list[list[Letters]] = [[] for _ in pictures]
        try:
            for scale in SCALES:
                open_ones = [place for place, letters in enumerate(read) if _grade(letters) != _TEXT]
                found = self.program.letters([pictures[place] for place in open_ones], scale)
                for place, letters in zip(open_ones, found, strict=True):
                    read[place].append(letters)
        except RuntimeError:
            return None
        return [_grade(letters) for letters in read]

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


def _grade(read: Sequence[Letters]) -> str:
    """What a spot holds, by what was read there at each size: of text, another size gives the same letters."""
    for place, letters in enumerate(read):
        others = [*read[:place], *read[place + 1 :]]
        if len(letters.sure) >= LETTERS and any(_alike(letters.sure, other.guessed) for other in others):
            return _TEXT
    return LIKE_TEXT if any(len(letters.guessed) >= _GUESSED for letters in read) else NO_LETTERS


def _alike(one: str, other: str) -> bool:
    """Whether letters in a row stand in both."""
    return any(one[place : place + _SAME] in other for place in range(len(one) - _SAME + 1))


def _crops(image: Decoded) -> list[np.ndarray]:
    """The spots of an image that may hold text."""
    return [image.values[top:end, first:last] for top, end, first, last in image.text]


def _words(box: tuple[int, int, int, int]) -> str:
    return f"rows {box[0]}-{box[1] - 1}, columns {box[2]}-{box[3] - 1}"
