"""A study folder: the name of every artefact in it, and its journal."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scansynth.config import StudyConfig, load_config
from scansynth.errors import StudyError
from scansynth.files import append_json_line, storage_faults
from scansynth.recipe import Recipe, load_recipe


@dataclass(frozen=True)
class Study:
    """One study: its folder and its settings."""

    folder: Path
    config: StudyConfig

    @property
    def config_file(self) -> Path:
        return self.folder / "study.toml"

    @property
    def cohort(self) -> Path:
        return self.folder / "cohort"

    @property
    def linkage(self) -> Path:
        """The one place that ties a case to its source file; mode 0700, never read by a later stage."""
        return self.folder / "private"

    def run(self, name: str | None = None) -> Path:
        """Folder of one training; the configured one by default."""
        return self.folder / "gan" / (name or self.config.generator.run)

    def synthetic(self, name: str | None = None) -> Path:
        """Folder of one synthetic set; the configured one by default."""
        return self.folder / "synthetic" / (name or self.config.synthetic.name)

    def evidence(self, name: str | None = None) -> Path:
        """Folder of the evidence on one synthetic set."""
        return self.folder / "evidence" / (name or self.config.synthetic.name)

    @property
    def encoders(self) -> Path:
        """Encoders that judges learned from the train role, by the hash of what they learned from."""
        return self.folder / "encoders"

    @property
    def reader(self) -> Path:
        """The reader study."""
        return self.folder / "reader"

    @property
    def report(self) -> Path:
        return self.folder / "report"

    @property
    def journal(self) -> Path:
        return self.folder / "journal.jsonl"

    def key_file(self, named: Path | None) -> Path | None:
        """Where the institution's key stands: as named, else as `study.toml` says; none: where it always stands."""
        if named is not None or self.config.cohort.key is None:
            return named
        return self.source(self.config.cohort.key)

    def recipe(self) -> Recipe:
        """The recipe with this study's overrides; a path to one is taken from the study folder.

        Raises:
            ConfigError: There is no such recipe, or a key is wrong.
        """
        return load_recipe(self.config.generator.recipe, self.config.generator.overrides, self.folder)

    def source(self, path: str) -> Path:
        """A path of `study.toml`, taken from the study folder unless it is absolute."""
        return (self.folder / path).resolve()

    def log(self, stage: str, event: str, **facts: Any) -> None:
        """Adds one line to the journal: what happened, when; never a file name or an identifier."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        append_json_line(self.journal, {"time": now, "stage": stage, "event": event, **facts})

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps a second command from writing into the study at the same time.

        Raises:
            StudyError: Another command is at work here.
            StorageError: The folder cannot be written.
        """
        with storage_faults(self.folder):
            stream = (self.folder / ".lock").open("a")
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StudyError(f"another scansynth is at work in {self.folder}; wait for it to end") from None
            yield


def open_study(folder: Path) -> Study:
    """The study in `folder`.

    Raises:
        StudyError: There is no study there.
        ConfigError: Its `study.toml`, or the recipe that it names, is wrong.
    """
    if not (folder / "study.toml").is_file():
        raise StudyError(f"{folder} is not a study: it holds no study.toml; make one with: scansynth init {folder}")
    study = Study(folder.resolve(), load_config(folder / "study.toml"))
    study.recipe()
    return study
