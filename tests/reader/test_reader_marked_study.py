"""A study with marks from its creation to its analysis: lesions are sealed, and come out with every mark."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_sets import change_set
from study_factory import disc_at, make_study, small

from scansynth.errors import ReaderError
from scansynth.files import read_json, write_json
from scansynth.reader.close import close
from scansynth.reader.conclude import conclude
from scansynth.reader.create import create
from scansynth.reader.marks import Mark, written
from scansynth.reader.seal import default_seal_path, load_key, unseal
from scansynth.reader.server.database import open_database
from scansynth.reader.server.served import open_worklist
from scansynth.reader.server.store import Answer, lock_answer
from scansynth.reader.statistics.outlined import read_lesions
from scansynth.reader.statistics.readings import read_readings
from scansynth.reader.teach import make_teaching
from scansynth.reader.truth import Truth, from_json
from scansynth.study import ANALYSIS, CLAIMS_FILE, LESIONS, READINGS, Study, open_study

AT = "2026-11-27T12:00:00.000+00:00"


@pytest.fixture(scope="module")
def whole(environment: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five readers, who mark every lesion that is there, a little beside its middle, and err now and then."""
    study = make_study(tmp_path_factory.mktemp("marked") / "study", masks=True, set_masks=True)
    create(study, small(readers=5, images=50, practice=2, marks="nodule"))
    truth = truth_of(study)
    read(study, {entry.item: truth.lesions[entry.buffer] for entry in truth.entries})
    return study.folder


@pytest.fixture
def study(whole: Path, tmp_path: Path, environment: pytest.MonkeyPatch) -> Study:
    return open_study(Path(shutil.copytree(whole, tmp_path / "study")))


def truth_of(study: Study) -> Truth:
    protocol = read_json(study.reader / "protocol.json")
    key = load_key(default_seal_path(protocol["study"]))
    sealed = (study.reader / "sealed.bin").read_bytes()
    return from_json(unseal(sealed, key, protocol["study"], protocol["commitment"]), protocol["study"])


def read(study: Study, lesions: dict[str, Any]) -> None:
    served = open_worklist(study.reader / "worklist")
    database = open_database(study.reader / "worklist", served.worklist)
    rng = np.random.default_rng(4)
    for order in served.orders.values():
        for place in order.places:
            marks = [Mark(row + 1.0, column - 1.0, size, 5) for row, column, size in lesions.get(place.item, ())]
            if rng.random() < 0.2:
                marks.append(Mark(1.0, 1.0, 2.0, 2))
            sent = written(marks)
            answer = Answer(3, None, None, 4.0, 1.0, 2, False, secrets.token_hex(16), marks=sent)
            lock_answer(database, order, place.item, answer, AT)
    database.close()


def test_the_lesions_are_sealed_and_the_server_gets_none(study: Study) -> None:
    truth = truth_of(study)
    assert len(truth.lesions) == 60, "fifty images, and ten shown twice"
    assert all(lesions is not None for lesions in truth.lesions.values())
    for entry in truth.entries:
        number = int(entry.case[:4], 16) * 2 + int(entry.case[8:], 16) if not entry.synthetic else int(entry.case)
        expected = [pytest.approx((*disc_at(number), 4.0), abs=0.2)] if entry.label == "nodule" else []
        assert list(truth.lesions[entry.buffer]) == expected
    told = (study.reader / "worklist" / "worklist.json").read_text()
    assert '"finding": "nodule"' in told
    assert "lesion" not in told
    assert "radius" not in told


