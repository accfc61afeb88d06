"""Two modalities from a table of scores: the command gives what the function gives, and refuses in one line."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_readings import rows
from typer.testing import CliRunner

from scansynth.cli import app
from scansynth.errors import ReaderError
from scansynth.files import read_json
from scansynth.reader.statistics.arms import compare_areas
from scansynth.reader.statistics.designs import Arms
from scansynth.reader.statistics.imrmc import write_imrmc
from scansynth.reader.statistics.modalities import compare_modalities, read_scores

HEAD = ["reader", "modality", "case", "truth", "score", "patient"]


def write(path: Path, table: list[list[object]], head: list[str] = HEAD) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([head, *table])
    return path


@pytest.fixture
def made() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Five readers in two modalities, sixty cases of thirty patients; one reader came late."""
    rng = np.random.default_rng(3)
    positive = np.arange(60) % 4 < 2
    first, second = (np.clip(np.rint(rng.normal(3 + positive * up, 1.2, (5, 60))), 1, 6) for up in (1.5, 1.0))
    second[4, :20] = np.nan
    return first, second, positive, np.arange(60) // 2


def table_of(first: np.ndarray, second: np.ndarray, positive: np.ndarray, patients: np.ndarray) -> list[list[object]]:
    return [
        [f"r{reader}", name, f"c{case:02d}", int(positive[case]), scores[reader, case], f"p{patients[case]:02d}"]
        for name, scores in (("cine", first), ("spin echo", second))
        for reader in range(len(scores))
        for case in range(len(positive))
        if np.isfinite(scores[reader, case])
    ]


def test_the_table_gives_what_the_arrays_give(made: tuple[np.ndarray, ...], tmp_path: Path) -> None:
    table = table_of(*made)
    np.random.default_rng(0).shuffle(table)
    path = write(tmp_path / "scores.csv", [*table, ["late", "cine", "c01", 1, 3.5, "p00"]])
    out = tmp_path / "found.json"
    told = CliRunner().invoke(app, ["reader", "compare", str(path), "--out", str(out)])
    assert told.exit_code == 0, told.output
    first, second, positive, patients = made
    wanted = compare_areas(first, second, positive, patients)
    found = read_json(out)
    assert found["difference"] == pytest.approx(wanted.value, abs=1e-12)
    assert found["standard_error"] == pytest.approx(wanted.error, abs=1e-12)
    assert found["interval"] == pytest.approx([wanted.interval(0.95).low, wanted.interval(0.95).high])
    assert (found["modalities"], found["left_out"]) == (["cine", "spin echo"], ["late"])
    assert found["patients"] == 30
    assert f"{found['difference']:.4f}" in told.output
    assert "late read in one modality alone" in told.output
    # the other way round, the difference changes its sign and nothing else
    turned = compare_modalities(read_scores(path, ("spin echo", "cine")), 0.1, 0.95)
    assert turned["difference"] == pytest.approx(-found["difference"])
    assert turned["p"] == pytest.approx(found["p"])


def test_patients_matter(made: tuple[np.ndarray, ...], tmp_path: Path) -> None:
    """Cases of one patient are left out together; without the column each case is a patient of its own."""
    first, second, positive, _ = made
    table = table_of(*made)
    clustered = compare_modalities(read_scores(write(tmp_path / "a.csv", table)), 0.1, 0.95)
    single = compare_modalities(read_scores(write(tmp_path / "b.csv", [row[:5] for row in table], HEAD[:5])), 0.1, 0.95)
    assert clustered["difference"] == single["difference"]
    assert clustered["standard_error"] != single["standard_error"]
    assert single["standard_error"] == pytest.approx(compare_areas(first, second, positive).error, abs=1e-12)


def test_two_sets_of_a_study_can_be_compared_from_its_imrmc_file(tmp_path: Path) -> None:
    """The file that closing leaves holds the real images in both modalities."""
    world = Arms(auc=0.6, difference=0.15)
    first, second, truth = world.scores(4, 12, 24, np.random.default_rng(1))
    answers = np.where(np.isfinite(first), first, second).astype(int)
    found = rows(answers, truth)
    arms = {f"case{place:03d}": (1 if place < 12 else 2) if truth[place] else 0 for place in range(len(truth))}
    write_imrmc(tmp_path / "readings.imrmc", [replace(one, arm=arms[one.case]) for one in found])
    read = compare_modalities(read_scores(tmp_path / "readings.imrmc"), 0.1, 0.95)
    assert read["difference"] == pytest.approx(compare_areas(first, second, truth).value, abs=1e-12)
    assert read["cases"] == {"positive": 24, "negative": 24}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda table: [row for row in table if row[1] == "cine"], "has the modalities cine; name two"),
        (lambda table: [row for row in table if row[0] == "r0"], "1 readers read in both"),
        (lambda table: [*table, table[0]], "before"),
        (lambda table: [*table, ["r9", "cine", "c00", 0, 2, "p00"]], "had another truth"),
        (lambda table: [*table, ["r9", "cine", "c00", 1, "nan", "p00"]], "is not a number"),
        (lambda table: [*table, ["r9", "cine", "c00", 2, 1, "p00"]], "neither 0 nor 1"),
        (lambda table: [*table, ["", "cine", "c00", 1, 1, "p00"]], "has no reader"),
        (lambda table: [row for row in table if row[3] == 1], "two images of each class"),
        (lambda table: [], "has the modalities none"),
    ],
)
def test_a_table_that_cannot_be_is_refused(
    made: tuple[np.ndarray, ...], tmp_path: Path, change: object, match: str
) -> None:
    path = write(tmp_path / "scores.csv", change(table_of(*made)))  # type: ignore[operator]
    with pytest.raises(ReaderError, match=match):
        compare_modalities(read_scores(path), 0.1, 0.95)


def test_numbers_out_of_range_and_other_files_are_refused(made: tuple[np.ndarray, ...], tmp_path: Path) -> None:
    path = write(tmp_path / "scores.csv", table_of(*made))
    for margin, level in ((0.0, 0.95), (0.5, 0.95), (0.1, 1.0)):
        with pytest.raises(ReaderError, match="give a margin"):
            compare_modalities(read_scores(path), margin, level)
    (tmp_path / "image.csv").write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    (tmp_path / "image.imrmc").write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    for name in ("image.csv", "image.imrmc"):
        with pytest.raises(ReaderError, match=name):
            read_scores(tmp_path / name)
    with pytest.raises(ReaderError, match="name two of them"):
        read_scores(path, ("cine", "mystery"))
