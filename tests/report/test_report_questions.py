"""The sentence follows the verdicts, and what differs between judges is said."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from fake_evidence import ATTRIBUTES, claim, everything

from scansynth.audit.encoders import FIXED, LEARNED, OWN
from scansynth.claims.claim import Claim
from scansynth.claims.judged import judged
from scansynth.claims.questions import HOUSE, QUESTIONS, overall
from scansynth.claims.rules import RULES
from scansynth.report.audit.words import WORDINGS, WORDS, Answer, answers, disagreement
from scansynth.statistics import Verdict

SHOWN, REFUTED, OPEN, VOID = Verdict.SHOWN, Verdict.REFUTED, Verdict.NOT_SHOWN, Verdict.NOT_ASSESSABLE


def of(*claims: Claim, name: str) -> Answer:
    return next(answer for answer in answers(judged(claims)) if answer.question.name == name)


def test_every_claim_of_the_rules_has_words_and_one_question() -> None:
    assert set(WORDS) == set(RULES)
    assert list(WORDINGS) == [question.name for question in QUESTIONS]
    for name in RULES:
        assert sum(name.partition(".")[0] in question.families for question in (*QUESTIONS, HOUSE)) == 1
    placed = [number for answer in answers(judged(everything({}))) for number, _ in answer.claims]
    of_images = [number for number, claim in enumerate(everything({}), start=1) if not HOUSE.holds(claim)]
    assert sorted(placed) == of_images


@pytest.mark.parametrize("verdicts", [*itertools.product(Verdict), *itertools.product(Verdict, repeat=3)])
def test_the_rule_of_the_answer(verdicts: tuple[Verdict, ...]) -> None:
    found = overall(verdicts)
    assert (found is REFUTED) == (REFUTED in verdicts)
    assert (found is SHOWN) == (set(verdicts) == {SHOWN})
    assert (found is VOID) == (set(verdicts) == {VOID})
    assert overall(reversed(verdicts)) is found


def test_a_refuted_claim_is_named_whatever_else_is_shown() -> None:
    answer = of(
        claim("fidelity.kid", SHOWN, FIXED),
        claim("fidelity.kid", REFUTED, LEARNED),
        claim("fidelity.precision", SHOWN, FIXED),
        name="realism",
    )
    assert answer.verdict is REFUTED
    assert answer.sentence == "No: the set as a whole differs from scans of new patients."
    assert answer.tally == [(SHOWN, 2), (REFUTED, 1)]


def test_all_shown_gives_the_good_sentence() -> None:
    for question in QUESTIONS:
        rows = [claim(name, SHOWN) for name in RULES if name.partition(".")[0] in question.families]
        answer = of(*rows, name=question.name)
        assert (answer.verdict, answer.sentence) == (SHOWN, WORDINGS[question.name].good)


def test_what_is_open_is_named() -> None:
    answer = of(
        claim("diversity.coverage", OPEN, FIXED),
        claim("diversity.recall", VOID, FIXED),
        claim("diversity.vendi", SHOWN, FIXED),
        name="variety",
    )
    assert answer.verdict is OPEN
    assert answer.sentence == (
        "Not settled: the data are inconclusive on how many kinds of patients are covered; "
        "1 claim could not be assessed; 1 claim is shown."
    )


def test_nothing_assessable_gives_the_reason_when_all_share_it() -> None:
    rows = [claim(name, VOID) for name in RULES if name.startswith("telltales.")]
    assert of(*rows, name="traces").sentence == f"This could not be assessed. {rows[0].why}"
    other = replace(rows[1], why="No files.")
    assert "stand with each" in of(rows[0], other, name="traces").sentence
    assert of(name="traces").verdict is VOID
    assert "not assessed" in of(name="traces").sentence


def test_attributes_are_named_once_each_and_long_lists_are_counted() -> None:
    rows = [claim("fairness.share", REFUTED, attribute=attribute) for attribute in ATTRIBUTES[:2]]
    sentence = of(*rows, name="groups").sentence
    assert sentence == "Not all are represented alike: groups appear too often or too rarely (by sex and age band)."
    many = [claim(name, REFUTED) for name in RULES if name.startswith("diversity.")]
    assert "and 3 more." in of(*many, name="variety").sentence


def test_judges_who_disagree_are_said_to() -> None:
    rows = [claim("diversity.vendi", SHOWN, FIXED), claim("diversity.vendi", REFUTED, LEARNED)]
    assert disagreement(rows) == (
        "The two feature encoders disagree on the number of distinct images "
        "(fixed filters: shown; learned encoder: refuted)."
    )
    third = claim("diversity.vendi", SHOWN, OWN)
    assert disagreement([*rows, third]).startswith("The three feature encoders")


@pytest.mark.parametrize("other", [SHOWN, VOID])
def test_judges_who_agree_or_cannot_judge_do_not_disagree(other: Verdict) -> None:
    assert disagreement([claim("diversity.vendi", SHOWN, FIXED), claim("diversity.vendi", other, LEARNED)]) == ""
    # two claims are not two judges
    assert disagreement([claim("diversity.vendi", SHOWN, FIXED), claim("diversity.recall", REFUTED, FIXED)]) == ""


def test_an_attribute_is_not_a_judge() -> None:
    rows = [
        claim("fairness.share", verdict, attribute=name)
        for verdict, name in zip((SHOWN, REFUTED), ATTRIBUTES[:2], strict=True)
    ]
    assert disagreement(rows) == ""
