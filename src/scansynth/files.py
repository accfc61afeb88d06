"""Files written whole or not at all, and their hashes."""

from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scansynth.errors import StorageError

_CHUNK = 1 << 20
PREVIOUS = "previous"
"""In a chained line: the SHA-256 of the line before, without its end; empty in the first."""

END = "sha256"
"""In the file that keeps the end of chained lines: the hash of the last one."""

NEW, OLD = ".scansynth-new-", ".scansynth-old-"  # names that no user folder has
_UMASK = os.umask(0)
os.umask(_UMASK)  # it can only be read by setting it
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # EFBIG: a limit on the size of one file
_STORAGE_FAULTS = _FULL | {errno.EROFS, errno.EACCES, errno.EPERM}


@contextlib.contextmanager
def storage_faults(path: Path) -> Iterator[None]:
    """Turns a full disk or an unwritable folder into one line that says what to do.

    Raises:
        StorageError: The operating system refused the write.
    """
    try:
        yield
    except OSError as fault:
        if fault.errno not in _STORAGE_FAULTS:
            raise
        advice = (
            "free some space and run the same command again"
            if fault.errno in _FULL
            else "make the folder writable, or choose another"
        )
        raise StorageError(f"cannot write {path}: {os.strerror(fault.errno)}; {advice}") from fault


def _sync(path: Path) -> None:
    """Makes a file's bytes, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_tree(folder: Path) -> None:
    """Syncs every file below `folder`, then every folder.

    Called once all files are written: the first call takes most of them to the disk in one go, which syncing each
    file as it is written does not.
    """
    folders = []
    for place, _, names in os.walk(folder):
        folders.append(Path(place))
        for name in names:
            _sync(folders[-1] / name)
    for inner in folders:
        _sync(inner)


def write_bytes(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Writes `data` to `path` so that a reader sees the old file or the new one, never a part.

    Temporary name in the same folder, fsync, rename, fsync of the folder. The user's umask is respected.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    with storage_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).chmod(mode & ~_UMASK)
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
        _sync(path.parent)


def write_part(path: Path, data: bytes) -> None:
    """Writes one file of a folder that `new_directory` has yet to put in its place, where it is synced with all others.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    with storage_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text whole or not at all; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON with sorted keys, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not JSON, or nested deeper than can be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows as CSV with a header line, whole or not at all."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, fieldnames=list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, stream.getvalue())


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header line; a byte-order mark is accepted."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def append_json_line(path: Path, value: Mapping[str, Any]) -> None:
    """Appends one JSON line and fsyncs it: at worst the last line of the file is cut short.

    A line that was cut short before stays by itself, and does not spoil this one.
    """
    line = json.dumps(value, sort_keys=True).encode() + b"\n"
    with storage_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as stream:
            if stream.seek(0, os.SEEK_END):
                stream.seek(-1, os.SEEK_END)
                line = line if stream.read(1) == b"\n" else b"\n" + line
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())


def append_chained_line(path: Path, value: Mapping[str, Any], end: Path) -> None:
    """Appends one JSON line that holds the hash of the line before, so that a line changed later is found.

    A line that was cut short before counts as a line: nothing is ever taken out.

    Args:
        path: Of the lines.
        value: The line.
        end: File that keeps the hash of the last line, so that lines gone from the end are found.
    """
    with storage_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(0)
            before = stream.read()
            line = json.dumps({**value, PREVIOUS: chain_head(before)}, sort_keys=True).encode() + b"\n"
            stream.write(line if not before or before.endswith(b"\n") else b"\n" + line)
            stream.flush()
            os.fsync(stream.fileno())
            for rest in end.parent.glob(f".{end.name}.*"):  # of a process killed here: the lock says that none is at it
                rest.unlink(missing_ok=True)
            write_json(end, {END: chain_head(line)})


def chain_head(data: bytes) -> str:
    """Hash of the last of some chained lines; empty where there is none."""
    lines = data.split(b"\n")
    last = lines[-1] or (lines[-2] if len(lines) > 1 else b"")
    return sha256_bytes(last) if last else ""


def broken_links(path: Path) -> list[int]:
    """Numbers of the chained lines, from 1, that do not follow from the line before; one cut short breaks nothing.

    That lines are gone from the end of the file cannot be told from the file alone; see `lost_lines`.
    """
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    broken, before = [], ""
    for number, line in enumerate(line for line in lines if line):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = {PREVIOUS: before}  # cut short by a kill, or altered: the next line tells
        if not isinstance(value, dict) or value.get(PREVIOUS) != before:
            broken.append(number + 1)
        before = sha256_bytes(line)
    return broken


def lost_lines(path: Path, known: Iterable[str]) -> list[str]:
    """Those of some hashes of chained lines, of which the file holds no line: it was cut off before them."""
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    held = {sha256_bytes(line) for line in lines if line}
    return [digest for digest in known if digest not in held]


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows as JSON lines, whole or not at all."""
    write_text(path, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSON-lines file; a last line cut short by a kill is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        with contextlib.suppress(json.JSONDecodeError, RecursionError):
            rows.append(json.loads(line))
    return rows


def _clear_remains(target: Path) -> None:
    """Restores what a process killed between two renames had set aside, and removes the rest."""
    start = f".{target.name}"
    remains = [path for path in target.parent.iterdir() if path.name.startswith(start) and path.is_dir()]
    for old in sorted(path for path in remains if path.name.startswith(start + OLD)):
        if not target.exists():
            old.rename(target)
    for path in remains:
        if path.name.startswith((start + OLD, start + NEW)):
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def new_directory(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that takes its place when the block ends without a fault.

    All that was written in it is synced once, before it takes that place. What stood at `target` goes only then. An
    interruption leaves `target` as it was; what a killed process left beside it is cleared away the next time.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    with storage_faults(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear_remains(target)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}{NEW}"))
        old = temporary.with_name(temporary.name.replace(NEW, OLD))
        try:
            temporary.chmod(0o777 & ~_UMASK)
            yield temporary
            _sync_tree(temporary)
            if target.exists():
                target.rename(old)
            temporary.rename(target)
            _sync(target.parent)
            shutil.rmtree(old, ignore_errors=True)
        except BaseException:
            if old.exists() and not target.exists():  # Ctrl-C between the two renames
                old.rename(target)
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def sha256_bytes(data: bytes) -> str:
    """The SHA-256 of `data`, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """The SHA-256 of a value's canonical JSON (sorted keys, no spaces)."""
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
