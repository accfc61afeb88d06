"""The ranks of one training: processes that torchrun started, each of which trains on its share of every batch.

All hold the same networks, draw the same random numbers and take their own rows of them. A loss is a mean over rows,
and all shares are equal, so the mean over the ranks of the gradients is the gradient over the whole batch. What a layer
takes over the whole batch, it takes with `whole`, through which gradients pass. Outside torchrun there is one rank, and
everything here gives back what it is given.

Nothing that crosses between processes is a pickle: tensors, and JSON as bytes.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from scansynth.errors import ConfigError, RankError

MINUTES = "SCANSYNTH_RANK_MINUTES"
"""Environment variable: how long a rank waits for the others. One that died is noticed at once, a lost machine so."""

_MINUTES = 15.0
_MOST_DRIFT = 1e-4
_apart = False


def count() -> int:
    """How many ranks train together; 1 outside torchrun."""
    return dist.get_world_size() if _joined() else 1


def number() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if _joined() else 0


def on_this_machine() -> int:
    """How many of them share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if count() > 1 else 1


def first() -> bool:
    """Whether this is the rank that writes."""
    return number() == 0


def _joined() -> bool:
    return not _apart and dist.is_available() and dist.is_initialized()


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Lets one rank compute something by itself: in the block it is the only one."""
    global _apart  # noqa: PLW0603 (as the group itself is one for the whole process)
    before, _apart = _apart, True
    try:
        yield
    finally:
        _apart = before


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Joins the ranks that torchrun started, with gloo for what lies in memory and NCCL for what lies on GPUs.

    Raises:
        ConfigError: The time that a rank waits is no number.
        RankError: The others were not found.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        minutes = float(os.environ.get(MINUTES) or _MINUTES)
        patience = datetime.timedelta(minutes=minutes)
    except (ValueError, OverflowError):
        raise ConfigError(f"{MINUTES} is {os.environ[MINUTES]!r}; set it to a number of minutes") from None
    try:
        dist.init_process_group(backend, timeout=patience)
    except (RuntimeError, ValueError) as fault:
        words = " ".join(str(fault).split())[:200]
        raise RankError(
            f"rank {os.environ.get('RANK')} of {os.environ.get('WORLD_SIZE')} did not find the others ({words}); look "
            "at the address and port that torchrun was given, and at the network between the machines"
        ) from None
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """Turns what gloo and NCCL say when another rank is gone into a refusal.

    Raises:
        RankError: Another rank is gone, or did not answer in time.
    """
    try:
        yield
    except RuntimeError as fault:
        raise RankError(
            f"rank {number()} of {count()}: another rank is gone, or did not answer in time; the last checkpoint is "
            "intact: look at what that rank said, and start the same command again"
        ) from fault


def own(rows: Tensor, parts: int = 1) -> Tensor:
    """This rank's rows of a whole batch.

    Args:
        rows: (parts * n, ...), the same on all ranks; n is a multiple of their number.
        parts: Batches that stand one after the other in `rows`; of each, this rank has an equal share.
    """
    if count() == 1:
        return rows
    return rows.reshape(parts, count(), -1, *rows.shape[1:])[:, number()].flatten(0, 1)


def whole(rows: Tensor, parts: int = 1) -> Tensor:
    """The whole batch of which each rank has its own rows: the inverse of `own`.

    Gradients pass, also those of gradients: a row's is the sum of what all ranks make of it.

    Args:
        rows: (parts * n, ...), this rank's.
        parts: As in `own`.
    """
    if count() == 1:
        return rows
    stacked: Tensor = _Stack.apply(rows)  # type: ignore[no-untyped-call]  # torch's stub has no types here
    return stacked.reshape(count(), parts, -1, *rows.shape[1:]).transpose(0, 1).flatten(0, 2)


class _Stack(torch.autograd.Function):
    """The tensors of all ranks, (ranks, ...)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        """Gathers."""
        rows = rows.contiguous()
        found = [torch.empty_like(rows) for _ in range(count())]
        with _answered():
            dist.all_gather(found, rows)
        return torch.stack(found)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Its transpose."""
        passed: Tensor = _Part.apply(gradient)  # type: ignore[no-untyped-call]  # torch's stub has no types here
        return passed


class _Part(torch.autograd.Function):
    """Of tensors (ranks, ...) the sum over the ranks, and of that this rank's part."""

    @staticmethod
    def forward(ctx: Any, stacked: Tensor) -> Tensor:
        """Sums, and takes."""
        return _summed(stacked)[number()]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Its transpose."""
        passed: Tensor = _Stack.apply(gradient)  # type: ignore[no-untyped-call]  # torch's stub has no types here
        return passed


def _summed(values: Tensor) -> Tensor:
    """The sum over the ranks, the same to the bit on all; no gradient passes."""
    total = values.detach().clone(memory_format=torch.contiguous_format)
    with _answered():
        dist.all_reduce(total)
    return total


def mean(values: Tensor) -> Tensor:
    """The mean over the ranks; no gradient passes."""
    return values if count() == 1 else _summed(values) / count()


def average_gradients(optimiser: torch.optim.Optimizer, *_: Any) -> None:
    """Gives every parameter the mean over the ranks of its gradients; for `Optimizer.register_step_pre_hook`.

    All gradients travel as one tensor.
    """
    held = [value.grad for group in optimiser.param_groups for value in group["params"] if value.grad is not None]
    averaged = mean(torch.cat([gradient.reshape(-1) for gradient in held]))
    parts = torch.split(averaged, [gradient.numel() for gradient in held])
    for gradient, values in zip(held, parts, strict=True):
        gradient.copy_(values.view(gradient.shape))


def any_of(*flags: bool) -> tuple[bool, ...]:
    """Of each flag, whether a rank has it up."""
    if count() == 1:
        return flags
    raised = torch.tensor(flags, dtype=torch.int32)
    with _answered():
        dist.all_reduce(raised, dist.ReduceOp.MAX)
    return tuple(bool(flag) for flag in raised.tolist())


def told(value: Any) -> Any:
    """What the first rank has, a JSON value, on all ranks."""
    return value if count() == 1 else json.loads(told_bytes(json.dumps(value).encode()))


def told_bytes(data: bytes) -> bytes:
    """What the first rank has, on all ranks."""
    if count() == 1:
        return data
    length = torch.tensor([len(data)])
    with _answered():
        dist.broadcast(length, 0)
        content = torch.zeros(int(length), dtype=torch.uint8)
        if first() and data:
            content.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        if int(length):
            dist.broadcast(content, 0)
    return content.numpy().tobytes()


def drifted(values: Sequence[Tensor]) -> bool:
    """Whether tensors that should be the same on all ranks are not: a rank then trains on something else."""
    if count() == 1:
        return False
    mine = torch.stack([value.detach().double().abs().sum() for value in values]).cpu()
    apart_by = (whole(mine[None]) - mine).abs() / mine.abs().clamp(min=1e-12)
    return any_of(bool(apart_by.max() > _MOST_DRIFT))[0]


def wait_for_the_first() -> None:
    """Returns when the first rank has ended, which has said what was wrong: torchrun ends all when one ends."""
    with contextlib.suppress(RankError):
        told(None)
