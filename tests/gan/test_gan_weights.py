"""A generator at rest."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scansynth.errors import CheckpointError
from scansynth.files import sha256_bytes, sha256_file
from scansynth.gan.models.dcgan import Dcgan, NetworkSettings, build_generator
from scansynth.gan.weights import FACTS, GeneratorFacts, load_generator, save_generator
from scansynth.study import WEIGHTS

SETTINGS = NetworkSettings(noise=8, width=4)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, torch.nn.Module, GeneratorFacts]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = build_generator((32, 32), 1, SETTINGS)
        generator(torch.randn(16, 8))
    facts = GeneratorFacts("dcgan", "dcgan", Dcgan(network=SETTINGS).tables(), (32, 32), 1, ("nodule",), 96, "healthy")
    return tmp_path, generator, save_generator(tmp_path, generator, facts)


def test_weights_and_facts_come_back(saved: tuple[Path, torch.nn.Module, GeneratorFacts]) -> None:
    folder, generator, facts = saved
    before = torch.random.get_rng_state()
    loaded, found = load_generator(folder)
    assert found == facts
    assert facts.weights_sha256 == sha256_file(folder / WEIGHTS)
    assert not loaded.network.training
    assert (loaded.noise, loaded.channels, loaded.classes) == (8, 1, 0)  # dcgan does not tell classes apart
    noise = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.network(noise), generator.eval()(noise))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_equal_weights_have_equal_bytes(saved: tuple[Path, torch.nn.Module, GeneratorFacts], tmp_path: Path) -> None:
    folder, generator, facts = saved
    generator.to(memory_format=torch.channels_last)
    again = save_generator(tmp_path / "again", generator, facts)
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()
    assert again.weights_sha256 == facts.weights_sha256


def flip(folder: Path) -> str:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    return "altered"


def plant_pickle(folder: Path) -> str:
    data = pickle.dumps({"a": 1})
    (folder / WEIGHTS).write_bytes(data)
    change(folder, weights_sha256=sha256_bytes(data))
    return "nothing else is ever loaded"


def change(folder: Path, **values: Any) -> None:
    facts = json.loads((folder / FACTS).read_text())
    (folder / FACTS).write_text(json.dumps({**facts, **values}))


def other_size(folder: Path) -> str:
    change(folder, shape=[64, 64])
    return "does not fit"


def other_width(folder: Path) -> str:
    change(folder, settings={"network": {"noise": 8, "width": 8}})
    return "does not fit"


def no_size(folder: Path) -> str:
    change(folder, shape="large")
    return "damaged"


def tiny_size(folder: Path) -> str:
    change(folder, shape=[2, 2])
    return "damaged"


def other_family(folder: Path) -> str:
    change(folder, family="unknown")
    return "damaged"


def wrong_network(folder: Path) -> str:
    change(folder, settings={"network": {"noise": 8, "depth": 3}})
    return "damaged"


def more_facts(folder: Path) -> str:
    change(folder, extra=1)
    return "damaged"


def cut_facts(folder: Path) -> str:
    (folder / FACTS).write_text((folder / FACTS).read_text()[:-9])
    return "damaged"


def no_weights(folder: Path) -> str:
    (folder / WEIGHTS).unlink()
    return "no trained generator"


DAMAGES = [
    flip, plant_pickle, other_size, other_width, no_size, tiny_size, other_family, wrong_network, more_facts,
    cut_facts, no_weights,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_does_not_fit_together_is_refused_in_one_line(
    saved: tuple[Path, torch.nn.Module, GeneratorFacts], damage: Callable[[Path], str]
) -> None:
    reason = damage(saved[0])
    with pytest.raises(CheckpointError, match=reason) as fault:
        load_generator(saved[0])
    assert "\n" not in str(fault.value)
