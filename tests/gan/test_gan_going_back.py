"""After a collapse: back to a healthy checkpoint, one thing changed, at most three times, and to the bit."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from scans import as_ordinary_user
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_training import BATCH, CPU, EVERY_ROUND, fingerprint, plant_collapse, tiny_job
from torch import nn

from scansynth.config import TrackingSettings
from scansynth.console import silent
from scansynth.errors import Interrupted, StorageError
from scansynth.files import read_json, read_json_lines
from scansynth.gan import run_log, training_loop
from scansynth.gan.models.dcgan import Dcgan
from scansynth.gan.showing import gauge
from scansynth.gan.state import TrainingState
from scansynth.gan.training_loop import TrainingJob, collapsed_for_good, train
from scansynth.gan.watching.collapse import STATISTICS
from scansynth.gan.watching.health import Health, Level, judge
from scansynth.recipe import Change

penalised: list[float] = []
PLAIN = {"replay": {"on": False}, "network": {"spectral_norm": False}}


@pytest.fixture
def collapse() -> Iterator[Any]:
    """Plants collapses, and takes them out at the end."""
    undo = []
    yield lambda *moments: undo.append(plant_collapse(*moments))
    for step in reversed(undo):
        step()


def run(job: TrainingJob) -> tuple[TrainingState, list[str]]:
    said: list[str] = []
    return train(job, CPU, silent, said.append), said


def events(folder: Path) -> list[tuple[int, int, str]]:
    return [(row["attempt"], row["images"], row["event"]) for row in read_json_lines(folder / run_log.ALARMS)]


def test_it_goes_back_to_the_newest_healthy_state_and_changes_one_thing(tmp_path: Path, collapse: Any) -> None:
    collapse((1, 72))
    state, said = run(tiny_job(tmp_path, PLAIN, tracking=TrackingSettings()))
    assert (state.attempt, state.changes, state.images) == (2, (Change.REPLAY,), 96)
    assert state.history is not None
    assert events(tmp_path) == [(1, 72, "alarm"), (2, 48, "roll-back")]
    assert "collapse of the generator at 72 images: generator: planted" in said[0]
    assert said[1] == (
        "going back to the healthy state at 48 images, with experience replay switched on (change 1 of at most 3)"
    )
    rows = read_json_lines(tmp_path / run_log.LOG)
    assert [(row["attempt"], row["images"]) for row in rows] == [(1, 24), (1, 48), (1, 72), (2, 72), (2, 96)]
    assert [row["level"] for row in rows] == ["healthy", "healthy", "critical", "healthy", "healthy"]
    assert [row["images"] for row in run_log.surviving(rows)] == [24, 48, 72, 96]
    assert Image.open(tmp_path / "alarms" / "01-0000000072-critical.png").size == (256, 256)
    first, second = (EventAccumulator(str(tmp_path / "tensorboard" / f"attempt-{n}")).Reload() for n in (1, 2))
    assert [point.step for point in first.Scalars("loss/discriminator")] == [24, 48, 72]
    assert [point.step for point in second.Scalars("loss/discriminator")] == [72, 96]
    assert any("collapse of the generator" in tag for tag in first.Tags()["images"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("spectral_norm", lambda state: any("parametrizations" in key for key in state.discriminator.state_dict())),
        ("penalty", lambda state: state.changes == (Change.PENALTY,) and penalised == [1.0]),
        ("rate", lambda state: state.discriminator_optimiser.param_groups[0]["lr"] == 1e-4),
    ],
)
def test_each_change_can_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collapse: Any, change: str, expected: Any
) -> None:
    collapse((1, 72))
    penalised.clear()
    real = Dcgan.step

    def watched(family: Dcgan, state: Any, *rest: Any) -> Any:
        if state.attempt == 2 and family.loss.penalty not in penalised:
            penalised.append(family.loss.penalty)
        return real(family, state, *rest)

    monkeypatch.setattr(Dcgan, "step", watched)
    state, _ = run(tiny_job(tmp_path, {**PLAIN, "collapse": {"changes": [change]}}))
    assert state.changes == (Change(change),)
    assert state.images == 96
    assert expected(state)


def test_changes_add_up_and_without_a_healthy_state_it_begins_anew(tmp_path: Path, collapse: Any) -> None:
    collapse((1, 0), (2, 72))
    state, said = run(tiny_job(tmp_path, PLAIN))
    assert state.changes == (Change.REPLAY, Change.SPECTRAL_NORM)
    assert events(tmp_path) == [(1, 24, "alarm"), (2, 0, "roll-back"), (2, 72, "alarm"), (3, 48, "roll-back")]
    assert "going back to the beginning, with experience replay" in said[1]
    assert [isinstance(layer, nn.BatchNorm2d) for layer in state.discriminator].count(True) == 0


def test_after_three_changes_it_ends_marked_and_stays_ended(tmp_path: Path, collapse: Any) -> None:
    collapse(*((attempt, 72) for attempt in range(1, 9)))
    job = tiny_job(tmp_path, PLAIN)
    state, said = run(job)
    assert collapsed_for_good(state, job)
    assert (state.attempt, state.images) == (4, 72)
    assert state.changes == (Change.REPLAY, Change.SPECTRAL_NORM, Change.PENALTY)
    newest = sorted((tmp_path / "checkpoints").iterdir())[-1]
    assert newest.name == "04-000000000072"
    assert read_json(newest / "state.json")["state"]["health"]["level"] == "critical"
    before = read_json_lines(tmp_path / run_log.LOG)
    again, said = run(job)
    assert fingerprint(again) == fingerprint(state)
    assert said == []
    assert read_json_lines(tmp_path / run_log.LOG) == before


def test_told_not_to_respond_it_goes_on_and_ends_marked(tmp_path: Path, collapse: Any) -> None:
    collapse((1, 72))
    state, said = run(tiny_job(tmp_path, {"collapse": {"respond": False}}))
    assert (state.attempt, state.images, state.health.level) == (1, 96, Level.CRITICAL)
    assert len(said) == 1
    assert events(tmp_path) == [(1, 72, "alarm")]  # one alarm, not one a look


def test_at_least_three_healthy_states_are_kept(tmp_path: Path, collapse: Any) -> None:
    collapse()
    run(tiny_job(tmp_path, minutes=EVERY_ROUND))
    found = sorted((tmp_path / "checkpoints").iterdir())
    healthy = [path.name for path in found if read_json(path / "state.json")["healthy"]]
    assert healthy == ["01-000000000048", "01-000000000072", "01-000000000096"]


def test_stopped_and_continued_around_a_roll_back_is_the_uninterrupted_training(tmp_path: Path, collapse: Any) -> None:
    collapse((1, 72), (2, 72))
    expected, _ = run(tiny_job(tmp_path / "whole", PLAIN))
    assert expected.attempt == 3
    job = tiny_job(tmp_path / "stopped", PLAIN)
    for moment in (40, 64, 56, 72):  # among them the round of the collapse
        seen = [0]

        def progress(done: int, total: int, note: str = "", moment: int = moment, seen: list[int] = seen) -> None:
            if done == moment and not seen[0]:
                seen[0] = 1
                os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(Interrupted):
            train(job, CPU, progress, lambda text: None)
    state, _ = run(job)
    assert fingerprint(state) == fingerprint(expected)
    assert events(tmp_path / "stopped") == events(tmp_path / "whole")


def test_how_often_it_saves_decides_nothing(tmp_path: Path, collapse: Any) -> None:
    collapse((1, 72), (2, 72))
    seldom, _ = run(tiny_job(tmp_path / "seldom", PLAIN))
    often, _ = run(tiny_job(tmp_path / "often", PLAIN, minutes=EVERY_ROUND))
    assert fingerprint(seldom) == fingerprint(often)


def test_the_checkpoints_of_a_stop_are_of_the_same_attempt(tmp_path: Path, collapse: Any) -> None:
    """A training told to stop in the very round of a collapse has gone back before it stops."""
    collapse((1, 72))
    job = tiny_job(tmp_path, PLAIN)

    def progress(done: int, total: int, note: str = "") -> None:
        if done == 72 - BATCH:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(job, CPU, progress, lambda text: None)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir())[-1] >= "02-"


def test_what_a_look_measures_leads_to_the_roll_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From figures to rules to the return: nothing of the chain is left out."""
    varied = dict.fromkeys(STATISTICS, 1.0)
    number = [0]

    def scripted(*_: Any) -> dict[str, float]:
        number[0] += 1
        return {**varied, "nearest": 0.2} if number[0] in {5, 6} else varied  # both networks at the third look

    monkeypatch.setattr(training_loop, "look", scripted)
    state, said = run(tiny_job(tmp_path, PLAIN))
    assert events(tmp_path) == [(1, 72, "alarm"), (2, 48, "roll-back")]
    assert "generator: distance to the nearest other image 0.20 of that of real images, below 0.50" in said[0]
    assert (state.attempt, state.health.level, state.health.grace) == (2, Level.HEALTHY, 1)


