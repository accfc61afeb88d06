"""All traffic of a whole study over a real socket, and a probe that tries to learn from it what each image is.

The probe looks at everything but the pixels: status, header block, lengths, times, the item's name. It must find
nothing by class and nothing by repeat, and must find each leak that is planted.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from browsing import lock_of
from scipy.stats import rankdata
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from worklist_factory import Kit, make_worklist, pictures

from scansynth.reader.server.app import create_app
from scansynth.reader.server.serve import Address, _listening, server_config
from scansynth.reader.server.worklist import BUFFERS

IMAGES, REPEATS, SIDE = 60, 20, 24
DRAWS = 19_999
ALARM = 1e-4
"""The real delays are chance: so one run in 5,000 finds something in the traffic of a server that tells nothing."""


@dataclass
class Study:
    """A worklist of images and hidden repeats, with the truth of each item of one reader.

    Attributes:
        kit: The worklist.
        synthetic: By item.
        repeat: By item.
    """

    kit: Kit
    synthetic: dict[str, bool]
    repeat: dict[str, bool]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    rng = np.random.default_rng(3)
    first = pictures(IMAGES, SIDE, seed=3)
    again = first[rng.choice(IMAGES, REPEATS, replace=False)] + rng.integers(0, 257, (REPEATS, SIDE, SIDE))
    images = np.concatenate([first, again.clip(0, 65535).astype(np.uint16)])
    kit = make_worklist(tmp_path_factory.mktemp("leaks") / "worklist", images, readers=1, practice=0, seed=4)
    number = {image.astype("<u2").tobytes(): place for place, image in enumerate(images)}
    repeat = {}
    for place in kit.worklist.readers[0].sequence:
        data = (kit.folder / BUFFERS / f"{place.buffer}.bin").read_bytes()
        repeat[place.item] = number[data] >= IMAGES
    return Study(kit, {item: kit.truth[item] for item in repeat}, repeat)


class Clock:
    """Time as drawn: a request takes 2 ms on average, and as much longer as is planted; no core decides it."""

    def __init__(self) -> None:
        self.now, self.rng = 0.0, np.random.default_rng(2)

    def __call__(self) -> float:
        self.now += self.rng.exponential(0.002)
        return self.now


@dataclass
class Wire:
    """One connection, kept open as a browser keeps it; remembers what each answer looked like.

    Attributes:
        port: Of the server.
        clock: Tells how long answers take, in seconds.
        cookie: Of the session.
        seen: For each item: a row of numbers for each request about it.
        blocks: Header blocks so far, the date left out; a block's place in it is a number of the probe.
    """

    port: int
    clock: Callable[[], float]
    cookie: str = ""
    csrf: str = ""
    seen: dict[str, list[float]] = field(default_factory=dict)
    blocks: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.raw = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method: str, path: str, value: Any = None, item: str = "") -> tuple[bytes, bytes]:
        """Header block and body of the answer."""
        body = b"" if value is None else json.dumps(value).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Cookie: reader={self.cookie}"]
        lines += [f"X-CSRF-Token: {self.csrf}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
        start = self.clock()
        self.raw.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        received = self.raw.recv(1 << 16)
        first = self.clock() - start
        while b"\r\n\r\n" not in received:
            received += self.raw.recv(1 << 16)
        block, content = received.split(b"\r\n\r\n", 1)
        names = dict(line.split(b": ", 1) for line in block.split(b"\r\n")[1:])
        while len(content) < int(names[b"content-length"]):
            content += self.raw.recv(1 << 16)
        whole = self.clock() - start
        if item:
            constant = b"\r\n".join(line for line in block.split(b"\r\n") if not line.startswith(b"date:"))
            if constant not in self.blocks:
                self.blocks.append(constant)
            row = [float(block.split()[1]), len(block), len(content), self.blocks.index(constant), first, whole]
            self.seen.setdefault(item, []).extend(row)
        return block, content

    def begin(self, token: str) -> dict[str, Any]:
        block, _ = self.ask("POST", f"/i/{token}")
        self.cookie = block.split(b"reader=")[1].split(b";")[0].decode()
        state: dict[str, Any] = json.loads(self.ask("GET", "/api/state")[1])
        self.csrf = state["csrf"]
        return state


@contextlib.contextmanager
def served(app: ASGIApp) -> Iterator[int]:
    """Serves in a thread on a real socket; gives the port."""
    address = Address(port=0)
    with _listening(address) as listening:
        server = uvicorn.Server(server_config(app, address))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(timeout=20)


def capture(
    study: Study,
    database: Path,
    plant: Callable[[ASGIApp], ASGIApp] = lambda app: app,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Reads the whole study as the page does and gives what was seen of each item."""
    app = create_app(study.kit.folder, f"sqlite:///{database}")
    rng = np.random.default_rng(0)
    with served(plant(app)) as port:
        wire = Wire(port, clock)
        state = wire.begin(study.kit.tokens["r01"])
        wire.ask("GET", f"/api/buffer/{state['item']['id']}", item=state["item"]["id"])
        while state["item"]:
            item, answer = state["item"]["id"], int(rng.integers(1, 7))  # independent of what the image is
            if state["next"]:
                wire.ask("GET", f"/api/buffer/{state['next']['id']}", item=state["next"]["id"])
            wire.ask("GET", f"/api/buffer/{item}", item=item)
            draft = {"answer": answer, "second": None, "confidence": None}
            wire.ask("PUT", f"/api/draft/{item}", draft, item=item)
            wire.ask("GET", "/api/state", item=item)
            sent = lock_of(answer, nonce=secrets.token_hex(16))
            state = json.loads(wire.ask("POST", f"/api/lock/{item}", sent, item=item)[1])
            wire.seen[item].extend(bytes.fromhex(item))
        wire.raw.close()
    return wire.seen


