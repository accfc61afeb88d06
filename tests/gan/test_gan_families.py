"""What a family may bring: any shape, labels, a lesion mask, constants of its own and a round of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import BATCH, CPU, IMAGES, fingerprint, smooth_images, tiny_job
from torch import Tensor, nn

from scansynth.config import Settings
from scansynth.console import silent
from scansynth.data.tensors import CohortFacts, to_signed
from scansynth.dicom.write import CT_IMAGE_STORAGE
from scansynth.errors import ConfigError, TrainingError
from scansynth.files import read_csv
from scansynth.gan.generate import generate
from scansynth.gan.models import families
from scansynth.gan.models.dcgan import Dcgan, halvings
from scansynth.gan.models.families import complete, family_of
from scansynth.gan.models.family import Batch, Family, Form, Networks
from scansynth.gan.sampling import Sampler, draw
from scansynth.gan.start import new_state
from scansynth.gan.state import TrainingState
from scansynth.gan.training_loop import TrainingJob, train
from scansynth.gan.watching.collapse import RealImages
from scansynth.gan.weights import GeneratorFacts, load_generator, save_generator
from scansynth.learning.device import Device
from scansynth.recipe import Change, Recipe, load_recipe

WIDE = (32, 48)


# The published family, on images of any shape


@pytest.mark.parametrize("shape", [(32, 32), (32, 48), (48, 32), (40, 64), (64, 112), (256, 64)])
@pytest.mark.parametrize("channels", [1, 3])
def test_dcgan_builds_for_sides_that_it_can_halve(shape: tuple[int, int], channels: int) -> None:
    networks = Dcgan.model_validate({"network": {"noise": 5, "width": 4}}).build(shape, channels, 0)
    images = networks.generator(torch.randn(2, 5, generator=torch.Generator().manual_seed(0)))
    assert images.shape == (2, channels, *shape)
    assert networks.discriminator(images).shape == (2, 1, 1, 1)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((32, 50), "multiples of 8; set cohort.size to 32 x 48"),
        ((72, 64), "multiples of 16"),
        ((24, 64), "be 32 or more"),
    ],
)
def test_dcgan_refuses_other_sides_and_names_some_that_fit(shape: tuple[int, int], said: str) -> None:
    with pytest.raises(ConfigError, match=rf"no networks for {shape[0]} x {shape[1]} pixels.*{said}") as fault:
        Dcgan().build(shape, 1, 0)
    assert "\n" not in str(fault.value)


def test_every_size_that_a_refusal_names_can_be_built() -> None:
    refused = 0
    for rows in range(20, 280, 7):
        for columns in range(20, 280, 9):
            try:
                halvings((rows, columns))
            except ConfigError as fault:
                named = str(fault).partition("set cohort.size to ")[2].partition(",")[0].split(" x ")
                assert halvings((int(named[0]), int(named[1]))) >= 3
                refused += 1
    assert refused > 500


def pictures(count: int, shape: tuple[int, int], channels: int, seed: int) -> np.ndarray:
    """uint16 (count, channels, rows, columns)."""
    drawn = [smooth_images(count, seed + 10 * channel, max(shape)) for channel in range(channels)]
    return np.ascontiguousarray(np.stack(drawn, axis=1)[:, :, : shape[0], : shape[1]])


def job_of(folder: Path, shape: tuple[int, int], channels: int, recipe: Recipe, masks: bool = False) -> TrainingJob:
    """A short training on images of two classes."""
    images, others = pictures(IMAGES, shape, channels, 0), to_signed(pictures(40, shape, channels, 1))
    watched = RealImages(to_signed(images), others, tuple(map(str, range(40))), "made-up patients")
    if masks:
        images = np.concatenate([images, np.where(images[:, :1] > 30000, 65535, 0).astype(np.uint16)], axis=1)
    labels = np.arange(IMAGES, dtype=np.int64) % 2
    job = tiny_job(folder)
    return replace(job, images=images, labels=labels, form=Form(shape, channels, 2), watched=watched, recipe=recipe)


def run(job: TrainingJob) -> TrainingState:
    return train(job, CPU, silent, lambda text: None)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_cohort_that_is_not_square_trains(tmp_path: Path, channels: int) -> None:
    state = run(job_of(tmp_path, WIDE, channels, tiny_job(tmp_path).recipe))
    sampler = Sampler(state.sampler, 8, channels, 0)
    assert np.stack(list(draw(sampler, 0, 3))).shape == (3, channels, *WIDE)


def test_labels_change_nothing_in_a_family_that_heeds_none(tmp_path: Path) -> None:
    job = job_of(tmp_path / "one", WIDE, 1, tiny_job(tmp_path).recipe)
    other = replace(job, folder=tmp_path / "two", labels=job.labels[::-1].copy())
    first, second = (run(one).generator.state_dict() for one in (job, other))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


# What every family owes the training, those in the table found by it


def first_state(name: str) -> tuple[TrainingState, Recipe, int]:
    """Of the family under the settings that it has by itself, for two classes at 32 pixels, and its noise's length."""
    settings = {"ema": {"on": True}, "collapse": {"changes": [Change.RATE]}}
    recipe = complete(Recipe.model_validate({"name": name, "family": name, "about": name, **settings}))
    form = Form((32, 32), 1, 2)
    family = family_of(recipe)
    images = with_mask(pictures(16, (32, 32), 1, 0)) if family.masks else pictures(16, (32, 32), 1, 0)
    return new_state(recipe, form, 5, CPU, images), recipe, family.build(*form).noise


