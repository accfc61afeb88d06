"""The whole analysis: each verdict by a study that earns it, nothing hidden, nothing mixed."""

from __future__ import annotations

import datetime
import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from made_readings import BEGUN, rows, study

from scansynth.claims.judged import read_claims, schema, write_claims
from scansynth.errors import ReaderError
from scansynth.files import read_json, write_json
from scansynth.reader.statistics.absent import about_absent
from scansynth.reader.statistics.analysis import Analysis, Protocol, analyse, distance, read_protocol_values
from scansynth.reader.statistics.arrival import impossible, longest
from scansynth.reader.statistics.controls import found_when_planted, plant
from scansynth.reader.statistics.counting import counting
from scansynth.reader.statistics.mrmc import average
from scansynth.reader.statistics.readings import Reading, table
from scansynth.reader.statistics.roc import placements
from scansynth.reader.statistics.simulation import World
from scansynth.reader.statistics.strata import LEAST_IMAGES
from scansynth.reader.statistics.verdict import Outcome
from scansynth.statistics import Interval, Verdict


def protocol(readers: int = 6, images: int = 120, margin: float = 0.1, override: str = "") -> Protocol:
    return Protocol(margin, 0.95, readers, images, 40, override)


def outcome(readings: list[Reading], asked: Protocol) -> Analysis:
    found = analyse(readings, asked)
    json.dumps(found.as_json(), allow_nan=False)
    return found


@pytest.mark.parametrize(
    ("world", "readers", "images", "margin", "expected", "verdict"),
    [
        (World(0.5, 0.0), 8, 400, 0.1, Outcome.EQUIVALENT, Verdict.SHOWN),
        (World(0.58, 0.0), 8, 400, 0.2, Outcome.WITHIN, Verdict.SHOWN),
        (World(0.8, 0.05), 6, 120, 0.1, Outcome.DISTINGUISHABLE, Verdict.REFUTED),
        (World(0.2, 0.05), 6, 120, 0.1, Outcome.DISTINGUISHABLE, Verdict.REFUTED),
        (World(0.5, 0.2), 4, 60, 0.1, Outcome.INCONCLUSIVE, Verdict.NOT_SHOWN),
    ],
)
def test_each_verdict_is_reached_by_a_study_that_earns_it(
    world: World, readers: int, images: int, margin: float, expected: Outcome, verdict: Verdict
) -> None:
    found = outcome(study(world, readers, images), protocol(readers, images, margin))
    assert found.decision.outcome is expected
    assert found.claim.verdict is verdict
    assert found.claim.margin == margin
    assert found.claim.roles == ("test",)


def test_a_study_without_real_images_is_not_assessable_f_missing() -> None:
    readings = [one for one in study(World(0.6)) if one.synthetic]
    found = outcome(readings, protocol(images=60))
    assert found.decision.outcome is Outcome.NOT_ASSESSABLE
    assert found.decision.why.startswith("F is missing")
    assert found.claim.verdict is Verdict.NOT_ASSESSABLE
    assert all(row["verdict"]["why"].startswith("F is missing") for row in found.readers)


def test_with_two_readers_each_is_reported_and_nothing_is_said_of_others() -> None:
    found = outcome(study(World(0.9), readers=2), protocol(readers=2))
    assert found.decision.outcome is Outcome.NOT_ASSESSABLE
    assert "conclusion about readers in general" in found.decision.why
    assert [row["verdict"]["outcome"] for row in found.readers] == ["distinguishable"] * 2
    assert any("Two readers" in note for note in found.notes)


def test_one_reader_is_a_study_of_one() -> None:
    found = outcome(study(World(0.9), readers=1), protocol(readers=1))
    assert found.decision.outcome is Outcome.NOT_ASSESSABLE
    assert found.primary is None
    assert found.readers[0]["verdict"]["outcome"] == "distinguishable"
    assert found.beside["agreement"]["between"] is None


def test_a_reader_who_left_late_counts_with_what_was_read() -> None:
    everything = study(World(0.8))
    readings = [one for one in everything if one.reader != "r03" or one.position <= 80]
    found = outcome(readings, protocol())
    assert found.decision.outcome is Outcome.DISTINGUISHABLE
    assert [row["finished"] for row in found.readers] == [True, True, False, True, True, True]
    assert all(row["counts"] for row in found.readers)
    assert (found.n["readers"], found.n["readers who read all"]) == (6, 5)
    assert "That reader answered at least 50% of the images and counts with what was answered." in found.notes[0]
    # the mean of the readers' AUCs, each of what the reader saw
    assert found.primary is not None
    assert found.primary["auc"] == pytest.approx(np.mean([row["auc"] for row in found.readers]))


