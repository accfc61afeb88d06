"""Whom a withdrawal means, and what a patient touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scansynth.config import StudyConfig
from scansynth.data.cohort.withdrawn import read_withdrawn
from scansynth.data.imageset import FACTS, Kind, SetWriter
from scansynth.data.labels.people import same_person
from scansynth.data.roles import write_roles
from scansynth.data.sets import origins_of
from scansynth.data.tensors import EXCLUDED, CohortFacts, write_cohort
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.errors import StudyError
from scansynth.files import sha256_file, write_csv, write_json
from scansynth.ledger import Role
from scansynth.pipeline.withdraw import plan_withdrawal, withdraw
from scansynth.stage import StageRecord, hash_outputs, read_record, write_record
from scansynth.study import RUN, Study

KEY = InstitutionKey(b"k" * 32)
PEOPLE = {"7": (Role.TRAIN, ""), "8": (Role.TEST, ""), "9@A": (Role.TRAIN, "A"), "9@B": (Role.TUNE, "b ")}


def hashed(number: str) -> str:
    return KEY.patient_hash(number)


def record(folder: Path, stage: str, inputs: dict[str, str], patients: tuple[str, ...] = ()) -> StageRecord:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "out").write_text(folder.name + stage)
    outputs = hash_outputs(folder, [path for path in folder.iterdir() if path.is_file()])
    write_record(folder, StageRecord(stage, inputs, {}, outputs, 0, ("train",), patients))
    made = read_record(folder)
    assert made is not None
    return made


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A cohort of four persons, two of whom have one number at two sites."""
    made = Study(tmp_path, StudyConfig.model_validate({"cohort": {"dicom": "x", "labels": "y"}}))
    rows = [
        {
            "id": str(place), "patient": hashed(number), "role": role.value, "label": "nodule", "low": "0.0",
            "high": "1.0", "spacing_row": "1", "spacing_col": "1", "sop": "", "source_sha256": "", "source_side": "8",
            "pixels": f"p{place}", "attr_site": site,
        }
        for place, (number, (role, site)) in enumerate(PEOPLE.items())
    ]  # fmt: skip
    facts = CohortFacts(
        "MR", "1.2", (8, 8), "any", ("nodule",), "nodule", False, 4, {}, 0, 1, (1, 1), 12, False, 1, 0, KEY.fingerprint
    )
    made.cohort.mkdir()
    with SetWriter(made.cohort, (8, 8)) as writer:
        for place in range(len(rows)):
            writer.append(np.full((8, 8), place, np.uint16))
    write_cohort(writer, made.cohort, facts, rows)
    write_csv(made.cohort / EXCLUDED, ("key", "reason", "detail"), [])
    write_roles(made.cohort, {str(row["patient"]): Role(row["role"]) for row in rows}, {})
    return made


@pytest.mark.parametrize("number", ["7", "007", " 7.0 "])
def test_a_number_is_known_in_every_spelling(study: Study, number: str) -> None:
    found = plan_withdrawal(study, number, KEY)
    assert found.patients == {hashed(same_person("7"))}
    assert (found.roles, found.images, found.again) == (("train",), 1, False)


def test_the_keyed_hash_needs_no_key(study: Study) -> None:
    other = InstitutionKey(b"o" * 32)
    assert plan_withdrawal(study, hashed("8"), other).roles == ("test",)
    with pytest.raises(StudyError, match="another institution key"):
        plan_withdrawal(study, "8", other)


def test_persons_of_one_number_are_not_withdrawn_together(study: Study) -> None:
    with pytest.raises(StudyError, match="several persons"):
        plan_withdrawal(study, "9", KEY)
    assert plan_withdrawal(study, hashed("9@B"), KEY).roles == ("tune",)


@pytest.mark.parametrize("number", ["70", "", "nan", "../7"])
def test_an_unknown_patient_is_refused_and_not_named(study: Study, number: str) -> None:
    with pytest.raises(StudyError, match="no patient of this study") as refused:
        plan_withdrawal(study, number, KEY)
    assert not number or number not in str(refused.value).replace("csv", "")