def with_mask(images: np.ndarray) -> np.ndarray:
    """Images with a lesion in their middle as the last channel."""
    mask = np.zeros_like(images[:, :1])
    mask[:, :, 12:18, 12:20] = 65535
    return np.concatenate([images, mask], axis=1)


def given(length: int, count: int = 4, masks: bool = False) -> Batch:
    random = torch.Generator().manual_seed(1)
    images = pictures(count, (32, 32), 1, 2)
    real = torch.from_numpy(to_signed(with_mask(images) if masks else images))
    noise = torch.randn(count, length, generator=random)
    return Batch(real, torch.arange(count) % 2, noise, random, 0, 1000)


@pytest.mark.parametrize("name", sorted(families.FAMILIES))
def test_a_generator_makes_grey_images_and_draws_nothing(name: str) -> None:
    state, _, length = first_state(name)
    batch, network = given(length), state.generator.eval()
    with torch.no_grad():
        images, again = (network(batch.noise, batch.labels) for _ in range(2))
        logits = state.discriminator(images, batch.labels)
    assert images.shape == (4, 1 + families.FAMILIES[name]().masks, 32, 32)
    assert images.abs().max() <= 1.0
    assert images.std(dim=0).max() > 0.0
    assert torch.equal(images, again)
    assert len(logits) == 4


@pytest.mark.parametrize("name", sorted(families.FAMILIES))
def test_a_round_trains_all_three_networks_and_draws_from_its_batch_alone(name: str) -> None:
    after = []
    for seed in (0, 1):
        state, recipe, length = first_state(name)
        networks = [state.generator, state.discriminator, state.average]
        before = [{key: value.clone() for key, value in network.state_dict().items()} for network in networks]
        with torch.random.fork_rng():
            torch.manual_seed(seed)  # torch's global state is another after a resume
            figures = family_of(recipe).step(state, given(length, masks=family_of(recipe).masks), recipe, CPU)
        assert figures.shape == (4,)
        assert figures.isfinite().all()
        assert not figures.requires_grad
        for network, old in zip(networks, before, strict=True):
            assert any(not torch.equal(value, old[key]) for key, value in network.state_dict().items())
        after.append(fingerprint(state))
    assert after[0] == after[1]


# A family with all that the seam offers


class ToySettings(Settings):
    """Of a family that is nothing but its seam."""

    width: int = 3