def test_a_reader_who_left_early_does_not_count_and_voids_nothing() -> None:
    everything = study(World(0.8))
    readings = [one for one in everything if one.reader != "r03" or one.position <= 50]
    found = outcome(readings, protocol())
    without = outcome([one for one in everything if one.reader != "r03"], protocol(5))
    assert found.decision == without.decision
    assert found.primary is not None
    assert without.primary is not None
    assert found.primary["interval"] == without.primary["interval"]
    assert [row["counts"] for row in found.readers] == [True, True, False, True, True, True]
    assert "That reader is no part of the primary result." in found.notes[0]


def test_readers_who_were_set_aside_do_not_count_however_much_they_read() -> None:
    readings = study(World(0.8))
    found = outcome(readings, replace(protocol(), excluded=("r02",)))
    assert [row["counts"] for row in found.readers] == [True, False, True, True, True, True]
    alone = outcome([one for one in readings if one.reader != "r02"], protocol(5))
    assert found.decision.interval == alone.decision.interval
    assert not any("did not read all" in note for note in found.notes), "the reader has read all images"


def test_too_few_readers_who_count_support_no_verdict_on_others() -> None:
    readings = [one for one in study(World(0.8), 3) if one.reader != "r03" or one.position <= 20]
    found = outcome(readings, protocol(3))
    assert found.decision.outcome is Outcome.NOT_ASSESSABLE
    assert "2 of at least 3 readers" in found.decision.why


def test_readers_who_always_say_the_same_show_no_equivalence() -> None:
    readings = study(World(0.5), 8, 400)
    asked = protocol(8, 400)
    assert outcome(readings, asked).decision.outcome is Outcome.EQUIVALENT
    lazy = [replace(one, answer=3) for one in readings]
    found = outcome(lazy, asked)
    assert found.decision.outcome is Outcome.NOT_ASSESSABLE
    assert "might not have detected" in found.decision.why
    assert found.readers[0]["verdict"]["outcome"] == "not assessable"
    one_lazy = [replace(one, answer=3) if one.reader == "r01" else one for one in readings]
    assert outcome(one_lazy, asked).decision.outcome is Outcome.NOT_ASSESSABLE


def test_answers_without_looking_show_no_equivalence_but_take_no_difference_away() -> None:
    quick = [replace(one, seconds=0.7) for one in study(World(0.5), 8, 400)]
    assert outcome(quick, protocol(8, 400)).decision.outcome is Outcome.NOT_ASSESSABLE
    seen = [replace(one, seconds=0.7) for one in study(World(0.8))]
    found = outcome(seen, protocol())
    assert found.decision.outcome is Outcome.DISTINGUISHABLE
    assert any("Some controls failed" in note for note in found.notes)


def at(seconds: float) -> str:
    return (BEGUN + datetime.timedelta(seconds=seconds)).isoformat()


def test_times_that_the_servers_clock_denies_do_not_count_as_looking() -> None:
    """180 answers of "25 s" that arrive within a third of a second."""
    honest = study(World(0.5), 8, 400)
    assert outcome(honest, protocol(8, 400)).decision.outcome is Outcome.EQUIVALENT
    told = [replace(one, seconds=25.0, locked_at=at(0.33 * one.position / 420)) for one in honest]
    found = outcome(told, protocol(8, 400))
    assert found.decision.outcome is Outcome.NOT_ASSESSABLE
    assert "of looking or more: 0%" in found.decision.why
    assert "answers of r01 report more time than passed on the server" in " ".join(found.notes)


def test_answers_that_waited_for_the_network_count_in_full() -> None:
    first, second, third, fourth = sorted(rows(np.full((1, 4), 3), np.arange(4) < 2), key=lambda one: one.position)
    moments = (0.0, 40.0, 40.1, 41.0)  # the second and third arrive together: 20 s and 19 s of 40
    times = (9.0, 20.0, 19.0, 8.0)
    given = [
        replace(one, seconds=seconds, locked_at=at(moment))
        for one, seconds, moment in zip((first, second, third, fourth), times, moments, strict=True)
    ]
    most = [longest(given)["r01", one.item] for one in given]
    assert most[:2] == [math.inf, math.inf]
    assert most[2] == pytest.approx(0.1 + 20.0)
    assert most[3] == pytest.approx(0.9)
    assert impossible(given) == {"r01": 1}


