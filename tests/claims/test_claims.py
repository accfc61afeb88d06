from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from scansynth.claims.claim import (
    Control,
    Floor,
    Measurement,
    decide,
    floor_of,
    not_assessable,
    percent,
    sensible,
    stated,
)
from scansynth.claims.judged import judged, read_claims, read_judged, schema, write_claims
from scansynth.claims.questions import HOUSE, QUESTIONS, READERS, UTILITY
from scansynth.claims.rules import CLAIMS, RULE_VERSION, RULES
from scansynth.errors import EvidenceError
from scansynth.files import read_json, write_json
from scansynth.statistics import Interval, Verdict

MEASURED = Measurement(
    value=0.01,
    interval=Interval(0.0, 0.02),
    level=0.95,
    floor=Floor("halves", -0.01, 0.0, 0.01, 200),
    control=(Control("blur", 0.9, 0.8),),
    margin=0.03,
    n={"synthetic images": 100},
)
WHY = {kind: str(kind) for kind in Verdict}
REFUTED = Verdict.REFUTED
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "evidence.md"


def test_the_verdict_follows_the_figures() -> None:
    assert decide("fidelity.kid", MEASURED, WHY).verdict is Verdict.SHOWN
    worse = replace(MEASURED, interval=Interval(0.04, 0.05))
    assert decide("fidelity.kid", worse, WHY).verdict is Verdict.REFUTED
    assert decide("diversity.near_pairs", worse, WHY).verdict is Verdict.SHOWN
    wide = replace(MEASURED, interval=Interval(0.0, 0.05))
    assert decide("fidelity.kid", wide, WHY).verdict is Verdict.NOT_SHOWN


FLOOR = Floor("halves", 0.02, 0.05, 0.08, 200)  # real images against real ones beyond the margin of 0.03


@pytest.mark.parametrize(
    ("value", "interval", "verdict"),
    [
        (0.01, (0.0, 0.02), Verdict.SHOWN),  # a false alarm takes nothing from silence
        (0.03, (0.0, 0.05), Verdict.NOT_SHOWN),
        (0.06, (0.04, 0.08), Verdict.NOT_ASSESSABLE),
        (0.20, (0.15, 0.25), Verdict.REFUTED),  # worse than real images are
    ],
)
def test_a_false_alarm_on_real_images_takes_a_finding_away(value: float, interval: tuple, verdict: Verdict) -> None:
    measured = replace(MEASURED, value=value, interval=Interval(*interval), floor=FLOOR)
    claim = decide("fidelity.kid", measured, WHY)
    assert claim.verdict is verdict
    assert ("Real images against real images" in claim.why) is (verdict is Verdict.NOT_ASSESSABLE)


def test_a_false_alarm_lies_on_the_wrong_side_whichever_that_is() -> None:
    low = Floor("halves", 0.5, 0.6, 0.7, 200)
    measured = replace(MEASURED, value=0.6, interval=Interval(0.55, 0.65), margin=0.8, floor=low)
    assert decide("diversity.near_pairs", measured, WHY).verdict is Verdict.NOT_ASSESSABLE
    worse = replace(measured, value=0.3, interval=Interval(0.2, 0.4))
    assert decide("diversity.near_pairs", worse, WHY).verdict is REFUTED
    right = replace(measured, floor=replace(low, low=0.9, mean=1.0, high=1.1))
    assert decide("diversity.near_pairs", right, WHY).verdict is REFUTED


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [((0.0, 0.02), Verdict.NOT_ASSESSABLE), ((0.0, 0.05), Verdict.NOT_ASSESSABLE), ((0.04, 0.05), REFUTED)],
)
def test_a_missed_plant_takes_everything_but_a_finding_away(interval: tuple, verdict: Verdict) -> None:
    missed = replace(MEASURED, interval=Interval(*interval), control=(Control("noise", 0.5, 0.8),))
    claim = decide("fidelity.kid", missed, WHY)
    assert claim.verdict is verdict
    assert "noise: 50% found, 80% needed" in claim.why
    assert ("a fault that was found stands" in claim.why) is (verdict is REFUTED)


def test_a_failed_control_takes_the_verdict_away_and_says_which() -> None:
    missed = replace(MEASURED, control=(Control("blur", 0.9, 0.8), Control("noise", 0.5, 0.8)))
    claim = decide("fidelity.kid", missed, WHY)
    assert claim.verdict is Verdict.NOT_ASSESSABLE
    assert "noise: 50% found" in claim.why
    assert "blur" not in claim.why


def test_claims_come_back_as_written_and_fit_the_schema(tmp_path: Path) -> None:
    claims = (
        decide("copies.flag_rate", MEASURED, WHY),
        not_assessable("fidelity.kid", "Too few.", {"synthetic images": 3}),
    )
    write_claims(tmp_path / "claims.json", claims)
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(read_json(tmp_path / "claims.json"), schema())
    assert read_claims(tmp_path / "claims.json") == claims


