"""Weights and a seed -> a synthetic set: an image set, its DICOM files and their manifest."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scansynth.console import Progress
from scansynth.data.imageset import Kind, SetWriter
from scansynth.data.sets import LABEL_SEPARATOR, SET_COLUMNS, set_rows, write_manifest
from scansynth.data.tensors import CohortFacts, Selection, to_stored
from scansynth.dicom.write import (
    SyntheticFacts,
    Uids,
    as_written,
    image_uids,
    storage_class,
    write_synthetic,
)
from scansynth.dicom.write_seg import write_segmentation
from scansynth.errors import TrainingError
from scansynth.files import new_directory, sha256_bytes
from scansynth.gan.asked.conditions import from_plain
from scansynth.gan.asked.request import in_words, request_of
from scansynth.gan.sampling import Sampler, draw
from scansynth.gan.watching.health import Level
from scansynth.gan.weights import GeneratorFacts, load_generator
from scansynth.learning.device import Device
from scansynth.seeds import derive_seed
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
    labels: tuple[str, ...] = (),
    asked: Mapping[str, str] | None = None,
    even_if_collapsed: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> StageRecord:
    """Draws a synthetic set.

    The same weights, seed and index give the same pixels on the CPU, however many images; on a GPU untested.

    Args:
        run: Folder of the training.
        target: Folder of the set; replaced when all is written.
        facts: The cohort's facts: modality, plane, source units, spacing.
        seed: Of the set.
        count: Images.
        device: Where the generator runs.
        progress: Told after each image.
        labels: Those to draw, by turns; none: all that the generator tells apart.
        asked: What is asked besides, for each condition; see `request.request_of`.
        even_if_collapsed: Draw from a generator that had collapsed when its training ended.
        note: Told what of an asked range is not drawn.

    Raises:
        TrainingError: The generator had collapsed, or has not learned a label or what is asked besides.
        CheckpointError: The generator is missing or damaged.
        StorageError: The disk is full; an older set is intact.
    """
    began = time.monotonic()
    (sampler, made_by), asked = open_generator(run, even_if_collapsed=even_if_collapsed), asked or {}
    sampler = _asking(run.name, made_by, sampler, labels, asked, note)
    wishes = (*labels, *map("=".join, sorted(asked.items())))
    drawn_by = derive_seed(seed, "asked for", *wishes) if wishes else seed  # no image, no UID of another set
    sampler.network.to(device.torch_device)
    with new_directory(target) as folder:
        known = _write_set(folder, sampler, made_by, facts, (drawn_by, count), progress)
        told = {"labels": list(labels), "asked": dict(asked)}
        settings = {"images": count, **{name: wish for name, wish in told.items() if wish}}
        write_record(folder, record := record_of(folder, made_by, seed, settings, time.monotonic() - began, known))
    return record


def _asking(
    run: str,
    made_by: GeneratorFacts,
    sampler: Sampler,
    labels: tuple[str, ...],
    asked: Mapping[str, str],
    note: Callable[[str], None],
) -> Sampler:
    """The sampler of these labels and conditions; what of a range is not drawn is noted.

    Raises:
        TrainingError: The generator has not learned one of them.
    """
    if labels:
        sampler = replace(sampler, wanted=_wanted(run, made_by, sampler, labels))
    drawn = {sampler.name_of(index) for index in range(max(1, len(made_by.classes)))}
    request = request_of(run, from_plain(made_by.conditions), asked, sorted(drawn))
    for line in request.narrower if request else ():
        note(line)
    return replace(sampler, request=request)


def record_of(
    folder: Path,
    made_by: GeneratorFacts,
    seed: int,
    settings: Mapping[str, object],
    seconds: float,
    known: Mapping[str, str],
    read: Selection | None = None,
) -> StageRecord:
    """The record of a set in `folder`.

    Args:
        folder: Where its files lie.
        made_by: Of the generator.
        seed: Of the set.
        settings: What decides about it besides.
        seconds: That it took.
        known: Hashes of files that are known already.
        read: Cases that it shows; none: nobody's.
    """
    return StageRecord(
        stage="generate",
        inputs={"weights": made_by.weights_sha256},
        settings=settings,
        outputs=hash_outputs(folder, [path for path in folder.rglob("*") if path.is_file()], known),
        seed=seed,
        roles=() if read is None else read.roles,
        patients=() if read is None else tuple(sorted(set(read.patients))),
        seconds=round(seconds, 2),
        versions=versions(),
    )


def _wanted(run: str, made_by: GeneratorFacts, sampler: Sampler, labels: tuple[str, ...]) -> tuple[int, ...]:
    """The classes of labels.

    Raises:
        TrainingError: The generator has not learned one of them, or does not tell them apart.
    """
    unknown = [label for label in labels if label not in made_by.classes]
    if unknown:
        known = f"it knows {', '.join(made_by.classes)}" if made_by.classes else "its cohort has no labels"
        raise TrainingError(
            f"the generator of the run {run} has learned no images of {unknown[0]}: {known}; ask for these, or name "
            f"more in generator.classes and train again"
        )
    if sampler.classes:
        return tuple(made_by.classes.index(label) for label in labels)
    if set(labels) == set(made_by.classes):
        return ()
    raise TrainingError(
        f"the generator of the run {run} does not tell {', '.join(made_by.classes)} apart: train one of the recipe "
        f"compact, or one with generator.classes = {json.dumps(list(labels))}"
    )


def _write_set(
    folder: Path,
    sampler: Sampler,
    made_by: GeneratorFacts,
    facts: CohortFacts,
    asked: tuple[int, int],
    progress: Progress,
) -> Mapping[str, str]:
    """Draws the images of a seed and a count into an image set and its DICOM files; returns the hash of each file.

    The set holds what the files show: the grey levels that DICOM can store.
    """
    seed, count = asked
    weights, files, labels = made_by.weights_sha256, list[dict[str, object]](), list[str]()
    words = list[str]()
    with SetWriter(folder, facts.shape, masked=sampler.masks) as writer:
        for index, drawn in enumerate(draw(sampler, seed, count)):
            labels.append(_label(sampler, made_by, index))
            about = file_facts(facts, labels[-1], weights, image_uids(weights, seed, index), index)
            stored = as_written(to_stored(drawn[: sampler.channels]), about)
            mask = (drawn[sampler.channels] > 0).astype(np.uint8) if sampler.masks else None
            writer.append(stored, mask)
            words.append(_words(sampler, seed, index))
            files.append({**write_files(folder, stored[0], mask, about, seed, index), "asked": words[-1]})
            progress(index + 1, count)
    rows = set_rows(facts, labels, {"seed": [seed] * count, "weights_sha256": [weights] * count, "asked": words})
    made = writer.finish(Kind.GENERATED, facts.modality, rows, SET_COLUMNS, {"weights_sha256": weights})
    write_manifest(folder, files)
    return {
        **made.files,
        **{str(row["file"]): str(row["sha256"]) for row in files},
        **{str(row["mask"]): str(row["mask_sha256"]) for row in files if row["mask"]},
    }


def open_generator(run: Path, *, even_if_collapsed: bool, inserts: bool = False) -> tuple[Sampler, GeneratorFacts]:
    """The generator of a run; see `weights.load_generator`.

    Raises:
        TrainingError: It had collapsed when its training ended, and nobody said to draw from it; or it makes whole
            images where lesions are to be inserted, or the other way about.
        CheckpointError: It is missing or damaged.
    """
    sampler, made_by = load_generator(run)
    if sampler.window and not inserts:
        raise TrainingError(
            f"the run {run.name} makes lesions in scans of patients, and no whole images: run scansynth generate STUDY "
            "--into clear, or train another generator.recipe"
        )
    if inserts and not sampler.window:
        raise TrainingError(
            f"the run {run.name} makes whole images and puts nothing into scans: set generator.recipe to insert, under "
            "another generator.run, and train it"
        )
    if made_by.level == Level.CRITICAL and not even_if_collapsed:
        raise TrainingError(
            f"the generator of the run {run.name} had collapsed when its training ended: its images are alike; "
            "train again with another recipe, or draw anyway with: scansynth generate STUDY --even-if-collapsed"
        )
    return sampler, made_by


def write_files(
    folder: Path,
    image: NDArray[np.uint16],
    mask: NDArray[np.uint8] | None,
    about: SyntheticFacts,
    seed: int,
    index: int,
) -> dict[str, object]:
    """Writes one image as DICOM, its lesion as DICOM SEG where there is one, and returns its row of the manifest."""
    name, lesion = f"dicom/{index:06d}.dcm", f"dicom/{index:06d}-seg.dcm"
    marked = mask is not None and bool(mask.any())
    return {
        "file": name,
        "id": f"{index:06d}",
        "index": index,
        "seed": seed,
        "sop_instance_uid": about.uids.instance,
        "weights_sha256": about.weights_sha256,
        "label": about.label,
        "sha256": sha256_bytes(write_synthetic(folder / name, image, about)),
        "mask": lesion if marked else "",
        "mask_sha256": sha256_bytes(write_segmentation(folder / lesion, image, mask, about))
        if mask is not None and marked
        else "",
    }


def _label(sampler: Sampler, made_by: GeneratorFacts, index: int) -> str:
    """Label of an image: the class that it was made for, or all classes when the generator does not tell them apart."""
    return made_by.classes[sampler.label_of(index)] if sampler.classes else LABEL_SEPARATOR.join(made_by.classes)


def _words(sampler: Sampler, seed: int, index: int) -> str:
    """What was asked of an image besides its label; empty: nothing."""
    if sampler.request is None:
        return ""
    return in_words(sampler.request.values(sampler.name_of(index), seed, index))


def file_facts(
    facts: CohortFacts, label: str, weights: str, uids: Uids, index: int, *, inserted: bool = False
) -> SyntheticFacts:
    """What the file says: the cohort's modality, plane, units and spacing; nothing of any single case."""
    return SyntheticFacts(
        modality=facts.modality,
        sop_class_uid=storage_class(facts.modality, facts.plane),
        low=facts.low,
        high=facts.high,
        spacing=facts.spacing,
        label=label,
        weights_sha256=weights,
        uids=uids,
        number=index + 1,
        plane=facts.plane,
        body_part="CHEST" if facts.view == "chest" else "",
        inserted=inserted,
    )
