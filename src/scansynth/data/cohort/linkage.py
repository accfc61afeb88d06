"""The tables in `private/`: the only place where names of source files stand."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from scansynth.data.scans.join import Left, Scan
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.dicom.header import SUSPECT
from scansynth.files import write_bytes

LINKAGE, DUPLICATES, SAME_PICTURES = "linkage.csv", "duplicates.csv", "same_pictures.csv"
BURNED_IN = "burned_in.csv"


def write_linkage(folder: Path, key: InstitutionKey, scans: Sequence[Scan], left: Sequence[Left]) -> None:
    """Writes the table from keyed hashes back to file names, for the owner of the study alone."""
    named = [(scan.source.relative, scan.case, scan.patient) for scan in scans]
    named += [(item.source.relative, "", item.patient) for item in left]
    rows = [(key.file_key(relative), case, patient, relative) for relative, case, patient in sorted(named)]
    _write(folder, LINKAGE, ("key", "case", "patient", "file"), rows)


def read_linkage(folder: Path) -> list[dict[str, str]]:
    """The table of all files: key, case, patient, file; empty when there is none."""
    return _read(folder / LINKAGE)


def forget(folder: Path, patients: Collection[str]) -> None:
    """Takes the files of patients out of every table.

    The table of all files goes last, since it says which files they are: a run that was cut off can be repeated.
    """
    names = {row["file"] for row in read_linkage(folder) if row["patient"] in patients}
    for table in (DUPLICATES, SAME_PICTURES, BURNED_IN, LINKAGE):
        found = _read(folder / table)
        kept = [row for row in found if names.isdisjoint((row["file"], row.get("same as", "")))]
        if not kept and table != LINKAGE:
            (folder / table).unlink(missing_ok=True)
        elif len(kept) < len(found):
            _write(folder, table, tuple(found[0]), [tuple(row.values()) for row in kept])


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def write_duplicates(folder: Path, key: InstitutionKey, groups: Sequence[Sequence[Scan]], left: Sequence[Left]) -> None:
    """Writes which files share a SOP Instance UID, group by group, and what became of each; none: removes the table."""
    if not groups:
        (folder / DUPLICATES).unlink(missing_ok=True)
        return
    reasons = {item.source.relative: item.reason for item in left}
    names = [sorted(scan.source.relative for scan in group) for group in groups]
    rows = [
        (number, key.file_key(relative), reasons.get(relative, "kept"), relative)
        for number, group in enumerate(sorted(names), start=1)
        for relative in group
    ]
    _write(folder, DUPLICATES, ("image", "key", "reason", "file"), rows)


def write_same_pictures(folder: Path, key: InstitutionKey, listed: Sequence[tuple[str, str, float]]) -> None:
    """Writes which files of two patients show the same picture; none: removes the table.

    Args:
        folder: The owner's.
        key: The institution's.
        listed: Two files, or a case of another study in the second's place, and how alike they are; 1 is equal.
    """
    if not listed:
        (folder / SAME_PICTURES).unlink(missing_ok=True)
        return
    rows = [(f"{score:.4f}", key.file_key(first), first, second) for first, second, score in listed]
    _write(folder, SAME_PICTURES, ("correlation", "key", "file", "same as"), rows)


def write_burned_in(
    folder: Path, key: InstitutionKey, listed: Sequence[tuple[Scan, bool, str, str]], left: Iterable[Left]
) -> None:
    """Writes which files have a spot that looks like text, where, and what became of each; none: removes the table.

    The words themselves are written nowhere.

    Args:
        folder: The owner's.
        key: The institution's.
        listed: Scans, whether text was read, what was done, and where.
        left: Files left out; those whose header makes text likely are listed too.
    """
    suspect = [item for item in left if item.reason in SUSPECT]
    if not listed and not suspect:
        (folder / BURNED_IN).unlink(missing_ok=True)
        return
    rows = [
        (key.file_key(scan.source.relative), "text" if text else "nothing read", done, where, scan.source.relative)
        for scan, text, done, where in listed
    ]
    rows += [
        (key.file_key(item.source.relative), item.reason, "left out", "", item.source.relative) for item in suspect
    ]
    _write(folder, BURNED_IN, ("key", "found", "done", "where", "file"), sorted(rows))


def _write(folder: Path, name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes one table for its owner's eyes only."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    # A file name need not be UTF-8; surrogateescape writes its bytes as they are.
    write_bytes(folder / name, stream.getvalue().encode("utf-8", "surrogateescape"), mode=0o600)
