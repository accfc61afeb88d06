"""Two studies of the same patients, read by the same people, closed, and compared by `reader compare A B`."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from study_factory import LABELS, make_study, small
from test_reader_marked_study import truth_of
from test_reader_sets import with_another
from typer.testing import CliRunner

from scansynth.cli import app
from scansynth.errors import ScansynthError
from scansynth.files import read_csv, read_json, read_json_lines, sha256_file, write_csv, write_json
from scansynth.reader.close import close
from scansynth.reader.create import create
from scansynth.reader.design import draw
from scansynth.reader.pair import compare_studies, pair
from scansynth.reader.pool import gather
from scansynth.reader.server.database import open_database
from scansynth.reader.server.served import open_worklist
from scansynth.reader.server.store import Answer, lock_answer
from scansynth.reader.statistics.arms import compare_areas
from scansynth.reader.truth import Entry
from scansynth.study import CLOSING, Study, open_study

Say = Callable[[Entry, np.random.Generator], tuple[int, int, int]]
"""Answer, second answer and confidence to an image."""

READERS = 4


def sees(synthetic: float, finding: float) -> Say:
    """A reader who tells synthetic images, and the finding, so well: shifts in standard deviations."""

    def say(entry: Entry, rng: np.random.Generator) -> tuple[int, int, int]:
        told, sure = rng.normal(3.5 + synthetic * (entry.synthetic - 0.5)), rng.normal()
        sure += finding * ((entry.label == LABELS[0]) - 0.5)
        return int(np.clip(np.rint(told), 1, 6)), 1 + int(sure > 0), 1 + min(int(abs(sure) / 0.6), 2)

    return say


def made(folder: Path, say: Say, seed: int, leaves: str = "", **changes: object) -> Study:
    """A study that was created, read and closed; one reader may leave after an image."""
    study = make_study(folder, seed=seed)
    if "against" in changes:
        with_another(study)
    asked = {"readers": READERS, "practice": 2, "question": "Is there a nodule?", "confidence": True, **changes}
    create(study, small(**asked))
    served, rng = open_worklist(study.reader / "worklist"), np.random.default_rng(seed)
    entries = {entry.item: entry for entry in truth_of(study).entries}
    database = open_database(study.reader / "worklist", served.worklist)
    for seat, order in served.orders.items():
        for place in order.places[: 4 if seat == leaves else None]:
            given = say(entries[place.item], rng) if place.item in entries else (3, 1, 1)
            answer = Answer(*given, 4.0, 1.0, 2, False, secrets.token_hex(16))
            lock_answer(database, order, place.item, answer, "2026-11-27T12:00:00.000+00:00")
    database.close()
    close(study, early=bool(leaves))
    return study


@pytest.fixture(scope="module")
def closed(environment: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """In the first, readers tell synthetic images well and the finding badly; in the second the other way round."""
    folder = tmp_path_factory.mktemp("pair")
    return made(folder / "t1", sees(4.0, 0.0), 1).folder, made(folder / "t2", sees(0.0, 4.0), 2).folder


@pytest.fixture
def studies(closed: tuple[Path, Path], tmp_path: Path) -> tuple[Study, Study]:
    first, second = (open_study(Path(shutil.copytree(one, tmp_path / one.name))) for one in closed)
    return first, second


def asked(*words: object) -> tuple[int, str]:
    told = CliRunner().invoke(app, ["reader", "compare", *map(str, words)])
    if isinstance(told.exception, ScansynthError):  # which the program prints in one line
        return 2, str(told.exception)
    return told.exit_code, told.output


def refused(*words: object) -> str:
    code, told = asked(*words)
    assert code == 2, told
    assert "\n" not in told
    return told


def tables(studies: tuple[Study, Study], finding: bool) -> tuple[np.ndarray, ...]:
    """Scores, truth and patients straight from both tables of readings."""
    arms: list[dict[tuple[str, str], float]] = []
    about: dict[str, tuple[bool, str]] = {}
    for number, study in enumerate(studies):
        rows = [row for row in read_csv(study.reader / "readings.csv") if not row["repeat_of"]]
        own: dict[tuple[str, str], float] = {}
        for row in rows:
            if finding and row["truth"] == "1":
                continue
            image = f"{number} {row['truth']} {row['case']}"
            own[row["reader"], image] = (
                int(row["confidence"]) * (1 if row["second"] == "2" else -1) if finding else int(row["answer"])
            )
            about[image] = (row["label"] == LABELS[0] if finding else row["truth"] == "1", row["patient"] or image)
        arms.append(own)
    readers, images = sorted({reader for reader, _ in arms[0]}), sorted(about)
    scores = [[[own.get((reader, image), np.nan) for image in images] for reader in readers] for own in arms]
    patients = np.array([about[image][1] for image in images])
    return np.array(scores[0]), np.array(scores[1]), np.array([about[image][0] for image in images]), patients


@pytest.mark.parametrize("finding", [False, True])
def test_the_command_gives_what_both_tables_of_readings_give(
    studies: tuple[Study, Study], tmp_path: Path, finding: bool
) -> None:
    out, folders = tmp_path / "found.json", [study.folder for study in studies]
    code, told = asked(*folders, "--out", out, *(["--finding"] if finding else []))
    assert code == 0, told
    found, wanted = read_json(out), compare_areas(*tables(studies, finding))
    assert found["difference"] == pytest.approx(wanted.value, abs=1e-12)
    assert found["standard_error"] == pytest.approx(wanted.error, abs=1e-12)
    assert found["outcome"] == "different"
    assert (found["difference"] < 0) is finding  # which study is the easier one was planted
    assert (found["modalities"], found["margin"], found["level"]) == (["t1", "t2"], 0.1, 0.95)
    assert found["studies"]["seats"] == [[f"r{number:02d}"] * 2 for number in range(1, READERS + 1)]
    assert found["studies"]["finding"] == ("nodule" if finding else "")
    assert "r01 is r01, r02 is r02" in told
    assert f"real images of {found['studies']['shared_patients']} patients were read in both" in told
    assert ("nodule is told" in told) is finding
    assert "no patient was read in both" not in told
    for study in studies:
        assert read_json_lines(study.journal)[-1]["stage"] == "reader compare"
        assert read_json_lines(study.journal)[-1]["outcome"] == "different"


def test_studies_of_the_same_patients_with_one_seed_show_the_same_ones(studies: tuple[Study, Study]) -> None:
    """So that what is hard in a patient is hard in both, and the comparison knows of it."""
    shown = [{row["patient"] for row in read_csv(study.reader / "readings.csv") if row["patient"]} for study in studies]
    assert len(shown[0] & shown[1]) == min(map(len, shown))
    assert pair(*studies).shared == min(map(len, shown))
    pool = gather(studies[0])
    others = draw(pool, small(), 4, 0)
    assert {one.patient for one in others.subjects if not one.synthetic} != shown[0]  # another seed, other patients


def test_who_is_who_can_be_said(studies: tuple[Study, Study]) -> None:
    turned = ("r01=r02", "r02=r01", "r03=r03")
    found = compare_studies(*studies, same=turned)
    assert (found["readers"], found["left_out"]) == (["r01=r02", "r02=r01", "r03"], [])
    first, second, truth, patients = tables(studies, False)
    wanted = compare_areas(first[[0, 1, 2]], second[[1, 0, 2]], truth, patients)
    assert found["difference"] == pytest.approx(wanted.value, abs=1e-12)
    assert found["standard_error"] == pytest.approx(wanted.error, abs=1e-12)


def test_what_cannot_be_compared_is_refused_in_one_line(studies: tuple[Study, Study], tmp_path: Path) -> None:
    first, second = (study.folder for study in studies)
    open_one = make_study(tmp_path / "open")
    create(open_one, small())
    assert "open: the reader study is not closed" in refused(first, open_one.folder)
    assert "is not a study" in refused(first, tmp_path / "nowhere")
    assert "both are the same study" in refused(first, tmp_path / "t2" / ".." / "t1")
    copied = Path(shutil.copytree(first, tmp_path / "copy"))
    assert "hold the same reader study" in refused(first, copied)
    assert "is a file; give two studies" in refused(first, first / "study.toml")
    assert "is a folder; give two studies" in refused(first)
    assert "--modality is for a table" in refused(first, second, "--modality", "t1")
    assert "--finding and --same are for two studies" in refused(first / "reader" / "readings.imrmc", "--finding")
    for text, why in (
        ("r1=r02", "give the form r01=r03"),
        ("r01", "give the form r01=r03"),
        ("r01=r09", "r09 read nothing in t2"),
    ):
        assert why in refused(first, second, "--same", text)
    assert "r01 of t1 was named before" in refused(first, second, "--same", "r01=r01", "--same", "r01=r02")
    assert "1 of the readers count in both studies" in refused(first, second, "--same", "r01=r01")
    for value in ("0", "0.5", "nan", "-1"):
        assert "give a margin between 0 and 0.5" in refused(first, second, "--margin", value)
    rows = read_csv(first / "reader" / "readings.csv")
    rows[0]["answer"] = "1" if rows[0]["answer"] != "1" else "2"
    write_csv(first / "reader" / "readings.csv", tuple(rows[0]), rows)
    assert "t1: the readings were changed after the study was closed" in refused(first, second)


def test_readers_who_left_one_study_are_left_out_and_named_and_a_second_set_does_not_count(
    environment: pytest.MonkeyPatch, closed: tuple[Path, Path], tmp_path: Path
) -> None:
    """The other study has another margin, a second set, no confidence, and a reader who left."""
    first = Path(shutil.copytree(closed[0], tmp_path / "t1"))
    changes = {"images": 60, "against": "other", "margin": 0.2, "confidence": False}
    other = made(tmp_path / "t3", sees(4.0, 4.0), 3, leaves="r02", **changes)
    assert "the protocols have the margin 0.1 and 0.2" in refused(first, other.folder)
    code, told = asked(first, other.folder, "--margin", 0.3)
    assert code == 0, told
    assert "r02 did not read enough in both and is left out" in told
    found = compare_studies(open_study(first), other, margin=0.3)
    assert found["readers"] == ["r01", "r03", "r04"]
    own = {row["case"] for row in read_csv(other.reader / "readings.csv") if row["arm"] == "1"}
    there = {row["case"] for row in read_csv(first / "reader" / "readings.csv") if row["arm"] == "1"}
    assert found["cases"]["positive"] == len(own) + len(there)


def test_studies_that_asked_for_no_finding_or_other_patients_say_so(
    environment: pytest.MonkeyPatch, closed: tuple[Path, Path], tmp_path: Path
) -> None:
    first = Path(shutil.copytree(closed[0], tmp_path / "t1"))
    plain = made(tmp_path / "plain", sees(1.0, 0.0), 4, question=None, confidence=False)
    assert "plain asked no question about a finding" in refused(first, plain.folder, "--finding")
    rows = read_csv(plain.reader / "readings.csv")
    others = [{**row, "patient": row["patient"] and f"x{row['patient']}"} for row in rows]
    write_csv(plain.reader / "readings.csv", tuple(rows[0]), others)
    closing = plain.reader / CLOSING
    write_json(closing, {**read_json(closing), "readings_sha256": sha256_file(plain.reader / "readings.csv")})
    code, told = asked(first, plain.folder)
    assert code == 0, told
    assert "no patient was read in both" in told
