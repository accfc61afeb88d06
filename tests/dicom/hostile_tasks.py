"""Tasks for the sandbox's tests: decoders that do what a hostile file makes a decoder do."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any

from scansynth.errors import DicomError

_SEEN: list[str] = []


def misbehave(path: str) -> tuple[dict[str, Any], bytes]:
    """Does what the path says, and answers with the process and how many jobs it has had."""
    _SEEN.append(path)
    if path == "hang":
        time.sleep(600)
    if path == "nap":
        time.sleep(1.5)
    if path == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "segfault":
        ctypes.string_at(0)
    if path == "eat":
        return {}, b"x" * (1 << 40)
    if path == "hoard":
        held = []
        while True:
            held.append(bytearray(1 << 24))
    if path == "die later" and len(_SEEN) > 1:
        os._exit(3)
    if path == "raise":
        raise ValueError("PLANTED^PATIENT")
    if path.startswith("write "):
        Path(path.removeprefix("write ")).write_bytes(b"x" * (1 << 16))
    if path == "refuse":
        raise DicomError("no pixel data", "two\nlines\x1b[31m")
    print("noise " * 1000, flush=True)
    return {"path": path, "process": os.getpid(), "seen": len(_SEEN)}, path.encode() * 3