def test_what_is_said_of_missing_readers_fits_their_numbers() -> None:
    """A grid of readers who were invited, began, left late and left early; each number in the note is counted anew."""
    whole = study(World(0.5), 4, 40)
    for seats, never, early, late in itertools.product((0, 5), range(3), range(3), range(3)):
        began = 4 - never
        if early + late > began:
            continue
        last = {f"r{n + 1:02d}": 10 if n < early else 36 if n < early + late else 999 for n in range(began)}
        kept = [one for one in whole if one.reader in last and one.position <= last[one.reader]]
        notes = about_absent(kept, counting(kept, 40), max(4, seats), 40)
        everyone = max(seats, 4)
        absent, never_began = everyone - began + early + late, everyone - began
        if not absent:
            assert notes == []
            continue
        (note,) = notes
        assert note.startswith(f"{absent} of {everyone} readers did not read all images")
        assert ("none of them began" in note or "that reader never began" in note) == (never_began == absent)
        assert (f"({never_began} of them never began)" in note) == (0 < never_began < absent)
        who = "That reader" if absent == 1 else "All of them" if late == absent else f"{late} of them"
        assert (f". {who} answered at least 50% of the images and count" in note) == (late > 0)
        assert ("part of the primary result" in note) == (late == 0 and never_began < absent)
        assert "1 readers" not in note


def test_an_overridden_probe_is_printed() -> None:
    found = outcome(study(World(0.5)), protocol(override="A. Head; no other scans"))
    assert any("A. Head; no other scans" in note for note in found.notes)
    told = replace(protocol(override="A. Head"), refused="It is not known whether traces reveal them.")
    note = next(note for note in outcome(study(World(0.5)), told).notes if "A. Head" in note)
    assert "refused this study: It is not known whether traces reveal them. It was run anyway" in note
    assert "found traces" not in note
    assert "A. Head" in found.claim.why


def test_the_order_of_rows_changes_nothing() -> None:
    readings = study(World(0.6, 0.1))
    shuffled = [readings[place] for place in np.random.default_rng(3).permutation(len(readings))]
    assert outcome(shuffled, protocol()).as_json() == outcome(readings, protocol()).as_json()


def test_the_machine_stands_beside_and_changes_no_figure() -> None:
    readings = study(World(0.6, 0.1))
    machine = {"reader": "machine reader (a neural network, not a person)", "auc": 0.99}
    with_it, without = analyse(readings, protocol(), machine).as_json(), analyse(readings, protocol()).as_json()
    assert with_it.pop("machine") == machine
    assert without.pop("machine") is None
    assert with_it == without


def test_repeats_do_not_count_in_the_primary_result() -> None:
    readings = study(World(0.6, 0.1))
    alone = [one for one in readings if not one.repeat_of]
    with_them, without = outcome(readings, protocol()), outcome(alone, protocol())
    assert with_them.primary == without.primary
    assert with_them.beside["agreement"]["within"] is not None
    assert without.beside["agreement"]["within"] is None
    assert without.n["repeated answers"] == 0


def test_the_primary_result_is_the_two_way_analysis() -> None:
    readings = study(World(0.6, 0.1))
    whole = table(readings)
    expected, found = average(whole.answers, whole.synthetic), outcome(readings, protocol())
    assert found.primary is not None
    assert found.primary["auc"] == expected.general.auc
    interval = expected.general.interval(0.95)
    assert found.primary["interval"] == [interval.low, interval.high]
    assert found.primary["floor"]["mean"] < 0.05
    assert [row["auc"] for row in found.readers] == pytest.approx(placements(whole.answers, whole.synthetic).auc)


def test_the_claim_is_written_and_read_back(tmp_path: Path) -> None:
    found = analyse(study(World(0.8)), protocol(), inputs={"readings.csv": "ab" * 32})
    write_claims(tmp_path / "claims.json", (found.claim,))
    assert read_claims(tmp_path / "claims.json") == (found.claim,)
    jsonschema.validate(read_json(tmp_path / "claims.json"), schema())
    write_json(tmp_path / "analysis.json", found.as_json())
    assert read_json(tmp_path / "analysis.json")["verdict"]["outcome"] == "distinguishable"


def test_the_distance_from_chance_has_the_interval_of_the_auc() -> None:
    for low, high, expected in ((0.55, 0.7, (0.05, 0.2)), (0.3, 0.45, (0.05, 0.2)), (0.46, 0.57, (0.0, 0.07))):
        found = distance(Interval(low, high))
        assert (found.low, found.high) == pytest.approx(expected)