class ToyGenerator(nn.Module):
    """One pattern for each class and one for each number of its noise, scaled by a constant of the training images."""

    def __init__(self, shape: tuple[int, int], channels: int, classes: int, length: int) -> None:
        super().__init__()
        self.of_noise, self.of_class = (
            nn.Linear(length, channels * shape[0] * shape[1]),
            nn.Embedding(classes, channels),
        )
        self.register_buffer("spread", torch.ones(1))
        self.shape = (channels, *shape)
        self.seen: list[list[int]] = []

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        self.seen.append(labels.tolist())
        pattern = self.of_noise(noise).view(-1, *self.shape) + self.of_class(labels)[:, :, None, None]
        return (self.spread * pattern).tanh()


class ToyDiscriminator(nn.Module):
    """Two logits an image, the first of which counts."""

    def __init__(self, shape: tuple[int, int], channels: int, classes: int) -> None:
        super().__init__()
        self.of_image, self.of_class = nn.Linear(channels * shape[0] * shape[1], 2), nn.Embedding(classes, 2)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.of_image(images.flatten(1)) + self.of_class(labels)


class Toy(Family):
    """Labels, masks, a constant, and losses of its own, which pair each real image with the fake in its place."""

    network: ToySettings = ToySettings()

    @property
    def labelled(self) -> bool:
        return True

    @property
    def masks(self) -> bool:
        return True

    def build(self, shape: tuple[int, int], channels: int, classes: int, conditions: int = 0) -> Networks:
        made = channels + 1
        return Networks(ToyGenerator(shape, made, classes, 6), ToyDiscriminator(shape, made, classes), 6)

    def fit(self, networks: Networks, images: Any, patients: int) -> None:
        networks.generator.spread.fill_(float(to_signed(images[:, :-1]).std()))

    def step(self, state: TrainingState, batch: Batch, recipe: Recipe, device: Device) -> Tensor:
        fakes = state.generator(batch.noise, batch.labels)
        real, fake = (state.discriminator(images, batch.labels) for images in (batch.real, fakes.detach()))
        loss_d = nn.functional.softplus(fake - real).mean()
        state.discriminator_optimiser.zero_grad()
        loss_d.backward()
        state.discriminator_optimiser.step()
        loss_g = nn.functional.softplus(real.detach() - state.discriminator(fakes, batch.labels)).mean()
        state.generator_optimiser.zero_grad()
        loss_g.backward()
        state.generator_optimiser.step()
        return torch.stack([loss_d.detach(), loss_g.detach(), real.detach().mean(), fake.detach().mean()])


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(families, "FAMILIES", {**families.FAMILIES, "toy": Toy})
    monkeypatch.setattr("scansynth.gan.weights.FAMILIES", {"toy": Toy})
    tables = {"collapse": {"changes": ["rate"]}, "replay": {"on": False}, "ema": {"on": False}}
    values = {**load_recipe("dcgan", tables).model_dump(mode="json"), "family": "toy", "network": {}, "loss": {}}
    values["schedule"] = tiny_job(Path()).recipe.schedule.model_dump(mode="json")
    return complete(Recipe.model_validate(values))


def test_a_family_fills_in_its_settings_and_refuses_others(toy: Recipe) -> None:
    assert toy.network == {"width": 3}
    with pytest.raises(ConfigError, match=r"unknown key network\.widht"):
        family_of(toy.model_copy(update={"network": {"widht": 3}}))
    with pytest.raises(ConfigError, match="unknown key loss"):
        family_of(toy.model_copy(update={"loss": {"penalty": 1.0}}))
    collapse = toy.collapse.model_copy(update={"changes": (Change.PENALTY,)})
    with pytest.raises(ConfigError, match="the family toy has no penalty to change"):
        family_of(toy.model_copy(update={"collapse": collapse}))


