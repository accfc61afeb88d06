"""Weights, scans and a seed -> a set of clear scans of train patients with a synthetic lesion in each.

The background is a patient, so the set is marked as one for use inside the house, and no release takes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from scansynth.console import Progress
from scansynth.data.imageset import Kind, SetWriter
from scansynth.data.sets import SET_COLUMNS, set_rows, write_manifest
from scansynth.data.tensors import Cohort, Selection, to_stored
from scansynth.dicom.write import as_written, image_uids
from scansynth.files import new_directory, write_csv
from scansynth.gan.generate import file_facts, open_generator, record_of, write_files
from scansynth.gan.insertion.scenes import Scene, labels_of, read_for, scenes_of
from scansynth.gan.insertion.surroundings import softened
from scansynth.gan.sampling import BATCH, Latent, Sampler, images_of, noise_of
from scansynth.gan.weights import GeneratorFacts
from scansynth.learning.device import Device
from scansynth.seeds import derive_seed
from scansynth.stage import StageRecord, write_record

INTO = "clear"
"""What lesions are put into: clear scans."""


def insert(
    places: tuple[Path, Path, Path],
    cohort: Cohort,
    train: Selection,
    drawn_by: tuple[int, int],
    device: Device,
    progress: Progress,
    note: Callable[[str], None],
    *,
    even_if_collapsed: bool = False,
) -> StageRecord:
    """Draws a set of lesions in clear scans; outside of a lesion's surroundings each image is its scan.

    Args:
        places: Folder of the training; folder of the set, replaced when all is written; and a CSV file that says which
            case each image was made from, in the folder that never leaves.
        cohort: The cohort.
        train: Images of the train patients whom the generator may have seen; see `scenes.train_images`.
        drawn_by: Seed of the set, and number of images: there are fewer where lesions do not fit into clear scans.
        device: Where the generator runs.
        progress: Told after each pass.
        note: Told what the set is, and whether images are missing.
        even_if_collapsed: Draw from a generator that had collapsed when its training ended.

    Raises:
        TrainingError: The generator makes whole images, or had collapsed.
        CohortError: No lesion of the cohort fits into a clear scan.
        CheckpointError: The generator is missing or damaged.
        StorageError: The disk is full; an older set is intact.
    """
    began, (run, target, origins), (seed, count) = time.monotonic(), places, drawn_by
    sampler, made_by = open_generator(run, even_if_collapsed=even_if_collapsed, inserts=True)
    sampler.network.to(device.torch_device)
    scenes = scenes_of(cohort, train, count, derive_seed(seed, "scenes"), sampler.window)
    note("the background of each image is a patient: the set is for use inside the house, and no release takes it")
    if len(scenes) < count:
        note(f"{count - len(scenes)} of {count} images are missing: lesions did not fit into clear scans")
    with new_directory(target) as folder:
        known = _write_set(folder, sampler, made_by, cohort, train, scenes, seed, progress)
        settings, read = {"images": count, "into": INTO}, read_for(train, scenes)
        record = record_of(folder, made_by, seed, settings, time.monotonic() - began, known, read)
        write_record(folder, record)
    _write_origins(origins, train, scenes)
    return record


def _write_origins(path: Path, train: Selection, scenes: Sequence[Scene]) -> None:
    """Which case each image shows, and whose lesion gave its mask."""
    rows = [
        {"id": f"{place:06d}", "background": train.cases[one.scan].case, "mask_of": train.cases[one.source].case}
        for place, one in enumerate(scenes)
    ]
    write_csv(path, ("id", "background", "mask_of"), rows)


def _write_set(
    folder: Path,
    sampler: Sampler,
    made_by: GeneratorFacts,
    cohort: Cohort,
    train: Selection,
    scenes: Sequence[Scene],
    seed: int,
    progress: Progress,
) -> Mapping[str, str]:
    """Draws the lesions into an image set and its DICOM files; returns the hash of each file.

    The set holds what the files show: the grey levels that DICOM can store.
    """
    weights, facts, label = made_by.weights_sha256, cohort.facts, str(cohort.facts.positive)
    files = list[dict[str, object]]()
    with SetWriter(folder, facts.shape, cohort.images.facts.channels, masked=True) as writer:
        for start in range(0, len(scenes), BATCH):
            part = scenes[start : start + BATCH]
            for index, (scene, made) in enumerate(
                zip(part, _made(sampler, train, part, seed, start), strict=True), start
            ):
                about = file_facts(facts, label, weights, image_uids(weights, seed, index), index, inserted=True)
                image = as_written(put_into(train.images[scene.scan], scene, made), about)
                writer.append(image, scene.mask)
                row = write_files(folder, image[0], scene.mask, about, seed, index)
                files.append({**row, "asked": f"into {INTO}"})
            progress(start + len(part), len(scenes))
    count = len(scenes)
    columns: dict[str, Sequence[object]] = {
        "seed": [seed] * count,
        "weights_sha256": [weights] * count,
        "asked": [f"into {INTO}"] * count,
    }
    rows = set_rows(facts, [label] * count, columns)
    provenance = {"weights_sha256": weights, "window": str(sampler.window), "background": "patients of this cohort"}
    made = writer.finish(Kind.INSERTED, facts.modality, rows, SET_COLUMNS, provenance)
    write_manifest(folder, files)
    return {
        **made.files,
        **{str(row["file"]): str(row["sha256"]) for row in files},
        **{str(row["mask"]): str(row["mask_sha256"]) for row in files if row["mask"]},
    }


def _made(sampler: Sampler, train: Selection, scenes: Sequence[Scene], seed: int, start: int) -> NDArray[np.float32]:
    """Windows with their lesions, (n, channels, side, side) in [-1, 1]; the first is image `start` of the set."""
    device = next(sampler.network.parameters()).device
    noise = torch.stack([noise_of(seed, start + place, sampler.noise) for place in range(len(scenes))])
    made = images_of(sampler.network, Latent(noise, labels_of(train, scenes)).to(device))
    found: NDArray[np.float32] = made[:, : sampler.channels].cpu().numpy()
    return found


def put_into(scan: NDArray[np.uint16], scene: Scene, made: NDArray[np.float32]) -> NDArray[np.uint16]:
    """A scan with its window filled; where nothing is made anew no grey value changes.

    Args:
        scan: uint16 (channels, rows, columns).
        scene: Where.
        made: Its window (channels, side, side) in [-1, 1].
    """
    image, mask = scan.copy(), scene.mask[scene.box].astype(np.float32)
    anew = softened(torch.from_numpy(2.0 * mask - 1.0)[None, None])[0, 0].numpy() > 0.0
    window = image[:, *scene.box]  # a view
    window[:, anew] = to_stored(made)[:, anew]
    return image
