"""What a training needs of memory, known before its first step.

A round is run on tensors that have a shape and no content, and every byte that would be alive is counted.
So the figure follows the networks and the losses by itself, whatever a recipe switches on.
"""

from __future__ import annotations

import copy
import math
import os
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from scansynth.errors import ConfigError
from scansynth.gan.asked.labels import blank
from scansynth.gan.models.families import count_weights, family_of
from scansynth.gan.models.family import Batch, Form, Networks
from scansynth.gan.sampling import Latent, images_of
from scansynth.gan.start import history_for, optimiser_for, shapes_of
from scansynth.gan.state import FIGURES, TrainingState
from scansynth.gan.watching.collapse import SAMPLES
from scansynth.learning import ranks
from scansynth.learning.device import Device
from scansynth.recipe import Recipe

SPARE = 0.2
"""Share that lies idle between blocks: the allocator does not give all back, nor fill every gap.

Measured on a CPU, one round at 64 to 512 pixels: 7 to 35 % over what is alive.
"""

KERNELS = 100 << 20
"""Bytes of the operators themselves, loaded at their first use; measured on a CPU."""

_ENCODER_BYTES = 60 << 20  # of the monitor's encoder in one pass; measured
_LEAST_BATCH, _LEAST_WIDTH, _LEAST_SIZE = 2, 4, 32


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes on the device that trains.

    Attributes:
        weights: Of both networks, with buffers.
        gradients: Of both networks.
        moments: Of both optimisers.
        average: Of the moving average, and of the best state so far; 0 without them.
        history: Of past fakes; 0 without replay.
        data: The training images, 2 bytes a pixel.
        activations: What a round holds besides, at its highest.
        look: What a look at the generator's variety holds besides.
        keeping: What writing a checkpoint holds besides; nothing on a GPU, since it is made outside of it.
    """

    weights: int
    gradients: int
    moments: int
    average: int
    history: int
    data: int
    activations: int
    look: int
    keeping: int

    @property
    def stays(self) -> int:
        """What is held between two rounds."""
        return self.weights + self.gradients + self.moments + self.average + self.history + self.data

    @property
    def round(self) -> int:
        """What a round needs, with what lies idle."""
        return self._with_spare(self.activations)

    @property
    def total(self) -> int:
        """What the training needs at its highest, with what lies idle. A round, a look and a save never overlap."""
        return self._with_spare(max(self.activations, self.look, self.keeping))

    def _with_spare(self, passing: int) -> int:
        scattered = self.stays - self.history - self.data + passing  # those two are one block each
        return self.stays + passing + KERNELS + round(SPARE * scattered)


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Counts the bytes of all tensors made inside, as long as something holds them.

    Attributes:
        now: Bytes alive.
        most: Most bytes alive at once, since it was last set.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types here
        self.now = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return  # a view
        self._known.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, key, size).atexit = False

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


class _Counted(NamedTuple):
    """Bytes of what a recipe's networks and one of its rounds hold: `MemoryNeed` has the words."""

    generator: int
    discriminator: int
    trained: int
    average: int
    history: int
    activations: int
    drawing: int


_NO_BYTES = {"name", "about", "optimiser", "augmentation", "collapse", "choice", "schedule"}
"""Parts of a recipe on which no count hangs. The optimiser's are a rate and two decays."""

_known: dict[tuple[str, Form, int, Device], _Counted] = {}
"""What was counted in this process: a trial's trainings ask the same, and so does one before and after a change."""


