"""Many readers at once before the server of the reader study: how long a lock and an image take, and that all is kept.

    python benchmarks/reader_load.py --readers 20 --seconds 60
    python benchmarks/reader_load.py --readers 20 --seconds 600 --database postgresql://user@host/empty

A study of made-up images is served by the real server, in a process of its own, on this machine's own address; no
other machine is asked for anything. Each reader opens the invitation, reads the whole sequence with a pause for
thought before each answer (drawn evenly from half to one and a half times the mean), and keeps one connection open,
as a browser does. One lock in twenty is sent twice, as after a cut network. On request some readers are withdrawn on
the way, and some connections send half a head and no more. The requests are bounded: about four for
each image, and everything ends at twice the time that was asked for.

Afterwards the readings are compared, one by one, with what each reader was told, and the chain is checked.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from scansynth.reader.protocol import SCALE
from scansynth.reader.server.invitations import expiry, new_token, token_sha256
from scansynth.reader.server.locked import export_readings, withdraw_reader
from scansynth.reader.server.worklist import REAL, SYNTHETIC, Display, Place, Preset, Seat, Worklist, write_worklist
from scansynth.seeds import generator

BUFFERS = 64
RESENT = 0.05
KINDS = ("opening", "lock", "buffer", "draft")
"""Of requests."""

MOST_TRIES = 10
"""Of a request that the server cannot store at the moment; the page tries without end."""

WINDOWS = 6
"""The time is cut into so many windows; the figure that is compared with the bar is the median over the windows."""

_SERVER = """import sys
from pathlib import Path
from scansynth.reader.server.serve import Address, serve
serve(Path(sys.argv[1]), Address(port=0), sys.argv[2] or None, lambda url: print(url, flush=True))
"""


@dataclass
class Reader:
    """One reader, and what this reader was told.

    Attributes:
        token: The invitation.
        seed: Of the pauses and answers.
        told: Answer of each item that the server said was locked.
        times: By kind of request: when it was sent and how long it took, in seconds.
        requests: All of them.
        sent_again: Those that the server could not store at the moment (503), and that were sent again, as a page does.
        leaves: Whether this reader is withdrawn on the way, and refused from then on.
        left: Whether that was met.
    """

    token: str
    seed: int
    told: dict[str, int] = field(default_factory=dict)
    times: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    requests: int = 0
    sent_again: int = 0
    leaves: bool = False
    left: bool = False

    async def read(self, url: str, think: float, start: float, end: float) -> None:
        """Reads the whole sequence, from `start` on, and gives up at `end` (monotonic seconds)."""
        try:
            await self._read(url, think, start, end)
        except httpx.HTTPStatusError as fault:
            self.left = self.leaves and fault.response.status_code in {401, 404, 410}
            if not self.left:
                raise

    async def _read(self, url: str, think: float, start: float, end: float) -> None:
        rng = generator(self.seed, "reader load")
        async with httpx.AsyncClient(base_url=url, timeout=30.0) as client:
            await asyncio.sleep(max(0.0, start - time.monotonic()))
            await self._timed(client, "opening", "POST", f"/i/{self.token}")
            state = (await self._timed(client, "opening", "GET", "/api/state")).json()
            headers = {"x-csrf-token": state["csrf"]}
            while state["item"] and time.monotonic() < end:
                item, answer = state["item"]["id"], int(rng.integers(1, 7))
                if state["next"]:
                    await self._timed(client, "buffer", "GET", f"/api/buffer/{state['next']['id']}")
                await asyncio.sleep(think * float(rng.uniform(0.5, 1.5)))
                kept = {"answer": answer, "second": None, "confidence": None}
                await self._timed(client, "draft", "PUT", f"/api/draft/{item}", json=kept, headers=headers)
                sent = kept | {
                    "seconds": round(think, 3),
                    "hidden_seconds": 0.0,
                    "window_changes": 1,
                    "zoomed": False,
                    "nonce": secrets.token_hex(16),
                }
                for _ in range(2 if rng.random() < RESENT else 1):
                    locked = await self._timed(client, "lock", "POST", f"/api/lock/{item}", json=sent, headers=headers)
                    self.told[item] = answer
                state = locked.json()

    async def _timed(self, client: httpx.AsyncClient, kind: str, method: str, path: str, **sent: Any) -> httpx.Response:
        for _ in range(MOST_TRIES):
            begun = time.monotonic()
            answer = await client.request(method, path, **sent)
            self.times[kind].append((begun, time.monotonic() - begun))
            self.requests += 1
            if answer.status_code != 503:
                break
            self.sent_again += 1
            await asyncio.sleep(float(answer.headers["retry-after"]))
        return answer.raise_for_status()


def make_worklist(folder: Path, readers: int, images: int, size: int) -> list[str]:
    """Writes a worklist of noise; gives the invitations."""
    rng = generator(0, "reader load", "images")
    names = [secrets.token_hex(16) for _ in range(BUFFERS)]
    buffers = {name: rng.integers(0, 1 << 16, (size, size), np.uint16).astype("<u2").tobytes() for name in names}
    tokens = [new_token() for _ in range(readers)]
    expires, seats = expiry(datetime.datetime.now(datetime.UTC), 1.0), []
    for number, token in enumerate(tokens):
        places = [Place(secrets.token_hex(16), names[place % BUFFERS]) for place in range(images + 2)]
        practice = (Place(places[0].item, places[0].buffer, REAL), Place(places[1].item, places[1].buffer, SYNTHETIC))
        seats.append(Seat(f"r{number + 1:02d}", token_sha256(token), expires, practice, tuple(places[2:])))
    worklist = Worklist(
        study=secrets.token_hex(16),
        title="Load",
        protocol_sha256=secrets.token_hex(32),
        expires=expires,
        image=Display(size, size, 0.0, 1000.0, "", (1.0, 1.0)),
        presets=(Preset("Full range", 500.0, 1000.0),),
        scale=SCALE,
        second_question=None,
        break_every=0,
        administrator_sha256=token_sha256(new_token()),
        readers=tuple(seats),
    )
    used = {place.buffer for seat in seats for place in (*seat.practice, *seat.sequence)}
    write_worklist(folder, worklist, {name: buffers[name] for name in used})
    return tokens


@contextlib.contextmanager
def server(worklist: Path, database_url: str | None) -> Iterator[tuple[str, int]]:
    """The real server in its own process; gives its address and its process."""
    command = [sys.executable, "-c", _SERVER, str(worklist), database_url or ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip().rstrip("/"), process.pid
        finally:
            process.terminate()


def waiting(process: int | str = "self") -> tuple[float, float]:
    """Seconds that the threads of a process ran, and seconds that they waited for a core (Linux, schedstat)."""
    rows = [path.read_text().split() for path in Path(f"/proc/{process}/task").glob("*/schedstat")]
    return sum(int(row[0]) for row in rows) / 1e9, sum(int(row[1]) for row in rows) / 1e9


def spread(times: list[tuple[float, float]], start: float, seconds: float) -> dict[str, Any]:
    """Percentiles in milliseconds, over all and as the median over windows of time."""
    values = 1000 * np.array([took for _, took in times])
    place = np.clip([int((begun - start) / seconds * WINDOWS) for begun, _ in times], 0, WINDOWS - 1)
    p95 = [float(np.percentile(values[place == window], 95)) for window in range(WINDOWS) if np.any(place == window)]
    figures = {f"p{rank}_ms": round(float(np.percentile(values, rank)), 2) for rank in (50, 95, 99)}
    return {
        "requests": len(times),
        **figures,
        "longest_ms": round(float(values.max()), 2),
        "median_of_p95_ms": round(float(np.median(p95)), 2),
    }


def check(worklist: Path, database_url: str | None, readers: list[Reader]) -> dict[str, int]:
    """Compares what is stored with what was told; the chain is checked on the way."""
    export = export_readings(worklist, database_url)
    told = {item: answer for reader in readers for item, answer in reader.told.items()}
    stored = {row.item: row.answer for row in export.readings}
    practice = export.end.rows - len(export.readings)
    wrong = sum(told.get(item) != answer for item, answer in stored.items())
    return {
        "told_locked": len(told),
        "lost": len(told) - practice - len(stored),
        "doubled": len(export.readings) - len(stored),
        "wrong": wrong,
    }


def measure(
    readers: int,
    seconds: float,
    think: float,
    size: int = 256,
    database_url: str | None = None,
    patience: float = 2.0,
    leave: int = 0,
    half_open: int = 0,
) -> dict[str, Any]:
    """One run, with everything that it found.

    Args:
        readers: At once.
        seconds: How long the reading takes, about.
        think: Mean pause before an answer, in seconds.
        size: Side of the images, pixels.
        database_url: An empty PostgreSQL database; none: SQLite.
        patience: Times `seconds` after which the readers give up.
        leave: Readers who are withdrawn when half of the time is over.
        half_open: Connections that send half a head and no more.
    """
    images = max(4, round(seconds / think) - 2)
    with tempfile.TemporaryDirectory() as folder:
        worklist = Path(folder) / "worklist"
        crowd = [Reader(token, seed) for seed, token in enumerate(make_worklist(worklist, readers, images, size))]
        for reader in crowd[:leave]:
            reader.leaves = True
        load = os.getloadavg()[0]
        with server(worklist, database_url) as (url, process), silent(url, half_open) as ended:
            before, start = waiting(), time.monotonic()
            arrivals = [start + think * number / readers for number in range(readers)]
            names = [f"r{number + 1:02d}" for number in range(leave)]
            gone = _withdraw(worklist, names, database_url, seconds / 2.0)
            asyncio.run(_all_read(crowd, url, think, arrivals, start + patience * seconds, gone))
            half_open_ended = ended()
            took = time.monotonic() - start
            ran, waited = (
                mine + its - mine_before
                for mine, its, mine_before in zip(waiting(), waiting(process), before, strict=True)
            )
        kinds = {
            kind: spread([one for reader in crowd for one in reader.times[kind]], start, took)
            for kind in ("lock", "buffer", "draft")
        }
        kept = check(worklist, database_url, crowd)
    return {
        "database": "postgresql" if database_url else "sqlite",
        "readers": readers,
        "images_each": images + 2,
        "buffer_bytes": size * size * 2,
        "think_seconds": think,
        "seconds": round(took, 1),
        "requests": sum(reader.requests for reader in crowd),
        "resent_locks": sum(len(reader.times["lock"]) - len(reader.told) for reader in crowd),
        "sent_again_after_503": sum(reader.sent_again for reader in crowd),
        **kinds,
        **kept,
        "all_finished": all(reader.left if reader.leaves else len(reader.told) == images + 2 for reader in crowd),
        "left": sum(reader.left for reader in crowd),
        "half_open": half_open,
        "half_open_ended": half_open_ended,
        "ran_seconds": round(ran, 2),
        "waited_for_a_core_seconds": round(waited, 2),
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "cores": os.cpu_count(),
    }


async def _all_read(
    crowd: list[Reader],
    url: str,
    think: float,
    arrivals: list[float],
    end: float,
    meanwhile: Coroutine[Any, Any, None] | None = None,
) -> None:
    beside = [] if meanwhile is None else [meanwhile]
    await asyncio.gather(
        *beside, *(reader.read(url, think, arrival, end) for reader, arrival in zip(crowd, arrivals, strict=True))
    )


async def _withdraw(worklist: Path, names: list[str], database_url: str | None, after: float) -> None:
    """Withdraws readers as the command does, while the server runs."""
    await asyncio.sleep(after if names else 0.0)
    for name in names:
        await asyncio.to_thread(withdraw_reader, worklist, name, database_url)


@contextlib.contextmanager
def silent(url: str, count: int) -> Iterator[Callable[[], int]]:
    """Connections that send half a head; gives a function that says how many the server has ended."""
    where = urlsplit(url)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection((where.hostname, where.port))) for _ in range(count)]
        for one in opened:
            one.sendall(b"GET /resume HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
            one.setblocking(False)

        def ended() -> int:
            return sum(_is_ended(one) for one in opened)

        yield ended


def _is_ended(one: socket.socket) -> bool:
    try:
        return one.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def said(found: dict[str, Any]) -> str:
    """The figures in a few lines."""
    rows = [
        f"  {kind:7} {found[kind]['requests']:6} requests, p50 {found[kind]['p50_ms']} ms, "
        f"p95 {found[kind]['p95_ms']} ms, p99 {found[kind]['p99_ms']} ms, longest {found[kind]['longest_ms']} ms, "
        f"median of the windows' p95 {found[kind]['median_of_p95_ms']} ms"
        for kind in ("lock", "buffer", "draft")
    ]
    head = (
        f"{found['database']}: {found['readers']} readers, {found['seconds']} s, load {found['load_before']} to "
        f"{found['load_after']} on {found['cores']} cores; told {found['told_locked']}, lost {found['lost']}, "
        f"doubled {found['doubled']}, wrong {found['wrong']}, {found['left']} left, {found['half_open_ended']} of "
        f"{found['half_open']} half-open connections ended; server and readers ran {found['ran_seconds']} s and "
        f"waited {found['waited_for_a_core_seconds']} s for a core"
    )
    return "\n".join([head, *rows])


def starved(found: dict[str, Any]) -> bool:
    """Whether other work kept the cores: server and readers waited for one longer than they had one."""
    return bool(found["waited_for_a_core_seconds"] > found["ran_seconds"])


def failed(found: dict[str, Any]) -> bool:
    """Whether something was lost, doubled or changed, or not read to the end."""
    kept = not (found["lost"] or found["doubled"] or found["wrong"]) and found["all_finished"]
    return not kept or found["half_open_ended"] < found["half_open"]


def main() -> None:
    """Runs, prints and checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--think", type=float, default=2.0, help="mean seconds before an answer")
    parser.add_argument("--size", type=int, default=256, help="side of the images in pixels")
    parser.add_argument("--database", help="an empty PostgreSQL database; else SQLite")
    asked = parser.parse_args()
    found = measure(asked.readers, asked.seconds, asked.think, asked.size, asked.database)
    print(json.dumps(found), flush=True)
    print(said(found), file=sys.stderr)
    sys.exit(failed(found))


if __name__ == "__main__":
    main()
