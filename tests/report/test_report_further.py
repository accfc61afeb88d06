"""The gallery, two sets side by side, and the printed report."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from axe import findings
from command_line import scansynth
from fake_study import make_study
from looking import assert_looks_right

from scansynth.data.sets import load_set
from scansynth.data.tensors import load_cohort
from scansynth.errors import StudyError
from scansynth.files import write_csv, write_json
from scansynth.report import compare, printed
from scansynth.report.compare import write_comparison
from scansynth.report.gallery import PAIRS_A_PAGE, write_gallery
from scansynth.report.printed import PDF, find_browser, print_page
from scansynth.report.render import write_report
from scansynth.study import PAGE, PROTOCOL, QUARANTINE, Study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = make_study(tmp_path_factory.mktemp("further") / "study", patients=24, synthetic=60, size=40)
    write_report(made)
    return made


@pytest.fixture(scope="module")
def gallery(study: Study) -> Path:
    write_csv(study.evidence() / QUARANTINE, ("image", "nearest", "score", "p"), [{"image": "000007"}])
    return write_gallery(study)


@pytest.fixture(scope="module")
def beside(study: Study) -> Path:
    shutil.copytree(study.evidence(), study.evidence("second"), dirs_exist_ok=True)
    shutil.copytree(study.synthetic(), study.synthetic("second"), dirs_exist_ok=True)
    return write_comparison(study, "second")


def test_the_gallery_shows_each_image_once_the_most_alike_first(gallery: Path, study: Study) -> None:
    pages = [gallery, *(gallery.parent / f"page-{number}.html" for number in (2, 3))]
    assert sorted(path.name for path in gallery.parent.iterdir()) == sorted(path.name for path in pages)
    text = "".join(page.read_text() for page in pages)
    ids = re.findall(r"synthetic <b>([^<]+)</b>", text)
    assert sorted(ids) == sorted(load_set(study.synthetic(), load_cohort(study.cohort).facts).ids)
    likeness = [float(value) for value in re.findall(r"Likeness <b>([-\d.]+)</b>", text)]
    assert likeness == sorted(likeness, reverse=True)
    assert len(re.findall("<figure>", gallery.read_text())) == PAIRS_A_PAGE
    assert text.count("Kept back") == 1
    assert "contains images of real cases" in gallery.read_text()
    train = {case.case for case in load_cohort(study.cohort).cases}
    assert not [name for name in train if name in text], "no hash of a case"


def test_the_gallery_is_paged_by_keys(gallery: Path, browser: Any) -> None:
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(gallery.as_uri())
    for key, wanted in (("ArrowRight", "page-2"), ("End", "page-3"), ("ArrowLeft", "page-2"), ("Home", "index")):
        with page.expect_navigation():
            page.keyboard.press(key)
        assert page.url.endswith(f"{wanted}.html")
    page.keyboard.press("ArrowLeft")
    assert page.url.endswith("index.html")
    assert said == [], "the policy lets the script run"
    page.close()


def test_no_gallery_while_readers_read(study: Study) -> None:
    write_json(study.reader / PROTOCOL, {})
    try:
        with pytest.raises(StudyError, match="reader study is under way"):
            write_gallery(study)
    finally:
        shutil.rmtree(study.reader)


def test_two_sets_stand_side_by_side(beside: Path) -> None:
    text = beside.read_text()
    heads = re.findall(r'<th scope="col">([^<]+)</th>', text)
    assert len({head for head in heads if head not in {"Question", "Claim", "Fact"}}) == 2
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", text, re.DOTALL)
    assert len(rows) > 20
    for row in rows:
        assert row.count("<td>") == 2, row
    assert "different cohorts" not in text


def test_another_study_may_stand_beside_and_what_is_none_is_refused(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_study(tmp_path / "other", patients=18, synthetic=30, size=40, name="Other")
    monkeypatch.setattr(compare, "is_study", lambda folder: folder == other.folder)
    monkeypatch.setattr(compare, "open_study", lambda folder: other)
    text = write_comparison(study, str(other.folder)).read_text()
    assert "different cohorts" in text
    assert "Other, " in text
    with pytest.raises(StudyError, match="no other set nothing"):
        write_comparison(study, "nothing")
    shutil.rmtree(other.evidence())
    with pytest.raises(StudyError, match="was not audited"):
        write_comparison(study, str(other.folder))


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_they_look_right(browser: Any, gallery: Path, beside: Path, width: int, theme: str) -> None:
    for page in (gallery, beside):
        assert_looks_right(browser, page, width, theme)


@pytest.mark.parametrize("which", ["report", "gallery", "compare"])
def test_axe_finds_nothing(browser: Any, gallery: Path, beside: Path, study: Study, which: str) -> None:
    file = {"report": study.report / PAGE, "gallery": gallery, "compare": beside}[which]
    width, theme = (1280, "light") if which == "report" else (390, "dark")
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=theme)
    page.goto(file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert findings(page) == []
    if which == "gallery":
        page.evaluate("document.querySelector('img').removeAttribute('alt')")
        assert any(line.startswith("image-alt") for line in findings(page)), "a fault is found"
    page.close()


def test_the_report_is_printed(study: Study) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("Chromium is not installed, so pages cannot be printed")
    target = print_page(study.report / PAGE, find_browser())
    data = target.read_bytes()
    assert target.name == PDF
    assert data.startswith(b"%PDF")
    assert data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") + data.count(b"/Type /Page/") >= 3
    with pytest.raises(StudyError, match="did not print"):
        print_page(study.report / PAGE, shutil.which("false") or "false")


def test_without_a_browser_one_line_says_how(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(printed.shutil, "which", lambda name: None)
    assert scansynth("report", study.folder, "--pdf") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "print it to a file" in line


def test_every_figure_of_the_report_names_its_source(study: Study) -> None:
    page = (study.report / PAGE).read_text()
    figures = re.findall(r"<figure.*?</figure>", page, re.DOTALL)
    assert len(figures) > 10
    for figure in figures:
        if 'class="pair"' not in figure:  # their source stands above all of them
            assert re.search(r'class="origin">From [\w/. ]+, by <code>scansynth \w+ STUDY</code>', figure), figure[:300]
    assert page.index("pairs.json, by") < page.index('class="pairs"')
