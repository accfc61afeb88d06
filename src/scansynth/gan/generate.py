"""Weights and a seed -> a synthetic set: DICOM files and their manifest."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scansynth.console import Progress
from scansynth.data.sets import LABEL_SEPARATOR, write_manifest
from scansynth.data.tensors import CohortFacts, to_stored
from scansynth.dicom.write import (
    SECONDARY_CAPTURE,
    STORAGE_CLASSES,
    SyntheticFacts,
    Uids,
    image_uids,
    write_synthetic,
)
from scansynth.errors import TrainingError
from scansynth.files import new_directory
from scansynth.gan.health import Level
from scansynth.gan.sampling import Sampler, draw
from scansynth.gan.weights import GeneratorFacts, load_generator
from scansynth.learning.device import Device
from scansynth.stage import StageRecord, hash_outputs, versions, write_record


def generate(
    run: Path,
    target: Path,
    facts: CohortFacts,
    seed: int,
    count: int,
    device: Device,
    progress: Progress,
    *,
    even_if_collapsed: bool = False,
) -> StageRecord:
    """Draws a synthetic set.

    The same weights, seed and index give the same pixels on the CPU, however many images are asked for. On a GPU
    that is not tested.

    Args:
        run: Folder of the training.
        target: Folder of the set; replaced when all is written.
        facts: The cohort's facts: storage class, source units, spacing.
        seed: Of the set.
        count: Images.
        device: Where the generator runs.
        progress: Told after each image.
        even_if_collapsed: Draw from a generator that had collapsed when its training ended.

    Raises:
        TrainingError: The generator had collapsed.
        CheckpointError: The generator is missing or damaged.
        StorageError: The disk is full; an older set is intact.
    """
    began = time.monotonic()
    sampler, made_by = load_generator(run)
    if made_by.level == Level.CRITICAL and not even_if_collapsed:
        raise _collapsed(run.name)
    sampler.network.to(device.torch_device)
    with new_directory(target) as folder:
        rows = []
        for index, image in enumerate(draw(sampler, seed, count)):
            label = _label(sampler, made_by, index)
            rows.append(_write(folder, to_stored(image[0]), facts, made_by, label, seed, index))
            progress(index + 1, count)
        write_manifest(folder, rows)
        record = _record(folder, made_by, seed, count, time.monotonic() - began)
        write_record(folder, record)
    return record


def _record(folder: Path, made_by: GeneratorFacts, seed: int, count: int, seconds: float) -> StageRecord:
    return StageRecord(
        stage="generate",
        inputs={"weights": made_by.weights_sha256},
        settings={"images": count},
        outputs=hash_outputs(folder, [path for path in folder.rglob("*") if path.is_file()]),
        seed=seed,
        seconds=round(seconds, 2),
        versions=versions(),
    )


def _collapsed(run: str) -> TrainingError:
    return TrainingError(
        f"the generator of the run {run} had collapsed when its training ended: its images are alike; "
        "train anew with another recipe, or draw all the same with: scansynth generate STUDY --even-if-collapsed"
    )


def _write(
    folder: Path,
    image: NDArray[np.uint16],
    facts: CohortFacts,
    made_by: GeneratorFacts,
    label: str,
    seed: int,
    index: int,
) -> dict[str, object]:
    """Writes one image and returns its row of the manifest."""
    name = f"dicom/{index:06d}.dcm"
    weights = made_by.weights_sha256
    uids = image_uids(weights, seed, index)
    write_synthetic(folder / name, image, _file_facts(facts, label, weights, uids, index))
    return {
        "file": name,
        "index": index,
        "seed": seed,
        "sop_instance_uid": uids.instance,
        "weights_sha256": weights,
        "label": label,
    }


def _label(sampler: Sampler, made_by: GeneratorFacts, index: int) -> str:
    """Label of an image: the class that it was made for, or all classes when the generator does not tell them apart."""
    return made_by.classes[sampler.label_of(index)] if sampler.classes else LABEL_SEPARATOR.join(made_by.classes)


def _file_facts(facts: CohortFacts, label: str, weights: str, uids: Uids, index: int) -> SyntheticFacts:
    """What the file says: the cohort's modality, units and spacing; nothing of any single case."""
    return SyntheticFacts(
        modality=facts.modality,
        sop_class_uid=STORAGE_CLASSES.get(facts.modality, SECONDARY_CAPTURE),
        low=facts.low,
        high=facts.high,
        spacing=facts.spacing,
        label=label,
        weights_sha256=weights,
        uids=uids,
        number=index + 1,
        body_part="CHEST" if facts.view == "chest" else "",
    )
