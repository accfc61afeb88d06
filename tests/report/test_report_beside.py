"""Trial and reader study on the page: what they say, what they show, and how the page takes damage."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fake_readers import make_readers
from fake_study import make_study
from fake_trial import GAINS, make_trial
from looking import assert_looks_right
from test_report_page import Outline

from scansynth.claims.questions import READERS, UTILITY
from scansynth.claims.rules import EVERY_RULE, READER_RULES, RULES, UTILITY_RULES
from scansynth.data.tensors import load_cohort
from scansynth.errors import ScansynthError
from scansynth.files import read_json, write_json
from scansynth.ledger import Role
from scansynth.reader.probe import Override
from scansynth.reader.statistics.analysis import Analysis as Reading
from scansynth.report.collect import collect
from scansynth.report.figures.pictures import single
from scansynth.report.reader import section as reader_section
from scansynth.report.reader.artefacts import read_readers
from scansynth.report.render import render, write_report
from scansynth.report.standing import report_inputs
from scansynth.report.utility import section as trial_section
from scansynth.report.utility.artefacts import EXAMPLES, read_trial
from scansynth.report.utility.contrasts import arm_name, points
from scansynth.stage import read_record
from scansynth.statistics import Verdict
from scansynth.study import Study
from scansynth.utility.statistics.results import Analysis as Trial

MARKS = "reader.located"


@dataclass(frozen=True)
class Made:
    """A study with both, their results as values, and its page."""

    study: Study
    trial: Trial
    reading: Reading
    html: str


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study with enough patients for a verdict, and neither trial nor reader study."""
    folder = tmp_path_factory.mktemp("beside") / "study"
    return make_study(folder, size=32, patients=320, synthetic=60, stages=("ingest", "generate"))


@pytest.fixture(scope="module")
def made(bare: Study) -> Made:
    study, trial = make_trial(bare, "shown", lesions=True, ratios=(1.0, 0.5), fractions=(1.0, 0.25))
    override = Override("A. Example", "The step is in the scans too.")
    study, reading = make_readers(study, cut=40, probe=Verdict.REFUTED, override=override, unaware=30)
    return Made(study, trial, reading, write_report(study).read_text(encoding="utf-8"))


def section(html: str, anchor: str) -> str:
    """A section as HTML."""
    found = re.search(rf'<section id="{anchor}">.*?</section>', html, re.DOTALL)
    assert found is not None
    return found[0]


def words(html: str) -> str:
    return Outline(html).words()


def test_both_answers_open_the_page_and_their_sections(made: Made) -> None:
    overview = section(made.html, "verdicts")
    for question in (UTILITY, READERS):
        assert f'href="#{question.name}"' in overview
        assert made.html.count(f"<h2>{question.title}</h2>") == 1
    assert made.html.count(f">{trial_section.OPENINGS[Verdict.SHOWN]}</p>") == 2
    order = re.findall(r'<section id="(\w+)"', made.html)
    assert order.index("help") < order.index("readers") < order.index("training")


@pytest.mark.parametrize("verdict", GAINS)
def test_the_sentence_agrees_with_the_verdict(bare: Study, tmp_path: Path, verdict: str) -> None:
    study, found = make_trial(replace(bare, folder=copy_of(bare, tmp_path)), verdict, attributes=False)
    gain = next(claim for claim in found.claims if claim.claim == "utility.gain")
    assert gain.verdict.value == verdict, gain.why
    view = read_trial(study, load_cohort(study.cohort))
    assert view is not None
    shown = trial_section.trial_section(view)
    assert shown["sentence"] == trial_section.OPENINGS[gain.verdict]
    assert shown["sentence"].startswith(
        {"shown": "Yes", "refuted": "No:", "not shown": "Not settled", "not assessable": "This could not"}[verdict]
    )
    assert shown["verdict"] is gain.verdict
    assert re.sub(r"[−-]", "", shown["disagreement"]) == re.sub(r"[−-]", "", gain.why)


