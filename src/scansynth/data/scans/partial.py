"""What an interrupted ingest had decoded, so that the next one goes on from there.

A hidden folder of the study holds `images.npy`, which the cohort takes over at the end, and a line of `decoded.jsonl`
for each series that is complete: what became of its scans. It is believed only while all that ingest reads is as it
was (names, sizes and times of the sources, labels, settings, key, versions), while each source file bears the time of
change that the system keeps for itself (st_ctime, which a program cannot set), and as far as the images have their
checksums. Names of files and patients do not stand there.
"""

from __future__ import annotations

import itertools
import json
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from scansynth.data.imageset import IMAGES
from scansynth.data.scans.burned_in import TextSearch
from scansynth.data.scans.join import Left, Scan
from scansynth.files import storage_faults

PARTIAL = ".scansynth-ingest"
"""Name of the folder, in a study."""

_LINES = "decoded.jsonl"


@dataclass(frozen=True)
class Kept:
    """An image that stands in `images.npy`.

    Attributes:
        low: Source value of stored 0.
        high: Source value of stored 65535.
        source_sha256: Of the file.
        airless: A CT that holds next to no air.
        pixels: Keyed digest of the decoded picture.
        checksum: CRC-32 of the stored image.
    """

    low: float
    high: float
    source_sha256: str
    airless: bool
    pixels: str
    checksum: int


Became = Kept | Left


class Partial:
    """The folder; what stands in it is checked when this is made, and the rest is cut off.

    Args:
        folder: Where it lies, or will.
        basis: Digest of everything on which the images depend.
        scans: All scans of the plan, in order, those of a series one after the other.
        shape: Rows and columns of a stored image, pixels.
        search: The search for text, which is told what was found before.
    """

    def __init__(
        self, folder: Path, basis: str, scans: Sequence[Scan], shape: tuple[int, int], search: TextSearch
    ) -> None:
        self.folder, self._search = folder, search
        self.before: list[Became] = []
        with storage_faults(folder):
            folder.mkdir(exist_ok=True)
            path = folder / _LINES
            good = self._believed(path, basis, scans, shape)
            if good:
                with path.open("r+b") as stream:
                    stream.truncate(good)
            else:
                path.write_text(json.dumps({"basis": basis}) + "\n", encoding="utf-8")
        self._seen, self._texts = len(search.listed), dict[str, list[object]]()

    @property
    def images(self) -> int:
        """Images that stand there."""
        return sum(isinstance(one, Kept) for one in self.before)

    def _believed(self, path: Path, basis: str, scans: Sequence[Scan], shape: tuple[int, int]) -> int:
        """Takes over what can be believed; bytes of its lines, 0 when it is of another ingest, or damaged."""
        if not path.is_file() or not (self.folder / IMAGES).is_file():
            return 0
        good = 0
        with path.open("rb") as lines, (self.folder / IMAGES).open("rb") as images:
            try:
                np.lib.format.read_magic(images)
                np.lib.format.read_array_header_1_0(images)
                if json.loads(lines.readline()) != {"basis": basis}:
                    return 0
                good = lines.tell()
                for line in lines:
                    self._take(json.loads(line), scans, images, 2 * shape[0] * shape[1])
                    good += len(line)
            except (ValueError, KeyError, TypeError):  # a line that was cut off, and all that does not fit
                pass
        return good

    def _take(self, series: Mapping[str, Any], scans: Sequence[Scan], images: BinaryIO, size: int) -> None:
        """The scans of one line.

        Raises:
            ValueError: They are not those of the plan, or an image is not as it was.
        """
        here = scans[len(self.before) :][: len(series["scans"])]
        told = [(scan.case, scan.source.ctime_ns) for scan in here]
        if not told or told != [(one["case"], one["ctime"]) for one in series["scans"]]:
            raise ValueError
        became = [_read(scan, one["became"]) for scan, one in zip(here, series["scans"], strict=True)]
        for one in became:
            if isinstance(one, Kept) and zlib.crc32(images.read(size)) != one.checksum:
                raise ValueError
        for scan, one in zip(here, series["scans"], strict=True):
            if one["searched"]:
                self._search.searched.add(scan.case)
            if one["text"]:
                found, done, where = one["text"]
                self._search.listed.append((scan, bool(found), str(done), str(where)))
        self.before += became

    def recorded(self, became: Iterable[tuple[Scan, Became]], images: BinaryIO) -> Iterator[Became]:
        """The same, and a line for each series once its images are written.

        Args:
            became: Each further scan with what became of it, in order.
            images: The open `images.npy`.
        """
        with (self.folder / _LINES).open("ab") as stream:
            for _, series in itertools.groupby(became, key=lambda pair: series_of(pair[0])):
                scans = []
                for scan, one in series:
                    scans.append((scan, one))
                    yield one
                line = {"scans": [self._told(scan, one) for scan, one in scans]}
                images.flush()
                stream.write(json.dumps(line).encode() + b"\n")
                stream.flush()

    def _told(self, scan: Scan, one: Became) -> dict[str, Any]:
        """What a line says of a scan."""
        listed = self._search.listed
        while self._seen < len(listed):  # the search is ahead of the series that is written
            found, *rest = listed[self._seen]
            self._texts[found.case] = rest
            self._seen += 1
        became = dict(vars(one)) if isinstance(one, Kept) else {"reason": one.reason, "detail": one.detail}
        return {
            "case": scan.case,
            "ctime": scan.source.ctime_ns,
            "became": became,
            "searched": scan.case in self._search.searched,
            "text": self._texts.pop(scan.case, None),
        }

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def series_of(scan: Scan) -> tuple[str, str]:
    """What tells a series from every other."""
    return scan.patient, scan.header.series_instance_uid


def _read(scan: Scan, told: Mapping[str, Any]) -> Became:
    return Left(scan.source, **told, patient=scan.patient) if "reason" in told else Kept(**told)
