"""What several peers share: batches without end, and the two places where a CPU needs an adapter."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Given(NamedTuple):
    """What a peer is given.

    Attributes:
        images: All images that it may learn from (n, 1, rows, columns) in [-1, 1].
        patients: Of how many patients these are.
        size: `authors`: networks, batch and sampler as the authors have them; `narrow`: a quarter as wide, for a CPU.
        seconds: Processor time until the last checkpoint.
    """

    images: Tensor
    patients: int
    size: str
    seconds: float


def batches(images: Tensor, count: int) -> Iterator[Tensor]:
    """Batches of so many images, each pass in another order, without end."""
    count = min(count, len(images))
    while True:
        order = torch.randperm(len(images))
        for start in range(0, len(order) - count + 1, count):
            yield images[order[start : start + count]]


def declare_nms() -> None:
    """Adapter: lets torchvision be imported beside a CPU build of torch, where its own operators do not load."""
    if torch.cuda.is_available():
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)


def pretend_cuda() -> None:
    """Adapter: `.cuda()` does nothing, and a package that asserts CUDA at import finds it."""
    if torch.cuda.is_available():
        return
    torch.cuda.is_available = lambda: True  # type: ignore[assignment]
    Tensor.cuda = lambda self, *_, **__: self  # type: ignore[assignment, method-assign]
    torch.nn.Module.cuda = lambda self, *_, **__: self  # type: ignore[assignment, method-assign]


def absent(name: str) -> None:
    """Adapter: an experiment tracker that is imported and not used."""
    sys.modules.setdefault(name, ModuleType(name))


class CpuTorch:
    """Adapter: torch for a module that asks for `cuda:0` by name; everything else is torch's own."""

    def __getattr__(self, name: str) -> Any:
        """Of torch."""
        return getattr(torch, name)

    @staticmethod
    def device(*_: Any) -> torch.device:
        """The CPU, whatever was asked for."""
        return torch.device("cpu")


_KEPT: list[torch.library.Library] = []
