"""The chapter on marks: its numbers are those of the analysis, its curves are drawn, and no real image stands in it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from fake_readers import make_readers
from fake_study import make_study
from looking import assert_looks_right

from scansynth.data.imageset import open_set
from scansynth.errors import EvidenceError
from scansynth.files import read_json, write_json
from scansynth.report.public import public_page
from scansynth.report.reader.places import places
from scansynth.report.render import write_report
from scansynth.study import ANALYSIS, Study


def kind(name: str, arm: int, area: float, unknown: int = 0) -> dict[str, Any]:
    figure = {"value": area, "interval": [area - 0.1, area + 0.05], "readers": [area, area]}
    return {
        "kind": name,
        "arm": arm,
        "unknown": unknown,
        "images": 50,
        "with_lesions": 26,
        "lesions": 31,
        "figures": {"free_response": figure, "localised": None if arm else figure, "found": figure},
        "marks_per_image": 0.9,
        "false_per_image": 0.31,
        "froc": [[5.0, 0.02, 0.3], [3.0, 0.1, 0.6], [1.0, 0.31, area]],
        "lroc": [[5.0, 0.0, 0.3], [1.0, 0.3, 0.7]],
        "radius_ratio": [1.25, 0.9, 1.6],
    }


WHERE: dict[str, Any] = {
    "finding": "nodule <b>",
    "levels": ["a", "b", "c", "d", "e"],
    "margin": 0.1,
    "readers": ["r01", "r02", "r03"],
    "everywhere": False,
    "kinds": [kind("real", 0, 0.83), kind("synthetic", 1, 0.71, unknown=4)],
    "difference": {
        "outcome": "inconclusive",
        "why": "The area under the free-response curve of real images is 0.12 above that of synthetic images.",
        "value": 0.12,
        "interval": [-0.01, 0.25],
        "equivalence_interval": [0.01, 0.23],
        "equivalence_p": 0.6,
    },
}


def test_the_numbers_are_those_of_the_analysis() -> None:
    found = places(WHERE)
    assert found is not None
    assert places(None) is None
    real, synthetic = found["rows"]
    assert real["figures"][0] == ("0.83", "0.73 to 0.88")
    assert synthetic["figures"][1] == ("—", "")
    assert (real["unknown"], synthetic["unknown"]) == ("", "4")
    assert (real["false"], real["ratio"]) == ("0.31", ("1.25", "0.90 to 1.60"))
    assert [chart.key for chart in found["charts"]] == [
        (("real images", "real"), ("synthetic images", "synthetic"))
    ] * 2
    assert "83% at 0.31" in found["charts"][0].svg
    nothing = copy.deepcopy(WHERE)
    for one in nothing["kinds"]:
        one |= {"froc": [], "lroc": [], "radius_ratio": None, "false_per_image": None}
        one["figures"] = dict.fromkeys(one["figures"])
    told = places(nothing)
    assert told is not None
    assert told["charts"] == []


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = make_study(tmp_path_factory.mktemp("marks") / "study", patients=110, synthetic=60, size=40)
    made, _ = make_readers(made, readers=4, images=40)
    path = made.reader / ANALYSIS
    write_json(path, {**read_json(path), "where": WHERE})
    return made


def test_the_chapter_stands_in_the_report_and_the_public_one_without_a_real_image(study: Study, browser: Any) -> None:
    write_report(study)
    page = study.report / "index.html"
    text = page.read_text()
    assert "Where readers saw findings (nodule &lt;b&gt;)" in text
    assert "Inconclusive:" in text
    assert "4 more without a mask: not compared" in text
    for width in (1280, 390):
        assert_looks_right(browser, page, width, "light")
    made = open_set(study.synthetic())
    public = public_page(study, made, set(made.ids))
    assert "Where readers saw findings" in public
    chapter = public[public.index("Where readers saw findings") :]
    chapter = chapter[: chapter.index("<h3")] if "<h3" in chapter else chapter
    assert "reader-froc" in chapter
    assert "<img" not in chapter


def test_a_damaged_figure_is_one_line(study: Study) -> None:
    path: Path = study.reader / ANALYSIS
    kept = read_json(path)
    broken = copy.deepcopy(kept)
    broken["where"]["kinds"][0]["figures"]["found"]["interval"] = "wide"
    write_json(path, broken)
    with pytest.raises(EvidenceError, match=r"analysis\.json of the reader study"):
        write_report(study)
    write_json(path, kept)
