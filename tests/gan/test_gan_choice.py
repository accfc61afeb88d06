"""The state to draw from: chosen on tune patients, kept to the bit, and the end of a training that gets no better."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import CPU, IMAGES, fingerprint, smooth_images, tiny_job
from torch import Tensor, nn

from scansynth.console import silent
from scansynth.data.tensors import to_signed
from scansynth.errors import Interrupted
from scansynth.files import read_json_lines
from scansynth.gan import training_loop
from scansynth.gan.sampling import Latent
from scansynth.gan.training_loop import TrainingJob, gets_no_better, train
from scansynth.gan.watching import choice
from scansynth.gan.watching.choice import (
    FIGURES,
    MADE,
    Chooser,
    TuneImages,
    flips_of,
    look,
    may_be_chosen,
    new_chooser,
    score,
)
from scansynth.gan.watching.health import Level
from scansynth.metrics.ncc import Flip

TUNE = 24


def _tune(patients: int = TUNE) -> TuneImages:
    tune = to_signed(smooth_images(TUNE, seed=5)[:, None])
    names = tuple(str(number % patients) for number in range(TUNE))
    return TuneImages(to_signed(smooth_images(IMAGES)[:, None]), tune, names, (Flip.NONE,))


def _job(folder: Path, patience: int = 50, epochs: int = 3) -> TrainingJob:
    """Looks at tune patients every third round."""
    tables = {"choice": {"on": True, "every_images": 24, "patience": patience}, "schedule": {"epochs": epochs}}
    return tiny_job(folder, tables, chosen_on=_tune())


class _Shown(nn.Module):
    """A generator that gives the images it was made with, by turns."""

    def __init__(self, images: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("images", torch.from_numpy(images))
        self.next = 0

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        places = torch.arange(self.next, self.next + len(noise)) % len(self.images)
        self.next += len(noise)
        return self.images[places]


@pytest.fixture(scope="module")
def chooser() -> Chooser:
    latent = Latent(torch.zeros(MADE, 2), torch.zeros(MADE, dtype=torch.int64))
    found = new_chooser(_tune(), latent, 1)
    assert found is not None
    return found


def _figures(chooser: Chooser, images: np.ndarray) -> dict[str, float]:
    return look(chooser, _Shown(images))


def test_new_images_of_the_kind_are_better_than_few_and_than_others(chooser: Chooser) -> None:
    """Other pictures of the same source before one picture again and again, and before noise."""
    same = _figures(chooser, to_signed(smooth_images(MADE, seed=9)[:, None]))
    one = _figures(chooser, to_signed(smooth_images(1, seed=9)[:, None]))
    random = np.random.default_rng(0)
    noise = _figures(chooser, random.uniform(-1, 1, (MADE, 1, 32, 32)).astype(np.float32))
    assert set(same) == set(FIGURES)
    assert score(chooser, same) < score(chooser, one)
    assert score(chooser, same) < score(chooser, noise)
    assert same["tune_recall"] > 0.5
    assert one["tune_recall"] == 0.0


def test_images_of_the_training_are_seen_as_copies(chooser: Chooser) -> None:
    """A generator that gives back what it learned from has the best KID there can be, and may not be chosen."""
    copied = _figures(chooser, to_signed(smooth_images(IMAGES)[:, None]))
    assert copied["tune_copies"] == 1.0
    assert not may_be_chosen(chooser, copied)
    assert may_be_chosen(chooser, {**copied, "tune_copies": 0.01})


def test_where_kid_is_down_to_chance_recall_decides(chooser: Chooser) -> None:
    """And far from it KID decides: a unit of each is what chance does to it."""
    kid_unit, recall_unit = chooser.units
    near = {"tune_kid": 0.5 * kid_unit, "tune_recall": 0.5}
    wider = {"tune_kid": 0.9 * kid_unit, "tune_recall": 0.5 + 2.0 * recall_unit}
    far = {"tune_kid": 9.0 * kid_unit, "tune_recall": 0.5 + 2.0 * recall_unit}
    assert score(chooser, wider) < score(chooser, near) < score(chooser, far)


def test_too_few_patients_choose_nothing() -> None:
    """Seven of them, whatever the number of their images."""
    latent = Latent(torch.zeros(MADE, 2), torch.zeros(MADE, dtype=torch.int64))
    assert new_chooser(_tune(7), latent, 1) is None
    assert new_chooser(_tune(8), latent, 1) is not None


def test_mirror_images_that_are_searched_are_those_that_are_shown() -> None:
    assert flips_of(False, False) == [Flip.NONE]
    assert flips_of(True, False) == [Flip.NONE, Flip.LEFT_RIGHT]
    assert set(flips_of(True, True)) == set(Flip)


def test_images_that_are_no_numbers_are_refused(chooser: Chooser) -> None:
    images = to_signed(smooth_images(MADE)[:, None])
    images[3, 0, 4, 4] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        _figures(chooser, images)


def _planted(monkeypatch: pytest.MonkeyPatch, kids: list[float], level: Level = Level.HEALTHY) -> None:
    """Makes the looks give these KIDs, one after the other by the images seen."""

    def planted(state: training_loop.TrainingState, chooser: Chooser) -> dict[str, float]:
        state.health = replace(state.health, level=level)
        place = min(state.images // 24, len(kids)) - 1
        found = {"tune_kid": kids[place], "tune_recall": 0.0, "tune_copies": 0.0}
        monkeypatch.setattr(choice, "look", lambda *_: found)
        return real(state, chooser)

    real = training_loop._choose
    monkeypatch.setattr(training_loop, "_choose", planted)


def test_the_best_state_is_kept_and_five_worse_looks_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second look is the best; after five more the training is over, and the weights are those of the second."""
    _planted(monkeypatch, [3.0, 1.0, 2.0, 2.0, 1.5, 1.2, 1.1, 0.1])
    job = _job(tmp_path / "run", patience=5, epochs=10)
    state = train(job, CPU, silent, pytest.fail)
    assert gets_no_better(state, job)
    assert state.images == 7 * 24 < job.total
    assert state.best is not None
    assert state.best.images == 2 * 24
    again = train(job, CPU, silent, pytest.fail)  # nothing is left to do
    assert fingerprint(again) == fingerprint(state)
    shorter = tiny_job(tmp_path / "short", {"schedule": {"epochs": 10}})
    kept: dict[str, Tensor] = {}

    def stop(done: int, total: int, note: str = "") -> None:
        if done == 40:  # it stops after the next round
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(shorter, CPU, stop, pytest.fail)
    newest = training_loop.checkpoint.load_newest(shorter.checkpoints, shorter.identity, pytest.fail)
    assert newest is not None
    kept = {name.removeprefix("average/"): value for name, value in newest.tensors.items() if "average/" in name}
    assert set(kept) == set(state.best.weights)
    assert all(torch.equal(kept[name], value) for name, value in state.best.weights.items())


