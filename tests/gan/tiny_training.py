"""A training of seconds, and a program that kills one and goes on with it.

    python tiny_training.py FOLDER KILLS [SEED [RECIPE]]: forks trainings that are killed at random moments and inside a
    save, continues each, and prints as JSON where they were killed and what came out.

The kills run in forks of one process that has warmed torch up, on one thread: a fork inherits no threads.
"""

from __future__ import annotations

import json
import os
import resource
import secrets
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scansynth.config import TrackingSettings
from scansynth.console import silent
from scansynth.data.augment import plan_augmentation
from scansynth.data.permission import permission
from scansynth.data.tensors import to_signed
from scansynth.files import sha256_bytes, sha256_json
from scansynth.gan import training_loop
from scansynth.gan.models.families import complete
from scansynth.gan.models.family import Batch, Form
from scansynth.gan.state import TrainingState, to_checkpoint
from scansynth.gan.training_loop import TrainingJob, train
from scansynth.gan.watching import collapse
from scansynth.gan.watching.collapse import RealImages
from scansynth.gan.watching.health import Level, Trouble
from scansynth.learning.checkpoint import weights_bytes
from scansynth.learning.device import Device
from scansynth.recipe import Recipe, load_recipe

CPU = Device("cpu", "test", "float32", True)
CPU_BF16 = replace(CPU, precision="bfloat16")
BATCH, IMAGES, EPOCHS, SIDE = 8, 36, 3, 32
FORM = Form((SIDE, SIDE), 1, 1)
ROUNDS = EPOCHS * (IMAGES // BATCH)
EVERY_ROUND = 1e-9  # minutes between two checkpoints
NEVER = 1e9
RECIPE: Mapping[str, Mapping[str, Any]] = {
    "network": {"noise": 8, "width": 4},
    "replay": {"capacity": 20},
    "ema": {"on": True, "half_life_images": 40},
    "schedule": {
        "epochs": EPOCHS,
        "batch": BATCH,
        "log_every_images": 24,
        "grid_every_images": 48,
        "healthy_every_images": 24,
    },
}


def smooth_images(count: int, seed: int = 0, side: int = SIDE) -> np.ndarray:
    """Pictures of one blob each, at its own place and of its own size, uint16 (count, side, side)."""
    random = np.random.default_rng(seed)
    axis = np.linspace(-1, 1, side)
    row, column, width = (random.uniform(low, high, (count, 1, 1)) for low, high in ((-1, 1), (-1, 1), (0.2, 0.8)))
    squares = (axis[None, :, None] - row) ** 2 + (axis[None, None, :] - column) ** 2
    return np.rint(65535 * np.exp(-squares / width**2)).astype(np.uint16)


def watched(patients: int = 40) -> RealImages:
    """One image of each of so many patients, and the training's images for the scale."""
    others = to_signed(smooth_images(patients, seed=1)[:, None])
    return RealImages(
        to_signed(smooth_images(IMAGES)[:, None]), others, tuple(map(str, range(patients))), "made-up patients"
    )


def tiny_job(
    folder: Path, overrides: Mapping[str, Mapping[str, Any]] | None = None, minutes: float = NEVER, **changes: Any
) -> TrainingJob:
    """A job of `ROUNDS` rounds at 32 pixels; `overrides` are laid over its recipe, `changes` over the job."""
    tables = {
        name: {**RECIPE.get(name, {}), **(overrides or {}).get(name, {})} for name in {*RECIPE, *(overrides or {})}
    }
    recipe = complete(load_recipe("dcgan", tables))
    job = TrainingJob(
        folder=folder,
        images=smooth_images(IMAGES)[:, None],
        labels=np.zeros(IMAGES, np.int64),
        patients=IMAGES,
        form=FORM,
        watched=watched(),
        chosen_on=None,
        recipe=recipe,
        plan=plan_augmentation(recipe.augmentation, permission("CT", "patch")),
        seed=3,
        inputs="0" * 64,
        tracking=TrackingSettings(tensorboard=False),
        wandb_mode="offline",
        checkpoint_minutes=minutes,
        keep=3,
    )
    return replace(job, **changes)


def batch_of(real: torch.Tensor, length: int, random: torch.Generator, seen: int = 0) -> Batch:
    """What a round trains on: these images, of one class, and noise of that length from `random`."""
    count = len(real)
    noise = torch.randn(count, length, generator=random)
    return Batch(real, torch.zeros(count, dtype=torch.int64), noise, random, seen, 10**6)


def remember_chance() -> None:
    """What real images give among themselves is found once for all trainings on the same images: half of their time."""
    measure, known = collapse._of_draw, {}

    def remembered(features: np.ndarray, draw: collapse.Draw, bandwidth: float) -> Any:
        key = hash((features.tobytes(), *(part.tobytes() for part in vars(draw).values()), bandwidth))
        if key not in known:
            known[key] = measure(features, draw, bandwidth)
        return known[key]

    collapse._of_draw = remembered


def plant_collapse(*moments: tuple[int, int]) -> Callable[[], None]:
    """Makes looks say healthy, but from so many images on in an attempt that the generator has collapsed.

    Args:
        moments: Attempt, and images from which on it is collapsed.

    Returns:
        What takes the plant out again.
    """
    real, planted = training_loop._look, dict(moments)

    def look(job: Any, state: TrainingState, *rest: Any) -> dict[str, float]:
        figures = real(job, state, *rest)
        collapsed = state.images >= planted.get(state.attempt, 10**9)
        level, reasons = (Level.CRITICAL, ("generator: planted",)) if collapsed else (Level.HEALTHY, ())
        troubles = (Trouble.COLLAPSE,) if collapsed else ()
        state.health = replace(state.health, level=level, troubles=troubles, reasons=reasons, clear=not collapsed)
        return figures

    training_loop._look = look

    def undo() -> None:
        training_loop._look = real

    return undo


def fingerprint(state: TrainingState) -> str:
    """SHA-256 of everything that training changes: networks, average, optimisers, history, sums, health, changes."""
    kept = to_checkpoint(state)
    plain = {key: value for key, value in kept.state.items() if key != "seconds"}
    return sha256_bytes(weights_bytes(kept.tensors) + f"{kept.attempt} {sha256_json(plain)}".encode())


def _in_fork(work: Callable[[], None]) -> int:
    """Starts `work` in a child of this process and returns its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def compact_recipe(**loss: float) -> Recipe:
    """The recipe `compact` as small as it goes, for as many rounds."""
    small = {"latent": 8, "style": 8, "grain": 2, "width": 4, "most": 8}
    tables = {"network": small, "loss": loss, "ema": {"half_life_images": 40}, "schedule": RECIPE["schedule"]}
    return complete(load_recipe("compact", tables))


KILLED: dict[str, Recipe] = {}
"""What is killed, under the key `recipe`; the tiny `dcgan` when there is none."""


def _finish(folder: Path, minutes: float = NEVER) -> None:
    state = train(tiny_job(folder, minutes=minutes, **KILLED), CPU, silent, lambda text: None)
    (folder / "fingerprint").write_text(fingerprint(state))


def _die_at_sync(folder: Path, number: int) -> None:
    """Trains, and kills itself at its `number`-th fsync: inside a save, or between two."""
    real, left = os.fsync, [number]

    def sync(handle: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        real(handle)

    os.fsync = sync
    _finish(folder, EVERY_ROUND)


def _die_after(folder: Path, seconds: float) -> None:
    """Trains, and is killed when it has run for so long: its own time, whatever else keeps the cores."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # which ends the process on the spot, as SIGKILL does
    signal.setitimer(signal.ITIMER_PROF, seconds)
    _finish(folder, EVERY_ROUND)


def _ran() -> float:
    """Seconds that the children that have ended ran."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _go_on(folder: Path) -> dict[str, Any]:
    """Continues a killed training, and says where it had come to and what came out."""
    found = sorted(path.name for path in (folder / "checkpoints").glob("[0-9]*"))
    finished = (folder / "fingerprint").exists()
    os.waitpid(_in_fork(lambda: _finish(folder)), 0)
    remains = [path.name for path in (folder / "checkpoints").glob(".*")]
    came_out = (folder / "fingerprint").read_text()
    return {"at": found[-1:], "finished": finished, "remains": remains, "fingerprint": came_out}


def _drill(out: Path, kills: int, syncs: tuple[int, ...], random: np.random.Generator) -> dict[str, Any]:
    """Kills trainings of one kind and continues them; says what the uninterrupted one gave, and they."""
    before = _ran()
    os.waitpid(_in_fork(lambda: _finish(out / "whole", EVERY_ROUND)), 0)
    length, rows = _ran() - before, []
    for number in range(kills):
        folder, seconds = out / f"random-{number}", random.uniform(0.2, 0.9) * length
        os.waitpid(_in_fork(lambda folder=folder, seconds=seconds: _die_after(folder, seconds)), 0)
        rows.append(_go_on(folder))
    for number in syncs:
        folder = out / f"sync-{number}"
        os.waitpid(_in_fork(lambda folder=folder, number=number: _die_at_sync(folder, number)), 0)
        rows.append(_go_on(folder))
    return {"whole": (out / "whole" / "fingerprint").read_text(), "killed": rows}


def main(out: Path, kills: int, seed: int) -> None:
    """Kills, continues, and prints what came out: trainings that run through, and trainings that go back twice."""
    torch.set_num_threads(1)
    print(f"seed {seed}", file=sys.stderr)
    random = np.random.default_rng(seed)
    remember_chance()
    _finish(out / "warm")  # what torch does once, and chance, are inherited by the forks
    found = [_drill(out / "straight", kills - kills // 2, (5, 9, 20), random)]
    plant_collapse((1, 72), (2, 72))
    found.append(_drill(out / "going-back", kills // 2, (53, 80), random))  # inside the saves of the two returns
    print(json.dumps(found))
    rows = [(row, kind["whole"]) for kind in found for row in kind["killed"]]
    others = sum(row["fingerprint"] != whole or bool(row["remains"]) for row, whole in rows)
    print(f"{len(rows)} kills, {others} came out otherwise than the uninterrupted training", file=sys.stderr)
    if others:
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[4:] == ["compact"]:
        KILLED["recipe"] = compact_recipe()
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else secrets.randbits(32))
