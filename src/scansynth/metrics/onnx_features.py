"""Features from a network of the user's own, as an ONNX file. Nothing in it is executed but tensor operations."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from scansynth.errors import EvidenceError

_CHUNK = 64
_WANTED = "one float32 input (n, 1 or 3, side, side) and one float32 output (n, d)"
_SETTING = "evidence.encoder"


@dataclass(frozen=True)
class OnnxEncoder:
    """A loaded network.

    Attributes:
        session: Of onnxruntime.
        name: Of the input.
        channels: 1, or 3 that all get the same grey image.
        side: Pixels that the network wants; none: the images' own.
        single: It takes one image at a time.
    """

    session: Any
    name: str
    channels: int
    side: int | None
    single: bool

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """Features of images.

        Args:
            images: (n, side, side) in [-1, 1], n >= 1; brought to the network's side by averaging, or enlarged.

        Returns:
            (n, d) float64, not at scale.

        Raises:
            EvidenceError: The network fails on them, or gives something else than one row of numbers an image.
        """
        chunk = 1 if self.single else _CHUNK
        parts = [self._encode(images[start : start + chunk]) for start in range(0, len(images), chunk)]
        features = np.concatenate(parts)
        if not np.isfinite(features).all():
            raise EvidenceError(f"the network of {_SETTING} gives values that are not numbers; choose another")
        return features

    def _encode(self, images: NDArray[Any]) -> NDArray[np.float64]:
        x = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))[:, None]
        if self.side and self.side < x.shape[-1]:
            x = functional.adaptive_avg_pool2d(x, self.side)
        elif self.side and self.side > x.shape[-1]:
            x = functional.interpolate(x, size=self.side, mode="bilinear", align_corners=False)
        batch = np.ascontiguousarray(x.expand(-1, self.channels, -1, -1).numpy())
        try:
            found = np.asarray(self.session.run(None, {self.name: batch})[0], dtype=np.float64)
        except Exception as fault:  # onnxruntime's own exceptions have no common parent
            size = "x".join(str(number) for number in batch.shape[1:])
            raise EvidenceError(
                f"the network of {_SETTING} fails on images of {size}; give one that accepts them"
            ) from fault
        if found.ndim != 2 or len(found) != len(images):
            raise EvidenceError(f"the network of {_SETTING} gives {found.shape}; it must have {_WANTED}")
        return found


def load_onnx(path: Path) -> OnnxEncoder:
    """A network, checked as far as it states what it takes and gives.

    The file is read whole, and no other file that it names is opened.

    Raises:
        EvidenceError: The file is missing or no ONNX, takes or gives something else, or onnxruntime is not installed.
    """
    try:
        data = path.read_bytes()
    except OSError:
        raise EvidenceError(f"{_SETTING}: there is no file {path} to be read; correct the path") from None
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError:
        raise EvidenceError(f"{_SETTING} needs onnxruntime; install it: pip install 'scansynth[onnx]'") from None
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # refusals are one line of ours
    try:
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as fault:  # onnxruntime's own exceptions have no common parent
        raise EvidenceError(f"{_SETTING}: {path.name} is not an ONNX network in one file; export it again") from fault
    return _checked(session, path.name)


def _checked(session: Any, file: str) -> OnnxEncoder:
    """The encoder of a session whose input and output have the right form."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    refusal = EvidenceError(f"{_SETTING}: {file} must have {_WANTED}; export it so")
    if len(inputs) != 1 or len(outputs) != 1:
        raise refusal
    if inputs[0].type != "tensor(float)" or outputs[0].type != "tensor(float)":
        raise refusal
    shape = inputs[0].shape
    if len(shape) != 4 or shape[1] not in {1, 3} or len(outputs[0].shape) != 2:
        raise refusal
    batch, channels, height, width = shape
    sides = {side for side in (height, width) if isinstance(side, int)}
    if len(sides) > 1 or (isinstance(batch, int) and batch != 1):
        raise refusal
    return OnnxEncoder(session, inputs[0].name, channels, sides.pop() if sides else None, batch == 1)
