"""One training on many ranks: the losses of one, to the bit after a death, and only the first one writes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ranks_training
import torch
from command_line import scansynth
from ranks_training import KINDS, LONG, SHORT
from test_gan_scores import cohort
from tiny_training import CPU, SIDE, tiny_job

from scansynth.errors import ConfigError, RankError
from scansynth.files import read_json, read_json_lines
from scansynth.gan.layers.batch_norm import BatchNorm2d
from scansynth.gan.together import check_shares, follow
from scansynth.learning import ranks

PATIENCE = 900.0
"""Seconds in which nothing may hang; a loaded machine is given time."""


def launched(count: int, *words: object, nodes: tuple[str, ...] = ("--standalone",)) -> list[str]:
    """The command that starts so many ranks."""
    return [sys.executable, "-m", "torch.distributed.run", *nodes, "--nproc-per-node", str(count), *map(str, words)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "SCANSYNTH_DEVICE": "cpu", "SCANSYNTH_RANK_MINUTES": "2", **more}


def started(command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    """A command that has ended, whatever its exit code."""
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=PATIENCE, env=environment(**more)
    )


def losses(folder: Path, kind: str) -> np.ndarray:
    return np.array(json.loads((folder / kind / "losses.json").read_text()))


STUDY = f"""seed = 3
[cohort]
dicom = "/nowhere"
labels = "/nowhere/labels.csv"
positive = "nodule"
size = {SIDE}
key = "key"
[tracking]
tensorboard = false
[generator]
recipe = "dcgan"
[generator.overrides.network]
noise = 8
width = 4
[generator.overrides.schedule]
epochs = 2
"""


def study(folder: Path) -> Path:
    """A study after its ingest."""
    cohort(folder / "cohort")
    (folder / "study.toml").write_text(STUDY)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `1`, `2` and `4` of the same trainings on so many ranks.

    One was killed on two ranks, and went on on two in `killed` and on one in `killed-one`. In `refused` is what three
    ranks said of `study`, whose batches cannot be divided among them.
    """
    out = tmp_path_factory.mktemp("ranks")
    exact = [kind for kind in KINDS if kind.startswith("double")]
    plan = [(1, "1", list(KINDS), 0), (2, "2", list(KINDS), 0), (4, "4", exact, 0)]
    plan += [(2, "killed", ["short"], 7), (2, "killed", ["short"], 0), (1, "killed-one", ["short"], 0)]
    plan += [(3, "refused", ["scansynth", "train", str(study(out / "study"))], 0)]
    asked = json.dumps([(count, str(out / name), kinds, kill) for count, name, kinds, kill in plan])
    command = [sys.executable, ranks_training.__file__]
    subprocess.run(command, check=True, input=asked, text=True, timeout=2 * PATIENCE, env=environment())
    return out


def test_two_ranks_have_the_losses_of_one_over_a_hundred_rounds(made: Path) -> None:
    one, two = losses(made / "1", "long"), losses(made / "2", "long")
    assert len(one) == LONG
    assert len(np.unique(one[:, 0])) == LONG
    np.testing.assert_allclose(two, one, rtol=1e-4)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("double")])
def test_what_a_rank_does_is_its_share_exactly(made: Path, kind: str, count: int) -> None:
    one, many = losses(made / "1", kind), losses(made / str(count), kind)
    assert len(one) == SHORT
    np.testing.assert_allclose(many, one, rtol=1e-9)


def test_only_the_first_rank_writes(made: Path) -> None:
    names = {count: {path.name for path in (made / str(count) / "short").rglob("*")} for count in (1, 2)}
    assert names[1] == names[2]
    assert len(read_json_lines(made / "2" / "short" / "log.jsonl")) == 2


