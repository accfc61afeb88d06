"""The real server in a process of its own, to be killed; as a program it serves the worklist that it is given."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[2] / "src"


@dataclass
class Server:
    """A server at work.

    Attributes:
        process: Its process.
        url: Where it listens, without the last stroke.
    """

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> tuple[int, str]:
        """As Ctrl-C would; gives the exit code and all that was printed."""
        self.process.send_signal(signal.SIGINT)
        out, _ = self.process.communicate(timeout=300)
        return self.process.returncode, out


def start_server(worklist: Path, database_url: str | None = None, **address: Any) -> Server:
    """Starts a server on a free port of this machine, and waits until it listens."""
    told = {"worklist": str(worklist), "database_url": database_url, "address": {"port": 0, **address}}
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, __file__, json.dumps(told)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("http"):
        rest, _ = process.communicate(timeout=300)
        raise AssertionError(f"the server did not start: {line}{rest}")
    return Server(process, line.strip().rstrip("/"))


@contextlib.contextmanager
def running_server(worklist: Path, database_url: str | None = None, **address: Any) -> Iterator[Server]:
    """A server for the time of the block."""
    server = start_server(worklist, database_url, **address)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()
        if server.process.stdout is not None:
            server.process.stdout.close()


def main() -> None:
    """Serves; with `SCANSYNTH_TEST_OPENED` in the environment it writes there the name of every file it opens."""
    told = json.loads(sys.argv[1])
    opened: set[str] = set()
    target = os.environ.get("SCANSYNTH_TEST_OPENED")
    if target:
        sys.addaudithook(lambda event, values: opened.add(str(values[0])) if event in _OPENING else None)

    from scansynth.errors import ScansynthError  # noqa: PLC0415
    from scansynth.reader.server.serve import Address, serve  # noqa: PLC0415

    paths = {name: Path(value) for name, value in told["address"].items() if name in {"certificate", "key"}}
    address = Address(**{**told["address"], **paths})
    try:
        serve(Path(told["worklist"]), address, told["database_url"], lambda url: print(url, flush=True))
    except ScansynthError as refusal:
        print(f"refused: {refusal}", flush=True)
        sys.exit(refusal.exit_code)
    if target:
        names = sorted(opened)
        Path(target).write_text(json.dumps(names), encoding="utf-8")


_OPENING = {
    "open",
    "os.listdir",
    "os.scandir",
    "sqlite3.connect",
    "os.rename",
    "os.remove",
    "os.chmod",
    "shutil.copyfile",
}

if __name__ == "__main__":
    main()