def copy_of(study: Study, folder: Path) -> Path:
    """The cohort and the set of a study in another folder, without trial and reader study."""
    for name in ("cohort", "synthetic"):
        (folder / name).symlink_to(study.folder / name)
    return folder


def test_every_contrast_stands_in_the_page_with_its_figures(made: Made) -> None:
    text = words(section(made.html, "help"))
    contrasts = [one for block in made.trial.blocks for one in block.contrasts]
    assert len(contrasts) >= 4 * 6
    for one in contrasts:
        assert f"{one.arm} − {one.other}" in text
        for estimate in (one.gain, one.false_alarms, one.auc):
            low, high = points(estimate.interval.low), points(estimate.interval.high)
            assert f"{points(estimate.value)} {low} to {high}" in text
    assert made.html.count('class="reason"') == len(contrasts)


def test_the_forest_holds_the_first_block_and_marks_what_is_special(made: Made) -> None:
    forest = re.search(r'<table class="forest">.*?</table>', made.html, re.DOTALL)
    assert forest is not None
    text = words(forest[0])
    for one in made.trial.blocks[0].contrasts:
        assert f"{arm_name(one.arm)} against {arm_name(one.other)}" in text
    assert forest[0].count('class="primary"') == 1
    for mark in ("the main comparison", "as published", "placebo", "positive control"):
        assert text.count(mark) == 1
    assert text.count("control passed") == 2


def test_groups_left_out_of_the_training_are_told_without_a_claim(made: Made) -> None:
    text = words(section(made.html, "help"))
    assert "Patients whose group was left out of training" in text
    values = read_json(made.study.folder / "trial" / "analysis.json")["left_out"]
    assert len(values) == 1
    assert points(values[0]["gain"]["value"]) in text
    assert set(values[0]["sensitivity"]) == {row.arm for row in made.trial.blocks[0].arms}
    for arm, estimate in values[0]["sensitivity"].items():
        assert f"{arm_name(arm)} {100 * estimate['value']:.1f}% (" in text


def test_a_failed_control_is_said_to_have_failed(bare: Study, tmp_path: Path) -> None:
    study, _ = make_trial(replace(bare, folder=copy_of(bare, tmp_path)), "not assessable", attributes=False)
    view = read_trial(study, load_cohort(study.cohort))
    assert view is not None
    rows = trial_section.trial_section(view)["forest"]["rows"]
    assert [row["kept"] for row in rows if row["mark"] == "positive control"] == ["failed"]


def test_strips_stand_where_their_figures_are(made: Made) -> None:
    """The dot of a row lies between the ends of its line, and a gain on the good side of zero."""
    forest = re.search(r'<table class="forest">.*?</table>', made.html, re.DOTALL)
    assert forest is not None
    rows = re.findall(r'<svg class="interval-picture strip-row".*?</svg>', forest[0])
    strips = [row for row in rows if 'class="value"' in row]
    estimates = [part for one in made.trial.blocks[0].contrasts for part in (one.gain, one.false_alarms)]
    assert len(strips) == len(estimates)
    for strip, estimate in zip(strips[::2], estimates[::2], strict=True):
        dot = float(re.findall(r'cx="([\d.]+)%"', strip)[0])
        left, right = map(float, re.findall(r'x1="([\d.]+)%" x2="([\d.]+)%"[^>]*class="interval"', strip)[0])
        zero = float(re.findall(r'x1="([\d.]+)%"[^>]*class="margin"', strip)[0])
        assert left <= dot <= right
        assert (left > zero) == (estimate.interval.low > 0)
        assert (right < zero) == (estimate.interval.high < 0)


