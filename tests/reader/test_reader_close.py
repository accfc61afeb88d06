"""Closing: nothing without the key, the chain and all readers; then every answer with its truth beside it."""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from study_factory import make_study, small, textured

from scansynth.data.tensors import CohortFacts
from scansynth.errors import ReaderError
from scansynth.files import read_json, sha256_file
from scansynth.reader.close import close
from scansynth.reader.conclude import conclude
from scansynth.reader.create import create
from scansynth.reader.machine import read_by_machine
from scansynth.reader.seal import default_seal_path, load_key, new_key, unseal
from scansynth.reader.server.database import open_database
from scansynth.reader.server.refusals import OutOfTurn
from scansynth.reader.server.served import open_worklist
from scansynth.reader.server.store import Answer, lock_answer
from scansynth.reader.server.worklist import CLOSED
from scansynth.reader.statistics.readings import read_readings
from scansynth.reader.truth import from_json
from scansynth.stage import RECORD
from scansynth.study import CLOSING, MACHINE, READINGS, Study, open_study

AT = "2026-11-27T12:00:00.000+00:00"


@pytest.fixture(scope="module")
def whole(environment: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that two readers have read: r01 knows every answer, r02 says 3 to everything."""
    study = make_study(tmp_path_factory.mktemp("close") / "study")
    create(study, small(readers=2, images=30, practice=2))
    truth = truth_of(study)
    knows = {entry.item: 6 if entry.synthetic else 1 for entry in truth.entries}
    read(study.reader / "worklist", lambda reader, item: knows.get(item, 1) if reader == "r01" else 3)
    return study.folder


@pytest.fixture
def study(whole: Path, tmp_path: Path, environment: pytest.MonkeyPatch) -> Study:
    return open_study(Path(shutil.copytree(whole, tmp_path / "study")))


def truth_of(study: Study):  # noqa: ANN201
    protocol = read_json(study.reader / "protocol.json")
    data = (study.reader / "sealed.bin").read_bytes()
    key = load_key(default_seal_path(protocol["study"]))
    return from_json(unseal(data, key, protocol["study"], protocol["commitment"]), protocol["study"])


def read(worklist: Path, says: Callable[[str, str], int], most: dict[str, int] | None = None) -> None:
    """Locks answers as the server does."""
    served = open_worklist(worklist)
    database = open_database(worklist, served.worklist)
    for reader, order in served.orders.items():
        for place in order.places[: (most or {}).get(reader)]:
            answer = Answer(says(reader, place.item), None, None, 4.0, 1.0, 2, False, secrets.token_hex(16))
            lock_answer(database, order, place.item, answer, AT)
    database.close()


def test_every_answer_gets_its_truth(study: Study) -> None:
    closed = close(study)
    readings = read_readings(study.reader / READINGS)
    assert closed.readings == len(readings) == 2 * 36
    assert not closed.unfinished
    entries = {(entry.reader, entry.item): entry for entry in truth_of(study).entries}
    for reading in readings:
        entry = entries[reading.reader, reading.item]
        assert (reading.case, reading.position, reading.repeat_of) == (entry.case, entry.position, entry.repeat_of)
        assert reading.answer == (3 if reading.reader == "r02" else 6 if entry.synthetic else 1)
        assert (reading.patient == "") is reading.synthetic
    assert sum(bool(reading.repeat_of) for reading in readings) == 2 * 6
    closing = read_json(study.reader / CLOSING)
    assert closing["chain"]["rows"] == 2 * 38, "the practice is in the chain, and not in the readings"
    assert closing["readings_sha256"] == sha256_file(study.reader / READINGS)
    assert read_json(study.reader / "worklist" / CLOSED)["unfinished"] == {}


def test_the_machine_is_named_a_machine_and_stands_apart(study: Study) -> None:
    closed = close(study)
    values = read_json(study.reader / MACHINE)
    assert "not a person" in values["reader"]
    assert values["images"] == 30
    assert values["auc"] == closed.machine.auc
    assert values["interval"][0] <= values["auc"] <= values["interval"][1]
    assert {reading.reader for reading in read_readings(study.reader / READINGS)} == {"r01", "r02"}


def test_closing_again_gives_the_same_and_nothing_is_taken_after(study: Study) -> None:
    close(study)
    before = {name: (study.reader / name).read_bytes() for name in (READINGS, MACHINE, CLOSING)}
    close(study)
    assert {name: (study.reader / name).read_bytes() for name in before} == before
    served = open_worklist(study.reader / "worklist")
    database = open_database(study.reader / "worklist", served.worklist)
    order = served.orders["r01"]
    with pytest.raises(OutOfTurn):
        lock_answer(database, order, order.places[-1].item, Answer(1, None, None, 1.0, 0.0, 0, False, "n" * 32), AT)
    database.close()


def test_a_wrong_key_leaves_the_study_open(study: Study, tmp_path: Path) -> None:
    new_key(tmp_path / "another", study.folder)
    with pytest.raises(ReaderError, match="key belongs to another study"):
        close(study, seal_file=tmp_path / "another")
    with pytest.raises(ReaderError, match="no seal key"):
        close(study, seal_file=tmp_path / "none")
    assert not (study.reader / "worklist" / CLOSED).exists()
    assert not (study.reader / READINGS).exists()


def test_a_tampered_answer_is_named(study: Study) -> None:
    with sqlite3.connect(study.reader / "worklist" / "readings.db") as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("UPDATE readings SET answer = 7 - answer WHERE n = 17")
    with pytest.raises(ReaderError, match="reading 17 of r01 was changed"):
        close(study)
    assert not (study.reader / READINGS).exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sealed.bin", r"sealed\.bin was altered"),
        ("protocol.json", "changed after the study was created"),
        ("buffer", "not the one that was sealed"),
        ("order", "not those that were sealed"),
    ],
)
def test_what_was_altered_is_found(study: Study, name: str, words: str) -> None:
    worklist = study.reader / "worklist"
    buffer = worklist / "buffers" / f"{truth_of(study).entries[0].buffer}.bin"
    path = {"buffer": buffer, "order": worklist / "worklist.json"}.get(name, study.reader / name)
    if name == "order":
        first, second = (entry.buffer for entry in truth_of(study).entries[:2])
        text = path.read_text().replace(first, "x").replace(second, first).replace('"x"', f'"{second}"')
        path.write_text(text)
    else:
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(bytes(data))
    with pytest.raises(ReaderError, match=words):
        close(study)


def test_unfinished_readers_are_waited_for_or_printed(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path / "study")
    create(study, small(readers=2, images=30, practice=2))
    with pytest.raises(ReaderError, match="there are no readings"):
        close(study)
    read(study.reader / "worklist", lambda reader, item: 4, {"r01": 38, "r02": 12})
    with pytest.raises(ReaderError, match="r02 has answered 10 of 36; wait, or give --early"):
        close(study)
    assert not (study.reader / "worklist" / CLOSED).exists()
    closed = close(study, early=True)
    assert closed.unfinished == {"r02": (10, 36)}
    assert closed.readings == 46
    assert read_json(study.reader / CLOSING)["unfinished"] == {"r02": [10, 36]}


def test_a_mark_in_the_worklist_does_not_stand_for_a_closing(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path / "study")
    create(study, small(readers=2, images=30, practice=2))
    read(study.reader / "worklist", lambda reader, item: 4, {"r01": 38, "r02": 12})
    (study.reader / "worklist" / CLOSED).write_text('{"closed": "2026-01-01T00:00:00+00:00", "unfinished": {}}')
    with pytest.raises(ReaderError, match="r02 has answered 10 of 36"):
        close(study)
    assert close(study, early=True).unfinished == {"r02": (10, 36)}
    (study.reader / "worklist" / CLOSED).unlink()
    assert close(study).unfinished == {"r02": (10, 36)}, "the database knows that it was closed"


def test_readings_that_were_made_anew_after_the_closing_are_refused(study: Study) -> None:
    close(study)
    with sqlite3.connect(study.reader / "worklist" / "readings.db") as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        ((previous,),) = database.execute("SELECT previous FROM readings ORDER BY n DESC LIMIT 1").fetchall()
        database.execute("DELETE FROM readings WHERE n = (SELECT max(n) FROM readings)")
        database.execute("UPDATE chain_head SET rows = rows - 1, sha256 = ?", (previous,))
    before = (study.reader / CLOSING).read_bytes()
    with pytest.raises(ReaderError, match="differ from those with which the study was closed") as refusal:
        close(study)
    assert (study.reader / CLOSING).read_bytes() == before
    assert "away" not in str(refusal.value), "the refusal does not tell how to get round it"
    (study.reader / CLOSING).unlink()
    with pytest.raises(ReaderError, match=r"then \d+ rows ending with [0-9a-f]{12}, now \d+ ending with"):
        close(study)  # the journal knows of the closing, too
    assert not (study.reader / CLOSING).exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [("protocol.json", "changed after the study was closed"), ("probe.json", "missing or was changed")],
)
def test_what_was_fixed_cannot_be_changed_after_the_closing(study: Study, name: str, words: str) -> None:
    """A wider margin, with the hash in the worklist made to fit; or a probe that never refused."""
    close(study)
    conclude(study)
    path, worklist = study.reader / name, study.reader / "worklist" / "worklist.json"
    before = sha256_file(path)
    path.write_text(path.read_text().replace('"margin": 0.1', '"margin": 0.3').replace('"auc": 0.', '"auc": 0.0'))
    assert sha256_file(path) != before
    worklist.write_text(worklist.read_text().replace(before, sha256_file(path)))
    with pytest.raises(ReaderError, match=words):
        conclude(study)


@pytest.mark.parametrize("name", [CLOSING, RECORD])
@pytest.mark.parametrize("text", ["{", "null", "[]", "{}"])
def test_a_damaged_file_is_one_line_that_costs_no_readings(study: Study, name: str, text: str) -> None:
    close(study)
    (study.reader / name).write_text(text)
    with pytest.raises(ReaderError, match="damaged") as refusal:
        conclude(study)
    assert "\n" not in str(refusal.value)
    assert "remove" not in str(refusal.value)


def test_another_seed_after_the_reading_changes_nothing(study: Study) -> None:
    close(study)
    first = conclude(study).as_json()
    other = replace(study, config=study.config.model_copy(update={"seed": study.config.seed + 1}))
    assert conclude(other).as_json() == first


def test_a_scale_that_was_turned_round_is_found(study: Study) -> None:
    path = study.reader / "worklist" / "worklist.json"
    values = read_json(path)
    path.write_text(json.dumps({**values, "scale": values["scale"][::-1]}))
    with pytest.raises(ReaderError, match="questions of the worklist are not those of the protocol"):
        close(study)


def test_a_worklist_that_was_served_elsewhere_is_closed_there(study: Study, tmp_path: Path) -> None:
    worklist = study.reader / "worklist"
    elsewhere = Path(shutil.copytree(worklist, tmp_path / "elsewhere"))
    (worklist / "readings.db").unlink()
    with pytest.raises(ReaderError, match="there are no readings"):
        close(study)
    assert close(study, worklist_folder=elsewhere).readings == 72
    assert (elsewhere / CLOSED).exists()


def test_the_machine_finds_a_planted_difference_and_nothing_in_equals() -> None:
    facts = CohortFacts(
        modality="MR", sop_class_uid="", shape=(24, 24), view="patch", labels=(), positive=None, unlabelled=False,
        files_found=0, excluded={}, low=0, high=1, spacing=(1, 1), bits_stored=12, signed=False, rescale_slope=1,
        rescale_intercept=0, key_fingerprint="",
    )  # fmt: skip
    real, other = textured(24, 1, side=24), textured(24, 2, side=24)
    marked = other.copy()
    marked[:, 8:16, 8:16] = 60_000
    assert read_by_machine(real, marked, facts, 0.95, np.random.default_rng(0)).auc > 0.9
    assert read_by_machine(real, other, facts, 0.95, np.random.default_rng(0)).interval.low < 0.5
