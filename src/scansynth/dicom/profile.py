"""The floor under the whitelist: what PS3.15 table E.1-1 wants removed, and what became of it here.

The table is that of the Basic Application Level Confidentiality Profile, as the package dicom-anonymizer has it. A
whitelist needs no list of what to remove; the list says whether the whitelist lets anything through, and a report can
name what stood in the files.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping

from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table
from pydicom.datadict import keyword_for_tag
from pydicom.tag import Tag

from scansynth.dicom.attributes import COMPARED, IDENTIFYING, WHITELIST
from scansynth.dicom.header import Header

_TABLE = "PS3.15 table E.1-1"
_CHARACTERISTICS = "PS3.15 table E.1-1, Retain Patient Characteristics Option"
HANDLED: Mapping[str, tuple[str, str]] = {
    "PatientID": ("replaced by a keyed hash", _TABLE),
    "SOPInstanceUID": ("replaced by a keyed hash", _TABLE),
    "SeriesInstanceUID": ("used to group images, and dropped", _TABLE),
    "PatientSex": ("kept as M, F or O", _CHARACTERISTICS),
    "PatientAge": ("kept in bands of ten years, 90 and over as one", _CHARACTERISTICS),
    **dict.fromkeys((*IDENTIFYING, *COMPARED), ("compared while the files are read, and dropped", _TABLE)),
}
"""What is read although the profile wants it removed: what is done with it, and by which clause."""

_UNREAD = "removed: skipped unread"
_LISTS = {
    "D": table.D_TAGS, "Z": table.Z_TAGS, "X": table.X_TAGS, "U": table.U_TAGS, "Z/D": table.Z_D_TAGS,
    "X/Z": table.X_Z_TAGS, "X/D": table.X_D_TAGS, "X/Z/D": table.X_Z_D_TAGS, "X/Z/U*": table.X_Z_U_STAR_TAGS,
}  # fmt: skip
_REPEATING = {0x5000: "curve data", 0x6000: "overlays"}  # groups 50xx and 60xx
COLUMNS = ("attribute", "tag", "files", "profile", "done", "clause")


@functools.cache
def actions() -> Mapping[int, str]:
    """The profile's action for each attribute of one tag: D, Z, X, U and their combinations."""
    return {int(Tag(*pair)): action for action, pairs in _LISTS.items() for pair in pairs if len(pair) == 2}


def let_through() -> set[str]:
    """Attributes that the whitelist reads, that the profile wants removed, and with which nothing is done."""
    return {keyword_for_tag(tag) for tag in WHITELIST if int(tag) in actions()} - HANDLED.keys()


def removal_report(headers: Iterable[Header]) -> list[dict[str, object]]:
    """One row for each attribute of the profile that stood in some file, private and repeating groups summed up.

    Args:
        headers: Of the files that were read; each file counts once.
    """
    files: Counter[int] = Counter()
    summed: Counter[str] = Counter()
    known = actions()
    for present, count in Counter(header.present for header in headers).items():  # a series' files hold the same
        files.update({tag: count for tag in present if tag in known})
        summed.update(dict.fromkeys({name for tag in present if (name := _summed(tag))}, count))
    rows: list[dict[str, object]] = []
    for tag, count in sorted(files.items()):
        keyword = keyword_for_tag(tag)
        done, clause = HANDLED.get(keyword, (_UNREAD, _TABLE))
        rows.append(report_row(keyword, f"({tag >> 16:04X},{tag & 0xFFFF:04X})", count, actions()[tag], done, clause))
    rows += [report_row(name, "", count, "X", _UNREAD, _TABLE) for name, count in sorted(summed.items())]
    return rows


def _summed(tag: int) -> str:
    """Under which name an element of no single tag is counted; empty: of none."""
    group = tag >> 16
    return "private elements" if group % 2 else _REPEATING.get(group & 0xFF00, "")


def report_row(*values: object) -> dict[str, object]:
    """A row of the report, from its cells in the order of `COLUMNS`."""
    return dict(zip(COLUMNS, values, strict=True))
