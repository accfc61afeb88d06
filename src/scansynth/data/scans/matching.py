"""Which row of labels.csv belongs to which file: by its path, however it is spelled, or by its UID."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scansynth.data.labels.read import LabelRow, Labels
from scansynth.data.labels.table import composed
from scansynth.data.scans.sources import Source
from scansynth.dicom.header import Header
from scansynth.dicom.read import CLOSED_FOLDER
from scansynth.errors import CohortError, DicomError

Found = Sequence[tuple[Source, Header | DicomError]]

_ENDING = re.compile(r"\.(dcm|dicom|dic|ima|img|png|jpe?g|tiff?|bmp|nii|mha)$")


def match(labels: Labels, found: Found) -> tuple[list[LabelRow | None], tuple[str, ...]]:
    """The row of each file, none where there is none, and what the user should know of it.

    A path is looked for as it is written; then in composed Unicode; then without regard to case; then without the
    ending; then as another name of the same file. Only the one file that fits is taken.

    Args:
        labels: The rows.
        found: Every candidate file with its header, or the fault that stopped it.

    Raises:
        CohortError: Rows name images that are not there, or contradict each other or the files.
    """
    by_name, notes = _by_path(labels, list({source.relative: source for source, _ in found}.values()))
    by_sop = labels.by_sop
    rows: list[LabelRow | None] = []
    for source, header in found:
        row = by_name.get(source.relative)
        other = None if isinstance(header, DicomError) else by_sop.get(header.sop_instance_uid)
        if row and other:
            raise CohortError(f"labels.csv rows {row.row} and {other.row} name the same image; remove one of them")
        if row and not isinstance(header, DicomError) and row.sop_instance_uid not in {None, header.sop_instance_uid}:
            raise CohortError(f"labels.csv row {row.row}: the file has another SOP Instance UID; correct the row")
        rows.append(row or other)
    matched = {row.row for row in rows if row is not None}
    lost = [row for row in labels.rows if row.row not in matched]
    notes += _account_for_paths([row for row in lost if row.path is not None], found)
    notes += _account_for_uids([row for row in lost if row.path is None], found)
    return rows, tuple(notes)


def _by_path(labels: Labels, sources: Sequence[Source]) -> tuple[dict[str, LabelRow], list[str]]:
    """The row of each file by the file's own name, and a note when names had to be matched leniently."""
    rows = [row for row in labels.rows if row.path is not None]
    taken: dict[str, LabelRow] = {}
    lenient: list[LabelRow] = []
    for level, form in enumerate(_FORMS):
        files: dict[str, list[str]] = defaultdict(list)
        for source in sources:
            if source.relative not in taken:
                files[form(source.relative)].append(source.relative)
        wanted: dict[str, list[LabelRow]] = defaultdict(list)
        for row in rows:
            wanted[form(row.path or "")].append(row)
        rows = []
        for name, same in wanted.items():
            fitting = files.get(name, [])
            if len(same) > 1 and fitting:
                first, second = same[:2]
                raise CohortError(f"labels.csv rows {first.row} and {second.row} name the same file; remove one")
            if len(fitting) > 1:
                raise CohortError(
                    f"labels.csv row {same[0].row}: {len(fitting)} files have this name apart from case, ending or "
                    "accents; give the name as the file has it"
                )
            if fitting:
                taken[fitting[0]] = same[0]
                lenient += same if level >= _LENIENT else []
            else:
                rows += same
    _by_inode(rows, sources, taken)
    if not lenient:
        return taken, []
    first_row = min(row.row for row in lenient)
    one = len(lenient) == 1
    return taken, [
        f"{_rows(len(lenient))} of labels.csv {'names its file' if one else 'name their files'} in another case or "
        f"with another ending (row {first_row}{'' if one else ' first'}); the one file that fits was taken"
    ]


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", composed(path).casefold())


