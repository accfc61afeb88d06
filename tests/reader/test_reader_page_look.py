"""The pages as people meet them: by eye, by keyboard, by finger, by screen reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from page_kit import SMALL, UPRIGHT, WIDE, Device, Served, begin, device, served

from scansynth.reader.protocol import QUESTION

STATIC = Path(__file__).parents[2] / "src" / "scansynth" / "reader" / "server" / "static"
TEMPLATES = STATIC.parent / "templates"
SIZES = {"worklist": WIDE, "tablet lying": SMALL, "tablet standing": UPRIGHT}
CONTROLS = "button, a[href], input:not([type=hidden]), select, [tabindex='0']"

# Text and ground of everything that is seen, opacity and stacking included where the pages use them.
COLOURS = """() => { const out = [];
  const ground = node => { for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour; } return "rgb(12, 13, 15)"; };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) { const node = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !node.checkVisibility({visibilityProperty: true})) continue;
    if (node.closest(".unseen, script, :disabled")) continue;
    out.push([walk.currentNode.textContent.trim().slice(0, 40), getComputedStyle(node).color, ground(node)]); }
  return out; }"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("look")
    with served(folder, count=3, practice=1, side=32, readers=9, second_question=True, break_every=1) as found:
        yield found


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of a colour as a browser writes it."""
    parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def check_look(at: Device) -> None:
    """Contrast, size of targets, and nothing beyond the window, on whatever the page shows now."""
    at.page.wait_for_load_state()  # with its colours
    seen = at.page.evaluate(COLOURS)
    assert seen
    assert [(text, contrast(*pair)) for text, *pair in seen if contrast(*pair) < 4.5] == []
    assert max(luminance(ground) for _, _, ground in seen) < 0.1  # nothing bright in a dark room
    width = at.page.viewport_size["width"]
    assert at.page.evaluate("document.documentElement.scrollWidth") <= width
    small = at.page.evaluate(
        """selector => [...document.querySelectorAll(selector)]
          .filter(one => one.checkVisibility({visibilityProperty: true}))
          .map(one => [one.id || one.textContent, (one.closest("label.choice") ?? one).getBoundingClientRect()])
          .filter(([, box]) => box.width < 44 || box.height < 44 || box.right > innerWidth + 1)
          .map(([name]) => name)""",
        CONTROLS,
    )
    assert small == []


def names(at: Device) -> list[tuple[str, str]]:
    """Role and name of every control that a screen reader meets."""
    tree = at.page.locator("body").aria_snapshot()
    return re.findall(r"- (button|radio|link|combobox|checkbox|textbox)(?: \"([^\"]*)\")?", tree)


def tabbed(at: Device) -> list[str]:
    """Ids of the controls from the one in focus on, as Tab reaches them; each is outlined while it has the focus."""
    found: list[str] = []
    for _ in range(60):
        here = at.page.evaluate(
            """() => { const one = document.activeElement; if (!one || one === document.body) return null;
              const drawn = one.closest("label.choice") ?? one, style = getComputedStyle(drawn);
              return [one.id || one.name, style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2]; }"""
        )
        if here is None or here[0] in found:
            break
        assert here[1], f"{here[0]} has the focus and does not show it"
        found.append(here[0])
        at.keys("Tab")
    return found


@pytest.mark.parametrize(
    "fault",
    [
        "button => button.style.color = '#555'",
        "button => { button.style.minHeight = '20px'; button.style.padding = 0; }",
        "button => button.style.width = '200vw'",
        "() => document.body.style.background = '#fff'",
    ],
)
def test_planted_faults_of_looks_are_found(browser: Any, study: Served, fault: str) -> None:
    with device(browser) as at:
        at.page.goto(f"{study.address}/resume")
        check_look(at)
        at.page.eval_on_selector("button", fault)
        with pytest.raises(AssertionError):
            check_look(at)


@pytest.mark.parametrize(("place", "reader"), [*zip(SIZES, ("r01", "r02", "r03"), strict=True)])
def test_every_page_is_dark_readable_and_within_reach(browser: Any, study: Served, place: str, reader: str) -> None:
    with device(browser, SIZES[place]) as at:
        at.page.goto(f"{study.address}/i/{study.kit.tokens[reader]}")
        check_look(at)
        at.page.click("button")
        check_look(at)
        at.page.click("a.main-button")
        at.page.wait_for_selector("#check-yes:visible")
        at.page.click("#check-no")
        check_look(at)
        at.ready()
        check_look(at)
        lock = at.page.locator("#lock").bounding_box()
        assert lock["y"] + lock["height"] <= SIZES[place][1]  # the button that locks is in sight
        stage = at.page.locator("#stage").bounding_box()
        assert stage["height"] * stage["width"] > 0.35 * SIZES[place][0] * SIZES[place][1]
        at.keys("?")
        at.page.wait_for_selector("#keys[open]")
        check_look(at)
        at.keys("Escape", "p")
        at.page.wait_for_selector("#paused[open]")
        check_look(at)
        at.keys("Enter")
        at.page.wait_for_selector("#paused:not([open])", state="attached")
        at.ready()
        at.keys("2", "y", "8", "Enter")
        at.page.wait_for_selector("#feedback:not([hidden])")
        check_look(at)
        at.keys("Enter")
        at.page.click("#summary-look")
        check_look(at)
        for _ in range(3):
            at.answer("5", "n", "7")
            if at.page.is_visible("#rest"):
                check_look(at)
        check_look(at)
        assert at.text("#screen-title").startswith("Thank you")
        assert at.said == []


@pytest.mark.parametrize("path", ["/resume", "/read", "/admin", "/nothing", "/i/none"])
def test_plain_pages_are_dark_and_readable(browser: Any, study: Served, path: str) -> None:
    with device(browser) as at:
        at.page.goto(study.address + path)
        check_look(at)
        assert at.page.locator("h1").count() == 1
        assert all(name for _, name in names(at))


def test_a_screen_reader_finds_every_control_by_name(browser: Any, study: Served) -> None:
    with device(browser) as at:
        begin(study, at, "r04")
        found = names(at)
        assert all(name for _, name in found), found
        assert [name for role, name in found if role == "radio"] == [
            *(label.capitalize() for label in study.kit.worklist.scale),
            "Yes", "No", "Cannot say", "Unsure", "Fairly sure", "Sure",
        ]  # fmt: skip
        for group in (QUESTION, "Is there a nodule?", "How sure are you of that?", "Image tools"):
            assert at.page.get_by_role("group", name=group).count() == 1
        assert at.page.get_by_role("img", name="Practice image 1 of 1").count() == 1
        assert at.page.get_by_role("progressbar", name="Practice image 1 of 1").count() == 1
        assert at.page.get_by_role("button", name="Invert", pressed=False).count() == 1
        assert at.page.get_by_role("main").count() == 1
        at.page.get_by_role("radio", name="Probably real").check()
        assert at.text("#said").startswith("Practice image 1 of 1")
        at.keys("y", "9", "Enter")
        at.page.wait_for_selector("#feedback:not([hidden])")
        assert re.match(r"This image was (real|synthetic)\. You answered: probably real\.", at.text("#said"))
        assert at.page.evaluate("document.activeElement.id") == "feedback-next"
        at.keys("Enter")
        at.ready()
        assert at.text("#said").startswith("Image 1 of 3")
        assert at.page.get_attribute("#said", "aria-live") == "polite"


def test_tab_reaches_everything_and_arrows_choose(browser: Any, study: Served) -> None:
    with device(browser) as at:
        begin(study, at, "r05")
        at.keys("Tab", "Shift+Tab")  # the browser shows the focus to who uses keys
        assert tabbed(at) == [
            "stage", "preset", "drag-mode", "zoom-out", "zoom-in", "fit", "one", "magnify", "smooth", "invert", "reset",
            "answer", "second", "confidence", "comment-open", "lock", "pause", "help",
        ]  # fmt: skip
        at.page.focus("#scale input")
        at.keys("ArrowDown", "ArrowDown", "Tab", "Space", "Tab", "Space", "ArrowRight", "Enter")
        at.page.wait_for_selector("#feedback:not([hidden])")
        row = study.readings("r05", practice=True)[0]
        assert (row["answer"], row["second"], row["confidence"]) == (3, 1, 2)


def test_single_keys_can_be_turned_off(browser: Any, study: Served) -> None:
    with device(browser) as at:
        begin(study, at, "r06")
        at.keys("?")
        at.page.uncheck("#letters")
        at.keys("Escape", "3", "p", "i")
        assert at.page.locator("#scale input:checked").count() == 0
        assert at.page.is_hidden("#paused")
        assert at.page.get_attribute("#invert", "aria-pressed") == "false"
        at.page.reload()
        at.ready()
        at.keys("3")
        assert at.page.locator("#scale input:checked").count() == 0


def test_the_administrator_sees_how_much_and_never_what(browser: Any, study: Served) -> None:
    bodies: list[str] = []
    with device(browser) as reader:
        begin(study, reader, "r07")
        reader.answer("6", "y", "9")
        reader.answer("1", "n", "9")
        reader.arrived()
        reader.keys("5", "n")
        reader.drafted()
    with device(browser) as at:
        at.page.clock.install()
        at.page.goto(f"{study.address}/admin")
        at.page.wait_for_selector("#token:focus")
        at.page.keyboard.type("wrong")
        at.keys("Enter")
        at.page.wait_for_selector("[role=alert]")
        check_look(at)
        at.page.on("response", lambda answer: bodies.append(answer.text()) if "/api/admin" in answer.url else None)
        at.page.wait_for_selector("#token:focus")
        at.page.keyboard.type(study.kit.administrator)
        at.keys("Enter")
        at.page.wait_for_selector("tbody tr")
        check_look(at)
        row = at.text("tbody tr:nth-child(7)")
        assert re.search(r"r07\s+used .+\s+1 of 1\s+1 of 3\s+reading", row.replace("\n", " "))
        assert "not used" in at.text("tbody tr:nth-child(8)")
        with device(browser) as late:
            begin(study, late, "r08")
        at.page.clock.fast_forward(10_000)  # it renews itself
        at.page.wait_for_selector("tbody tr:nth-child(8):not(:has-text('not used'))")
    assert len(bodies) == 2
    assert not re.search(r"answer|draft|second|confidence|nonce|item", "".join(bodies))


def test_a_double_click_spends_one_invitation(browser: Any, study: Served) -> None:
    with device(browser) as at:
        at.page.route("**/static/code.js", lambda asked: asked.abort())
        at.page.goto(f"{study.address}/i/{study.kit.tokens['r09']}")
        at.page.dblclick("button")
        at.page.wait_for_selector("#code")
        at.page.wait_for_timeout(200)
        assert re.fullmatch(r"[0-9A-Z-]{19}", at.text("#code"))
        assert at.page.is_hidden("#start"), "no way on that Back would find an error behind, before the script is there"


@pytest.mark.parametrize("path", sorted([*STATIC.glob("*"), *TEMPLATES.glob("*")]), ids=lambda path: path.name)
def test_files_are_short_and_keep_to_themselves(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    assert not re.search(r"https?:|//[a-z]+\.|url\(|@import|eval\(|innerHTML|document\.write|new Function", text)
    if path.suffix == ".html":
        scripts: list[str] = re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL)
        assert all(not script.strip() for script in scripts)
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=", text)


def test_contrast_formula_on_known_pairs() -> None:
    check: Callable[[str, str], float] = contrast
    assert check("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21.0)
    assert check("rgb(119, 119, 119)", "rgb(255, 255, 255)") == pytest.approx(4.48, abs=0.01)
