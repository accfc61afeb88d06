"""Pictures of the pages of a reader study, for the documentation: drawn on phantom images, never on real ones.

    python benchmarks/reader_pictures.py OUT_DIR [--marks]

Makes a small study of phantom slices in a temporary folder, as the tests of the pages do, serves it on this machine
alone, and reads it in a headless browser at the sizes of a worklist's screen, a tablet and a 4K screen. Writes
OUT_DIR/reader-*.png, with few colours, so that the files stay small. With --marks it makes those of marks alone.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(_TESTS), str(_TESTS / "reader")]

from browser import chromium  # noqa: E402
from page_kit import UPRIGHT, WIDE, Device, Served, begin, device, served, skip_practice  # noqa: E402

from scansynth.metrics.lesions import find_lesions  # noqa: E402
from scansynth.phantom.cohort import draw_images, draw_patient  # noqa: E402
from scansynth.reader.protocol import CERTAINTY  # noqa: E402
from scansynth.reader.server.worklist import Display, Marking, Preset, SecondQuestion  # noqa: E402

SIZE, IMAGES, PRACTICE, READERS, REFERENCES = 256, 30, 3, 5, 3
LARGE = (3840, 2160)
COLOURS, MORE_COLOURS, MOST_WIDTH, SHRINK = 96, 224, 1280, 0.75


def slices(count: int) -> np.ndarray:
    """Phantom slices on one scale, uint16 (count, SIZE, SIZE)."""
    found = []
    for number in range(1, count + 1):
        pixels = draw_images(draw_patient(number, 4), SIZE, 4)[number % 4].pixels.astype(np.float64)
        found.append(np.rint(np.clip(pixels / np.percentile(pixels, 99.8), 0, 1) * 65535).astype(np.uint16))
    return np.array(found)


class Album:
    """Takes pictures of a page, with few colours, into a folder."""

    def __init__(self, out: Path) -> None:
        self.out, self.written = out, list[Path]()
        out.mkdir(parents=True, exist_ok=True)

    def take(self, at: Device, name: str, colours: int = COLOURS) -> None:
        """Writes reader-NAME.png."""
        at.page.wait_for_timeout(250)  # the last frame is drawn
        image = Image.open(io.BytesIO(at.page.screenshot())).convert("RGB")
        self.written.append(self.out / f"reader-{name}.png")
        shrink = min(1.0, MOST_WIDTH / image.width)
        if at.page.locator("#canvas:visible").count():  # noise does not pack well
            shrink = min(shrink, SHRINK)
        if shrink < 1.0:
            size = (round(image.width * shrink), round(image.height * shrink))
            image = image.resize(size, Image.Resampling.LANCZOS)
        few = image.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(self.written[-1], optimize=True)


def photograph_reading(browser: Any, study: Served, album: Album) -> None:
    """What the first reader meets, from the invitation to a pause."""
    with device(browser, WIDE) as at:
        at.page.goto(f"{study.address}/i/{study.kit.tokens['r01']}")
        album.take(at, "invitation")
        at.page.click("button")
        at.page.wait_for_selector("#copy:visible")
        album.take(at, "code")
        at.page.click("a.main-button")
        at.page.wait_for_selector("#check-yes:visible")
        album.take(at, "check")
        at.ready()
        at.keys("5", "n", "8", "Enter")
        at.page.wait_for_selector("#feedback:not([hidden])")
        album.take(at, "practice")
        at.keys("Enter")
        for _ in range(2):
            at.ready()
            at.keys("2", "n", "8", "Enter")
            at.page.wait_for_selector("#feedback:not([hidden])")
            at.keys("Enter")
        at.page.wait_for_selector("#summary-look:visible")
        at.page.click("#summary-look")
        album.take(at, "score")
        for keys in (*["3n9", "6y8", "1n8", "4n7", "2n9"] * 2,):
            at.answer(*keys)
        at.page.wait_for_selector("#rest:not([hidden])")
        at.arrived()
        at.keys("2", "n", "8")
        album.take(at, "reading")
        at.keys("b")
        at.keys("t")
        at.page.keyboard.type("Vessels end too early")
        at.keys("Escape")
        album.take(at, "beside")
        at.keys("b", "u")
        at.page.wait_for_selector("#again:visible")
        album.take(at, "change")
        at.answer("4", "n", "7")
        at.ready()
        at.keys("?")
        album.take(at, "keys")
        at.keys("Escape")
        at.arrived()
        at.page.wait_for_timeout(300)
        at.context.set_offline(True)
        at.keys("2", "n", "8", "Enter")
        at.page.wait_for_selector("#network.cut")
        album.take(at, "network")
        at.context.set_offline(False)
        at.keys("p")
        album.take(at, "paused")


def photograph_sizes(browser: Any, study: Served, album: Album) -> None:
    """An upright tablet, a large screen, and the end of a reading."""
    with device(browser, UPRIGHT, has_touch=True, is_mobile=True) as at:
        at.page.goto(f"{study.address}/i/{study.kit.tokens['r02']}")
        for button in ("button", "a.main-button", "#check-yes"):
            at.page.tap(button)
        at.page.wait_for_selector("#lock:enabled")
        for choice in ("answer", "second", "confidence"):
            at.page.locator(f"input[name={choice}]").nth(1).check()
        album.take(at, "tablet")
    with device(browser, LARGE) as at:
        begin(study, at, "r03")
        skip_practice(study, at)
        for _ in range(6):
            at.answer("4", "y", "8")
        at.arrived()
        at.ready()
        at.keys("2", "n", "g")
        at.page.mouse.move(*(round(side * 0.3) for side in LARGE))
        album.take(at, "large")
        at.keys("g")
        for _ in range(IMAGES - 6):
            at.answer("2", "n", "8")
        at.page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
        at.arrived()
        album.take(at, "finished")


def photograph_rest(browser: Any, study: Served, album: Album) -> None:
    """The plain pages, and the administrator's."""
    with device(browser, WIDE) as reading, device(browser, WIDE) as at:
        begin(study, reading, "r04")
        skip_practice(study, reading)
        for path, name in (("/resume", "resume"), ("/read", "error"), ("/admin", "")):
            at.page.goto(study.address + path)
            if name:
                album.take(at, name)
        at.page.fill("#token", study.kit.administrator)
        at.keys("Enter")
        at.page.wait_for_selector("tbody tr")
        album.take(at, "administrator")
        (study.kit.folder / "closed.json").write_text("{}")
        reading.page.reload()
        reading.page.wait_for_selector("#screen:not([hidden])")
        album.take(reading, "closed")


