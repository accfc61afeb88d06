"""What is done about a collapse: go back to a healthy checkpoint, and change one thing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scansynth.gan.families import FAMILIES
from scansynth.gan.health import GRACE_LOOKS
from scansynth.gan.state import TrainingState, history_for, optimiser_for
from scansynth.learning.device import Device
from scansynth.recipe import Change, Recipe

WORDS = {
    Change.REPLAY: "experience replay switched on",
    Change.SPECTRAL_NORM: "spectral normalisation switched on, weights kept",
    Change.PENALTY: "a stronger gradient penalty",
    Change.RATE: "half the learning rate",
}
"""Each change in plain words."""

_FIRST_PENALTY = 1.0
_STRONGER = 4.0


def next_change(recipe: Recipe, made: Sequence[Change]) -> Change | None:
    """The first change of the recipe's list that would alter something, and was not made more often than others.

    Args:
        recipe: With the changes made so far in force.
        made: Those changes.

    Returns:
        None when as many were made as the recipe allows, or nothing is left to change.
    """
    if len(made) >= recipe.collapse.most_changes:
        return None
    counts = Counter(made)
    usable = [change for change in recipe.collapse.changes if _alters(recipe, change)]
    return min(usable, key=lambda change: counts[change], default=None)  # the first of the least used


def _alters(recipe: Recipe, change: Change) -> bool:
    """Whether a change would alter the recipe: what is on cannot be switched on."""
    if change is Change.REPLAY:
        return not recipe.replay.on
    if change is Change.SPECTRAL_NORM:
        return not recipe.network.spectral_norm
    return True


def changed(recipe: Recipe, change: Change) -> Recipe:
    """The recipe with one thing altered."""
    if change is Change.REPLAY:
        capacity = max(recipe.replay.capacity, recipe.schedule.batch)
        return _with(recipe, "replay", on=True, capacity=capacity)
    if change is Change.SPECTRAL_NORM:
        return _with(recipe, "network", spectral_norm=True)
    if change is Change.PENALTY:
        before = recipe.loss.penalty
        return _with(recipe, "loss", penalty=before * _STRONGER if before else _FIRST_PENALTY)
    return _with(recipe, "optimiser", learning_rate=recipe.optimiser.learning_rate / 2.0)


def _with(recipe: Recipe, table: str, **values: Any) -> Recipe:
    return recipe.model_copy(update={table: getattr(recipe, table).model_copy(update=values)})


def recipe_after(recipe: Recipe, changes: Sequence[Change]) -> Recipe:
    """The recipe with all changes in force."""
    for change in changes:
        recipe = changed(recipe, change)
    return recipe


def with_change(state: TrainingState, recipe: Recipe, change: Change, size: int, device: Device) -> TrainingState:
    """A state as the next attempt begins with it: weights kept, one thing changed.

    Args:
        state: Healthy, or fresh.
        recipe: In force for `state`.
        change: What to alter.
        size: Side of the images in pixels.
        device: Where the state lives.
    """
    after = changed(recipe, change)
    # the ratio of the losses may rightly jump, and the variety may dip
    health = replace(state.health, balances=(), unbalanced=0, grace=GRACE_LOOKS)
    state = replace(state, changes=(*state.changes, change), health=health)
    if change is Change.REPLAY:
        return replace(state, history=history_for(after, size, device))
    if change is Change.SPECTRAL_NORM:
        discriminator = FAMILIES[recipe.family].with_spectral_norm(state.discriminator, size, recipe.network)
        optimiser = optimiser_for(discriminator, after)  # its moments were of other weights
        return replace(state, discriminator=discriminator, discriminator_optimiser=optimiser)
    return state
