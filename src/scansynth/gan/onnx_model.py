"""A generator as ONNX: for programs that have no scansynth, and whether it draws the same images."""

from __future__ import annotations

import importlib
import io
import logging
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scansynth.errors import ReleaseError
from scansynth.gan.asked.labels import blank
from scansynth.gan.sampling import BATCH, Sampler, draw_pass, latent_of

OPSET = 17
"""Version of ONNX's operators: of 2022, which every runtime in use has."""

TOLERANCE = 1e-4
"""By how much a pixel in [-1, 1] may differ between torch and another runtime: they add up in other orders."""

NOISE, LABELS, IMAGES = "noise", "labels", "images"
"""Names of inputs and output."""


class _Passed(nn.Module):
    """One full pass, in float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Noise (BATCH, length) and labels to images."""
        images: Tensor = self.network(noise, labels).float()
        return images


def onnx_bytes(sampler: Sampler) -> bytes:
    """The network as an ONNX file.

    Inputs are the noise (16, length) float32 and, where it heeds them, the labels (16,) int64, or, where it learned
    conditions, (16, 1 + columns) float32, the class and then what is asked for; the output is images
    (16, channels, rows, columns) float32 in [-1, 1]. The number of images is fixed, as in every pass of scansynth.

    Raises:
        ReleaseError: torch cannot write this network as ONNX.
    """
    target = io.BytesIO()
    noise, labels = torch.zeros(BATCH, sampler.noise), blank(BATCH, sampler.conditions)
    quiet = logging.getLogger("torch.onnx")
    before = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter's age; the other one writes paths of this machine
            torch.onnx.export(
                _Passed(sampler.network.eval()),
                (noise, labels),
                target,  # type: ignore[arg-type]  # a stream will do; torch's stub knows paths alone
                dynamo=False,
                input_names=[NOISE, LABELS],
                output_names=[IMAGES],
                opset_version=OPSET,
            )
    except (RuntimeError, ValueError, TypeError) as fault:
        raise ReleaseError("torch cannot write this generator as ONNX; its family needs other operations") from fault
    finally:
        quiet.setLevel(before)
    return target.getvalue()


def runtime() -> Any | None:
    """onnxruntime; none where it is not installed."""
    try:
        return importlib.import_module("onnxruntime")
    except ImportError:
        return None


def apart(data: bytes, sampler: Sampler, seed: int, indices: range) -> float | None:
    """By how much an ONNX file draws other images than the network, at most, in any pixel of [-1, 1].

    Args:
        data: The file.
        sampler: The network.
        seed: Of the set.
        indices: Of images, as `draw_pass` takes them.

    Returns:
        The largest difference; none: onnxruntime is not installed.

    Raises:
        ReleaseError: The file cannot be run.
    """
    engine = runtime()
    if engine is None:
        return None
    latent = latent_of(sampler, seed, range(indices.start, indices.start + BATCH))
    given = {NOISE: latent.noise.numpy(), LABELS: latent.labels.numpy()}
    options = engine.SessionOptions()
    options.log_severity_level = 4
    try:
        session = engine.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        feed = {one.name: given[one.name] for one in session.get_inputs()}
        (drawn,) = session.run([IMAGES], feed)
    except Exception as fault:  # its faults share no base class
        raise ReleaseError("the generator as ONNX cannot be run") from fault
    made: NDArray[np.float32] = draw_pass(sampler, seed, indices)
    if drawn.shape[1:] != made.shape[1:]:
        raise ReleaseError("the generator as ONNX draws images of another size")
    return float(np.abs(drawn[: len(made)] - made).max())
