"""What a training needs of memory: counted exactly, near to what is measured, and refused when it is not there."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from scansynth.errors import ConfigError
from scansynth.gan import memory
from scansynth.gan.memory import KERNELS, SPARE, MemoryNeed, available_bytes, check_fits, training_bytes
from scansynth.gan.models.families import complete, count_weights, family_of
from scansynth.gan.models.family import Form
from scansynth.learning.device import Device
from scansynth.recipe import Recipe, load_recipe

CPU = Device("cpu", "test", "float32", True)
CPU_BF16 = Device("cpu", "test", "bfloat16", True)
GPU = Device("cuda", "test", "float32", True)
SIDE, IMAGES = 64, 500


def recipe(**tables: dict[str, Any]) -> Recipe:
    """A narrow one; `tables` are laid over it."""
    return complete(load_recipe("dcgan", {"network": {"width": 8}, **tables}))


def form(side: int = SIDE) -> Form:
    return Form((side, side), 1, 1)


def need(made: Recipe, batch: int = 16, side: int = SIDE, device: Device = CPU) -> MemoryNeed:
    return training_bytes(made, form(side), IMAGES, batch, device)


def test_every_tensor_is_counted_while_it_lives_and_no_view_twice() -> None:
    with FakeTensorMode(), memory._LiveBytes() as live:
        first = torch.empty(1000)
        second = first + 1.0
        view = second.view(10, 100)[3]
        assert live.now == live.most == 8000
        del second
        assert live.now == 8000  # the view still holds it
        del view
        third = (first * first).sum()
        assert (live.now, live.most) == (4004, 8004)
    del first, third
    assert live.now == 0


def test_what_stays_is_the_closed_form() -> None:
    made = recipe(ema={"on": True}, replay={"on": True, "capacity": 40})
    found = need(made)
    built = family_of(made).build(*form())
    networks = built.generator, built.discriminator
    trained = 4 * sum(map(count_weights, networks))
    states = [sum(value.nbytes for value in network.state_dict().values()) for network in networks]
    assert (found.weights, found.gradients, found.moments) == (sum(states), trained, 2 * trained)
    assert found.average == states[0]
    assert found.history == 40 * SIDE * SIDE * 4
    assert found.data == IMAGES * SIDE * SIDE * 2
    assert found.stays == sum(states) + 3 * trained + found.average + found.history + found.data
    bare = need(recipe(ema={"on": False}, replay={"on": False}))
    assert (bare.average, bare.history) == (0, 0)


def test_activations_grow_by_the_same_for_each_image_more() -> None:
    made = recipe(network={"width": 32}, replay={"on": False})
    found = [need(made, batch).activations for batch in (16, 32, 48, 64)]
    steps = [after - before for before, after in itertools.pairwise(found)]
    assert min(steps) > 16 * SIDE * SIDE * 4
    assert max(steps) < 1.02 * min(steps)
    assert need(made, 4 * IMAGES) == need(made, IMAGES)  # no batch holds more images than there are


def test_a_penalty_takes_more_and_half_precision_less() -> None:
    made = recipe(network={"width": 32})
    plain = need(made, 64).activations
    assert need(recipe(network={"width": 32}, loss={"penalty": 10.0}), 64).activations > 1.2 * plain
    assert need(made, 64, device=CPU_BF16).activations < 0.8 * plain


def test_the_whole_is_what_stays_the_highest_of_the_rest_and_some_spare() -> None:
    found = need(recipe())
    highest = max(found.activations, found.look, found.keeping)
    idle = memory.KERNELS + memory.SPARE * (found.total - found.history - found.data)
    assert found.stays + highest + memory.KERNELS < found.total < found.stays + highest + idle
    assert found.round <= found.total


def test_on_a_gpu_neither_checkpoint_nor_encoder_counts() -> None:
    here, there = need(recipe()), need(recipe(), device=GPU)
    assert there.keeping == 0 < here.keeping
    assert 0 < there.look < here.look
    assert there.activations == here.activations


def test_counting_draws_nothing_and_repeats() -> None:
    before = torch.get_rng_state()
    memory._known.clear()
    first = need(recipe())
    assert torch.equal(before, torch.get_rng_state())
    memory._known.clear()
    assert need(recipe()) == first


@pytest.mark.parametrize("name", ["dcgan", "compact"])
def test_what_was_counted_once_is_what_would_be_counted_anew(name: str) -> None:
    """Tables that are left out of what is asked change no byte; others are counted by themselves."""
    made = complete(load_recipe(name))
    other = load_recipe(
        name,
        {
            "optimiser": {"learning_rate": 1e-5, "betas": [0.1, 0.9]},
            "augmentation": {"on": False},
            "collapse": {"respond": False},
            "schedule": {"epochs": 3, "batch": 5, "log_every_images": 7},
        },
    )
    found = [need(complete(one), 8, side=32) for one in (made, other)]
    memory._known.clear()
    assert need(complete(other), 8, side=32) == found[0] == found[1]
    kept = len(memory._known)
    need(complete(load_recipe(name, {"choice": {"on": not made.choice.on}})), 8, side=32)
    assert len(memory._known) == kept
    assert need(made, 4, side=32).activations < found[0].activations
    assert need(complete(load_recipe(name, {"ema": {"on": not made.ema.on}})), 8, side=32) != found[0]


_MEASURE = """
import os
import torch
from scansynth.gan.models.families import family_of
from scansynth.gan.models.family import Batch, Form
from scansynth.gan.start import new_state
from scansynth.gan.state import to_checkpoint
from scansynth.learning.checkpoint import weights_bytes
from scansynth.learning.device import Device
from scansynth.metrics.features import MONITOR_SEED, random_encoder
from scansynth.recipe import load_recipe

