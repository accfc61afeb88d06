"""What a roll-back changes: one thing, in the recipe's order, on the same weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import BATCH, CPU, FORM, SIDE, batch_of, fingerprint, tiny_job
from torch import Tensor, nn
from torch.nn.utils import parametrize

from scansynth.gan.models.families import complete, family_of
from scansynth.gan.start import new_state
from scansynth.gan.state import TrainingState, restore, to_checkpoint
from scansynth.gan.watching.health import GRACE_LOOKS, Health, Level
from scansynth.gan.watching.response import WORDS, changed, next_change, recipe_after, with_change
from scansynth.learning.checkpoint import optimiser_tensors
from scansynth.recipe import Change, Recipe, load_recipe

REPLAY, SPECTRAL_NORM, PENALTY, RATE = Change


def recipe(replay: bool = False, spectral_norm: bool = False, **collapse: Any) -> Recipe:
    tables = {"replay": {"on": replay}, "network": {"spectral_norm": spectral_norm}, "collapse": collapse}
    return tiny_job(Path(), tables).recipe


def walk(start: Recipe) -> list[Change]:
    """All changes that roll-back after roll-back would make."""
    made: list[Change] = []
    while (change := next_change(recipe_after(start, made), made)) is not None:
        made.append(change)
    return made


def test_changes_come_in_their_order() -> None:
    assert walk(recipe(most_changes=4)) == [REPLAY, SPECTRAL_NORM, PENALTY, RATE]
    assert walk(recipe()) == [REPLAY, SPECTRAL_NORM, PENALTY]  # three at most, unless the recipe says otherwise


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        ({"replay": True}, [SPECTRAL_NORM, PENALTY, RATE]),
        ({"spectral_norm": True}, [REPLAY, PENALTY, RATE]),
        ({"replay": True, "spectral_norm": True}, [PENALTY, RATE, PENALTY]),
    ],
)
def test_what_is_on_already_is_passed_over(on: dict[str, bool], expected: list[Change]) -> None:
    assert walk(recipe(**on)) == expected


@pytest.mark.parametrize("name", ["compact", "dcgan", "demo"])
def test_recipes_that_come_along_can_be_changed_as_often_as_they_allow(name: str) -> None:
    found = complete(load_recipe(name))
    assert walk(found) == [PENALTY, RATE, PENALTY]
    assert len(walk(found)) == found.collapse.most_changes


@pytest.mark.parametrize(
    ("allowed", "most", "expected"),
    [
        (["rate", "replay"], 3, [RATE, REPLAY, RATE]),
        (["replay"], 3, [REPLAY]),
        (["spectral_norm", "replay"], 3, [SPECTRAL_NORM, REPLAY]),
        ([], 3, []),
        (["penalty", "rate"], 0, []),
        (["penalty", "rate"], 1, [PENALTY]),
        (["penalty", "rate"], 5, [PENALTY, RATE, PENALTY, RATE, PENALTY]),
    ],
)
def test_only_what_the_recipe_lists_is_changed_and_only_so_often(
    allowed: list[str], most: int, expected: list[Change]
) -> None:
    assert walk(recipe(changes=allowed, most_changes=most)) == expected


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Keys that differ, as table.key, with their new values."""
    found = {}
    for table, values in after.items():
        if isinstance(values, dict):
            found |= {f"{table}.{key}": value for key, value in values.items() if before[table][key] != value}
        elif before[table] != values:
            found[table] = values
    return found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (REPLAY, {"replay.on": True}),
        (SPECTRAL_NORM, {"network.spectral_norm": True}),
        (PENALTY, {"loss.penalty": 1.0}),
        (RATE, {"optimiser.learning_rate": 1e-4}),
    ],
)
def test_a_change_alters_one_thing(change: Change, expected: dict[str, Any]) -> None:
    start = recipe()
    before = start.model_dump()
    after = changed(start, change)
    assert differences(before, after.model_dump()) == expected
    assert start.model_dump() == before  # the recipe itself stays as it was
    assert Recipe.model_validate(after.model_dump()) == after  # and what comes out is a recipe
    assert WORDS[change]


def test_the_changed_recipe_is_valid_even_where_the_history_was_too_small_for_a_batch() -> None:
    start = tiny_job(Path(), {"replay": {"on": False, "capacity": 2}}).recipe
    after = changed(start, REPLAY)
    assert differences(start.model_dump(), after.model_dump()) == {"replay.on": True, "replay.capacity": BATCH}
    assert Recipe.model_validate(after.model_dump()) == after


def test_changes_add_up() -> None:
    after = recipe_after(recipe(), [PENALTY, RATE, PENALTY, RATE, REPLAY])
    assert differences(recipe().model_dump(), after.model_dump()) == {
        "loss.penalty": 4.0,
        "optimiser.learning_rate": 5e-5,
        "replay.on": True,
    }
    assert recipe_after(recipe(), []) == recipe()


def rounds(state: TrainingState, of: Recipe, count: int = 2) -> TrainingState:
    """Trains so many rounds."""
    random = torch.Generator().manual_seed(state.images)
    for _ in range(count):
        real = torch.rand(BATCH, 1, SIDE, SIDE, generator=random) * 2.0 - 1.0
        figures = family_of(of).step(state, batch_of(real, of.network["noise"], random, state.images), of, CPU)
        assert bool(figures.isfinite().all())
        state.images += BATCH
    return state