def test_a_collapse_at_the_very_end_is_no_matter_of_grace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    varied, number = dict.fromkeys(STATISTICS, 1.0), [0]

    def scripted(*_: Any) -> dict[str, float]:
        number[0] += 1
        return {**varied, "vendi": 0.1} if number[0] >= 5 else varied

    monkeypatch.setattr(training_loop, "look", scripted)
    job = tiny_job(tmp_path, PLAIN)
    state, _ = run(job)
    assert state.health.level is Level.CRITICAL
    assert collapsed_for_good(state, job)


def test_a_second_trouble_is_told_besides_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    varied, number = dict.fromkeys(STATISTICS, 1.0), [0]
    job = tiny_job(tmp_path, {"schedule": {"epochs": 6}})
    low = {**varied, "rank": 0.01}

    def scripted(*_: Any) -> dict[str, float]:
        number[0] += 1
        return low if number[0] > 4 else varied

    def unbalanced(before: Health, looks: Any, limits: Any, balance: float, images: int, total: int) -> Health:
        return judge(replace(before, balances=(100.0,) * 9), looks, limits, balance, images, total)

    monkeypatch.setattr(training_loop, "look", scripted)
    monkeypatch.setattr(training_loop, "judge", unbalanced)
    _, said = run(job)
    assert [line.partition(" at ")[0] for line in said] == [
        "warning: the losses diverge",
        "warning of lost variety",
    ]


def test_a_folder_that_becomes_read_only_in_mid_run_stops_it_and_keeps_the_checkpoint(open_path: Path) -> None:
    folder = open_path / "run"
    job = tiny_job(folder)

    def stop(done: int, total: int, note: str = "") -> None:
        if done == 32:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(job, CPU, stop, lambda text: None)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        with as_ordinary_user(folder), pytest.raises(StorageError, match="make the folder writable"):
            run(job)
    finally:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    state, _ = run(job)
    assert state.images == 96


def test_the_gauge_is_full_for_real_variety() -> None:
    assert [gauge(share) for share in (0.0, 0.5, 1.0, 1.3)] == ["░" * 10, "█" * 5 + "░" * 5, "█" * 10, "█" * 10]
