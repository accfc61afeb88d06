"""With a comment open and a break proposed, every control of the panel can be brought into sight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from page_kit import SMALL, WIDE, begin, device, served

CONTROLS = ("#comment", "#undo", "#lock", "#rest-pause", "#rest-on")
PLACE = "one => { const { top, bottom } = one.getBoundingClientRect(); return top >= 0 && bottom <= innerHeight; }"


@pytest.mark.parametrize("size", [WIDE, SMALL, (640, 400)], ids=["1280x800", "1024x768", "1280x800 at 200%"])
def test_nothing_is_cut_off_with_a_comment_and_a_break(browser: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    with (
        served(tmp_path, count=4, practice=0, side=16, second_question=True, break_every=1) as study,
        device(browser, size) as at,
    ):
        begin(study, at)
        at.answer("4", "y", "8")
        at.ready()
        at.arrived()
        at.keys("3", "y", "8", "t")
        at.page.wait_for_selector("#comment:visible")
        at.page.wait_for_selector("#rest-on:visible")
        for name in CONTROLS:  # a low screen scrolls; nothing is out of reach
            at.page.locator(name).scroll_into_view_if_needed()
            assert at.page.eval_on_selector(name, PLACE), name
        at.page.click("#rest-on")
        assert at.page.is_hidden("#rest")