_FORMS: tuple[Callable[[str], str], ...] = (
    str,
    composed,
    _folded,
    lambda path: _ENDING.sub("", _folded(path)),
)
_LENIENT = 2  # from here on a name is not the file's own


def _root(sources: Sequence[Source]) -> Path:
    """The DICOM folder, above its first file."""
    return sources[0].path.parents[sources[0].relative.count("/")]


def _by_inode(rows: Sequence[LabelRow], sources: Sequence[Source], taken: dict[str, LabelRow]) -> None:
    """Gives rows the file that lies under another name, through a linked folder; in place."""
    if not rows or not sources:
        return
    inodes = {_inode(source.path): source.relative for source in sources if source.relative not in taken}
    for row in rows:
        name = inodes.get(_inode(_root(sources) / (row.path or "")))
        if name is not None:
            taken.setdefault(name, row)


def _inode(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return (-1, id(path))  # no file: equal to nothing
    return found.st_dev, found.st_ino


def _account_for_paths(lost: Sequence[LabelRow], found: Found) -> list[str]:
    """A note on rows whose files cannot be seen.

    Raises:
        CohortError: Some row's file is not there, or is passed over.
    """
    closed = [
        source.relative + "/"
        for source, fault in found
        if isinstance(fault, DicomError) and fault.reason == CLOSED_FOLDER
    ]
    unseen = [row for row in lost if _folded(row.path or "").startswith(tuple(map(_folded, closed)))]
    lost = [row for row in lost if row not in unseen]
    if lost:
        path = lost[0].path or ""
        where = f"labels.csv row {lost[0].row}"
        affected = f"({_rows(len(lost))} affected)"
        sources = [source for source, _ in found]
        if sources and (_root(sources) / path).exists():
            raise CohortError(
                f"{where}: the file exists but is skipped: it is hidden, ends in .csv, .png or the like, is named "
                f"twice, or lies in a study folder {affected}; rename or move it, or remove the rows"
            )
        below = path.partition("/")[2] in {source.relative for source in sources}
        raise CohortError(
            f"{where}: there is no such file in the DICOM folder {affected}; "
            + (
                "the paths start one folder higher: set cohort.dicom to that folder"
                if below
                else "give paths relative to the DICOM folder, or remove the rows"
            )
        )
    if not unseen:
        return []
    return [
        f"{_rows(len(unseen))} of labels.csv (row {unseen[0].row} first) lead into a folder that this user may not "
        "read; grant read permission"
    ]


def _account_for_uids(lost: Sequence[LabelRow], found: Found) -> list[str]:
    """A note on rows whose images may be among the files that could not be read.

    Raises:
        CohortError: There are more such rows than such files.
    """
    if not lost:
        return []
    unread = [source.relative for source, fault in found if isinstance(fault, DicomError)]
    named = [row for row in lost if any((row.sop_instance_uid or "") in name for name in unread)]
    if len(lost) > len(unread) and len(named) < len(lost):
        among = f"; {len(unread)} files could not be read, and may be some of them" if unread else ""
        raise CohortError(
            f"labels.csv row {lost[0].row}: no DICOM file has this SOP Instance UID ({_rows(len(lost))} affected)"
            f"{among}; correct the UIDs, or remove the rows"
        )
    return [
        f"{_rows(len(lost))} of labels.csv (row {lost[0].row} first) name images by a UID that no readable file has; "
        f"they must be among the {len(unread)} files that could not be read, whose reasons stand in cohort/excluded.csv"
    ]


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def spread(rows: Sequence[LabelRow | None], headers: Sequence[Header]) -> list[LabelRow | None]:
    """The same rows, and for a file without one the row of another file of the same image."""
    shared: Mapping[str, LabelRow] = {
        header.sop_instance_uid: row for header, row in zip(headers, rows, strict=True) if row is not None
    }
    return [row or shared.get(header.sop_instance_uid) for row, header in zip(rows, headers, strict=True)]
