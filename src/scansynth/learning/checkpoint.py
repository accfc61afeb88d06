"""Checkpoints: tensors as safetensors, everything else as JSON, whole or not there.

Nothing that executes on load: no pickle. A checkpoint is a folder named by the attempt and the images seen; it
is written under a temporary name, synced and renamed. Its tensors' SHA-256 stands in its JSON, the JSON's own
beside it, and both are checked on load. A training that went back to an earlier checkpoint is the next attempt.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from scansynth.errors import CheckpointError
from scansynth.files import NEW, new_directory, read_json, sha256_bytes, sha256_json, write_bytes, write_json
from scansynth.learning import ranks

FORMAT = 5
_TENSORS = "tensors.safetensors"
_STATE = "state.json"
_NEWEST = 2  # to go on from, and to fall back on when the newest is damaged


@dataclass(frozen=True)
class Checkpoint:
    """A training's whole state at one moment.

    Attributes:
        images: Real images seen so far.
        tensors: Every tensor of the state, by name.
        state: Everything else, as plain JSON values.
        attempt: 1, and one more for each time that the training went back.
        healthy: A training that went wrong may go back to it.
    """

    images: int
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]
    attempt: int = 1
    healthy: bool = False

    @property
    def name(self) -> str:
        """Of its folder; names sort by age."""
        return f"{self.attempt:02d}-{self.images:012d}"


def weights_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as the bytes of a safetensors file; the same tensors give the same bytes."""
    return safetensors.torch.save({name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)})


def save(folder: Path, checkpoint: Checkpoint, identity: str, keep: int) -> Path:
    """Writes a checkpoint under `folder`; the newest two stay, and the newest `keep` healthy ones.

    Newer checkpoints go too: a training that comes to write this one has passed them over as damaged. So does what
    a process killed while it saved has left.

    Args:
        folder: The run's `checkpoints` folder.
        checkpoint: What to keep.
        identity: Digest of the recipe and the inputs; only a training of the same identity goes on from it.
        keep: How many healthy ones stay.

    Raises:
        StorageError: The disk is full or the folder cannot be written; older checkpoints are intact.
    """
    data = weights_bytes(checkpoint.tensors)
    target = folder / checkpoint.name
    values = {
        "format": FORMAT,
        "identity": identity,
        "images": checkpoint.images,
        "attempt": checkpoint.attempt,
        "healthy": checkpoint.healthy,
        "tensors_sha256": sha256_bytes(data),
        "state": dict(checkpoint.state),
    }
    for remains in folder.glob(f".[0-9]*{NEW}*"):
        shutil.rmtree(remains, ignore_errors=True)
    with new_directory(target) as temporary:
        write_bytes(temporary / _TENSORS, data)
        write_json(temporary / _STATE, {**values, "sha256": sha256_json(values)})
    usable = [path for path in _kept(folder) if path.name <= target.name]
    healthy = [path for path in usable if _says_healthy(path)]
    for path in set(_kept(folder)) - {*usable[-_NEWEST:], *healthy[-keep:]}:
        shutil.rmtree(path, ignore_errors=True)
    return target


def _says_healthy(path: Path) -> bool:
    """Whether a checkpoint is marked healthy; one that cannot be read is not."""
    try:
        return read_json(path / _STATE)["healthy"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def load_newest(folder: Path, identity: str, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint under `folder`; a damaged one is passed over with a warning.

    Returns:
        None when there is no checkpoint at all.

    Raises:
        CheckpointError: There are checkpoints, and none of them can be used.
    """
    faults = []
    for path in reversed(_kept(folder)):
        try:
            return load(path, identity)
        except CheckpointError as fault:
            faults.append(str(fault))
            warn(f"{fault}; going back to the one before")
    if faults:
        raise CheckpointError(f"{faults[0]}; remove {folder} to train from the start")
    return None


def load_healthy(folder: Path, identity: str, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest healthy checkpoint under `folder`; a damaged one is passed over with a warning.

    Returns:
        None when there is none that can be used.
    """
    for path in reversed([path for path in _kept(folder) if _says_healthy(path)]):
        try:
            return load(path, identity)
        except CheckpointError as fault:
            warn(f"{fault}; going back to the healthy one before")
    return None


def load(path: Path, identity: str) -> Checkpoint:
    """One checkpoint, checked.

    Raises:
        CheckpointError: It is incomplete, altered, of another version, or of another recipe or cohort.
    """
    try:
        values = read_json(path / _STATE)
        data = (path / _TENSORS).read_bytes()
        found = values["format"]
        if found == FORMAT:
            intact = values.pop("sha256") == sha256_json(values) and values["tensors_sha256"] == sha256_bytes(data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise CheckpointError(f"checkpoint {path.name} is incomplete") from fault
    if found != FORMAT:
        raise CheckpointError(f"checkpoint {path.name} has format {found!r}, and this scansynth reads {FORMAT}")
    if not intact:
        raise CheckpointError(f"checkpoint {path.name} was altered: its hash does not match")
    if values["identity"] != identity:
        raise CheckpointError(f"checkpoint {path.name} belongs to another recipe or cohort")
    tensors = read_weights(data, path.name)
    return Checkpoint(values["images"], tensors, values["state"], values["attempt"], values["healthy"])


def read_weights(data: bytes, name: str) -> dict[str, Tensor]:
    """Tensors from the bytes of a safetensors file.

    Raises:
        CheckpointError: The bytes are something else; a pickle, for example.
    """
    try:
        return safetensors.torch.load(data)
    except SafetensorError as fault:
        raise CheckpointError(f"{name} is not a safetensors file; nothing else is ever loaded") from fault


def of_the_first(checkpoint: Checkpoint | None) -> Checkpoint | None:
    """What the first rank has, on all ranks: they need not see its disk at the same moment."""
    if ranks.count() == 1:
        return checkpoint
    facts: dict[str, Any] = {}
    if checkpoint is not None:
        facts = {name: getattr(checkpoint, name) for name in ("images", "state", "attempt", "healthy")}
    facts = ranks.told(facts)
    if not facts:
        return None
    data = ranks.told_bytes(b"" if checkpoint is None else weights_bytes(checkpoint.tensors))
    return Checkpoint(tensors=safetensors.torch.load(data), **facts)


def _kept(folder: Path) -> list[Path]:
    """Checkpoints under `folder`, oldest first."""
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir())


def optimiser_tensors(optimiser: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """An optimiser's moments by name: `prefix/<parameter>/<moment>`."""
    states = optimiser.state_dict()["state"]
    return {f"{prefix}/{index}/{key}": value for index, state in states.items() for key, value in state.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, prefix: str, tensors: Mapping[str, Tensor]) -> None:
    """Puts moments written by `optimiser_tensors` back, in each parameter's memory layout.

    The layout matters: the same numbers in another layout may be added up in another order.
    """
    for index, parameter in enumerate(parameter for group in optimiser.param_groups for parameter in group["params"]):
        start = f"{prefix}/{index}/"
        found = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
        optimiser.state[parameter] = {
            key: torch.empty_like(parameter).copy_(value)
            if value.shape == parameter.shape and key != "step"
            else value.to(parameter.device if parameter.is_cuda else "cpu")
            for key, value in found.items()
        }
