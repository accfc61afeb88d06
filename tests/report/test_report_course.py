"""The course of a training on the page: what stands, what was given up, how it ended."""

from __future__ import annotations

import itertools
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_study import make_study

from scansynth.files import read_json, read_json_lines, write_json, write_json_lines
from scansynth.gan.watching.health import CRITICAL
from scansynth.recipe import Change
from scansynth.report.collect import TrainingView, collect
from scansynth.report.figures.words import CHANGES
from scansynth.report.render import render
from scansynth.report.training.course import Course, Event, Kind, read_course, standing
from scansynth.report.training.curves import training_charts
from scansynth.report.training.words import EVENTS_LISTED, ending, event_rows, facts_rows
from scansynth.study import Study

LEVELS = ("warming", "healthy", "warning", "critical")


def back(attempt: int, images: int, left_at: int = 0, change: str = "replay") -> Event:
    return Event(Kind.BACK, images, attempt, change=change, left_at=left_at)


def rows(*spans: tuple[int, int, int]) -> list[dict[str, Any]]:
    """A line at each thousand images of each (attempt, first, last)."""
    return [
        {"attempt": attempt, "images": 1000 * step, "seconds": float(step), "diversity": attempt + step / 100}
        for attempt, first, last in spans
        for step in range(first, last + 1)
    ]


def write_run(folder: Path, log: list[dict[str, Any]], events: list[dict[str, Any]]) -> None:
    write_json_lines(folder / "log.jsonl", log)
    write_json_lines(folder / "alarms.jsonl", events)


def roll_back(attempt: int, images: int, left_at: int) -> dict[str, Any]:
    return {"event": "roll-back", "change": "rate", "left_at": left_at, "images": images, "attempt": attempt}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("course") / "study", size=32, patients=20, synthetic=6)


@pytest.fixture(scope="module")
def training(study: Study) -> TrainingView:
    found = collect(study).training
    assert found is not None
    return found


# What stands


def test_without_roll_backs_everything_stands(tmp_path: Path) -> None:
    write_run(tmp_path, rows((1, 1, 9)), [])
    course = read_course(tmp_path)
    assert course.log["images"].tolist() == [1000.0 * step for step in range(1, 10)]
    assert course.given_up == ()
    assert course.roll_backs == ()


def test_what_a_roll_back_gave_up_stands_apart_and_begins_where_it_left_the_curve(tmp_path: Path) -> None:
    write_run(tmp_path, rows((1, 1, 6), (2, 4, 8)), [roll_back(2, 3000, 6000)])
    course = read_course(tmp_path)
    assert course.log["images"].tolist() == [1000.0 * step for step in range(1, 9)]
    assert course.log["attempt"].tolist() == [1, 1, 1, 2, 2, 2, 2, 2]
    (part,) = course.given_up
    assert part["images"].tolist() == [3000, 4000, 5000, 6000]
    assert set(part["attempt"]) == {1}


def test_a_part_that_was_given_up_begins_on_its_own_line_though_that_was_given_up_too(tmp_path: Path) -> None:
    # the second attempt went on from 5,000; the third went back further, to 2,000
    write_run(tmp_path, rows((1, 1, 6), (2, 6, 8), (3, 3, 9)), [roll_back(2, 5000, 6000), roll_back(3, 2000, 8000)])
    course = read_course(tmp_path)
    assert course.log["attempt"].tolist() == [1, 1, 3, 3, 3, 3, 3, 3, 3]
    first, second = course.given_up
    assert first["images"].tolist() == [2000, 3000, 4000, 5000, 6000]
    assert second["images"].tolist() == [5000, 6000, 7000, 8000]
    assert second["attempt"].tolist() == [1, 2, 2, 2]


def test_an_attempt_without_a_line_gives_up_what_it_left_all_the_same(tmp_path: Path) -> None:
    write_run(tmp_path, rows((1, 1, 6)), [roll_back(2, 3000, 6000)])
    course = read_course(tmp_path)
    assert course.log["images"].tolist() == [1000, 2000, 3000]
    write_run(tmp_path, rows((1, 1, 6)), [roll_back(2, 0, 6000)])
    course = read_course(tmp_path)
    assert course.log["images"].tolist() == []
    assert len(course.given_up[0]["images"]) == 6
    assert [chart.title for chart in training_charts(course)] == ["Variety"]


def test_standing_gives_back_the_very_rows() -> None:
    given = rows((1, 1, 4), (2, 3, 5))
    assert standing(given, [back(2, 2000)]) == [*given[:2], *given[4:]]
    assert standing([], [back(2, 2000)]) == []


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    write_run(tmp_path, [*rows((1, 1, 2)), {"images": "many", "attempt": 1}], [{"event": "alarm"}])
    (tmp_path / "log.jsonl").open("a").write('[1, 2]\n{"images": 3')
    course = read_course(tmp_path)
    assert course.log["images"].tolist() == [1000, 2000]
    assert course.events == ()


