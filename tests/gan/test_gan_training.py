"""Training: repeats to the bit, goes on to the bit, steps apart, and stops loudly."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_training
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_training import BATCH, CPU, CPU_BF16, EVERY_ROUND, FORM, ROUNDS, batch_of, fingerprint, tiny_job
from torch import Tensor

from scansynth.config import TrackingSettings
from scansynth.console import silent
from scansynth.errors import CheckpointError, Interrupted, StorageError, TrainingError
from scansynth.files import read_json_lines, sha256_bytes
from scansynth.gan.models.dcgan import Dcgan
from scansynth.gan.models.families import family_of
from scansynth.gan.start import new_state
from scansynth.gan.state import TrainingState, restore, to_checkpoint
from scansynth.gan.training_loop import TrainingJob, train
from scansynth.learning import checkpoint
from scansynth.learning.checkpoint import weights_bytes
from scansynth.learning.device import Device


def run(job: TrainingJob, device: Device = CPU) -> TrainingState:
    """Trains, and takes no warning."""
    return train(job, device, silent, pytest.fail)


def stop_after(job: TrainingJob, images: int, device: Device = CPU) -> None:
    """Sends Ctrl-C when so many images are done; the training ends one round later."""

    def progress(done: int, total: int, note: str = "") -> None:
        if done == images:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="run again to go on"):
        train(job, device, progress, pytest.fail)


def saved(folder: Path) -> list[int]:
    return [int(path.name.split("-")[1]) for path in sorted((folder / "checkpoints").glob("[0-9]*"))]


def untimed(folder: Path) -> list[dict[str, Any]]:
    """The log without what the clock decides."""
    rows = read_json_lines(folder / "log.jsonl")
    return [{key: value for key, value in row.items() if "second" not in key} for row in rows]


def grids(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "grids").iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Path]]:
    """Fingerprints and folders of uninterrupted trainings, by precision."""
    found = {}
    for device in (CPU, CPU_BF16):
        folder = tmp_path_factory.mktemp(device.precision)
        found[device.precision] = (fingerprint(run(tiny_job(folder), device)), folder)
    return found


@pytest.mark.parametrize("device", [CPU, CPU_BF16], ids=lambda device: device.precision)
def test_the_same_training_twice_is_the_same_to_the_bit(
    tmp_path: Path, whole: dict[str, tuple[str, Path]], device: Device
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(12345)  # the global generator decides nothing
        assert fingerprint(run(tiny_job(tmp_path), device)) == whole[device.precision][0]


def test_another_seed_is_another_training(tmp_path: Path, whole: dict[str, tuple[str, Path]]) -> None:
    assert fingerprint(run(tiny_job(tmp_path, seed=4))) != whole["float32"][0]
    assert whole["float32"][0] != whole["bfloat16"][0]


@pytest.mark.parametrize("device", [CPU, CPU_BF16], ids=lambda device: device.precision)
def test_stopped_and_continued_is_the_uninterrupted_training(
    tmp_path: Path, whole: dict[str, tuple[str, Path]], device: Device
) -> None:
    job = tiny_job(tmp_path)
    for rounds in (1, 4, 10):  # in the first epoch, at a log line, in the last epoch
        stop_after(job, rounds * BATCH, device)
        assert saved(tmp_path)[-1] == (rounds + 1) * BATCH
    expected, folder = whole[device.precision]
    assert fingerprint(run(job, device)) == expected
    assert untimed(tmp_path) == untimed(folder)
    assert {path.name for path in (tmp_path / "grids").iterdir()} == {
        path.name for path in (folder / "grids").iterdir()
    }


def test_a_stop_in_the_last_round_is_the_end(tmp_path: Path, whole: dict[str, tuple[str, Path]]) -> None:
    def progress(done: int, total: int, note: str = "") -> None:
        if done == total - BATCH:
            os.kill(os.getpid(), signal.SIGINT)

    state = train(tiny_job(tmp_path), CPU, progress, pytest.fail)
    assert fingerprint(state) == whole["float32"][0]
    assert fingerprint(run(tiny_job(tmp_path))) == whole["float32"][0]  # nothing is left to do


def test_killed_at_any_moment_and_continued_is_the_uninterrupted_training(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, tiny_training.__file__, str(tmp_path), "2", "0"], check=True, capture_output=True, text=True
    )
    straight, going_back = json.loads(done.stdout)
    rows = straight["killed"] + going_back["killed"]
    assert (len(straight["killed"]), len(going_back["killed"])) == (4, 3)
    assert sum(not row["finished"] for row in rows) >= 5
    assert len({tuple(row["at"]) for row in rows}) >= 3
    for kind in (straight, going_back):
        for row in kind["killed"]:
            assert row["fingerprint"] == kind["whole"], row
            assert row["remains"] == [], row
    assert straight["whole"] != going_back["whole"]


def test_what_is_written(whole: dict[str, tuple[str, Path]]) -> None:
    folder = whole["float32"][1]
    rows = read_json_lines(folder / "log.jsonl")
    assert [row["images"] for row in rows] == [24, 48, 72, 96]
    assert [row["epoch"] for row in rows] == [0.75, 1.5, 2.25, 3.0]
    for row in rows:
        assert 0.0 < row["d_real"] < 1.0
        assert 0.0 < row["d_fake"] < 1.0
        assert row["diversity"] == row.get("average_median_pair", row["generator_median_pair"]) > 0.0
        assert row["images_per_second"] > 0.0
        assert 0.0 < row["loss_d"] < 10.0
    assert grids(folder).keys() == {"01-0000000048.png", "01-0000000096.png"}
    assert Image.open(folder / "grids" / "01-0000000048.png").size == (256, 256)
    assert Image.open(folder / "real.png").size == (256, 128)  # 32 of the 36 images make whole rows
    assert saved(folder) == [72, 96]


@pytest.mark.parametrize(
    "switch",
    [
        {"loss": {"smoothing": False}},
        {"loss": {"generator_target": 0.7}},
        {"replay": {"on": False}},
        {"network": {"spectral_norm": False}},
        {"augmentation": {"on": False}},
        {"augmentation": {"flips": False}},
        {"ema": {"on": False}},
    ],
    ids=lambda switch: "-".join(str(part) for table, keys in switch.items() for part in (table, *keys)),
)
def test_every_switch_changes_the_generator_that_is_kept(
    tmp_path: Path, whole: dict[str, tuple[str, Path]], switch: dict[str, dict[str, Any]]
) -> None:
    job = tiny_job(tmp_path, switch)
    state = run(job)
    base = tiny_job(whole["float32"][1])
    assert job.identity != base.identity
    kept = sha256_bytes(weights_bytes(state.sampler.state_dict()))
    assert kept != sha256_bytes(weights_bytes(run(base).sampler.state_dict()))


def parameters(network: torch.nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten().clone() for value in network.parameters()])


def test_the_two_steps_are_apart() -> None:
    """Each optimiser moves its own network alone, the discriminator's first."""
    recipe = tiny_job(Path()).recipe
    state = new_state(recipe, FORM, 0, CPU)
    events: list[tuple[str, Tensor, Tensor]] = []

    def snapshot(name: str) -> None:
        events.append((name, parameters(state.generator), parameters(state.discriminator)))

    for name, optimiser in (("d", state.discriminator_optimiser), ("g", state.generator_optimiser)):
        optimiser.register_step_pre_hook(lambda *_, name=name: snapshot(f"before {name}"))
        optimiser.register_step_post_hook(lambda *_, name=name: snapshot(f"after {name}"))
    calls: list[str] = []
    state.generator.register_forward_hook(lambda *_: calls.append("generator"))
    state.discriminator.register_forward_hook(lambda *_: calls.append("discriminator"))
    gradients: list[bool] = []
    state.discriminator_optimiser.register_step_pre_hook(
        lambda *_: gradients.append(any(value.grad is not None for value in state.generator.parameters()))
    )
    random = torch.Generator().manual_seed(0)
    real = torch.rand(8, 1, 32, 32, generator=random) * 2 - 1
    figures = family_of(recipe).step(state, batch_of(real, 8, random), recipe, CPU)

    assert figures.shape == (4,)
    assert [event[0] for event in events] == ["before d", "after d", "before g", "after g"]
    before_d, after_d, before_g, after_g = events
    assert torch.equal(before_d[1], before_g[1])
    assert not torch.equal(before_d[2], after_d[2])
    assert torch.equal(after_d[2], after_g[2])
    assert not torch.equal(before_g[1], after_g[1])
    assert gradients == [False]  # the discriminator's loss does not reach the generator
    assert calls == ["generator", "discriminator", "discriminator", "discriminator"]  # the fakes are made once
    assert all(value.requires_grad for value in state.discriminator.parameters())


