"""A table as spreadsheets write it: any usual delimiter, encoding and spelling of the header.

Rows keep the numbers that a spreadsheet shows: the first line is row 1; a line `sep=;`, which spreadsheets hide,
does not count. No message repeats a cell, because a cell may hold a patient's name.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import string
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from scansynth.errors import CohortError

_DELIMITERS = (",", ";", "\t", "|")
_SEPARATOR_LINE = re.compile(r'\s*"?sep=(.|\\t)"?[;,\t]*\s*', re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?")
_AROUND = string.whitespace + "\u00a0\u200b\u2060\ufeff"  # blanks, and what looks like none
_HEAD = " \t,;|\r"
_BINARY = {b"PK\x03\x04": "a workbook (xlsx or ods)", b"\xd0\xcf\x11\xe0": "a workbook (xls)", b"%PDF": "a PDF"}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)  # UTF-32 little-endian begins as UTF-16 does, so it stands first


@dataclass(frozen=True)
class Table:
    """A header and rows of as many cells.

    Attributes:
        columns: Names as they were written, without blanks around them.
        rows: Number in a spreadsheet, and the cells without blanks around them.
        notes: What was made of the file, a sentence each; empty when it is plain CSV.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    notes: tuple[str, ...]


def read_table(path: Path, known: Collection[str]) -> Table:
    """The table in a text file.

    Args:
        path: The file.
        known: Column names in the form of `plain_name`; they tell which delimiter was meant.

    Raises:
        CohortError: The file is missing, empty, no text, or its rows do not fit its header.
    """
    text, notes = _text(path)
    records, delimiter = _records(path.name, text, known)
    numbered = [(number, record) for number, record in enumerate(records, start=1) if any(map(str.strip, record))]
    if not numbered:
        raise CohortError(f"{path.name} is empty; it needs a header line with path and label, and a row for each image")
    (_, header), *body = numbered
    columns = tuple(composed(_cell(cell)) for cell in header)
    width = max(index for index, column in enumerate(columns, start=1) if column)
    if any(_cell(cell) for _, record in body for cell in record[width : len(columns)]):
        width = len(columns)  # an unnamed column with content is not dropped silently: the caller refuses it
    rows = tuple((number, _fitted(path.name, number, record, width)) for number, record in body)
    if not rows:
        raise CohortError(f"{path.name} has a header and no rows; add a row for each image")
    if delimiter != ",":
        rows = _points_for_commas(rows)
    return Table(columns[:width], rows, tuple(notes))


def plain_name(name: str) -> str:
    """A column's name without what people spell differently: case, blanks, hyphens, underscores, accents."""
    decomposed = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in decomposed.lower() if letter.isalnum())


def composed(text: str) -> str:
    """Text in the one Unicode form for comparison (NFC), without marks that nobody sees."""
    return "".join(letter for letter in unicodedata.normalize("NFC", text) if unicodedata.category(letter) != "Cf")


def _text(path: Path) -> tuple[str, list[str]]:
    """The file as text, and what had to be guessed."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise CohortError(
            f"there is no {path.name} where study.toml says it is; set cohort.labels to the file"
        ) from None
    except OSError as fault:
        raise CohortError(f"{path.name} cannot be read: {fault.strerror}; grant read permission") from None
    for start, kind in _BINARY.items():
        if data.startswith(start):
            raise CohortError(f"{path.name} is {kind}, not CSV; save it as CSV from the spreadsheet")
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None) or _unmarked(data)
    if encoding is not None:
        try:
            return data.decode(encoding), []
        except UnicodeDecodeError:
            raise CohortError(f"{path.name} is damaged: it begins as {encoding.upper()}, but is not valid") from None
    if b"\0" in data:
        raise CohortError(f"{path.name} is not a text file; save it as CSV from the spreadsheet")
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text, [f"{path.name} is not UTF-8 and was read as Windows-1252; look at letters with accents"]


def _unmarked(data: bytes) -> str | None:
    """UTF-16 by its zero bytes, UTF-8 by its form, none when it is neither."""
    sample = data[: 1 << 12]
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if max(even, odd) > len(sample) // 5:
        return "utf-16-le" if odd > even else "utf-16-be"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return "utf-8"


def _records(name: str, text: str, known: Collection[str]) -> tuple[list[list[str]], str]:
    """The cells of every line, by the delimiter that the file names or that fits its header best."""
    first, _, rest = text.partition("\n")
    named = _SEPARATOR_LINE.fullmatch(first)
    if named:
        delimiter = "\t" if named[1] == "\\t" else named[1]
        return _parsed(name, rest, delimiter), delimiter
    head = next((line for line in text.splitlines() if line.strip(_HEAD)), "")
    delimiter = max(_DELIMITERS, key=lambda mark: _fitness(head, mark, known))
    return _parsed(name, text, delimiter), delimiter


def _fitness(head: str, delimiter: str, known: Collection[str]) -> tuple[int, int]:
    """How many columns of a header line are known, and how many there are, if `delimiter` parts them."""
    try:
        names = next(csv.reader([head], delimiter=delimiter), [])
    except csv.Error:
        return (0, 0)
    return sum(plain_name(cell) in known for cell in names), len(names)


def _parsed(name: str, text: str, delimiter: str) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as fault:
        raise CohortError(f"{name} is not a CSV file ({fault}); save it as CSV from the spreadsheet") from None


def _fitted(name: str, number: int, record: Sequence[str], width: int) -> tuple[str, ...]:
    """The cells of a row; empty ones at its end, which spreadsheets add and leave away, do not count."""
    cells = [_cell(cell) for cell in record]
    while len(cells) > width and not cells[-1]:
        cells.pop()
    if len(cells) > width:
        raise CohortError(
            f"{name} row {number}: it has {len(cells)} cells and the header has {width}; quote cells that hold the "
            "delimiter"
        )
    return (*cells, *[""] * (width - len(cells)))


def _cell(text: str) -> str:
    """A cell's content: no blanks around it, no formula that only keeps a spreadsheet from changing it."""
    cell = text.strip(_AROUND)
    formula = re.fullmatch(r'="(.*)"', cell, re.DOTALL)
    if formula:
        return formula[1].strip(_AROUND)
    return cell.removeprefix("'") if re.fullmatch(r"'\d+", cell) else cell


def _points_for_commas(
    rows: tuple[tuple[int, tuple[str, ...]], ...],
) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """Decimal points in the columns that hold nothing but numbers, some of them with a decimal comma."""
    columns = list(zip(*(cells for _, cells in rows), strict=True))
    decimal = {
        index
        for index, cells in enumerate(columns)
        if any("," in cell for cell in cells) and all(not cell or _NUMBER.fullmatch(cell) for cell in cells)
    }
    return tuple(
        (number, tuple(cell.replace(",", ".") if index in decimal else cell for index, cell in enumerate(cells)))
        for number, cells in rows
    )
