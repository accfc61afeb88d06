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
from scansynth.reader.statistics.counting import counting
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


def test_images_that_a_reader_did_not_answer_stay_open() -> None:
    readings = [one for one in study(World(0.6), readers=3, images=40) if one.reader != "r02" or one.position <= 12]
    found = table(readings)
    assert found.readers == ("r01", "r02", "r03")
    assert (found.answers > 0).sum(axis=1).tolist() == [40, 12, 40]
    assert np.isnan(found.scores).sum(axis=1).tolist() == [0, 28, 0]
    assert found.complete().readers == ("r01", "r03")
    assert found.complete().images == found.images
    assert found.only(found.synthetic).answers.shape == (3, 20)


@pytest.mark.parametrize(
    ("asked", "given", "excluded", "counts"),
    [
        (40, 40, (), True),
        (40, 20, (), False),  # half of them, and fewer than ten of a class
        (120, 60, (), True),
        (120, 59, (), False),
        (120, 120, ("r01",), False),
        (12, 12, (), True),  # all there is: the study is judged by its own least number
    ],
)
def test_who_answered_half_of_the_images_counts(
    asked: int, given: int, excluded: tuple[str, ...], counts: bool
) -> None:
    found = study(World(0.6), readers=1, images=asked, repeated=0)
    kept = [one for one in found if one.synthetic][: given - given // 2]
    kept += [one for one in found if not one.synthetic][: given // 2]
    if asked == 40 and given == 20:
        kept = [one for one in found if one.synthetic][:11] + [one for one in found if not one.synthetic][:9]
    assert counting(kept, asked, excluded) == ({"r01"} if counts else set())


def test_imrmc_comes_back_and_holds_a_truth_for_each_case(tmp_path: Path) -> None:
    readings = study(World(0.6), readers=3, images=30)
    imrmc.write_imrmc(tmp_path / "readings.imrmc", readings)
    found = imrmc.read_imrmc(tmp_path / "readings.imrmc")
    assert found == imrmc.ratings(readings)
    assert sorted(found.truth.values()) == [False] * 15 + [True] * 15
    assert len(found.rows) == 3 * 30  # repeats left out: iMRMC knows one reading of a case
    whole = table(readings)
    names = sorted(found.truth, key=int)
    for reader, case, _, score in found.rows:
        place = names.index(case)
        assert score == whole.answers[int(reader) - 1, place]
        assert found.truth[case] == whole.synthetic[place]
    head = (tmp_path / "readings.imrmc").read_text().splitlines()
    assert {"N0: 15", "N1: 15", "NR: 3", "NM: 1", "reader 2 is r02"} <= set(head[: head.index("BEGIN DATA:")])
    assert head[head.index("BEGIN DATA:") + 1] == "truth,1,truth,0"  # iMRMC asks for the word, in both places


def test_the_file_for_rjafroc_is_crossed_and_of_whole_numbers(tmp_path: Path) -> None:
    """RJafroc takes every name for a number, and no reader who did not read all."""
    path = tmp_path / "readings-rjafroc.imrmc"
    readings = [replace(one, arm=int(one.synthetic)) for one in study(World(0.6), readers=3, images=30)]
    second = [replace(one, arm=2, case=f"2-{one.case}", item=f"2{one.item}") for one in readings if one.synthetic]
    imrmc.write_rjafroc(path, [one for one in (*readings, *second) if one.reader != "r02" or one.position > 3])
    lines = path.read_text().splitlines()
    assert {"reader 1 is r01", "reader 2 is r03", "NR: 2", "NM: 1", "N1: 15"} <= set(lines)
    rows = [line.split(",") for line in lines[lines.index("BEGIN DATA:") + 1 :]]
    assert rows[0] == ["-1", "1", "truth", "0"]
    assert all(part.isdecimal() for row in rows[30:] for part in row)
    assert imrmc.read_imrmc(path) == imrmc.ratings([one for one in readings if one.reader != "r02"])
    imrmc.write_rjafroc(path, [one for one in readings if one.position != int(one.reader[2])])
    assert not path.exists(), "nobody read all images"


def test_files_of_other_programs_are_read_whatever_their_names(tmp_path: Path) -> None:
    """As the sample files of iMRMC and RJafroc write them: words or numbers, and scores with decimals."""
    path = tmp_path / "other.imrmc"
    path.write_text(
        "front matter\n\nBEGIN DATA:\ntruth,neg Case1,truth,0\n-1, 7 ,truth,1.0\n\n"
        'reader1,neg Case1,testA,-0.25\n"reader1",7,testB,3.5e0\n'
    )
    found = imrmc.read_imrmc(path)
    assert found.truth == {"neg Case1": False, "7": True}
    assert found.rows == (("reader1", "neg Case1", "testA", -0.25), ("reader1", "7", "testB", 3.5))


def test_imrmc_holds_nothing_of_the_cohort(tmp_path: Path) -> None:
    imrmc.write_imrmc(tmp_path / "readings.imrmc", study(World(0.6)))
    text = (tmp_path / "readings.imrmc").read_text()
    assert "case0" not in text
    assert "patient" not in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,1,1", "is not reader, case, modality, score"),
        ("1,1,1,high", "is not reader, case, modality, score"),
        ("1,1,1,nan", "is not reader, case, modality, score"),
        ("1,,1,2", "is not reader, case, modality, score"),
        ("1,2,1,3", "one row of truth"),
        ("-1,1,0,0", "one row of truth"),
        ("truth,2,truth,0.5", "a score of 0 or 1"),
        ("1,1,1,2\n1,1,1,3", "read a case twice"),
    ],
)
def test_a_damaged_imrmc_file_is_refused(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "readings.imrmc").write_text(f"about\nBEGIN DATA:\n-1,1,0,1\n{line}\n")
    with pytest.raises(ReaderError, match=message):
        imrmc.read_imrmc(tmp_path / "readings.imrmc")
