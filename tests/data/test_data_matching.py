import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scans import as_ordinary_user, save_dicom

from scansynth.data.labels.read import read_labels
from scansynth.data.scans.matching import Found, match
from scansynth.data.scans.sources import find_sources
from scansynth.dicom.read import CLOSED_FOLDER, Limits, read_header
from scansynth.errors import CohortError, DicomError

DRAW = np.random.default_rng(0)


def folder_of(root: Path, *names: str) -> Path:
    for name in names:
        save_dicom(root / name, DRAW.integers(0, 999, (16, 16)))
    return root


def seen(root: Path) -> Found:
    def header(path: Path) -> Any:
        try:
            return read_header(path, Limits())
        except DicomError as fault:
            return fault

    return [(source, header(source.path)) for source in find_sources(root)]


def matched(root: Path, *paths: str, column: str = "path") -> tuple[dict[str, int], tuple[str, ...]]:
    """Row of each file by its name, and the notes."""
    table = root / "labels.csv"
    table.write_text("\n".join([f"{column},label", *(f'"{path}",nodule' for path in paths)]) + "\n", encoding="utf-8")
    found = seen(root)
    rows, notes = match(read_labels(table), found)
    return {source.relative: row.row for (source, _), row in zip(found, rows, strict=True) if row}, notes


def refusal(root: Path, *paths: str, column: str = "path") -> str:
    with pytest.raises(CohortError) as caught:
        matched(root, *paths, column=column)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_name_is_found_however_it_is_spelled(tmp_path: Path) -> None:
    composed = unicodedata.normalize("NFC", "M\u00fcller/i0.dcm")
    decomposed = unicodedata.normalize("NFD", composed)
    assert composed != decomposed
    for on_disk, in_table in ((composed, decomposed), (decomposed, composed)):
        root = folder_of(tmp_path / str(on_disk == composed), on_disk)
        assert matched(root, in_table) == ({on_disk: 2}, ())
    root = folder_of(tmp_path / "plain", "a/B.DCM", "a/1.2.3", "c d.dcm")
    found, notes = matched(root, ".\\a\\b.dcm", "./a//1.2.3.dcm", "C D")
    assert found == {"a/B.DCM": 2, "a/1.2.3": 3, "c d.dcm": 4}
    assert len(notes) == 1
    assert "3 rows" in notes[0]
    assert "row 2" in notes[0]


def test_only_the_one_file_that_fits_is_taken(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "x/a.dcm", "x/A.dcm", "1.2.3", "1.2.4")
    assert matched(root, "x/a.dcm", "x/A.dcm")[0] == {"x/a.dcm": 2, "x/A.dcm": 3}
    assert matched(root, "x/A.dcm", "x/a")[0] == {"x/A.dcm": 2, "x/a.dcm": 3}
    assert "2 files have this name apart from case" in refusal(root, "X/A.DCM")
    assert "row 2: there is no such file" in refusal(root, "1.2.5")  # a UID's last part is no ending
    assert "rows 2 and 3 name the same file" in refusal(root, "1.2.3.dcm", "1.2.3.DCM")


def test_absent_images_are_counted(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "a", "b")
    assert all(word in refusal(root, "a", "y", "z") for word in ("row 3", "2 rows"))
    assert "one folder higher" in refusal(root, "dicom/a")
    (root / ".hidden").write_bytes(b"x")
    assert "is skipped" in refusal(root, ".hidden")
    assert all(word in refusal(root, "1.2", "1.3", column="sop_instance_uid") for word in ("row 2", "2 rows"))


def test_a_uid_of_a_file_that_cannot_be_read_is_accounted_for(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "a", "b")
    cut = (root / "b").read_bytes()
    (root / "b").write_bytes(cut[: len(cut) // 2])
    uid = next(header.sop_instance_uid for _, header in seen(root) if not isinstance(header, DicomError))
    found, notes = matched(root, uid, "1.2.77", column="sop_instance_uid")
    assert found == {"a": 2}
    assert all(word in notes[0] for word in ("1 row", "row 3", "excluded.csv"))
    message = refusal(root, uid, "1.2.77", "1.2.78", column="sop_instance_uid")
    assert "1 files could not be read" in message


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    far = folder_of(tmp_path / "far", "p0/i0", "p1/i0")
    root = folder_of(tmp_path / "scans", "own/i0")
    (root / "p0").symlink_to(far / "p0")
    (root / "all").symlink_to(far)
    (root / "circle").symlink_to(root)
    (root / "up").symlink_to(tmp_path)
    (far / "p1" / "back").symlink_to(root / "own")
    (root / "one").symlink_to(root / "two")
    (root / "two").symlink_to(root / "one")
    # links in the alphabet's order; what was reached already is not read again
    assert [source.relative for source in find_sources(root)] == ["all/p0/i0", "all/p1/i0", "own/i0"]
    # a row may name a file by the other way to it
    assert matched(root, "p0/i0", "all/p1/back/i0")[0] == {"all/p0/i0": 2, "own/i0": 3}


def test_a_folder_without_leave_is_named_as_what_it_is(open_path: Path) -> None:
    root = folder_of(open_path / "scans", "a/i0", "closed/i0", "listed/i0")
    closed, listed = root / "closed", root / "listed"
    closed.chmod(0)
    listed.chmod(0o644)
    open_path.chmod(0o555)
    table = open_path.parent / f"{open_path.name}.csv"
    table.write_text("path,label\na/i0,x\nclosed/i0,y\nlisted/i0,y\n")
    try:
        with as_ordinary_user(open_path):
            found = seen(root)
            reasons = {source.relative: getattr(header, "reason", "") for source, header in found}
            assert reasons == {"a/i0": "", "closed": CLOSED_FOLDER, "listed/i0": "cannot be read"}
            rows, notes = match(read_labels(table), found)
            assert [row and row.row for row in rows] == [2, None, 4]
            assert "may not read" in notes[0]
            closed.chmod(0o755)
            root.chmod(0)
            with pytest.raises(CohortError, match="may not be read"):
                find_sources(root)
    finally:
        table.unlink()
        for path in (open_path, root, closed, listed):
            path.chmod(0o755)


def test_hostile_trees_end(tmp_path: Path) -> None:
    """Folders that lead to each other in every way: linear, not factorial."""
    names = [f"d{n}" for n in range(12)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "i").write_bytes(b"x")
    for name in names:
        for other in names:
            (tmp_path / name / f"to_{other}").symlink_to(tmp_path / other)
    os.mkfifo(tmp_path / "pipe")
    assert len(find_sources(tmp_path)) == 12
