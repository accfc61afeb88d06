"""Where training runs, and in which number format."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Device:
    """A place to compute.

    Attributes:
        kind: `cuda` or `cpu`.
        name: What the hardware calls itself.
        precision: `bfloat16` where the hardware multiplies it natively, else `float32`.
        channels_last: Whether convolutions run faster on NHWC memory.
    """

    kind: str
    name: str
    precision: str
    channels_last: bool

    @property
    def torch_device(self) -> torch.device:
        """The device as torch names it."""
        return torch.device(self.kind)

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
    """The best device of this machine, decided by what the hardware states and never by a timing.

    A timing could fall out otherwise when a run is continued, and the run would not be the same.
    CPUs gain from bfloat16 when they multiply it natively (AMX, or AVX-512 BF16), and from NHWC always.
    """
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return Device("cuda", torch.cuda.get_device_name(), "bfloat16" if native else "float32", True)
    capability = torch.backends.cpu.get_cpu_capability()
    ask = getattr(torch.cpu, "get_capabilities", dict)  # absent from the oldest torch that is accepted
    flags: dict[str, object] = ask()
    native = bool(flags.get("amx_bf16") or flags.get("avx512_bf16"))
    return Device("cpu", f"{os.cpu_count()} cores, {capability}", "bfloat16" if native else "float32", True)