def with_nodules(count: int) -> tuple[np.ndarray, list[tuple[float, float, float]]]:
    """Phantom slices that show a nodule, and row, column and radius of it."""
    images, places = [], []
    for number in range(1, 40):
        for drawn in draw_images(draw_patient(number, 4), SIZE, 4):
            if drawn.mask is None or not 60 <= drawn.mask.sum() <= 400 or len(images) == count:
                continue
            (nodule,) = find_lesions(drawn.mask.astype(np.uint8))[:1]
            pixels = drawn.pixels.astype(np.float64)
            images.append(np.rint(np.clip(pixels / np.percentile(pixels, 99.8), 0, 1) * 65535).astype(np.uint16))
            places.append((nodule.row, nodule.column, nodule.radius))
    return np.array(images), places


def mark_nodule(at: Device, place: tuple[float, float, float], keys: str = "", touch: bool = False) -> None:
    """Sets a mark on a nodule as a reader does, with the nodule's radius."""
    at.page.wait_for_timeout(200)
    box = at.page.locator("#stage").bounding_box()
    side = min(box["width"], box["height"])
    row, column, radius = place
    x = box["x"] + box["width"] / 2 + ((column + 0.5) / SIZE - 0.5) * side
    y = box["y"] + box["height"] / 2 + ((row + 0.5) / SIZE - 0.5) * side
    (at.page.touchscreen.tap if touch else at.page.mouse.click)(x, y)
    at.page.locator("#mark-radius").evaluate(
        "(slider, to) => { slider.value = to; slider.dispatchEvent(new Event('input')); }", 1.4 * radius
    )
    at.page.locator("#mark-list button").last.focus()
    at.keys(*keys)