def training_bytes(recipe: Recipe, form: Form, images: int, batch: int, device: Device) -> MemoryNeed:
    """What a training needs at its highest; allocates nothing, draws nothing, and takes a second.

    On several ranks it is what each of them needs, with its share of the batch.

    Args:
        recipe: Networks, losses, replay, moving average.
        form: What the networks are built for.
        images: Images of the role train.
        batch: Images in a step; no more than there are.
        device: Where it is to run. Counted is always what a CPU would hold in that precision: a GPU keeps the same
            tensors, and needs some more for its libraries.
    """
    count = -(-min(batch, images) // ranks.count())
    asked = Device("cpu", "", device.precision, device.channels_last)
    key = recipe.model_dump_json(exclude=_NO_BYTES), form, count, asked
    if key not in _known:
        _known[key] = _count(recipe, form, count, asked)
    found = _known[key]
    weights, pixels = found.generator + found.discriminator, math.prod(form.shape)
    pixels *= form.channels + family_of(recipe).masks
    averaged = found.average + (found.generator if recipe.choice.on else 0)
    kept = weights + 2 * found.trained + averaged + found.history
    return MemoryNeed(
        weights=weights,
        gradients=found.trained,
        moments=2 * found.trained,
        average=averaged,
        history=found.history,
        data=2 * images * pixels,
        activations=found.activations,
        look=found.drawing if device.kind != "cpu" else max(found.drawing, _examining(pixels)),
        keeping=_keeping(kept, found.history, device) if device.kind == "cpu" else 0,
    )


def _count(recipe: Recipe, form: Form, count: int, device: Device) -> _Counted:
    """Runs a round of `count` images, and draws a look's, on tensors that have no content."""
    family = family_of(recipe)
    networks, average = _shapes(recipe, form, device)
    shape = (form.channels + family.masks, *form.shape)
    with ranks.apart(), FakeTensorMode(allow_non_fake_inputs=True), _LiveBytes() as live:
        state = _empty_state(recipe, form, device, networks, average)
        live.most = held = live.now
        latent = _latent(count, networks.noise, form)
        given = Batch(torch.empty(count, *shape), latent.labels, latent.noise, torch.Generator(), 0, count)
        family.step(state, given, recipe, device)
        activations = live.most - held
        del given, latent
        live.most = held = live.now
        images_of(state.sampler, _latent(2 * SAMPLES, networks.noise, form))
        drawing = live.most - held
        history = 0 if state.history is None else state.history.images.untyped_storage().nbytes()
    return _Counted(
        generator=_bytes(networks.generator),
        discriminator=_bytes(networks.discriminator),
        trained=4 * (count_weights(networks.generator) + count_weights(networks.discriminator)),
        average=0 if average is None else _bytes(average),
        history=history,
        activations=activations,
        drawing=drawing,
    )


def _latent(count: int, length: int, form: Form) -> Latent:
    return Latent(torch.empty(count, length), blank(count, form.conditions))


def _shapes(recipe: Recipe, form: Form, device: Device) -> tuple[Networks, nn.Module | None]:
    """Both networks and the average without content, in the memory format of the training."""
    networks = shapes_of(family_of(recipe), form)
    for network in (networks.generator, networks.discriminator):
        network.to(memory_format=device.memory_format)  # type: ignore[call-overload]  # torch's stub lacks this form
    return networks, copy.deepcopy(networks.generator).requires_grad_(False) if recipe.ema.on else None


def _empty_state(
    recipe: Recipe, form: Form, device: Device, networks: Networks, average: nn.Module | None
) -> TrainingState:
    """A state as in the middle of a training: with gradients, moments, and a full history."""
    if average is not None:
        average.to_empty(device=device.torch_device)
    for network in (networks.generator, networks.discriminator):
        network.to_empty(device=device.torch_device)
        for value in network.parameters():
            value.grad = torch.empty_like(value)
    state = TrainingState(
        generator=networks.generator,
        discriminator=networks.discriminator,
        average=average,
        generator_optimiser=optimiser_for(networks.generator, recipe),
        discriminator_optimiser=optimiser_for(networks.discriminator, recipe),
        history=history_for(recipe, family_of(recipe), form, device),
        sums=torch.zeros(len(FIGURES)),
    )
    state.generator_optimiser.step()
    state.discriminator_optimiser.step()
    if state.history is not None:
        state.history.filled = len(state.history.images)
    return state


def _bytes(network: nn.Module) -> int:
    """Bytes of a network's parameters and buffers."""
    return sum(value.numel() * value.element_size() for value in network.state_dict().values())


def _examining(pixels: int) -> int:
    """Bytes of a look's images, twice in float32, and of the encoder's pass over some of them."""
    return pixels * 2 * SAMPLES * 8 + _ENCODER_BYTES


def _keeping(kept: int, history: int, device: Device) -> int:
    """Bytes that writing a checkpoint takes, from what goes into it.

    All is copied twice, to bytes and to the file's form; weights and moments once before, into one memory layout.
    """
    return 2 * kept + (kept - history if device.channels_last else 0)


def available_bytes(device: Device, root: Path = Path("/")) -> int:
    """Memory that a training may take now.

    Args:
        device: A GPU answers for itself. For a CPU it is what the system can give without swapping, or what the
            container or service may still take, where that is less; an equal part of it for each rank on it.
        root: Where the system's files lie.
    """
    if device.kind == "cuda":
        place = device.torch_device
        idle = torch.cuda.memory_reserved(place) - torch.cuda.memory_allocated(place)
        return int(torch.cuda.mem_get_info(place)[0]) + idle
    return min(_system_left(root), *_groups_left(root), sys.maxsize) // ranks.on_this_machine()


def _system_left(root: Path) -> int:
    """MemAvailable; where the system does not tell, all the memory it has."""
    for line in _lines(root / "proc" / "meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not known on this system
        return sys.maxsize


def _groups_left(root: Path) -> Iterator[int]:
    """What each control group around this process may still take, of version 2 or 1 of the kernel's interface.

    Pages of files count as taken there, and are given up at once when memory runs short; so they are left out.
    """
    groups = root / "sys" / "fs" / "cgroup"
    for line in _lines(root / "proc" / "self" / "cgroup"):
        number, controllers, path = line.split(":", 2)
        if number == "0":
            base, limit, used, prefix = groups, "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            base, limit, used, prefix = groups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
        else:
            continue
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts) + 1):
            folder = base.joinpath(*parts[:depth])
            most, taken = _lines(folder / limit), _lines(folder / used)
            if most and taken and most[0].isdigit() and taken[0].isdigit():
                files = sum(_statistic(folder, f"{prefix}{name}_file") for name in ("active", "inactive"))
                yield max(0, int(most[0]) - int(taken[0]) + files)


