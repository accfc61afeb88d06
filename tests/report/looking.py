"""Opens a page in a browser and says whether it looks as it must."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def assert_looks_right(browser: Any, page_file: Path, width: int, theme: str) -> None:
    """Offline, nothing sticks out or is too small to read, every image is there, all details open."""
    asked: list[str] = []
    said: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=theme)
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(page_file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    # Nothing sticks out of the window, unless it stands in a part that scrolls by itself.
    outside = page.evaluate(
        """width => [...document.querySelectorAll('main *, header *, nav *')]
             .filter(part => !part.closest('.scroll') && !part.closest('svg'))
             .filter(part => part.getBoundingClientRect().right > width + 1)
             .map(part => part.tagName + ' ' + part.className)"""
        , width
    )  # fmt: skip
    assert outside == []
    small = page.evaluate(
        """() => [...document.querySelectorAll('svg text')]
             .map(text => text.getBoundingClientRect().height).filter(height => height > 0 && height < 9)"""
    )
    assert small == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) > 600) == (theme == "light")
    page.close()
