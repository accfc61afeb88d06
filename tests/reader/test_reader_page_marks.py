"""Marks on the page: set where the reader points, by mouse, touch and keyboard, at every zoom and density of pixels."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from axe import findings
from numpy.typing import NDArray
from page_kit import Device, Served, begin, device, served
from PIL import Image

from scansynth.reader.protocol import CERTAINTY
from scansynth.reader.server.worklist import Display, Marking

ROWS, COLUMNS = 96, 128
TALL = 1.5  # rows are further apart than columns
DISPLAY = Display(ROWS, COLUMNS, 0.0, 1000.0, "", (2.0 * TALL, 2.0))
IMAGES = 30


def spots(count: int) -> tuple[NDArray[np.uint16], dict[bytes, tuple[int, int]]]:
    """Dark images with one bright spot each, and where its middle is, by the bytes of the image."""
    rng = np.random.default_rng(5)
    images = rng.integers(0, 2000, (count, ROWS, COLUMNS)).astype(np.uint16)
    places = {}
    for image in images:
        row, column = int(rng.integers(30, ROWS - 30)), int(rng.integers(36, COLUMNS - 36))
        image[row - 1 : row + 2, column - 1 : column + 2] = 65535
        places[image.tobytes()] = (row, column)
    return images, places


@dataclass(frozen=True)
class Spotted:
    """A study whose findings are bright spots.

    Attributes:
        study: As it is served.
        places: Row and column of each spot, by the bytes of the image.
    """

    study: Served
    places: dict[bytes, tuple[int, int]]

    def place(self, reader: str, number: int) -> tuple[int, int]:
        """Where the spot is in the image that a reader sees as this one of the sequence, from 0."""
        seat = next(seat for seat in self.study.kit.worklist.readers if seat.reader == reader)
        data = (self.study.kit.folder / "buffers" / f"{seat.sequence[number].buffer}.bin").read_bytes()
        return self.places[data]

    def marks(self, reader: str) -> list[list[Any]]:
        """What the database holds, an entry for each answer in its order."""
        with contextlib.closing(sqlite3.connect(self.study.kit.folder / "readings.db")) as database:
            rows = database.execute(
                "SELECT marks FROM readings WHERE reader = ? AND practice = 0 ORDER BY n", (reader,)
            ).fetchall()
        return [json.loads(text) for (text,) in rows]


@pytest.fixture(scope="module")
def spotted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spotted]:
    images, places = spots(IMAGES)
    folder, asked = tmp_path_factory.mktemp("marks"), {"image": DISPLAY, "marking": Marking("nodule", CERTAINTY)}
    with served(
        folder, images=images, readers=12, practice=1, told=True, beside=images[:1], break_every=0, **asked
    ) as study:
        yield Spotted(study, places)


def seen(at: Device, ratio: float) -> tuple[float, float]:
    """Where the spot is on the screen, in CSS pixels: found in a picture of the screen, not computed."""
    at.painted()
    box = at.page.locator("#stage").bounding_box()
    picture = np.array(Image.open(io.BytesIO(at.page.screenshot())).convert("L")).astype(float)
    left, top = round(box["x"] * ratio), round(box["y"] * ratio)
    stage = picture[top : top + int(box["height"] * ratio), left : left + int(box["width"] * ratio)]
    stage[-round(90 * ratio) :, : round(260 * ratio)] = 0.0  # the bar of millimetres
    rows, columns = np.nonzero(stage > 0.6 * stage.max())
    return float(columns.mean() + 0.5 + left) / ratio, float(rows.mean() + 0.5 + top) / ratio


def past_practice(at: Device) -> None:
    at.answer("4")
    at.ready()


def lock(at: Device) -> None:
    before = at.text("#where")
    at.keys("2", "Enter")
    at.moved(before)
    at.ready()


VIEWS = {
    "fit": [],
    "zoomed": ["+", "+", "+"],
    "moved": ["+", "+", "Shift+ArrowLeft", "Shift+ArrowDown"],
    "one to one": ["o"],
}


@pytest.mark.parametrize(
    ("reader", "ratio", "touch"), [("r01", 1.0, False), ("r02", 1.5, False), ("r03", 2.0, True), ("r04", 3.0, True)]
)
def test_a_mark_is_stored_where_the_reader_points(
    browser: Any, spotted: Spotted, reader: str, ratio: float, touch: bool
) -> None:
    options = {"device_scale_factor": ratio, **({"has_touch": True} if touch else {})}
    with device(browser, **options) as at:
        begin(spotted.study, at, reader)
        past_practice(at)
        for number, (name, keys) in enumerate(VIEWS.items()):
            at.keys(*keys)
            x, y = seen(at, ratio)
            if touch:
                at.page.touchscreen.tap(x, y)
            else:
                at.page.mouse.click(x, y)
            at.page.wait_for_selector("#mark-editor:not([hidden])")
            at.keys("4")
            lock(at)
            at.arrived()
            ((row, column, radius, confidence),) = spotted.marks(reader)[number]
            expected = spotted.place(reader, number)
            # a finger or mouse of this test stands on whole or fractional pixels: the page must not add half a pixel
            assert (row, column) == pytest.approx(expected, abs=0.5), (name, ratio)
            assert confidence == 4
            assert radius == pytest.approx(0.03 * COLUMNS)
        assert not at.said


def test_a_mark_is_made_moved_and_judged_by_keyboard_alone(any_browser: Any, spotted: Spotted) -> None:
    reader = "r05" if any_browser.browser_type.name == "chromium" else "r12"
    with device(any_browser) as at:
        begin(spotted.study, at, reader)
        past_practice(at)
        at.keys("k")
        assert at.page.evaluate("document.activeElement.textContent") == "1: ?"
        at.keys("ArrowRight", "ArrowRight", "ArrowUp", "Shift+ArrowDown", "+", "+", "-")
        at.keys("Enter")  # the key that locks presses the mark that has the focus, and locks nothing
        assert at.text("#where").startswith("Image 1 of")
        at.keys("Escape", "Enter", "2", "Enter")
        assert "how suspicious mark 1 is" in at.text("#hint")
        at.keys("5")  # the focus is on the mark that lacks it
        assert at.page.evaluate("document.activeElement.id") == "stage"
        lock(at)
        at.arrived()
        ((row, column, radius, confidence),) = spotted.marks(reader)[0]
        assert (row, column) == pytest.approx(((ROWS - 1) / 2 + 9, (COLUMNS - 1) / 2 + 2), abs=0.26)
        assert (radius, confidence) == (pytest.approx(0.03 * COLUMNS + 1), 5)
        at.keys("k", "3", "k", "Delete")
        assert at.page.locator("#mark-list button").count() == 1
        at.page.focus("#mark-list button")
        at.keys("Space")
        at.page.focus("#mark-radius")
        at.keys("ArrowRight", "ArrowRight")
        at.keys("2")
        lock(at)
        at.arrived()
        ((_, _, radius, confidence),) = spotted.marks(reader)[1]
        assert (radius, confidence) == (pytest.approx(0.03 * COLUMNS + 1.5, abs=0.26), 2)


def test_a_rim_is_dragged_a_mark_is_moved_and_another_removed(browser: Any, spotted: Spotted) -> None:
    with device(browser) as at:
        begin(spotted.study, at, "r06")
        past_practice(at)
        box = at.page.locator("#stage").bounding_box()
        scale = min(box["width"] / COLUMNS, box["height"] / (ROWS * TALL))
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        mouse = at.page.mouse
        window = at.text("#window-text")
        mouse.click(x, y)
        at.keys("3")
        rim = x + 0.03 * COLUMNS * scale
        mouse.move(rim, y)
        assert at.page.evaluate("document.getElementById('stage').style.cursor") == "nwse-resize"
        mouse.down()
        mouse.move(rim + 6 * scale, y, steps=4)
        mouse.up()
        mouse.move(x, y)
        mouse.down()
        mouse.move(x - 10 * scale, y + 5 * scale, steps=4)
        mouse.up()
        mouse.dblclick(x + 25 * scale, y)  # the second click chooses what the first has set; nothing is reset
        at.keys("1")
        mouse.click(x - 30 * scale, y)
        at.page.click("#mark-remove")
        assert at.page.locator("#mark-list button").count() == 2
        assert at.text("#window-text") == window, "what was done to marks has turned no window"
        lock(at)
        at.arrived()
        (first, second) = spotted.marks("r06")[0]
        middle = ((ROWS - 1) / 2, (COLUMNS - 1) / 2)
        assert first == pytest.approx([middle[0] + 5 / TALL, middle[1] - 10, 0.03 * COLUMNS + 6, 3], abs=0.5)
        assert second[:2] == pytest.approx([middle[0], middle[1] + 25], abs=0.5)
        assert second[3] == 1


def test_a_drag_still_turns_the_window_and_a_pinch_still_zooms(browser: Any, spotted: Spotted) -> None:
    with device(browser) as at:
        begin(spotted.study, at, "r07")
        past_practice(at)
        box = at.page.locator("#stage").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        window = at.text("#window-text")
        at.page.mouse.move(x, y)
        at.page.mouse.down()
        at.page.mouse.move(x + 60, y, steps=5)
        at.page.mouse.up()
        assert at.text("#window-text") != window
        at.page.mouse.click(x + 40, y)
        at.keys("2")
        finger = """([id, kind, x, y]) => document.getElementById('canvas').dispatchEvent(new PointerEvent(kind,
          {bubbles: true, pointerId: id, pointerType: 'touch', clientX: x, clientY: y, button: 0, buttons: 1}))"""
        at.page.evaluate("document.getElementById('stage').setPointerCapture = () => {}")
        steps = [(1, "down", x + 40, y), (1, "move", x + 70, y), (2, "down", x - 40, y), (2, "move", x - 140, y)]
        for number, kind, across, down in steps:
            at.page.evaluate(finger, [number, f"pointer{kind}", across, down])
        for number in (1, 2):
            at.page.evaluate(finger, [number, "pointerup", x, y])
        assert int(at.text("#zoom-text").rstrip("%")) > 120
        at.keys("r")
        lock(at)
        at.arrived()
        ((_, column, _, _),) = spotted.marks("r07")[0]
        scale = min(box["width"] / COLUMNS, box["height"] / (ROWS * TALL))
        assert column == pytest.approx((COLUMNS - 1) / 2 + 40 / scale, abs=0.5), "the second finger lays the mark back"


def test_marks_come_back_after_a_reload_and_with_the_last_answer(browser: Any, spotted: Spotted) -> None:
    with device(browser) as at:
        begin(spotted.study, at, "r08")
        past_practice(at)
        at.keys("k", "3", "k", "ArrowUp", "1")
        at.drafted()
        at.page.reload()
        at.ready()
        assert [at.page.locator("#mark-list button").nth(n).inner_text() for n in (0, 1)] == ["1: 3", "2: 1"]
        lock(at)
        assert at.page.locator("#mark-list button").count() == 0
        at.arrived()
        at.keys("u")
        at.page.wait_for_selector("#again:visible")
        at.ready()
        assert at.page.locator("#mark-list button").count() == 2
        at.page.locator("#mark-list button").nth(1).focus()
        at.keys("Delete")
        lock(at)
        at.arrived()
        first, again = spotted.marks("r08")
        assert [mark[3] for mark in first] == [3, 1]
        assert again == first[:1]


def test_marks_are_drawn_and_seen_through_the_magnifier_and_inverted(browser: Any, spotted: Spotted) -> None:
    cyan = """id => { const canvas = document.getElementById(id);
      const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      let count = 0;
      for (let at = 0; at < data.length; at += 4) if (data[at + 2] - data[at] > 60) count += 1;
      return count; }"""
    with device(browser) as at:
        begin(spotted.study, at, "r09")
        past_practice(at)
        assert at.page.evaluate(cyan, "canvas") == 0
        at.keys("k", "3")
        at.painted()
        small = at.page.evaluate(cyan, "canvas")
        assert small > 50
        at.keys("i", "+", "+", "+", "+")
        at.painted()
        assert at.page.evaluate(cyan, "canvas") > 1.5 * small
        box = at.page.locator("#stage").bounding_box()
        at.keys("g")
        at.page.mouse.move(box["x"] + box["width"] / 2 + 30, box["y"] + box["height"] / 2)
        at.painted()
        assert at.page.evaluate(cyan, "loupe") > 50


def test_after_practice_the_marks_stand_beside_the_truth(browser: Any, spotted: Spotted) -> None:
    with device(browser) as at:
        begin(spotted.study, at, "r10")
        at.keys("k", "4", "2", "Enter")
        at.page.wait_for_selector("#feedback:not([hidden])")
        at.until("document.getElementById('feedback-why').textContent.includes('outline')")
        assert at.text("#feedback-why").endswith("1 of your 1 mark lies within the outline.")
        at.keys("k")
        at.keys("Enter")
        at.page.click("#summary-look")
        at.until("document.getElementById('review-text').textContent.includes('1 of your 1 mark')")
        box = at.page.locator("#stage").bounding_box()
        at.page.mouse.click(box["x"] + 200, box["y"] + 200)  # nothing is marked any more
        assert at.page.locator("#mark-list button").count() == 1


def test_axe_finds_nothing(browser: Any, spotted: Spotted) -> None:
    with device(browser) as at:
        begin(spotted.study, at, "r11")
        for keys in ([], ["k"], ["2"], ["?"]):
            at.keys(*keys)
            at.painted()
            assert findings(at.page) == []
