"""The viewer: pixels as the window says, and every way to change the view."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from page_kit import Device, Served, begin, device, served

from scansynth.reader.server.worklist import Display, Preset

LOW, HIGH = -1000.0, 1600.0
DISPLAY = Display(48, 64, LOW, HIGH, "HU", (1.0, 1.0))
PRESETS = (Preset("Lung", -600.0, 1200.0), Preset("Soft tissue", 40.0, 400.0))
PIXELS = """() => { const canvas = document.getElementById("canvas");
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const reds = data.filter((_, at) => at % 4 === 0);
  let text = "";
  for (let at = 0; at < reds.length; at += 8192) text += String.fromCharCode(...reds.subarray(at, at + 8192));
  const grey = data.every((value, at) => (at % 4 === 3 ? value === 255 : value === data[at - (at % 4)]));
  return [canvas.width, canvas.height, btoa(text), grey]; }"""


def ramps() -> NDArray[np.uint16]:
    """Every eleventh stored value somewhere, and no two images equal: uint16 (n, 48, 64)."""
    rng = np.random.default_rng(7)
    every = np.linspace(0, 65535, 48 * 64).round().astype(np.uint16)
    return np.array([rng.permutation(every).reshape(48, 64) for _ in range(4)])


def expected(stored: NDArray[np.uint16], center: float, width: float, inverted: bool = False) -> NDArray[np.float64]:
    """DICOM PS3.3 C.11.2.1.3.2, LINEAR_EXACT, from stored values over source values to 0..255."""
    source = LOW + stored.astype(np.float64) / 65535 * (HIGH - LOW)
    grey = np.clip((source - center) / width + 0.5, 0, 1) * 255
    return 255 - grey if inverted else grey


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("viewer")
    with served(folder, images=ramps(), readers=5, practice=1, image=DISPLAY, presets=PRESETS) as found:
        yield found


@pytest.fixture(scope="module")
def shared(browser: Any, study: Served) -> Iterator[Device]:
    with device(browser) as made:
        begin(study, made)
        yield made


@pytest.fixture
def worklist(shared: Device) -> Device:
    """The page with its image as at first."""
    if shared.page.get_attribute("#smooth", "aria-pressed") == "false":
        shared.keys("s")
    shared.keys("r")
    return shared


def stored(study: Served, reader: str = "r01", ordinal: int = 0) -> NDArray[np.uint16]:
    seat = next(seat for seat in study.kit.worklist.readers if seat.reader == reader)
    place = (*seat.practice, *seat.sequence)[ordinal]
    data = (study.kit.folder / "buffers" / f"{place.buffer}.bin").read_bytes()
    return np.frombuffer(data, "<u2").reshape(48, 64)


def canvas(at: Device) -> NDArray[np.int64]:
    """Greys of the canvas, as soon as it has drawn."""
    at.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    width, height, greys, opaque_grey = at.page.evaluate(PIXELS)
    assert opaque_grey
    return np.frombuffer(base64.b64decode(greys), np.uint8).reshape(height, width).astype(np.int64)


def shown(at: Device, zoom: float = 1.0) -> NDArray[np.int64]:
    """One canvas pixel out of the middle of each image pixel, (48, 64)."""
    greys = canvas(at)
    scale = min(greys.shape[1] / 64, greys.shape[0] / 48) * zoom
    left, top = ((greys.shape[1] - 64 * scale) / 2, (greys.shape[0] - 48 * scale) / 2)
    rows = (np.round(top) + (np.arange(48) + 0.5) * scale).astype(int)
    columns = (np.round(left) + (np.arange(64) + 0.5) * scale).astype(int)
    return greys[np.ix_(rows, columns)]


def window(at: Device) -> tuple[float, float]:
    found = re.fullmatch(r"Level (-?\d+), width (\d+) HU", at.text("#window-text").replace("\n", " "))
    assert found
    return float(found[1]), float(found[2])


def test_pixels_are_what_the_window_says(study: Served, worklist: Device) -> None:
    worklist.keys("s")
    first = stored(study)
    assert np.abs(shown(worklist) - expected(first, -600, 1200)).max() <= 1
    worklist.keys("i")
    assert np.abs(shown(worklist) - expected(first, -600, 1200, True)).max() <= 1
    worklist.keys("i", "w")
    assert window(worklist) == (40, 400)
    assert np.abs(shown(worklist) - expected(first, 40, 400)).max() <= 1
    worklist.keys("w")
    assert worklist.page.eval_on_selector("#preset", "list => list.selectedOptions[0].text") == "Full range"
    greys = shown(worklist)
    assert np.abs(greys - expected(first, 300, 2600)).max() <= 1
    assert len(np.unique(greys)) == 256


def test_the_image_fills_the_stage_and_keeps_its_shape(worklist: Device) -> None:
    worklist.keys("w", "w", "i")  # full range, inverted: the image is told from the black around it nearly everywhere
    lit = canvas(worklist) > 0
    rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
    size = (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
    assert max(size[0] / lit.shape[0], size[1] / lit.shape[1]) == 1.0, "it touches two sides"
    assert size[1] / size[0] == pytest.approx(64 / 48, abs=0.01)


def test_a_drag_turns_the_window(worklist: Device) -> None:
    box = worklist.page.locator("#stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse = worklist.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 50, y, steps=5)
    mouse.up()
    center, width = window(worklist)
    assert center == -600
    assert width == pytest.approx(1200 * np.exp(50 / 250), abs=1)
    mouse.move(x, y)
    mouse.down()
    mouse.move(x, y - 25, steps=5)
    mouse.up()
    assert window(worklist)[0] == pytest.approx(-600 - 0.1 * width, abs=1)  # up is brighter: the level falls


def test_window_changes_and_zoom_are_recorded(browser: Any, study: Served) -> None:
    with device(browser) as other:
        begin(study, other, "r02")
        other.keys("ArrowUp", "w", "i", "+", "3", "Enter")
        other.page.wait_for_selector("#feedback:not([hidden])")
        other.keys("Enter")
        other.ready()
        assert window(other) == (-600, 1200)  # every image begins in the same window
        other.answer("2")
        other.arrived()
    assert study.readings("r02", practice=True)[0]["window_changes"] == 3
    assert study.readings("r02")[0]["window_changes"] == 0


def test_wheel_zooms_about_the_pointer_and_reset_returns(study: Served, worklist: Device) -> None:
    worklist.keys("s", "w", "w")
    whole = canvas(worklist)
    box = worklist.page.locator("#stage").bounding_box()
    spot = (round(box["width"] * 0.4), round(box["height"] * 0.6))
    worklist.page.mouse.move(box["x"] + spot[0], box["y"] + spot[1])
    for _ in range(4):
        worklist.page.mouse.wheel(0, -100)
    worklist.until(f"document.querySelector('#zoom-text').textContent === '{round(1.15**4 * 100)}%'")
    worklist.painted()
    near = canvas(worklist)
    assert worklist.text("#zoom-text") == f"{round(1.15**4 * 100)}%"
    assert near[spot[1], spot[0]] == whole[spot[1], spot[0]]  # what lies under the pointer stays there
    assert (near != whole).any()
    worklist.keys("r", "w", "w")
    assert (canvas(worklist) == whole).all()


def test_moving_and_zooming_by_keyboard(worklist: Device) -> None:
    worklist.keys("+", "+", "+", "+")
    near = canvas(worklist)
    worklist.keys("Shift+ArrowRight")
    assert np.abs(canvas(worklist)[:, 40:] - near[:, :-40]).max() <= 1  # smoothing rounds
    worklist.keys("-", "-", "-", "-")
    assert worklist.text("#zoom-text") == "100%"
    worklist.keys("ArrowRight")
    assert window(worklist)[1] == pytest.approx(1200 * np.exp(0.1), abs=1)


def test_smoothing_is_a_choice(worklist: Device) -> None:
    worklist.keys("w", "w")
    assert len(np.unique(canvas(worklist)[200:210, 200:260])) > 20
    worklist.keys("s")
    scale = min(canvas(worklist).shape[1] / 64, canvas(worklist).shape[0] / 48)
    middle = (
        canvas(worklist).shape[0] // 2 + 2,
        canvas(worklist).shape[1] // 2 + 2,
    )  # a corner of four pixels, and inside one
    one = canvas(worklist)[middle[0] : middle[0] + int(scale) - 4, middle[1] : middle[1] + int(scale) - 4]
    assert len(np.unique(one)) == 1


def test_a_clicked_tool_leaves_enter_to_the_lock(worklist: Device) -> None:
    worklist.page.click("#invert")
    assert worklist.page.get_attribute("#invert", "aria-pressed") == "true"
    worklist.keys("Enter")
    assert worklist.page.get_attribute("#invert", "aria-pressed") == "true"
    assert "First choose how the image looks" in worklist.text("#hint")


def test_fingers_window_pinch_and_move(browser: Any, study: Served) -> None:
    with device(browser, (820, 1180), has_touch=True, device_scale_factor=2) as tablet:
        begin(study, tablet, "r03")
        assert canvas(tablet).shape[1] == 820 * 2  # sharp on a dense screen
        tablet.keys("s")
        assert np.abs(shown(tablet) - expected(stored(study, "r03"), -600, 1200)).max() <= 1
        link = tablet.context.new_cdp_session(tablet.page)

        def touch(kind: str, *points: tuple[float, float]) -> None:
            link.send("Input.dispatchTouchEvent", {
                "type": kind, "touchPoints": [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)]
            })  # fmt: skip

        touch("touchStart", (400, 200))
        touch("touchMove", (450, 200))
        touch("touchEnd")
        assert window(tablet)[1] == pytest.approx(1200 * np.exp(50 / 250), abs=15)
        touch("touchStart", (350, 200), (450, 200))
        touch("touchMove", (300, 200), (500, 200))
        touch("touchEnd")
        tablet.painted()
        assert tablet.text("#zoom-text") == "200%"
        near = window(tablet)
        tablet.page.tap("#drag-mode")
        touch("touchStart", (400, 200))
        touch("touchMove", (450, 230))
        touch("touchEnd")
        assert window(tablet) == near


@pytest.mark.parametrize("unit", ["", "HU"])
def test_presets_and_readout_without_surprises(study: Served, worklist: Device, unit: str) -> None:
    names = worklist.page.eval_on_selector_all("#preset option:not([hidden])", "all => all.map(one => one.text)")
    assert names == ["Lung", "Soft tissue", "Full range"]
    code = "image => import('/static/window.js').then(module => module.windowText(image, {center: 0.25, width: 0.5}))"
    values = {"rows": 1, "columns": 1, "low": 0, "high": 1, "unit": unit, "spacing": [1, 1]}
    assert worklist.page.evaluate(code, values) == f"Level 0.250, width 0.500{' HU' if unit else ''}"
    assert replace(DISPLAY, unit=unit).unit == unit


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        (["no", "yes"], ["N", "Y"]),
        (["present", "absent"], ["E", "A"]),  # P pauses and R resets
        (["left", "left and right", "none"], ["L", "E", "N"]),
    ],
)
def test_options_get_keys_that_nothing_else_has(worklist: Device, options: list[str], keys: list[str]) -> None:
    code = "options => import('/static/answers.js').then(module => module.optionKeys(options))"
    assert worklist.page.evaluate(code, options) == keys