def test_a_run_without_files_has_an_empty_course(tmp_path: Path) -> None:
    course = read_course(tmp_path)
    assert (course.log, course.given_up, course.events, course.level) == ({}, (), (), "")
    assert training_charts(course) == []


def test_only_sample_grids_that_stand_are_shown(study: Study, training: TrainingView) -> None:
    names = [path.name for _, path in training.grids]
    assert (study.run() / "grids" / "01-0000030000.png").is_file()
    assert "01-0000030000.png" not in names
    assert {"01-0000010000.png", "01-0000020000.png", "02-0000030000.png", "02-0000080000.png"} <= set(names)


# Figures


def columns(values: list[float], attempt: int = 1) -> dict[str, np.ndarray]:
    log = {"images": np.arange(1, len(values) + 1) * 2000.0, "attempt": np.full(len(values), float(attempt))}
    return log | {"diversity": np.array(values), "generator_nearest": np.array(values)}


def marks(svg: str) -> list[tuple[float, float, str]]:
    """Where the words of marks begin, in points from the upper left corner, and the words."""
    found = re.findall(r'<text [^>]*x="([\d.]+)" y="([\d.]+)"[^>]*>\u00a0([a-z ]+)<', svg)
    return [(float(x), float(y), word) for x, y, word in found]


def test_given_up_parts_are_pale_lines_of_the_same_figure() -> None:
    plain = Course(columns([0.5, 0.9, 1.0]), (), (), "healthy")
    lost = replace(plain, given_up=(columns([0.5, 0.2]),))
    count = [str(training_charts(course)[0].svg).count("stroke-opacity") for course in (plain, lost)]
    assert count[1] == count[0] + 1


def test_the_limit_of_collapse_is_in_sight_of_a_generator_without_variety() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a name far outside of the axes leaves them no room
        svg = str(training_charts(Course(columns([0.01, 0.02, 0.01]), (), (), "critical"))[0].svg)
    height = float(re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', svg)[1])
    (y,) = re.findall(r'y="([\d.]+)"[^>]*>collapse below 0\.6<', svg)
    assert 0.0 < float(y) < height / 2.0, "near the top, where there is space for it"


def test_alarms_and_roll_backs_are_marked_in_words() -> None:
    events = (Event(Kind.COLLAPSE, 4000, 1), back(2, 2000, 4000), Event(Kind.OVER, 6000, 2))
    charts = training_charts(Course(columns([0.5, 0.9, 1.0]), (), events, "healthy"))
    for chart in charts[:2]:
        svg = str(chart.svg)
        assert sorted(word for _, _, word in marks(svg)) == ["back here", "collapse"]
        assert "Marked: collapse at 4\u202f000 images, back here at 2\u202f000 images." in svg


def test_words_of_marks_never_run_into_each_other() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        places = rng.integers(1, 40, 12) * 2000
        events = [Event(Kind.WARNING if place % 3 else Kind.COLLAPSE, int(place), 1) for place in places]
        svg = str(training_charts(Course(columns([1.0] * 40), (), tuple(events), "healthy"))[0].svg)
        found = marks(svg)
        assert len(found) > 3
        boxes = sorted((y, x, x + 4.0 * len(word)) for x, y, word in found)
        for (y, _, end), (other, start, _) in itertools.pairwise(boxes):
            assert other != y or start >= end


def test_a_return_to_the_beginning_is_in_sight_and_what_the_log_has_not_reached_is_not() -> None:
    events = (back(2, 0, 6000), Event(Kind.WARNING, 80_000, 2))
    svg = str(training_charts(Course(columns([0.5, 0.9, 1.0]), (), events, "healthy"))[0].svg)
    ((x, _, word),) = marks(svg)
    assert word == "back here"
    assert 0 < x < 100


def test_the_limit_of_a_collapse_is_drawn_on_the_variety() -> None:
    variety, repeats = training_charts(Course(columns([0.9, 1.0]), (), (), "healthy"))[:2]
    assert f">collapse below {CRITICAL['median_pair']:g}<" in str(variety.svg)
    assert f">collapse below {CRITICAL['nearest']:g}<" in str(repeats.svg)
    assert CRITICAL["nearest"] == CRITICAL["vendi"], "one line stands for both"


def test_repeats_show_the_network_that_has_less() -> None:
    log = columns([0.8, 0.9]) | {"average_nearest": np.array([0.9, 0.4])}
    described = str(training_charts(Course(log, (), (), ""))[1].svg)
    assert "distance to the nearest image from 0.8 to 0.4" in described


# Words


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("ended", [True, False])
def test_how_it_stands_is_said_once_and_each_level_has_its_words(
    training: TrainingView, level: str, ended: bool
) -> None:
    def said(name: str) -> str:
        course = replace(training.course, level=name, events=())
        return ending(replace(training, facts={"level": name}, course=course, ended=ended))

    assert said(level).endswith("; it was never rolled back.")
    assert [said(other) == said(level) for other in LEVELS].count(True) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["rate"], "was rolled back once: the learning rate was halved."),
        (
            ["replay", "rate"],
            "was rolled back twice: experience replay was switched on, then the learning rate was halved.",
        ),
        (["rate", "rate", "rate"], "was rolled back 3 times: "),
    ],
)
def test_the_sentence_says_how_often_it_went_back_and_what_was_changed(
    training: TrainingView, changes: list[str], words: str
) -> None:
    events = tuple(back(place + 2, 1000, 2000, change) for place, change in enumerate(changes))
    assert words in ending(replace(training, course=replace(training.course, events=events)))