def test_charts_are_there_as_far_as_there_are_figures(made: Made, bare: Study, tmp_path: Path) -> None:
    titles = ("Gain by the number", "With fewer real patients", "(ROC)", "(FROC)", "Calibration of the probabilities")
    text = words(section(made.html, "help"))
    assert all(title in text for title in titles)
    floor = made.trial.blocks[0].lesion_floor
    assert floor is not None
    assert f"moved to those of other patients, CPM would be {floor.dealt.value:.2f} (" in text
    assert "marks at other patients' lesion locations" in text
    assert "0 per real image: 0, by definition; 0.5 per real image:" in section(made.html, "help")
    study, _ = make_trial(replace(bare, folder=copy_of(bare, tmp_path)), "shown", attributes=False)
    view = read_trial(study, load_cohort(study.cohort))
    assert view is not None
    found = trial_section.trial_section(view)
    assert len(found["charts"]) == 2
    for start in ("Only one number of synthetic", "Only one share of the training", "Lesions were not located"):
        assert sum(line.startswith(start) for line in found["not_done"]) == 1


def test_real_test_images_are_shown_as_examples_and_no_others(made: Made) -> None:
    cohort = load_cohort(made.study.cohort)
    findings = collect(made.study)
    assert findings.trial is not None
    assert findings.readers is not None
    images = {case.case: index for index, case in enumerate(cohort.cases)}
    stored = cohort.images.planes
    uris = set(re.findall(r'src="(data:image/png;base64,[^"]+)"', made.html))
    pictured = {case.case: case for case in cohort.cases if single(stored[images[case.case]]).uri in uris}
    caught = made.trial.blocks[0].caught
    allowed = {row.case for kind in (True, False) for row in [one for one in caught if one.newly is kind][:EXAMPLES]}
    for name in ("real_fooled_most", "real_fooled_none"):
        allowed |= {row["case"] for row in made.reading.beside["images"][name][:6]}
    assert set(pictured) == allowed
    assert {case.role for case in pictured.values()} == {Role.TEST}
    record = read_record(made.study.report)
    assert record is not None
    assert {case.patient for case in pictured.values()} <= set(record.patients)
    assert record.roles == ("test", "train")
    assert not [case.patient for case in cohort.cases if case.patient in made.html]


def test_examples_show_the_largest_changes_first(made: Made) -> None:
    view = collect(made.study).trial
    assert view is not None
    caught = [one for one in made.trial.blocks[0].caught if one.newly]
    assert len(view.caught) == min(EXAMPLES, len(caught)) > 0
    assert view.changed[0] == len(caught)
    changes = [example.by - example.before for example in view.caught]
    assert changes == sorted(changes, reverse=True)
    assert min(changes) >= max([0.0, *(one.by - one.before for one in caught[EXAMPLES:])])


def test_a_case_of_another_role_is_never_pictured(bare: Study, tmp_path: Path) -> None:
    study, _ = make_trial(replace(bare, folder=copy_of(bare, tmp_path)), "shown", attributes=False)
    cohort = load_cohort(study.cohort)
    path = study.folder / "trial" / "analysis.json"
    values = read_json(path)
    learned = next(case for case in cohort.cases if case.role is Role.TRAIN)
    values["blocks"][0]["caught"][0]["case"] = learned.case
    write_json(path, values)
    before = len(values["blocks"][0]["caught"])
    view = read_trial(study, cohort)
    assert view is not None
    assert sum(view.changed) == before
    assert learned.patient not in view.pictured
    assert len(view.caught) == EXAMPLES - 1


def test_readers_are_told_with_their_notices(made: Made) -> None:
    text = words(section(made.html, "readers"))
    assert "The study was closed early: r06 had given 80 of 120 answers." in text
    assert "Decided by A. Example, for this reason: The step is in the scans too." in text
    assert "did not finish" in text
    assert text.count("Machine, not a person") == 1
    for row in made.reading.readers:
        assert f"{row['reader']} " in text
        assert f"{row['auc']:.2f}" in text
    assert "76 of 200 synthetic images real: 38%" in text
    assert "31.6 to 44.9%" in text
    assert "31.2 to 45.1%" in text
    assert "F is missing" in text
    for distance in ("0.00", "0.61", "1.59"):
        assert distance in text