def test_labels_masks_and_constants_reach_the_networks(tmp_path: Path, toy: Recipe) -> None:
    job = job_of(tmp_path, WIDE, 2, toy, masks=True)
    state = run(job)
    seen = state.generator.seen
    rounds = [labels for labels in seen if len(labels) == BATCH]
    assert len(rounds) == job.total // BATCH
    assert {label for labels in rounds for label in labels} == {0, 1}
    assert state.generator.spread.item() == pytest.approx(to_signed(job.images[:, :2]).std(), rel=1e-6)
    made = np.stack(list(draw(Sampler(state.sampler, 6, 2, 2), 0, 4)))
    assert made.shape == (4, 3, *WIDE)


def test_classes_come_out_apart_by_turns(toy: Recipe) -> None:
    state = new_state(toy, Form(WIDE, 1, 2), 0, CPU)
    with torch.no_grad():
        state.generator.of_class.weight.copy_(torch.tensor([[-9.0, 0.0], [9.0, 0.0]]))
    made = np.stack(list(draw(Sampler(state.sampler, 6, 1, 2), 0, 20)))
    assert (made[0::2, 0] < 0.0).all()
    assert (made[1::2, 0] > 0.0).all()


def test_a_family_of_its_own_resumes_to_the_bit(tmp_path: Path, toy: Recipe) -> None:
    whole = fingerprint(run(job_of(tmp_path / "whole", WIDE, 1, toy, masks=True)))
    job = replace(job_of(tmp_path / "cut", WIDE, 1, toy, masks=True), checkpoint_minutes=1e-9)

    def die(done: int, total: int, note: str = "") -> None:
        if done == 5 * BATCH:
            raise RuntimeError("as if killed")

    with pytest.raises(RuntimeError, match="as if killed"):
        train(job, CPU, die, lambda text: None)
    assert fingerprint(run(job)) == whole


def test_the_manifest_says_the_class_of_each_image(tmp_path: Path, toy: Recipe) -> None:
    state = new_state(toy, Form((32, 32), 1, 2), 0, CPU)
    tables = family_of(toy).tables()
    facts = GeneratorFacts("toy", "toy", tables, (32, 32), 1, ("clear", "nodule"), 96, "healthy")
    save_generator(tmp_path / "run", state.generator, facts)
    sampler, _ = load_generator(tmp_path / "run")
    assert (sampler.noise, sampler.channels, sampler.classes) == (6, 1, 2)
    cohort = CohortFacts(
        "CT", CT_IMAGE_STORAGE, (32, 32), "patch", ("clear", "nodule"), "nodule", False, 10, {}, -1000.0, 400.0,
        (0.7, 0.7), 16, True, 1.0, 0.0, "0" * 12,
    )  # fmt: skip
    generate(tmp_path / "run", tmp_path / "set", cohort, 7, 4, CPU, silent)
    both = read_csv(tmp_path / "set" / "manifest.csv")
    assert [row["label"] for row in both] == ["clear", "nodule"] * 2
    record = generate(tmp_path / "run", tmp_path / "asked", cohort, 7, 4, CPU, silent, labels=("nodule",))
    asked = read_csv(tmp_path / "asked" / "manifest.csv")
    assert [row["label"] for row in asked] == ["nodule"] * 4
    assert not {row["sop_instance_uid"] for row in both} & {row["sop_instance_uid"] for row in asked}
    assert record.settings == {"images": 4, "labels": ["nodule"]}
    assert record.seed == 7
    with pytest.raises(TrainingError, match=r"has learned no images of mass: it knows clear, nodule") as fault:
        generate(tmp_path / "run", tmp_path / "none", cohort, 7, 4, CPU, silent, labels=("mass",))
    assert "\n" not in str(fault.value)
    assert not (tmp_path / "none").exists()


def test_an_asked_label_is_drawn_from_its_class_alone(toy: Recipe) -> None:
    state = new_state(toy, Form(WIDE, 1, 2), 0, CPU)
    with torch.no_grad():
        state.generator.of_class.weight.copy_(torch.tensor([[-9.0, 0.0], [9.0, 0.0]]))
    made = np.stack(list(draw(Sampler(state.sampler, 6, 1, 2, wanted=(1,)), 0, 20)))
    assert (made[:, 0] > 0.0).all()
