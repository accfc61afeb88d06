"""Pictures of the pages of a reader study, for the documentation: drawn on phantom images, never on real ones.

    python benchmarks/reader_pictures.py OUT_DIR [--chromium PATH]

Makes a small study of phantom slices in a temporary folder, serves it on this machine alone, and reads it in a
headless browser. Writes OUT_DIR/reader-*.png, with few colours, so that the files stay small.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from PIL import Image

from scansynth.phantom.cohort import draw_images, draw_patient
from scansynth.reader.protocol import SCALE
from scansynth.reader.server.app import create_app
from scansynth.reader.server.invitations import expiry, new_token, token_sha256
from scansynth.reader.server.worklist import (
    REAL,
    SYNTHETIC,
    Display,
    Place,
    Preset,
    Seat,
    SecondQuestion,
    Worklist,
    write_worklist,
)

SIZE, IMAGES, PRACTICE, READERS = 256, 40, 3, 5
WIDE, UPRIGHT = {"width": 1280, "height": 800}, {"width": 820, "height": 1180}
COLOURS, SHRINK = 96, 0.75
READY = "#worklist:not([hidden]) #lock:enabled"


@dataclass(frozen=True)
class Shown:
    """The study that is photographed: where it is, and the tokens of its readers and its administrator."""

    address: str
    tokens: tuple[str, ...]
    administrator: str
    folder: Path


def slices(count: int) -> list[np.ndarray]:
    """Phantom slices on one scale, uint16 (SIZE, SIZE)."""
    found: list[np.ndarray] = []
    number = 1
    while len(found) < count:
        pixels = draw_images(draw_patient(number, 4), SIZE, 4)[number % 4].pixels.astype(np.float64)
        found.append(np.rint(np.clip(pixels / np.percentile(pixels, 99.8), 0, 1) * 65535).astype("<u2"))
        number += 1
    return found


def make_study(folder: Path) -> Shown:
    """A worklist in `folder` with READERS readers, who all see the same slices in their own order."""
    images = slices(12)
    rng = np.random.default_rng(4)
    buffers, seats, tokens = {}, [], [new_token() for _ in range(READERS)]
    expires = expiry(datetime.datetime.now(datetime.UTC), 14.0)
    for number, token in enumerate(tokens, start=1):
        places = []
        for which in rng.integers(len(images), size=PRACTICE + IMAGES):
            places.append(Place(secrets.token_hex(16), secrets.token_hex(16)))
            buffers[places[-1].buffer] = images[which].tobytes()
        practice = tuple(
            Place(place.item, place.buffer, (SYNTHETIC, REAL)[k % 2]) for k, place in enumerate(places[:PRACTICE])
        )
        seats.append(Seat(f"r{number:02d}", token_sha256(token), expires, practice, tuple(places[PRACTICE:])))
    administrator = new_token()
    worklist = Worklist(
        study=secrets.token_hex(16),
        title="Chest MR: real or synthetic",
        protocol_sha256=secrets.token_hex(32),
        expires=expires,
        image=Display(SIZE, SIZE, 0.0, 1500.0, "", (1.5, 1.5)),
        presets=(Preset("Whole chest", 650.0, 1300.0), Preset("Lung", 150.0, 400.0)),
        scale=SCALE,
        second_question=SecondQuestion("Is there a nodule?", ("No", "Yes"), True),
        break_every=10,
        administrator_sha256=token_sha256(administrator),
        readers=tuple(seats),
    )
    write_worklist(folder, worklist, buffers)
    return Shown("", tuple(tokens), administrator, folder)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Shown]:
    """The study on a free port of this machine."""
    study = make_study(folder)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(folder), log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    yield Shown(address, study.tokens, study.administrator, folder)
    server.should_exit = True
    thread.join(10)


class Album:
    """Takes pictures of a page, with few colours, into a folder."""

    def __init__(self, out: Path) -> None:
        self.out, self.written = out, list[Path]()
        out.mkdir(parents=True, exist_ok=True)

    def take(self, page: Any, name: str) -> None:
        """Writes reader-NAME.png."""
        page.wait_for_timeout(150)  # the last frame is drawn
        image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        self.written.append(self.out / f"reader-{name}.png")
        if page.locator("#canvas:visible").count():  # noise does not pack well
            size = (round(image.width * SHRINK), round(image.height * SHRINK))
            image = image.resize(size, Image.Resampling.LANCZOS)
        few = image.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(self.written[-1], optimize=True)


def answer(page: Any, keys: str) -> None:
    """Answers the image on the screen, and goes past what practice tells."""
    page.wait_for_selector(READY)
    practice = page.is_visible("#practice")
    for key in keys:
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    if practice:
        page.wait_for_selector("#feedback:not([hidden])")
        page.keyboard.press("Enter")
    page.wait_for_timeout(60)


def enter(page: Any, study: Shown, reader: int) -> None:
    """Uses an invitation."""
    page.goto(f"{study.address}/i/{study.tokens[reader]}")
    page.click("button")
    page.click("a.main-button")
    page.wait_for_selector(READY)


def photograph_reading(browser: Any, study: Shown, album: Album) -> None:
    """What the first reader meets, from the invitation to a pause."""
    page = browser.new_page(viewport=WIDE)
    page.goto(f"{study.address}/i/{study.tokens[0]}")
    album.take(page, "invitation")
    page.click("button")
    album.take(page, "code")
    page.click("a.main-button")
    page.wait_for_selector(READY)
    for key in ("5", "n", "8", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("#feedback:not([hidden])")
    album.take(page, "practice")
    page.keyboard.press("Enter")
    for keys in ("2n8", "5y7", *["3n9", "6y8", "1n8", "4n7", "2n9"] * 2):
        answer(page, keys)
    page.wait_for_selector("#rest:not([hidden])")
    for key in ("2", "n", "8"):
        page.keyboard.press(key)
    album.take(page, "reading")
    page.keyboard.press("?")
    album.take(page, "keys")
    page.keyboard.press("Escape")
    page.wait_for_timeout(200)
    page.context.set_offline(True)
    page.keyboard.press("Enter")
    page.wait_for_selector("#network.cut")
    album.take(page, "network")
    page.context.set_offline(False)
    page.keyboard.press("p")
    album.take(page, "paused")
    page.context.close()


def photograph_tablet(browser: Any, study: Shown, album: Album) -> None:
    """An upright tablet, and the end of a reading."""
    page = browser.new_page(viewport=UPRIGHT, has_touch=True)
    enter(page, study, 1)
    for keys in ["4y8"] * (PRACTICE + 11):
        answer(page, keys)
    for key in ("5", "y", "9", "w"):
        page.keyboard.press(key)
    album.take(page, "tablet")
    for keys in ["2n8"] * (IMAGES - 11):
        answer(page, keys)
    page.wait_for_selector("#screen:not([hidden])")
    page.set_viewport_size(WIDE)
    album.take(page, "finished")
    page.context.close()


def photograph_rest(browser: Any, study: Shown, album: Album) -> None:
    """The plain pages, and the administrator's."""
    third = browser.new_page(viewport=WIDE)
    enter(third, study, 2)
    for keys in ["5n8"] * (PRACTICE + 20):
        answer(third, keys)
    page = browser.new_page(viewport=WIDE)
    page.goto(f"{study.address}/resume")
    album.take(page, "resume")
    page.goto(f"{study.address}/read")
    album.take(page, "error")
    page.goto(f"{study.address}/admin")
    page.fill("#token", study.administrator)
    page.keyboard.press("Enter")
    page.wait_for_selector("tbody tr")
    album.take(page, "administrator")
    (study.folder / "closed.json").write_text("{}")
    third.reload()
    third.wait_for_selector("#screen:not([hidden])")
    album.take(third, "closed")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="path of the browser")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only this needs a browser

    album = Album(options.out)
    with tempfile.TemporaryDirectory() as place, served(Path(place) / "worklist") as study, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=options.chromium, args=["--no-sandbox", "--disable-gpu"])
        for photograph in (photograph_reading, photograph_tablet, photograph_rest):
            photograph(browser, study, album)
        browser.close()
    for path in album.written:
        print(f"wrote {path.name}, {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