OUTCOMES = {
    "distinguishable": ("Yes", Verdict.REFUTED),
    "equivalent within the margin": ("No, within the margin", Verdict.SHOWN),
    "inconclusive": ("Not settled", Verdict.NOT_SHOWN),
}


def test_what_readers_noticed_before_they_were_told_stands_apart(made: Made) -> None:
    text = words(section(made.html, "readers"))
    assert "Did anything stand out before readers knew what is compared?" in text
    assert "3 of 5" in text  # three of the five who are no controls
    assert "0 of 1" in text
    assert "r06, control" in text
    assert "<b>" not in section(made.html, "readers").split("Odd vessels")[1][:20]
    assert "What readers said of their screens" in text


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_readers_sentence_agrees_with_the_outcome(bare: Study, tmp_path: Path, outcome: str) -> None:
    copied = replace(bare, folder=copy_of(bare, tmp_path))
    study, found = make_readers(copied, outcome, readers=12 if "margin" in outcome else 4, images=110)
    assert found.decision.outcome.value == outcome, found.decision.why
    view = read_readers(study, load_cohort(study.cohort), None)
    assert view is not None
    shown = reader_section.reader_section(view)
    start, verdict = OUTCOMES[outcome]
    assert shown["sentence"].startswith(start)
    assert shown["verdict"] is verdict is view.claims[0].verdict
    assert len(shown["forest"]["people"]) == len(found.readers)
    pictured = [list_["kind"] for list_ in shown["lists"] if list_["shown"]]
    assert shown["any_seen"] == bool(pictured)
    assert set(pictured) <= {"real"}, "no synthetic set was drawn"


def test_the_machine_is_in_no_figure_of_people(made: Made) -> None:
    view = collect(made.study).readers
    assert view is not None
    with_machine = reader_section.reader_section(view)
    other = {**view.machine, "auc": 0.55, "interval": [0.5, 0.6]}
    without = reader_section.reader_section(replace(view, machine=other))
    for key in ("sentence", "rows", "agreement", "details", "labels"):
        assert with_machine[key] == without[key]
    figures = [
        [row[key] for row in part["forest"]["people"] for key in ("value", "between")]
        for part in (with_machine, without)
    ]
    assert figures[0] == figures[1]


def test_answers_by_kind_add_up(made: Made) -> None:
    for row in made.reading.readers:
        both = [a + b for a, b in zip(row["answers_real"], row["answers_synthetic"], strict=True)]
        assert both == row["answers"]
        assert sum(row["answers_synthetic"][3:]) == row["synthetic_called_synthetic"]
        assert sum(row["answers_real"][3:]) == row["real_called_synthetic"]


def test_what_was_not_asked_is_named(bare: Study, made: Made) -> None:
    def absent(html: str) -> str:
        found = re.search(r'<table class="unasked">.*?</table>', html, re.DOTALL)
        return words(found[0]) if found else ""

    both = absent(made.html)
    assert all(rule.question in both for rule in RULES.values())
    asked = [rule for name, rule in (UTILITY_RULES | READER_RULES).items() if name != MARKS]
    assert not any(rule.question in both for rule in asked)
    assert READER_RULES[MARKS].question in both, "nothing was marked"
    alone = absent(render(replace(collect(made.study), readers=None)))
    assert all(rule.question in alone for rule in READER_RULES.values())
    assert "scansynth reader create STUDY" in alone
    assert "under way" not in made.html
    neither = render(replace(collect(made.study), trial=None, readers=None))
    assert 'id="help"' not in neither
    assert 'id="readers"' not in neither


def test_claims_of_all_three_have_numbers_of_their_own(made: Made) -> None:
    found = re.findall(r'<table class="full" id="claim-(\d+)".*?</table>', made.html, re.DOTALL)
    own = [*made.trial.claims, made.reading.claim]
    assert sorted(map(int, found)) == list(range(1, len(own) + 1))
    assert {claim.claim for claim in own} == set(EVERY_RULE) - set(RULES) - {MARKS}
    assert "points of sensitivity" in made.html


