"""A stage's record: what it read, its settings, and what it wrote.

The record is `stage.json` beside the stage's outputs, and is written last: a folder with a record is complete. A
stage is stale when its inputs or settings differ from its record: `stale` says so for stages and
jobs alike, and `outdated` for what remembers the digests it read. Another version of scansynth is recorded and
causes a warning, but makes nothing stale.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from scansynth import __version__
from scansynth.errors import StudyError
from scansynth.files import read_json, sha256_file, sha256_json, write_json

RECORD = "stage.json"
_PACKAGES = ("torch", "monai", "numpy", "pydicom", "scipy")


@dataclass(frozen=True)
class StageRecord:
    """What one stage did.

    Attributes:
        stage: Name of the stage.
        inputs: Digest of each input, by its name: a file's SHA-256, or an earlier stage's digest.
        settings: The settings that the stage reads, as plain JSON values.
        outputs: SHA-256 of each file written, by its path relative to the stage's folder.
        seed: The study's seed.
        roles: Roles of the patients read.
        patients: Keyed hashes of the patients read.
        seconds: Time of work.
        versions: Of Python, scansynth and the packages that affect results.
    """

    stage: str
    inputs: Mapping[str, str]
    settings: Mapping[str, Any]
    outputs: Mapping[str, str]
    seed: int
    roles: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """One hash over all outputs: the input digest of the stages that follow."""
        return sha256_json(dict(self.outputs))

    @property
    def logged(self) -> dict[str, Any]:
        """What the journal keeps of it: digests of what was read and of what was written, and the time of work."""
        return {"inputs": dict(self.inputs), "outputs": self.digest, "seconds": round(self.seconds, 3)}

    def differs(self, inputs: Mapping[str, str], settings: Mapping[str, Any] | None = None) -> list[str]:
        """Names of the inputs and settings that are no longer those of this record; no settings: inputs alone."""
        before, now = dict[str, Any](self.inputs), dict[str, Any](inputs)
        if settings is not None:
            before |= {f"setting {key}": value for key, value in self.settings.items()}
            now |= {f"setting {key}": value for key, value in plain(settings).items()}
        return differing(before, now)


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names whose values are not the same in both; a name that one of them lacks stands for no value."""
    return sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))


def stale(
    folder: Path,
    inputs: Mapping[str, str],
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    *,
    exact: Collection[str] = (),
) -> list[str]:
    """What makes the work in a folder out of date; nothing: it is up to date.

    Args:
        folder: Where a stage or a job wrote.
        inputs: Digests of what it would read now.
        settings: Under which it would run now; none: whatever they are.
        seed: With which it would run now; none: whatever it is.
        exact: Names of outputs that must hold the very bytes that were written; of others it is enough that they
            are there.

    Returns:
        Names of the inputs and settings that changed, then the seed, then the first output that is gone or altered.

    Raises:
        StudyError: The record is damaged.
    """
    record = read_record(folder)
    if record is None:
        return [f"{RECORD} is gone"]
    changes = record.differs(inputs, settings)
    if seed is not None and record.seed != seed:
        changes.append("seed")
    for name, digest in record.outputs.items():
        if not (folder / name).is_file():
            return [*changes, f"{name} is gone"]
        if name in exact and sha256_file(folder / name) != digest:
            return [*changes, f"{name} is altered"]
    return changes


def outdated(inputs: Mapping[str, str], sources: Mapping[str, StageRecord | None]) -> list[str]:
    """Names of the inputs whose source holds something else by now: neither its digest nor one of its files'.

    Args:
        inputs: Digests that were read, by name.
        sources: Records of those that wrote them, by the same names; what has no record cannot be compared.
    """
    found = {name: record for name, record in sources.items() if record is not None and name in inputs}
    return sorted(name for name, now in found.items() if inputs[name] not in {now.digest, *now.outputs.values()})


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back (tuples become lists), so that they compare."""
    value: dict[str, Any] = json.loads(json.dumps(dict(settings), default=_text))
    return value


def _text(value: Any) -> str:
    """A path as text; anything else is refused.

    Raises:
        TypeError: JSON does not know the value.
    """
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def versions() -> dict[str, str]:
    """Versions of everything that affects results."""
    found = {"python": platform.python_version(), "scansynth": __version__}
    return found | {name: metadata.version(name) for name in _PACKAGES}


def hash_outputs(folder: Path, files: Iterable[Path], known: Mapping[str, str] | None = None) -> dict[str, str]:
    """SHA-256 of each file, by its path relative to `folder`; those in `known` are not read again."""
    names = {path.relative_to(folder).as_posix(): path for path in sorted(files)}
    return {name: (known or {}).get(name) or sha256_file(path) for name, path in names.items()}


def write_record(folder: Path, record: StageRecord) -> None:
    """Writes the record beside the stage's outputs; call it last."""
    write_json(folder / RECORD, asdict(record))


def read_record(folder: Path) -> StageRecord | None:
    """The record in `folder`, or none when the stage never ended there.

    Raises:
        StudyError: The record is damaged.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        values = read_json(path)
        return StageRecord(**{**values, "roles": tuple(values["roles"]), "patients": tuple(values["patients"])})
    except (ValueError, TypeError, KeyError) as fault:
        raise StudyError(f"{path} is damaged; remove the folder {folder.name} and run the stage again") from fault