def test_the_death_of_a_rank_ends_all_and_the_training_goes_on(made: Path) -> None:
    # the folder as the death left it was copied before the training went on on one rank
    assert read_json(made / "killed-one" / "killed-ends.json") == [2, -9]
    said = (made / "killed-one" / "killed-stderr-0").read_text()
    assert "rank 0 of 2: another rank is gone" in said
    assert "start the same command again" in said
    assert "Traceback" not in said

    assert read_json(made / "killed" / "ends.json") == [0, 0]
    assert len(losses(made / "killed", "short")) == SHORT - 6  # the round of the death is done again
    again = (made / "killed" / "short" / "fingerprint").read_text()
    assert again == (made / "2" / "short" / "fingerprint").read_text()

    left = losses(made / "killed-one", "short")
    assert len(left) == SHORT - 6
    np.testing.assert_allclose(left, losses(made / "1", "short")[-len(left) :], rtol=1e-4)


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[str, str]]:
    """Two network namespaces joined by one cable, 10.99.0.1 and 10.99.0.2; skips where the system forbids them."""
    names = (f"ranks-a-{os.getpid()}", f"ranks-b-{os.getpid()}")
    cables = ("ranks0", "ranks1")

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    try:
        for name in names:
            ip("netns", "add", name)
        ip("-n", names[0], "link", "add", cables[0], "type", "veth", "peer", "name", cables[1], "netns", names[1])
        for number, (name, cable) in enumerate(zip(names, cables, strict=True), 1):
            ip("-n", name, "addr", "add", f"10.99.0.{number}/24", "dev", cable)
            ip("-n", name, "link", "set", cable, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    except (FileNotFoundError, subprocess.CalledProcessError) as fault:
        pytest.skip(f"network namespaces and a cable between them are not permitted here: {fault}")
    finally:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def test_two_hosts_are_as_two_processes_of_one(made: Path, tmp_path: Path) -> None:
    with two_hosts() as hosts:
        running = []
        for number, host in enumerate(hosts):
            nodes = (
                "--nnodes",
                "2",
                "--node-rank",
                str(number),
                "--master-addr",
                "10.99.0.1",
                "--master-port",
                "29411",
            )
            command = launched(1, ranks_training.__file__, tmp_path, "short", nodes=nodes)
            running.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", host, *command],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=environment(GLOO_SOCKET_IFNAME=f"ranks{number}"),
                )
            )
        ends = [process.communicate(timeout=PATIENCE)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], ends
    assert (tmp_path / "short" / "fingerprint").read_text() == (made / "2" / "short" / "fingerprint").read_text()


def test_what_cannot_be_divided_is_refused_once_by_all_ranks_together(made: Path) -> None:
    assert read_json(made / "refused" / "ends.json") == [2, 2, 2]
    lines = [line for number in range(3) for line in (made / "refused" / f"stderr-{number}").read_text().splitlines()]
    said = [line for line in lines if "scansynth:" in line]
    assert len(said) == 1, lines
    assert "cannot be divided equally among 3 ranks; start 1, 2, 4 or 8" in said[0]
    assert not (made / "study" / "gan").exists()


def test_the_command_trains_a_study_on_two_ranks(made: Path, tmp_path: Path) -> None:
    """That which three ranks refused."""
    folder = shutil.copytree(made / "study", tmp_path / "study")
    done = started(launched(2, "-m", "scansynth", "train", folder))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("wrote ") == 1
    assert read_json(folder / "gan" / "main" / "run.json")["ranks"] == 2
    events = [row["event"] for row in read_json_lines(folder / "journal.jsonl") if row["stage"] == "train"]
    assert events == ["began", "stopped", "began", "written"]


@pytest.mark.parametrize("number", [0, 1])
def test_torchrun_starts_nothing_but_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    """The first rank says so; the others wait until torchrun ends them."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    for name, value in {"RANK": number, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))
    assert scansynth("status", tmp_path) == 2
    said = capsys.readouterr().err
    assert said.count("torchrun is for scansynth train alone") == said.count("\n") == 1 - number
    assert len(waited) == number


@pytest.fixture
def of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Says that there are so many ranks."""
    return lambda count: monkeypatch.setattr(ranks, "count", lambda: 1 if ranks._apart else count)


