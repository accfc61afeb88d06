"""A recipe: a named, complete setting of networks, losses and schedule."""

from __future__ import annotations

from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from scansynth.config import Settings, parse, read_toml
from scansynth.errors import ConfigError

Decay = Annotated[float, Field(ge=0.0, lt=1.0)]


class OptimiserSettings(Settings):
    """Adam, for both networks."""

    learning_rate: float = Field(2e-4, gt=0, description="Step size.")
    betas: tuple[Decay, Decay] = Field((0.5, 0.999), description="Decay of the two moments.")


class ReplaySettings(Settings):
    """Buffer of past generated images, mixed into the discriminator's batches."""

    on: bool = Field(True, description="Use the buffer.")
    capacity: int = Field(512, ge=1, description="Images kept.")
    share: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.5, description="Share of past images in a batch of generated images."
    )


class AugmentationSettings(Settings):
    """Basic augmentation of the real images, where modality and view permit it."""

    on: bool = Field(True, description="Augment the real images.")
    flips: bool = Field(True, description="Mirror with probability 0.5 in each permitted direction.")
    rotation_degrees: float = Field(5.0, ge=0, le=15, description="Largest rotation in either direction.")


class EmaSettings(Settings):
    """Exponential moving average of the generator's weights."""

    on: bool = Field(True, description="Keep the average and generate from it.")
    half_life_images: float = Field(5_000, gt=0, description="Half-life in images.")


class Change(StrEnum):
    """What a roll-back may change."""

    REPLAY = "replay"
    SPECTRAL_NORM = "spectral_norm"
    PENALTY = "penalty"
    RATE = "rate"


class CollapseSettings(Settings):
    """Response to mode collapse."""

    respond: bool = Field(
        True, description="After a collapse, roll back to a healthy checkpoint and change one setting."
    )
    changes: tuple[Change, ...] = Field(
        tuple(Change), description="Permitted changes, in this order; those already on are skipped."
    )
    most_changes: int = Field(
        3, ge=0, le=20, description="Number of changes after which a further collapse ends training."
    )


class ScheduleSettings(Settings):
    """Length and batch size of training."""

    epochs: int = Field(200, ge=1, description="Epochs: passes over the training images.")
    batch: int = Field(16, ge=2, description="Batch size.")
    log_every_images: int = Field(1_400, ge=1, description="Images between two log lines and evaluations.")
    grid_every_images: int = Field(10_000, ge=1, description="Images between two sample grids.")
    healthy_every_images: int = Field(
        10_000, ge=1, description="Images between two checkpoints that a roll-back may return to."
    )


class ChoiceSettings(Settings):
    """Choice of the state that images are drawn from, on images of tune patients."""

    on: bool = Field(False, description="Keep the best state, and end when none is better; else take the last one.")
    every_images: int = Field(10_000, ge=1, description="Images between two evaluations on tune patients.")
    patience: int = Field(5, ge=1, description="Evaluations without a better state after which training ends.")


class Recipe(Settings):
    """A complete recipe."""

    name: str = Field(description="Name of the recipe.")
    family: str = Field(description="Family of networks; it determines the keys of network and loss.")
    about: str = Field(description="What it is and where it comes from, one sentence.")
    network: dict[str, Any] = Field(default_factory=dict, description="The family's networks.")
    loss: dict[str, Any] = Field(default_factory=dict, description="The family's losses.")
    optimiser: OptimiserSettings = OptimiserSettings()
    replay: ReplaySettings = ReplaySettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    ema: EmaSettings = EmaSettings()
    collapse: CollapseSettings = CollapseSettings()
    choice: ChoiceSettings = ChoiceSettings()
    schedule: ScheduleSettings = ScheduleSettings()

    @model_validator(mode="after")
    def _replay_holds_a_batch(self) -> Self:
        if self.replay.on and self.replay.capacity < self.schedule.batch:
            raise ValueError("replay.capacity must hold at least one batch")
        return self


def recipe_names() -> list[str]:
    """Recipes that come with scansynth."""
    folder = resources.files("scansynth") / "recipes"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` updated with `changes`, table by table."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def load_recipe(name: str, overrides: dict[str, Any] | None = None, base: Path = Path()) -> Recipe:
    """A recipe by its name or from a TOML file, with overrides.

    Args:
        name: A known recipe, or a path that ends in .toml.
        overrides: Keys to override, in tables as in the file.
        base: Folder from which a relative path is taken.

    Raises:
        ConfigError: There is no such recipe, or a key is unknown or ill-typed.
    """
    if name in recipe_names():
        with resources.as_file(resources.files("scansynth") / "recipes" / f"{name}.toml") as path:
            values = read_toml(path)
    elif name.endswith(".toml"):
        values = read_toml(base / name)
    else:
        raise ConfigError(
            f"there is no recipe {name}; known are {', '.join(recipe_names())}, or a path to a .toml file"
        )
    return parse(Recipe, merge(values, overrides or {}), f"recipe {name}")
