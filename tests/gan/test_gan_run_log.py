"""The log of a training with roll-backs: what is cut away, and what stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scansynth.files import read_json_lines, write_json
from scansynth.gan import run_log
from scansynth.gan.run_log import ALARMS, LOG, append, cut, surviving
from scansynth.gan.standing import Position, run_position
from scansynth.gan.watching.health import Level
from scansynth.study import RUN

Place = tuple[int, int]

TWO = [(1, 10), (1, 20), (1, 30), (1, 40), (2, 30), (2, 40)]
"""Attempt and images: collapsed at 40, went back to 20."""

THREE = [*TWO, (3, 20), (3, 30), (3, 40), (3, 50)]
"""Collapsed again at 40, and went back to 10."""


def rows(places: list[Place]) -> list[dict[str, Any]]:
    return [{"attempt": attempt, "images": images, "loss_d": attempt + images / 100} for attempt, images in places]


def places(found: list[dict[str, Any]]) -> list[Place]:
    return [(row["attempt"], row["images"]) for row in found]


def written(folder: Path, name: str, of: list[Place]) -> Path:
    for attempt, images in of:
        append(folder / name, attempt, images, {"level": "healthy"})
    return folder / name


def test_a_line_says_where_it_belongs(tmp_path: Path) -> None:
    path = written(tmp_path, LOG, [(2, 30)])
    assert read_json_lines(path) == [{"attempt": 2, "images": 30, "level": "healthy"}]


@pytest.mark.parametrize(
    ("attempt", "images", "left"),
    [
        (1, 0, []),
        (1, 20, [(1, 10), (1, 20)]),
        (1, 40, [(1, 10), (1, 20), (1, 30), (1, 40)]),
        (2, 20, [(1, 10), (1, 20), (1, 30), (1, 40)]),
        (2, 35, [(1, 10), (1, 20), (1, 30), (1, 40), (2, 30)]),
        (3, 10, TWO),
        (3, 45, [*TWO, (3, 20), (3, 30), (3, 40)]),
        (3, 50, THREE),
    ],
)
def test_lines_after_the_checkpoint_are_cut_and_those_of_earlier_attempts_stay(
    tmp_path: Path, attempt: int, images: int, left: list[Place]
) -> None:
    paths = [written(tmp_path, name, THREE) for name in (LOG, ALARMS)]
    cut(tmp_path, attempt, images)
    assert [places(read_json_lines(path)) for path in paths] == [left, left]
    cut(tmp_path, attempt, images)
    assert [places(read_json_lines(path)) for path in paths] == [left, left]


def test_a_roll_back_whose_checkpoint_was_not_written_is_cut(tmp_path: Path) -> None:
    """Its line comes first; killed in between, the training goes on in the attempt before, and goes back again."""
    path = written(tmp_path, ALARMS, [(1, 40), (2, 20)])
    cut(tmp_path, 1, 35)
    assert read_json_lines(path) == []


def test_nothing_is_cut_where_nothing_was_written(tmp_path: Path) -> None:
    cut(tmp_path, 1, 0)
    assert list(tmp_path.iterdir()) == []
    path = written(tmp_path, LOG, TWO)
    cut(tmp_path, 2, 40)
    assert places(read_json_lines(path)) == TWO
    assert not (tmp_path / ALARMS).exists()


def test_a_line_cut_short_by_a_kill_is_cut_away(tmp_path: Path) -> None:
    path = written(tmp_path, LOG, [(1, 10), (1, 20)])
    with path.open("a") as stream:
        stream.write('{"attempt": 1, "ima')
    cut(tmp_path, 1, 20)
    assert path.read_text().count("\n") == 2
    assert places(read_json_lines(path)) == [(1, 10), (1, 20)]


@pytest.mark.parametrize(
    ("told", "standing"),
    [
        ([], []),
        ([(1, 10), (1, 20)], [(1, 10), (1, 20)]),
        (TWO, [(1, 10), (1, 20), (2, 30), (2, 40)]),
        (THREE, [(1, 10), (3, 20), (3, 30), (3, 40), (3, 50)]),
        ([(1, 10), (2, 10), (2, 20)], [(2, 10), (2, 20)]),  # begun again
        ([*TWO, (3, 40), (3, 50)], [(1, 10), (1, 20), (2, 30), (3, 40), (3, 50)]),  # the third goes on from the second
        ([(1, 10), (1, 20), (3, 20), (3, 30)], [(1, 10), (3, 20), (3, 30)]),  # the second ended before it had a line
    ],
)
def test_what_stands_is_the_training_without_what_was_given_up(told: list[Place], standing: list[Place]) -> None:
    found = surviving(rows(told))
    assert places(found) == standing
    assert [row["images"] for row in found] == sorted({row["images"] for row in found})
    assert surviving(found) == found
    assert found == [row for row in rows(told) if (row["attempt"], row["images"]) in standing]


def test_lines_from_before_attempts_were_counted_stand() -> None:
    old = [{"images": 10}, {"images": 20}]
    assert surviving(old) == old
    assert surviving([*old, {"images": 20, "attempt": 2}]) == [{"images": 10}, {"images": 20, "attempt": 2}]


def test_the_position_of_a_run_that_has_gone_back_is_where_it_went(tmp_path: Path) -> None:
    write_json(tmp_path / RUN, {"images_total": 96})
    assert run_position(tmp_path) == Position(0, 96)
    told = {"level": "healthy", "diversity": 0.9}
    run_log.append(tmp_path / run_log.LOG, 1, 48, told)
    assert run_position(tmp_path) == Position(48, 96, 1, Level.HEALTHY, 0.9)
    run_log.append(tmp_path / run_log.LOG, 1, 72, {"level": "critical", "diversity": 0.1})
    run_log.append(tmp_path / run_log.ALARMS, 2, 48, {"event": "roll-back", "change": "replay", "left_at": 72})
    assert run_position(tmp_path) == Position(48, 96, 2)
    run_log.append(tmp_path / run_log.LOG, 2, 72, told)
    assert run_position(tmp_path) == Position(72, 96, 2, Level.HEALTHY, 0.9)
    (tmp_path / run_log.LOG).write_text('{"images": 5}\n')  # of a version before there were attempts
    (tmp_path / run_log.ALARMS).unlink()
    assert run_position(tmp_path) == Position(0, 96)