@pytest.mark.parametrize(("key", "value"), [("verdict", "fine"), ("value", None), ("interval", [1]), ("extra", 1)])
def test_the_schema_refuses_what_is_no_claim(key: str, value: object) -> None:
    row = decide("fidelity.kid", MEASURED, WHY).as_row() | {key: value}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"questions": [], "claims": [row]}, schema())


def test_the_verdict_of_each_question_stands_beside_its_claims(tmp_path: Path) -> None:
    path = tmp_path / "claims.json"
    refuted = replace(MEASURED, interval=Interval(0.04, 0.05))
    claims = (decide("fidelity.kid", refuted, WHY), decide("copies.flag_rate", MEASURED, WHY))
    write_claims(path, claims)
    assert read_json(path)["questions"] == [
        {"name": "realism", "question": QUESTIONS[0].title, "verdict": "refuted"},
        {"name": "copies", "question": QUESTIONS[2].title, "verdict": "shown"},
    ]
    assert read_judged(path) == judged(claims)


def test_the_main_comparison_alone_answers_for_the_trial() -> None:
    harm, gain = (stated(name, REFUTED, "x", MEASURED) for name in ("utility.placebo", "utility.gain"))
    assert judged([harm, not_assessable("utility.gain", "x", {})]).verdicts == {UTILITY.name: Verdict.NOT_ASSESSABLE}
    assert judged([gain]).verdicts == {UTILITY.name: REFUTED}
    assert judged([decide("reader.indistinguishable", MEASURED, WHY)]).verdicts == {READERS.name: Verdict.SHOWN}


@pytest.mark.parametrize("change", ["verdict", "missing", "other"])
def test_verdicts_that_the_claims_do_not_come_to_are_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "claims.json"
    write_claims(path, [decide("fidelity.kid", MEASURED, WHY)])
    content = read_json(path)
    question = content["questions"][0]
    content["questions"] = {
        "verdict": [{**question, "verdict": "refuted"}],
        "missing": [],
        "other": [{**question, "name": "copies"}],
    }[change]
    write_json(path, content)
    with pytest.raises(EvidenceError, match="run audit again"):
        read_claims(path)


def test_claims_of_other_rules_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "claims.json"
    row = decide("fidelity.kid", MEASURED, WHY).as_row() | {"rule_version": RULE_VERSION - 1}
    for content in ([row], {"questions": [], "claims": [row]}):
        write_json(path, content)
        with pytest.raises(EvidenceError, match=rf"rule version {RULE_VERSION - 1}, .*; run audit again") as refusal:
            read_claims(path)
        assert "\n" not in str(refusal.value)


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "claims.json").write_text('[{"claim": 3}]')
    with pytest.raises(EvidenceError, match="run audit again") as refusal:
        read_claims(tmp_path / "claims.json")
    assert "\n" not in str(refusal.value)


def test_a_verdict_needs_its_figures() -> None:
    with pytest.raises(ValueError, match="without its figures"):
        replace(not_assessable("fidelity.kid", "x", {}), verdict=Verdict.SHOWN)
    with pytest.raises(ValueError, match="no claim"):
        replace(not_assessable("fidelity.kid", "x", {}), claim="fidelity.feeling")


def test_every_claim_and_the_version_stand_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in CLAIMS:
        assert f"\n## {name}: {RULES[name].question}\n" in text
    assert f"rule version {RULE_VERSION}" in text
    for verdict in Verdict:
        assert f"`{verdict.value}`" in text


def test_readme_and_rules_ask_the_questions_of_the_report() -> None:
    readme, page = (ROOT / "README.md").read_text(encoding="utf-8"), PAGE.read_text(encoding="utf-8")
    for question in QUESTIONS:
        families = ", ".join(f"`{family}.*`" for family in question.families)
        assert f"| {question.title} | " in readme
        assert f"{families} |\n" in readme
        assert f"| {question.title} | {families} |" in page
    assert {name.partition(".")[0] for name in CLAIMS} == {family for q in (*QUESTIONS, HOUSE) for family in q.families}


def test_error_rates_on_the_page_are_those_of_the_results() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = read_json(ROOT / "docs" / "results" / "copies_error_rates.json")["rows"]
    assert rows
    for row in rows:
        rates = " | ".join(percent(row[verdict]) for verdict in ("shown", "not shown", "refuted"))
        start = f"| {row['calibrate_patients']} | {row['images_each']} | {row['share_of_copies']:.0%} |"
        assert f"{start} {rates} |" in text


def test_floor_is_the_middle_of_the_draws() -> None:
    floor = floor_of("x", np.arange(101.0))
    assert (floor.low, floor.mean, floor.high, floor.draws) == (5.0, 50.0, 95.0, 101)


def test_figures_are_rounded_for_people() -> None:
    assert [sensible(v) for v in (0, 1e-6, 0.01234, 0.5, 1.2345, 12.345, -123.4)] == [
        "0", "0", "0.0123", "0.500", "1.23", "12.3", "-123",
    ]  # fmt: skip
    assert [percent(v) for v in (0, 0.012, 0.0996, 0.5)] == ["0%", "1.2%", "10%", "50%"]
