"""History of past fakes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from scansynth.gan.replay import ReplayHistory, exchange, new_history


def numbered(first: int, count: int) -> Tensor:
    """Images that say which they are."""
    return torch.arange(first, first + count, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()


def classed(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images with their classes: number modulo 7."""
    return images, images[:, 0, 0, 0].long() % 7


def named(images: Tensor, labels: Tensor | None = None) -> list[int]:
    """Which images they are; a class that came with one must be its own."""
    found = [int(value) for value in images[:, 0, 0, 0]]
    assert labels is None or labels.tolist() == [name % 7 for name in found]
    return found


def filled(capacity: int) -> ReplayHistory:
    history = new_history(capacity, (1, 2, 2), torch.empty(0))
    exchange(history, *classed(numbered(0, capacity)), 0.5, torch.Generator().manual_seed(0))
    return history


@given(st.integers(2, 8), st.integers(8, 24), st.floats(0.05, 0.95), st.integers(0, 1000))
def test_every_fake_is_shown_or_kept_and_none_twice(batch: int, capacity: int, share: float, seed: int) -> None:
    history = new_history(capacity, (1, 2, 2), torch.empty(0))
    random = torch.Generator().manual_seed(seed)
    for step in range(12):
        fakes = numbered(step * batch, batch)
        before, full = (
            named(history.images[: history.filled], history.labels[: history.filled]),
            history.filled == capacity,
        )
        parts = [named(*part) for part in exchange(history, *classed(fakes), share, random)]
        shown = [name for part in parts for name in part]
        after = named(history.images[: history.filled], history.labels[: history.filled])
        assert len(shown) == len(set(shown)) == batch
        assert len(after) == len(set(after)) <= capacity
        assert set(named(fakes)) <= set(shown) | set(after)
        if not full:
            assert parts == [named(fakes)]
            continue
        current, past = parts
        assert len(past) == min(max(1, round(share * batch)), batch - 1)
        assert set(current) <= set(named(fakes))
        assert set(past) <= set(before)
        assert not set(shown) & set(after)
    assert history.filled == min(capacity, 12 * batch)


def test_past_and_current_fakes_never_share_a_batch() -> None:
    """Batch norm would tell the discriminator that old images are among the new."""
    history, random = filled(32), torch.Generator().manual_seed(1)
    for step in range(20):
        current, past = exchange(history, *classed(numbered(1000 + 8 * step, 8)), 0.5, random)
        assert named(*current) == list(range(1000 + 8 * step + 4, 1000 + 8 * step + 8))
        assert max(named(*past)) < 1000 + 8 * step


def test_the_discriminator_sees_fakes_that_the_generator_gave_up() -> None:
    history, random = filled(32), torch.Generator().manual_seed(1)
    shown = [named(*exchange(history, *classed(numbered(1000 + 8 * step, 8)), 0.5, random)[1]) for step in range(20)]
    old = {name for batch in shown for name in batch if name < 1000}
    assert len(old) > 16


def test_draws_repeat_with_the_seed_and_leave_the_global_one_alone() -> None:
    before = torch.random.get_rng_state()
    results = [
        named(*exchange(filled(32), *classed(numbered(100, 8)), 0.5, torch.Generator().manual_seed(seed))[1])
        for seed in (3, 3, 4)
    ]
    assert results[0] == results[1] != results[2]
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_history_keeps_its_number_format(dtype: torch.dtype) -> None:
    history = new_history(4, (1, 2, 2), torch.empty(0, dtype=dtype))
    fakes = torch.linspace(-1, 1, 4).view(4, 1, 1, 1).expand(-1, 1, 2, 2)
    exchange(history, *classed(fakes), 0.5, torch.Generator())
    assert history.images.dtype == dtype
    assert {part.dtype for part, _ in exchange(history, *classed(fakes), 0.5, torch.Generator())} == {fakes.dtype}


def test_the_history_holds_copies() -> None:
    history, fakes = new_history(4, (1, 2, 2), torch.empty(0)), numbered(0, 4)
    exchange(history, *classed(fakes), 0.5, torch.Generator())
    fakes.fill_(99.0)
    assert named(history.images) == [0, 1, 2, 3]
