"""What is done about a collapse: go back to a healthy checkpoint, and change one thing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scansynth.gan.freezing import freeze, frozen
from scansynth.gan.models.families import family_of
from scansynth.gan.models.family import Form
from scansynth.gan.start import history_for, optimiser_for
from scansynth.gan.state import TrainingState
from scansynth.gan.watching.health import GRACE_LOOKS
from scansynth.learning.device import Device
from scansynth.recipe import Change, Recipe

WORDS = {
    Change.REPLAY: "experience replay switched on",
    Change.SPECTRAL_NORM: "spectral normalisation switched on, weights kept",
    Change.PENALTY: "a stronger gradient penalty",
    Change.RATE: "half the learning rate",
}
"""Each change in plain words."""


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
    usable = [change for change in recipe.collapse.changes if changed(recipe, change) is not None]
    return min(usable, key=lambda change: counts[change], default=None)  # the first of the least used


def changed(recipe: Recipe, change: Change) -> Recipe | None:
    """The recipe with one thing altered; none when that would alter nothing: what is on cannot be switched on."""
    if change is Change.RATE:
        return _with(recipe, "optimiser", learning_rate=recipe.optimiser.learning_rate / 2.0)
    if change is Change.REPLAY:
        capacity = max(recipe.replay.capacity, recipe.schedule.batch)
        return None if recipe.replay.on else _with(recipe, "replay", on=True, capacity=capacity)
    family = family_of(recipe).altered(change)
    return None if family is None else recipe.model_copy(update=family.tables())


def _with(recipe: Recipe, table: str, **values: Any) -> Recipe:
    return recipe.model_copy(update={table: getattr(recipe, table).model_copy(update=values)})


def recipe_after(recipe: Recipe, changes: Sequence[Change]) -> Recipe:
    """The recipe with all changes in force."""
    for change in changes:
        recipe = changed(recipe, change) or recipe
    return recipe


def with_change(state: TrainingState, recipe: Recipe, change: Change, form: Form, device: Device) -> TrainingState:
    """A state as the next attempt begins with it: weights kept, one thing changed.

    Args:
        state: Healthy, or fresh.
        recipe: In force for `state`.
        change: What to alter.
        form: What the networks were built for.
        device: Where the state lives.
    """
    after = recipe_after(recipe, (change,))
    # the ratio of the losses may rightly jump, and the variety may dip
    health = replace(state.health, balances=(), unbalanced=0, grace=GRACE_LOOKS)
    state = replace(state, changes=(*state.changes, change), health=health)
    family = family_of(after)
    if change is Change.REPLAY:
        return replace(state, history=history_for(after, family, form, device))
    discriminator = family.carried_over(state.discriminator, form)
    if discriminator is state.discriminator:
        return state
    freeze(family.layers(discriminator), frozen(family.layers(state.discriminator)))
    optimiser = optimiser_for(discriminator, after)  # its moments were of other weights
    return replace(state, discriminator=discriminator, discriminator_optimiser=optimiser)
