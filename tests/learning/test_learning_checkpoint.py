"""Checkpoints: whole or not there, and nothing altered or foreign is loaded."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scans import as_ordinary_user

from scansynth.errors import CheckpointError, StorageError
from scansynth.files import sha256_bytes, sha256_json
from scansynth.learning.checkpoint import (
    FORMAT,
    Checkpoint,
    load,
    load_healthy,
    load_newest,
    optimiser_tensors,
    read_weights,
    restore_optimiser,
    save,
    weights_bytes,
)

ME = "recipe and cohort"
TENSORS, STATE = "tensors.safetensors", "state.json"


def made(images: int) -> Checkpoint:
    random = torch.Generator().manual_seed(images)
    tensors = {
        "a/weight": torch.randn(4, 3, 2, 2, generator=random).to(memory_format=torch.channels_last),
        "b/half": torch.randn(5, generator=random).bfloat16(),
        "c/count": torch.tensor(images),
    }
    return Checkpoint(images, tensors, {"seconds": 1.5, "rounds": 3})


def same(first: Checkpoint, second: Checkpoint) -> bool:
    return (
        (first.images, dict(first.state)) == (second.images, dict(second.state))
        and first.tensors.keys() == second.tensors.keys()
        and all(torch.equal(first.tensors[name], value) for name, value in second.tensors.items())
        and all(first.tensors[name].dtype == value.dtype for name, value in second.tensors.items())
    )


def kept(folder: Path) -> list[int]:
    """Images of the kept checkpoints; those of attempt 2 as 2,000,000,000 and more."""
    assert all(path.name[0] != "." for path in folder.iterdir())
    found = [tuple(map(int, path.name.split("-"))) for path in folder.iterdir()]
    return sorted((attempt - 1) * 2 * 10**9 + images for attempt, images in found)


def test_a_checkpoint_comes_back_whole(tmp_path: Path) -> None:
    path = save(tmp_path, made(160), ME, keep=3)
    assert same(load(path, ME), made(160))
    assert weights_bytes(load(path, ME).tensors) == weights_bytes(made(160).tensors)


def test_only_the_newest_two_stay(tmp_path: Path) -> None:
    for images in (8, 16, 1_000_000, 2_000_000):
        save(tmp_path, made(images), ME, keep=3)
    assert kept(tmp_path) == [1_000_000, 2_000_000]
    found = load_newest(tmp_path, ME, pytest.fail)
    assert found is not None
    assert same(found, made(2_000_000))
    assert load_healthy(tmp_path, ME, pytest.fail) is None


def test_healthy_ones_stay_besides_the_newest_two(tmp_path: Path) -> None:
    for images in range(8, 88, 8):
        save(tmp_path, replace(made(images), healthy=images in (8, 16, 32, 40)), ME, keep=3)
    assert kept(tmp_path) == [16, 32, 40, 72, 80]
    found = load_healthy(tmp_path, ME, pytest.fail)
    assert found is not None
    assert (found.images, found.healthy) == (40, True)


def test_a_damaged_healthy_one_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    for images in (8, 16):
        save(tmp_path, replace(made(images), healthy=True), ME, keep=3)
    (tmp_path / "01-000000000016" / TENSORS).write_bytes(b"")
    warnings: list[str] = []
    found = load_healthy(tmp_path, ME, warnings.append)
    assert found is not None
    assert found.images == 8
    assert "going back to the healthy one before" in warnings[0]


def test_a_later_attempt_is_newer_whatever_its_images(tmp_path: Path) -> None:
    for images in (8, 16, 24):
        save(tmp_path, replace(made(images), healthy=True), ME, keep=3)
    save(tmp_path, replace(made(16), attempt=2, healthy=True), ME, keep=3)
    assert kept(tmp_path) == [16, 24, 2_000_000_016]
    found = load_newest(tmp_path, ME, pytest.fail)
    assert found is not None
    assert (found.attempt, found.images) == (2, 16)


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "none", ME, pytest.fail) is None
    (tmp_path / ".01-000000000008.scansynth-new-abc").mkdir()
    assert load_newest(tmp_path, ME, pytest.fail) is None


def test_what_a_killed_save_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".01-000000000008.scansynth-new-abc").mkdir()
    (tmp_path / ".01-000000000008.scansynth-new-abc" / TENSORS).write_bytes(b"half")
    save(tmp_path, made(16), ME, keep=3)
    assert kept(tmp_path) == [16]


def test_damaged_ones_never_push_out_a_good_one(tmp_path: Path) -> None:
    for images in (8, 16):
        save(tmp_path, made(images), ME, keep=3)
    (tmp_path / "01-000000000016" / TENSORS).write_bytes(b"")
    save(tmp_path, made(12), ME, keep=3)
    assert kept(tmp_path) == [8, 12]


def truncated(folder: Path) -> str:
    path = folder / TENSORS
    path.write_bytes(path.read_bytes()[:-1])
    return "altered"


def one_bit(folder: Path) -> str:
    path = folder / TENSORS
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    return "altered"


def one_figure(folder: Path) -> str:
    values = json.loads((folder / STATE).read_text())
    values["state"]["rounds"] += 1
    (folder / STATE).write_text(json.dumps(values))
    return "altered"


def cut_json(folder: Path) -> str:
    (folder / STATE).write_text((folder / STATE).read_text()[:-5])
    return "incomplete"


def no_object(folder: Path) -> str:
    (folder / STATE).write_text("[]")
    return "incomplete"


def no_tensors(folder: Path) -> str:
    (folder / TENSORS).unlink()
    return "incomplete"


def other_format(folder: Path) -> str:
    values = json.loads((folder / STATE).read_text())
    (folder / STATE).write_text(json.dumps({**values, "format": FORMAT + 1}))
    return f"format {FORMAT + 1}"


def pickled(folder: Path) -> str:
    """A pickle with a hash that fits, as somebody would plant it; it would leave a trace if it ran."""

    class Trap:
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            return os.mkdir, (str(folder / "trap"),)

    data = pickle.dumps(Trap())
    _replace(folder, data)
    return "nothing else is ever loaded"


def torch_saved(folder: Path) -> str:
    stream = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, stream)
    _replace(folder, stream.getvalue())
    return "nothing else is ever loaded"


def _replace(folder: Path, data: bytes) -> None:
    values = json.loads((folder / STATE).read_text())
    del values["sha256"]
    values["tensors_sha256"] = sha256_bytes(data)
    (folder / TENSORS).write_bytes(data)
    (folder / STATE).write_text(json.dumps({**values, "sha256": sha256_json(values)}))


DAMAGES = [truncated, one_bit, one_figure, cut_json, no_object, no_tensors, other_format, pickled, torch_saved]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_refused_with_the_reason(tmp_path: Path, damage: Callable[[Path], str]) -> None:
    save(tmp_path, made(8), ME, keep=3)
    newest = save(tmp_path, made(16), ME, keep=3)
    reason = damage(newest)
    with pytest.raises(CheckpointError, match=reason) as fault:
        load(newest, ME)
    assert "\n" not in str(fault.value)
    warnings: list[str] = []
    found = load_newest(tmp_path, ME, warnings.append)
    assert found is not None
    assert same(found, made(8))
    assert len(warnings) == 1
    assert reason in warnings[0]
    damage(tmp_path / "01-000000000008")
    with pytest.raises(CheckpointError, match="to train from the start"):
        load_newest(tmp_path, ME, warnings.append)
    assert not list(tmp_path.glob("*/trap"))


def test_any_flipped_bit_is_found(tmp_path: Path) -> None:
    path, random = save(tmp_path, made(8), ME, keep=3), np.random.default_rng(0)
    for name in (TENSORS, STATE):
        whole = (path / name).read_bytes()
        for place in random.integers(0, len(whole), 60):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << random.integers(0, 8)
            (path / name).write_bytes(flipped)
            try:
                found = load(path, ME)
            except CheckpointError:
                continue
            finally:
                (path / name).write_bytes(whole)
            assert name == STATE  # a blank of the JSON became another blank
            assert same(found, made(8))


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, made(8), ME, keep=3)
    with pytest.raises(CheckpointError, match="another recipe or cohort"):
        load(path, "other")


def test_a_full_disk_leaves_the_older_ones(tmp_path: Path) -> None:
    """The kernel refuses a file beyond the limit of a child process."""
    save(tmp_path, made(8), ME, keep=2)
    program = """
