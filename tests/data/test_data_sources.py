import os
from pathlib import Path

import pytest

from scansynth.data.scans.sources import find_sources, listing_digest
from scansynth.errors import CohortError


def tree(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_candidates_in_a_stable_order(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "b/IM2",
        "b/IM10",
        "a.dcm",
        "labels.csv",
        "masks/m.png",
        ".hidden",
        ".git/x",
        "DICOMDIR",
        "b/notes.txt",
    )
    tree(tmp_path, "mine/study.toml", "mine/synthetic/main/dicom/000000.dcm")
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "a.dcm")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    assert [source.relative for source in find_sources(tmp_path)] == ["a.dcm", "b/IM10", "b/IM2", "linked"]


def test_a_name_that_is_not_utf8_is_found(tmp_path: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path), b"M\xfcller"), "wb") as stream:  # noqa: PTH118, PTH123 - bytes
        stream.write(b"x")
    assert len(find_sources(tmp_path)) == 1
    assert len(listing_digest(tmp_path)) == 64


def test_the_digest_follows_name_size_and_time(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b")
    for name in ("a", "b"):
        os.utime(tmp_path / name, ns=(5, 5))
    seen = {listing_digest(tmp_path)}
    assert listing_digest(tmp_path) in seen
    os.utime(tmp_path / "a", ns=(6, 6))
    seen.add(listing_digest(tmp_path))
    (tmp_path / "a").rename(tmp_path / "c")
    seen.add(listing_digest(tmp_path))
    (tmp_path / "c").write_bytes(b"xy")
    os.utime(tmp_path / "c", ns=(6, 6))
    seen.add(listing_digest(tmp_path))
    assert len(seen) == 4
    tree(tmp_path, "labels.csv")
    assert listing_digest(tmp_path) in seen


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="does not exist"):
        find_sources(tmp_path / "none")