def values(network: nn.Module | None) -> dict[str, Tensor]:
    return {} if network is None else {name: value.clone() for name, value in network.state_dict().items()}


def equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def moments(optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in optimiser_tensors(optimiser, "").items()}


@pytest.fixture
def trained() -> TrainingState:
    state = rounds(new_state(recipe(), FORM, 0, CPU), recipe())
    state.health = Health(
        Level.HEALTHY, armed=("generator",), settled=("generator",), low={"generator": 0}, balances=(1.0, 2.0)
    )
    return state


@pytest.mark.parametrize("change", Change)
def test_the_next_attempt_keeps_the_generator_and_what_its_optimiser_knows(
    trained: TrainingState, change: Change
) -> None:
    kept, average = values(trained.generator), values(trained.average)
    known = moments(trained.generator_optimiser)
    assert known
    after = with_change(trained, recipe(), change, FORM, CPU)
    assert equal(values(after.generator), kept)
    assert equal(values(after.average), average)
    assert equal(moments(after.generator_optimiser), known)
    assert after.changes == (change,)
    assert (after.images, after.attempt, after.seconds) == (trained.images, trained.attempt, trained.seconds)


@pytest.mark.parametrize("change", Change)
def test_what_was_known_of_health_stays_but_for_the_losses(trained: TrainingState, change: Change) -> None:
    """The ratio of the losses may rightly jump after a change, and the variety dip."""
    after = with_change(trained, recipe(), change, FORM, CPU)
    assert after.health == replace(trained.health, balances=(), unbalanced=0, grace=GRACE_LOOKS)


@pytest.mark.parametrize("change", Change)
def test_training_goes_on_after_each_change(trained: TrainingState, change: Change) -> None:
    """As the next attempt begins: from a checkpoint, into a state built from the changed recipe."""
    following = changed(recipe(), change)
    after = with_change(trained, recipe(), change, FORM, CPU)
    state = new_state(following, FORM, 99, CPU)
    restore(state, to_checkpoint(after))
    assert fingerprint(state) == fingerprint(after)
    before = values(state.generator), values(state.discriminator)
    rounds(state, following)
    assert not equal(values(state.generator), before[0])
    assert not equal(values(state.discriminator), before[1])
    optimisers = (state.generator_optimiser, state.discriminator_optimiser)
    rate = 1e-4 if change is RATE else 2e-4
    assert [optimiser.param_groups[0]["lr"] for optimiser in optimisers] == [rate, rate]


def test_replay_begins_with_an_empty_history(trained: TrainingState) -> None:
    after = with_change(trained, recipe(), REPLAY, FORM, CPU)
    assert after.history is not None
    assert after.history.filled == 0
    assert after.history.images.shape == (20, 1, SIDE, SIDE)
    assert trained.history is None
    rounds(after, changed(recipe(), REPLAY))
    assert after.history.filled == 2 * BATCH


def test_spectral_norm_begins_with_a_discriminator_that_is_normalised_and_judges_alike(trained: TrainingState) -> None:
    before = values(trained.discriminator)
    after = with_change(trained, recipe(), SPECTRAL_NORM, FORM, CPU)
    layers = [layer for layer in after.discriminator if isinstance(layer, nn.Conv2d)]  # type: ignore[union-attr]
    assert all(parametrize.is_parametrized(layer) for layer in layers)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in after.discriminator.modules())
    assert equal(values(trained.discriminator), before)  # the old one stays as it was
    assert moments(after.discriminator_optimiser) == {}  # its moments were of other weights
    owned = {id(value) for group in after.discriminator_optimiser.param_groups for value in group["params"]}
    assert owned == {id(value) for value in after.discriminator.parameters()}
    images = torch.rand(16, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 2.0 - 1.0
    with torch.no_grad():
        old, new = (network.eval()(images).flatten() for network in (trained.discriminator, after.discriminator))
    assert torch.corrcoef(torch.stack([old, new]))[0, 1] > 0.999
    assert torch.equal(old.sign(), new.sign())


@pytest.mark.parametrize("change", [REPLAY, PENALTY, RATE])
def test_other_changes_leave_the_discriminator_and_its_optimiser(trained: TrainingState, change: Change) -> None:
    before, known = values(trained.discriminator), moments(trained.discriminator_optimiser)
    after = with_change(trained, recipe(), change, FORM, CPU)
    assert equal(values(after.discriminator), before)
    assert equal(moments(after.discriminator_optimiser), known)


@pytest.mark.parametrize("order", [(REPLAY, SPECTRAL_NORM, PENALTY, RATE), (RATE, PENALTY, SPECTRAL_NORM, REPLAY)])
def test_all_changes_on_top_of_each_other_can_be_trained(trained: TrainingState, order: Sequence[Change]) -> None:
    kept, state = values(trained.generator), trained
    for number, change in enumerate(order):
        state = with_change(state, recipe_after(recipe(), order[:number]), change, FORM, CPU)
    assert equal(values(state.generator), kept)
    assert state.changes == tuple(order)
    rounds(state, recipe_after(recipe(), order))
