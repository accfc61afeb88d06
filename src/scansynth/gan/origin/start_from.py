"""Weights of another run, from which a training starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from scansynth.files import sha256_bytes, sha256_json
from scansynth.gan.models.family import Networks
from scansynth.learning.checkpoint import weights_bytes


@dataclass(frozen=True)
class Origin:
    """What a training starts from.

    Attributes:
        generator: Its weights and buffers, by name.
        discriminator: The same; None: it starts from random weights.
        weights_sha256: SHA-256 of the generator's file.
        recipe: That it was trained with.
        images: Real images that it saw.
        freeze: Lowest layers of the discriminator that are not trained.
        own: It was trained on this very cohort.
        known: All patients whom it learned from were compared with the roles here.
        roles: What came of that, in words.
    """

    generator: Mapping[str, Tensor]
    discriminator: Mapping[str, Tensor] | None
    weights_sha256: str
    recipe: str
    images: int
    freeze: int
    own: bool
    known: bool
    roles: str

    @property
    def digest(self) -> str:
        """Of all that decides about the result of the training."""
        judge = "" if self.discriminator is None else sha256_bytes(weights_bytes(self.discriminator))
        return sha256_json([self.weights_sha256, judge, self.freeze])

    @property
    def plain(self) -> dict[str, Any]:
        """What `run.json` says of it."""
        return {
            "weights_sha256": self.weights_sha256,
            "recipe": self.recipe,
            "images": self.images,
            "discriminator": self.discriminator is not None,
            "frozen_layers": self.freeze,
            "own_cohort": self.own,
            "roles_known": self.known,
            "roles": self.roles,
        }


def begin_with(networks: Networks, origin: Origin) -> None:
    """Puts the weights into fresh networks of the same form.

    Raises:
        RuntimeError: The networks have other layers.
    """
    networks.generator.load_state_dict(dict(origin.generator))
    if origin.discriminator is not None:
        networks.discriminator.load_state_dict(dict(origin.discriminator))


def fits(weights: Mapping[str, Tensor], network: nn.Module) -> bool:
    """Whether a network has weights and buffers of these names and shapes."""
    wanted = {name: value.shape for name, value in network.state_dict().items()}
    return {name: value.shape for name, value in weights.items()} == wanted
