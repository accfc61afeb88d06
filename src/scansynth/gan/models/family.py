"""What a family of networks gives to the training: its settings, both networks, and one round of steps.

The training loop, the collapse monitor, sampling, checkpoints, weights and the memory check use this and nothing else
of a family. `CONTRIBUTING.md` has the steps to add one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scansynth.config import Settings
from scansynth.gan.state import TrainingState
from scansynth.learning import ranks
from scansynth.learning.device import Device
from scansynth.recipe import Change, Recipe


class Form(NamedTuple):
    """What networks are built for.

    Attributes:
        shape: Rows and columns of the images.
        channels: Grey channels of the images.
        classes: Classes of the training images; 0 for an unlabelled cohort.
        conditions: Columns of what images can be asked for besides.
    """

    shape: tuple[int, int]
    channels: int
    classes: int
    conditions: int = 0


@dataclass(frozen=True)
class Networks:
    """Both networks, freshly initialised from torch's global random state, on the CPU.

    Attributes:
        generator: Called as `generator(noise, labels)`: (n, noise) from N(0, 1) and labels (see `gan.asked.labels`) to
            images (n, channels, rows, columns) in [-1, 1]; with `Family.masks` one channel more, the lesion mask,
            above 0 inside. It draws nothing itself: all that is random in an image comes in with its noise, so that
            the same noise gives the same pixels.
        discriminator: Called as `discriminator(images, labels)`: images as the generator makes them, and their
            labels, to logits (n, ...), the first of which, in each row, is about the whole image.
        noise: Length of the noise of an image.
    """

    generator: nn.Module
    discriminator: nn.Module
    noise: int


@dataclass(frozen=True)
class Batch:
    """What one round trains on; on several ranks, this rank's rows of it.

    Attributes:
        real: Augmented real images (n, channels, rows, columns) in [-1, 1], on the device; with `Family.masks` the last
            channel is the mask, -1 outside and 1 inside.
        labels: Of each real image, and of the fake in the same place, on the device; see `gan.asked.labels`.
        noise: (n, noise) from N(0, 1), on the device.
        random: For further draws, on the CPU. It derives from the seed and the step: whatever is drawn from it is
            the same after a resume. torch's global state is not. All ranks draw for the whole batch and take their own
            rows (`ranks.own`), so that the next draw is the same on all.
        seen: Real images of all rounds before this one.
        total: Real images until the end of the training.
    """

    real: Tensor
    labels: Tensor
    noise: Tensor
    random: torch.Generator
    seen: int
    total: int

    @property
    def count(self) -> int:
        """Images of the round, those of all ranks together."""
        return len(self.real) * ranks.count()


class Family(Settings):
    """A family: its settings are its fields, each a table of the recipe's TOML file (`[network]`, `[loss]`).

    Attributes:
        changes: What a roll-back may change in a training of this family; `collapse.changes` of its recipes may name no
            other. `replay` and `rate` act on the recipe's tables `replay` and `optimiser`, and `step` must obey them;
            the others act on the family's own settings, see `altered`.
        can_mask: Its table `network` has a key `masks`, with which images carry their lesion mask.
        can_condition: Its networks heed the conditions of `generator.conditions`.
    """

    changes: ClassVar[frozenset[Change]] = frozenset({Change.RATE})
    can_mask: ClassVar[bool] = False
    can_condition: ClassVar[bool] = False

    @property
    def labelled(self) -> bool:
        """Whether the generator heeds labels: the images of a set then have one label each."""
        return False

    @property
    def masks(self) -> bool:
        """Whether images carry their lesion mask as one more channel, in the batches and out of the generator."""
        return False

    @property
    def window(self) -> int:
        """Side of the window about a lesion that it fills in, given its surroundings as labels; 0: whole images.

        See `data.windows` and `gan.insertion`.
        """
        return 0

    @abstractmethod
    def build(self, shape: tuple[int, int], channels: int, classes: int, conditions: int = 0) -> Networks:
        """Both networks; also on the meta device, where nothing has content.

        Args:
            shape: Rows and columns of the images.
            channels: Grey channels of the images, without the mask.
            classes: Classes of the training images; 0 for an unlabelled cohort.
            conditions: Columns of conditions in the labels; 0 unless `can_condition`.

        Raises:
            ConfigError: It has no networks for this; one line that says for what it has.
        """

    @abstractmethod
    def step(self, state: TrainingState, batch: Batch, recipe: Recipe, device: Device) -> Tensor:
        """One round: updates both networks and the average; changes `state`.

        Args:
            state: Networks, optimisers, average, history.
            batch: What to train on.
            recipe: In force; its optimiser, replay and average are the family's to obey.
            device: Precision.

        Returns:
            (4,) on the device, the figures of `state.FIGURES`, of this rank's rows. It must not wait for the device.
            On several ranks the optimisers take the mean of all ranks' gradients, so a loss must be a mean over rows;
            what else is taken over the batch goes through `ranks.whole` or `ranks.mean`.
        """

    def fit(self, networks: Networks, images: NDArray[np.uint16], patients: int) -> None:
        """Takes constants from the training images into buffers of the networks; called once, before the first round.

        As buffers they are kept in checkpoints and in the weights at rest. The generator's average copies them. What is
        taken of few patients must not tell who they are.

        Args:
            networks: As `build` gave them, on the CPU.
            images: All images of the train role that the generator learns from, (n, channels, rows, columns), 0..65535
                for -1..1; with `masks` the last channel is the mask.
            patients: Of how many patients these are.
        """

    def layers(self, discriminator: nn.Module) -> Sequence[nn.Module]:
        """Layers of a discriminator that may stay as another run left them, from the images upward; see `freezing`."""
        return []

    def altered(self, change: Change) -> Self | None:
        """These settings with one thing changed after a collapse; none when that would alter nothing."""
        return None

    def carried_over(self, discriminator: nn.Module, form: Form) -> nn.Module:
        """The discriminator under these settings that goes on from one under the settings before a change.

        Returns:
            The same object where its weights and their names stay; its optimiser then goes on too.
        """
        return discriminator

    def narrowed(self, width: int) -> Self | None:
        """These settings with networks of another width; none when the family has no width to set."""
        return None

    @property
    def width(self) -> int:
        """What `network.width` of the recipe says; 0 when the family has no width to set."""
        return 0

    def tables(self) -> dict[str, Any]:
        """All settings as plain values, as in the recipe's TOML file."""
        return self.model_dump(mode="json")
