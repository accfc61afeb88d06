"""A study folder: the name of every artefact in it, and its journal."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import getpass
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scansynth.config import StudyConfig, load_config
from scansynth.errors import StudyError
from scansynth.files import append_chained_line, chain_head, sha256_file, storage_faults
from scansynth.recipe import Recipe, load_recipe

CONFIG = "study.toml"
COHORT, TRIAL, READER, RELEASES = "cohort", "trial", "reader", "releases"

RUN, WEIGHTS, SCORES, GRIDS = "run.json", "generator.safetensors", "scores.csv", "grids"
"""In the folder of a training: what it is, its generator, the discriminator's scores of real images, and pictures."""

CLAIMS_FILE = "claims.json"
"""Verdicts and claims: of an audit, of a trial, of a reader study."""

PAIRS, BEHIND, QUARANTINE = "pairs.json", "distributions.json", "quarantine.csv"
"""What an audit leaves beside its claims: nearest pairs, figures behind the claims, and images to keep back because
they are real files or too close to one (image, nearest, score, p; in the order of likeness)."""

ANALYSIS = "analysis.json"
"""Of a trial, and of a reader study."""

PLAN, LESIONS, JOBS = "plan.json", "lesions.csv", "jobs"
"""Of a trial: its declaration, the known lesions, and a folder for each job."""

CANDIDATES, FIT = "candidates.csv", "fit.json"
"""In the folder of a job, beside its `SCORES`: places that may be a lesion, and how the training went."""

PROTOCOL, PROBE, SEALED, WORKLIST_FOLDER = "protocol.json", "probe.json", "sealed.bin", "worklist"
"""Of a reader study, from its making on."""

SPARES, AMENDMENTS = "spares.json", "amendments.json"
"""Of a reader study: seats for readers who may be added, and what was decided about readers since."""

READINGS, MACHINE, CLOSING, MARKS = "readings.csv", "machine.json", "closing.json", "marks.csv"
IMRMC, RJAFROC = "readings.imrmc", "readings-rjafroc.imrmc"
"""Of a reader study, from its closing on."""

UNAWARE, SAID, SCREENS = "unaware.csv", "said.csv", "screens.csv"
"""The same: answers given before readers were told, what they said at the end of that part, and of their screens."""

PAGE = "index.html"


@dataclass(frozen=True)
class Study:
    """One study: its folder and its settings."""

    folder: Path
    config: StudyConfig

    @property
    def config_file(self) -> Path:
        return self.folder / CONFIG

    @property
    def cohort(self) -> Path:
        return self.folder / COHORT

    @property
    def linkage(self) -> Path:
        """The only link from a case to its source file; mode 0700, never read by a later stage."""
        return self.folder / "private"

    def run(self, name: str | None = None) -> Path:
        """Folder of one training; the configured one by default."""
        return self.folder / "gan" / (name or self.config.generator.run)

    @property
    def runs(self) -> tuple[Path, ...]:
        """Folders of all trainings, by name."""
        return tuple(sorted((self.folder / "gan").glob("*")))

    def sweep(self, name: str) -> Path:
        """Folder of a sweep over settings of the recipe."""
        return self.folder / "sweeps" / name

    def synthetic(self, name: str | None = None) -> Path:
        """Folder of one synthetic set; the configured one by default."""
        return self.folder / "synthetic" / (name or self.config.synthetic.name)

    def evidence(self, name: str | None = None) -> Path:
        """Folder of the evidence on one synthetic set."""
        return self.folder / "evidence" / (name or self.config.synthetic.name)

    def pushed(self, name: str, address: str) -> Path:
        """Notes which files of a synthetic set an archive took."""
        return self.folder / "pushed" / f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:12]}.jsonl"

    @property
    def encoders(self) -> Path:
        """Encoders trained on the train role, by the hash of their training data."""
        return self.folder / "encoders"

    @property
    def trial(self) -> Path:
        """The utility trial."""
        return self.folder / TRIAL

    @property
    def jobs(self) -> Path:
        """Folder of the jobs of the utility trial."""
        return self.trial / JOBS

    @property
    def reader(self) -> Path:
        """The reader study."""
        return self.folder / READER

    @property
    def teaching(self) -> Path:
        """Images with their truth, to learn from."""
        return self.folder / "teaching"

    @property
    def report(self) -> Path:
        return self.folder / "report"

    @property
    def journal(self) -> Path:
        return self.folder / "journal.jsonl"

    @property
    def journal_end(self) -> Path:
        """Keeps the hash of the journal's last line."""
        return self.folder / "journal.end.json"

    def release(self, name: str) -> Path:
        """What the study keeps of one release: its manifest and its register."""
        return self.folder / RELEASES / name

    @property
    def releases(self) -> tuple[Path, ...]:
        """Folders of all releases, by name."""
        return tuple(sorted((self.folder / RELEASES).glob("*")))

    def key_file(self, named: Path | None) -> Path | None:
        """Path of the institution's key: as given, else as in `study.toml`; None: the default place."""
        if named is not None or self.config.cohort.key is None:
            return named
        return self.source(self.config.cohort.key)

    def recipe(self) -> Recipe:
        """The recipe with this study's overrides; a path to one is taken from the study folder.

        Raises:
            ConfigError: There is no such recipe, or a key is wrong.
        """
        own = self.config.generator
        recipe = load_recipe(own.recipe, own.overrides, self.folder)
        if not own.masks:
            return recipe
        return recipe.model_copy(update={"network": {**recipe.network, "masks": True}})

    def source(self, path: str) -> Path:
        """A path of `study.toml`, taken from the study folder unless it is absolute."""
        return (self.folder / path).resolve()

    def log(self, stage: str, event: str, **facts: Any) -> None:
        """Adds one line to the journal: what happened, when, by whom; never a file name or an identifier.

        Each line holds the hash of the line before, and that of `study.toml` as it was then. `facts` should hold the
        digests of what was read and of what was written, as `StageRecord.logged` has them.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        settings = sha256_file(self.config_file) if self.config_file.is_file() else ""
        line = {"time": now, "stage": stage, "event": event, "user": _user(), "settings": settings, **facts}
        append_chained_line(self.journal, line, self.journal_end)

    def journal_head(self) -> str:
        """Hash of the journal's last line, which fixes all lines before it; empty if there is no line."""
        return chain_head(self.journal.read_bytes()) if self.journal.exists() else ""

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Prevents a second command from writing into the study at the same time.

        Raises:
            StudyError: Another command is running here.
            StorageError: The folder cannot be written.
        """
        with storage_faults(self.folder):
            stream = (self.folder / ".lock").open("a")
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StudyError(
                    f"another scansynth command is running in {self.folder}; wait for it to finish"
                ) from None
            yield


def _user() -> str:
    """Who is logged in on this machine; empty where it does not know."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def is_study(folder: Path) -> bool:
    """Whether a folder is a study."""
    return (folder / CONFIG).exists()


def open_study(folder: Path) -> Study:
    """The study in `folder`.

    Raises:
        StudyError: There is no study there.
        ConfigError: Its `study.toml`, or the recipe that it names, is wrong.
    """
    if not (folder / CONFIG).is_file():
        raise StudyError(f"{folder} is not a study: it holds no {CONFIG}; make one with: scansynth init {folder}")
    study = Study(folder.resolve(), load_config(folder / CONFIG))
    study.recipe()
    return study