def probe(seen: dict[str, list[float]], truth: dict[str, bool]) -> float:
    """Permutation p of the largest rank difference between two kinds of items, over everything that was seen.

    The Wilcoxon statistic of each number, standardised; its maximum over all numbers against the same maximum when
    the truth is shuffled. Finds a difference in one number that holds for most items.
    """
    items = sorted(seen)
    table = np.array([seen[item] for item in items])
    ranks = rankdata(table, axis=0)
    spread = ranks.std(axis=0)
    ranks = (ranks[:, spread > 0] - ranks.mean(axis=0)[spread > 0]) / spread[spread > 0]
    labels = np.array([truth[item] for item in items], float)
    rng = np.random.default_rng(1)
    shuffled = rng.permuted(np.tile(labels, (DRAWS, 1)), axis=1)
    found = np.abs(labels @ ranks).max(initial=0.0)
    return float((1 + np.sum(np.abs(shuffled @ ranks).max(axis=1, initial=0.0) >= found - 1e-9)) / (1 + DRAWS))


def test_the_traffic_tells_neither_class_nor_repeat(study: Study, tmp_path: Path) -> None:
    seen = capture(study, tmp_path / "plain.db")
    assert len(seen) == IMAGES + REPEATS
    assert len({len(row) for row in seen.values()}) == 1
    table = np.array(list(seen.values()))
    assert set(table[:, 0::6][:, :5].ravel()) == {200.0}
    for request in range(2):  # the buffer as the next image and as the current: alike to the last byte
        assert len({tuple(row[request * 6 + 1 : request * 6 + 4]) for row in table}) == 1
    assert probe(seen, study.synthetic) > ALARM
    assert probe(seen, study.repeat) > ALARM


class Leak:
    """A planted fault: answers about some items differ a little."""

    def __init__(self, app: ASGIApp, items: set[str], how: str, clock: Clock) -> None:
        self.app, self.items, self.how, self.clock = app, items, how, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hit = scope["type"] == "http" and scope["path"].rsplit("/", 1)[-1] in self.items
        hit = hit and scope["path"].startswith("/api/buffer/")

        async def leaking(message: Message) -> None:
            if hit and message["type"] == "http.response.start":
                if self.how == "slower":
                    self.clock.now += 0.01
                headers = [(name, value) for name, value in message["headers"]]
                if self.how == "header":
                    headers = headers[1:] + headers[:1]  # the same headers in another order
                if self.how == "longer":
                    length = int(dict(headers)[b"content-length"]) + 1
                    headers = [(n, str(length).encode() if n == b"content-length" else v) for n, v in headers]
                message = {**message, "headers": headers}
            if hit and message["type"] == "http.response.body" and self.how == "longer":
                message = {**message, "body": message["body"] + b"\0"}
            await send(message)

        await self.app(scope, receive, leaking)


@pytest.mark.parametrize("how", ["longer", "header", "slower"])
def test_the_probe_finds_a_planted_leak(study: Study, tmp_path: Path, how: str) -> None:
    synthetic = {item for item, is_synthetic in study.synthetic.items() if is_synthetic}
    clock = Clock()
    seen = capture(study, tmp_path / f"{how}.db", lambda app: Leak(app, synthetic, how, clock), clock)
    assert probe(seen, study.synthetic) < ALARM


def test_the_probe_finds_names_that_are_not_random(study: Study, tmp_path: Path) -> None:
    seen = {item: [float(number)] for number, item in enumerate(sorted(study.synthetic, key=study.synthetic.get))}
    assert probe(seen, study.synthetic) < ALARM


def test_the_probe_raises_no_false_alarm(study: Study) -> None:
    """With nothing to find, p is uniform: small ones are as rare as they should be."""
    rng = np.random.default_rng(9)
    items = sorted(study.synthetic)
    p = [probe({item: list(rng.normal(size=46)) for item in items}, study.synthetic) for _ in range(12)]
    assert min(p) > 1e-3
    assert 0.2 < float(np.mean(p)) < 0.8


def test_small_answers_are_sent_at_once() -> None:
    """Without it each answer waits some 40 ms for an acknowledgement (Nagle's algorithm)."""
    with _listening(Address(port=0)) as listening:
        assert listening.proto == socket.IPPROTO_TCP