def test_both_make_the_page_stale_when_they_change(made: Made) -> None:
    before = report_inputs(made.study)
    assert {"utility", "reader"} <= set(before)
    for name, key in (("trial", "utility"), ("reader", "reader")):
        path = made.study.folder / name / "stage.json"
        kept = path.read_text()
        values = read_json(path)
        values["outputs"]["analysis.json"] = "0" * 64
        write_json(path, values)
        after = report_inputs(made.study)
        assert {name for name in after if after[name] != before[name]} == {key}
        path.write_text(kept)


def test_what_is_under_way_leaves_no_trace(bare: Study, tmp_path: Path) -> None:
    study, _ = make_readers(replace(bare, folder=copy_of(bare, tmp_path)), readers=3, images=40)
    (study.reader / "analysis.json").unlink()
    findings = collect(study)
    assert findings.readers is None
    assert "reader" not in report_inputs(study)
    assert report_inputs(study)["reader study"] == "under way"
    html = render(findings)
    assert "No reader of the study may see this page" in html
    assert 'id="readers"' not in html
    assert [stage.name for stage in findings.stages] == ["ingest", "generate"]


def test_a_set_that_changed_since_the_reading_is_told(made: Made) -> None:
    path = made.study.reader / "protocol.json"
    kept = path.read_text()
    values = read_json(path)
    values["inputs"] = {"cohort": read_record(made.study.cohort).digest, "set": "1" * 64, "audit": "2" * 64}  # type: ignore[union-attr]
    write_json(path, values)
    assert [(stage.name, stage.outdated) for stage in collect(made.study).stages if stage.outdated] == [
        ("reader analyse", ("generate",))
    ]
    values["synthetic_set"] = "other"
    write_json(path, values)
    findings = collect(made.study)
    assert not [stage for stage in findings.stages if stage.outdated]
    assert "The readers saw the set other" in words(render(findings))
    assert findings.readers is not None
    assert not findings.readers.seen["synthetic_fooled_most"]
    path.write_text(kept)


def test_a_declaration_that_changed_since_is_told(made: Made) -> None:
    view = collect(made.study).trial
    assert view is not None
    assert trial_section.trial_section(view)["changed_since"] == ""
    plan = {**view.plan, "settings": {**view.plan["settings"], "margin": 0.2}}
    assert trial_section.trial_section(replace(view, plan=plan))["changed_since"] == "margin"


def test_what_could_not_be_measured_is_said_and_leaves_its_pictures_out(tmp_path: Path) -> None:
    small = make_study(tmp_path / "study", size=32, patients=44, synthetic=8, stages=("ingest", "generate"))
    study, trial = make_trial(small, "shown", attributes=False)
    study, reading = make_readers(study, readers=1, images=16)
    assert {claim.verdict for claim in trial.claims} == {Verdict.NOT_ASSESSABLE} == {reading.claim.verdict}
    html = write_report(study).read_text(encoding="utf-8")
    assert trial.claims[0].why in words(section(html, "help"))
    assert reading.primary is None
    text = words(section(html, "readers"))
    assert "This could not be assessed" in text
    assert "Mean of the readers" not in text
    values = read_json(study.folder / "trial" / "analysis.json")
    block = values["blocks"][0]
    write_json(
        study.folder / "trial" / "analysis.json",
        {**values, "blocks": [{**block, "arms": [], "contrasts": [], "caught": []}], "dose": [], "low_data": []},
    )
    assert '<table class="forest">' not in render(collect(study))


BROKEN: tuple[tuple[str, Any], ...] = tuple(
    itertools.product(
        ("trial/analysis.json", "trial/claims.json", "trial/plan.json", "reader/analysis.json", "reader/claims.json",
         "reader/protocol.json", "reader/probe.json", "reader/machine.json"),
        ("no JSON", "[]", '{"blocks": 3}', "[{}]"),
    )
)  # fmt: skip


