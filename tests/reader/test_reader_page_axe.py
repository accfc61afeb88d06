"""No page has a finding of axe, in the pages' own dark colours and in a system's high-contrast ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_findings import findings
from page_kit import Served, device, served

SYSTEM = {"rules": {"color-contrast": {"enabled": False}}}  # the system's own colours, which axe cannot see
THEMES = {
    "dark": {"color_scheme": "dark"},
    "light wanted": {"color_scheme": "light"},
    "high contrast": {"forced_colors": "active"},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("axe")
    with served(folder, count=2, practice=1, side=32, readers=3, second_question=True, told=True, references=1,
                break_every=1) as found:  # fmt: skip
        yield found


def test_axe_finds_what_is_planted(browser: Any, study: Served) -> None:
    with device(browser) as at:
        at.page.goto(f"{study.address}/resume")
        assert findings(at) == []
        at.page.eval_on_selector("label", "label => label.remove()")
        assert any("label" in one for one in findings(at))


@pytest.mark.parametrize(("theme", "reader"), [*zip(THEMES, ("r01", "r02", "r03"), strict=True)])
def test_no_page_has_a_finding(browser: Any, study: Served, theme: str, reader: str) -> None:
    found: dict[str, list[str]] = {}
    with device(browser, **THEMES[theme]) as at:

        def look(name: str) -> None:
            if told := findings(at, **(SYSTEM if theme == "high contrast" else {})):
                found[name] = told

        for path in ("/resume", "/read", "/admin", "/nothing"):
            at.page.goto(study.address + path)
            look(path)
        at.page.goto(f"{study.address}/i/{study.kit.tokens[reader]}")
        look("invitation")
        at.page.click("button")
        at.page.wait_for_selector("#copy:visible")
        look("code")
        at.page.click("a.main-button")
        at.page.click("#check-no")
        look("check")
        at.ready()
        at.keys("4", "y", "8", "t")
        look("practice")
        at.keys("Enter")
        at.page.wait_for_selector("#feedback:not([hidden])")
        look("feedback")
        at.keys("Enter")
        at.page.click("#summary-look")
        at.page.wait_for_selector("#review:not([hidden])")
        look("summary")
        at.ready()
        at.keys("b")
        at.answer("2", "n", "8")
        at.arrived()
        at.page.wait_for_selector("#rest:not([hidden])")
        look("reading")
        at.keys("?")
        look("keys")
        at.keys("Escape", "p")
        look("paused")
        at.keys("Enter")
        at.answer("2", "n", "8")
        look("done")
        if theme == "dark":
            at.page.goto(f"{study.address}/admin")
            at.page.fill("#token", study.kit.administrator)
            at.keys("Enter")
            at.page.wait_for_selector("tbody tr")
            look("administrator")
    assert found == {}
