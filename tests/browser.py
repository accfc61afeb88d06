"""Debian's Chromium and Firefox, for tests that open pages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_CHROMIUM, _FIREFOX = Path("/usr/bin/chromium"), Path("/usr/bin/firefox-esr")

_running: list[Any] = []
"""The driver, while a browser is open: a process has one."""

BROWSERS = ("chromium", "firefox")


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium; skips the test where there is none."""
    with _driver(_CHROMIUM) as play:
        browser = play.chromium.launch(executable_path=str(_CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextlib.contextmanager
def firefox() -> Iterator[Any]:
    """A headless Firefox as Debian builds it, driven by WebDriver BiDi; skips the test where there is none."""
    with _driver(_FIREFOX) as play:
        browser = play.firefox.launch(channel="moz-firefox", executable_path=str(_FIREFOX))
        yield browser
        browser.close()


@contextlib.contextmanager
def _driver(program: Path) -> Iterator[Any]:
    if not program.exists():
        pytest.skip(f"{program.name} is not installed, so pages cannot be opened in it")
    sync = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    if _running:
        yield _running[0]
        return
    with sync.sync_playwright() as play:
        _running.append(play)
        try:
            yield play
        finally:
            _running.clear()