def test_a_collapsed_state_is_never_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However good its figures."""
    _planted(monkeypatch, [0.0, 0.0, 0.0, 0.0], Level.CRITICAL)
    job = _job(tmp_path)
    job = replace(
        job,
        recipe=job.recipe.model_copy(update={"collapse": job.recipe.collapse.model_copy(update={"respond": False})}),
    )
    assert train(job, CPU, silent, lambda text: None).best is None


def test_a_stopped_training_keeps_its_choice(tmp_path: Path) -> None:
    """To the bit, and the figures stand in its log."""
    whole, parts = _job(tmp_path / "whole"), _job(tmp_path / "parts")
    expected = train(whole, CPU, silent, pytest.fail)
    assert expected.best is not None

    def stop(done: int, total: int, note: str = "") -> None:
        if done == 56:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(parts, CPU, stop, pytest.fail)
    assert fingerprint(train(parts, CPU, silent, pytest.fail)) == fingerprint(expected)
    rows = read_json_lines(parts.folder / "log.jsonl")
    assert [row["images"] for row in rows if "tune_kid" in row] == [24, 48, 72, 96]


def test_looking_at_tune_patients_changes_nothing_of_the_training(tmp_path: Path) -> None:
    """The same weights at the end as without."""
    with_choice = train(_job(tmp_path / "with"), CPU, silent, pytest.fail)
    without = train(tiny_job(tmp_path / "without"), CPU, silent, pytest.fail)
    for one, other in zip(
        with_choice.sampler.state_dict().values(), without.sampler.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)
