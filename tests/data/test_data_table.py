import csv
import io
from pathlib import Path

import pytest

from scansynth.data.labels.lesions import Box
from scansynth.data.labels.read import read_labels
from scansynth.data.labels.table import plain_name, read_table
from scansynth.errors import CohortError

COLUMNS = ["Path ", "patient-ID", "LABEL", "Diameter (mm)", "x", "y", "width", "height"]
ROWS = [
    ["d\u00e9j\u00e0/a 1.dcm", "0001", "nodule", "7.5", "1", "2.25", "3", "4"],
    ["b.dcm", "0002", "clear", "", "", "", "", ""],
]


def written(path: Path, delimiter: str, encoding: str, decimal: str = ".", head: str = "", tail: str = "") -> Path:
    """The same table as some program would save it."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter)
    number = [[cell.replace(".", decimal) if cell[:1].isdigit() else cell for cell in row] for row in ROWS]
    writer.writerows([COLUMNS, *number])
    path.write_bytes((head + stream.getvalue() + tail).encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_one_table_in_every_dress(tmp_path: Path, delimiter: str, encoding: str) -> None:
    plain = read_labels(written(tmp_path / "plain.csv", ",", "utf-8"))
    head = f"sep={delimiter}\r\n" if encoding == "utf-16" else ""
    decimal = "." if delimiter == "," else ","
    other = read_labels(written(tmp_path / "other.csv", delimiter, encoding, decimal, head, f"\r\n{delimiter * 7}\r\n"))
    assert other.rows == plain.rows
    assert plain.rows[0].lesions[0].box == Box(1, 2.25, 4, 6.25)
    assert plain.rows[0].attributes == {"diameter_mm": "7.5"}
    assert [row.patient_id for row in plain.rows] == ["0001", "0002"]
    assert bool(other.notes) == (encoding == "cp1252")  # what was guessed is said


def test_spreadsheets_habits(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(
        b'"sep=;"\n'
        b" Path;Label;PatientID;;\n"
        b'a;"nodule";="000123";;\n'
        b";;;;\n"
        b"b;clear;'000124\n"
        b"c;clear\n"
        b'd;clear;"12\n5";;\n'
    )
    found = read_labels(path)
    assert [(row.row, row.path, row.patient_id) for row in found.rows] == [
        (2, "a", "000123"),
        (4, "b", "000124"),
        (5, "c", None),
        (6, "d", "12\n5"),
    ]


@pytest.mark.parametrize("empty", ["nan", "NaN", "None", "N/A", " ", "<NA>", "NULL"])
def test_a_programs_word_for_empty_is_no_patient(tmp_path: Path, empty: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"path,label,patient_id,size\na,nodule,{empty},nan\nb,clear,P1,3\n")
    assert [(row.patient_id, row.attributes) for row in read_labels(path).rows] == [(None, {}), ("P1", {"size": "3"})]


def test_commas_within_quotes_stay(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('path,label,shape\na,nodule,"1,5"\nb,clear,"round, soft"\n')
    assert [row.attributes for row in read_labels(path).rows] == [{"shape": "1,5"}, {"shape": "round, soft"}]
    path.write_text("path;label;shape;size\na;nodule;1,5;1,5\nb;clear;round, soft;2\n")
    assert [row.attributes for row in read_labels(path).rows] == [
        {"shape": "1,5", "size": "1.5"},
        {"shape": "round, soft", "size": "2"},
    ]


def test_old_line_ends_and_a_single_column(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"path\ra;1\rb\r")
    assert read_table(path, {"path"}).rows == ((2, ("a;1",)), (3, ("b",)))


@pytest.mark.parametrize("name", ["PatientID", "patientId", "Patient ID", "patient-id", "PATIENT_ID", " patient id "])
def test_one_plain_name_for_every_spelling(name: str) -> None:
    assert plain_name(name) == "patientid"


@pytest.mark.parametrize("encoding", ["gbk", "cp1251", "euc-kr", "iso8859-7"])
def test_an_encoding_that_cannot_be_told_is_refused(tmp_path: Path, encoding: str) -> None:
    words = {
        "gbk": "\u6076\u6027",
        "cp1251": "\u0443\u0437\u0435\u043b",
        "euc-kr": "\uacb0\uc808",
        "iso8859-7": "\u03cc\u03b6\u03bf\u03c2",
    }
    path = tmp_path / "labels.csv"
    path.write_bytes(f"path,label\na,{words[encoding] * 2}\n".encode(encoding))
    with pytest.raises(CohortError, match="CSV UTF-8"):
        read_table(path, {"path", "label"})


@pytest.mark.parametrize("word", ["\u6b63\u5e38", "\u7d50\u7bc0", "\u304c\u3093"])
def test_shift_jis_is_read_and_said(tmp_path: Path, word: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(f"path,label\na,{word}\nb,clear\n".encode("cp932"))
    table = read_table(path, {"path", "label"})
    assert table.rows[0][1] == ("a", word)
    assert "Shift JIS" in table.notes[0]


@pytest.mark.parametrize(
    "word", ["b\u00e9nin", "M\u00fcller", "d\u00e9j\u00e0 op\u00e9r\u00e9", "\u201cx\u201d \u2013 \u20ac"]
)
def test_western_letters_stay_western(tmp_path: Path, word: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(f"path,label\na,{word}\n".encode("cp1252"))
    assert read_table(path, {"path", "label"}).rows[0][1] == ("a", word)


def test_commas_that_may_part_thousands_are_no_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("path\tx\ty\na\t1,024\t0,5\nb\t998\t1,25\n")
    assert [cells for _, cells in read_table(path, {"path", "label"}).rows] == [
        ("a", "1,024", "0.5"),
        ("b", "998", "1.25"),
    ]
    path.write_text("path;x;y;z\na;1.024;0,5;1.5\nb;998;1,25;2.5\n")
    assert [cells for _, cells in read_table(path, {"path", "label"}).rows] == [
        ("a", "1024", "0.5", "1.5"),
        ("b", "998", "1.25", "2.5"),
    ]
