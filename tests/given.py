"""Random draws that are given: each test, and each fixture that tests share, has a stream of its own by its name.

What the code draws from the operating system (`secrets`: keys, tokens, the order of a reader study) is another value
in each run, and a test on it would find another study each time. Here a draw depends on the name of the test alone:
not on the run, on the worker, or on the tests before it. Other processes that a test starts draw as a user's do.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from scansynth.seeds import derive_seed


class Stream:
    """In the place of the system's random numbers in `secrets`, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rng = random.Random(0)

    def token_bytes(self, count: int | None = None) -> bytes:
        """As `secrets.token_bytes`, which `token_hex` and `token_urlsafe` draw from."""
        with self._lock:
            return self._rng.randbytes(secrets.DEFAULT_ENTROPY if count is None else count)

    def choice(self, among: Sequence[Any]) -> Any:
        """As `secrets.choice`."""
        with self._lock:
            return self._rng.choice(among)

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Draws by `name` inside the block; after it the stream before goes on where it was.

        The global generators of random, numpy and torch (where a test has loaded it) start at the name's seed too.
        """
        seed = derive_seed(0, name)
        kept = self._rng, random.getstate(), np.random.get_state()  # noqa: NPY002  # the global one is what is given
        torch = sys.modules.get("torch")
        of_torch = torch.random.get_rng_state() if torch else None
        self._rng = random.Random(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        if torch:
            torch.manual_seed(seed)
        try:
            yield
        finally:
            self._rng = kept[0]
            random.setstate(kept[1])
            np.random.set_state(kept[2])  # noqa: NPY002
            if torch:
                torch.random.set_rng_state(of_torch)


STREAM = Stream()


def pytest_configure() -> None:
    """Puts the stream in the place of the system's random numbers."""
    secrets.token_bytes, secrets.choice = STREAM.token_bytes, STREAM.choice  # type: ignore[assignment]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test and its own fixtures draw by the test's name."""
    with STREAM.of(item.nodeid):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: pytest.FixtureRequest) -> Iterator[object]:
    """A fixture that tests share draws by its own name, whichever of them is the first to ask for it."""
    if fixturedef.scope == "function":
        return (yield)
    number = getattr(request, "param_index", 0)
    with STREAM.of(f"{request.node.nodeid}::{fixturedef.argname}[{number}]"):
        return (yield)
