"""The cost of a run before it begins: hours and disk."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from scansynth.config import CohortSettings
from scansynth.data.labels.read import read_labels
from scansynth.data.scans.sources import find_sources
from scansynth.data.tensors import FACTS, cases_for, load_cohort
from scansynth.gan.models.families import complete, family_of
from scansynth.gan.models.family import Batch, Form
from scansynth.gan.start import new_state, shapes_of
from scansynth.gan.state import to_checkpoint
from scansynth.learning.device import Device
from scansynth.ledger import Role, Use
from scansynth.recipe import Recipe
from scansynth.study import Study

_PROBE_SECONDS = 3.0
_FILES_A_SECOND = 150.0  # of ingest; a rough figure: files and machines differ


@dataclass(frozen=True)
class Forecast:
    """The forecast.

    Attributes:
        train_images: Real images used for training; estimated from the labels before ingest.
        training_images: Images of all epochs together.
        images_per_second: Measured on this machine with the study's recipe.
        ingest_hours: Of reading the scans.
        disk_bytes: Of the cohort's array, the checkpoints and the synthetic set.
    """

    train_images: int
    training_images: int
    images_per_second: float
    ingest_hours: float
    disk_bytes: int


def forecast(study: Study, device: Device, synthetic: int) -> Forecast:
    """Hours and disk of the study's run; trains for a few seconds on noise to measure this machine's speed.

    Raises:
        ScansynthError: Settings, labels or scans are wrong.
    """
    generator = study.config.generator
    recipe = complete(study.recipe())
    settings = study.config.cohort
    files = len(find_sources(study.source(settings.dicom)))
    train_images = _train_images(study, files)
    batch = max(2, min(recipe.schedule.batch, train_images))
    training_images = recipe.schedule.epochs * (train_images // batch) * batch
    classes = len(generator.classes or (settings.positive,)) if not settings.unlabelled else 0
    speed, checkpoint_bytes = probe(recipe, Form(settings.shape, 1, classes), batch, device)
    pixels = settings.shape[0] * settings.shape[1]
    return Forecast(
        train_images=train_images,
        training_images=training_images,
        images_per_second=speed,
        ingest_hours=files / _FILES_A_SECOND / 3600.0,
        disk_bytes=files * pixels * 3 + generator.keep_checkpoints * checkpoint_bytes + synthetic * (pixels * 2 + 2000),
    )


def _train_images(study: Study, files: int) -> int:
    """Images of the train role: counted after ingest, guessed from labels.csv before."""
    settings: CohortSettings = study.config.cohort
    classes = study.config.generator.classes or ((settings.positive,) if settings.positive else ())
    if (study.cohort / FACTS).exists():
        return len(cases_for(load_cohort(study.cohort), Use.GENERATOR, classes or None))
    if settings.labels is None:
        return round(files * settings.shares.by_role()[Role.TRAIN])
    rows = read_labels(study.source(settings.labels)).rows
    of_classes = sum(row.label in classes for row in rows) if classes else len(rows)
    return round(of_classes * settings.shares.by_role()[Role.TRAIN])


def probe(recipe: Recipe, form: Form, batch: int, device: Device) -> tuple[float, int]:
    """Images/s of the recipe on this machine over some seconds, and bytes of one checkpoint."""
    family = family_of(recipe)
    form = form._replace(shape=(family.window, family.window)) if family.window else form
    length = shapes_of(family, form).noise
    state = new_state(recipe, form, 0, device)
    random, place = torch.Generator().manual_seed(0), device.torch_device
    real = torch.rand(batch, form.channels + family.masks, *form.shape, generator=random).to(place) * 2 - 1
    labels = torch.zeros(batch, dtype=torch.int64, device=place)

    def step() -> None:
        noise = torch.randn(batch, length, generator=random).to(place)
        family.step(
            state, Batch(real, labels, noise, random, 0, batch), recipe, device
        ).tolist()  # waits for the device

    step()
    steps, began = 0, time.monotonic()
    while steps < 2 or time.monotonic() - began < _PROBE_SECONDS:
        step()
        steps += 1
    seconds = time.monotonic() - began
    checkpoint = to_checkpoint(state)
    return steps * batch / seconds, sum(value.numel() * value.element_size() for value in checkpoint.tensors.values())