import resource, sys
from pathlib import Path
import torch
from scansynth.errors import StorageError
from scansynth.learning.checkpoint import Checkpoint, save
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save(Path(sys.argv[1]), Checkpoint(16, {"a": torch.zeros(50_000)}, {}), "x", keep=2)
except StorageError as fault:
    print(fault)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True)
    assert "free some space" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert kept(tmp_path) == [8]
    assert same(load(tmp_path / "01-000000000008", ME), made(8))


@pytest.mark.parametrize("sync", range(1, 8))
def test_a_disk_that_fills_at_any_moment_of_a_save_leaves_the_older_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: int
) -> None:
    save(tmp_path, made(8), ME, keep=2)
    real, left = os.fsync, [sync]

    def refuse(handle: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(28, os.strerror(28))
        real(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    try:
        save(tmp_path, made(16), ME, keep=2)
        assert left[0] > 0
    except StorageError:
        assert left[0] <= 0
    found = load_newest(tmp_path, ME, pytest.fail)
    assert found is not None
    assert same(found, made(found.images))
    assert 8 in kept(tmp_path)


def test_a_read_only_folder_is_refused(open_path: Path) -> None:
    folder = open_path / "checkpoints"
    save(folder, made(8), ME, keep=2)
    folder.chmod(0o555)
    try:
        with as_ordinary_user(folder), pytest.raises(StorageError, match="make the folder writable"):
            save(folder, made(16), ME, keep=2)
        assert same(load(folder / "01-000000000008", ME), made(8))
    finally:
        folder.chmod(0o755)


def test_the_bytes_do_not_depend_on_order_or_layout() -> None:
    tensors = dict(made(8).tensors)
    turned = {name: tensors[name].contiguous() for name in reversed(tensors)}
    assert weights_bytes(tensors) == weights_bytes(turned)
    assert read_weights(weights_bytes(tensors), "x").keys() == tensors.keys()


@pytest.mark.parametrize("data", [b"", b"\x00" * 8, b"\xff" * 40, b"PK\x03\x04"])
def test_bytes_that_are_no_safetensors_are_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        read_weights(data, "x")


@pytest.mark.parametrize("fused", [False, True])
def test_an_optimiser_goes_on_as_if_never_stopped(fused: bool) -> None:
    def network() -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 1, 3))
        layers.to(memory_format=torch.channels_last)
        return layers

    def steps(layers: torch.nn.Module, optimiser: torch.optim.Adam, numbers: range) -> None:
        for number in numbers:
            images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(number))
            optimiser.zero_grad()
            layers(images).square().mean().backward()
            optimiser.step()

    whole, first, second = network(), network(), network()
    adam = [torch.optim.Adam(layers.parameters(), 0.01, fused=fused) for layers in (whole, first, second)]
    steps(whole, adam[0], range(6))
    steps(first, adam[1], range(3))
    second.load_state_dict(first.state_dict())
    restore_optimiser(adam[2], "adam", read_weights(weights_bytes(optimiser_tensors(adam[1], "adam")), "x"))
    steps(second, adam[2], range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))
