"""labels.csv: which image shows what, whose it is, and where the lesion lies.

A spreadsheet's row numbers are used throughout: the header is row 1. No message repeats a cell, because a
cell may hold a patient's name.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from scansynth.data.labels.identifiers import check_labels, screen
from scansynth.data.labels.lesions import BoxForm, Lesion, box_form, in_one_unit, read_box
from scansynth.data.labels.table import ERRORS, NO_VALUE, composed, plain_name, read_table
from scansynth.errors import CohortError
from scansynth.files import sha256_file
from scansynth.ledger import Role

UNLABELLED = "unlabelled"
"""The label of every case of a cohort without labels."""

_SPACING = ("spacing", "spacing_row", "spacing_col")
LEFT_OUT = "left_out"
"""Column of a template that says why a file makes no image; such a row needs no label."""
_NUMBERS = ("patient_number", "series_number")  # of a template, to see what belongs together; not read
_KNOWN = frozenset(
    {"path", "sop_instance_uid", "label", "patient_id", "mask", "mask_part", "role", LEFT_OUT, *_NUMBERS, *_SPACING}
)
_PLAIN = {plain_name(column): column for column in _KNOWN}
_FREE = frozenset({"site"})  # may hold any number of different texts
_LONGEST = 64  # characters, as DICOM's LO allows (PS3.5 section 6.2)
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True)
class LabelRow:
    """One row of labels.csv.

    Attributes:
        row: Its number in a spreadsheet; the header is 1.
        path: File, relative to the DICOM folder, with forward slashes; none when the row gives only a UID.
        sop_instance_uid: SOP Instance UID of the source; none when the row gives only a path.
        label: What the image shows.
        patient_id: Whose it is; none: as the DICOM file says.
        lesions: Where lesions lie, from this row and from others of the same image.
        spacing: mm between rows, and between columns, of an image whose file does not say.
        role: Role that the user gives to the patient.
        attributes: Every other filled cell, by its column.
    """

    row: int
    path: str | None
    sop_instance_uid: str | None
    label: str
    patient_id: str | None = None
    lesions: tuple[Lesion, ...] = ()
    spacing: tuple[float, float] | None = None
    role: Role | None = None
    attributes: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Labels:
    """A checked labels.csv: no image twice, no path that leaves the DICOM folder.

    Attributes:
        rows: One for each image.
        sha256: Of the file.
        notes: What was made of it that the user should know, a sentence each.
    """

    rows: tuple[LabelRow, ...]
    sha256: str
    notes: tuple[str, ...] = ()

    @property
    def by_path(self) -> dict[str, LabelRow]:
        """Rows that name a file."""
        return {row.path: row for row in self.rows if row.path is not None}

    @property
    def by_sop(self) -> dict[str, LabelRow]:
        """Rows that name an image by its SOP Instance UID alone."""
        return {row.sop_instance_uid: row for row in self.rows if row.path is None and row.sop_instance_uid}

    @property
    def mask_files(self) -> frozenset[str]:
        """Files that hold masks: they are no scans."""
        return frozenset(lesion.file for row in self.rows for lesion in row.lesions if lesion.file is not None)

    @property
    def masked(self) -> bool:
        """Some row gives a mask or a box."""
        return any(row.lesions for row in self.rows)


def read_labels(
    path: Path, known: Collection[str] = (), unlabelled: bool = False, attributes: Collection[str] = ()
) -> Labels:
    """The rows of labels.csv, checked.

    Args:
        path: The table, as a spreadsheet or a program writes it.
        known: Labels that may occur; empty: any.
        unlabelled: The label column may be missing, and is not read.
        attributes: Columns to keep with the cohort besides those that are harmless.

    Raises:
        CohortError: The file is missing, empty or malformed; the message gives the row and what to do.
    """
    table = read_table(path, _PLAIN.keys())
    columns = [_PLAIN.get(plain_name(column), column) for column in table.columns]
    form = box_form(path.name, columns)
    used = _KNOWN | {*(form.columns if form else ())}
    _check_columns(path.name, columns, used, unlabelled)
    cells = [(number, dict(zip(columns, map(_word, values), strict=True))) for number, values in table.rows]
    cells = [(number, cell) for number, cell in cells if cell.get("label") or not cell.get(LEFT_OUT)]
    own = [column for column in columns if column not in used]
    patients = [cell.get("patient_id", "") for _, cell in cells]
    kept, dropped = screen({c: [cell[c] for _, cell in cells] for c in own}, patients, attributes, _FREE)
    rows = [_row(path.name, number, cell, kept, form, unlabelled) for number, cell in cells]
    rows, respelled = _one_spelling(rows, known)
    check_labels(path.name, {row.label for row in rows} - set(known))
    for row in rows:
        _check_label(path.name, row, () if unlabelled else known)
    images = _one_unit(path.name, _one_image(path.name, rows), form)
    return Labels(images, sha256_file(path), (*table.notes, *dropped, *respelled))


def same_label(label: str) -> str:
    """A label without what people spell differently without meaning it: case, blanks, the kind of hyphen, 1.0 for 1.

    Letters of double width are those of single width (NFKC).
    """
    text = re.sub(r"\s+", "", composed(unicodedata.normalize("NFKC", label)).casefold())
    text = "".join("-" if unicodedata.category(letter) == "Pd" else letter for letter in text)
    return re.sub(r"[.,]0+$", "", text) if re.fullmatch(r"\d+[.,]0+", text) else text


def _one_spelling(rows: Sequence[LabelRow], known: Collection[str]) -> tuple[list[LabelRow], tuple[str, ...]]:
    """Rows in which labels that differ in spelling alone are one, and a note for each.

    The spelling that study.toml knows is taken, else the commonest. Spellings that study.toml knows stay apart.
    """
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        spellings[same_label(row.label)][row.label] += 1
    chosen = {label: label for label in known}
    notes = []
    for alike, counts in spellings.items():
        strange = [label for label in counts if label not in known]
        best = next((label for label in sorted(known) if same_label(label) == alike), None)
        best = best or min(counts, key=lambda label: (-counts[label], label))
        chosen |= dict.fromkeys(strange, best)
        others = sorted(label for label in strange if label != best)
        if others:
            notes.append(
                f"the labels {', '.join([best, *others])} differ in spelling alone (case, blanks, 1 and 1.0) and were "
                f"taken for one, {best} ({_rows(sum(counts[label] for label in others))} changed)"
            )
    return [replace(row, label=chosen[row.label]) for row in rows], tuple(notes)


def inside(text: str) -> str | None:
    """A relative path in its one normal form, or none when it leaves the folder it starts from."""
    path = PurePosixPath(text.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or re.match(r"[A-Za-z]:", text) or "\0" in text:
        return None
    return path.as_posix()


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def _check_columns(name: str, columns: Sequence[str], used: Collection[str], unlabelled: bool) -> None:
    """Refuses a header that cannot be used."""
    if "path" not in columns and "sop_instance_uid" not in columns:
        raise CohortError(f"{name} has neither a column path nor a column sop_instance_uid; add one of them")
    if "label" not in columns and not unlabelled:
        raise CohortError(f"{name} has no column label; add it, or make the study with --unlabelled")
    if "" in columns:
        raise CohortError(f"{name}: column {columns.index('') + 1} has no name; name it, or remove it")
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise CohortError(f"{name} has the column {twice[0]} twice; remove one of them")
    names = [attribute_name(column) for column in columns if column not in used]
    clash = [attribute for attribute in names if names.count(attribute) > 1]
    if clash:
        raise CohortError(f"{name}: two columns would both be kept as {clash[0]}; rename one of them")


def attribute_name(column: str) -> str:
    """A column's name as the cohort keeps it: lower-case letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_") or "column"


