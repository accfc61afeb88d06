"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scans import as_ordinary_user

from scansynth import files
from scansynth.errors import StorageError


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def stop(folder: Path, fault: BaseException) -> None:
    """Writes something, and stops."""
    (folder / "new").touch()
    raise fault


def refuse_renames(monkeypatch: pytest.MonkeyPatch, fault: BaseException, after: int = 0) -> None:
    """Lets `after` renames pass, and raises `fault` at the next one."""
    left = [after]
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if left[0] == 0:
            left[0] = -1
            raise fault
        left[0] -= 1
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)


def test_write_bytes_leaves_the_content_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file"
    files.write_bytes(target, b"old")
    files.write_bytes(target, b"new", mode=0o600)
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o600
    assert names(target.parent) == {"file"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES])
def test_a_refused_write_keeps_the_old_file_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    target = tmp_path / "file"
    files.write_bytes(target, b"old")

    def refuse(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="cannot write") as refusal:
        files.write_bytes(target, b"new")
    assert "\n" not in str(refusal.value)
    assert ("free some space" in str(refusal.value)) == (code in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == {"file"}


def test_another_fault_of_the_system_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EBADF, "planted")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="planted"):
        files.write_bytes(tmp_path / "file", b"new")
    assert names(tmp_path) == set()


def test_a_read_only_folder_is_refused_in_one_line(open_path: Path) -> None:
    folder = open_path / "closed"
    folder.mkdir(mode=0o555)
    with as_ordinary_user(folder), pytest.raises(StorageError, match="make the folder writable"):
        files.write_text(folder / "file", "text")


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path: Path) -> None:
    """A real refusal by the kernel, in a child process with its own limit."""
    program = """
import resource, sys
from pathlib import Path
from scansynth import files
from scansynth.errors import StorageError
target = Path(sys.argv[1])
files.write_bytes(target, b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    files.write_bytes(target, bytes(5000))
except StorageError as fault:
    print(fault)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "file")], check=True, capture_output=True, text=True
    )
    assert "free some space" in done.stdout
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == {"file"}


def test_json_is_canonical_and_refuses_what_is_no_number(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, None]})
    files.write_json(tmp_path / "b.json", {"a": [1.5, None], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert files.read_json(tmp_path / "a.json") == {"a": [1.5, None], "b": 1}
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "c.json", float("nan"))
    assert files.sha256_json({"b": 1, "a": 2}) == files.sha256_json({"a": 2, "b": 1})
    assert files.sha256_json([1, 2]) != files.sha256_json([2, 1])


def test_csv_comes_back_and_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    rows = [{"x": "a,b", "y": 'say "no"'}, {"x": "line\nbreak", "y": ""}]
    files.write_csv(tmp_path / "t.csv", ["x", "y"], rows)
    assert files.read_csv(tmp_path / "t.csv") == rows
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbfx,y\n1,2\n")
    assert files.read_csv(tmp_path / "bom.csv") == [{"x": "1", "y": "2"}]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers()), max_size=5), st.data())
def test_lines_cut_anywhere_lose_the_last_line_alone(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("lines") / "log.jsonl"
    for row in [*rows, {"last": 1}]:
        files.append_json_line(path, row)
    whole = path.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    path.write_bytes(whole[: data.draw(st.integers(start, len(whole) - 2))])
    assert files.read_json_lines(path) == rows
    files.append_json_line(path, {"next": 2})
    assert files.read_json_lines(path) == [*rows, {"next": 2}]


def test_no_file_has_no_lines(tmp_path: Path) -> None:
    assert files.read_json_lines(tmp_path / "none") == []
    files.write_json_lines(tmp_path / "log", [{"a": 1}, {"b": 2}])
    assert files.read_json_lines(tmp_path / "log") == [{"a": 1}, {"b": 2}]


def test_a_new_folder_takes_the_place_of_the_old_one_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "set"
    for content in ("old", "new"):
        with files.new_directory(target) as folder:
            (folder / content).write_text(content)
            assert not (target / content).exists()
    assert names(target) == {"new"}
    assert names(tmp_path) == {"set"}


@pytest.mark.parametrize("fault", [ValueError("planted"), KeyboardInterrupt()])
def test_a_fault_inside_leaves_the_old_folder(tmp_path: Path, fault: BaseException) -> None:
    target = tmp_path / "set"
    with files.new_directory(target) as folder:
        (folder / "old").touch()
    with pytest.raises(type(fault)), files.new_directory(target) as folder:
        stop(folder, fault)
    assert names(target) == {"old"}
    assert names(tmp_path) == {"set"}


def test_ctrl_c_between_the_two_renames_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "set"
    with files.new_directory(target) as folder:
        (folder / "old").touch()
    refuse_renames(monkeypatch, KeyboardInterrupt(), after=1)
    with pytest.raises(KeyboardInterrupt), files.new_directory(target) as folder:
        (folder / "new").touch()
    assert names(target) == {"old"}
    assert names(tmp_path) == {"set"}


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    """A child process kills itself where the old folder is set aside and the new one is not yet in place."""
    program = """
