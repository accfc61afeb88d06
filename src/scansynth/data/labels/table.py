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
_GROUPED = re.compile(r"[1-9]\d{0,2}([.,' \u2019])\d{3}(\1\d{3})*")
_LEADS = frozenset({*range(0x81, 0xA0), *range(0xE0, 0xF0)})  # first bytes of two in Shift JIS that Excel writes
NO_VALUE = frozenset(
    {"nan", "none", "null", "(null)", "nil", "na", "n/a", "n.a.", "#n/a", "nat", "<na>", "-", "--", "---", "?", "??",
     ".", "unknown", "unk", "missing", "tbd", "blank", "(blank)", "k.a.", "k. a.", "unbekannt", "inconnu", "inconnue",
     "desconocido", "sconosciuto", "\u4e0d\u660e", "\u306a\u3057", "\u7121"}
)  # fmt: skip
"""What programs and people write into a cell of which nothing is known, in small letters."""

ERRORS = frozenset(
    {"nan", "nat", "<na>", "#n/a", "#nv", "#ref!", "#bezug!", "#name?", "#value!", "#wert!", "#valeur!", "#div/0!",
     "#num!", "#zahl!", "#null!", "#####"}
)  # fmt: skip
"""What a program leaves in a cell whose formula failed; in small letters."""
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
    japanese = _shift_jis(data)
    if japanese is not None:
        return japanese, [f"{path.name} is not UTF-8 and was read as Shift JIS; look at the labels"]
    if _of_another_alphabet(data):
        raise CohortError(
            f"{path.name} is not UTF-8, and which of the older encodings it has cannot be told; save it as CSV UTF-8 "
            "from the spreadsheet"
        )
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


def _shift_jis(data: bytes) -> str | None:
    """The text, where its bytes are Shift JIS: pairs that begin with a byte which Western text hardly has."""
    try:
        text = data.decode("cp932")
    except UnicodeDecodeError:
        return None
    wide = [place for place, byte in enumerate(data) if byte >= 0x80]
    pairs = [place for place in wide if data[place] in _LEADS and data[place + 1 : place + 2] >= b"@"]
    kana = any("\u3040" <= letter <= "\u30ff" for letter in text)
    together = any(data[place : place + 3 : 2] and data[place + 2 : place + 3] >= b"\x80" for place in pairs)
    return text if pairs and (kana or together) and any(data[place] < 0xA0 for place in pairs) else None


def _of_another_alphabet(data: bytes) -> bool:
    """Whether most letters beyond ASCII stand beside each other: accents stand alone, other alphabets in words."""
    runs = re.findall(rb"[\x80-\xff]+", data)
    return sum(len(run) for run in runs if len(run) > 2) * 2 > sum(map(len, runs))


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
    """Decimal points in the columns that hold nothing but numbers, some of them with a decimal comma.

    A column where every comma parts three digits may mean thousands: it stays as it is. Where another column has
    decimal commas, points that part three digits mean thousands, and go.
    """
    columns = list(zip(*(cells for _, cells in rows), strict=True))
    decimal = {
        index
        for index, cells in enumerate(columns)
        if any("," in cell and not _GROUPED.fullmatch(cell) for cell in cells)
        and all(not cell or _NUMBER.fullmatch(cell) for cell in cells)
    }
    whole = {index for index, cells in enumerate(columns) if decimal and all(map(_whole_or_grouped, cells))}

    def plain(index: int, cell: str) -> str:
        return cell.replace(",", ".") if index in decimal else cell.replace(".", "") if index in whole else cell

    return tuple((number, tuple(plain(index, cell) for index, cell in enumerate(cells))) for number, cells in rows)


def _whole_or_grouped(cell: str) -> bool:
    return not cell or (cell.isdigit() and len(cell) < 4) or (_GROUPED.fullmatch(cell) is not None and "." in cell)


def ungrouped(number: str) -> str:
    """A whole number without marks between its thousands: 1,234 and 1.234 and 1 234 are 1234."""
    return re.sub(r"\D", "", number) if _GROUPED.fullmatch(number) else number