def test_the_figures_are_those_of_the_formulas() -> None:
    recipe = tiny_job(Path(), {"replay": {"on": False}}).recipe
    state = new_state(recipe, FORM, 0, CPU)
    logits: list[Tensor] = []
    state.discriminator.register_forward_hook(lambda _, __, output: logits.append(output.detach().clone()))
    random = torch.Generator().manual_seed(0)
    real = torch.rand(8, 1, 32, 32, generator=random) * 2 - 1
    loss_d, loss_g, d_real, d_fake = family_of(recipe).step(state, batch_of(real, 8, random), recipe, CPU).tolist()

    def entropy(values: Tensor, target: float) -> float:
        chance = values.double().sigmoid()
        return float(-(target * chance.log() + (1 - target) * (1 - chance).log()).mean())

    assert loss_d == pytest.approx(entropy(logits[0], 0.9) + entropy(logits[1], 0.1), rel=1e-5)
    assert loss_g == pytest.approx(entropy(logits[2], 0.9), rel=1e-5)
    assert d_real == pytest.approx(logits[0].sigmoid().mean().item(), rel=1e-5)
    assert d_fake == pytest.approx(logits[1].sigmoid().mean().item(), rel=1e-5)


def test_the_average_follows_the_generator() -> None:
    recipe = tiny_job(Path(), {"ema": {"half_life_images": 8}}).recipe
    state = new_state(recipe, FORM, 0, CPU)
    assert state.average is not None
    before = parameters(state.generator)
    random = torch.Generator().manual_seed(0)
    family_of(recipe).step(state, batch_of(torch.zeros(8, 1, 32, 32), 8, random), recipe, CPU)
    half_way = (before + parameters(state.generator)) / 2
    assert torch.allclose(parameters(state.average), half_way, atol=1e-7)
    assert not any(value.requires_grad for value in state.average.parameters())


