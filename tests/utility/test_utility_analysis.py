"""The whole analysis: planted gains are shown, nulls are not, claims honour their schema, files are checked."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from made_up_trials import ARMS, GAIN, LARGE, NULL, block, simulation, with_train

from scansynth.claims.claim import Claim
from scansynth.claims.judged import read_claims, schema, write_claims
from scansynth.claims.rules import CLAIMS, EVERY_RULE, UTILITY_RULES
from scansynth.errors import EvidenceError
from scansynth.files import write_json
from scansynth.metrics.marks import Marks
from scansynth.statistics import Verdict
from scansynth.utility.statistics.analysis import analyse
from scansynth.utility.statistics.answers import COMPARED
from scansynth.utility.statistics.froc import Detections
from scansynth.utility.statistics.groups import NOT_STATED, OTHERS, by_group, in_thirds, part_of, row_of
from scansynth.utility.statistics.outcomes import COLUMNS, Block, Scored, read_scores, stack
from scansynth.utility.statistics.results import Analysis, Terms

SHOWN, REFUTED, NOT_SHOWN, VOID = Verdict
TERMS = Terms(draws=200)
PARTS = ("calibrate", "test")


def by_name(analysis: Analysis) -> dict[str, Claim]:
    return {claim.claim: claim for claim in analysis.claims}


@pytest.fixture(scope="module")
def trial() -> Block:
    return with_train(block(GAIN), sharper=0.5)


@pytest.fixture(scope="module")
def gained(trial: Block) -> Analysis:
    groups = np.where(np.arange(len(trial.test.positive)) // 2 % 4 > 0, "F", "M")
    rare = np.where(np.arange(len(groups)) < 10, "X", "")
    other = replace(trial.test, patients=np.char.add("o", trial.test.patients))
    trial = replace(trial, external={"elsewhere": other})
    return analyse([trial], TERMS, 0, {"sex": groups.tolist(), "site": rare.tolist()})


def test_a_planted_gain_is_shown_and_the_controls_do_their_part(gained: Analysis) -> None:
    claims = by_name(gained)
    assert claims["utility.gain"].verdict is claims["utility.positive_control"].verdict is SHOWN
    assert claims["utility.false_alarms"].verdict is SHOWN
    assert claims["utility.placebo"].verdict is NOT_SHOWN
    assert all(control.passed for control in claims["utility.gain"].control)
    floor = claims["utility.gain"].floor
    assert floor is not None
    assert floor.low < 0 < floor.high
    true = LARGE.sensitivity(GAIN["basic-synthetic"]) - LARGE.sensitivity(0.0)
    interval = claims["utility.gain"].interval
    assert interval is not None
    assert interval.low <= true <= interval.high


def test_claims_honour_the_contract(gained: Analysis, tmp_path: Path) -> None:
    assert [claim.claim for claim in gained.claims] == list(COMPARED)
    assert set(COMPARED) == set(UTILITY_RULES) <= set(EVERY_RULE)
    assert not set(COMPARED) & set(CLAIMS)  # the audit asks none of it
    write_claims(tmp_path / "claims.json", gained.claims)
    jsonschema.validate(json.loads((tmp_path / "claims.json").read_text()), schema())
    assert read_claims(tmp_path / "claims.json") == gained.claims
    assert by_name(gained)["utility.positive_control"].roles == ("calibrate", "reserve", "test", "train")
    assert by_name(gained)["utility.gain"].roles == ("calibrate", "test", "train")


def test_the_analysis_is_json_and_repeatable(gained: Analysis, trial: Block, tmp_path: Path) -> None:
    write_json(tmp_path / "analysis.json", gained.as_json())
    found = json.loads((tmp_path / "analysis.json").read_text())
    assert [row["arm"] for row in found["blocks"][0]["arms"]] == list(ARMS)
    assert found["blocks"][0]["contrasts"][0]["gain"]["interval"][0] > 0
    one, two = (analyse([trial], TERMS, 7).as_json() for _ in range(2))
    assert one == two != gained.as_json()


def test_no_gain_is_not_shown_and_harm_is_refuted() -> None:
    claims = by_name(analyse([block({**NULL, "synthetic": -0.6})], TERMS, 0))
    assert claims["utility.gain"].verdict is NOT_SHOWN
    assert claims["utility.published"].verdict is REFUTED
    assert claims["utility.positive_control"].verdict is SHOWN


def test_a_failed_positive_control_voids_a_gain() -> None:
    claims = by_name(analyse([block({"basic-synthetic": 0.8})], TERMS, 0))
    assert claims["utility.gain"].verdict is claims["utility.false_alarms"].verdict is VOID
    assert claims["utility.positive_control"].verdict is NOT_SHOWN
    assert not claims["utility.gain"].control[0].passed
    assert "positive control failed" in claims["utility.gain"].why


def test_a_trial_without_controls_or_classes_ends_in_words(trial: Block) -> None:
    bare = by_name(analyse([block({"basic-synthetic": 0.8}, arms=("basic", "basic-synthetic"))], TERMS, 0))
    assert {claim.verdict for claim in bare.values()} == {VOID}
    assert "no placebo" in bare["utility.gain"].why
    empty = replace(trial, test=part_of(trial.test, ~trial.test.positive), train={})
    claims = by_name(analyse([empty], TERMS, 0))
    assert {claim.verdict for claim in claims.values()} == {VOID}
    assert claims["utility.gain"].why == "No image of the test patients is with a lesion."


def test_dose_low_data_and_families() -> None:
    trials = [
        replace(block(gains, seed=seed), fraction=fraction, ratio=ratio)
        for seed, (gains, fraction, ratio) in enumerate(
            [(GAIN, 1.0, 1.0), (NULL, 1.0, 0.25), (GAIN, 0.25, 1.0), (GAIN, 1.0, 2.0)]
        )
    ]
    test = trials[0].test
    trials = [
        replace(one, test=replace(one.test, cases=test.cases, positive=test.positive, patients=test.patients))
        for one in trials
    ]
    found = analyse(trials, TERMS, 0)
    written = found.as_json()
    assert [row["ratio"] for row in written["dose"]] == [0.25, 1.0, 2.0]
    assert [row["fraction"] for row in written["low_data"]] == [0.25, 1.0]
    alone = analyse(trials[:1], TERMS, 0)
    assert found.claims == alone.claims  # other blocks take nothing from the declared one
    own = [one.p_holm for one in analyse(trials[1:2], TERMS, 0).blocks[0].contrasts if one.p_holm is not None]
    among = [one.p_holm for one in found.blocks[1].contrasts if one.p_holm is not None]
    assert all(a >= b for a, b in zip(among, own, strict=True))


def test_blocks_with_other_test_images_are_refused(trial: Block) -> None:
    other = replace(trial, test=part_of(trial.test, np.arange(len(trial.test.positive)) > 0), ratio=2.0)
    with pytest.raises(EvidenceError, match="different images"):
        analyse([trial, other], TERMS, 0)
    with pytest.raises(EvidenceError, match="nothing to analyse"):
        analyse([], TERMS, 0)


def test_newly_caught_are_lesions_that_cross_half_of_the_pairs(gained: Analysis, trial: Block) -> None:
    caught = gained.blocks[0].caught
    newly, lost = ([row for row in caught if row.newly is side] for side in (True, False))
    assert len(newly) > 2 * len(lost)
    assert caught == (*newly, *lost)
    lesions = set(trial.test.cases[trial.test.positive].tolist())
    assert {row.case for row in caught} <= lesions
    assert all((row.by > 0.5) != (row.before > 0.5) for row in caught)
    arms = {row.arm: row for row in gained.blocks[0].arms}
    place = trial.test.cases.tolist().index(newly[0].case)
    own = trial.test.scores[trial.place("basic-synthetic"), :, place]
    assert newly[0].by == np.mean(own >= np.array(arms["basic-synthetic"].thresholds))


def test_small_groups_say_how_many_patients_are_missing(gained: Analysis) -> None:
    rows = {row.group: row for row in gained.blocks[0].groups["sex"]}
    assert set(rows) == {"F", "M"}
    assert rows["F"].gain is not None
    assert rows["F"].gain.error > gained.blocks[0].contrasts[0].gain.error * 0.9
    site = {row.group: row for row in gained.blocks[0].groups["site"]}
    assert site["X"].gain is None
    assert f"{30 - site['X'].positive_patients} are missing" in site["X"].why
    assert list(site)[-1] == NOT_STATED


def test_numbers_are_cut_in_thirds_and_names_are_not() -> None:
    ages = in_thirds([str(age) for age in range(30)] + [""])
    assert len(set(ages)) == 4
    assert ages[-1] == ""
    assert in_thirds(["1", "2", "2"]) == ("1", "2", "2")
    assert in_thirds(["a", "b", ""]) == ("a", "b", "")


def test_many_small_groups_stand_together(trial: Block) -> None:
    many = [str(place % 40) + " x" if place % 2 else "one large" for place in range(len(trial.test.positive))]
    rows = {row.group: row for row in by_group(trial, many, 0.1, 200, 0.95, np.random.default_rng(0))}
    assert set(rows) == {"one large", OTHERS}
    assert sum(row.positive_images for row in rows.values()) == trial.test.positive.sum()


def test_a_row_that_cannot_be_says_why(trial: Block) -> None:
    def row(block: Block) -> str:
        return row_of(block, block.test, "all", 0.1, 200, 0.95, np.random.default_rng(0)).why

    one = {role: replace(getattr(trial, role), scores=getattr(trial, role).scores[:, :1]) for role in PARTS}
    assert row(replace(trial, **one)) == "There is one pair only."
    assert row(replace(trial, test=part_of(trial.test, trial.test.positive))) == "No image without a lesion."
    bare = replace(trial, calibrate=part_of(trial.calibrate, trial.calibrate.positive))
    assert row(bare) == "No image of the calibrate patients is without a lesion."
    one_negative = trial.test.positive | (np.arange(len(trial.test.positive)) == np.argmin(trial.test.positive))
    assert "resamples" in row(replace(trial, test=part_of(trial.test, one_negative)))


def test_elsewhere_the_thresholds_stay(gained: Analysis) -> None:
    (row,) = gained.blocks[0].external
    assert row.group == "elsewhere"
    assert row.sensitivity["basic"].pairs == gained.blocks[0].arms[1].sensitivity.pairs  # the same scores again


def test_what_was_learned_by_heart_is_a_gap(gained: Analysis, trial: Block) -> None:
    gap = gained.blocks[0].arms[1].gap
    assert gap is not None
    assert gap.interval.low > 0
    honest = analyse([with_train(trial, 0.0)], TERMS, 0).blocks[0].arms[1].gap
    assert honest is not None
    assert honest.interval.low <= 0 <= honest.interval.high
    assert analyse([replace(trial, train={})], TERMS, 0).blocks[0].arms[1].gap is None


def test_lesions_have_curves_and_contrasts(trial: Block) -> None:
    rng, images = np.random.default_rng(0), len(trial.test.positive)
    lesion = np.flatnonzero(trial.test.positive)
    marks = tuple(
        tuple(
            Marks(trial.test.scores[arm, pair, lesion], lesion, 0.5 * rng.random(images), np.arange(images), images)
            for pair in range(5)
        )
        for arm in range(len(ARMS))
    )
    found = analyse([trial], TERMS, 0, detections={0: Detections(trial.test.patients, marks, marks[3])}).blocks[0]
    assert found.lesion_contrasts["basic-synthetic - basic"].interval.low > 0
    assert found.lesion_floor is not None
    floor = found.lesion_floor
    assert ARMS[3] == "basic-synthetic", "here a better arm's marks stand for those dealt again"
    assert (floor.dealt, floor.froc) == (found.arms[3].cpm, found.arms[3].froc)
    change = found.lesion_contrasts["basic-synthetic - basic"]
    assert (floor.beyond.value, floor.beyond.interval.high) == (-change.value, -change.interval.low)
    assert all(row.froc is not None and row.cpm is not None and 0 < row.cpm.value <= 1 for row in found.arms)
    none = Marks(np.empty(0), np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64), images)
    empty = Detections(trial.test.patients, tuple(tuple(none for _ in range(5)) for _ in ARMS), (none,) * 5)
    assert analyse([trial], TERMS, 0, detections={0: empty}).blocks[0].arms[0].froc is None


# Files of jobs


def write(path: Path, rows: list[tuple]) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])
    return path


def test_scores_are_read_by_role(tmp_path: Path) -> None:
    rows = [("c1", "p1", "test", 1, 0.9), ("c2", "p2", "calibrate", 0, 0.1), ("c3", "p1", "test", 0, 1e-9)]
    found = read_scores(write(tmp_path / "scores.csv", rows))
    assert set(found) == {"test", "calibrate"}
    assert found["test"].positive.tolist() == [True, False]
    assert found["test"].scores.tolist() == [0.9, 1e-9]


@pytest.mark.parametrize("row", [("c", "p", "test", 2, 0.5), ("c", "p", "test", 1, "much"), ("c", "p", "test", 1, "")])
def test_damaged_scores_are_refused(tmp_path: Path, row: tuple) -> None:
    with pytest.raises(EvidenceError, match="damaged"):
        read_scores(write(tmp_path / "scores.csv", [row]))
    with pytest.raises(EvidenceError, match="missing"):
        read_scores(tmp_path / "none.csv")
    with pytest.raises(EvidenceError, match="not a number"):
        read_scores(write(tmp_path / "scores.csv", [("c", "p", "test", 1, "nan")]))


def job(order: list[int], scores: list[float], cases: str = "abc") -> Scored:
    names = np.array(list(cases))
    return Scored(
        names[order], np.char.add("p", names)[order], np.array([True, False, True])[order], np.array(scores)[order]
    )


def test_jobs_are_stacked_by_case_in_whatever_order_they_wrote() -> None:
    jobs = {("basic", 0): job([0, 1, 2], [0.1, 0.2, 0.3]), ("basic", 1): job([2, 0, 1], [0.4, 0.5, 0.6])}
    part = stack(jobs, ("basic",), 2)
    assert part.scores[0].tolist() == [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
    assert part.cases.tolist() == ["a", "b", "c"]
    with pytest.raises(EvidenceError, match=r"1 jobs are missing \(basic, pair 2"):
        stack(jobs, ("basic",), 3)
    with pytest.raises(EvidenceError, match="other images"):
        stack({**jobs, ("basic", 1): job([0, 1, 2], [0.1, 0.2, 0.3], "abd")}, ("basic",), 2)


def test_a_plain_trial_of_the_benchmark_has_names() -> None:
    assert simulation.ARMS[:3] == ("basic", "synthetic", "basic-synthetic")
