"""Trainings of seconds on one rank, or on many; what came out as JSON.

torchrun ... ranks_training.py FOLDER KIND...: trains each kind in a folder of its own, goes on where a training there
was stopped, and the first rank writes `losses.json` and `fingerprint`.

ranks_training.py < PLAN: does so again and again, [[ranks, folder, kinds, kill], ...], with forks of this process for
ranks, which have imported everything already; where `kill` is not 0 the last rank kills itself in that round. In the
place of kinds may stand a command, `scansynth` and its arguments, which each rank runs. Each rank's exit code lands in
`ends.json`, what it says in `stderr-RANK`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_training import BATCH, CPU, EVERY_ROUND, IMAGES, NEVER, compact_recipe, fingerprint, remember_chance, tiny_job
from torch import Tensor

from scansynth import cli
from scansynth.console import silent
from scansynth.errors import RankError
from scansynth.gan.models.compact import Compact
from scansynth.gan.models.dcgan import Dcgan
from scansynth.gan.training_job import TrainingJob
from scansynth.gan.training_loop import train
from scansynth.learning import ranks

LONG, SHORT = 100, 8
"""Rounds."""

KINDS: dict[str, dict[str, Any]] = {
    "long": {},
    "short": {},
    "double-replay": {},
    "double-batch-norm": {"network": {"spectral_norm": False}, "loss": {"penalty": 1.0, "penalty_every": 2}},
    "double-compact": {},
}
"""The baseline, with spectral normalisation and past fakes; with batch norm in both networks, and a penalty through it;
and the small networks, whose batch of 8 is one group for the spread, on however many ranks. `double`: in float64."""


def _job(folder: Path, kind: str) -> TrainingJob:
    minutes = EVERY_ROUND if folder.parent.name.startswith("killed") else NEVER
    rounds = LONG if kind == "long" else SHORT
    schedule = {
        "epochs": rounds // (IMAGES // BATCH),
        **dict.fromkeys(("log_every_images", "healthy_every_images", "grid_every_images"), rounds // 2 * BATCH),
    }
    job = tiny_job(folder, {**KINDS[kind], "schedule": schedule}, minutes)
    if kind != "double-compact":
        return job
    recipe = compact_recipe(penalty_every=2)
    recipe = recipe.model_copy(update={"schedule": job.recipe.schedule})
    labels, form = np.arange(IMAGES) % 2, job.form._replace(classes=2)
    return tiny_job(folder, minutes=minutes, recipe=recipe, labels=labels, form=form)


def _in_double() -> None:
    """Computes in float64, so that what is left of a difference is the mathematics and not the rounding."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]


def _watched(seen: list[list[float]], kill: int) -> None:
    """Keeps the losses of every round, and kills the last rank in one of them."""
    for family in (Dcgan, Compact):
        real = family.step

        def step(self: Any, *rest: Any, real: Any = real) -> Tensor:
            figures: Tensor = real(self, *rest)
            seen.append(ranks.mean(figures).tolist())
            if len(seen) == kill and ranks.number() == ranks.count() - 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return figures

        family.step = step  # type: ignore[method-assign, assignment]


def main(folder: Path, kinds: list[str], kill: int) -> None:
    """Trains each kind; those in float64 last."""
    torch.set_num_threads(1)
    remember_chance()
    seen: list[list[float]] = []
    _watched(seen, kill)
    with ranks.joined() if "RANK" in os.environ else contextlib.nullcontext():
        for kind in kinds:
            seen.clear()
            if kind.startswith("double"):
                _in_double()
            state = train(_job(folder / kind, kind), CPU, silent, lambda line: None)
            if ranks.first():
                (folder / kind / "losses.json").write_text(json.dumps(seen))
                (folder / kind / "fingerprint").write_text(fingerprint(state))


def _rank(number: int, count: int, port: int, folder: Path, kinds: list[str], kill: int) -> int:
    """Starts one rank in a fork and returns its process."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with (folder / f"stderr-{number}").open("w", buffering=1) as said:
            os.dup2(said.fileno(), 2)
            if count > 1:
                values = {"RANK": number, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
                os.environ.update({name: str(value) for name, value in values.items()})
            try:
                if kinds[0] == "scansynth":
                    sys.argv = kinds
                    cli.main()
                else:
                    main(folder, kinds, kill)
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
            except RankError as fault:
                print(fault, file=sys.stderr, flush=True)
                code = 2
            except BaseException:
                traceback.print_exc()
    finally:
        os._exit(code)


def _carry_out(plan: list[Any]) -> None:
    torch.set_num_threads(1)
    remember_chance()
    warm = Path(plan[0][1]).with_name("warm")
    train(_job(warm / "short", "short"), CPU, silent, lambda line: None)  # what torch does once, and chance: inherited
    for count, name, kinds, kill in plan:
        folder = Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        started = [_rank(number, count, port, folder, kinds, kill) for number in range(count)]
        ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in started]
        (folder / "ends.json").write_text(json.dumps(ends))
        if kill:
            copy = folder.with_name(f"{folder.name}-one")
            shutil.copytree(folder, copy)
            for left in ("ends.json", "stderr-0"):
                (copy / left).rename(copy / f"killed-{left}")


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]), sys.argv[2:], 0)
    else:
        _carry_out(json.load(sys.stdin))