@pytest.mark.parametrize("plant", ["figure", "weight"])
def test_no_number_stops_in_one_line_and_is_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: str
) -> None:
    rounds = [0]

    real = Dcgan.step

    def poisoned(family: Dcgan, state: TrainingState, *rest: Any) -> Tensor:
        figures = real(family, state, *rest)
        rounds[0] += 1
        if rounds[0] == 6 and plant == "weight":
            with torch.no_grad():
                next(iter(state.generator.parameters()))[0, 0, 0, 0] = math.inf
        return figures * math.nan if rounds[0] == 6 and plant == "figure" else figures

    monkeypatch.setattr(Dcgan, "step", poisoned)
    job = tiny_job(tmp_path, minutes=EVERY_ROUND)
    with pytest.raises(TrainingError, match=r"no longer finite numbers at 48 images.*learning_rate") as fault:
        run(job)
    assert "\n" not in str(fault.value)
    found = checkpoint.load(tmp_path / "checkpoints" / "01-000000000040", job.identity)
    assert saved(tmp_path)[-1] == found.images == 40
    assert all(bool(value.isfinite().all()) for value in found.tensors.values())


def test_a_real_divergence_is_caught(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no longer finite"):
        run(tiny_job(tmp_path, {"optimiser": {"learning_rate": 1e38}, "network": {"spectral_norm": False}}))
    assert saved(tmp_path) == []


def test_a_full_disk_stops_the_training_and_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, tuple[str, Path]]
) -> None:
    real, job = checkpoint.write_bytes, tiny_job(tmp_path, minutes=EVERY_ROUND)

    def refuse(path: Path, data: bytes) -> None:
        if "01-000000000040" in str(path):
            raise StorageError(f"cannot write {path}: {os.strerror(errno.ENOSPC)}")
        real(path, data)

    monkeypatch.setattr(checkpoint, "write_bytes", refuse)
    with pytest.raises(StorageError, match="No space left"):
        run(job)
    assert saved(tmp_path) == [24, 32]
    monkeypatch.undo()
    assert fingerprint(run(job)) == whole["float32"][0]


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path: Path, whole: dict[str, tuple[str, Path]]) -> None:
    job = tiny_job(tmp_path, minutes=EVERY_ROUND)
    stop_after(job, 5 * BATCH)
    newest = tmp_path / "checkpoints" / "01-000000000048" / "tensors.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1000])
    warnings: list[str] = []
    state = train(job, CPU, silent, warnings.append)
    assert len(warnings) == 1
    assert "going back to the one before" in warnings[0]
    assert fingerprint(state) == whole["float32"][0]


