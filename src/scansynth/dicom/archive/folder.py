"""The folder of a pull: images that are whole, and a folder of scans that appears when all are there.

DIR/pull.json        what was asked, and whether it is complete
DIR/pulled.jsonl     a line for each image: its UIDs, file, size and SHA-256
DIR/dicom/           the scans; while some are missing, this is DIR/.dicom, which ingest does not see
DIR/images.csv       the same lines as a table, once complete
DIR/.incoming/       images under way
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scansynth.dicom.archive.remote import Image
from scansynth.dicom.archive.storage import inbox_name
from scansynth.errors import ArchiveError
from scansynth.files import (
    append_json_line,
    read_json,
    read_json_lines,
    sha256_file,
    storage_faults,
    write_csv,
    write_json,
    write_json_lines,
)

STATE, LINES, SCANS, TABLE = "pull.json", "pulled.jsonl", "dicom", "images.csv"
COLUMNS = ("path", "study_instance_uid", "series_instance_uid", "sop_instance_uid", "bytes", "sha256")
"""Columns of `images.csv`; `path` is relative to the folder of scans, as in labels.csv."""


@dataclass(frozen=True)
class Line:
    """One image that is there."""

    path: str
    study_instance_uid: str = field(repr=False)
    series_instance_uid: str = field(repr=False)
    sop_instance_uid: str = field(repr=False)
    bytes: int
    sha256: str

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Line | None:
        """A line of the file, none when it is damaged; its path is made again, not believed."""
        with contextlib.suppress(TypeError, AttributeError):
            line = cls(**values)
            if line.path == relative_path(
                Image(line.study_instance_uid, line.series_instance_uid, line.sop_instance_uid)
            ):
                return line
        return None


def relative_path(image: Image) -> str:
    """The path of an image below the folder of scans, from the hashes of its UIDs."""
    return f"{inbox_name(image.study)[:16]}/{inbox_name(image.series)[:16]}/{inbox_name(image.instance)}.dcm"


class PullFolder:
    """A folder that images are pulled into; see `open_folder`."""

    def __init__(self, root: Path, asked: str) -> None:
        self.root = root
        self._asked = asked
        self._lines: dict[str, Line] = {}

    @property
    def inbox(self) -> Path:
        """Where images under way are."""
        return self.root / ".incoming"

    @property
    def scans(self) -> Path:
        """The folder of scans once it is complete."""
        return self.root / SCANS

    @property
    def _partial(self) -> Path:
        return self.root / f".{SCANS}"

    @property
    def _held(self) -> Path:
        """Where the scans are now."""
        return self.scans if self.scans.exists() else self._partial

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, image: Image) -> bool:
        return image.instance in self._lines

    def read_lines(self) -> None:
        """Reads which images are there already; those whose file is gone or has another size are not."""
        for values in read_json_lines(self.root / LINES):
            line = Line.parse(values)
            if line is not None:
                self._lines[line.sop_instance_uid] = line
        for line in [*self._lines.values()]:
            file = self._held / line.path
            if not file.is_file() or file.stat().st_size != line.bytes:
                del self._lines[line.sop_instance_uid]

    def begin(self) -> None:
        """Something is missing: the folder of scans is set aside until it is complete again."""
        with storage_faults(self.root):
            if self.scans.exists():
                self.scans.rename(self._partial)
            self._partial.mkdir(exist_ok=True)
            shutil.rmtree(self.inbox, ignore_errors=True)
            self.inbox.mkdir()
        write_json(self.root / STATE, {"asked": self._asked, "complete": False})

    def add(self, image: Image, file: Path) -> None:
        """Puts a whole image in its place, and notes it.

        Raises:
            StorageError: The disk is full, or the folder cannot be written.
        """
        path = relative_path(image)
        target = self._partial / path
        with storage_faults(self.root):
            target.parent.mkdir(parents=True, exist_ok=True)
            size, digest = file.stat().st_size, sha256_file(file)
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
            file.replace(target)
        line = Line(path, image.study, image.series, image.instance, size, digest)
        append_json_line(self.root / LINES, vars(line))
        self._lines[image.instance] = line

    def damaged(self) -> Iterator[bool]:
        """Reads every file again; whether it has changed. What has is removed."""
        for line in [*self._lines.values()]:
            file = self._held / line.path
            good = file.is_file() and sha256_file(file) == line.sha256
            if not good:
                file.unlink(missing_ok=True)
                del self._lines[line.sop_instance_uid]
            yield not good

    def finish(self, facts: dict[str, Any]) -> None:
        """All is there: writes the table, and lets the folder of scans appear."""
        rows = [vars(line) for _, line in sorted(self._lines.items(), key=lambda item: item[1].path)]
        write_json_lines(self.root / LINES, rows)
        write_csv(self.root / TABLE, COLUMNS, rows)
        with storage_faults(self.root):
            shutil.rmtree(self.inbox, ignore_errors=True)
            if not self.scans.exists():
                self._partial.rename(self.scans)
        write_json(self.root / STATE, {"asked": self._asked, "complete": True, **facts})


@contextlib.contextmanager
def open_folder(root: Path, asked: str) -> Iterator[PullFolder]:
    """The folder of a pull, new or from before; for its owner alone, and for one command at a time.

    Args:
        root: The folder.
        asked: Hash of what is asked of which archive.

    Raises:
        ArchiveError: It holds another pull, or something else, or another command works in it.
        StorageError: It cannot be written.
    """
    with storage_faults(root):
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (root / ".lock").open("a")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveError(f"another command is pulling into {root}; wait for it to finish") from None
        state = root / STATE
        with storage_faults(root):
            for name in (STATE, LINES, TABLE):  # half a file of a command that was killed as it wrote
                for left in root.glob(f".{name}.*"):
                    left.unlink()
        if state.exists():
            try:
                before = read_json(state)["asked"]
            except (ValueError, KeyError, TypeError):
                raise ArchiveError(f"{state} is damaged; pull into another folder") from None
            if before != asked:
                raise ArchiveError(f"{root} holds the result of another query or archive; pull into another folder")
        elif any(path.name != ".lock" for path in root.iterdir()):
            raise ArchiveError(f"{root} is not empty; pull into a new folder")
        else:
            write_json(state, {"asked": asked, "complete": False})
        folder = PullFolder(root, asked)
        folder.read_lines()
        yield folder
