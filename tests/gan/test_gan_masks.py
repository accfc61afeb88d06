"""Lesion masks out of the family compact: what is read of them, where they end, and where there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import CPU, IMAGES, smooth_images, tiny_job

from scansynth.config import StudyConfig
from scansynth.console import silent
from scansynth.data.tensors import CohortFacts
from scansynth.dicom.write import CT_IMAGE_STORAGE
from scansynth.errors import ConfigError
from scansynth.files import read_csv
from scansynth.gan.generate import generate
from scansynth.gan.layers.haar import Bands
from scansynth.gan.models.families import complete, family_of
from scansynth.gan.run import _keep
from scansynth.gan.sampling import Sampler, draw
from scansynth.gan.training_loop import TrainingJob, train
from scansynth.recipe import Recipe, load_recipe
from scansynth.study import Study

FACTS = CohortFacts(
    "CT", CT_IMAGE_STORAGE, (32, 32), "patch", ("clear", "nodule"), "nodule", False, 10, {}, -1000.0, 400.0,
    (0.7, 0.7), 16, True, 1.0, 0.0, "0" * 12, "axial",
)  # fmt: skip


def _recipe() -> Recipe:
    tables = {
        "network": {"latent": 8, "style": 8, "grain": 2, "width": 4, "most": 8, "masks": True},
        "schedule": {"epochs": 2, "batch": 8, "log_every_images": 24, "healthy_every_images": 24},
    }
    return complete(load_recipe("compact", tables))


def _job(folder: Path) -> TrainingJob:
    """Blobs, whose bright middle is the lesion."""
    images = smooth_images(IMAGES)[:, None]
    masks = np.where(images > 50000, 65535, 0).astype(np.uint16)
    return tiny_job(folder, recipe=_recipe(), images=np.concatenate([images, masks], axis=1))


def test_a_mask_is_read_through_a_blur_and_for_half() -> None:
    """Of a single pixel inside a quarter is seen; the grey channel is read as it is without a mask."""
    random = torch.Generator().manual_seed(0)
    grey, mask = torch.rand(2, 1, 40, 40, generator=random), -torch.ones(2, 1, 40, 40)
    mask[:, :, 9, 8] = 1.0
    both, alone = Bands((40, 40), 1, masks=True), Bands((40, 40), 1)
    read = both.read(torch.cat([grey, mask], 1)).unflatten(1, (4, 2))
    torch.testing.assert_close(read[:, :, 0], alone.read(grey))
    outside, far = both.read(torch.cat([grey, -torch.ones_like(mask)], 1)).unflatten(1, (4, 2)), read[:, :, 1]
    assert torch.equal(outside[:, :, 1, 9:], far[:, :, 9:])
    assert not torch.equal(outside[:, :, 1], far)
    assert both.share.flatten()[1::2].tolist() == pytest.approx((0.5 * alone.share.flatten()).tolist())
    seen = both._seen(torch.cat([grey, mask], 1))
    assert float(seen[0, 1, 9, 8]) == pytest.approx(-0.5)
    torch.testing.assert_close(seen[:, 1:].sum(), mask.sum())


def test_masks_come_back_from_their_bands() -> None:
    """The generator makes masks that are not blurred."""
    mask = torch.where(torch.rand(6, 1, 37, 41, generator=torch.Generator().manual_seed(1)) > 0.8, 1.0, -1.0)
    images = torch.cat([0.2 * mask, mask], 1)
    bands = Bands((37, 41), 1, masks=True)
    bands.fit([images], 500)
    scaled = torch.zeros(6, 2, *bands.fine)
    scaled[:, :, :37, :41] = (images - bands.centre[:, :37, :41]) / bands.reach[:, :37, :41]
    torch.testing.assert_close(bands.write(scaled), images, atol=1e-5, rtol=0.0)


def test_a_set_has_the_masks_that_were_drawn(tmp_path: Path) -> None:
    """From training to the set's masks, its manifest and DICOM SEG; the mask is what lies above 0."""
    job = _job(tmp_path / "run")
    state = train(job, CPU, silent, lambda text: None)
    (tmp_path / "run" / "run.json").write_text('{"images_total": 1}')
    _keep(job, state, ("nodule",))
    generate(tmp_path / "run", tmp_path / "set", FACTS, 7, 6, CPU, silent, even_if_collapsed=True)
    drawn = np.stack(list(draw(Sampler(state.sampler, state.sampler.noise, 1, 0, True), 7, 6)))
    assert drawn.shape == (6, 2, 32, 32)
    made = np.load(tmp_path / "set" / "masks.npy")
    assert np.array_equal(made, drawn[:, 1] > 0.0)
    for row, mask in zip(read_csv(tmp_path / "set" / "manifest.csv"), made, strict=True):
        assert (tmp_path / "set" / "dicom" / f"{row['id']}-seg.dcm").is_file() is bool(mask.any()) is bool(row["mask"])


def test_a_family_without_masks_says_so() -> None:
    """In one line that names the recipe to take."""
    with pytest.raises(ConfigError, match=r"dcgan makes no lesion masks; set generator\.recipe to compact") as fault:
        family_of(load_recipe("dcgan", {"network": {"masks": True}}))
    assert "\n" not in str(fault.value)


def test_the_study_asks_for_masks_in_one_key(tmp_path: Path) -> None:
    """`generator.masks`; the recipe stands as it is without."""
    for asked in (True, False):
        values = {"cohort": {"dicom": "x", "unlabelled": True}, "generator": {"recipe": "compact", "masks": asked}}
        study = Study(tmp_path, StudyConfig.model_validate(values))
        assert family_of(study.recipe()).masks is asked
    assert Study(tmp_path, StudyConfig.model_validate({**values, "generator": {"recipe": "compact"}})).recipe() == (
        load_recipe("compact")
    )
