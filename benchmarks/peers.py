"""scansynth side by side with what a user would pick in its place: same images, same judge, same processor time.

    python benchmarks/peers.py STUDY --work FOLDER --out docs/results/peers.json [--minutes 5 15 30 60] [--seeds 3]
        [--draw 500] [--size narrow] [--peers compact dcgan ...] [--pictures docs/images]

STUDY is an ingested study; here `lidc-patches` at 64 pixels. Each peer learns from the train patients' images of one
label, one grey channel, flips off, with its authors' settings for little data as far as they give any (a line in the
results says them). `narrow` makes the UNets a quarter as wide, with smaller batches and shorter samplers, since at the
authors' width a CPU makes a few steps an hour; `authors` is for a GPU. The others have one size.

* Each peer has a virtual environment of its own in FOLDER, made here with pip, with the versions below. None is a
  dependency of the project.
* Equal time is processor time of one thread, not the clock: so it holds on a busy machine. Only the training counts.
  `compact` and `dcgan` compute in bfloat16 where the processor multiplies it natively, the others in float32: so each
  does for a user. Rates of `compact` run down over the whole time, so that an earlier checkpoint of it is worse than
  the end of a training of that length.
* Of the checkpoints until a time, tune patients choose one (KID, features of no judge). Test patients then judge the
  chosen: KID, coverage and recall by two encoders, the share of near copies of train images, the audit's pixel judge.
* After each job and each judgement the results are written. Started again with the same command it goes on: a job is
  one training of one peer, and a set that is whole is not made again.
* A peer that cannot run is listed with the reason.

The rule, written before the first run. Of two KIDs the difference has a 95% interval (patients left out in turn from
both at once, then blocks of each set). Over a peer, at a time, `compact` is

    ahead     if in every seed its KID is lower by both encoders and the interval lies below 0 by both
    behind    if the same holds the other way round
    level     else

A set with more near copies than the audit's margin allows (`copies.flag_rate` refuted) has lost to one without,
whatever its KID. The target is met when `compact` has the lower KID, by both encoders and in every seed, at every time,
and is ahead of every peer at the last one; it can be met only by a run of 60 minutes with three seeds. Coverage, recall
and the pixel judge decide nothing and are told.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from peers_judge import Judge, difference, judged, open_judge, tune_kid
from peers_page import write_page

from scansynth.data.tensors import to_signed, to_stored
from scansynth.files import read_json, write_json

HERE = Path(__file__).parent / "contestants"
TORCH = ("torch==2.13.0", "torchvision==0.28.0")


@dataclass(frozen=True)
class Peer:
    """One generator.

    Attributes:
        name: Of its file in `contestants`.
        packages: For pip; none: this environment.
        note: What differs from how its authors run it.
    """

    name: str
    packages: tuple[str, ...] = ()
    note: str = ""


_MONAI = ("torch==2.13.0", "monai==1.6.1", "einops==0.8.2")
_ADAPTER = "on a CPU through an adapter: it asserts CUDA at import"
PEERS = (
    Peer("compact"),
    Peer("dcgan"),
    Peer("monai_gan", _MONAI),
    Peer("lightweight", (*TORCH, "lightweight-gan==1.2.1"), _ADAPTER),
    Peer("stylegan2", (*TORCH, "stylegan2-pytorch==1.9.0"), f"{_ADAPTER}; colour only: the grey channel three times"),
    Peer("rectified_flow", (*TORCH, "rectified-flow-pytorch==0.14.0")),
    Peer("denoising_diffusion", (*TORCH, "denoising-diffusion-pytorch==2.3.4")),
    Peer("monai_diffusion", _MONAI),
    Peer("monai_flow", _MONAI),
)
OURS = {"compact", "dcgan"}
COMMANDS = 4
"""Lines that a user of scansynth writes: init, ingest, train, generate."""


class NotRun(Exception):
    """A peer cannot run, and why."""


def python_of(peer: Peer, work: Path) -> str:
    """The Python of a peer's environment, made where it is not there.

    Raises:
        NotRun: pip cannot install it.
    """
    if not peer.packages:
        return sys.executable
    folder = work / "environments" / "-".join(package.replace("==", "-") for package in peer.packages[-2:])
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", *peer.packages]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise NotRun(f"pip cannot install it: {_last_line(done.stderr)}")
        ready.touch()
    return str(python)


def train(peer: Peer, judge: Judge, seed: int, asked: argparse.Namespace) -> Path:
    """The folder of one training, with a set of each checkpoint.

    Raises:
        NotRun: It ended with an error.
    """
    folder = asked.work / "jobs" / f"{peer.name}-{seed}-{asked.size}-{asked.draw}"
    times = [60 * minutes for minutes in asked.minutes]
    if all((folder / f"{seconds:g}.json").is_file() for seconds in times):
        return Path(folder)
    python, images = python_of(peer, asked.work), asked.work / "train.npy"
    np.save(images, to_stored(judge.compared.train.images))
    command = [python, str(HERE / "harness.py"), peer.name, "--images", str(images), "--out", str(folder)]
    command += ["--patients", str(judge.compared.train.patient_count), "--draw", str(asked.draw), "--seed", str(seed)]
    command += ["--size", asked.size, "--seconds", *(f"{seconds:g}" for seconds in times)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True, env=one_thread)
    if done.returncode:
        raise NotRun(_last_line(done.stderr))
    return Path(folder)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it ended without a message"])[-1][:200]


def images_of(folder: Path, seconds: float) -> Any:
    """A set (n, rows, columns) in [-1, 1]."""
    return to_signed(np.load(folder / f"{seconds:g}.npy"))


def rows_of(peer: Peer, seed: int, folder: Path, judge: Judge, minutes: list[float]) -> list[dict[str, Any]]:
    """A row for each time: the training until then, and the chosen checkpoint as it was judged."""
    rows, best = [], (np.inf, 0.0)
    for now in minutes:
        seconds = 60 * now
        record = read_json(folder / f"{seconds:g}.json")
        chosen_on = _kept(folder / f"{seconds:g}.tune.json", partial(_of_set, tune_kid, judge, folder, seconds))
        best = min(best, (chosen_on, now))
        chosen = 60 * best[1]
        found = _kept(folder / f"{chosen:g}.judged.json", partial(_of_set, judged, judge, folder, chosen))
        rows.append(
            {"peer": peer.name, "seed": seed, "minutes": now, "chosen_minutes": best[1], "tune_kid": chosen_on}
            | {"training": record, "judged": found}
        )
    return rows


def _of_set(what: Callable[[Judge, Any], Any], judge: Judge, folder: Path, seconds: float) -> Any:
    return what(judge, images_of(folder, seconds))


def _kept(path: Path, made: Callable[[], Any]) -> Any:
    """What stands in a file, or is made and written there."""
    if not path.is_file():
        write_json(path, {"found": made()})
    return read_json(path)["found"]


def differences(rows: list[dict[str, Any]], judge: Judge, folders: dict[tuple[str, int], Path]) -> list[dict[str, Any]]:
    """KID of `compact` less that of each other peer, of the chosen sets of each time and seed."""
    found = []
    ours = {(row["seed"], row["minutes"]): row for row in rows if row["peer"] == "compact"}
    for row in rows:
        mine = ours.get((row["seed"], row["minutes"]))
        if row["peer"] == "compact" or mine is None:
            continue
        sides = [(folders[side["peer"], side["seed"]], 60 * side["chosen_minutes"]) for side in (mine, row)]
        name = f"{sides[0][1]:g}-less-{row['peer']}-{sides[1][1]:g}.json"

        found.append(
            {
                "over": row["peer"],
                "seed": row["seed"],
                "minutes": row["minutes"],
                "kid": _kept(sides[0][0] / name, partial(_less, judge, *sides)),
                "copies_refuted": [copied(mine), copied(row)],
            }
        )
    return found


def _less(judge: Judge, mine: tuple[Path, float], other: tuple[Path, float]) -> dict[str, Any]:
    return difference(judge, images_of(*mine), images_of(*other))


def copied(row: dict[str, Any]) -> bool:
    """Whether a set holds more near copies than the margin allows."""
    return bool(row["judged"]["copies.flag_rate"]["verdict"] == "refuted")


def verdict(pairs: list[dict[str, Any]]) -> str:
    """`ahead`, `behind` or `level`, from the differences with one peer at one time in all seeds."""
    mine, theirs = (any(pair["copies_refuted"][side] for pair in pairs) for side in (0, 1))
    if mine != theirs:
        return "behind" if mine else "ahead"
    kids = [kid for pair in pairs for kid in pair["kid"].values()]
    if all(kid["interval"][1] < 0 for kid in kids):
        return "ahead"
    return "behind" if all(kid["interval"][0] > 0 for kid in kids) else "level"


def target(pairs: list[dict[str, Any]], peers: int, minutes: list[float], seeds: int) -> str:
    """Whether the target is met: `met`, `missed`, or `not asked` of a run that is too short or lacks a peer."""
    whole = len(pairs) == peers * len(minutes) * seeds
    if not whole or max(minutes) < 60 or seeds < 3:
        return "not asked"
    lower = all(kid["value"] < 0 for pair in pairs for kid in pair["kid"].values())
    last = [pair for pair in pairs if pair["minutes"] == max(minutes)]
    ahead = all(
        verdict([pair for pair in last if pair["over"] == over]) == "ahead" for over in {p["over"] for p in last}
    )
    return "met" if lower and ahead else "missed"


def lines_of(peer: Peer) -> int:
    """Lines that a user writes: those of the peer's file here without imports, comments, docstrings and adapters."""
    if peer.name in OURS:
        return COMMANDS
    count, inside = 0, False
    for line in (line.strip() for line in (HERE / f"{peer.name}.py").read_text(encoding="utf-8").splitlines()):
        quotes = line.count('"""')
        skipped = inside or quotes or not line or line.startswith(("#", "import ", "from "))
        skipped = skipped or line in {"declare_nms()", "pretend_cuda()", 'absent("aim")'}
        inside = inside != (quotes == 1)
        count += not skipped
    return count


