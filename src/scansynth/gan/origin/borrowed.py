"""Reads the weights that `generator.start_from` names, and refuses those that do not fit."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from scansynth.data.tensors import Cohort
from scansynth.errors import CheckpointError, ConfigError
from scansynth.gan.models.families import family_of
from scansynth.gan.models.family import Form
from scansynth.gan.origin.roles import compare_roles
from scansynth.gan.origin.start_from import Origin, fits
from scansynth.gan.standing import described_run
from scansynth.gan.start import shapes_of
from scansynth.gan.state import discriminator_in
from scansynth.gan.watching.health import Level
from scansynth.gan.weights import FACTS, GeneratorFacts, load_generator
from scansynth.learning import checkpoint
from scansynth.recipe import Recipe
from scansynth.study import Study

_HERE = "generator.start_from"


def read_origin(study: Study, cohort: Cohort, learning: frozenset[str], recipe: Recipe, form: Form) -> Origin | None:
    """What the study's training starts from; none: from chance.

    Args:
        study: Its settings name the run, and how many layers stay.
        cohort: Of the study.
        learning: Patients whom the training may learn from.
        recipe: Complete.
        form: What the networks are built for.

    Raises:
        ConfigError: There is no such run, or its networks are others.
        CheckpointError: Its weights are damaged.
        LedgerError: It learned from patients who are held out here.
    """
    own = study.config.generator
    if not own.start_from:
        return None
    run = study.source(own.start_from)
    if run == study.run().resolve():
        raise ConfigError(
            f"{_HERE} names the run that is to be trained; name another, or give generator.run a new name"
        )
    if not (run / FACTS).is_file():
        raise ConfigError(f"{_HERE}: there is no trained run in {own.start_from}; name its folder, STUDY/gan/RUN")
    sampler, facts = load_generator(run)
    _check_alike(facts, recipe, form)
    networks, generator = shapes_of(family_of(recipe), form), sampler.network.state_dict()
    if not fits(generator, networks.generator):
        raise ConfigError(f"{_HERE}: the weights are of other networks than those of the recipe {recipe.name}")
    judge = _judge(run, recipe, networks.discriminator, own.freeze)
    found = compare_roles(cohort, learning, run)
    return Origin(
        generator,
        judge,
        facts.weights_sha256,
        facts.recipe,
        facts.images,
        own.freeze,
        found.own,
        found.known,
        found.words,
    )


def _check_alike(facts: GeneratorFacts, recipe: Recipe, form: Form) -> None:
    """Passes when the weights are of networks as this training has.

    Raises:
        ConfigError: They are not, or the generator had collapsed.
    """
    family = family_of(recipe)
    if facts.level == Level.CRITICAL:
        raise ConfigError(f"{_HERE}: the generator of that run had collapsed; start from another one")
    table = facts.settings.get("network")
    theirs = table if isinstance(table, dict) else {}
    pairs = [
        ("family", facts.family, recipe.family),
        ("rows x columns", " x ".join(map(str, facts.shape)), " x ".join(map(str, form.shape))),
        ("number of channels", facts.channels, form.channels),
        *((f"network.{name}", theirs.get(name), value) for name, value in recipe.network.items()),
    ]
    if family.labelled:
        pairs.append(("number of classes", max(1, len(facts.classes)), max(1, form.classes)))
    pairs.append(("number of columns of conditions", facts.form.conditions, form.conditions))
    for name, its, wanted in pairs:
        if its != wanted:
            raise ConfigError(
                f"{_HERE}: the {name} of those weights is {its}, and of this training {wanted}; the networks must be "
                "alike: change the settings here, or start from another run"
            )


def _judge(run: Path, recipe: Recipe, like: nn.Module, freeze: int) -> dict[str, Tensor] | None:
    """Weights of the discriminator of a run; none where it has none of this form.

    Raises:
        ConfigError: Layers are to stay that are not there.
    """
    layers = family_of(recipe).layers(like)
    if freeze >= max(1, len(layers)):
        most = f"at most {len(layers) - 1} can be frozen" if layers else "no layer can be frozen"
        raise ConfigError(f"generator.freeze = {freeze}: of the discriminator of the family {recipe.family} {most}")
    found = _discriminator(run)
    if found is not None and fits(found, like):
        return found
    if freeze:
        raise ConfigError(
            f"generator.freeze: the run {run.name} has no discriminator of this recipe in its checkpoints, and layers "
            "that never learned cannot stay; take generator.freeze out"
        )
    return None


def _discriminator(run: Path) -> dict[str, Tensor] | None:
    """Weights of the discriminator in the newest readable checkpoint of a run; None if no checkpoint can be read."""
    try:
        found = checkpoint.load_newest(run / "checkpoints", str(described_run(run)["identity"]), lambda line: None)
    except (CheckpointError, KeyError):
        return None
    return None if found is None else discriminator_in(found)