def _statistic(folder: Path, name: str) -> int:
    """One number of a control group's statistics; 0 when it is not there."""
    for line in _lines(folder / "memory.stat"):
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return 0


def _lines(path: Path) -> list[str]:
    """Lines of a file of the system; none when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def check_fits(recipe: Recipe, form: Form, images: int, device: Device, available: int | None = None) -> MemoryNeed:
    """Refuses a training that the memory cannot hold, before its first step.

    The need is an estimate, good to about 15 % where it was measured (another processor's convolutions may take
    a quarter more), and it is taken as it is: a training is refused
    when the estimate is more than there is.

    Args:
        recipe: As it will train.
        form: What the networks are built for.
        images: Images of the role train.
        device: Where it is to run.
        available: Bytes; none: what `available_bytes` says.

    Raises:
        ConfigError: It does not fit; says which batch would, or else which width or size.
    """
    there = available_bytes(device) if available is None else available
    need = training_bytes(recipe, form, images, recipe.schedule.batch, device)
    if need.total <= there:
        return need
    kind = "memory" if device.kind == "cpu" else "GPU memory"
    raise ConfigError(
        f"the training needs about {need.total / 2**30:.1f} GiB of {kind}, and {there / 2**30:.1f} GiB are free; "
        + _advice(recipe, form, images, device, there)
    )


def _advice(recipe: Recipe, form: Form, images: int, device: Device, available: int) -> str:
    """What to set so that the training fits: the largest batch, else the largest width, else the largest size."""
    asked, family = recipe.schedule.batch, family_of(recipe)

    def narrowed(width: int) -> Recipe:
        narrow = family.narrowed(width)
        return recipe if narrow is None else recipe.model_copy(update=narrow.tables())

    def fits(recipe: Recipe, form: Form, batch: int) -> bool:
        return training_bytes(recipe, form, images, batch, device).total <= available

    batch = _largest(_powers_below(min(asked, images), _LEAST_BATCH), lambda batch: fits(recipe, form, batch))
    if batch is not None:
        return f"set generator.overrides.schedule.batch = {batch} in study.toml"
    widths = _powers_below(family.width, _LEAST_WIDTH)
    width = _largest(widths, lambda width: fits(narrowed(width), form, asked))
    if width is not None:
        return f"set generator.overrides.network.width = {width} in study.toml"
    sides = _powers_below(max(form.shape), _LEAST_SIZE)
    side = _largest(sides, lambda side: fits(recipe, form._replace(shape=(side, side)), asked))
    if side is not None:
        return f"set cohort.size = {side} in study.toml, and ingest again"
    return "close other programs, or use a machine with more memory"


def _largest(values: list[int], fits: Callable[[int], bool]) -> int | None:
    """The first of falling values that fits; none when the last does not, for then none does."""
    return next(filter(fits, values)) if values and fits(values[-1]) else None


def _powers_below(value: int, least: int) -> list[int]:
    """Powers of two under `value`, downward to `least`."""
    powers = [1 << exponent for exponent in range(value.bit_length())]
    return [power for power in reversed(powers) if least <= power < value]
