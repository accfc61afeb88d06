"""A served worklist and a browser, for the tests of the pages: every request that a page makes is written down."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from worklist_factory import Kit, make_worklist

from scansynth.reader.server.app import create_app

WIDE, SMALL, UPRIGHT = (1280, 800), (1024, 768), (820, 1180)
"""A screen on a worklist, a tablet lying, a tablet standing; CSS pixels."""

READY = "#worklist:not([hidden]) #answers:not([hidden]) #lock:enabled"
BEFORE = ("#check-yes", "#summary-next")
"""What may stand before an image: the check of the screen, and the end of the practice."""

TAKEN = ("reader", "item", "practice", "answer", "second", "confidence", "seconds", "hidden_seconds", "window_changes")


@dataclass(frozen=True)
class Served:
    """A study under a loopback address.

    Attributes:
        kit: The worklist and what its administrator knows.
        address: Where it is served.
    """

    kit: Kit
    address: str

    def readings(self, reader: str = "r01", practice: bool = False) -> list[dict[str, Any]]:
        """What the database holds of a reader, in the order in which it was locked."""
        names = ", ".join(TAKEN)
        with contextlib.closing(sqlite3.connect(self.kit.folder / "readings.db")) as database:
            rows = database.execute(
                f"SELECT {names} FROM readings WHERE reader = ? AND practice = ? ORDER BY n",
                (reader, practice),
            ).fetchall()
        return [dict(zip(TAKEN, row, strict=True)) for row in rows]

    def items(self, reader: str = "r01") -> list[str]:
        """Items of a reader in their order, practice first."""
        seat = next(seat for seat in self.kit.worklist.readers if seat.reader == reader)
        return [place.item for place in (*seat.practice, *seat.sequence)]


@contextlib.contextmanager
def served(folder: Path, **changes: Any) -> Iterator[Served]:
    """Makes a worklist in `folder` and serves it from a thread, on a free port of this machine."""
    kit = make_worklist(folder / "worklist", **changes)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(kit.folder), log_config=None, access_log=False, server_header=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Served(kit, f"http://127.0.0.1:{listening.getsockname()[1]}")
    server.should_exit = True
    thread.join(10)


@dataclass
class Device:
    """A browser of its own, with one page, and what went through it.

    Attributes:
        page: The page in front.
        context: Its cookies and storage.
        asked: Address of every request.
        said: Whatever stood in the console, and errors of scripts.
    """

    page: Any
    context: Any
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def watch(self, page: Any) -> Any:
        """Writes down what a page asks and says."""
        page.set_default_timeout(120_000)  # a machine may be at other work
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        return page

    def ready(self) -> None:
        """Waits until an image can be answered, and goes past whatever stands before it."""
        for _ in range(3000):
            if self.page.is_visible(READY):
                return
            for button in BEFORE:
                if self.page.is_visible(button):
                    self.page.press(button, "Enter")
            self.page.wait_for_timeout(10)
        raise AssertionError("no image can be answered")

    def keys(self, *keys: str) -> None:
        """Presses keys one after another."""
        for key in keys:
            self.page.keyboard.press(key)

    def text(self, selector: str) -> str:
        """Text of an element."""
        return str(self.page.inner_text(selector))

    def until(self, code: str, arg: Any = None) -> None:
        """Waits until an expression is true; playwright's own wait evaluates a string in the page, which it forbids."""
        for _ in range(3000):
            if self.page.evaluate(code, arg):
                return
            self.page.wait_for_timeout(10)
        raise AssertionError(f"it does not come about: {code}")

    def answer(self, *keys: str) -> None:
        """Answers the image on the screen by keyboard, and sees what comes after."""
        self.ready()
        before = self.text("#where")
        self.keys(*keys, "Enter")
        if before.startswith("Practice"):
            self.page.wait_for_selector("#feedback:not([hidden])")
            self.keys("Enter")
        self.moved(before)

    def moved(self, before: str) -> None:
        """Waits until another image, or a screen, stands there."""
        for _ in range(3000):
            if self.page.is_visible("#screen") or self.text("#where") != before:
                return
            if self.page.is_visible("#summary-next"):
                self.page.press("#summary-next", "Enter")
            self.page.wait_for_timeout(10)
        raise AssertionError(f"the page stays at {before!r}")

    def arrived(self) -> None:
        """Waits until every locked answer is confirmed."""
        for _ in range(3000):
            if not any(key.startswith("reader-lock-") for key in self.kept()):
                return
            self.page.wait_for_timeout(10)
        raise AssertionError("an answer has not arrived")

    def drafted(self) -> None:
        """Waits until the server has the answer that is being given."""
        self.until(
            """() => {
              const kept = Object.entries(localStorage).filter(([name]) => name.startsWith("reader-draft-"));
              const drafts = kept.map(([, value]) => JSON.parse(value));
              drafts.sort((one, other) => other.kept_at - one.kept_at);
              return drafts.length > 0 && !drafts[0].unsaved;
            }"""
        )

    def painted(self) -> None:
        """Waits until what was asked of the page stands on the screen: it draws at the next frame."""
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 20))))"
        )

    def passes(self, seconds: float) -> None:
        """Lets so many seconds pass on the page's steady clock."""
        self.page.evaluate(
            "by => { const now = performance.now.bind(performance); performance.now = () => now() + 1000 * by; }",
            seconds,
        )

    def fetched(self, item: str) -> None:
        """Waits until the buffer of an item has come."""
        asked = "name => performance.getEntriesByType('resource').some(entry => entry.name.endsWith(name))"
        for _ in range(3000):
            if self.page.evaluate(asked, item):
                self.page.wait_for_timeout(20)  # and is in the page's hands
                return
            self.page.wait_for_timeout(10)
        raise AssertionError("the image after this one has not come")

    def kept(self) -> list[str]:
        """Names of what the browser keeps."""
        return list(self.page.evaluate("Object.keys(localStorage)"))


@contextlib.contextmanager
def device(browser: Any, size: tuple[int, int] = WIDE, **options: Any) -> Iterator[Device]:
    """Another device: no cookie, no storage."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    made = Device(context.new_page(), context)
    made.watch(made.page)
    yield made
    context.close()


def begin(study: Served, at: Device, reader: str = "r01") -> str:
    """Opens the invitation by keyboard and gives the personal code; the reading page is open then."""
    at.page.goto(f"{study.address}/i/{study.kit.tokens[reader]}")
    at.page.focus("button")
    at.keys("Enter")
    code = at.text("#code")
    at.page.wait_for_selector("#start")  # there when its script is at work
    at.page.focus("#start")
    at.keys("Enter")
    at.ready()
    return code


def skip_practice(study: Served, at: Device) -> None:
    """Answers the practice cases."""
    for _ in study.kit.worklist.readers[0].practice:
        at.answer(*(["4", "y", "7"] if study.kit.worklist.second_question else ["4"]))
    at.ready()