torch.set_num_threads(1)
recipe, device = load_recipe("dcgan"), Device("cpu", "test", "float32", True)

def kilobytes(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

def fresh(side):
    state = new_state(recipe, Form((side, side), 1, 1), 0, device)
    state.history.images.fill_(0.5)
    state.history.filled = recipe.replay.capacity
    return state

def look(side):
    encoder = random_encoder(MONITOR_SEED)
    encoder(torch.zeros(2, 32, 32).numpy())
    images = torch.rand(128, side, side).numpy()
    before = kilobytes("VmRSS")
    encoder(images)
    return before

def round(side):
    before, batch = kilobytes("VmRSS"), 64
    state, random = fresh(side), torch.Generator().manual_seed(0)
    for _ in range(2):
        real = torch.rand(batch, 1, side, side, generator=random)
        noise, labels = torch.randn(batch, 100, generator=random), torch.zeros(batch, dtype=torch.int64)
        family_of(recipe).step(state, Batch(real, labels, noise, random, 0, batch), recipe, device)
    return before

def keeping(side):
    state = fresh(side)
    for network, optimiser in (
        (state.generator, state.generator_optimiser), (state.discriminator, state.discriminator_optimiser)
    ):
        for value in network.parameters():
            value.grad = torch.ones_like(value)
        optimiser.step()
    before = kilobytes("VmRSS")
    weights_bytes(to_checkpoint(state).tensors)
    return before

for work, side in ((round, 64), (keeping, 64), (look, 128)):
    if os.fork():
        os.wait()
    else:
        before = work(side)
        print(work.__name__, 1024 * (kilobytes("VmHWM") - before), flush=True)
        os._exit(0)
"""


@pytest.fixture(scope="module")
def measured() -> dict[str, int]:
    """Growth of a process's memory, in bytes, at its highest: each in the fork of one that has done nothing yet."""
    said = subprocess.run([sys.executable, "-c", _MEASURE], check=True, capture_output=True, text=True).stdout
    return {name: int(grown) for name, grown in (line.split() for line in said.splitlines())}


needs_linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured in /proc")


def serves(taken: int, passing: int) -> bool:
    """Whether an estimate serves: no more than a quarter over it is taken, and no less than half of its tensors.

    In it is what every total sets aside, the operators and what lies idle: which of a convolution's ways is taken,
    and so what it needs beside its tensors, hangs on the processor.
    """
    return passing / 2 <= taken <= 1.25 * (passing + KERNELS + SPARE * passing)


@needs_linux
def test_a_real_round_takes_about_what_was_foretold(measured: dict[str, int]) -> None:
    found = training_bytes(load_recipe("dcgan"), form(), IMAGES, 64, CPU)
    assert serves(measured["round"], found.stays - found.data + found.activations)  # the data are not held here


@needs_linux
def test_a_real_checkpoint_takes_about_what_was_foretold(measured: dict[str, int]) -> None:
    assert serves(measured["keeping"], training_bytes(load_recipe("dcgan"), form(), IMAGES, 64, CPU).keeping)


@needs_linux
def test_a_real_look_takes_about_what_was_foretold(measured: dict[str, int]) -> None:
    assert serves(measured["look"], training_bytes(load_recipe("dcgan"), form(128), IMAGES, 64, CPU).look)


def test_what_fits_is_let_through() -> None:
    made = recipe()
    found = need(made, made.schedule.batch)
    assert check_fits(made, form(), IMAGES, CPU, found.total) == found


def advice(made: Recipe, available: int, device: Device = CPU) -> str:
    """What the refusal says, after checking its form."""
    with pytest.raises(ConfigError) as refusal:
        check_fits(made, form(), IMAGES, device, available)
    said = str(refusal.value)
    assert "\n" not in said
    assert re.match(r"the training needs about [\d.]+ GiB of (GPU )?memory, and [\d.]+ GiB are free; ", said)
    return said.partition("; ")[2]


def test_the_largest_batch_that_fits_is_named() -> None:
    made = recipe(network={"width": 32}, schedule={"batch": 200})
    there = need(made, 64).total
    assert advice(made, there) == "set generator.overrides.schedule.batch = 64 in study.toml"
    assert advice(made, there - 1) == "set generator.overrides.schedule.batch = 32 in study.toml"


def test_where_no_batch_fits_a_width_is_named_then_a_size_then_another_machine() -> None:
    made = recipe(network={"width": 32}, schedule={"batch": 8})
    narrow = need(recipe(network={"width": 16}), 8).total
    assert need(made, 2).total > narrow
    assert advice(made, narrow) == "set generator.overrides.network.width = 16 in study.toml"
    least = recipe(network={"width": 4}, schedule={"batch": 8})
    small = need(least, 8, side=32).total
    assert need(least, 2).total > small
    assert advice(least, small) == "set cohort.size = 32 in study.toml, and ingest again"
    assert advice(least, small - 1) == "close other programs, or use a machine with more memory"


def test_on_a_gpu_its_own_memory_is_named() -> None:
    with pytest.raises(ConfigError, match="GiB of GPU memory"):
        check_fits(recipe(schedule={"batch": 4}), form(), IMAGES, GPU, 1 << 20)


def test_every_batch_that_is_tried_is_a_power_of_two() -> None:
    assert memory._powers_below(200, 2) == [128, 64, 32, 16, 8, 4, 2]
    assert memory._powers_below(16, 4) == [8, 4]
    assert memory._powers_below(2, 2) == memory._powers_below(1, 2) == []


def system(root: Path, files: dict[str, str]) -> Path:
    """A planted system: 8 GiB available, and what `files` add."""
    for name, text in {"proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_a_container_it_is_what_the_system_can_give(tmp_path: Path) -> None:
    assert available_bytes(CPU, system(tmp_path, {})) == 8 << 30
    group = {"proc/self/cgroup": "0::/user/me\n", "sys/fs/cgroup/user/memory.max": "max\n"}
    assert available_bytes(CPU, system(tmp_path, group)) == 8 << 30


@pytest.mark.parametrize("depth", ["", "/outer", "/outer/inner"])
@pytest.mark.parametrize(
    ("line", "base", "limit", "used", "prefix"),
    [
        ("0::{}", "sys/fs/cgroup", "memory.max", "memory.current", ""),
        ("5:cpu,memory:{}", "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ],
    ids=["version 2", "version 1"],
)
def test_a_limit_of_any_group_around_counts_and_its_file_pages_do_not(
    tmp_path: Path, depth: str, line: str, base: str, limit: str, used: str, prefix: str
) -> None:
    files = {
        "proc/self/cgroup": "3:cpuset:/elsewhere\n" + line.format("/outer/inner") + "\n",
        f"{base}{depth}/{limit}": f"{3 << 30}\n",
        f"{base}{depth}/{used}": f"{2 << 30}\n",
        f"{base}{depth}/memory.stat": f"anon 5\n{prefix}inactive_file {1 << 29}\n{prefix}active_file {1 << 20}\n",
    }
    assert available_bytes(CPU, system(tmp_path, files)) == (1 << 30) + (1 << 29) + (1 << 20)
    files[f"{base}{depth}/{limit}"] = f"{1 << 50}\n"
    assert available_bytes(CPU, system(tmp_path, files)) == 8 << 30  # the system has less


def test_a_system_that_tells_nothing_has_some_memory(tmp_path: Path) -> None:
    assert available_bytes(CPU, tmp_path) > 1 << 28
    assert available_bytes(CPU) > 1 << 20
