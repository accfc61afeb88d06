"""Each reason of the gate, on its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from releasable_study import (
    CLEAN,
    UNSEARCHED,
    claim,
    make_releasable,
    person,
    put_evidence,
    put_real,
    put_run,
)

from scansynth.claims.rules import RULES
from scansynth.config import UNFILLED, GovernanceSettings
from scansynth.data.cohort.withdrawn import Withdrawn, write_withdrawn
from scansynth.errors import ConfigError, ReleaseError
from scansynth.files import read_json, read_json_lines, sha256_file, write_json
from scansynth.release.candidate import gather
from scansynth.release.cards import _started
from scansynth.release.gate import reasons_against
from scansynth.release.package import Override, Refused, Released, Wishes, release
from scansynth.release.policy import Policy, read_policy
from scansynth.stage import read_record, write_record
from scansynth.statistics import Verdict
from scansynth.study import CLAIMS_FILE, QUARANTINE, RUN, WEIGHTS, Study, open_study


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_releasable(tmp_path_factory.mktemp("made") / "study", images=18).folder


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Study:
    shutil.copytree(made, tmp_path / "study")
    return open_study(tmp_path / "study")


def reasons(study: Study, policy: Policy | None = None) -> list[str]:
    return [reason.text for reason in reasons_against(gather(study), policy or Policy())]


def test_nothing_speaks_against_a_whole_study(study: Study) -> None:
    assert reasons(study) == []


def another_generator(study: Study) -> None:
    put_run(study, seed=1)


def another_set(study: Study) -> None:
    record = read_json(study.synthetic() / "stage.json")
    record["outputs"]["images.npy"] = "0" * 64
    write_json(study.synthetic() / "stage.json", record)


def no_evidence(study: Study) -> None:
    (study.evidence() / "stage.json").unlink()


def older_rules(study: Study) -> None:
    content = read_json(study.evidence() / CLAIMS_FILE)
    for row in content["claims"]:
        row["rule_version"] -= 1
    write_json(study.evidence() / CLAIMS_FILE, content)


def rewritten_verdict(study: Study) -> None:
    path = study.evidence() / CLAIMS_FILE
    path.write_text(path.read_text().replace("It is so.", "It is better."))


def two_roles(study: Study) -> None:
    def twin(rows: list[dict[str, object]]) -> None:
        rows[0]["pixels"] = rows[10]["pixels"]

    put_real(study, twin)
    put_evidence(study)


def same_picture(study: Study) -> None:
    def copied(images: object) -> None:
        images[10] = images[0]  # type: ignore[index]

    put_real(study, images=copied)
    put_evidence(study)


def no_pixels(study: Study) -> None:
    def blank(rows: list[dict[str, object]]) -> None:
        rows[3]["pixels"] = ""

    put_real(study, blank)
    put_evidence(study)


def withdrawn_in_training(study: Study) -> None:
    write_withdrawn(study.folder, Withdrawn(frozenset({person(1)})))


def unsearched(study: Study) -> None:
    put_real(study, removed=(CLEAN, UNSEARCHED))
    put_evidence(study)


def no_removal_report(study: Study) -> None:
    (study.cohort / "deidentification.csv").unlink()


def unassessed(study: Study) -> None:
    put_evidence(study, claims=[claim(n, Verdict.SHOWN, False) for n in RULES if not n.startswith("fairness")])


def all_too_close(study: Study) -> None:
    put_evidence(study, kept_back=range(18))


def no_claim_on_copies(study: Study) -> None:
    put_evidence(study, claims=[claim(n, Verdict.SHOWN, False) for n in RULES if not n.startswith("copies")])


def altered_removal_report(study: Study) -> None:
    path = study.cohort / "deidentification.csv"
    path.write_text(path.read_text().replace("skipped", "kept"))


FINAL: dict[Callable[[Study], None], str] = {
    another_generator: "drawn with weights that no run of this study has",
    another_set: "the evidence is on another set",
    no_evidence: "was not audited",
    older_rules: "claims.json is altered",
    rewritten_verdict: "claims.json is altered",
    two_roles: r"one source image has two roles",
    same_picture: r"one ingested image has two roles",
    no_pixels: "does not know the source image of every image",
    all_too_close: "nothing is left to release",
    withdrawn_in_training: "the training has read images of a patient who was withdrawn",
}
OPEN: dict[Callable[[Study], None], str] = {
    unsearched: "not searched: Tesseract is not installed",
    no_removal_report: "has no deidentification.csv",
    altered_removal_report: "deidentification.csv of the cohort was altered",
    no_claim_on_copies: "holds no claim on copies",
    unassessed: "not assessed: Are all patient groups represented",
}


@pytest.mark.parametrize("change", [*FINAL, *OPEN], ids=lambda change: change.__name__)
def test_each_fault_is_named_and_nothing_is_written(
    study: Study, tmp_path: Path, change: Callable[[Study], None]
) -> None:
    change(study)
    wanted = {**FINAL, **OPEN}[change]
    found = [reason for reason in reasons_against(gather(study), Policy()) if wanted in reason.text]
    assert found, reasons(study)
    assert {reason.open for reason in found} == {change in OPEN}
    overridden = release(study, Wishes(tmp_path / "out", override=Override("A. Person", "because")))
    assert isinstance(overridden, Released if change in OPEN else Refused)
    assert (tmp_path / "out").exists() == (change in OPEN)


def shared_patient(study: Study) -> None:
    def twin(rows: list[dict[str, object]]) -> None:
        rows[0]["patient"] = rows[10]["patient"]

    put_real(study, twin)
    put_evidence(study)


def another_cohort(study: Study) -> None:
    put_real(study, images=lambda images: images.__iadd__(1))


def unrecorded_cohort(study: Study) -> None:
    (study.cohort / "stage.json").unlink()


def altered_list_of_kept_back(study: Study) -> None:
    """The one file that somebody would shorten to let a copy out."""
    path = study.evidence() / QUARANTINE
    path.write_text(path.read_text().splitlines()[0] + "\n" + "000000,x,0.1,0.9\n")


def altered_list_of_files(study: Study) -> None:
    path = study.synthetic() / "manifest.csv"
    path.write_text(path.read_text().replace("nodule", "clear", 1))


def a_set_of_others(study: Study) -> None:
    (study.synthetic() / "manifest.csv").unlink()


def no_set(study: Study) -> None:
    shutil.rmtree(study.synthetic())


def no_cohort(study: Study) -> None:
    shutil.rmtree(study.cohort)


def withdrawn_in_audit(study: Study) -> None:
    write_withdrawn(study.folder, Withdrawn(frozenset({person(5)})))


def kept_text(done: str) -> Callable[[Study], None]:
    def change(study: Study) -> None:
        put_real(study, removed=(CLEAN, (*UNSEARCHED[:4], done, UNSEARCHED[5])))
        put_evidence(study)

    change.__name__ = done.replace(" ", "_")
    return change


def without(question: str) -> Callable[[Study], None]:
    def change(study: Study) -> None:
        put_evidence(study, claims=[claim(n, Verdict.SHOWN, False) for n in RULES if not n.startswith(question)])

    change.__name__ = f"without_{question}"
    return change


def copies_not_assessable(study: Study) -> None:
    unknown = replace(claim("copies.flag_rate", Verdict.SHOWN), verdict=Verdict.NOT_ASSESSABLE)
    put_evidence(study, claims=[unknown, *(claim(n, Verdict.SHOWN) for n in RULES if not n.startswith("copies."))])


@pytest.mark.parametrize(
    ("change", "wanted", "lifted"),
    [
        (shared_patient, "one patient has two roles", False),
        (another_cohort, "the evidence is on another cohort", False),
        (unrecorded_cohort, "what wrote the cohort is not known", False),
        (altered_list_of_kept_back, "of the evidence, quarantine.csv is altered", False),
        (altered_list_of_files, "manifest.csv of the set main was altered", False),
        (a_set_of_others, "was not generated by this study", False),
        (no_set, "main", False),
        (no_cohort, "cohort", False),
        (withdrawn_in_audit, "the audit has read images of a patient who was withdrawn", False),
        (withdrawn_in_audit, "the cohort has read images of a patient who was withdrawn", False),
        (kept_text("nothing read: kept"), "nothing read: kept (20 images)", True),
        (kept_text("kept, as cohort.burned_in says"), "kept, as cohort.burned_in says (20 images)", True),
        (without("fidelity"), "not assessed: Do the images look real?", True),
        (without("telltales"), "not assessed: Do processing traces reveal them?", True),
        (copies_not_assessable, "copies.flag_rate is not assessable", True),
    ],
    ids=lambda one: one.__name__ if callable(one) else None,
)  # fmt: skip
def test_each_further_reason_is_told_and_says_whether_it_may_be_lifted(
    study: Study, change: Callable[[Study], None], wanted: str, lifted: bool
) -> None:
    change(study)
    found = [reason for reason in reasons_against(gather(study), Policy()) if wanted in reason.text]
    assert found, reasons(study)
    assert {reason.open for reason in found} == {lifted}
    assert not [reason.text for reason in found if "\n" in reason.text]


def test_evidence_of_an_older_rule_version_is_refused(study: Study) -> None:
    older_rules(study)
    record = read_json(study.evidence() / "stage.json")
    record["outputs"][CLAIMS_FILE] = sha256_file(study.evidence() / CLAIMS_FILE)
    write_json(study.evidence() / "stage.json", record)
    assert any("judged by rule version" in text for text in reasons(study))


def test_weights_that_are_a_pickle_are_refused(study: Study) -> None:
    (study.run() / WEIGHTS).write_bytes(b"\x80\x04\x95pickle")
    assert any("hash does not match" in text for text in reasons(study))


@pytest.mark.parametrize("text", ["", "  ", f"{UNFILLED}: On what law"])
def test_each_field_of_the_governance_must_be_written(study: Study, text: str) -> None:
    settings = study.config_file.read_text()
    for key in GovernanceSettings.model_fields:
        study.config_file.write_text(settings.replace(f'"as written by a person: {key}"', f'"{text}"'))
        assert reasons(open_study(study.folder)) == [f"governance.{key} in study.toml is not filled in"]


def test_all_reasons_are_told_together(study: Study) -> None:
    put_evidence(study, {"copies.flag_rate": Verdict.NOT_SHOWN, "telltales.pixels": Verdict.REFUTED})
    withdrawn_in_training(study)
    found = reasons(study)
    assert [any(words in text for text in found) for words in ("withdrawn", "copies.flag_rate", "telltales")] == [
        True
    ] * 3


def test_a_collapsed_training_is_refused(tmp_path: Path) -> None:
    collapsed = make_releasable(tmp_path / "study", level="critical")
    assert reasons(collapsed) == [
        "the generator had collapsed when its training ended; train again with another recipe"
    ]


@pytest.mark.parametrize("own", [True, False])
def test_a_start_from_another_cohort_is_a_reason_and_stands_on_the_card(study: Study, own: bool) -> None:
    """Its patients were not searched for copies; a start from a run of the same cohort is no reason."""
    began = {"weights_sha256": "ab" * 32, "own_cohort": own, "recipe": "compact", "images": 96, "frozen_layers": 2}
    record, facts = read_record(study.run()), {"images_total": 1, "started_from": {**began, "roles": "not known"}}
    assert record is not None
    write_json(study.run() / RUN, facts)
    write_record(study.run(), replace(record, inputs={**record.inputs, "start_from": "ab" * 32}))
    parts = gather(study)
    against = [reason for reason in reasons_against(parts, Policy()) if reason.check == "started from"]
    assert [reason.open for reason in against] == ([] if own else [True])
    (row,) = _started(parts.whole())
    assert ("this cohort" in row[1]) is own
    assert "2 layers of the discriminator left" in row[1]


@pytest.mark.parametrize(
    ("verdict", "policy", "passes"),
    [
        (Verdict.NOT_SHOWN, Policy(), False),
        (Verdict.NOT_SHOWN, Policy(copies="not refuted", decided_by="the board"), True),
        (Verdict.REFUTED, Policy(copies="not refuted", decided_by="the board"), False),
    ],
)
def test_copies_must_be_within_bound(study: Study, verdict: Verdict, policy: Policy, passes: bool) -> None:
    put_evidence(study, {"copies.flag_rate": verdict})
    assert (reasons(study, policy) == []) is passes


def test_a_refuted_claim_blocks_unless_the_policy_names_it(study: Study) -> None:
    put_evidence(study, {"telltales.pixels": Verdict.REFUTED})
    assert reasons(study) == ["telltales.pixels is refuted, and no policy lets that pass"]
    assert reasons(study, Policy(refuted=("telltales.pixels",), decided_by="the board")) == []


def test_what_a_file_gives_away_that_never_leaves_blocks_nothing(study: Study) -> None:
    put_evidence(study, {"house.discriminator": Verdict.REFUTED})
    assert reasons(study) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('refuted = ["fidelity.kid"]', "decided_by"),
        ('refuted = ["copies.real_files"]\ndecided_by = "x"', "copies"),
        ('refuted = ["no.such"]\ndecided_by = "x"', "no claim no.such"),
        ('refused = ["fidelity.kid"]', "unknown key refused"),
    ],
)
def test_a_wrong_policy_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "policy.toml").write_text(text)
    with pytest.raises(ConfigError, match=why):
        read_policy(tmp_path / "policy.toml")


def test_an_override_needs_a_name_and_a_reason_and_stands_in_manifest_and_journal(study: Study, tmp_path: Path) -> None:
    for by, reason in (("", "because"), ("A. Person", " ")):
        with pytest.raises(ReleaseError, match="needs a reason and a name"):
            Override(by, reason)
    unsearched(study)
    assert isinstance(release(study, Wishes(tmp_path / "out")), Refused)
    assert not (tmp_path / "out").exists()
    assert read_json_lines(study.journal)[-1]["event"] == "refused"
    done = release(study, Wishes(tmp_path / "out", override=Override("A. Person", "looked at each image")))
    assert isinstance(done, Released)
    said = read_json(tmp_path / "out" / "manifest.json")["override"]
    assert (said["by"], said["reason"]) == ("A. Person", "looked at each image")
    assert "not searched" in said["against"][0]
    line = read_json_lines(study.journal)[-1]
    assert (line["override_by"], line["overridden"]) == ("A. Person", ["de-identification"])


def test_an_override_that_nothing_needs_is_not_written_down(study: Study, tmp_path: Path) -> None:
    release(study, Wishes(tmp_path / "out", override=Override("A. Person", "to be safe")))
    assert read_json(tmp_path / "out" / "manifest.json")["override"] is None
