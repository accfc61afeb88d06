"""The generator as ONNX and as a MONAI Bundle draws what the weights draw."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from releasable_study import SEED

import scansynth
from scansynth.errors import ReleaseError
from scansynth.files import read_json, write_bytes
from scansynth.gan import onnx_model
from scansynth.gan.models.compact import Compact
from scansynth.gan.models.dcgan import Dcgan
from scansynth.gan.models.family import Family, Form
from scansynth.gan.onnx_model import TOLERANCE, apart, onnx_bytes
from scansynth.gan.sampling import BATCH, Sampler, draw_pass
from scansynth.gan.weights import load_generator
from scansynth.release.manifest import BUNDLE, ONNX, listing
from scansynth.release.verify import verify

COMPACT = Compact.model_validate({"network": {"latent": 8, "style": 8, "width": 8, "most": 16, "grain": 2}})
DCGAN = Dcgan.model_validate({"network": {"noise": 8, "width": 4}})


def sampler_of(family: Family, form: Form) -> Sampler:
    """An untrained generator whose every weight counts, so that images differ from each other."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        made = family.build(*form)
        made.generator(torch.randn(BATCH, made.noise), torch.zeros(BATCH, dtype=torch.int64))
        with torch.no_grad():
            for weight in made.generator.parameters():
                weight.add_(torch.randn(weight.shape) * 0.1)
    return Sampler(made.generator.eval(), made.noise, form.channels, form.classes if family.labelled else 0)


@pytest.mark.parametrize(
    ("family", "form"),
    [
        (COMPACT, Form((32, 32), 1, 0)),
        (COMPACT, Form((44, 36), 1, 2)),
        (DCGAN, Form((32, 32), 1, 0)),
        (DCGAN, Form((32, 48), 2, 2)),
    ],
    ids=["compact", "compact with labels, not square", "dcgan", "dcgan, not square, two channels"],
)
def test_onnx_draws_the_same_pixels(family: Family, form: Form) -> None:
    sampler = sampler_of(family, form)
    data = onnx_bytes(sampler)
    images = draw_pass(sampler, SEED, range(BATCH, BATCH + 5))
    assert images.std(axis=0).mean() > 1e-3, "images differ, so that one in the place of another would be found"
    difference = apart(data, sampler, SEED, range(BATCH, BATCH + 5))
    assert difference is not None
    assert difference <= TOLERANCE
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    assert b"scansynth" not in data, "no path and no name of ours"
    assert onnx_bytes(sampler) == data


def test_onnx_of_other_weights_is_found() -> None:
    sampler = sampler_of(COMPACT, Form((32, 32), 1, 0))
    data = onnx_bytes(sampler)
    with torch.no_grad():
        next(sampler.network.parameters()).mul_(1.01)
    difference = apart(data, sampler, SEED, range(BATCH))
    assert difference is not None
    assert difference > TOLERANCE
    with pytest.raises(ReleaseError, match="cannot be run"):
        apart(b"no network", sampler, SEED, range(BATCH))


def test_a_release_whose_onnx_draws_other_images_is_found(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_model, "TOLERANCE", -1.0)
    assert any(ONNX in fault and "other images" in fault for fault in verify(released, images=1).faults)


def test_without_onnxruntime_it_is_said(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_model, "runtime", lambda: None)
    found = verify(released, images=1)
    assert found.faults == ()
    assert f"{ONNX} was not run: onnxruntime is not installed" in found.notes


def run_bundle(bundle: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs it as the README says, without scansynth at hand."""
    words = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json", *options]
    source = Path(scansynth.__file__).parents[1]
    kept = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and Path(path) != source]
    return subprocess.run(
        words, cwd=bundle, env={**os.environ, "PYTHONPATH": os.pathsep.join(kept)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_monai_runs_the_bundle_and_draws_the_released_images(released: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(released / BUNDLE, tmp_path / "bundle"))
    assert "scansynth" not in (bundle / "configs" / "inference.json").read_text()
    done = run_bundle(bundle, "--seed", str(SEED), "--images", "20", "--output_dir", "mine")
    assert done.returncode == 0, done.stderr[-2000:]
    drawn = np.load(bundle / "mine" / "images.npy")
    sampler, _ = load_generator(released / "generator")
    own = np.concatenate([draw_pass(sampler, SEED, range(start, start + BATCH)) for start in (0, BATCH)])[:20]
    assert drawn.shape == own.shape
    assert drawn.dtype == np.uint16
    assert np.abs(drawn / 32767.5 - 1.0 - own).max() <= TOLERANCE + 1.0 / 32767.5


def test_the_metadata_hold_what_the_specification_asks(released: Path) -> None:
    said = read_json(released / BUNDLE / "configs" / "metadata.json")
    assert {
        "schema", "version", "changelog", "monai_version", "pytorch_version", "numpy_version", "task", "description",
        "authorship", "copyright", "network_data_format", "required_packages_version",
    } <= said.keys()  # fmt: skip
    made = said["network_data_format"]["outputs"]["images"]
    assert (made["num_channels"], made["spatial_shape"]) == (1, [32, 32])
    assert {name.removeprefix("bundle/") for name in listing(released) if name.startswith("bundle/")} == {
        "LICENSE", "configs/metadata.json", "configs/inference.json", "docs/README.md", "models/model.onnx",
    }  # fmt: skip


def test_an_onnx_of_another_shape_is_refused(tmp_path: Path) -> None:
    small = sampler_of(DCGAN, Form((32, 32), 1, 0))
    large = sampler_of(DCGAN, Form((64, 64), 1, 0))
    write_bytes(tmp_path / "model.onnx", onnx_bytes(large))
    with pytest.raises(ReleaseError, match="another size"):
        apart((tmp_path / "model.onnx").read_bytes(), small, SEED, range(BATCH))