def test_labels_and_groups_that_are_too_small_are_not_assessable() -> None:
    readings = study(World(0.7, 0.05))
    real = sorted({one.case for one in readings if not one.synthetic})
    attributes = {case: {"sex": "F" if number < 40 else "M"} for number, case in enumerate(real)}
    found = analyse(readings, protocol(), attributes=attributes).beside
    assert set(found["labels"]) == {"nodule", "none"}
    assert all(row["auc"] > 0.5 for row in found["labels"].values())
    groups = found["groups"]["sex"]
    assert groups["F"]["real"] == 40
    assert groups["F"]["auc"] is not None
    assert groups["M"]["real"] == 20 < LEAST_IMAGES
    assert groups["M"]["auc"] is None
    assert groups["M"]["why"].startswith("not assessable")
    assert groups["M"]["F"] is not None


def test_a_planted_group_that_is_taken_for_synthetic_stands_out() -> None:
    readings = [
        replace(one, answer=6) if not one.synthetic and int(one.case[4:]) % 2 == 0 else one
        for one in study(World(0.5), 6, 160)
    ]
    attributes = {
        one.case: {"site": "a" if int(one.case[4:]) % 2 == 0 else "b"} for one in readings if not one.synthetic
    }
    groups = analyse(readings, protocol(images=160), attributes=attributes).beside["groups"]["site"]
    assert groups["a"]["F"] == 1.0
    assert groups["b"]["F"] < 0.7


def test_images_that_fooled_all_and_none_are_named() -> None:
    answers = np.full((4, 40), 3)
    truth = np.arange(40) < 20
    answers[:, 5], answers[:, 6], answers[:, 30] = 1, 6, 6
    found = analyse(rows(answers, truth), protocol(4, 40)).beside["images"]
    assert found["synthetic_fooled_most"][0]["case"] == "case005"
    assert [row["case"] for row in found["synthetic_fooled_none"]] == ["case006"]
    assert found["real_fooled_most"][0]["case"] == "case030"
    assert len(found["real_fooled_most"]) == 1


def test_the_second_question_is_told_by_class_and_label() -> None:
    found = analyse(study(World(0.5)), protocol()).beside["second_question"]
    assert sum(row["answers"] for row in found) == 6 * 120
    assert all(set(row["options"]) <= {"1", "2"} for row in found)


def test_a_planted_difference_has_the_auc_that_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    answers, truth = rng.integers(1, 1001, (1, 40_000)), np.arange(40_000) < 20_000
    for wanted in (0.1, 0.2, 0.3, 0.4):
        planted = plant(answers, truth, wanted, rng)
        assert float(placements(planted, truth).auc[0]) == pytest.approx(0.5 + wanted, abs=0.01)
        assert (planted[:, ~truth] == answers[:, ~truth]).all()


def test_the_planted_difference_is_found_in_a_large_study_and_missed_in_a_tiny_one() -> None:
    large, tiny = table(study(World(0.5), 6, 200)), table(study(World(0.5), 3, 12, repeated=2))
    assert found_when_planted(large, 0.1, 0.95, np.random.default_rng(0)).passed
    assert not found_when_planted(tiny, 0.1, 0.95, np.random.default_rng(0)).passed


def test_the_protocol_is_read_and_refused_when_it_lacks_something() -> None:
    values = {"margin": 0.1, "level": 0.95, "readers": 5, "images": 200, "break_every": 40, "override": None}
    assert read_protocol_values(values) == Protocol(0.1, 0.95, 5, 200, 40, "")
    told = read_protocol_values({**values, "override": {"name": "A. Head", "reason": "no other scans"}})
    assert told.override == "A. Head; no other scans"
    told = read_protocol_values({**values, "override": {"name": "A. Head", "reason": "x", "refused": "Not known."}})
    assert (told.override, told.refused) == ("A. Head; x", "Not known.")
    for changed in ({"margin": 0.7}, {"level": "high"}, {"readers": 0}):
        with pytest.raises(ReaderError, match=r"protocol\.json"):
            read_protocol_values({**values, **changed})
    with pytest.raises(ReaderError, match="margin"):
        read_protocol_values({"level": 0.95})


def test_no_reading_is_no_study() -> None:
    with pytest.raises(ReaderError, match="there are no readings"):
        analyse([], protocol())


def test_no_verdict_is_given_by_chance_more_often_than_stated() -> None:
    # readers who guess, and differ: "distinguishable" in about 5% of studies
    wrong = 0
    for run in range(150):
        whole = table(study(World(0.5, 0.1), 5, 60, seed=run, repeated=0))
        interval = average(whole.answers, whole.synthetic).general.interval(0.95)
        wrong += not interval.low <= 0.5 <= interval.high
    assert wrong / 150 <= 0.10
