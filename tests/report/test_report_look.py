"""The page as a browser shows it, and its colours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fake_study import make_study
from looking import assert_looks_right

import scansynth.report.render
from scansynth.report.render import write_report

CSS = (Path(scansynth.report.render.__file__).parent / "templates" / "report.css").read_text()
BADGES = ("v-shown", "v-refuted", "v-not_shown", "v-not_assessable")
PAIRS = [
    *((text, ground) for text in ("ink", "muted", "accent", "real") for ground in ("ground", "surface")),
    ("ink", "notice"),
    ("ink", "good"),
    *(("on-badge", badge) for badge in BADGES),
]


def palettes() -> dict[str, dict[str, str]]:
    light, dark, printed = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    )
    return {"light": light, "dark": light | dark, "printed": light | printed}


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_formula_on_known_pairs() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark", "printed"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_has_contrast_aa(theme: str, text: str, ground: str) -> None:
    palette = palettes()[theme]
    assert contrast(palette[text], palette[ground]) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("mark", ["real", "synthetic", "third", *BADGES])
def test_marks_stand_out(theme: str, mark: str) -> None:
    palette = palettes()[theme]
    assert min(contrast(palette[mark], palette[ground]) for ground in ("ground", "surface")) >= 3.0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_verdicts_are_equally_visible(theme: str) -> None:
    palette = palettes()[theme]
    strengths = [contrast(palette[badge], palette["surface"]) for badge in BADGES]
    assert max(strengths) / min(strengths) < 1.5


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = make_study(
        tmp_path_factory.mktemp("look") / "study", name="A" * 80, labels=("clear", "W" * 40), size=256, patients=24
    )
    return write_report(study)


def test_page_of_large_images_stays_small(page_file: Path) -> None:
    assert page_file.stat().st_size < 15e6


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_opens_offline_without_sideways_scrolling(browser: Any, page_file: Path, width: int, theme: str) -> None:
    assert_looks_right(browser, page_file, width, theme)


def test_the_top_fits_one_screen(browser: Any, page_file: Path) -> None:
    """Verdicts, what to do next, and what the set is worth."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(page_file.as_uri())
    assert page.evaluate("document.querySelector('.next').getBoundingClientRect().bottom") <= 800
    page.close()
