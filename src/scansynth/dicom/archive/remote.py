"""What DIMSE and DICOMweb have in common: queries by level, images fetched and sent, and how fast."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from scansynth.dicom.archive.wanted import Wanted
from scansynth.dicom.header import valid_uid

RETRIES = 3
"""Times that something is tried again when the line breaks or the archive is busy."""


def keep_quiet(*libraries: str) -> None:
    """Libraries log and warn of values and addresses, names and numbers of patients among them: none leaves."""
    for name in libraries:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")


class Level(StrEnum):
    """Levels of the study root information model (PS3.4 C.6.2.1)."""

    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


@dataclass(frozen=True)
class Image:
    """One image of an archive, its UIDs well formed; they stay out of its `repr`."""

    study: str = field(repr=False)
    series: str = field(repr=False)
    instance: str = field(repr=False)
    sop_class: str = ""


@dataclass(frozen=True)
class Series:
    """One series of an archive with all its images."""

    images: tuple[Image, ...]

    @property
    def study(self) -> str:
        """Its Study Instance UID."""
        return self.images[0].study

    @property
    def uid(self) -> str:
        """Its Series Instance UID."""
        return self.images[0].series


@dataclass(frozen=True)
class Arrived:
    """An image that came: the file that holds it, not yet looked at."""

    image: Image
    file: Path


@dataclass(frozen=True)
class Missed:
    """An image that did not come, and why, in a few words."""

    image: Image
    why: str


class Archive(Protocol):
    """A connection to an archive. Its methods raise `ArchiveError` when nothing more can be had."""

    def find(self, level: Level, keys: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
        """Answers to a query: the values of `keys`, and at the level of images SOP Class and SOP Instance UID."""

    def fetch(self, series: Series, images: Sequence[Image], inbox: Path) -> Iterator[Arrived | Missed]:
        """Fetches some images of a series, or all, into files in `inbox`, in any order."""

    def send(self, file: Path, image: Image) -> str:
        """Sends one file; returns why the archive did not accept it, empty when it did."""


class Pace:
    """Lets a number of images and queries pass in a second, evenly.

    Args:
        each_second: That number; 0: as fast as it goes.
        clock: Seconds now.
        sleep: Waits for seconds.
    """

    def __init__(
        self,
        each_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._step = 1.0 / each_second if each_second > 0 else 0.0
        self._clock, self._sleep = clock, sleep
        self._next = 0.0

    def wait(self) -> None:
        """Returns when the next one may pass."""
        now = self._clock()
        if now < self._next:
            self._sleep(self._next - now)
        self._next = max(now, self._next) + self._step


@dataclass
class Listing:
    """What an archive holds of what was asked.

    Attributes:
        series: In the archive's order, each once.
        malformed: Answers whose UID is none: they are not fetched.
    """

    series: list[Series] = field(default_factory=list)
    malformed: int = 0

    @property
    def images(self) -> int:
        """Images in all series."""
        return sum(len(series.images) for series in self.series)


def list_series(archive: Archive, wanted: Wanted, found: Callable[[int], None] = lambda _images: None) -> Listing:
    """Asks for studies, their series and the images of these.

    Args:
        archive: Is asked.
        wanted: What for.
        found: Told the number of images after each series.

    Raises:
        ArchiveError: The archive does not answer or refuses.
    """
    listing, seen = Listing(), set[str]()
    for entry, query in wanted.studies():
        for study in _fitting(archive, wanted, Level.STUDY, query, listing):
            asked = wanted.series(study["StudyInstanceUID"], entry)
            for one in _fitting(archive, wanted, Level.SERIES, asked, listing):
                uid = one["SeriesInstanceUID"]
                if uid in seen:
                    continue
                seen.add(uid)
                images = images_of(archive, asked["StudyInstanceUID"], uid, listing)
                if images:
                    listing.series.append(Series(images))
                    found(listing.images)
                if wanted.most and len(listing.series) == wanted.most:
                    return listing
    return listing


def _fitting(
    archive: Archive, wanted: Wanted, level: Level, asked: Mapping[str, str], listing: Listing
) -> list[Mapping[str, str]]:
    """The answers that were asked for and have a UID."""
    name = f"{level.value.capitalize()}InstanceUID"
    answers = [answer for answer in archive.find(level, asked) if wanted.admits(asked, answer)]
    good = [answer for answer in answers if valid_uid(answer.get(name, ""))]
    listing.malformed += len(answers) - len(good)
    return good


def images_of(archive: Archive, study: str, series: str, listing: Listing | None = None) -> tuple[Image, ...]:
    """The images of a series, each once.

    Raises:
        ArchiveError: The archive does not answer or refuses.
    """
    keys = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": "", "SOPClassUID": ""}
    found: dict[str, Image] = {}
    for answer in archive.find(Level.IMAGE, keys):
        uid, sop_class = answer.get("SOPInstanceUID", ""), answer.get("SOPClassUID", "")
        if valid_uid(uid) and (not sop_class or valid_uid(sop_class)):
            found[uid] = Image(study, series, uid, sop_class)
        elif listing is not None:
            listing.malformed += 1
    return tuple(found.values())
