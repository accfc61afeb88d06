"""Text in the pixels of a cohort: found, dealt with as asked, read again, and reported."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from burned import anatomy, with_text
from scans import save_dicom, write_labels

from scansynth.config import StudyConfig
from scansynth.data import ingest as stage
from scansynth.data.scans import burned_in, tesseract
from scansynth.data.scans.burned_in import LIKE_TEXT, NO_LETTERS, TextSearch
from scansynth.data.scans.tesseract import SCALES, Letters, Tesseract, find_tesseract
from scansynth.data.tensors import load_cohort
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.dicom.sandbox import Decoded
from scansynth.errors import DicomError
from scansynth.files import read_csv
from scansynth.release import gate
from scansynth.study import Study

KEY = InstitutionKey(b"k" * 32)
WORDS = "SMITH JOHN 1961-03-07"

needs_tesseract = pytest.mark.skipif(find_tesseract() is None, reason="Tesseract is not installed")


def read_as(sure: str, guessed: str = "") -> Letters:
    return Letters(sure, guessed or sure)


class Reader(Tesseract):
    """Reads text where a picture has a steep edge, as those of these tests have nowhere else; no program is needed."""

    def letters(self, pictures: Sequence[np.ndarray], scale: int = SCALES[0]) -> list[Letters]:
        return [read_as("smithjohn" * bool((np.abs(np.diff(one, axis=1)) > 350).any())) for one in pictures]


@pytest.fixture
def study(tmp_path: Path, in_process: None) -> Callable[..., Study]:
    """A study of six patients; patient 1 has text in the pixels, and one more file is flagged."""
    dicom = tmp_path / "scans"
    rows = []
    for number in range(6):
        image = anatomy(128, number)
        if number == 1:
            image = with_text(image, WORDS[:10], (3, 3), 14)
        pixels = np.clip(image, 0, 4095).astype(int)
        save_dicom(dicom / f"p{number}", pixels, PatientID=f"PID-{number}", SOPInstanceUID=f"1.2.{number}")
        rows.append({"path": f"p{number}", "label": ("nodule", "clear")[number % 2]})
    save_dicom(dicom / "flagged", pixels, PatientID="PID-0", BurnedInAnnotation="YES", SOPInstanceUID="1.3")
    rows.append({"path": "flagged", "label": "clear"})
    write_labels(dicom / "labels.csv", rows)

    def make(**settings: Any) -> Study:
        values = {"dicom": str(dicom), "size": 128, "labels": str(dicom / "labels.csv"), **settings}
        return Study(tmp_path / "study", StudyConfig.model_validate({"cohort": values}))

    return make


def searching(monkeypatch: pytest.MonkeyPatch, program: Tesseract | None) -> None:
    """Lets ingest find this program, or none."""
    monkeypatch.setattr(stage, "TextSearch", lambda wish: TextSearch(wish, program))


def case(number: int) -> Any:
    """A scan, as far as the search knows it."""
    return SimpleNamespace(case=str(number))


def rows_of(study: Study, name: str) -> list[dict[str, str]]:
    return [row for row in read_csv(study.cohort / "deidentification.csv") if row["attribute"] == name]


def test_an_image_with_text_is_left_out_and_named_in_private_alone(
    study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    searching(monkeypatch, Reader("", "0"))
    made = study()
    summary = stage.ingest(made, KEY)
    assert summary.facts.excluded == {"burned-in annotation": 1, "burned-in text": 1}
    assert KEY.patient_hash("PID-1") not in {case.patient for case in load_cohort(made.cohort).cases}
    assert any("searched with Tesseract 0 in 6 images: 1 hold text (1 left out)" in line for line in summary.warnings)
    listed = {row["file"]: row for row in read_csv(made.linkage / "burned_in.csv")}
    assert listed.keys() == {"p1", "flagged"}
    assert (listed["p1"]["found"], listed["p1"]["done"]) == ("text", "left out")
    assert listed["p1"]["where"].startswith("rows 0-")
    assert stat.S_IMODE((made.linkage / "burned_in.csv").stat().st_mode) == 0o600
    assert {row["done"]: row["files"] for row in rows_of(made, "text in the pixels")} == {
        "file left out: burned-in annotation": "1", "left out": "1", "searched with Tesseract 0": "6",
    }  # fmt: skip
    assert all(row["clause"] for row in read_csv(made.cohort / "deidentification.csv"))


def test_text_is_blackened_when_asked_and_the_rest_stays(
    study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    searching(monkeypatch, None)
    stage.ingest(study(), KEY)
    before = np.array(load_cohort(study().cohort).images.planes)
    ids = load_cohort(study().cohort).images.ids
    searching(monkeypatch, Reader("", "0"))
    stage.ingest(study(burned_in="blacken"), KEY)
    after = load_cohort(study().cohort)
    assert after.images.ids == ids
    own = ids.index(KEY.case_id("1.2.1"))
    for place in range(len(ids)):
        assert np.array_equal(before[place], after.images.planes[place]) == (place != own)
    assert (after.images.planes[own][2:14, 2:60] == 0).all()
    assert any("1 blackened and read again" in line for line in [after.facts.text_search])


def test_residue_after_blackening_leaves_the_image_out() -> None:
    class Stubborn(Reader):
        def letters(self, pictures: Sequence[np.ndarray], scale: int = SCALES[0]) -> list[Letters]:
            return [read_as("smithjohn")] * len(pictures)

    image = Decoded(with_text(anatomy(128), "SMITH", (3, 3), 14), "0" * 64, ((0, 24, 0, 80),))
    search = TextSearch("blacken", Stubborn("", "0"))
    ((_, result),) = search.search([(case(0), image)])
    assert isinstance(result, DicomError)
    assert result.reason == "burned-in text that stays"


@pytest.mark.parametrize(
    ("read", "grade", "noted"),
    [
        ((("", ""), ("", "xy"), ("xy", "xy")), NO_LETTERS, False),
        ((("", ""), ("", "xyz"), ("", "")), LIKE_TEXT, True),
        ((("xyz", "xyz"), ("", ""), ("", "")), LIKE_TEXT, True),
        ((("", "smithjohn1961"), ("", ""), ("", "smithjohn")), LIKE_TEXT, True),
        # read with confidence at one size and otherwise at the next: the program sees letters in a scapula
        ((("", ""), ("", "iasin"), ("rdot", "rdot")), LIKE_TEXT, True),
        ((("nnoaj", "nnoaj"), ("of", "bnof"), ("rnaf", "rnaf")), LIKE_TEXT, True),
        ((("", ""), ("", "xmit"), ("smit", "smit")), "left out", False),
        ((("smith", "smith"), ("", "mith")), "left out", False),
        ((("smith", "smith"), ("", ""), ("ohn", "johnsmi")), "left out", False),
    ],
)
def test_a_spot_holds_text_where_two_sizes_give_the_same_letters(
    read: tuple[tuple[str, str], ...], grade: str, noted: bool
) -> None:
    class Given(Reader):
        def letters(self, pictures: Sequence[np.ndarray], scale: int = SCALES[0]) -> list[Letters]:
            return [Letters(*read[SCALES.index(scale)])] if pictures else []

    image = Decoded(anatomy(64), "0" * 64, ((0, 8, 0, 32),))
    search = TextSearch("leave out", Given("", "0"))
    ((_, result),) = search.search([(case(0), image)])
    assert isinstance(result, DicomError) == (grade == "left out")
    assert [done for _, _, done, _ in search.listed] == [grade]
    assert ("could not be read" in search.sentence()) == noted


def test_the_gate_of_a_release_knows_the_grades() -> None:
    assert any(words in LIKE_TEXT for words in gate._NOT_CLEAN)
    assert not any(words in NO_LETTERS for words in gate._NOT_CLEAN)


def test_without_the_program_it_is_said_that_nothing_was_searched(
    study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    searching(monkeypatch, None)
    made = study()
    summary = stage.ingest(made, KEY)
    assert summary.cases == 6
    assert "not searched: Tesseract is not installed" in summary.facts.text_search
    assert summary.facts.text_search in summary.warnings
    assert [row["done"] for row in rows_of(made, "text in the pixels")][
        -1
    ] == "not searched: Tesseract is not installed"


def test_a_program_that_fails_leaves_out_what_it_should_have_read() -> None:
    class Broken(Reader):
        def letters(self, pictures: Sequence[np.ndarray], scale: int = SCALES[0]) -> list[Letters]:
            raise RuntimeError

    plain, suspect = Decoded(anatomy(64), "0" * 64), Decoded(anatomy(64), "1" * 64, ((0, 8, 0, 32),))
    pairs = [(case(0), plain), (case(1), suspect)]
    results = [result for _, result in TextSearch("keep", Broken("", "")).search(pairs)]
    assert results[0] is plain
    assert isinstance(results[1], DicomError)
    assert results[1].reason == "text not searched"


def test_a_spot_on_which_the_program_fails_costs_its_own_image_alone() -> None:
    class Brittle(Reader):
        def letters(self, pictures: Sequence[np.ndarray], scale: int = SCALES[0]) -> list[Letters]:
            if any(picture.shape == (9, 32) for picture in pictures):
                raise RuntimeError
            return super().letters(pictures, scale)

    boxes = (((0, 8, 0, 32),), ((0, 9, 0, 32),), ((0, 8, 0, 32), (20, 29, 0, 32)), ((0, 8, 0, 32),))
    pairs = [(case(n), Decoded(anatomy(64), str(n) * 64, box)) for n, box in enumerate(boxes)]
    results = [result for _, result in TextSearch("keep", Brittle("", "")).search(pairs)]
    assert [isinstance(result, DicomError) for result in results] == [False, True, True, False]


def test_order_and_memory_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burned_in, "_BYTES", 3 * 64 * 64 * 4)
    taken: list[int] = []

    def decoded() -> Any:
        for number in range(20):
            taken.append(number)
            yield case(number), Decoded(anatomy(64), str(number), ((0, 8, 0, 32),) * (number % 2))

    search = TextSearch("keep", Reader("", ""))
    for place, (scan, image) in enumerate(search.search(decoded())):
        assert isinstance(image, Decoded)
        assert (scan.case, image.file_sha256) == (str(place), str(place))
        assert len(taken) <= place + 4
    assert len(search.searched) == 20


@needs_tesseract
def test_tesseract_reads_each_picture_by_itself() -> None:
    program = find_tesseract()
    assert program is not None
    pictures, truth = [], []
    for number in range(8):
        clean = anatomy(128, number)
        image = with_text(clean, WORDS, (4, 2), 10 + number) if number % 2 else clean
        pictures.append(image[:30])
        truth.append(bool(number % 2))
    assert program.texts(pictures) == truth
    assert program.texts([]) == []
    assert program.version


@needs_tesseract
@pytest.mark.parametrize("scale", SCALES)
def test_what_is_read_in_a_picture_does_not_depend_on_its_neighbours(scale: int) -> None:
    program = find_tesseract()
    assert program is not None
    draw = np.random.default_rng(7)
    pictures = [with_text(anatomy(128, n), WORDS, (4, 2), 8 + 2 * n, 0.5 + n / 12)[: 24 + 4 * n] for n in range(6)]
    pictures += [draw.normal(0, 1, (24, 96)).astype(np.float32).repeat(2, 1), anatomy(64, 9)]
    alone = [program.letters([picture], scale)[0] for picture in pictures]
    order = draw.permutation(len(pictures))
    together = program.letters([pictures[place] for place in order], scale)
    assert together == [alone[place] for place in order]
    assert len({letters.guessed for letters in alone}) > 3


@needs_tesseract
def test_text_is_found_and_blackened_by_tesseract(study: Callable[..., Study]) -> None:
    summary = stage.ingest(study(burned_in="blacken"), KEY)
    assert summary.cases == 6
    assert "1 hold text (1 blackened and read again)" in summary.facts.text_search
    assert "private/" not in summary.facts.text_search, "it stands in what leaves, too"


@pytest.mark.parametrize("program", ["exit 1", "echo tesseract 5.3.0"], ids=["fails", "without its language"])
def test_a_program_that_does_not_work_counts_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    (tmp_path / "tesseract").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "tesseract").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    tesseract.find_tesseract.cache_clear()
    try:
        assert find_tesseract() is None
    finally:
        tesseract.find_tesseract.cache_clear()
