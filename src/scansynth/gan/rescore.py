"""Scores of real images for a run that ended before `train` wrote any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from scansynth.errors import CheckpointError, TrainingError
from scansynth.files import sha256_bytes
from scansynth.gan.response import recipe_after
from scansynth.gan.run import prepare, score_reals
from scansynth.gan.scores import SCORES
from scansynth.gan.state import changes_in, new_state, restore
from scansynth.gan.weights import WEIGHTS
from scansynth.learning import checkpoint
from scansynth.learning.device import Device
from scansynth.stage import StageRecord, hash_outputs, read_record, write_record
from scansynth.study import Study


def score_finished_run(study: Study, device: Device, warn: Callable[[str], None]) -> StageRecord:
    """Writes `scores.csv` of a finished run from its last checkpoint, which holds the discriminator; trains nothing.

    Returns:
        The run's record, with the scores among its outputs and those read for them among its patients.

    Raises:
        TrainingError: The run has not ended, or its last checkpoint is not the state that its generator came from.
        CheckpointError: No checkpoint can be used, or they belong to another recipe or cohort.
    """
    folder = study.run()
    record = read_record(folder)
    if record is None:
        raise TrainingError(f"the run {folder.name} has not ended; run: scansynth train {study.folder}")
    ready = prepare(study)
    job = ready.job
    found = checkpoint.load_newest(job.checkpoints, job.identity, warn)
    if found is None:
        raise CheckpointError(f"the run {folder.name} has no checkpoint, so its discriminator is gone; train anew")
    state = new_state(recipe_after(job.recipe, changes_in(found)), job.images.shape[1], job.seed, device)
    restore(state, found)
    if sha256_bytes(checkpoint.weights_bytes(state.sampler.state_dict())) != record.outputs.get(WEIGHTS):
        raise TrainingError(f"the last checkpoint of the run {folder.name} is not the end of its training; train anew")
    asked = score_reals(study, ready, state)
    full = replace(
        record,
        outputs={**record.outputs, **hash_outputs(folder, [folder / SCORES])},
        roles=tuple(sorted({*record.roles, *asked.roles})),
        patients=tuple(sorted({*record.patients, *asked.patients})),
    )
    write_record(folder, full)
    return full
