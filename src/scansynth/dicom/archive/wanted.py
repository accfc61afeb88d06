"""What is asked of an archive: a few DICOM attributes to match, checked before and after they are sent."""

from __future__ import annotations

import csv
import datetime
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scansynth.dicom.header import valid_uid
from scansynth.errors import ArchiveError

EXACT = ("PatientID", "AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID")
"""What a list may name; each asks for one value."""

_SAME = {*EXACT, "Modality"}
_NEVER_ON_TRUST = {"PatientID", "AccessionNumber"}
_UIDS = {"StudyInstanceUID", "SeriesInstanceUID"}
_WILD = set("*?\\")  # PS3.4 C.2.2.2.4, and the backslash between several values


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


@dataclass(frozen=True)
class Wanted:
    """Which series are asked for. What is empty is not asked.

    Attributes:
        modality: Of the series, for example MR.
        since: First day of the studies, YYYYMMDD.
        until: Last day of the studies, YYYYMMDD.
        description: Series Description; `*` and `?` stand for any letters.
        each: Values of `EXACT`, one study or series an entry; empty: any.
        most: Series to pull at most; 0: all.
    """

    modality: str = ""
    since: str = ""
    until: str = ""
    description: str = ""
    each: tuple[Mapping[str, str], ...] = field(default=(), repr=False)
    most: int = 0

    def __post_init__(self) -> None:
        for day in (self.since, self.until):
            if day and _day(day) is None:
                raise ArchiveError(f"{day} is not a date; give it as 2024-01-31 or 20240131")
        if self.since and self.until and self.since > self.until:
            raise ArchiveError("--since is later than --until")
        if _WILD & set(self.modality):
            raise ArchiveError("a modality is one code such as MR")
        if not (self.modality or self.since or self.until or self.description or self.each):
            raise ArchiveError("say what to pull: --modality, --since, --until, --description or --list")

    def studies(self) -> Iterator[tuple[Mapping[str, str], dict[str, str]]]:
        """Each entry of the list, and its query at the level of studies (PS3.4 C.6.2.1)."""
        span = f"{self.since}-{self.until}" if self.since or self.until else ""
        for entry in self.each or ({},):
            keys = {name: entry.get(name, "") for name in EXACT if name != "SeriesInstanceUID"}
            yield entry, {**keys, "StudyDate": span, "ModalitiesInStudy": self.modality}

    def series(self, study: str, entry: Mapping[str, str]) -> dict[str, str]:
        """The query for the series of a study that matched an entry of the list."""
        return {
            "StudyInstanceUID": study,
            "SeriesInstanceUID": entry.get("SeriesInstanceUID", ""),
            "Modality": self.modality,
            "SeriesDescription": "",  # compared by `admits`: archives differ in capital letters and blanks
            "NumberOfSeriesRelatedInstances": "",
        }

    def admits(self, asked: Mapping[str, str], found: Mapping[str, str]) -> bool:
        """Whether an answer is one that was asked for: an archive that passes over a key answers with too much.

        Args:
            asked: A query.
            found: One answer. A patient or accession number that it leaves out was not found; other keys are taken on
                trust then.
        """
        for name, value in asked.items():
            told = found.get(name, "").strip()
            if not value or (not told and name not in _NEVER_ON_TRUST):
                continue
            if name in _SAME and value.casefold() != told.casefold():
                return False
            if name == "StudyDate" and not (self.since or told) <= told <= (self.until or told):
                return False
        return "SeriesDescription" not in asked or _matches(self.description or "*", found.get("SeriesDescription", ""))


def _matches(pattern: str, text: str) -> bool:
    """Wild card matching (PS3.4 C.2.2.2.4), capital letters or not."""
    wild = re.escape(pattern.casefold()).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(wild, text.casefold(), re.DOTALL) is not None


def _day(text: str) -> str | None:
    """A day as YYYYMMDD; none: it is none."""
    for form in ("%Y-%m-%d", "%Y%m%d"):
        try:
            return datetime.datetime.strptime(text, form).strftime("%Y%m%d")
        except ValueError:
            continue
    return None


def as_day(text: str | None) -> str:
    """A day of the command line as DICOM writes it; a wrong one is refused by `Wanted`."""
    return "" if text is None else _day(text) or text


def read_list(path: Path) -> tuple[dict[str, str], ...]:
    """The studies or series that a CSV file names, by columns such as `study_instance_uid` or `PatientID`.

    Raises:
        ArchiveError: There is no such file, it has no such column, or a value could match others too.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise ArchiveError(f"cannot read {path}; give a CSV file in UTF-8") from None
    rows = list(csv.reader(io.StringIO(text)))
    names = {_plain(name): name for name in EXACT}
    header = [names.get(_plain(cell), "") for cell in rows[0]] if rows else []
    if not any(header):
        raise ArchiveError(f"{path} has none of the columns {', '.join(EXACT)}; name one in its first line")
    entries = []
    for number, row in enumerate(rows[1:], 2):
        entry = {name: cell.strip() for name, cell in zip(header, row, strict=False) if name and cell.strip()}
        if any(_WILD & set(value) for value in entry.values()):
            raise ArchiveError(f"{path}, line {number}: * ? and \\ match other patients too; name one value")
        if any(not valid_uid(value) for name, value in entry.items() if name in _UIDS):
            raise ArchiveError(f"{path}, line {number}: not a UID; it has digits and dots, 64 at most")
        if entry.keys() == {"SeriesInstanceUID"}:
            raise ArchiveError(f"{path}, line {number}: a series is found by its study; add StudyInstanceUID")
        if entry:
            entries.append(entry)
    if not entries:
        raise ArchiveError(f"{path} names no study; add a line below its first one")
    return tuple(entries)
