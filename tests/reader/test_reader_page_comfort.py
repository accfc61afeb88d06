"""What makes reading comfortable: calm zoom, scale, magnifier, comparison, comment, change of the last answer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_kit import WIDE, Device, Served, begin, device, served, skip_practice

SPACING, SIDE = 1.5, 64


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("comfort")
    with served(folder, count=6, practice=2, readers=9, told=True, references=2) as found:
        yield found


@pytest.fixture(scope="module")
def shared(browser: Any, study: Served) -> Iterator[Device]:
    with device(browser) as made:
        begin(study, made, "r01")
        yield made


def zoom(at: Device) -> float:
    at.page.wait_for_timeout(40)  # the wheel comes by another way than keys
    at.painted()
    return float(at.text("#zoom-text").rstrip("%"))


def wheel(at: Device, *steps: tuple[float, float]) -> None:
    for across, down in steps:
        at.page.mouse.wheel(across, down)


def shown(at: Device) -> str:
    """The canvas as a browser encodes it."""
    at.painted()
    return str(at.page.evaluate("document.getElementById('canvas').toDataURL()"))


def test_zoom_follows_the_distance_of_the_wheel_and_not_its_steps(shared: Device) -> None:
    box = shared.page.locator("#stage").bounding_box()
    shared.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for steps in ([(0, -10)] * 10, [(0, -50)] * 2, [(0, -100)]):
        wheel(shared, *steps)
        assert zoom(shared) == pytest.approx(115, abs=1)
        shared.keys("r")
    wheel(shared, (-80, -10), (120, 30), (60, 0))  # sideways, as a trackpad sends it
    assert zoom(shared) == 100


def test_lines_count_as_pixels_and_a_pinch_goes_further(shared: Device) -> None:
    code = """steps => import('/static/gestures.js').then(module => { const wheel = module.createWheel();
        return steps.map(([event, now]) => wheel(event, now)); })"""
    notch = {"deltaX": 0, "deltaY": -3, "deltaMode": 1, "ctrlKey": False}
    pinch = {"deltaX": 0, "deltaY": -12, "deltaMode": 0, "ctrlKey": True}
    factors = shared.page.evaluate(code, [[notch, 0], [pinch, 2000]])
    assert factors == pytest.approx([1.15, 1.15], abs=0.005)
    flick = {"deltaX": 0, "deltaY": -400, "deltaMode": 0, "ctrlKey": False}
    factors = shared.page.evaluate(code, [[flick, 50 * step] for step in range(20)])
    assert math.prod(factors) == pytest.approx(2.5), "no further in a second"
    assert shared.page.evaluate(code, [[flick, 0], [flick, 1500]]) == pytest.approx([1.15**4, 1.15**4])


def test_one_to_one_fit_and_magnifier(shared: Device) -> None:
    box = shared.page.locator("#stage").bounding_box()
    fitted = min(box["width"], box["height"]) / SIDE
    shared.keys("o")
    assert zoom(shared) == pytest.approx(100 / fitted, abs=1)
    assert shared.page.get_attribute("#one", "aria-pressed") == "true"
    shared.keys("f")
    assert zoom(shared) == 100
    assert shared.page.get_attribute("#fit", "aria-pressed") == "true"
    shared.keys("g")
    shared.page.mouse.move(box["x"] + 300, box["y"] + 200)
    glass = shared.page.locator("#loupe").bounding_box()
    assert glass["x"] + glass["width"] / 2 == pytest.approx(box["x"] + 300, abs=1)
    levels = "() => new Set(document.getElementById('loupe').getContext('2d').getImageData(0, 0, 200, 200).data).size"
    assert shared.page.evaluate(levels) > 8
    shared.keys("g")
    assert shared.page.is_hidden("#loupe")


def test_the_scale_bar_is_as_long_as_it_says(shared: Device) -> None:
    for keys in ("f", "+"):
        shared.keys(keys)
        size = zoom(shared) / 100
        box = shared.page.locator("#stage").bounding_box()
        wide = shared.page.locator("#scale-bar").bounding_box()["width"]
        found = re.fullmatch(r"about (\d+) mm", shared.text("#scale-text"))
        assert found
        told = float(found[1]) / SPACING * min(box["width"], box["height"]) / SIDE * size
        assert wide == pytest.approx(told, rel=0.02)
        assert wide <= box["width"] / 4 + 1
    shared.keys("r")
    code = "values => import('/static/scale.js').then(module => module.barOf(...values))"
    assert shared.page.evaluate(code, [0, 3, 200]) is None


def test_invert_dims_what_would_glare(shared: Device) -> None:
    assert shared.page.eval_on_selector("#canvas", "canvas => getComputedStyle(canvas).filter") == "none"
    shared.keys("i")
    assert shared.page.eval_on_selector("#canvas", "canvas => getComputedStyle(canvas).filter") == "brightness(0.7)"
    shared.keys("i")


def test_practice_shows_why_and_ends_with_a_score_and_a_second_look(browser: Any, study: Served) -> None:
    with device(browser) as at:
        begin(study, at, "r02")
        for _ in range(2):
            at.ready()
            at.keys("5", "Enter")
            at.page.wait_for_selector("#feedback:not([hidden])")
            at.page.wait_for_selector("#beside:not([hidden])")
            assert "most similar real scan" in at.text("#feedback-why")
            assert "The line marks the finding" in at.text("#feedback-why")
            at.keys("Enter")
        at.page.wait_for_selector("#summary-next:visible")
        made = sum(study.kit.truth[item] for item in study.items("r02")[:2])  # called synthetic, and rightly
        kinds = [f"0 of {2 - made} real"] * (made < 2) + [f"{made} of {made} synthetic"] * (made > 0)
        assert at.text("#summary-text").startswith(f"You recognised {made} of 2: {', '.join(kinds)}.")
        at.page.reload()
        at.page.wait_for_selector("#summary-look:visible")  # it stands until the study has begun
        at.page.click("#summary-look")
        at.page.wait_for_selector("#review-text:has-text('Image 1 of 2')")
        first = shown(at)
        at.page.click("#review-after")
        at.page.wait_for_selector("#review-text:has-text('Image 2 of 2')")
        assert "You answered: probably synthetic" in at.text("#review-text")
        assert shown(at) != first
        at.page.press("#summary-next", "Enter")
        at.ready()
        assert at.text("#where") == "Image 1 of 6"
        practice = study.items("r02")[0]
        at.answer("3")
        at.arrived()
        for path in ("buffer", "nearest", "mask"):  # what was told is not to be had beside the images that count
            assert at.page.evaluate(f"fetch('/api/{path}/{practice}').then(answer => answer.status)") == 404
        assert [text for text in at.said if "404" not in text] == []


def test_a_real_scan_can_stand_beside(shared: Device) -> None:
    shared.keys("b")
    shared.page.wait_for_selector("#beside:not([hidden])")
    assert shared.text("#beside-text") == "Real scan 1 of 2, of another patient"
    shared.page.click("#beside-after")
    assert shared.text("#beside-text") == "Real scan 2 of 2, of another patient"
    shared.painted()
    beside = "() => document.getElementById('beside-canvas').toDataURL()"
    before = shared.page.evaluate(beside)
    shared.page.focus("#stage")
    shared.keys("w", "+")  # window and zoom are the same for both
    shared.painted()
    assert shared.page.evaluate(beside) != before
    shared.keys("b", "r")
    assert shared.page.is_hidden("#beside")


def test_the_last_answer_is_changed_and_a_comment_kept(any_browser: Any, study: Served) -> None:
    reader = "r03" if any_browser.browser_type.name == "chromium" else "r07"
    with device(any_browser) as at:
        begin(study, at, reader)
        skip_practice(study, at)
        assert at.page.is_hidden("#undo")
        at.keys("2", "t")
        at.page.keyboard.type("3 dark dots, i u")
        at.keys("Enter")  # in the field, too, Enter locks
        at.moved("Image 1 of 6")
        at.arrived()
        at.ready()
        at.keys("6", "u")
        at.page.wait_for_selector("#again:visible")
        assert at.text("#where") == "Image 1 of 6"
        at.ready()
        assert at.page.is_checked("#scale input[value='2']")
        assert at.page.input_value("#comment") == "3 dark dots, i u"
        at.keys("1", "Enter")
        at.moved("Image 1 of 6")
        at.arrived()
        at.ready()
        assert at.page.is_checked("#scale input[value='6']"), "what was chosen for the next image is still there"
        assert at.page.is_hidden("#undo")
        for _ in range(5):
            at.answer("4")
        at.arrived()
        at.page.click("#screen-undo")  # also the very last
        at.ready()
        at.answer("5")
        at.arrived()
        assert at.page.is_hidden("#screen-undo")
        assert at.said == []
    answers = [row["answer"] for row in study.readings(reader)]
    assert answers == [2, 1, 4, 4, 4, 4, 4, 5], "the first answers stay where they were"


def test_time_left_is_told_after_some_images(shared: Device) -> None:
    code = "values => import('/static/timeleft.js').then(module => module.leftText(...values))"
    for seconds, left, text in (
        ([10, 10], 40, ""),
        ([10, 300, 12], 40, "About 8 minutes left"),
        ([20, 20, 20], 120, "About 40 minutes left"),
        ([2, 2, 2], 3, "About a minute left"),
        ([2, 2, 2], 0, ""),
    ):
        assert shared.page.evaluate(code, [seconds, left]) == text


@pytest.mark.parametrize(
    ("size", "letters"), [(WIDE, 16), ((1920, 1080), 18), ((3840, 2160), 26), ((640, 400), 16)], ids=str
)
def test_the_page_grows_with_the_screen_and_holds_at_200_percent(
    shared: Device, size: tuple[int, int], letters: int
) -> None:
    shared.page.set_viewport_size({"width": size[0], "height": size[1]})
    shared.painted()
    assert float(shared.page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)")) == pytest.approx(
        letters, abs=0.7
    )
    assert shared.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert shared.page.evaluate("document.documentElement.scrollHeight") <= size[1], "only the panel scrolls"
    lock = shared.page.locator("#lock").bounding_box()
    assert 0 <= lock["y"] <= size[1] - lock["height"]
    stage = shared.page.locator("#stage").bounding_box()
    assert stage["width"] * stage["height"] > 0.35 * size[0] * size[1]
    shared.page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})


def test_the_code_page_has_the_whole_address_and_copies_it(browser: Any, study: Served) -> None:
    with device(browser) as at:
        at.context.grant_permissions(["clipboard-read", "clipboard-write"])
        at.page.goto(f"{study.address}/i/{study.kit.tokens['r04']}")
        at.page.click("button")
        at.page.wait_for_selector("#copy:visible")
        assert at.text("#address") == f"{study.address}/resume"
        at.page.click("#copy")
        at.page.wait_for_selector("#copied:has-text('Copied.')")
        assert at.page.evaluate("navigator.clipboard.readText()") == f"{study.address}/resume\n{at.text('#code')}"


def test_caps_of_keys_stand_where_there_is_a_keyboard(browser: Any, study: Served) -> None:
    with device(browser, (820, 1180), has_touch=True, is_mobile=True) as tablet:
        tablet.page.goto(f"{study.address}/i/{study.kit.tokens['r05']}")
        for button in ("button", "a.main-button", "#check-yes"):
            tablet.page.tap(button)
        tablet.page.wait_for_selector("#lock:enabled")
        assert tablet.page.locator("kbd:visible").count() == 0
        tablet.page.tap("#lock")
        assert tablet.text("#hint") == "First choose how the image looks to you."
        tablet.keys("3")
        assert tablet.page.locator("kbd:visible").count() > 6


def test_the_check_of_the_screen_is_noted_once_a_sitting(browser: Any, study: Served) -> None:
    sent: list[Any] = []
    with device(browser) as at:
        at.page.on("request", lambda asked: sent.append(asked.post_data_json) if "/api/screen" in asked.url else None)
        at.page.goto(f"{study.address}/i/{study.kit.tokens['r06']}")
        at.page.click("button")
        at.page.click("a.main-button")
        at.page.click("#check-no")
        assert at.page.is_visible("#check-advice")
        at.keys("Enter")
        at.ready()
        at.page.reload()
        at.page.wait_for_selector("#lock:enabled")
        assert at.page.is_hidden("#check")
    assert sent == [{"seen": False}]


def test_teaching_tells_the_truth_of_every_image_and_counts_none(browser: Any, tmp_path: Path) -> None:
    with served(tmp_path, count=0, practice=2, readers=1, told=True, teaching=True, comments=False) as study:
        with device(browser) as at:
            begin(study, at)
            assert at.text("#where") == "Image 1 of 2"
            assert "nothing is counted" in at.text("#teaching")
            for _ in range(2):
                at.ready()
                at.keys("2", "Enter")
                at.page.wait_for_selector("#feedback:not([hidden])")
                at.page.wait_for_selector("#beside:not([hidden])")
                at.keys("Enter")
            at.page.wait_for_selector("#summary-title:has-text('You have seen every image')")
            at.page.press("#summary-next", "Enter")
            assert at.text("#screen-title") == "That was the last image"
            assert "Nothing was counted" in at.text("#screen-text")
            at.page.reload()
            at.page.wait_for_selector("#summary-look:visible")  # to go through them again
            assert at.said == []
        assert study.readings() == []
