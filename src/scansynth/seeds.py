"""Seeds: every purpose has its own random generator, derived from one number and a name."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, *names: object) -> int:
    """A 63-bit seed for one purpose, the same on every machine.

    Independent purposes get independent streams, and adding a purpose shifts no other:
    SHA-256 of the seed and the names, its first 63 bits.

    Args:
        seed: The study's or the command's seed.
        names: The purpose, for example `("noise", 17)`.
    """
    text = "\x1f".join([str(seed), *(str(name) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: object) -> np.random.Generator:
    """A numpy generator for one purpose; see `derive_seed`."""
    return np.random.default_rng(derive_seed(seed, *names))
