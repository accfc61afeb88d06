"""Two sets in one study: drawn by halves, judged apart, compared by reader; the study's own verdict is its own."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from image_sets import put_set
from made_readings import rows
from study_factory import LABELS, audit_claim, make_study, small, textured

from scansynth.claims.judged import write_claims
from scansynth.claims.traces import blocks_reader_export
from scansynth.data.tensors import load_facts
from scansynth.dicom.deidentify import KEY_VARIABLE
from scansynth.errors import ReaderError
from scansynth.files import read_json, write_csv
from scansynth.reader.close import close
from scansynth.reader.conclude import conclude
from scansynth.reader.create import create
from scansynth.reader.design import draw
from scansynth.reader.pool import gather, with_second
from scansynth.reader.server.database import open_database
from scansynth.reader.server.served import open_worklist
from scansynth.reader.server.store import Answer, lock_answer
from scansynth.reader.statistics import imrmc
from scansynth.reader.statistics.analysis import Protocol, analyse
from scansynth.reader.statistics.designs import Arms
from scansynth.reader.statistics.planning import Asked, plan_sets, sentences_of_sets
from scansynth.reader.statistics.readings import Reading, read_readings
from scansynth.stage import StageRecord, hash_outputs, write_record
from scansynth.statistics import Verdict
from scansynth.study import ANALYSIS, QUARANTINE, READINGS, Study


def with_another(
    study: Study, name: str = "other", audit: Verdict = Verdict.SHOWN, count: int = 60, masks: np.ndarray | None = None
) -> Study:
    """A second set beside the study's own, audited."""
    put_set(study.synthetic(name), load_facts(study.cohort), textured(count, 99), LABELS, masks)
    digest = record(study.synthetic(name), "add-set", {})
    study.evidence(name).mkdir(parents=True)
    write_claims(study.evidence(name) / "claims.json", (audit_claim(audit),))
    write_csv(study.evidence(name) / QUARANTINE, ("image", "nearest", "score", "p"), [])
    record(study.evidence(name), "audit", {"set": digest})
    return study


def record(folder: Path, stage: str, inputs: dict[str, str]) -> str:
    files = [path for path in folder.rglob("*") if path.is_file()]
    made = StageRecord(stage, inputs, {}, hash_outputs(folder, files), 0)
    write_record(folder, made)
    return made.digest


def made_up(seed: int = 0, difference: float = 0.0) -> list[Reading]:
    """Rows of six readers who read 60 images of either set and 120 real ones."""
    first, second, truth = Arms(difference=difference, reader_sd=0.05).scores(6, 60, 120, np.random.default_rng(seed))
    answers = np.where(np.isnan(first), second, first).astype(np.int64)
    found = rows(answers, truth, seed=seed)
    place = {f"case{number:03d}": number for number in range(240)}
    return [replace(one, arm=0 if not one.synthetic else 1 + (place[one.case] >= 60)) for one in found]


PROTOCOL = Protocol(0.1, 0.95, 6, 240, sets=("main", "other"))


def test_the_verdict_of_the_study_is_that_of_its_own_set_alone() -> None:
    both = made_up()
    alone = [one for one in both if one.arm != 2]
    with_it, without = analyse(both, PROTOCOL), analyse(alone, replace(PROTOCOL, images=180))
    assert with_it.decision == without.decision
    assert with_it.primary == without.primary
    assert with_it.n == without.n
    assert without.beside["sets"] is None
    sets = with_it.beside["sets"]
    assert sets["sets"] == ["main", "other"]
    assert sets["auc"][0] == pytest.approx(with_it.primary["auc"])  # type: ignore[index]
    assert sets["difference"] == pytest.approx(sets["auc"][0] - sets["auc"][1])
    assert all(row["finished"] for row in with_it.readers)


def test_sets_that_differ_are_told_and_sets_that_do_not_are_equivalent() -> None:
    assert analyse(made_up(1, 0.35), PROTOCOL).beside["sets"]["outcome"] == "different"
    assert analyse(made_up(2), PROTOCOL).beside["sets"]["outcome"] == "equivalent within the margin"
    few = [one for one in made_up() if one.arm != 2 or int(one.case[4:]) < 66]
    assert analyse(few, PROTOCOL).beside["sets"]["outcome"] == "not assessable"