def test_every_mark_and_every_lesion_comes_out_and_is_analysed(study: Study) -> None:
    close(study)
    readings = read_readings(study.reader / READINGS)
    known = read_lesions(study.reader / LESIONS)
    assert {one.image for one in readings} == set(known)
    assert sum(one.marks != "[]" for one in readings) > 100
    conclude(study)
    found = read_json(study.reader / ANALYSIS)["where"]
    assert [kind["kind"] for kind in found["kinds"]] == ["real", "synthetic"]
    for kind in found["kinds"]:
        assert kind["unknown"] == 0
        assert kind["figures"]["found"]["value"] == 1.0
        assert kind["figures"]["free_response"]["value"] == 1.0
        assert kind["froc"][0][1:] == [0.0, 1.0], "the most confident marks are right"
        assert 0.1 < kind["false_per_image"] < 0.35
    assert found["difference"]["outcome"] == "equivalent within the margin"
    first, second = read_json(study.reader / CLAIMS_FILE)["claims"]
    assert (first["claim"], second["claim"]) == ("reader.indistinguishable", "reader.located")
    assert second["verdict"] == "shown"
    assert "lesions" in second["inputs"]
    (question,) = read_json(study.reader / CLAIMS_FILE)["questions"]
    assert question["verdict"] == first["verdict"], "the marks decide nothing of it"


def test_lesions_that_were_changed_after_the_closing_stop_the_analysis(study: Study) -> None:
    close(study)
    path = study.reader / LESIONS
    path.write_text(path.read_text().replace("\n", "\r\n", 1))
    with pytest.raises(ReaderError, match="changed after the study was closed"):
        conclude(study)
    close(study)
    path.unlink()
    with pytest.raises(ReaderError, match="close"):
        conclude(study)


def test_a_worklist_that_asks_for_other_marks_is_not_closed(study: Study) -> None:
    path = study.reader / "worklist" / "worklist.json"
    values = read_json(path)
    values["marking"]["levels"].reverse()
    write_json(path, values)
    with pytest.raises(ReaderError, match="not those of the protocol"):
        close(study)


@pytest.mark.parametrize(("masked", "said"), [(False, "the cohort has no masks"), (True, "no test image")])
def test_a_cohort_without_masks_is_refused_in_one_line(
    environment: pytest.MonkeyPatch, tmp_path: Path, masked: bool, said: str
) -> None:
    study = make_study(tmp_path / "study", masks=masked, labels=("nodule", "none"))
    if masked:
        change_set(study.cohort, masks=np.zeros((120, 48, 48), np.uint8))
    with pytest.raises(ReaderError, match=said) as told:
        create(study, small(marks="nodule"))
    assert "\n" not in str(told.value)
    assert not study.reader.exists()


def test_a_set_without_masks_leaves_real_images_alone(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", masks=True)
    create(study, small(readers=3, images=50, practice=2, repeats=0.0, marks="nodule"))
    truth = truth_of(study)
    assert {entry.synthetic for entry in truth.entries if entry.buffer in truth.lesions} == {False}
    read(study, {entry.item: truth.lesions.get(entry.buffer, ()) for entry in truth.entries})
    close(study)
    found = conclude(study)
    where = read_json(study.reader / ANALYSIS)["where"]
    assert where["kinds"][1]["unknown"] == where["kinds"][1]["images"] + where["kinds"][1]["unknown"] > 0
    assert "the set has no masks" in where["difference"]["why"]
    assert found.decision is not None


def test_a_positive_image_without_a_mask_is_read_and_counts_nowhere(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study = make_study(tmp_path / "study", masks=True, labels=("mass",))
    create(study, small(readers=2, images=50, practice=2, repeats=0.0, marks="mass"))
    assert len(truth_of(study).lesions) == sum(not e.synthetic for e in truth_of(study).entries if e.reader == "r01")


def test_teaching_takes_marks_where_there_are_masks(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for masked in (True, False):
        study = make_study(tmp_path / str(masked), masks=masked, set_masks=masked)
        config = study.folder / "study.toml"
        config.write_text(config.read_text() + '[reader]\nmarks = "nodule"\n')
        made = make_teaching(open_study(study.folder), 10)
        assert (open_worklist(made.worklist).worklist.marking is not None) is masked
