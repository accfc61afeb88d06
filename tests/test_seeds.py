"""Every random draw has its own stream."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scansynth.seeds import derive_seed, generator

PARTS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\x1f"), max_size=5) | st.integers(), max_size=3
)


@given(st.integers(0, 2**64), PARTS, PARTS)
def test_other_names_give_other_seeds(seed: int, first: list[object], second: list[object]) -> None:
    same = [str(part) for part in first] == [str(part) for part in second]
    assert (derive_seed(seed, *first) == derive_seed(seed, *second)) == same
    assert 0 <= derive_seed(seed, *first) < 2**63


def test_a_seed_is_the_same_on_every_machine() -> None:
    assert derive_seed(0, "noise", 17) == int(hashlib.sha256(b"0\x1fnoise\x1f17").hexdigest()[:16], 16) >> 1
    assert derive_seed(1, "noise", 17) != derive_seed(0, "noise", 17)


def test_streams_repeat_and_leave_the_global_one_alone() -> None:
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 (that it is not touched is the point)
    first, second = generator(3, "a").random(1000), generator(3, "b").random(1000)
    assert np.array_equal(first, generator(3, "a").random(1000))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.15
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