def test_checkpoints_of_another_recipe_are_refused(tmp_path: Path) -> None:
    stop_after(tiny_job(tmp_path), BATCH)
    other = tiny_job(tmp_path, {"loss": {"smoothing": False}})
    with pytest.raises(CheckpointError, match="another recipe or cohort"):
        train(other, CPU, silent, lambda text: None)


@pytest.mark.parametrize("allowed", [False, True])
def test_real_images_go_to_the_trackers_only_when_the_study_says_so(tmp_path: Path, allowed: bool) -> None:
    job = replace(tiny_job(tmp_path), tracking=TrackingSettings(real_images=allowed))
    stop_after(job, 5 * BATCH)
    found = EventAccumulator(str(tmp_path / "tensorboard" / "attempt-1")).Reload()
    assert ("real images" in found.Tags()["images"]) == allowed
    assert "generated images" in found.Tags()["images"]
    assert [point.step for point in found.Scalars("loss/discriminator")] == [24, 48]
    run(job)
    again = EventAccumulator(str(tmp_path / "tensorboard" / "attempt-1")).Reload()
    assert [point.step for point in again.Scalars("loss/discriminator")] == [24, 48, 72, 96]


def test_points_after_the_last_checkpoint_are_not_shown_twice(tmp_path: Path) -> None:
    job = replace(tiny_job(tmp_path), tracking=TrackingSettings())

    def die(done: int, total: int, note: str = "") -> None:
        if done == 80:
            raise RuntimeError("as if killed")

    stop_after(job, 3 * BATCH)
    with pytest.raises(RuntimeError, match="as if killed"):
        train(job, CPU, die, lambda text: None)
    run(job)
    steps = [row["images"] for row in read_json_lines(tmp_path / "log.jsonl")]
    found = EventAccumulator(str(tmp_path / "tensorboard" / "attempt-1")).Reload()
    assert steps == [point.step for point in found.Scalars("loss/discriminator")] == [24, 48, 72, 96]


def test_a_state_comes_back_with_its_memory_layout() -> None:
    """The same numbers in another layout may be added up in another order."""
    recipe = tiny_job(Path()).recipe
    state, fresh = new_state(recipe, FORM, 0, CPU), new_state(recipe, FORM, 1, CPU)
    random = torch.Generator().manual_seed(0)
    for _ in range(2):
        family_of(recipe).step(state, batch_of(torch.zeros(8, 1, 32, 32), 8, random), recipe, CPU)
    restore(fresh, to_checkpoint(state))
    assert fingerprint(fresh) == fingerprint(state)
    for old, new in (
        (state.generator_optimiser, fresh.generator_optimiser),
        (state.discriminator_optimiser, fresh.discriminator_optimiser),
    ):
        for before, after in zip(old.state.values(), new.state.values(), strict=True):
            assert {key: value.stride() for key, value in before.items()} == {
                key: value.stride() for key, value in after.items()
            }


def test_a_small_cohort_makes_one_batch_of_all(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    few = replace(job, images=job.images[:5], labels=job.labels[:5])
    assert (few.batch, few.steps_per_epoch, few.total) == (5, 1, 15)
    assert (job.batch, job.steps_per_epoch, job.total) == (BATCH, 4, BATCH * ROUNDS)


def test_other_images_make_another_run(tmp_path: Path) -> None:
    """The same recipe on other classes must not go on from the first classes' weights."""
    one = tiny_job(tmp_path)
    assert replace(one).identity == one.identity
    assert replace(one, images=one.images[::-1]).identity != one.identity
