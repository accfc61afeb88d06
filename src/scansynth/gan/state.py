"""The state of one GAN training: all that a continued run needs to go on as if never interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from scansynth.gan.replay import ReplayHistory
from scansynth.gan.watching.choice import Best
from scansynth.gan.watching.health import Health, from_plain, to_plain
from scansynth.learning.checkpoint import Checkpoint, optimiser_tensors, restore_optimiser
from scansynth.recipe import Change

FIGURES = ("loss_d", "loss_g", "d_real", "d_fake")
"""What a round tells of itself."""


@dataclass
class TrainingState:
    """Networks, optimisers, history and counters; random draws derive from seed and step, and need no state.

    Attributes:
        generator: In training mode.
        discriminator: In training mode.
        average: Moving average of the generator; none when the recipe has it off.
        generator_optimiser: Adam.
        discriminator_optimiser: Adam.
        history: Past fakes; none when the recipe has replay off.
        sums: (4,) of `FIGURES`, over the rounds since the last log line.
        rounds: How many those are.
        images: Real images seen.
        seconds: Time spent in training, all sessions together.
        attempt: 1, and one more for each roll-back.
        changes: What roll-backs have altered.
        health: What the looks so far have found.
        best: The best state so far by the images of tune patients; none while nothing was chosen.
        looks_since_best: Looks on tune patients since then.
    """

    generator: nn.Module
    discriminator: nn.Module
    average: nn.Module | None
    generator_optimiser: torch.optim.Adam
    discriminator_optimiser: torch.optim.Adam
    history: ReplayHistory | None
    sums: Tensor
    rounds: int = 0
    images: int = 0
    seconds: float = 0.0
    attempt: int = 1
    changes: tuple[Change, ...] = ()
    health: Health = field(default_factory=Health)
    best: Best | None = None
    looks_since_best: int = 0

    @property
    def sampler(self) -> nn.Module:
        """The network to draw images from: the average where there is one."""
        return self.generator if self.average is None else self.average


def _networks(state: TrainingState) -> dict[str, nn.Module]:
    networks = {"generator": state.generator, "discriminator": state.discriminator}
    return networks if state.average is None else {**networks, "average": state.average}


def to_checkpoint(state: TrainingState, *, point: bool = False) -> Checkpoint:
    """Everything in `state`, by name; `point` says that it stands where roll-backs may return to."""
    tensors: dict[str, Tensor] = {}
    for name, network in _networks(state).items():
        tensors |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
    tensors |= optimiser_tensors(state.generator_optimiser, "generator_optimiser")
    tensors |= optimiser_tensors(state.discriminator_optimiser, "discriminator_optimiser")
    tensors["sums"] = state.sums
    plain = {
        "seconds": state.seconds,
        "rounds": state.rounds,
        "history_filled": 0,
        "changes": list(state.changes),
        "health": to_plain(state.health),
        "best": None if state.best is None else state.best.plain(),
        "looks_since_best": state.looks_since_best,
    }
    if state.best is not None:
        tensors |= {f"best/{key}": value for key, value in state.best.weights.items()}
    if state.history is not None:
        tensors["history"], tensors["history_labels"] = state.history.images, state.history.labels
        plain["history_filled"] = state.history.filled
    return Checkpoint(state.images, tensors, plain, state.attempt, healthy=point and state.health.clear)


def changes_in(checkpoint: Checkpoint | None) -> tuple[Change, ...]:
    """What roll-backs had altered when the checkpoint was made."""
    return () if checkpoint is None else tuple(Change(name) for name in checkpoint.state["changes"])


def discriminator_in(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Weights and buffers of the discriminator, by name."""
    return _under(checkpoint.tensors, "discriminator/")


def restore(state: TrainingState, checkpoint: Checkpoint) -> None:
    """Puts a checkpoint's values into `state`, which was built from the recipe in force when it was made."""
    tensors = checkpoint.tensors
    for name, network in _networks(state).items():
        network.load_state_dict(_under(tensors, f"{name}/"))
    restore_optimiser(state.generator_optimiser, "generator_optimiser", tensors)
    restore_optimiser(state.discriminator_optimiser, "discriminator_optimiser", tensors)
    if state.history is not None:
        state.history.images.copy_(tensors["history"])
        state.history.labels.copy_(tensors["history_labels"])
        state.history.filled = int(checkpoint.state["history_filled"])
    state.sums.copy_(tensors["sums"])
    state.rounds = int(checkpoint.state["rounds"])
    state.images = checkpoint.images
    state.seconds = float(checkpoint.state["seconds"])
    state.attempt, state.changes = checkpoint.attempt, changes_in(checkpoint)
    state.health = from_plain(checkpoint.state["health"])
    best = checkpoint.state["best"]
    state.best = None if best is None else Best(**best, weights=_under(tensors, "best/"))
    state.looks_since_best = int(checkpoint.state["looks_since_best"])


def finite(state: TrainingState) -> bool:
    """Whether all weights and figures are finite numbers; waits for the device."""
    values = [state.sums, *state.generator.state_dict().values(), *state.discriminator.state_dict().values()]
    return bool(torch.stack([value.isfinite().all() for value in values]).all())


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
