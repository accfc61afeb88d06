"""readings.csv and the iMRMC file: read back as written, and refused when a row is impossible."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_readings import rows, study

from scansynth.errors import ReaderError
from scansynth.files import read_csv
from scansynth.reader.server.api import SentLock
from scansynth.reader.statistics import imrmc
from scansynth.reader.statistics.readings import COLUMNS, parse_rows, read_readings, repeats, table, write_readings
from scansynth.reader.statistics.simulation import World


def test_readings_come_back_as_they_were_written(tmp_path: Path) -> None:
    readings = study(World(0.6))
    write_readings(tmp_path / "readings.csv", readings)
    assert read_readings(tmp_path / "readings.csv") == tuple(readings)
    assert tuple(read_csv(tmp_path / "readings.csv")[0]) == COLUMNS


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("answer", "7", "answer is '7'"),
        ("answer", "", "answer is ''"),
        ("answer", "3.0", "whole number from 1 to 6"),
        ("truth", "yes", "truth is 'yes'"),
        ("seconds", "-1", "between 0 seconds and a month"),
        ("seconds", "nan", "between 0 seconds and a month"),
        ("hidden_seconds", "fast", "must be a number of seconds"),
        ("position", "-2", "position is '-2'"),
        ("reader", " ", "reader is empty"),
        ("case", "", "case is empty"),
        ("locked_at", "yesterday", "must be an ISO time"),
        ("second", "x", "second is 'x'"),
    ],
)
def test_an_impossible_value_is_named_with_its_row(tmp_path: Path, column: str, value: str, message: str) -> None:
    write_readings(tmp_path / "readings.csv", study(World(0.6), readers=2, images=10, repeated=2))
    lines = read_csv(tmp_path / "readings.csv")
    lines[4][column] = value
    with pytest.raises(ReaderError, match="row 6") as refusal:
        parse_rows(lines)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_whatever_time_the_server_takes_can_be_analysed() -> None:
    longest = 31 * 86400.0
    taken = {"answer": 3, "seconds": longest, "hidden_seconds": longest, "nonce": "a" * 8}
    assert SentLock(**taken).seconds == longest
    row = study(World(0.6), readers=2, images=10)[0]
    row = replace(row, seconds=longest, hidden_seconds=longest)
    (read,) = parse_rows(
        [{name: getattr(row, name, 0) for name in COLUMNS} | {"second": "", "confidence": "", "first_answer": ""}]
    )
    assert read.seconds == longest


def test_a_missing_column_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match=r"no readings\.csv"):
        read_readings(tmp_path / "readings.csv")
    with pytest.raises(ReaderError, match="has no truth"):
        parse_rows([dict.fromkeys((name for name in COLUMNS if name != "truth"), "1")])


def contradicted(kind: str) -> list[dict[str, object]]:
    readings = study(World(0.6), readers=2, images=10, repeated=2)
    first = readings[0]
    changed = {
        "item twice": [*readings, first],
        "position twice": [replace(readings[1], position=first.position), *readings[2:], first],
        "image twice": [*readings, replace(first, item="new", position=99)],
        "two labels": [replace(first, label="other"), *readings[1:]],
        "repeat of another": [
            *(one for one in readings if not one.repeat_of),
            replace(first, item="new", position=99, case="new case", repeat_of=first.item),
        ],
    }[kind]
    return [
        {name: getattr(one, name) for name in COLUMNS if name != "truth"}
        | {"truth": int(one.synthetic), "confidence": "", "first_answer": ""}
        for one in changed
    ]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("item twice", "one item or one position twice"),
        ("position twice", "one item or one position twice"),
        ("image twice", "without being a repeat"),
        ("two labels", "two labels"),
        ("repeat of another", "a repeat shows another image"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(kind: str, message: str) -> None:
    with pytest.raises(ReaderError, match=message):
        parse_rows(contradicted(kind))


def test_of_an_image_that_came_twice_the_first_showing_counts(tmp_path: Path) -> None:
    answers, truth = np.array([[2, 5, 3, 6]]), np.array([False, True, False, True])
    readings = rows(answers, truth, {0: np.array([6])})
    first = next(one for one in readings if one.item == "r01-000")
    again = next(one for one in readings if one.repeat_of)
    # the one that is called the repeat came first
    swapped = [
        replace(one, position={first.item: again.position, again.item: first.position}.get(one.item, one.position))
        for one in readings
    ]
    write_readings(tmp_path / "readings.csv", swapped)
    found = read_readings(tmp_path / "readings.csv")
    assert table(readings).answers[0, 0] == 2
    assert table(found).answers[0, 0] == 6
    assert repeats(found, ["r01"])[0].tolist() == [[0, 6, 2]]


def test_the_table_does_not_depend_on_the_order_of_rows() -> None:
    readings = study(World(0.6))
    shuffled = [readings[place] for place in np.random.default_rng(0).permutation(len(readings))]
    one, other = table(readings), table(shuffled)
    assert (one.readers, one.images, one.labels) == (other.readers, other.images, other.labels)
    assert (one.answers == other.answers).all()


def test_readers_who_did_not_finish_are_left_out_and_the_images_of_the_others_stay() -> None:
    readings = [one for one in study(World(0.6), readers=3, images=40) if one.reader != "r02" or one.position <= 12]
    assert table(readings, least=40).readers == ("r01", "r03")
    assert len(table(readings, least=40).images) == 40
    assert len(table(readings).images) == 12


def test_imrmc_comes_back_and_holds_a_truth_for_each_case(tmp_path: Path) -> None:
    readings = study(World(0.6), readers=3, images=30)
    imrmc.write_imrmc(tmp_path / "imrmc.csv", readings)
    found = imrmc.read_imrmc(tmp_path / "imrmc.csv")
    assert found == imrmc.rows(readings)
    truths = {case: score for reader, case, modality, score in found if reader == modality == "truth"}
    assert sorted(truths.values()) == [0] * 15 + [1] * 15
    seen = [row for row in found if row[0] != "truth"]
    assert len(seen) == 3 * 30  # repeats left out: iMRMC knows one reading of a case
    whole = table(readings)
    names = sorted(truths)
    for reader, case, _, score in seen:
        place = names.index(case)
        assert score == whole.answers[whole.readers.index(reader), place]
        assert truths[case] == whole.synthetic[place]
    head = (tmp_path / "imrmc.csv").read_text().splitlines()
    assert {"N0: 15", "N1: 15", "NR: 3", "NM: 1"} <= set(head[: head.index("BEGIN DATA:")])


def test_imrmc_holds_nothing_of_the_cohort(tmp_path: Path) -> None:
    imrmc.write_imrmc(tmp_path / "imrmc.csv", study(World(0.6)))
    text = (tmp_path / "imrmc.csv").read_text()
    assert "case0" not in text
    assert "patient" not in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("r1, c1, m", "is not reader, case, modality, score"),
        ("r1, c1, m, high", "is not reader, case, modality, score"),
        ("r1, c2, m, 3", "one row of truth"),
        ("truth, c1, truth, 0", "one row of truth"),
        ("r1, c1, m, 2\nr1, c1, m, 3", "read a case twice"),
    ],
)
def test_a_damaged_imrmc_file_is_refused(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "imrmc.csv").write_text(f"about\nBEGIN DATA:\ntruth, c1, truth, 1\n{line}\n")
    with pytest.raises(ReaderError, match=message):
        imrmc.read_imrmc(tmp_path / "imrmc.csv")


def test_a_reader_named_like_the_truth_is_refused(tmp_path: Path) -> None:
    readings = [replace(one, reader="truth") for one in study(World(0.6), readers=1, images=10)]
    with pytest.raises(ReaderError, match="rename the reader"):
        imrmc.write_imrmc(tmp_path / "imrmc.csv", readings)
