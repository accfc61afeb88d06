"""The report as a PDF, printed by a browser that is there already."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from scansynth.errors import StudyError
from scansynth.files import write_bytes

BROWSERS = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge", "msedge",
)  # fmt: skip
"""Commands of browsers that print without a window."""

PDF = "report.pdf"
_SECONDS = 300


def find_browser() -> str:
    """Path of a browser.

    Raises:
        StudyError: There is none.
    """
    for name in BROWSERS:
        if (path := shutil.which(name)) is not None:
            return path
    raise StudyError(
        "no Chromium, Chrome or Edge is installed to write a PDF; open the report in any browser and print it to a file"
    )


def print_page(page: Path, browser: str) -> Path:
    """Prints a page of the report to `report.pdf` beside it, and returns that.

    Raises:
        StudyError: The browser failed.
    """
    with tempfile.TemporaryDirectory() as work:
        target = Path(work) / PDF
        command = [
            browser, "--headless", "--disable-gpu", "--no-first-run", f"--user-data-dir={work}/profile",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),  # it refuses to run as root otherwise
            "--no-pdf-header-footer", f"--print-to-pdf={target}", page.resolve().as_uri(),
        ]  # fmt: skip
        try:
            subprocess.run(command, check=False, capture_output=True, timeout=_SECONDS)
            data = target.read_bytes()
        except (OSError, subprocess.TimeoutExpired):
            data = b""
    if not data.startswith(b"%PDF"):
        raise StudyError(
            f"{Path(browser).name} did not print {page.name}; open it in any browser and print it to a file"
        )
    write_bytes(page.with_name(PDF), data)
    return page.with_name(PDF)