@pytest.mark.parametrize(("name", "content"), BROKEN)
def test_damage_is_refused_in_one_line(made: Made, name: str, content: str) -> None:
    path = made.study.folder / name
    kept = path.read_text()
    path.write_text(content)
    try:
        with pytest.raises(ScansynthError) as refusal:
            sections_of(made.study)
        assert "\n" not in str(refusal.value)
        assert path.name in str(refusal.value)
        assert "run" in str(refusal.value)
    finally:
        path.write_text(kept)


def sections_of(study: Study) -> None:
    """Reads and sets out both sections."""
    cohort = load_cohort(study.cohort)
    trial, readers = read_trial(study, cohort), read_readers(study, cohort, None)
    assert trial is not None
    assert readers is not None
    trial_section.trial_section(trial)
    reader_section.reader_section(readers)


@pytest.mark.parametrize("key", ["terms", "dose", "low_data", "blocks"])
def test_a_figure_that_is_missing_is_damage(made: Made, key: str) -> None:
    path = made.study.folder / "trial" / "analysis.json"
    kept = path.read_text()
    values = read_json(path)
    del values[key]
    write_json(path, values)
    with pytest.raises(ScansynthError, match=r"analysis\.json of the trial is damaged"):
        sections_of(made.study)
    path.write_text(kept)


def test_markup_and_words(made: Made) -> None:
    outline = Outline(made.html)
    assert len(outline.ids) == len(set(outline.ids))
    assert {href[1:] for _, attrs in outline.tags if (href := attrs.get("href") or "").startswith("#")} <= set(
        outline.ids
    )
    assert all(attrs.get("alt") for tag, attrs in outline.tags if tag == "img")
    assert all(attrs.get("aria-label") for tag, attrs in outline.tags if tag == "svg" and attrs.get("role") == "img")
    assert all(attrs.get("scope") for tag, attrs in outline.tags if tag == "th")
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    for anchor in ("help", "readers"):
        assert section(made.html, anchor).count("<b>AUC:</b>") == 1
    assert str(made.study.folder) not in made.html
    assert write_report(made.study).read_text(encoding="utf-8") == made.html


def test_hostile_names_are_escaped(bare: Study, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script> $\\frac x$"
    copied = replace(bare, folder=copy_of(bare, tmp_path))
    study, _ = make_trial(copied, "shown")
    study, _ = make_readers(study, readers=3, images=40, probe=Verdict.REFUTED, override=Override(evil, evil))
    trial = study.folder / "trial" / "analysis.json"
    values = read_json(trial)
    block = values["blocks"][0]
    block["groups"] = {evil: [{**row, "group": evil, "why": evil} for row in block["groups"]["sex"]]}
    block["why"] = block["contrasts"][0]["why"] = block["contrasts"][1]["arm"] = evil
    write_json(trial, values)
    path = study.reader / "analysis.json"
    values = read_json(path)
    values["notes"] = [evil]
    written = {"reader": "r01", "position": 7, "synthetic": True, "label": "nodule", "answer": 2}
    values["comments"] = [{**written, "comment": f"{evil} in a comment"}]
    values["changed"] = {"answers": 3, "sides": 2}
    values["readers"][0]["reader"] = evil
    values["labels"] = {f"{evil}{name}": row for name, row in values["labels"].items()}
    write_json(path, values)
    outline = Outline(write_report(study).read_text(encoding="utf-8"))
    assert "script" not in {tag for tag, _ in outline.tags}
    assert "<script>alert(1)</script>" in outline.words()
    assert "r01, image 7" in outline.words()
    assert "in a comment" in outline.words()
    assert "3 answers were changed before the next was given, 2 of them" in outline.words()


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (820, "dark"), (390, "light")])
def test_both_sections_look_right(browser: Any, made: Made, width: int, theme: str) -> None:
    assert_looks_right(browser, made.study.report / "index.html", width, theme)
