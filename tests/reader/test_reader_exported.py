"""Marks for other programs: the table, and workbooks from which RJafroc's figure can be computed again."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from made_marks import ROWS, outlines, study

from scansynth.files import read_csv, read_json
from scansynth.reader.statistics.exported import COLUMNS, write_marks, write_workbooks
from scansynth.reader.statistics.localisation import figures, gather
from scansynth.reader.statistics.workbook import workbook

NAMESPACE = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}


def sheets(data: bytes) -> dict[str, list[list[str]]]:
    """Every sheet of a workbook as a spreadsheet program reads it: cells by their place."""
    found = {}
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        names = ElementTree.fromstring(packed.read("xl/workbook.xml")).findall("m:sheets/m:sheet", NAMESPACE)
        for number, name in enumerate(names, start=1):
            root = ElementTree.fromstring(packed.read(f"xl/worksheets/sheet{number}.xml"))
            rows = []
            for row in root.findall("m:sheetData/m:row", NAMESPACE):
                cells = {cell.attrib["r"].rstrip("0123456789"): "".join(cell.itertext()) for cell in row}
                rows.append([cells.get(letter, "") for letter in "ABCDEF"[: len(cells) if not rows else len(rows[0])]])
            found[name.attrib["name"]] = rows
    return found


def test_a_workbook_holds_its_tables_and_is_the_same_each_time() -> None:
    tables = {"A": [["x", "y"], [1, 2.5], ["a <b> & c", ""]], "B": [["z"]]}
    data = workbook(tables)
    assert sheets(data) == {"A": [["x", "y"], ["1", "2.5"], ["a <b> & c", ""]], "B": [["z"]]}
    assert workbook(tables) == data


def test_the_figure_can_be_computed_again_from_the_workbook(tmp_path: Path) -> None:
    """The area under the AFROC as RJafroc's manual defines it, from the sheets alone."""
    readings, known = study(3, {False: 0.8, True: 0.6}, seed=7), outlines()
    kept = {one.reader for one in readings}
    marked = gather(readings, kept, known, ROWS)
    assert write_workbooks(tmp_path, marked) == ("froc-real.xlsx", "froc-synthetic.xlsx")
    for arm, name in enumerate(("froc-real.xlsx", "froc-synthetic.xlsx")):
        found = sheets((tmp_path / name).read_bytes())
        truth, hits, false = (found[sheet][1:] for sheet in ("TRUTH", "TP", "FP"))
        assert found["TRUTH"][0] == ["CaseID", "LesionID", "Weight", "ReaderID", "ModalityID", "Paradigm"]
        assert [row[5] for row in truth[:3]] == ["FROC", "FCTRL", ""]
        assert {row[3] for row in truth} == {"1, 2, 3"}
        lesions = [(row[0], row[1]) for row in truth if row[1] != "0"]
        free = [row[0] for row in truth if row[1] == "0"]
        expected = figures(marked, arm, everywhere=False)["free_response"]
        assert expected is not None
        for place, value in enumerate(expected.values):
            reader = str(place + 1)
            rating = {(row[2], row[3]): float(row[4]) for row in hits if row[0] == reader}
            worst = {
                case: max([float(r[3]) for r in false if r[0] == reader and r[2] == case], default=-np.inf)
                for case in free
            }
            own = [rating.get(lesion, -np.inf) for lesion in lesions]
            won = [float(one > other) + (one == other) / 2 for one in own for other in worst.values()]
            assert np.mean(won) == pytest.approx(value)


def test_who_did_not_read_all_stands_in_no_workbook(tmp_path: Path) -> None:
    readings, known = study(2, {False: 0.8, True: 0.6}), outlines()
    short = [one for one in readings if one.reader == "r01" or one.synthetic or one.position > 3]
    marked = gather(short, {"r01", "r02"}, known, ROWS)
    write_workbooks(tmp_path, marked)
    assert {row[3] for row in sheets((tmp_path / "froc-real.xlsx").read_bytes())["TRUTH"][1:]} == {"1"}
    assert {row[3] for row in sheets((tmp_path / "froc-synthetic.xlsx").read_bytes())["TRUTH"][1:]} == {"1, 2"}
    nobody = gather([one for one in short if one.position > 3], {"r01", "r02"}, known, ROWS)
    # the image that nobody has read is none of the study
    assert write_workbooks(tmp_path, nobody) == ("froc-real.xlsx", "froc-synthetic.xlsx")
    real = gather([one for one in readings if not one.synthetic], {"r01"}, known, ROWS)
    assert write_workbooks(tmp_path, real) == ("froc-real.xlsx",)
    assert not (tmp_path / "froc-synthetic.xlsx").exists(), "one of an analysis before does not stay"


def test_the_table_holds_every_mark_and_what_it_lies_on(tmp_path: Path) -> None:
    readings, known = study(2, {False: 1.0, True: 1.0}, alarms=0.5), outlines(synthetic=False)
    write_marks(tmp_path / "marks.csv", readings, known, ROWS)
    rows = read_csv(tmp_path / "marks.csv")
    assert tuple(rows[0]) == COLUMNS
    real = [row for row in rows if row["truth"] == "0"]
    assert sum(row["lesion"] == "1" for row in real) == 2 * 20
    assert {row["lesion"] for row in real if row["row"] == "55.0"} == {"0"}
    assert {row["lesion"] for row in rows if row["truth"] == "1"} == {""}


def test_the_figures_are_those_of_rjafroc_and_imrmc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our figures of made studies, computed anew, beside what the other programs said of our files of them."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import other_programs  # noqa: PLC0415

    kept = read_json(Path(__file__).parents[2] / "docs" / "results" / "other_programs.json")
    theirs = {(row["of"], row["figure"]): row["theirs"] for row in kept["figures"]}
    assert {"Van Dyke", "Federica", "Thompson", "Nico"} <= {name for name, _ in theirs}
    ours = other_programs.ours(tmp_path, range(2))
    assert len(ours) == 2 * 7
    for name, own in ours.items():
        for figure, values in own.items():
            assert values == pytest.approx(theirs[name, figure], abs=1e-9), (name, figure)