def _row(
    name: str, number: int, cell: Mapping[str, str], kept: Collection[str], form: BoxForm | None, unlabelled: bool
) -> LabelRow:
    """One checked row."""
    where = f"{name} row {number}"
    path = _path(where, "path", cell.get("path", ""))
    uid = cell.get("sop_instance_uid") or None
    if path is None and uid is None:
        raise CohortError(f"{where}: neither path nor sop_instance_uid is filled in; fill one, or remove the row")
    if uid is not None and (len(uid) > 64 or not _UID.fullmatch(uid)):
        raise CohortError(f"{where}: sop_instance_uid is not a UID (digits and dots, at most 64); correct it")
    label = UNLABELLED if unlabelled else composed(cell["label"])
    if not label:
        raise CohortError(f"{where}: the label is empty; fill it in, or remove the row")
    if len(label) > _LONGEST or not label.isprintable() or "|" in label:
        raise CohortError(f"{where}: a label is at most {_LONGEST} plain characters without |; give it a shorter name")
    return LabelRow(
        row=number,
        path=path,
        sop_instance_uid=uid,
        label=label,
        patient_id=_filled(cell.get("patient_id", "")),
        lesions=_lesions(where, number, cell, form),
        spacing=_spacing(where, cell),
        role=_role(where, cell.get("role", "")),
        attributes={
            attribute_name(column): composed(value) for column, value in cell.items() if value and column in kept
        },
    )


