"""A generator at rest: its weights as safetensors, and what it takes to use them as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from scansynth.errors import CheckpointError, ConfigError
from scansynth.files import read_json, sha256_bytes, write_bytes, write_json
from scansynth.gan.asked.conditions import from_plain
from scansynth.gan.models.families import FAMILIES
from scansynth.gan.models.family import Form
from scansynth.gan.sampling import Sampler
from scansynth.gan.start import shapes_of
from scansynth.learning.checkpoint import read_weights, weights_bytes
from scansynth.study import WEIGHTS

FACTS = "generator.json"


@dataclass(frozen=True)
class GeneratorFacts:
    """What the weights are.

    Attributes:
        family: Family of networks.
        recipe: Name of the recipe.
        settings: The family's settings, as plain values.
        shape: Rows and columns of the images.
        channels: Grey channels of the images.
        classes: Labels of the cases it was trained on; empty for an unlabelled cohort.
        images: Real images seen in training.
        level: How the training stood at its end, a `health.Level`.
        conditions: What it learned to be asked for besides labels, as `Conditions.plain` has it; empty: nothing.
        weights_sha256: SHA-256 of the weight file.
    """

    family: str
    recipe: str
    settings: dict[str, object]
    shape: tuple[int, int]
    channels: int
    classes: tuple[str, ...]
    images: int
    level: str
    conditions: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""

    @property
    def form(self) -> Form:
        """What the networks are built for."""
        learned = from_plain(self.conditions)
        return Form(self.shape, self.channels, len(self.classes), 0 if learned is None else learned.width)


def save_generator(folder: Path, generator: nn.Module, facts: GeneratorFacts) -> GeneratorFacts:
    """Writes weights and facts; returns the facts with the weights' hash."""
    data = weights_bytes(generator.state_dict())
    full = GeneratorFacts(**{**asdict(facts), "weights_sha256": sha256_bytes(data)})
    write_bytes(folder / WEIGHTS, data)
    write_json(folder / FACTS, asdict(full))
    return full


def load_generator(folder: Path) -> tuple[Sampler, GeneratorFacts]:
    """The generator in a run's folder, in evaluation mode, on the CPU.

    Raises:
        CheckpointError: Weights or facts are missing, damaged, altered, or do not fit together.
    """
    try:
        values = read_json(folder / FACTS)
        data = (folder / WEIGHTS).read_bytes()
        lists = {"classes": tuple(values["classes"]), "shape": (int(values["shape"][0]), int(values["shape"][1]))}
        facts = GeneratorFacts(**{**values, **lists})
        family = FAMILIES[facts.family].model_validate(facts.settings)
        networks = shapes_of(family, facts.form)  # the weights come from the file
    except FileNotFoundError:
        raise CheckpointError(f"the run {folder.name} has no trained generator; run: scansynth train STUDY") from None
    except (ConfigError, ValueError, KeyError, TypeError, IndexError) as fault:
        raise CheckpointError(f"{FACTS} of the run {folder.name} is damaged; train again") from fault
    if sha256_bytes(data) != facts.weights_sha256:
        raise CheckpointError(f"{WEIGHTS} of the run {folder.name} was altered: its hash does not match; train again")
    try:
        networks.generator.load_state_dict(read_weights(data, WEIGHTS), assign=True)
    except RuntimeError as fault:
        raise CheckpointError(f"{WEIGHTS} of the run {folder.name} does not fit its {FACTS}; train again") from fault
    classes = len(facts.classes) if family.labelled else 0
    network, conditions = networks.generator.eval(), facts.form.conditions
    names = facts.classes if classes or len(facts.classes) == 1 else ()
    made = Sampler(network, networks.noise, facts.channels, classes, family.masks, (), conditions, names)
    return replace(made, window=family.window), facts
