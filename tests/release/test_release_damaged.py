"""Releases, registers and journals that somebody damaged or filled in by hand: a line, never a traceback.

Hashes are made to fit and the signature is taken away, so that only what a release *is* can tell.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from command_line import scansynth

from scansynth.dicom.released import departures, free_facts, read_released
from scansynth.dicom.write import SyntheticFacts, as_written, image_uids, storage_class, write_synthetic
from scansynth.dicom.write_seg import write_segmentation
from scansynth.errors import ReleaseError
from scansynth.files import read_csv, read_json, sha256_file, write_csv
from scansynth.release.manifest import ALWAYS, MANIFEST, PUBLIC_KEY, SIGNATURE, TABLE, listing, read_manifest
from scansynth.release.policy import written
from scansynth.release.register import PRINTS, REGISTER, whose
from scansynth.release.verify import verify
from scansynth.study import Study

IMAGE = "dicom/000003.dcm"


@pytest.fixture
def changed(released: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(released, tmp_path / "release"))


def put(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**read_json(path), **values}))


def fit(folder: Path) -> None:
    """Makes the hashes fit, and takes the signature away."""
    put(folder / MANIFEST, files={name: sha256_file(path) for name, path in listing(folder).items()})
    (folder / SIGNATURE).unlink()
    (folder / PUBLIC_KEY).unlink()


def test_a_release_lists_the_files_that_it_should(released: Path) -> None:
    images = {row[name] for row in read_csv(released / TABLE) for name in ("file", "mask", "png", "png_mask")} - {""}
    assert listing(released).keys() == ALWAYS | images


@pytest.mark.parametrize("value", ["abc", "", "-1", "3.0", "1" + "0" * 30, "4"])
def test_an_index_that_is_none_is_told(changed: Path, value: str) -> None:
    rows = read_csv(changed / TABLE)
    next(row for row in rows if row["index"] == "3")["index"] = value
    write_csv(changed / TABLE, list(rows[0]), rows)
    fit(changed)
    assert any("has an index that is no number" in fault for fault in verify(changed).faults)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x80", b"id,file\n\0", b'id\n"' + b"a" * 200_000 + b'"\n'])
def test_a_table_that_cannot_be_read_is_told(changed: Path, data: bytes) -> None:
    (changed / TABLE).write_bytes(data)
    fit(changed)
    assert [fault for fault in verify(changed).faults if fault.startswith("images.csv cannot be read")]


@pytest.mark.parametrize(
    "values",
    [
        {"files": []}, {"files": "x"}, {"files": {"a": 1}}, {"images": "x"}, {"weights_sha256": [5]}, {"override": 5},
        {"drawing": {"seed": "x"}}, {"drawing": {"drawn": "7"}}, {"drawing": {"drawn": 0}}, {"drawing": {"low": "x"}},
        {"drawing": {"low": 5.0, "high": 1.0}}, {"drawing": {"modality": 5}}, {"drawing": {"more": 1}},
    ],
    ids=str,
)  # fmt: skip
def test_a_manifest_with_a_value_of_another_kind_is_damaged(changed: Path, values: dict[str, Any]) -> None:
    if "drawing" in values:
        values = {"drawing": {**read_json(changed / MANIFEST)["drawing"], **values["drawing"]}}
    put(changed / MANIFEST, **values)
    with pytest.raises(ReleaseError, match="damaged"):
        read_manifest(changed)


def test_a_manifest_that_is_nested_without_end_is_damaged(changed: Path) -> None:
    (changed / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(ReleaseError, match="damaged"):
        read_manifest(changed)


def edited(change: Callable[[pydicom.Dataset], object]) -> Callable[[Path], None]:
    """What changes the data set of an image."""

    def edit(folder: Path) -> None:
        found = pydicom.dcmread(folder / IMAGE)
        change(found)
        found.save_as(folder / IMAGE)

    return edit


@pytest.mark.parametrize(
    ("keyword", "change"),
    [
        (
            "ContributingEquipmentSequence",
            lambda x: setattr(x.ContributingEquipmentSequence[0], "StationName", "A"),
        ),
        ("PatientName", lambda x: setattr(x, "PatientName", "SYNTHETIC^MILLER ANNA")),
        ("PatientID", lambda x: setattr(x, "PatientID", "SYN-1957-0301")),
        ("ImageComments", lambda x: setattr(x, "ImageComments", "Miller, Anna")),
        ("SeriesDescription", lambda x: setattr(x, "SeriesDescription", "synthetic Miller")),
        ("StudyInstanceUID", lambda x: setattr(x, "StudyInstanceUID", "1.2.840.113619.2.55")),
        ("SourceApplicationEntityTitle", lambda x: setattr(x.file_meta, "SourceApplicationEntityTitle", "ELSEWHERE")),
        ("RescaleSlope", lambda x: setattr(x, "RescaleSlope", "2")),
        ("PixelSpacing", lambda x: setattr(x, "PixelSpacing", [9, 9])),
        ("Modality", lambda x: setattr(x, "Modality", "CT")),
    ],
)
def test_a_text_or_number_that_scansynth_does_not_write_is_named(
    changed: Path, keyword: str, change: Callable[[pydicom.Dataset], object]
) -> None:
    edited(change)(changed)
    fit(changed)
    [fault] = verify(changed).faults
    assert fault.startswith(f"{IMAGE}: (")
    assert f"{keyword} is not as scansynth writes it" in fault
    assert "Miller" not in fault
    assert "MILLER" not in fault


def test_fewer_rows_than_pixels_are_told(changed: Path) -> None:
    edited(lambda found: setattr(found, "Rows", 1))(changed)
    fit(changed)
    assert verify(changed).faults == (f"{IMAGE}: its pixels do not fit its header",)


def test_the_mask_of_another_image_is_told(changed: Path) -> None:
    first, second = [row["mask"] for row in read_csv(changed / TABLE) if row["mask"]][:2]
    shutil.copyfile(changed / second, changed / first)
    fit(changed)
    faults = verify(changed).faults
    assert any(fault.startswith(f"{first}: (0008,0018)") for fault in faults)
    assert all(fault.startswith(first) for fault in faults)


@pytest.mark.parametrize("name", ["evidence/real.npy", "gan/discriminator.safetensors", "dicom/more.dcm"])
def test_a_file_that_no_release_has_is_told(changed: Path, name: str) -> None:
    (changed / name).parent.mkdir(exist_ok=True)
    (changed / name).write_bytes(b"x")
    fit(changed)
    assert f"no file of a release: {name}" in verify(changed).faults


def test_an_empty_folder_and_a_missing_part_are_told(changed: Path) -> None:
    (changed / "Miller").mkdir()
    assert "extra file: Miller/" in verify(changed).faults
    (changed / "Miller").rmdir()
    (changed / "evidence" / "claims.json").unlink()
    (changed / "evidence").rmdir()
    fit(changed)
    assert verify(changed).faults == ("a release lacks evidence/claims.json",)


def test_a_damaged_generator_is_told_without_advice_for_the_study(changed: Path) -> None:
    put(changed / "generator" / "generator.json", family="none")
    fit(changed)
    assert verify(changed).faults == ("the generator cannot draw: generator.json of the run generator is damaged",)


def test_a_file_that_an_earlier_version_wrote_is_accepted(changed: Path) -> None:
    edited(lambda found: setattr(found.file_meta, "ImplementationVersionName", "SCANSYNTH_0.0.9"))(changed)
    fit(changed)
    assert verify(changed).faults == ()


@pytest.mark.parametrize("values", [{"threshold": "x"}, {"aspect": 0}, {"aspect": "x"}, {"tried": None}], ids=str)
def test_a_register_with_a_value_of_another_kind_is_damaged(changed: Path, values: dict[str, Any]) -> None:
    put(changed / REGISTER, **values)
    with pytest.raises(ReleaseError, match="the register of the release in"):
        whose(changed / "png" / "000003.png", (changed,))


def test_prints_or_a_table_of_nothing_are_damaged(changed: Path) -> None:
    prints = np.load(changed / PRINTS)
    (changed / PRINTS).write_bytes(b"")
    with pytest.raises(ReleaseError, match="missing or damaged"):
        whose(changed / "png" / "000003.png", (changed,))
    np.save(changed / PRINTS, prints)
    (changed / TABLE).write_text("a,b\n" * (len(prints) + 1))
    with pytest.raises(ReleaseError, match="missing or damaged"):
        whose(changed / "png" / "000003.png", (changed,))


@pytest.mark.parametrize("added", [b"5\n", b"[1]\n", b'"x"\n', b"\xff\n"], ids=["number", "list", "text", "no text"])
def test_a_line_of_a_journal_that_is_none_is_told(
    whole_study: Study, released: Path, tmp_path: Path, added: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(whole_study.folder, tmp_path / "study"))
    with (folder / "journal.jsonl").open("ab") as stream:
        stream.write(added)
    assert scansynth("journal", folder) == 2
    assert "the journal was changed" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["TODO", "tbd: ask", "-", " ? ", "to fill in", "(TO FILL IN: on what law)"])
def test_what_stands_in_for_a_text_is_not_written(text: str) -> None:
    assert not written(text)
    assert written("GDPR art. 9(2)(j)")
    assert written("keine")
    assert written("2036-12-31")


@pytest.mark.parametrize("label", ["nodule", "Knoten\\or other " * 6, ""])
@pytest.mark.parametrize(
    ("modality", "low", "high", "plane", "part"),
    [
        ("MR", 0.0, 1200.0, "axial", "CHEST"), ("MR", 0.1234567891, 9000.7, "sagittal", ""),
        ("MR", 0.0, 1200.0, "", ""),
        ("CT", -1000.0, 400.0, "coronal", ""), ("CT", -1000.0, 400.0, "", "CHEST"), ("US", 0.0, 255.0, "", ""),
    ],
)  # fmt: skip
def test_what_is_written_is_what_is_expected(
    tmp_path: Path, label: str, modality: str, low: float, high: float, plane: str, part: str
) -> None:
    uids = image_uids("1" * 64, 5, 7)
    facts = SyntheticFacts(
        modality, storage_class(modality, plane), low, high, (1.0 / 3.0, 0.70312512345678), label, "1" * 64, uids, 8,
        plane, part,
    )  # fmt: skip
    image = np.random.default_rng(4).integers(0, 65536, (21, 13)).astype(np.uint16)
    lesion = (image > 50000).astype(np.uint8)
    write_synthetic(tmp_path / "image.dcm", image, facts)
    write_segmentation(tmp_path / "mask.dcm", as_written(image, facts), lesion, facts)
    found, mask = read_released(tmp_path / "image.dcm"), read_released(tmp_path / "mask.dcm")
    assert found is not None
    assert mask is not None
    told = free_facts(found)
    assert (told[0], told[2]) == (plane, part)
    again = replace(facts, spacing=told[1], plane=told[0], body_part=told[2])
    assert departures(found, mask, again) == ([], [])
