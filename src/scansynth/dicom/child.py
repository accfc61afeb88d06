"""The program whose forks read untrusted files; started by `scansynth.dicom.forks`.

    python -m scansynth.dicom.child SOCKET MODULE:FUNCTION

Through its socket it is asked to fork, with a socket for the child, and to end a child. A child answers one
request after another until its own socket closes. Requests and answers are JSON, and raw bytes for pixels: a
child that a hostile file took over has nothing to hand back that its parent would execute. It may write no
file, dumps no core (a core holds a patient's image), prints nothing, and takes no more address space than it
is given above what the program itself needs.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from multiprocessing import reduction
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


def serve(task: Task, connection: Connection, memory_bytes: int, seconds: float) -> None:
    """What a child does: answers requests until its socket closes."""
    confine(memory_bytes)
    # the signal's default ends the process even from within a decoder, should the parent be gone
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with contextlib.suppress(EOFError, OSError):
        connection.send_bytes(READY)
        while True:
            request = connection.recv_bytes()
            signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE)
            value, payload = answer(task, request)
            signal.setitimer(signal.ITIMER_REAL, 0)
            connection.send_bytes(json.dumps(value).encode())
            if payload:
                connection.send_bytes(payload)


def _fork(task: Task, control: Connection, asked: Mapping[str, Any]) -> int:
    """Starts a child in a fork; its process."""
    handle = reduction.recv_handle(control)
    child = os.fork()
    if child:
        os.close(handle)
        return child
    code = 1
    try:
        control.close()
        os.chdir(asked["folder"])
        serve(task, Connection(handle), asked["memory"], asked["seconds"])
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def _end(child: int) -> None:
    """Kills a child, which keeps its number until it is waited for."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def main() -> None:
    """Forks and ends children as it is asked, until its socket closes or it is told to end; it reads no file itself."""
    handle, place = sys.argv[1:3]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    module, function = place.split(":")
    # pydicom's downloads: a fifth of the start, and no work here
    sys.modules["requests"] = None  # type: ignore[assignment]
    task: Task = getattr(importlib.import_module(module), function)
    control = Connection(int(handle))
    children: dict[int, int] = {}
    with contextlib.suppress(EOFError, OSError):
        while True:
            asked = json.loads(control.recv_bytes())
            if "close" in asked:
                break
            if "end" in asked:
                _end(children.pop(asked["end"]))
                control.send_bytes(b"ended")
            else:
                children[asked["child"]] = _fork(task, control, asked)
    for child in children.values():
        _end(child)


if __name__ == "__main__":
    main()