def summary(asked: argparse.Namespace, judge: Judge) -> dict[str, Any]:
    """What stands at the head of the results."""
    parts = {"train": judge.compared.train, "tune": judge.tune, "test": judge.compared.test}
    minutes, named = " ".join(f"{value:g}" for value in asked.minutes), " ".join(asked.peers)
    return {
        "command": f"python benchmarks/peers.py STUDY --work FOLDER --minutes {minutes} --seeds {asked.seeds} "
        f"--draw {asked.draw} --size {asked.size} --peers {named} --out docs/results/{asked.out.name}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores that others used too, one thread, no GPU",
        "cohort": asked.name,
        "label": asked.label,
        "side": int(judge.compared.train.images.shape[-1]),
        "images": {name: len(part.cases) for name, part in parts.items()},
        "patients": {name: part.patient_count for name, part in parts.items()},
        "minutes": asked.minutes,
        "seeds": asked.seeds,
        "draw": asked.draw,
        "size": asked.size,
        "peers": {
            peer.name: {"packages": list(peer.packages), "note": peer.note, "lines": lines_of(peer)}
            for peer in PEERS
            if peer.name in asked.peers
        },
    }


def run(asked: argparse.Namespace) -> None:
    """All jobs, the results written after each."""
    judge = open_judge(asked.study, asked.label, asked.work / "encoders")
    head, rows, folders, not_run = summary(asked, judge), [], {}, {}
    for seed in range(asked.seeds):
        for peer in (peer for peer in PEERS if peer.name in asked.peers and peer.name not in not_run):
            try:
                folders[peer.name, seed] = train(peer, judge, seed, asked)
            except NotRun as reason:
                not_run[peer.name] = str(reason)
            else:
                rows += rows_of(peer, seed, folders[peer.name, seed], judge, asked.minutes)
            pairs = differences(rows, judge, folders)
            others = [name for name in asked.peers if name != "compact"]
            verdicts = {
                f"{now:g} minutes": {
                    over: verdict(these)
                    for over in others
                    if (these := [p for p in pairs if p["over"] == over and p["minutes"] == now])
                }
                for now in asked.minutes
            }
            result = {**head, "target": target(pairs, len(others), asked.minutes, asked.seeds), "verdicts": verdicts}
            result |= {"not_run": not_run, "differences": pairs, "runs": rows}
            write_json(asked.out, result)
            write_page(result, {key: folders[key] for key in folders if key[1] == 0}, asked.out, asked.pictures)
            print(time.strftime("%H:%M:%S"), peer.name, seed, not_run.get(peer.name, "done"), flush=True)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument(
        "--work", type=Path, required=True, help="environments, sets and judgements; outside the project"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--minutes", type=float, nargs="+", default=[5, 15, 30, 60], help="processor time of one thread"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draw", type=int, default=500, help="images of a set")
    parser.add_argument("--size", choices=("narrow", "authors"), default="narrow")
    parser.add_argument("--peers", nargs="+", choices=[peer.name for peer in PEERS], default=[p.name for p in PEERS])
    parser.add_argument("--name", default="lidc-patches", help="of the cohort, in the results")
    parser.add_argument("--label", default="nodule")
    parser.add_argument("--pictures", type=Path, help="folder for a grid of each peer's images; synthetic ones only")
    asked = parser.parse_args()
    asked.minutes = sorted(asked.minutes)
    asked.work.mkdir(parents=True, exist_ok=True)
    run(asked)


if __name__ == "__main__":
    main()
