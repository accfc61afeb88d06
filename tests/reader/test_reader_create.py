"""A reader study is written whole or not at all, and its worklist tells nothing of the truth."""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from study_factory import LABELS, make_study, small

from scansynth.data.imageset import open_set
from scansynth.data.tensors import to_signed, to_stored
from scansynth.dicom.deidentify import KEY_VARIABLE
from scansynth.errors import ReaderError, StorageError
from scansynth.files import read_json, read_json_lines, sha256_file
from scansynth.metrics import planted
from scansynth.reader import create as room
from scansynth.reader.buffers import decode
from scansynth.reader.create import Created, create
from scansynth.reader.probe import Override
from scansynth.reader.protocol import Fixed, read_protocol, write_up
from scansynth.reader.seal import load_key, unseal
from scansynth.reader.server.invitations import expired, expiry, new_token, opens, token_sha256
from scansynth.reader.server.worklist import Worklist, load_worklist, mark_served
from scansynth.reader.statistics.verdict import equivalence_level
from scansynth.reader.truth import Truth, from_json
from scansynth.stage import read_record
from scansynth.statistics import Verdict
from scansynth.study import Study

NOW = datetime.datetime(2026, 11, 27, 12, 0, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def keys(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration folder that is nobody's."""
    folder = tmp_path_factory.mktemp("keys")
    monkeypatch.setenv(KEY_VARIABLE, str(folder / "institution.key"))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Created]:
    study = make_study(tmp_path_factory.mktemp("create") / "study", quarantine=(2,))
    seal = tmp_path_factory.mktemp("seal") / "key"
    settings = small(question="Is there a nodule?", confidence=True, title="Chest MR", references=2)
    return study, create(study, settings, seal_file=seal, now=NOW)


@pytest.fixture
def worklist(made: tuple[Study, Created]) -> Worklist:
    return load_worklist(made[1].folder / "worklist")


@pytest.fixture
def truth(made: tuple[Study, Created]) -> Truth:
    study, created = made
    protocol = read_json(study.reader / "protocol.json")
    data = (study.reader / "sealed.bin").read_bytes()
    values = unseal(data, load_key(created.seal), protocol["study"], protocol["commitment"])
    return from_json(values, protocol["study"])


def worklist_bytes(folder: Path) -> bytes:
    names = b"\n".join(str(path.relative_to(folder)).encode() for path in sorted(folder.rglob("*")))
    return names + b"\n" + (folder / "worklist.json").read_bytes()


def test_the_truth_is_nowhere_in_the_worklist(made: tuple[Study, Created], truth: Truth, worklist: Worklist) -> None:
    folder = made[1].folder / "worklist"
    values = read_json(folder / "worklist.json")
    for seat in values["readers"]:
        seat["practice"] = []
    text = json.dumps(values).lower()
    for word in ("synthetic-", "truth", "repeat", "label", "case", "patient", *LABELS):
        allowed = text.replace("is there a nodule?", "")
        assert word not in allowed, word
    without_scale = text.replace(json.dumps(list(worklist.scale)).lower(), "")
    assert "synthetic" not in without_scale
    assert "real" not in without_scale
    everything = worklist_bytes(folder)
    for entry in truth.entries:
        if not entry.synthetic:
            assert entry.case.encode() not in everything
            assert entry.patient.encode() not in everything
    counts = {sum(e.synthetic is kind and not e.repeat_of for e in truth.entries) // 3 for kind in (True, False)}
    numbers = set(_numbers(values))
    assert not counts & numbers, "no number in the worklist is that of either kind"
    assert made[1].seal.read_bytes().strip() not in everything
    assert truth.secret.value.hex().encode() not in everything


def _numbers(value: object) -> list[float]:
    if isinstance(value, dict):
        return [number for inner in value.values() for number in _numbers(inner)]
    if isinstance(value, list):
        return [number for inner in value for number in _numbers(inner)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def test_buffers_are_alike_in_size_and_no_two_are_equal(made: tuple[Study, Created], worklist: Worklist) -> None:
    files = sorted((made[1].folder / "worklist" / "buffers").iterdir())
    assert {path.stat().st_size for path in files} == {48 * 48 * 2}
    assert len({path.stat().st_mtime_ns for path in files}) == 1
    near = {place.nearest for seat in worklist.readers for place in seat.practice}
    assert len({path.read_bytes() for path in files}) == len(files) == 60 + 6 + len(near) + len(worklist.references)
    assert len({path.name for path in files}) == len(files)
    for path in files:
        image = decode(path.read_bytes(), 48, 48)
        assert not (image % 257).any(), "256 levels, whatever the image was before"


def test_items_are_unique_and_not_to_be_guessed(worklist: Worklist, truth: Truth) -> None:
    items = [place.item for seat in worklist.readers for place in (*seat.practice, *seat.sequence)]
    assert len(set(items)) == len(items) == 3 * 66
    assert all(len(item) == 32 and int(item, 16) >= 0 for item in items)
    other = [truth.secret.item("another study", "r01", 1), truth.secret.item(truth.study, "r01", 10_000)]
    assert not set(other) & set(items)
    assert truth.secret.item(truth.study, "r01", 1) in items, "HMAC of the secret; without it nobody makes one"
    assert "secret" not in repr(truth.secret).lower().replace("secret(...)", "")


def test_orders_are_stored_and_differ_and_buffers_are_shared(worklist: Worklist) -> None:
    orders = [[place.buffer for place in seat.sequence] for seat in worklist.readers]
    assert len({tuple(order) for order in orders}) == 3
    assert len({tuple(sorted(order)) for order in orders}) == 1


def test_the_sealed_truth_says_what_each_item_is(made: tuple[Study, Created], worklist: Worklist, truth: Truth) -> None:
    study, created = made
    images = {False: open_set(study.cohort).planes, True: None}
    cases = {row.split(",")[0]: n for n, row in enumerate((study.cohort / "cases.csv").read_text().splitlines()[1:])}
    for seat in worklist.readers:
        mine = [entry for entry in truth.entries if entry.reader == seat.reader]
        assert [entry.item for entry in mine] == [place.item for place in seat.sequence]
        assert [entry.position for entry in mine] == list(range(1, 61))
        by_item = {entry.item: entry for entry in mine}
        repeats = [entry for entry in mine if entry.repeat_of]
        assert len(repeats) == 10
        for entry in repeats:
            first = by_item[entry.repeat_of]
            assert first.position < entry.position
            assert first.case == entry.case
            assert first.synthetic is entry.synthetic
            assert first.buffer != entry.buffer
    for entry in truth.entries[:60]:
        shown = decode((created.folder / "worklist" / "buffers" / f"{entry.buffer}.bin").read_bytes(), 48, 48)
        if not entry.synthetic:
            original = images[False][cases[entry.case]]
            assert np.corrcoef(shown.ravel(), original.ravel())[0, 1] > 0.98
            assert abs(float(shown.mean()) - float(original.mean())) < 257
    sums = {
        name: hashlib.sha256((created.folder / "worklist/buffers" / f"{name}.bin").read_bytes()).hexdigest()
        for name in truth.buffers
    }
    assert sums == truth.buffers


def test_the_protocol_is_fixed_and_hashed(made: tuple[Study, Created], worklist: Worklist, truth: Truth) -> None:
    study = made[0]
    protocol = read_protocol(study.reader, worklist.protocol_sha256)
    assert protocol["margin"] == 0.1
    assert protocol["level"] == 0.95
    assert protocol["images"] == 50
    assert protocol["presentations"] == 60
    assert protocol["override"] is None
    assert protocol["sealed_sha256"] == sha256_file(study.reader / "sealed.bin")
    assert protocol["probe_sha256"] == sha256_file(study.reader / "probe.json")
    synthetic = sum(entry.synthetic and not entry.repeat_of for entry in truth.entries) // 3
    assert synthetic not in _numbers(protocol)
    path = study.reader / "protocol.json"
    before = path.read_text()
    path.write_text(before.replace('"margin": 0.1', '"margin": 0.2'))
    with pytest.raises(ReaderError, match="changed after the study was created"):
        read_protocol(study.reader, worklist.protocol_sha256)
    path.write_text(before)


def test_tokens_are_shown_once_and_kept_as_hashes(made: tuple[Study, Created], worklist: Worklist) -> None:
    study, created = made
    tokens = [*created.invitations.values(), created.administrator]
    assert len(set(tokens)) == 4
    assert all(len(token) >= 43 for token in tokens)
    for seat in worklist.readers:
        assert opens(created.invitations[seat.reader], seat.invitation_sha256)
    assert opens(created.administrator, worklist.administrator_sha256)
    for path in study.folder.rglob("*"):
        if path.is_file():
            assert not any(token.encode() in path.read_bytes() for token in tokens), path


def test_the_record_names_roles_and_patients(made: tuple[Study, Created]) -> None:
    record = read_record(made[1].folder)
    assert record is not None
    assert record.roles == ("test", "train")
    assert len(record.patients) == 60, "all that could have been shown: which were is sealed"
    assert read_json_lines(made[0].journal)[-1]["event"] == "written"


def test_the_question_and_the_windows_reach_the_worklist(worklist: Worklist) -> None:
    assert worklist.second_question is not None
    assert worklist.second_question.text == "Is there a nodule?"
    assert worklist.second_question.confidence
    assert worklist.title == "Chest MR"
    assert worklist.presets[0].width == 1500.0
    assert worklist.image.spacing == (1.5, 1.5)


def full_disk(*_: object) -> None:
    raise StorageError("the disk is full")


def test_a_second_study_needs_leave_and_a_served_one_stays(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    create(study, small())
    first = (study.reader / "protocol.json").read_bytes()
    with pytest.raises(ReaderError, match="a reader study already exists; give --replace"):
        create(study, small())
    assert (study.reader / "protocol.json").read_bytes() == first
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "write_worklist", full_disk)
        with pytest.raises(StorageError):
            create(study, small(), replace=True)
    assert (study.reader / "protocol.json").read_bytes() == first
    create(study, small(), replace=True)
    (aside,) = study.folder.glob("reader-*")
    assert (aside / "protocol.json").read_bytes() == first, "a copy of its worklist may be served elsewhere"
    second = (study.reader / "protocol.json").read_bytes()
    assert second != first
    mark_served(study.reader / "worklist", NOW)
    with pytest.raises(ReaderError, match="was served and may have readings"):
        create(study, small(), replace=True)
    assert (study.reader / "protocol.json").read_bytes() == second


def test_a_leak_leaves_nothing_behind_and_an_override_is_printed(tmp_path: Path, keys: Path) -> None:
    study = make_study(tmp_path / "study", change=lambda made: to_stored(planted.jpeg(to_signed(made), quality=75)))
    with pytest.raises(ReaderError, match="No reader study was created"):
        create(study, small())
    assert not study.reader.exists()
    assert not list(keys.iterdir())
    (tried,) = (line for line in map(json.loads, study.journal.read_text().splitlines()) if "refused" in line["event"])
    assert tried["overridden"] is False, "whoever tries until the probe passes is seen to have tried"
    create(study, small(), override=Override("A. Person", "to show the page"))
    told = {"name": "A. Person", "reason": "to show the page"}
    kept = read_json(study.reader / "protocol.json")["override"]
    assert told.items() < kept.items()
    assert kept["refused"] == read_json(study.reader / "probe.json")["refused"] != "", "the reason that was true"
    assert read_json(study.reader / "probe.json")["override"] == kept
    assert read_json(study.reader / "probe.json")["auc"] > 0.9


@pytest.mark.parametrize(("level", "each"), [(0.95, "5%"), (0.9, "10%"), (0.975, "2.5%")])
def test_the_protocol_says_the_level_of_its_tests(level: float, each: str) -> None:
    fixed = Fixed("5" * 32, 50, 10, (), {}, "main", "c" * 64, "d" * 64, "e" * 64, "f" * 64, None)
    primary = write_up(small(level=level), fixed, NOW)["primary"]
    assert primary["test"].endswith(f", {each} each")
    assert equivalence_level(level) == pytest.approx(1.0 - 2.0 * float(each[:-1]) / 100.0)


def test_a_set_that_the_audit_holds_back_is_refused(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", audit=Verdict.REFUTED)
    with pytest.raises(ReaderError, match="It is refuted"):
        create(study, small())


def test_a_fault_while_writing_leaves_neither_study_nor_key(
    tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path / "study")
    monkeypatch.setattr(room, "write_worklist", full_disk)
    with pytest.raises(StorageError):
        create(study, small())
    assert not study.reader.exists()
    assert not list(keys.iterdir())
    assert not [path for path in study.folder.iterdir() if path.name.startswith(".reader")]


def test_invitations_end(made: tuple[Study, Created], worklist: Worklist) -> None:
    token = new_token()
    assert opens(token, token_sha256(token))
    assert not opens(new_token(), token_sha256(token))
    assert not opens("", token_sha256(token))
    assert not opens("\udcff", token_sha256(token))
    end = expiry(NOW, 60)
    assert {seat.expires for seat in worklist.readers} == {end} == {worklist.expires}
    assert not expired(end, NOW + datetime.timedelta(days=59))
    assert expired(end, NOW + datetime.timedelta(days=60))
