"""The program of one child process that reads untrusted files; started by `scansynth.dicom.children`.

    python -m scansynth.dicom.child SOCKET MEMORY SECONDS MODULE:FUNCTION

It answers one request after another until its socket closes. Requests and answers are JSON, and raw
bytes for pixels: a child that a hostile file took over has nothing to hand back that its parent would
execute. It may write no file, dumps no core (a core holds a patient's image), prints nothing, and takes
no more address space than MEMORY above what the program itself needs.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from scansynth.errors import DicomError

Task = Callable[..., tuple[dict[str, Any], bytes]]
"""Named arguments from the request's JSON, to a JSON value and raw bytes."""

READY = b"ready"
MEMORY = "memory"
_GRACE = 5  # seconds that the parent gets to end a slow child before the child ends itself


def _address_space() -> int:
    """Bytes of address space of this process now; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def confine(memory_bytes: int) -> None:
    """Limits this process: address space, no core dump, no file written, no output."""
    import resource  # noqa: PLC0415 - absent on Windows, where there are no such limits

    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silent, stream)
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    base = _address_space()
    if base:
        with contextlib.suppress(ValueError):  # a lower limit is already set from outside
            resource.setrlimit(resource.RLIMIT_AS, (base + memory_bytes, base + memory_bytes))


def answer(task: Task, request: bytes) -> tuple[dict[str, Any], bytes]:
    """One request's answer: a value and bytes, or a refusal."""
    try:
        value, payload = task(**json.loads(request))
    except DicomError as refusal:
        return {"reason": refusal.reason, "detail": refusal.detail}, b""
    except (MemoryError, RecursionError):
        return {"reason": MEMORY, "detail": ""}, b""
    except Exception as fault:  # its words may quote the file, so only its kind goes out
        return {"reason": "cannot be decoded", "detail": type(fault).__name__}, b""
    return {"value": value, "bytes": len(payload)}, payload


def main() -> None:
    """Serves requests until the socket closes."""
    handle, memory, seconds, place = sys.argv[1:5]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    module, function = place.split(":")
    # pydicom's downloads: a fifth of the start, and no work here
    sys.modules["requests"] = None  # type: ignore[assignment]
    task: Task = getattr(importlib.import_module(module), function)
    connection = Connection(int(handle))
    confine(int(memory))
    # the signal's default ends the process even from within a decoder, should the parent be gone
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with contextlib.suppress(EOFError, OSError):
        connection.send_bytes(READY)
        while True:
            request = connection.recv_bytes()
            signal.setitimer(signal.ITIMER_REAL, float(seconds) + _GRACE)
            value, payload = answer(task, request)
            signal.setitimer(signal.ITIMER_REAL, 0)
            connection.send_bytes(json.dumps(value).encode())
            if payload:
                connection.send_bytes(payload)


if __name__ == "__main__":
    main()