def test_the_export_has_two_modalities_and_real_images_in_both(tmp_path: Path) -> None:
    imrmc.write_imrmc(tmp_path / "readings.imrmc", made_up())
    found = imrmc.read_imrmc(tmp_path / "readings.imrmc")
    assert "NM: 2" in (tmp_path / "readings.imrmc").read_text()
    for modality in ("1", "2"):
        assert sum(row[2] == modality for row in found.rows) == 6 * 180
    cases = [{row[1] for row in found.rows if row[2] == modality} for modality in ("1", "2")]
    assert len(cases[0] & cases[1]) == 120


def test_two_sets_from_creation_to_the_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / "keys" / "institution.key"))
    study = with_another(make_study(tmp_path / "study", patients=50))
    create(study, small(readers=3, images=60, practice=4, repeats=0.1, against="other"))
    protocol = read_json(study.reader / "protocol.json")
    assert protocol["against"] == "other"
    assert "two one-sided tests" in protocol["comparison"]
    assert {"against", "against_audit"} <= set(protocol["inputs"])
    worklist = study.reader / "worklist"
    served = open_worklist(worklist)
    database = open_database(worklist, served.worklist)
    rng = np.random.default_rng(0)
    for order in served.orders.values():
        for place in order.places:
            given = Answer(int(rng.integers(1, 7)), None, None, 4.0, 1.0, 2, False, secrets.token_hex(16))
            lock_answer(database, order, place.item, given, "2026-11-27T12:00:00.000+00:00")
    database.close()
    close(study)
    readings = read_readings(study.reader / READINGS)
    first = [one for one in readings if one.reader == "r01" and not one.repeat_of]
    counts = [sum(one.arm == arm for one in first) for arm in (0, 1, 2)]
    assert sum(counts) == 60
    assert 0 <= counts[1] - counts[2] <= 1
    assert all(one.case.startswith("2-") == (one.arm == 2) for one in readings)
    conclude(study)
    values = read_json(study.reader / ANALYSIS)
    assert values["sets"]["sets"] == ["main", "other"]
    assert values["sets"]["readers"] == 3
    assert values["n"]["synthetic images"] == counts[1]


def test_a_second_set_is_checked_like_the_first(tmp_path: Path) -> None:
    study = with_another(make_study(tmp_path / "study"), count=16)
    pool = gather(study)
    with pytest.raises(ReaderError, match="is the study's own set"):
        with_second(pool, study, study.config.synthetic.name)
    both = with_second(pool, study, "other")
    assert {subject.arm for subject in both.against} == {2}
    assert not np.array_equal(both.image(both.against[0]), both.image(both.synthetic[0]))
    with pytest.raises(ReaderError, match="at least 10 images of either set"):
        draw(both, small(images=30), 3, 9)
    with pytest.raises(ReaderError, match=r"a set has 16 synthetic images, and 50 .* may need 17"):
        draw(both, small(images=50), 3, 9)
    with_another(study, "leaky", Verdict.REFUTED)
    assert blocks_reader_export(both.claims) is None
    assert blocks_reader_export(with_second(pool, study, "leaky").claims) == "It is refuted."


def test_a_plan_of_two_sets_says_what_it_takes() -> None:
    made = plan_sets(Asked(0.15, 0.95, 0.05, (3, 6), (80, 160), runs=40))
    few, many = made.cells[0].equivalent, made.cells[-1].equivalent
    assert few < many
    assert "two sets differ by less than 15 points" in sentences_of_sets(made)[0]
    assert "No design" in sentences_of_sets(plan_sets(Asked(0.03, 0.95, 0.2, (3,), (16,), runs=10)))[0]
    with pytest.raises(ReaderError, match="sixteen images"):
        plan_sets(Asked(readers=(3,), images=(8,)))