def photograph_marks(browser: Any, album: Album) -> None:
    """Marks on nodules, on the three screens."""
    images, places = with_nodules(4)
    where = {image.tobytes(): place for image, place in zip(images, places, strict=True)}
    asked = {"marking": Marking("nodule", CERTAINTY), "image": Display(SIZE, SIZE, 0.0, 1500.0, "", (1.5, 1.5))}
    windows = (Preset("Whole chest", 650.0, 1300.0), Preset("Lung", 150.0, 400.0))
    with (
        tempfile.TemporaryDirectory() as place,
        served(
            Path(place), images=images, practice=1, readers=3, title="Chest MR: real or synthetic", presets=windows,
            **asked,
        ) as study,
    ):  # fmt: skip
        screens = (("marks", WIDE, {}), ("marks-tablet", UPRIGHT, {"has_touch": True}), ("marks-large", LARGE, {}))
        for reader, (name, size, options) in zip(study.kit.tokens, screens, strict=True):
            with device(browser, size, **options) as at:
                begin(study, at, reader)
                at.answer("2")
                at.ready()
                seat = next(seat for seat in study.kit.worklist.readers if seat.reader == reader)
                data = (study.kit.folder / "buffers" / f"{seat.sequence[0].buffer}.bin").read_bytes()
                row, column, radius = where[data]
                mark_nodule(at, (SIZE - row, SIZE - column, radius), "2", bool(options))
                mark_nodule(at, (row, column, radius), "", bool(options))
                album.take(at, name, MORE_COLOURS)
                if name == "marks":
                    at.keys("4", "?")
                    album.take(at, "marks-keys")


def photograph_first(browser: Any, study: Served, album: Album) -> None:
    """A part before readers are told: its invitation, an image, the two questions, and what is told then."""
    for size, name, reader in ((WIDE, "", "r01"), (UPRIGHT, "-tablet", "r02"), (LARGE, "-large", "r03")):
        with device(browser, size) as at:
            at.page.goto(f"{study.address}/i/{study.kit.tokens[reader]}")
            album.take(at, f"first-invitation{name}")
            begin(study, at, reader)
            at.keys("5")
            album.take(at, f"first{name}")
            for _ in study.kit.worklist.readers[0].unaware:
                at.ready()
                before = at.text("#where")
                at.keys("5", "Enter")
                at.until(
                    "before => !document.querySelector('#asked').hidden"
                    " || document.querySelector('#where').textContent !== before",
                    arg=before,
                )
            at.page.wait_for_selector("#asked:not([hidden])")
            at.page.check("input[name=asked][value='2']")
            at.page.fill("#asked-words", "In some images the vessels end too early")
            album.take(at, f"noticed{name}")
            at.page.click("#asked button")
            at.page.wait_for_selector("#asked-share:visible")
            at.page.check("input[name=asked][value='2']")
            at.page.fill("#asked-share", "30")
            album.take(at, f"suspected{name}")
            at.page.click("#asked button")
            at.page.wait_for_selector("#reveal:not([hidden])")
            album.take(at, f"told{name}")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--marks", action="store_true", help="Marks alone.")
    parser.add_argument("--first", action="store_true", help="The part before readers are told alone.")
    given = parser.parse_args()
    album = Album(given.out)
    with chromium() as browser:
        if not given.first:
            photograph_marks(browser, album)
        if not given.marks:
            photograph_before(browser, album)
    if not given.marks and not given.first:
        photograph_others(album)
    for path in album.written:
        print(f"wrote {path.name}, {path.stat().st_size / 1024:.0f} kB")


def photograph_before(browser: Any, album: Album) -> None:
    """The part before readers are told, at three sizes."""
    images = slices(8)
    windows = (Preset("Whole chest", 650.0, 1300.0), Preset("Lung", 150.0, 400.0))
    with (
        tempfile.TemporaryDirectory() as place,
        served(
            Path(place), images=images, practice=2, readers=3, unaware=3, title="Chest MR reading",
            image=Display(SIZE, SIZE, 0.0, 1500.0, "", (1.5, 1.5)), presets=windows,
        ) as study,
    ):  # fmt: skip
        photograph_first(browser, study, album)


def photograph_others(album: Album) -> None:
    """Everything else."""
    drawn = slices(12 + 1 + REFERENCES)
    images = drawn[np.random.default_rng(4).integers(12, size=PRACTICE + IMAGES)]
    asked = SecondQuestion("Is there a nodule?", ("No", "Yes"), True)
    windows = (Preset("Whole chest", 650.0, 1300.0), Preset("Lung", 150.0, 400.0))
    with (
        tempfile.TemporaryDirectory() as place,
        served(
            Path(place), images=images, practice=PRACTICE, readers=READERS, told=True, masked=False,
            references=REFERENCES, beside=drawn[12:], title="Chest MR: real or synthetic", second_question=asked,
            image=Display(SIZE, SIZE, 0.0, 1500.0, "", (1.5, 1.5)), presets=windows, break_every=10,
        ) as study,
        chromium() as browser,
    ):  # fmt: skip
        for photograph in (photograph_reading, photograph_sizes, photograph_rest):
            photograph(browser, study, album)


if __name__ == "__main__":
    main()
