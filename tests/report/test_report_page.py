"""The page: complete, honest about what is missing, and safe to open."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_evidence import everything
from fake_study import make_study
from image_sets import change_set

from scansynth.claims.judged import judged
from scansynth.claims.questions import HOUSE, QUESTIONS
from scansynth.data.imageset import open_set
from scansynth.errors import EvidenceError
from scansynth.files import read_json, write_json
from scansynth.report.audit.sections import question_sections
from scansynth.report.audit.words import WORDINGS, answers
from scansynth.report.collect import collect
from scansynth.report.figures.pictures import single
from scansynth.report.render import render, write_report
from scansynth.report.standing import report_inputs
from scansynth.stage import read_record
from scansynth.statistics import Verdict
from scansynth.study import Study

STAGES = ("ingest", "train", "generate", "audit")
VOID = {"meta", "img", "br", "link", "input", "hr", "path", "circle", "rect", "line", "use"}


class Outline(HTMLParser):
    """Tags, ids, links and text of a page; faults when tags do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value or "" for key, value in attrs if key == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value or "" for key, value in attrs if key == "id"]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("report") / "study")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("small") / "study", size=32, patients=20, synthetic=6)


@pytest.fixture(scope="module")
def html(study: Study) -> str:
    return write_report(study).read_text(encoding="utf-8")


def test_record_names_what_the_page_was_made_of(study: Study, html: str) -> None:
    record = read_record(study.report)
    assert record is not None
    assert record.inputs == report_inputs(study)
    assert set(record.inputs) == set(STAGES)
    assert list(record.outputs) == ["index.html"]
    assert record.roles == ("train",)
    assert record.patients