def _check_label(name: str, row: LabelRow, known: Collection[str]) -> None:
    if known and row.label not in known:
        raise CohortError(
            f"{name} row {row.row}: the label is not one of {', '.join(sorted(known))}; correct it, or add it to "
            "cohort.known_labels in study.toml"
        )


def _word(cell: str) -> str:
    return "" if cell.casefold() in ERRORS else cell


def _filled(cell: str) -> str | None:
    """A cell's text, or none when it is empty or a program's word for that."""
    text = composed(cell)
    return None if text.casefold() in NO_VALUE or not text else text


def _path(where: str, column: str, text: str) -> str | None:
    """A cell that names a file below the DICOM folder."""
    if not text:
        return None
    path = inside(text)
    if path is None:
        raise CohortError(f"{where}: {column} leads out of the DICOM folder; give it relative to that folder")
    return path


def _lesions(where: str, number: int, cell: Mapping[str, str], form: BoxForm | None) -> tuple[Lesion, ...]:
    """The lesion that a row gives, if it gives one."""
    file, box = _path(where, "mask", cell.get("mask", "")), read_box(where, cell, form)
    if file and box:
        raise CohortError(f"{where}: it has both a mask and a box; keep one of them")
    if file is None and box is None:
        return ()
    return (Lesion(number, file, cell.get("mask_part") or None if file else None, box),)


def _spacing(where: str, cell: Mapping[str, str]) -> tuple[float, float] | None:
    """Size of a pixel in mm, from one column or from two."""
    both = cell.get("spacing", "")
    texts = (cell.get("spacing_row", "") or both, cell.get("spacing_col", "") or both)
    if not any(texts):
        return None
    try:
        rows, columns = (float(text) for text in texts)
    except ValueError:
        rows = columns = 0.0
    if not (0 < rows < 1e3 and 0 < columns < 1e3):
        raise CohortError(f"{where}: spacing, or spacing_row and spacing_col, must be mm above 0; correct the cells")
    return rows, columns


def _one_unit(name: str, rows: Sequence[LabelRow], form: BoxForm | None) -> tuple[LabelRow, ...]:
    """Rows whose boxes say whether they are fractions of the image."""
    if not in_one_unit(name, [lesion for row in rows for lesion in row.lesions], form):
        return tuple(rows)
    return tuple(replace(row, lesions=tuple(_as_fraction(lesion) for lesion in row.lesions)) for row in rows)


def _as_fraction(lesion: Lesion) -> Lesion:
    return lesion if lesion.box is None else replace(lesion, box=replace(lesion.box, fraction=True))


def _role(where: str, text: str) -> Role | None:
    """A role by its name."""
    if not text:
        return None
    names = [role.value for role in Role]
    if text.lower() not in names:
        near = difflib.get_close_matches(text.lower(), names, n=1, cutoff=0.0)[0]
        raise CohortError(f"{where}: there is no such role; the nearest is {near}, and all are {', '.join(names)}")
    return Role(text.lower())


def _one_image(name: str, rows: Iterable[LabelRow]) -> list[LabelRow]:
    """One row for each image: rows that differ in their lesion alone are joined, and each lesion is kept.

    Raises:
        CohortError: Rows of one image say different things of it, or the same thing twice.
    """
    joined: dict[tuple[str, str], LabelRow] = {}
    uids: dict[str, LabelRow] = {}
    for row in rows:
        key = ("path", row.path) if row.path is not None else ("sop_instance_uid", row.sop_instance_uid or "")
        known = joined.get(key)
        other = uids.setdefault(row.sop_instance_uid, row) if row.sop_instance_uid else row
        if known is None and other is not row:
            raise CohortError(
                f"{name} row {row.row}: row {other.row} has the same sop_instance_uid; remove one of them"
            )
        joined[key] = row if known is None else _joined(name, known, row)
    return list(joined.values())


def _joined(name: str, known: LabelRow, row: LabelRow) -> LabelRow:
    """Two rows of one image as one."""
    where = f"{name} row {row.row}: row {known.row} is of the same image"
    if not (known.lesions or row.lesions):
        raise CohortError(f"{where}; remove one of them")
    for field in ("label", "patient_id", "role", "spacing", "sop_instance_uid"):
        if getattr(known, field) != getattr(row, field):
            raise CohortError(f"{where} and differs in {field}; an image has one, so correct it or remove a row")
    one, two = known.attributes or {}, row.attributes or {}
    differing = sorted(column for column in one.keys() | two.keys() if one.get(column) != two.get(column))
    if differing:
        raise CohortError(
            f"{where} and differs in {differing[0]}; give the image one value, or remove the column: rows of one "
            "image may differ in the box or the mask alone"
        )
    return replace(known, lesions=known.lesions + row.lesions)