@pytest.mark.parametrize(
    ("replay", "batch", "count", "words"),
    [
        ({"on": False}, 9, 2, "batches of 9 images cannot be divided equally among 2 ranks; start 1, 3 or 9"),
        ({"share": 0.3}, 8, 4, "8 images, of which 2 are past fakes (replay.share), cannot be"),
        ({"on": True}, 12, 4, "start 1, 2, 3 or 6 (torchrun --nproc-per-node), or set generator.overrides"),
    ],
)
def test_a_batch_that_cannot_be_divided_is_refused_with_what_works(
    tmp_path: Path, of: Callable[[int], None], replay: dict[str, object], batch: int, count: int, words: str
) -> None:
    respond = {"collapse": {"respond": bool(replay.get("on", True))}}
    job = tiny_job(tmp_path, {"replay": replay, "schedule": {"batch": batch}, **respond})
    check_shares(job)  # alone
    of(count)
    with pytest.raises(ConfigError) as fault:
        check_shares(job)
    assert words in str(fault.value)
    assert "schedule.batch = " in str(fault.value)


def test_the_batch_that_is_advised_works(tmp_path: Path, of: Callable[[int], None]) -> None:
    job = tiny_job(tmp_path, {"schedule": {"batch": 12}})
    of(4)
    with pytest.raises(ConfigError, match=r"schedule\.batch = 16 in") as fault:
        check_shares(job)
    check_shares(tiny_job(tmp_path, {"schedule": {"batch": 16}}))
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("name", ["images, settings and seed", "number format", "version of scansynth"])
def test_a_rank_that_would_train_something_else_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    job = tiny_job(tmp_path)
    monkeypatch.setattr(ranks, "told", lambda _: {**common(job), name: "another"})
    with pytest.raises(RankError, match=f"cannot take part: it has another {name} than rank 0"):
        follow(lambda: job, lambda: CPU, pytest.fail)


def common(job: object) -> dict[str, str]:
    from scansynth.gan.together import _common  # noqa: PLC0415 (what the first rank tells)

    return _common(job, CPU)  # type: ignore[arg-type]


def test_a_rank_whose_first_one_refused_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object) -> None:
        raise RankError("gone")

    monkeypatch.setattr(ranks, "told", gone)
    assert not follow(pytest.fail, pytest.fail, pytest.fail)


def test_one_rank_gives_back_what_it_is_given() -> None:
    rows = torch.rand(6, 2, requires_grad=True)
    assert ranks.own(rows, 2) is ranks.whole(rows, 2) is ranks.mean(rows) is rows
    assert (ranks.count(), ranks.number(), ranks.first()) == (1, 0, True)
    assert ranks.any_of(True, False) == (True, False)
    assert ranks.told({"a": 1}) == {"a": 1}


def test_every_rank_takes_its_share_of_every_part(monkeypatch: pytest.MonkeyPatch, of: Callable[[int], None]) -> None:
    rows = torch.arange(16)  # two parts of eight
    of(4)
    taken = []
    for number in range(4):
        monkeypatch.setattr(ranks, "number", lambda number=number: number)
        taken.append(ranks.own(rows, 2).tolist())
    assert taken == [[0, 1, 8, 9], [2, 3, 10, 11], [4, 5, 12, 13], [6, 7, 14, 15]]


def test_equal_parts_have_the_moments_of_the_whole(monkeypatch: pytest.MonkeyPatch, of: Callable[[int], None]) -> None:
    """With a rank whose images are those of the other, moved: the batch norm of the whole, and its running moments."""
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 2.0 + 1.0
    both = torch.cat([x, x + 7.0])
    theirs, ours = torch.nn.BatchNorm2d(3), BatchNorm2d(3)
    expected = theirs(both)[:4]
    of(2)
    monkeypatch.setattr(ranks, "whole", lambda found: torch.cat([found, found + torch.tensor([7.0, 0.0])[:, None]]))
    torch.testing.assert_close(ours(x), expected)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    monkeypatch.undo()
    assert torch.equal(ours.eval()(x), torch.nn.BatchNorm2d.forward(ours, x))


def test_the_memory_of_a_rank_is_that_of_its_share(tmp_path: Path, of: Callable[[int], None]) -> None:
    from scansynth.gan.memory import training_bytes  # noqa: PLC0415

    job = replace(tiny_job(tmp_path), patients=36)
    alone = training_bytes(job.recipe, job.form, 36, 16, CPU)
    half = training_bytes(job.recipe, job.form, 36, 8, CPU)
    of(2)
    assert training_bytes(job.recipe, job.form, 36, 16, CPU) == half
    assert half.activations < alone.activations
