"""The contract of image sets: what is written is read back, and what does not fit together is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from image_sets import change_set, put_set

from scansynth.data.imageset import FACTS, IMAGES, Kind, SetWriter, as_planes, open_set
from scansynth.data.sets import load_set
from scansynth.data.tensors import CohortFacts
from scansynth.errors import CohortError

COHORT = CohortFacts(
    modality="MR", sop_class_uid="1.2", shape=(24, 40), view="chest", labels=("clear", "nodule"), positive="nodule",
    unlabelled=False, files_found=3, excluded={}, low=0.0, high=900.0, spacing=(1.5, 1.25), bits_stored=12,
    signed=False, rescale_slope=1.0, rescale_intercept=0.0, key_fingerprint="k",
)  # fmt: skip


def drawn(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (count, 24, 40)).astype(np.uint16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    masks = np.zeros((3, 24, 40), np.uint8)
    masks[1, 3:6, 7:9] = 1
    put_set(tmp_path / "made", COHORT, drawn(), ["nodule", "clear", "nodule"], masks, seed=[7] * 3)
    return tmp_path / "made"


def test_a_set_is_read_back_as_it_was_written(folder: Path) -> None:
    made = load_set(folder, COHORT)
    assert np.array_equal(made.planes, drawn())
    assert made.images.shape == (3, 1, 24, 40)
    assert made.masks is not None
    assert made.masks.sum(axis=(1, 2)).tolist() == [0, 6, 0]
    assert made.labels == ("nodule", "clear", "nodule")
    assert made.ids == ("000000", "000001", "000002")
    assert {row["spacing_col"] for row in made.rows} == {"1.25"}
    assert (made.facts.kind, made.facts.shape, made.facts.channels) == (Kind.GENERATED, (24, 40), ("grey",))


def test_it_is_opened_once_while_it_stays_as_it_is(folder: Path) -> None:
    first = open_set(folder)
    assert open_set(folder) is first
    changed = change_set(folder, images=drawn()[:, ::-1])
    assert changed is not first
    assert np.array_equal(changed.planes, drawn()[:, ::-1])


def test_images_stay_on_disk(folder: Path) -> None:
    assert isinstance(open_set(folder).images, np.memmap)


@pytest.mark.parametrize("name", ["images.npy", "masks.npy", "cases.csv"])
def test_an_altered_or_missing_file_is_named(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[-2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(CohortError, match=f"{name} of made was altered .*; generate the set again"):
        load_set(folder, COHORT)
    (folder / name).unlink()
    with pytest.raises(CohortError, match=f"{name} of made is missing"):
        load_set(folder, COHORT)


def test_a_set_of_another_shape_is_refused(folder: Path, tmp_path: Path) -> None:
    put_set(tmp_path / "other", COHORT, drawn()[:, :, :24], "nodule")
    with pytest.raises(CohortError, match="24 x 24 pixels, and the cohort of 24 x 40 pixels"):
        load_set(tmp_path / "other", COHORT)


def test_an_empty_and_an_absent_set_are_refused(tmp_path: Path) -> None:
    put_set(tmp_path / "none", COHORT, drawn(0), "nodule")
    with pytest.raises(CohortError, match="empty"):
        load_set(tmp_path / "none", COHORT)
    with pytest.raises(CohortError, match="there is no image set absent; run: scansynth generate"):
        load_set(tmp_path / "absent", COHORT)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "format 2"),
        ({"kind": "odd"}, "damaged"),
        ({"shape": [24]}, "damaged"),
        ({"files": {}}, "damaged"),
        ({"shape": [24, 41]}, "has the shape"),
        ({"channels": ["one", "two"]}, "has the shape"),
    ],
)
def test_facts_that_do_not_fit_are_refused(folder: Path, change: dict[str, object], words: str) -> None:
    values = json.loads((folder / FACTS).read_text())
    (folder / FACTS).write_text(json.dumps(values | change))
    with pytest.raises(CohortError, match=words):
        open_set(folder)


def test_a_table_of_too_few_rows_is_refused(folder: Path) -> None:
    with pytest.raises(CohortError, match="has the shape"):
        change_set(folder, rows=open_set(folder).rows[:2])


def test_a_table_that_names_an_image_twice_is_refused(folder: Path) -> None:
    rows = [dict(row) for row in open_set(folder).rows]
    with pytest.raises(CohortError, match="names an image twice"):
        change_set(folder, rows=[rows[0]] * 3, images=drawn())


def test_a_table_without_a_needed_column_is_refused(folder: Path) -> None:
    rows = [{name: text for name, text in row.items() if name != "label"} for row in open_set(folder).rows]
    with pytest.raises(CohortError, match="lacks the column label"):
        change_set(folder, rows=rows)


def test_channels_stand_below_each_other(tmp_path: Path) -> None:
    images = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
    with SetWriter(tmp_path, (4, 5), ("t1", "t2", "flair")) as writer:
        for image in images:
            writer.append(image)
    rows = [dict.fromkeys(("id", "label", "low", "high", "spacing_row", "spacing_col"), str(n)) for n in range(2)]
    writer.finish(Kind.ADDED, "MR", rows)
    made = open_set(tmp_path)
    assert np.array_equal(made.images, images)
    assert made.planes.shape == (2, 12, 5)
    assert np.array_equal(as_planes(images)[:, 4:8], images[:, 1])


def test_an_image_of_another_shape_is_refused_while_writing(tmp_path: Path) -> None:
    with SetWriter(tmp_path, (4, 5)) as writer, pytest.raises(ValueError, match="shape"):
        writer.append(np.zeros((5, 4), np.uint16))
    assert (tmp_path / IMAGES).is_file()
