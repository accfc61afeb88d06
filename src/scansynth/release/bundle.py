"""The generator as a MONAI Bundle, which draws images with MONAI and onnxruntime alone.

Source: MONAI Bundle specification (docs.monai.io, "MONAI Bundle Specification"). The network is the ONNX file; a
bundle's usual `model.pt` is a pickle and a `model.ts` is code, and neither leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import onnx

from scansynth import __version__
from scansynth.errors import ReleaseError
from scansynth.files import write_bytes, write_json, write_text
from scansynth.gan.onnx_model import IMAGES, LABELS, NOISE, TOLERANCE, apart, onnx_bytes
from scansynth.gan.sampling import BATCH
from scansynth.release.candidate import Candidate
from scansynth.release.manifest import BUNDLE, ONNX

META, INFERENCE, README, LICENCE = "configs/metadata.json", "configs/inference.json", "docs/README.md", "LICENSE"
PACKAGES = ("monai", "torch", "numpy", "onnxruntime")
"""What it takes to run a bundle, in the words of the package index."""


def write_bundle(folder: Path, candidate: Candidate) -> float | None:
    """Writes the bundle into a release.

    Returns:
        By how much its images differ from the weights' own; see `Manifest.onnx_apart`.

    Raises:
        ReleaseError: torch cannot write the generator as ONNX, or the file draws other images.
    """
    sampler, made = candidate.source.sampler, candidate.made
    data = onnx_bytes(sampler)
    difference = apart(data, sampler, made.record.seed, range(min(BATCH, len(made.files))))
    if difference is not None and not difference <= TOLERANCE:
        raise ReleaseError(f"the generator as ONNX draws other images than its weights, {difference:.2g} apart")
    write_bytes(folder / ONNX, data)
    place = folder / BUNDLE
    write_json(place / META, _metadata(candidate))
    write_json(place / INFERENCE, _inference(candidate, asks_labels=_asks(data, LABELS)))
    write_text(place / README, _readme(candidate))
    write_text(place / LICENCE, candidate.study.config.governance.licence + "\n")
    return difference


def _asks(data: bytes, name: str) -> bool:
    """Whether the network has an input of this name: one that heeds no labels has none for them."""
    return name in {one.name for one in onnx.load_from_string(data).graph.input}


def _inference(candidate: Candidate, *, asks_labels: bool) -> Mapping[str, Any]:
    """What `monai.bundle run` does: noise from seed and index as `seeds.derive_seed` has it, passes, and one file."""
    sampler, seed = candidate.source.sampler, candidate.made.record.seed
    noise = (
        f"$lambda index: torch.randn({sampler.noise}, generator=torch.Generator().manual_seed(int.from_bytes("
        r"hashlib.sha256('\x1f'.join([str(@seed), 'noise', str(index)]).encode()).digest()[:8], 'big') >> 1)).numpy()"
    )
    turn, columns = f"index % {max(1, sampler.classes)}", sampler.conditions
    label = f"[{turn}] + [0] * {columns}" if columns else turn  # nothing is asked for
    labels = f"np.array([{label} for index in at], np.{'float32' if columns else 'int64'})" if asks_labels else ""
    feed = f"'{NOISE}': np.stack([@noise_of(index) for index in at])" + (f", '{LABELS}': {labels}" if labels else "")
    return {
        "imports": [
            "$import hashlib", "$import numpy as np", "$import onnxruntime", "$import torch",
            "$from pathlib import Path",
        ],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/drawn'",
        "seed": seed + 1,
        "first": 0,
        "images": BATCH,
        "network": "$onnxruntime.InferenceSession(@bundle_root + '/models/model.onnx', "
        "providers=['CPUExecutionProvider'])",
        "noise_of": noise,
        "pass_of": f"$lambda at: @network.run(['{IMAGES}'], {{{feed}}})[0]",
        "drawn": f"$np.concatenate([@pass_of(range(start, start + {BATCH})) "
        f"for start in range(@first, @first + @images, {BATCH})])[:@images]",
        "stored": f"$np.rint((np.clip(@drawn[:, :{sampler.channels}], -1.0, 1.0).astype(np.float64) + 1.0) * 32767.5)"
        ".astype(np.uint16)",
        **({"masks": f"$(@drawn[:, {sampler.channels}] > 0).astype(np.uint8)"} if sampler.masks else {}),
        "run": [
            "$Path(@output_dir).mkdir(parents=True, exist_ok=True)",
            "$np.save(@output_dir + '/images.npy', @stored)",
            *(["$np.save(@output_dir + '/masks.npy', @masks)"] if sampler.masks else []),
        ],
    }  # fmt: skip


def _metadata(candidate: Candidate) -> Mapping[str, Any]:
    facts, governance = candidate.source.facts, candidate.study.config.governance
    sampler = candidate.source.sampler
    versions = {name: metadata.version(name) for name in PACKAGES if _has(name)}
    made = {
        "type": "image", "format": "magnitude", "modality": candidate.cohort.facts.modality,
        "num_channels": facts.channels + sampler.masks, "spatial_shape": list(facts.shape), "dtype": "float32",
        "value_range": [-1, 1], "is_patch_data": False,
        "channel_def": {
            **{str(number): "grey" for number in range(facts.channels)},
            **({str(facts.channels): "lesion mask, above 0 inside"} if sampler.masks else {}),
        },
    }  # fmt: skip
    taken = {
        "type": "noise", "format": "latent", "num_channels": sampler.noise, "spatial_shape": [], "dtype": "float32",
        "value_range": [], "is_patch_data": False, "channel_def": {"0": "independent, from N(0, 1)"},
    }  # fmt: skip
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
        "meta_schema_20240725.json",
        "version": "1.0.0",
        "changelog": {"1.0.0": "released"},
        "monai_version": versions["monai"],
        "pytorch_version": versions["torch"].partition("+")[0],
        "numpy_version": versions["numpy"],
        "required_packages_version": {"onnxruntime": versions.get("onnxruntime", "1.23")},
        "name": f"Generator of {candidate.study.config.name}",
        "task": "Drawing synthetic medical images",
        "description": f"Generator of a GAN, family {facts.family}, recipe {facts.recipe}; it draws invented images.",
        "authorship": governance.responsible_person,
        "copyright": governance.licence,
        "data_source": f"A cohort of real {candidate.cohort.facts.modality} images, not released",
        "data_type": "none: images are drawn from noise",
        "intended_use": governance.intended_use,
        "network_data_format": {"inputs": {NOISE: taken}, "outputs": {IMAGES: made}},
    }


def _has(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _readme(candidate: Candidate) -> str:
    facts, governance, seed = candidate.source.facts, candidate.study.config.governance, candidate.made.record.seed
    return f"""# Generator of {" ".join(candidate.study.config.name.split())}

Draws synthetic {candidate.cohort.facts.modality} images of {facts.shape[0]} x {facts.shape[1]} pixels; no image shows a
patient. It is no medical device. Made by scansynth {__version__}. It takes MONAI with fire, torch, and onnxruntime.

From this folder:

```
python -m monai.bundle run --config_file configs/inference.json --images 64 --output_dir drawn
```

`drawn/images.npy` then holds uint16 images (n, channels, rows, columns): 0 stands for
{candidate.cohort.facts.low:g} and 65535 for {candidate.cohort.facts.high:g} in the units of the real
scans. `--seed` takes any number; {seed} gives the images of this release, those kept back from it as
too close to real ones among them, so do not pass those on.

Intended use: {" ".join(governance.intended_use.split())}

Excluded use: {" ".join(governance.excluded_use.split())}

Model card and evidence: `MODEL_CARD.md` and `evidence/` of the release that this came with.
"""
