"""What stands beside an image whose truth was told; and teaching, which is no study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import browsers
from image_sets import put_set
from study_factory import make_study, small, textured

from scansynth.data.tensors import load_facts
from scansynth.errors import ReaderError
from scansynth.files import read_json
from scansynth.reader.buffers import decode, render
from scansynth.reader.close import close
from scansynth.reader.design import draw
from scansynth.reader.nearest import nearest
from scansynth.reader.pool import gather
from scansynth.reader.server.app import create_app
from scansynth.reader.server.locked import export_readings
from scansynth.reader.server.worklist import BUFFERS, load_worklist
from scansynth.reader.teach import make_teaching
from scansynth.study import Study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("teach") / "study")


def test_the_nearest_is_the_one_that_looks_alike_and_never_of_the_same_patient() -> None:
    candidates = textured(6, 1, 40)
    images = np.concatenate([candidates[[4, 2]] // 2 + 500, candidates[:1]])  # darker, and flatter: the same anatomy
    owners = ["a", "b", "c", "d", "e", "f"]
    assert nearest(images, ["", "", ""], candidates, owners) == (4, 2, 0)
    assert nearest(images, ["e", "x", "x"], candidates, owners)[0] != 4
    assert nearest(images, ["a"] * 3, candidates[:1], ["a"]) == (-1, -1, -1)
    assert nearest(images[:0], [], candidates, owners) == ()


def test_practice_and_references_are_of_train_patients_and_of_others(study: Study) -> None:
    pool = gather(study)
    design = draw(pool, small(practice=6, references=5), 3, 1)
    patients = {one.patient for one in design.practice if not one.synthetic}
    beside = {one.patient for one in design.references}
    assert len(beside) == 5
    assert not beside & patients
    assert beside <= {one.patient for one in pool.practice}
    rendered = render(design, pool, np.random.default_rng(0))
    assert set(rendered.nearest_names) | set(rendered.reference_names) == rendered.aside.keys()
    assert not set(rendered.nearest_names) & set(rendered.reference_names)
    assert all(not (image % 257).any() for image in rendered.aside.values())
    with pytest.raises(ReaderError, match=r"reader.references to 17 or fewer"):
        draw(pool, small(practice=6, references=18), 3, 1)


def test_teaching_tells_the_truth_and_cannot_be_analysed(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    masks = np.zeros((60, 48, 48), np.uint8)
    masks[::2, 10:20, 5:9] = 1
    put_set(study.synthetic(), load_facts(study.cohort), textured(60, 7), ("nodule", "mass"), masks=masks)
    made = make_teaching(study, 10, people=2)
    worklist = load_worklist(made.worklist)
    assert worklist.teaching
    assert [len(seat.practice) for seat in worklist.readers] == [10, 10]
    answers = [place.answer for place in worklist.readers[0].practice]
    assert sorted(answers) == ["real"] * 5 + ["synthetic"] * 5
    record = read_json(study.teaching / "stage.json")
    assert record["roles"] == ["train"]
    outlined = next(place for place in worklist.readers[0].practice if place.mask)
    shown = decode((made.worklist / BUFFERS / f"{outlined.mask}.bin").read_bytes(), 48, 48)
    assert (np.argwhere(shown > 0).min(0).tolist(), np.argwhere(shown > 0).max(0).tolist()) == ([10, 5], [19, 8])

    with browsers(create_app(made.worklist)) as (browser,):
        browser.begin(made.invitations["r01"])
        state: dict[str, Any] = browser.state()
        assert (state["teaching"], state["phase"], state["practice_total"], state["review"]) == (
            True,
            "practice",
            10,
            [],
        )
        for place in worklist.readers[0].practice:
            assert browser.get(f"/api/nearest/{place.item}").status_code == 404, "not before the answer"
            state = browser.lock(place.item, 4).json()
            assert state["feedback"] == {"truth": place.answer, "nearest": True, "mask": bool(place.mask)}
            for path, name in (("nearest", place.nearest), ("mask", place.mask)):
                found = browser.get(f"/api/{path}/{place.item}")
                assert found.status_code == (200 if name else 404)
                assert not name or found.content == (made.worklist / BUFFERS / f"{name}.bin").read_bytes()
        assert (state["phase"], len(state["review"]), state["last"]) == ("done", 10, None)
    with pytest.raises(ReaderError, match="for teaching"):
        export_readings(made.worklist)
    with pytest.raises(ReaderError, match="for teaching"):
        close(study, worklist_folder=made.worklist)
    with pytest.raises(ReaderError, match="already exist"):
        make_teaching(study, 10)


def test_teaching_needs_enough_of_both_kinds(study: Study) -> None:
    with pytest.raises(ReaderError, match="--images 40 or fewer"):
        make_teaching(study, 42)