def test_each_artefact_is_named_with_what_it_has_of_the_patient(study: Study) -> None:
    cohort = record(study.cohort, "ingest", {})
    run = record(study.run("a"), "train", {"cohort": cohort.digest}, (hashed("7"), hashed("8")))
    record(study.run("b"), "train", {"cohort": cohort.digest}, (hashed("8"),))
    elder = record(study.run("a.before-1"), "train", {"cohort": "0"}, (hashed("7"),))
    record(study.run("c"), "train", {"cohort": "0"})
    study.run("d").mkdir()
    write_json(study.run("d") / RUN, {})
    made = record(study.synthetic("a"), "generate", {"weights": run.outputs["out"]})
    record(study.synthetic("old"), "generate", {"weights": elder.outputs["out"]})
    record(study.synthetic("added"), "add-set", {"files": "1"})
    record(study.evidence("a"), "audit", {"set": made.digest})
    record(study.jobs / "one", "utility", {"cohort": cohort.digest}, (hashed("7"),))
    how = {trace.name: trace.how.split()[0] for trace in plan_withdrawal(study, "7", KEY).traces}
    assert how == {
        "gan/a": "learned", "gan/a.before-1": "learned", "gan/b": "rests", "gan/d": "was", "synthetic/a": "was",
        "synthetic/old": "was", "evidence/a": "was", "trial/jobs/one": "learned",
    }  # fmt: skip
    tested = {trace.name: trace.how for trace in plan_withdrawal(study, "8", KEY).traces}
    assert tested["gan/a"].startswith("was measured on")
    assert tested["gan/b"].startswith("was measured on")


def test_a_withdrawal_leaves_no_picture_and_can_be_repeated(study: Study) -> None:
    record(study.cohort, "ingest", {})
    record(study.run("a"), "train", {}, (hashed("7"),))
    record(study.run("b"), "train", {}, (hashed("8"),))
    for name in "ab":
        (study.run(name) / "real.png").touch()
    record(study.report, "report", {}, (hashed("7"),))
    (study.encoders).mkdir()
    withdraw(study, plan_withdrawal(study, "7", KEY))
    assert not study.report.exists()
    assert not study.encoders.exists()
    assert [(study.run(name) / "real.png").exists() for name in "ab"] == [False, True]
    assert read_withdrawn(study.folder).pixels == {"p0"}
    again = plan_withdrawal(study, "007", KEY)
    assert (again.patients, again.images, again.again) == ({hashed("7")}, 0, True)
    withdraw(study, again)
    assert read_withdrawn(study.folder).pixels == {"p0"}
    assert hashed("7") not in study.journal.read_text()


def test_a_release_that_the_patient_touched_is_named_with_a_notice(study: Study) -> None:
    record(study.cohort, "ingest", {})
    for name, people in (("touched", (hashed("7"),)), ("other", (hashed("8"),))):
        folder = study.release(name)
        folder.mkdir(parents=True)
        write_json(folder / "manifest.json", {"study": "Lung", "made": "2026-11-30"})
        record(folder, "release", {"weights": "of a run that is gone"}, people)
    found = plan_withdrawal(study, "7", KEY)
    told = {trace.name: (trace.how, trace.todo) for trace in found.traces}
    assert told.keys() == {"releases/touched"}
    assert "send the notice in this folder" in told["releases/touched"][1]
    withdraw(study, found)
    notice = (study.release("touched") / "withdrawal.md").read_text()
    assert "Lung" in notice
    assert sha256_file(study.release("touched") / "manifest.json") in notice
    assert hashed("7") not in notice
    assert not (study.release("other") / "withdrawal.md").exists()


def test_lesions_in_scans_of_the_patient_are_removed(study: Study) -> None:
    """The set, and the table of whose scans it shows; one that shows others stays."""
    for name, number in (("hers", "7"), ("others", "8")):
        study.synthetic(name).mkdir(parents=True)
        write_json(study.synthetic(name) / FACTS, {"kind": Kind.INSERTED})
        record(study.synthetic(name), "generate", {"weights": "0"}, (hashed(number),))
        write_csv(study.linkage / origins_of(name), ("id", "background"), [])
    withdraw(study, plan_withdrawal(study, "7", KEY))
    assert not study.synthetic("hers").exists()
    assert not (study.linkage / origins_of("hers")).exists()
    assert study.synthetic("others").is_dir()
    assert (study.linkage / origins_of("others")).is_file()
