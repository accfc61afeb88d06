"""The families of networks that a recipe can name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from scansynth.config import parse
from scansynth.errors import ConfigError
from scansynth.gan.models.compact import Compact
from scansynth.gan.models.dcgan import Dcgan
from scansynth.gan.models.family import Family
from scansynth.gan.models.insert import Insert
from scansynth.recipe import Change, Recipe

FAMILIES: Mapping[str, type[Family]] = {
    "compact": Compact,
    "dcgan": Dcgan,
    "insert": Insert,
}


def family_of(recipe: Recipe) -> Family:
    """The recipe's family with its settings.

    Raises:
        ConfigError: There is no such family, or one of its settings is unknown or ill-typed, or it is to make
            masks or a roll-back is to change what the family does not have.
    """
    kind = FAMILIES.get(recipe.family)
    if kind is None:
        raise ConfigError(
            f"recipe {recipe.name}: there is no family {recipe.family}; known are {', '.join(sorted(FAMILIES))}"
        )
    if recipe.network.get("masks") and not kind.can_mask:
        raise ConfigError(
            f"the recipe {recipe.name} makes no lesion masks; set generator.recipe to compact, "
            "or take generator.masks out"
        )
    values = {name: table for name, table in (("network", recipe.network), ("loss", recipe.loss)) if table}
    family = parse(kind, values, f"recipe {recipe.name}")
    unknown = [change for change in recipe.collapse.changes if change not in kind.changes]
    if unknown:
        raise ConfigError(
            f"recipe {recipe.name}: collapse.changes: the family {recipe.family} has no {unknown[0].value} to change; "
            f"choose from {', '.join(change.value for change in Change if change in kind.changes)}"
        )
    return family


def check_conditions(recipe: Recipe) -> None:
    """Passes when the recipe's family heeds conditions.

    Raises:
        ConfigError: It does not.
    """
    if not family_of(recipe).can_condition:
        raise ConfigError(
            f"the recipe {recipe.name} learns no conditions; set generator.recipe to compact, "
            "or take generator.conditions out"
        )


def check_into(recipe: Recipe, into: str) -> None:
    """Passes when the recipe's family makes what `synthetic.into` asks for.

    Raises:
        ConfigError: It makes lesions alone and whole images are asked for, or the other way about.
    """
    if family_of(recipe).window and not into:
        raise ConfigError(
            f"the recipe {recipe.name} puts lesions into scans of patients, for use inside the house: set "
            'synthetic.into = "clear" in study.toml, or another generator.recipe'
        )
    if into and not family_of(recipe).window:
        raise ConfigError(
            f"the recipe {recipe.name} makes whole images and puts nothing into scans: set generator.recipe to insert, "
            "or take synthetic.into out of study.toml"
        )


def complete(recipe: Recipe) -> Recipe:
    """The recipe with every setting of its family in it, also those that its file leaves out.

    Raises:
        See `family_of`.
    """
    return recipe.model_copy(update=family_of(recipe).tables())


def count_weights(network: nn.Module) -> int:
    """Trainable numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