def test_every_change_of_a_roll_back_has_its_words() -> None:
    assert set(CHANGES) == set(Change)


def test_reasons_name_each_network_once() -> None:
    reasons = ("generator: a 0.1, below 0.5", "generator: b 0.2, below 0.5", "average: a 0.3, below 0.5")
    (row,) = event_rows((Event(Kind.COLLAPSE, 5000, 1, "critical", reasons),))
    assert row["words"] == "Generator: a 0.1, below 0.5; b 0.2, below 0.5. Averaged generator: a 0.3, below 0.5."
    assert row["images"] == "5\u202f000"


def test_a_roll_back_stands_where_it_left_and_says_where_it_went() -> None:
    far, to_the_start = event_rows((back(2, 3000, 9000, "rate"), back(3, 0, 7000, "penalty")))
    assert (far["images"], to_the_start["images"]) == ("9\u202f000", "7\u202f000")
    assert far["words"].startswith("To the state after 3\u202f000 images; the learning rate was halved")
    assert to_the_start["words"].startswith("To the beginning; the gradient penalty was raised")


def test_time_that_was_given_up_is_told(training: TrainingView) -> None:
    (part,) = training.course.given_up
    lost = float(part["seconds"][-1] - part["seconds"][0])
    assert dict(facts_rows(training))["length"] == f"6 min 4 s, {lost:.0f} s discarded"


# The page


def words_of(study: Study) -> str:
    text = re.sub(r"<style.*?</style>|<svg.*?</svg>|<[^>]+>", " ", render(collect(study)), flags=re.DOTALL)
    return " ".join(text.split())


def test_the_page_tells_of_a_roll_back(study: Study) -> None:
    words = words_of(study)
    assert "ended with images about as varied as real ones; it collapsed and was rolled back once" in words
    assert "Pale lines show what was discarded" in words
    assert "number of distinct images (Vendi) 0.42 of that of real images" in words
    assert "had collapsed when its training ended" not in words


def test_an_untroubled_training_shows_no_alarms(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", stages=("ingest", "train"), size=32, patients=20)
    path = study.run() / "log.jsonl"
    write_json_lines(path, [row for row in read_json_lines(path) if row["attempt"] == 2])
    (study.run() / "alarms.jsonl").unlink()
    words = words_of(study)
    assert "it was never rolled back" in words
    assert "Alarms and roll-backs" not in words
    assert "Pale lines" not in words


def test_a_collapse_at_the_end_is_said_at_the_top(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", size=32, patients=20, synthetic=6)
    run = read_json(study.run() / "run.json")
    write_json(study.run() / "run.json", run | {"level": "critical", "images_seen": 60_000})
    html = render(collect(study))
    assert html.index("The generator had collapsed") < html.index('<section id="verdicts"')
    assert "images seen 60 000 of 80 000" in words_of(study)


def test_long_lists_of_alarms_are_cut_and_said_so(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", stages=("ingest", "train"), size=32, patients=20)
    alarm = {"event": "alarm", "level": "warning", "reasons": ["<b>"], "attempt": 1}
    lines = [alarm | {"images": 2000 * step} for step in range(1, EVENTS_LISTED + 4)]
    write_json_lines(study.run() / "alarms.jsonl", lines)
    html = render(collect(study))
    assert html.count('class="what w-warning"') == EVENTS_LISTED
    assert "3 earlier lines are in alarms.jsonl" in html
    assert "&lt;b&gt;" in html
    assert "<b>.</td>" not in html