def test_markup_nests_and_ids_are_unique(html: str) -> None:
    outline = Outline(html)
    assert len(outline.ids) == len(set(outline.ids))
    targets = {href[1:] for _, attrs in outline.tags if (href := attrs.get("href") or "").startswith("#")}
    assert targets <= set(outline.ids)
    used = {href[1:] for _, attrs in outline.tags if (href := attrs.get("xlink:href") or "").startswith("#")}
    assert used
    assert used <= set(outline.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(outline.ids)


def test_pictures_have_words_and_tables_have_heads(html: str) -> None:
    outline = Outline(html)
    images = [attrs for tag, attrs in outline.tags if tag == "img"]
    assert images
    assert all(attrs.get("alt") for attrs in images)
    charts = [attrs for tag, attrs in outline.tags if tag == "svg" and attrs.get("role") == "img"]
    assert len(charts) >= 4 + 3 + len(everything({})) / 2
    assert all(attrs.get("aria-label") for attrs in charts)
    assert all(attrs.get("scope") for tag, attrs in outline.tags if tag == "th")


def test_headings_do_not_skip_a_level(html: str) -> None:
    levels = [int(tag[1]) for tag, _ in Outline(html).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_nothing_comes_from_outside(html: str) -> None:
    outline = Outline(html)
    for _, attrs in outline.tags:
        for key in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            value = attrs.get(key) or ""
            assert value == "" or value.startswith(("#", "data:image/png;base64,"))
    assert not {tag for tag, _ in outline.tags} & {"script", "link", "iframe", "object", "embed", "form"}
    assert "@import" not in html
    assert re.findall(r"url\((?!#)", html) == []


def test_every_verdict_is_said_in_words_and_shape(html: str) -> None:
    cells = re.findall(r'<div class="cell .*?</p>', html, re.DOTALL)
    assert len(cells) == sum(claim.value is not None or HOUSE.holds(claim) for claim in everything({}))
    shapes = {}
    for cell in cells:
        badge = re.search(r'class="badge[^>]*>(.*?</svg>)([^<]+)<', cell, re.DOTALL)
        assert badge is not None
        shapes[badge[2].strip()] = badge[1]
    assert set(shapes) == {verdict.value for verdict in Verdict}
    assert len(set(shapes.values())) == 4


def test_claims_carry_all_their_figures(html: str) -> None:
    words = Outline(html).words()
    for piece in (
        "0.0431",
        "0.0362 to 0.0498",
        "at most 0.0174",
        "95%",
        "0.0031 to 0.0174, mean 0.0058",
        "200 draws",
        "1.25 % of images",
        "55 in 100",
    ):
        assert piece in words
    assert "planted fault: 60% found, 80% needed (failed)" in words
    assert "do not rely on this figure" in words


def test_every_claim_stands_in_full_once(html: str) -> None:
    tables = re.findall(r'<table class="full" id="claim-(\d+)".*?</table>', html, re.DOTALL)
    claims = everything({})
    assert sorted(map(int, tables)) == list(range(1, len(claims) + 1))
    for name in {claim.claim for claim in claims}:
        assert html.count(f"<td>{name}</td>") == sum(claim.claim == name for claim in claims)
    assert html.count('class="full-group"') == len(QUESTIONS) + 1  # and what must stay in-house


def test_the_first_screen_answers_every_question(html: str) -> None:
    overview = html[html.index('<section id="verdicts"') : html.index('<section id="limits"')]
    for answer in answers(judged(everything({}))):
        assert f'href="#{answer.question.name}"' in overview
        assert html.count(f"<h2>{answer.question.title}</h2>") == 1
        # the same sentence opens the section
        assert html.count(f">{answer.sentence}</p>") == 2
        assert WORDINGS[answer.question.name].aim in html
    tally = [int(amount) for amount in re.findall(r'class="tally-n">(\d+)<', overview)]
    of_images = [claim for claim in everything({}) if not HOUSE.holds(claim)]
    assert tally == [sum(claim.verdict is verdict for claim in of_images) for verdict in Verdict]


def test_nothing_with_a_figure_is_hidden(html: str) -> None:
    open_parts = re.sub(r"<details.*?</details>", "", html, flags=re.DOTALL)
    for verdict in Verdict:
        told = [claim for claim in everything({}) if claim.value is not None and claim.verdict is verdict]
        assert len(re.findall(rf'<div class="cell v-{verdict.name.lower()}"', open_parts)) == len(told)


def test_claims_without_a_figure_are_one_line_a_question(html: str) -> None:
    for question in QUESTIONS:
        section = html[html.index(f'<section id="{question.name}"') :].partition("</section>")[0]
        mute = [claim for claim in everything({}) if question.holds(claim) and claim.value is None]
        folds = re.findall(r'<details class="unassessed"><summary>(.*?)</summary>(.*?)</details>', section, re.DOTALL)
        assert len(folds) == bool(mute)
        if mute:
            line, inside = folds[0]
            assert line.startswith(f"{len(mute)} claim")
            assert "could not be assessed" in line
            assert inside.count('href="#claim-') == len(mute)
            assert all(claim.why in inside for claim in mute)


def test_the_top_says_what_to_do_next_and_what_the_set_is_worth(html: str) -> None:
    overview = html[html.index('<section id="verdicts"') : html.index("All claims together")]
    assert "What to do next." in overview
    assert "80 images are worth about 7 images of different patients" in overview


def test_what_stands_behind_the_claims_is_pictured(html: str) -> None:
    words = Outline(html).words()
    for piece in (
        "Fine and coarse detail",
        "Grey levels",
        "(KID) · fixed filters",
        "(KID) · learned encoder",
        "Would a copy have been found?",
        "found by aligned correlation",
        "blend 80/20",
        "reported only",
        "Where 1 of 40 other patients are wrongly identified, 3% of the training patients",
        "How often each group appears, by age band",
        "80 and over",
        "values that fewer than 5 patients share",
        "Not assessed by institution: it has one value only",
        "of the size of the smallest 33% of the training patients: 30% of the set",
        "80 synthetic images are worth about 7 images of different patients (learned encoder)",
        "The strongest traces",
        "How slight a fault would the network see?",
        "noise of 1% 83 yes",
        "blur of 0.35 pixels 51 no",
        "gaps between grey values",
    ):
        assert piece in words, piece


def test_what_must_stay_in_the_house_says_what_it_gives_away(html: str) -> None:
    section = html[html.index('<section id="house"') : html.index('<section id="training"')]
    for piece in ("gan/", "encoders/", "report/", "private/", "AUC 0.55, guessing is 0.50: no training"):
        assert piece in section
    shown = re.search(r"It shows (\d+) pictures of real scans of training patients", section)
    assert shown is not None
    assert int(shown[1]) > 0
    assert "house" not in html[html.index('<section id="verdicts"') : html.index('<section id="limits"')]


def test_verdicts_come_first_then_limits(html: str) -> None:
    order = re.findall(r'<section id="(\w+)"', html)
    asked = [question.name for question in QUESTIONS]
    assert order == ["verdicts", "limits", "cohort", "images", *asked, "house", "training", "claims", "provenance"]
    assert "Not a medical device" in html
    assert html.index("contains images of real cases") < html.index('<section id="verdicts"')


def test_no_place_of_this_machine_and_no_patient(study: Study, html: str) -> None:
    words = Outline(html).words()
    for hidden in (str(study.folder), str(Path.home()), "/data/hospital", "secret-scans", "/tmp/"):
        assert hidden not in html
    assert not re.search(r"(?<![\w<&;])/(?:[A-Za-z0-9_.-]+/)+[A-Za-z0-9_.-]+", words)
    patients = {case["patient"] for case in _cases(study)}
    assert not [patient for patient in patients if patient in html]


def test_only_training_patients_are_pictured(study: Study) -> None:
    findings = collect(study)
    train = {case["patient"] for case in _cases(study) if case["role"] == "train"}
    assert set(findings.pictured) <= train
    assert findings.evidence is not None
    roles = {case["id"]: case["role"] for case in _cases(study)}
    assert {roles[pair.case] for pair in findings.evidence.pairs} == {"train"}


def test_a_pair_of_another_role_is_never_pictured(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    path = study.evidence() / "pairs.json"
    test_case = next(case["id"] for case in _cases(study) if case["role"] == "test")
    pairs = read_json(path)
    pairs[0]["case"] = test_case
    write_json(path, pairs)
    evidence = collect(study).evidence
    assert evidence is not None
    assert evidence.pairs_listed == 6
    assert [pair.case for pair in evidence.pairs] == [pair["case"] for pair in pairs[1:]]


def test_a_mirrored_pair_shows_the_real_image_mirrored_and_says_so(study: Study, html: str) -> None:
    evidence = collect(study).evidence
    assert evidence is not None
    pair = evidence.pairs[2]
    assert pair.flip == "left-right"
    assert single(pair.real[:, ::-1].copy()).uri in html
    assert single(pair.real).uri not in html
    words = Outline(html).words()
    assert words.count("real image mirrored left to right to match") == 1
    assert words.count("real image mirrored both ways to match") == 1


@pytest.mark.parametrize("flip", [True, False, "upside", None, ["left-right"]])
def test_a_mirroring_that_is_none_is_damage(tmp_path: Path, flip: object) -> None:
    study = make_study(tmp_path / "study", size=32, patients=20, synthetic=6)
    pairs = read_json(study.evidence() / "pairs.json")
    pairs[0]["flip"] = flip
    write_json(study.evidence() / "pairs.json", pairs)
    with pytest.raises(EvidenceError, match=r"pairs\.json is damaged"):
        collect(study)


@pytest.mark.parametrize("word", ["held-out", "ratio to real", "role calibrate", "data were seen"])
def test_the_page_speaks_plainly(html: str, word: str) -> None:
    assert word not in Outline(html).words()


def test_the_real_grid_of_the_run_is_not_shown(study: Study) -> None:
    # It may hold patients of another role than train; the page draws its own.
    training = collect(study).training
    assert training is not None
    assert training.real is not None
    shown = {case["id"] for case in _cases(study) if case["role"] == "train" and case["label"] == "nodule"}
    images = open_set(study.cohort).planes
    allowed = {images[place].tobytes() for place, case in enumerate(_cases(study)) if case["id"] in shown}
    assert {image.tobytes() for image in training.real} <= allowed


def test_pictures_are_drawn_by_seed_without_repeats(study: Study) -> None:
    findings = collect(study)
    assert findings.synthetic is not None
    grid = findings.synthetic.grids[0]
    assert len(np.unique(grid.real.reshape(len(grid.real), -1), axis=0)) == len(grid.real)
    other = replace(study, config=study.config.model_copy(update={"seed": 8}))
    again = collect(other).synthetic
    assert again is not None
    assert not np.array_equal(again.grids[0].synthetic, grid.synthetic)


def test_lesions_are_outlined_where_there_are_masks(tmp_path: Path, html: str) -> None:
    assert "A line surrounds" not in html
    study = make_study(tmp_path / "study", size=32, patients=40, synthetic=20, stages=("ingest", "generate"))
    made = open_set(study.synthetic())
    masks = np.zeros((len(made.rows), 32, 32), np.uint8)
    masks[:, 8:16, 8:16] = 1
    change_set(study.synthetic(), masks=masks)
    page = render(collect(study))
    assert "A line surrounds each lesion of the synthetic images" in page
    found = collect(study).synthetic
    assert found is not None
    for grid in found.grids:
        assert grid.real_masks is None
        assert np.array_equal(grid.synthetic_masks, masks[: len(grid.synthetic)])


def test_same_inputs_give_the_same_bytes(study: Study, html: str) -> None:
    study.log("report", "written", seconds=1.0)
    assert write_report(study).read_text(encoding="utf-8") == html


def test_date_is_that_of_the_newest_journal_line(study: Study, html: str) -> None:
    assert 'datetime="2026-11-20T12:12:31+00:00">20 November 2026, 12:12 UTC<' in html


@pytest.mark.parametrize("done", range(4))
def test_missing_stages_are_named_with_their_command(tmp_path: Path, done: int) -> None:
    study = make_study(tmp_path / "study", stages=STAGES[:done], size=32, patients=20, synthetic=6)
    words = Outline(write_report(study).read_text(encoding="utf-8")).words()
    for stage in STAGES[done:]:
        assert f"Run scansynth {stage} STUDY" in words
    for stage in STAGES[:done]:
        assert f"Run scansynth {stage} STUDY" not in words
    assert "No verdict yet" in words


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    study = make_study(tmp_path / "study", name=evil, labels=("a&b", "<b>bold</b>' onload='x"), size=32, patients=20)
    run = read_json(study.run() / "run.json")
    run["recipe"]["about"] = run["device"] = run["augmentation"]["applied"][0] = evil
    write_json(study.run() / "run.json", run)
    claims = read_json(study.evidence() / "claims.json")
    for claim in claims["claims"]:
        claim["why"] = claim["question"] = claim["unit"] = evil
        claim["attribute"] = claim["attribute"] and evil
        claim["judge"] = claim["judge"] and f"{claim['judge']} {evil}"
    write_json(study.evidence() / "claims.json", claims)
    pairs = read_json(study.evidence() / "pairs.json")
    pairs[0]["by"] = evil
    write_json(study.evidence() / "pairs.json", pairs)
    behind = read_json(study.evidence() / "distributions.json")
    for row in behind:
        row["judge"] = row["judge"] and f"{row['judge']} {evil}"
        row["attribute"] = row["attribute"] and evil
        for key in ("traces", "published", "by_model", "extra", "left_out"):
            if key in row["figures"]:
                row["figures"][key] = {evil: 0.6}
        for place, group in enumerate(row["figures"].get("groups", [])):
            group["group"] = f"{evil} $x^2$ $\\frac {place}"
        for tail in row["figures"].get("tails", []):
            tail["tail"] = row["figures"]["column"] = f"$\\frac {evil}"
    write_json(study.evidence() / "distributions.json", behind)
    study.journal.write_text(json.dumps({"time": evil, "stage": evil, "event": evil}) + "\n")
    html = write_report(study).read_text(encoding="utf-8")
    outline = Outline(html)
    assert "script" not in {tag for tag, _ in outline.tags}
    assert not [key for _, attrs in outline.tags for key in attrs if key.startswith("on")]
    assert "<script>alert(1)</script>" in outline.words()


def test_a_changed_input_is_told_at_the_top(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", size=32, patients=20, synthetic=6)
    assert [stage.outdated for stage in collect(study).stages] == [()] * 4
    record = read_record(study.synthetic())
    assert record is not None
    values = read_json(study.synthetic() / "stage.json")
    values["outputs"]["set.json"] = "0" * 64
    write_json(study.synthetic() / "stage.json", values)
    html = render(collect(study))
    assert "Out of date: audit was made from an earlier generate" in html
    assert html.index("Out of date") < html.index('<section id="verdicts"')


def test_damaged_artefacts_are_refused_in_one_line(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", size=32, patients=20, synthetic=6)
    pairs = (study.evidence() / "pairs.json").read_text()
    (study.evidence() / "pairs.json").write_text('[{"case": "x"}, {}]')
    with pytest.raises(EvidenceError, match=r"pairs\.json is damaged"):
        write_report(study)
    (study.evidence() / "pairs.json").write_text(pairs)
    (study.evidence() / "claims.json").write_text("[{}]")
    with pytest.raises(EvidenceError, match="audit again"):
        write_report(study)
    assert not study.report.exists()


BROKEN = (
    "not JSON",
    "[1]",
    "{}",
    '[{"claim": "fidelity.kid"}]',
    '[{"claim": "fidelity.kid", "judge": null, "attribute": "", "figures": {}}]',
    '[{"claim": "fidelity.kid", "judge": "", "attribute": "", "figures": {"floor": ["x"]}}]',
    '[{"claim": "appearance", "judge": "", "attribute": "", "figures": {"spectrum": {"x": [1, 2]}}}]',
    '[{"claim": "copies.flag_rate", "judge": "", "attribute": "", "figures": {"published": {"crop": "all"}}}]',
    '[{"claim": "fairness.share", "judge": "", "attribute": "sex", "figures": '
    '{"groups": [{"group": "F", "share_real": []}]}}]',
    '[{"claim": "membership.distance", "judge": "", "attribute": "", "figures": '
    '{"members": [1], "others": [2], "exposed": {"share": 1}}}]',
)


@pytest.mark.parametrize("content", BROKEN)
def test_damaged_figures_are_refused_in_one_line(small: Study, content: str) -> None:
    with pytest.raises(
        EvidenceError, match=r"distributions\.json is damaged or of another .*; run audit again"
    ) as refusal:
        sections_with(small, content)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", ["[]", '[{"claim": "fidelity.kid", "judge": "", "attribute": "", "figures": {}}]'])
def test_figures_that_are_missing_leave_out_their_pictures_alone(small: Study, content: str) -> None:
    sections = sections_with(small, content)
    assert [section["title"] for section in sections] == [question.title for question in QUESTIONS]
    # what is drawn from the claims alone is still there
    assert [len(section["charts"]) for section in sections] == [0, 0, 0, 0, 1]


def sections_with(study: Study, content: str) -> list[dict[str, Any]]:
    """The sections of a study whose distributions.json holds `content`."""
    path = study.evidence() / "distributions.json"
    kept = path.read_text()
    path.write_text(content)
    try:
        evidence = collect(study).evidence
        assert evidence is not None
        return question_sections(evidence)
    finally:
        path.write_text(kept)


def test_evidence_of_other_rules_asks_for_a_new_audit(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", size=32, patients=20, synthetic=6)
    claims = read_json(study.evidence() / "claims.json")
    for claim in claims["claims"]:
        claim["rule_version"] = 1
        del claim["judge"], claim["attribute"]
    write_json(study.evidence() / "claims.json", claims)
    with pytest.raises(EvidenceError, match=r"rule version 1, and this is version \d+; run audit again") as refusal:
        write_report(study)
    assert "\n" not in str(refusal.value)


def test_a_training_under_way_is_shown_as_such(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", stages=STAGES[:2], size=32, patients=20)
    (study.run() / "stage.json").unlink()
    log = (study.run() / "log.jsonl").read_text().splitlines()
    (study.run() / "log.jsonl").write_text(log[0] + "\n" + log[1][:30])
    html = render(collect(study))
    assert "This training has not ended" in html
    assert 'id="training-loss-' in html


def _cases(study: Study) -> list[dict[str, str]]:
    head, *rows = (study.cohort / "cases.csv").read_text().splitlines()
    return [dict(zip(head.split(","), row.split(","), strict=True)) for row in rows]
