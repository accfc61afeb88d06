"""One fresh Python for a task, whose forks read the untrusted files: starting a Python for each takes half a second.

The fork server is started at the first use, imports the task, and reads no file itself, so that each fork knows as
little as a fresh Python would. It works in its own process group, so that Ctrl-C ends it through its parent and
silently, and it ends with its parent.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from multiprocessing import reduction
from multiprocessing.connection import Connection
from pathlib import Path

_END_SECONDS = 120.0  # it may still be importing the task

_servers: dict[tuple[str, str], ForkServer] = {}
"""By the task, and where Python looks for it."""

_lock = threading.Lock()


class ForkServer:
    """The Python that was started for one task.

    Args:
        task: Where the task is, as `module:function`; see `scansynth.dicom.child.Task`.
        paths: Where Python looks for it, as PYTHONPATH.
    """

    def __init__(self, task: str, paths: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "scansynth.dicom.child", str(theirs.fileno()), task],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                process_group=0,
            )
        self.parent = os.getpid()
        self._control = Connection(ours.detach())
        self._numbers = itertools.count()
        self._asking = threading.Lock()

    @property
    def serves(self) -> bool:
        """Whether it is there, and is this process's: a fork must not ask its parent's."""
        return self.parent == os.getpid() and self._process.poll() is None

    def fork(self, served: socket.socket, memory_bytes: int, seconds: float) -> int:
        """Starts a child that answers what comes through a socket; its number, by which it is ended.

        Where the server dies meanwhile the other end of the socket is closed, as that of a child that died.
        """
        number = next(self._numbers)
        request = {"child": number, "memory": memory_bytes, "seconds": seconds, "folder": str(Path.cwd())}
        with self._asking, contextlib.suppress(OSError):
            self._control.send_bytes(json.dumps(request).encode())
            reduction.send_handle(self._control, served.fileno(), self._process.pid)
        return number

    def end(self, number: int) -> None:
        """Kills a child, and comes back when it is gone."""
        with self._asking, contextlib.suppress(OSError, EOFError):
            self._control.send_bytes(json.dumps({"end": number}).encode())
            if self._control.poll(_END_SECONDS):
                self._control.recv_bytes()

    def close(self) -> None:
        """Ends it with all its children, and comes back when they are gone."""
        if self.parent == os.getpid():  # said, for a fork of this process may hold the socket open
            with contextlib.suppress(OSError):
                self._control.send_bytes(json.dumps({"close": True}).encode())
            self._process.wait()
        self._control.close()


def fork_server(task: str) -> ForkServer:
    """The fork server of a task, of which a process has one."""
    paths = os.pathsep.join(place for place in sys.path if place)
    with _lock:
        server = _servers.get((task, paths))
        if server is None or not server.serves:
            if server is not None:
                server.close()
            server = _servers[task, paths] = ForkServer(task, paths)
        return server


@atexit.register
def close_all() -> None:
    """Ends all fork servers of this process."""
    with _lock:
        while _servers:
            _servers.popitem()[1].close()