import os, signal, sys
from pathlib import Path
from scansynth import files
target = Path(sys.argv[1])
with files.new_directory(target) as folder:
    (folder / "old").touch()
real, done = Path.rename, []
def rename(self, other):
    if done:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(real(self, other))
Path.rename = rename
with files.new_directory(target) as folder:
    (folder / "new").touch()
"""
    target = tmp_path / "set"
    done = subprocess.run([sys.executable, "-c", program, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    with files.new_directory(target):
        assert names(target) == {"old"}
    assert names(target) == set()
    assert names(tmp_path) == {"set"}


def test_remains_are_cleared_and_those_of_others_are_not(tmp_path: Path) -> None:
    target = tmp_path / "set"
    others = {".other.scansynth-new-abc", ".set.backup-2024", ".set.old-photos"}
    for name in (".set.scansynth-new-abc", ".set.scansynth-old-abc", "set", *others):
        (tmp_path / name).mkdir()
    (target / "kept").touch()
    with pytest.raises(ValueError, match="planted"), files.new_directory(target) as folder:
        stop(folder, ValueError("planted"))
    assert names(tmp_path) == {"set", *others}
    assert names(target) == {"kept"}


def test_hashes_are_sha256(tmp_path: Path) -> None:
    data = random.Random(0).randbytes(3_000_000)
    (tmp_path / "f").write_bytes(data)
    assert files.sha256_file(tmp_path / "f") == files.sha256_bytes(data) == hashlib.sha256(data).hexdigest()
    assert (
        files.sha256_json({"a": 1}) == hashlib.sha256(json.dumps({"a": 1}, separators=(",", ":")).encode()).hexdigest()
    )


def test_a_folder_is_synced_whole_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real, place = files._sync, tmp_path / "set"

    def sync(path: Path) -> None:
        synced.append(path.name)
        assert place.exists() == (path == tmp_path), "all but the folder above is synced before the rename"
        real(path)

    monkeypatch.setattr(files, "_sync", sync)
    with files.new_directory(place) as folder:
        files.write_part(folder / "a", b"1")
        files.write_part(folder / "deep" / "b", b"2")
        assert not synced, "no file of the folder is synced by itself"
    assert synced[:2] == ["a", "b"]
    assert synced[3:] == ["deep", tmp_path.name]
    assert (place / "deep" / "b").read_bytes() == b"2"


def test_a_part_that_the_disk_refuses_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="free some space"), files.new_directory(tmp_path / "set") as folder:
        files.write_part(folder / "a", b"1")
    assert names(tmp_path) == set()


def chain(path: Path, count: int = 5) -> list[bytes]:
    for number in range(count):
        files.append_chained_line(path, {"number": number}, path.with_name("end"))
    return path.read_bytes().splitlines(keepends=True)


def test_a_chain_is_whole_as_it_was_written(tmp_path: Path) -> None:
    assert files.broken_links(tmp_path / "none") == []
    lines = chain(tmp_path / "log")
    assert files.broken_links(tmp_path / "log") == []
    assert [row["number"] for row in files.read_json_lines(tmp_path / "log")] == list(range(5))
    assert files.chain_head(b"".join(lines)) == files.sha256_bytes(lines[-1].rstrip(b"\n"))
    assert files.chain_head(b"") == ""


@pytest.mark.parametrize("place", range(4))
def test_a_chain_without_a_line_or_with_another_one_is_broken_there(tmp_path: Path, place: int) -> None:
    path = tmp_path / "log"
    lines = chain(path)
    path.write_bytes(b"".join(lines[:place] + lines[place + 1 :]))
    assert files.broken_links(path) == [place + 1]
    path.write_bytes(
        b"".join([*lines[:place], lines[place].replace(b'"number": ', b'"number": 1'), *lines[place + 1 :]])
    )
    assert files.broken_links(path) == [place + 2]
    path.write_bytes(b"".join([*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]]))
    assert place + 1 in files.broken_links(path)


@pytest.mark.parametrize("kept", range(5))
def test_lines_gone_from_the_end_are_found_by_what_keeps_its_hash(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "log"
    lines = chain(path)
    end = files.read_json(tmp_path / "end")[files.END]
    assert files.lost_lines(path, [end]) == []
    path.write_bytes(b"".join(lines[:kept]))
    assert files.broken_links(path) == [], "the chain alone does not tell"
    assert files.lost_lines(path, [end]) == [end]
    early = files.sha256_bytes(lines[0].rstrip(b"\n"))
    assert files.lost_lines(path, [early]) == ([] if kept else [early])


def test_a_line_that_a_kill_cut_short_breaks_no_chain(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = chain(path)
    path.write_bytes(b"".join(lines)[:-7])
    files.append_chained_line(path, {"number": 9}, path.with_name("end"))
    assert files.broken_links(path) == []
    assert [row["number"] for row in files.read_json_lines(path)] == [0, 1, 2, 3, 9]
