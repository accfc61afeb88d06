"""Recipes: complete, typed, with single keys set otherwise."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from scansynth.config import known_keys, read_toml
from scansynth.errors import ConfigError
from scansynth.gan.models.dcgan import Dcgan
from scansynth.gan.models.families import FAMILIES, complete, family_of
from scansynth.recipe import Recipe, load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_that_comes_with_scansynth_states_every_key(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    with resources.as_file(resources.files("scansynth") / "recipes" / f"{name}.toml") as path:
        values = read_toml(path)
    for key in [*known_keys(Recipe), *known_keys(FAMILIES[recipe.family])]:
        table, _, last = key.rpartition(".")
        assert last in (values.get(table, {}) if table else values), f"recipes/{name}.toml lacks {key}; state it"
    complete(recipe)  # its family takes all that it states


def test_dcgan_is_the_published_work() -> None:
    recipe = load_recipe("dcgan")
    family = family_of(recipe)
    assert isinstance(family, Dcgan)
    assert (family.loss.real_target, family.loss.fake_target) == (0.9, 0.1)
    assert (recipe.optimiser.learning_rate, recipe.optimiser.betas) == (2e-4, (0.5, 0.999))
    assert (recipe.schedule.epochs, recipe.schedule.batch, family.network.width) == (200, 16, 64)
    assert recipe.replay.on and family.network.spectral_norm and family.loss.smoothing and recipe.augmentation.on  # noqa: PT018


def test_one_key_set_otherwise_leaves_its_neighbours() -> None:
    base, changed = load_recipe("dcgan"), load_recipe("dcgan", {"replay": {"on": False}})
    assert not changed.replay.on
    assert changed.replay.capacity == base.replay.capacity
    assert changed.model_copy(update={"replay": base.replay}) == base


@pytest.mark.parametrize(
    ("overrides", "word"),
    [
        ({"replay": {"onn": True}}, "unknown key replay.onn"),
        ({"loss": {"real_target": 0.4}}, "loss.real_target"),
        ({"optimiser": {"betas": [0.5, 1.5]}}, "optimiser.betas"),
        ({"optimiser": {"learning_rate": 0}}, "optimiser.learning_rate"),
        ({"family": "diffusion"}, f"there is no family diffusion; known are {', '.join(sorted(FAMILIES))}$"),
        ({"network": {"widht": 8}}, "unknown key network.widht; the nearest known key is network.width"),
        ({"schedule": {"batch": 1}}, "schedule.batch"),
        ({"replay": {"capacity": 4}}, "at least one batch"),
        ({"network": 5}, "network"),
    ],
)
def test_a_wrong_key_is_refused_in_one_line(overrides: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word) as fault:
        complete(load_recipe("dcgan", overrides))
    assert "\n" not in str(fault.value)


def test_a_change_that_the_family_has_not_is_refused_with_those_it_has() -> None:
    recipe = load_recipe("compact", {"collapse": {"changes": ["spectral_norm"]}})
    with pytest.raises(ConfigError, match=r"has no spectral_norm to change; choose from penalty, rate$"):
        complete(recipe)


def test_a_users_own_file_and_an_unknown_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("name = 'mine'\nfamily = 'dcgan'\nabout = 'Mine.'\n")
    assert load_recipe(str(path)).name == "mine"
    with pytest.raises(ConfigError, match=f"known are {', '.join(recipe_names())}, or a path"):
        load_recipe("stylegan")
    with pytest.raises(ConfigError, match="there is no"):
        load_recipe(str(tmp_path / "other.toml"))
