"""Where training runs, and in which number format."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass

import torch

from scansynth.config import DEVICE, DEVICE_FORM
from scansynth.errors import ConfigError

LOCAL_RANK = "LOCAL_RANK"
"""Environment variable of torchrun: which of this machine's processes it is."""


@dataclass(frozen=True)
class Device:
    """A place to compute.

    Attributes:
        kind: `cuda` or `cpu`.
        name: What the hardware calls itself.
        precision: `bfloat16` where the hardware multiplies it natively, else `float32`.
        channels_last: Whether convolutions run faster on NHWC memory.
        index: Which GPU; 0 for a CPU.
    """

    kind: str
    name: str
    precision: str
    channels_last: bool
    index: int = 0

    @property
    def torch_device(self) -> torch.device:
        """The device as torch names it."""
        return torch.device(self.kind) if self.kind == "cpu" else torch.device(self.kind, self.index)

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout in which images and weights are kept."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Runs convolutions in the device's precision; losses stay in float32 outside of it."""
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.kind, dtype=torch.bfloat16)


def pick_device() -> Device:
    """The device that the environment variable `SCANSYNTH_DEVICE` names; `auto`, or nothing: the best of this machine.

    What is best is decided by what the hardware states and never by a timing: a timing could fall out otherwise when a
    run is continued, and the run would not be the same.

    Raises:
        ConfigError: There is no such device.
    """
    asked = os.environ.get(DEVICE, "") or "auto"
    if not re.fullmatch(DEVICE_FORM, asked):
        raise ConfigError(f"{DEVICE} is {asked!r}; set it to auto, cpu, cuda, or one GPU such as cuda:1")
    if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
        return _cpu()
    return _gpu(asked)


def _gpu(asked: str) -> Device:
    """A GPU: `auto` and `cuda` are the first, or under torchrun the one of this process.

    Raises:
        ConfigError: It is not there, or is to serve several processes.
    """
    place = os.environ.get(LOCAL_RANK, "0")  # of several processes on one machine each has a GPU of its own
    if place != "0" and ":" in asked:
        raise ConfigError(f"device {asked} is one GPU, and torchrun started several processes: set device to cuda")
    index, count = int(asked.partition(":")[2] or place), torch.cuda.device_count()
    if index >= count:
        there = {0: "no GPU that torch can use", 1: "one GPU, cuda:0"}.get(
            count, f"the GPUs cuda:0 to cuda:{count - 1}"
        )
        raise ConfigError(f"device {asked} is not there: this machine has {there}; set another device in study.toml")
    with torch.cuda.device(index):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    return Device("cuda", torch.cuda.get_device_name(index), "bfloat16" if native else "float32", True, index)


def _cpu() -> Device:
    """CPUs gain from bfloat16 when they multiply it natively (AMX, or AVX-512 BF16), and from NHWC always."""
    capability = torch.backends.cpu.get_cpu_capability()
    ask = getattr(torch.cpu, "get_capabilities", dict)  # absent from the oldest torch that is accepted
    flags: dict[str, object] = ask()
    native = bool(flags.get("amx_bf16") or flags.get("avx512_bf16"))
    return Device("cpu", f"{os.cpu_count()} cores, {capability}", "bfloat16" if native else "float32", True)
