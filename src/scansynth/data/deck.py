"""Places dealt as cards are: none a second time before each had its first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scansynth.seeds import generator

Places = NDArray[np.int64]


class Deck:
    """Places dealt in passes: each pass deals every place once, in an order of its own."""

    def __init__(self, places: Places, seed: int, name: str) -> None:
        self._places, self._seed, self._name = places, seed, name
        self._passes = 0
        self._hand: Places = places[:0]

    def deal(self, count: int) -> Places:
        """The next `count` places."""
        while len(self._hand) < count:
            order = generator(self._seed, "pass", self._name, self._passes).permutation(len(self._places))
            self._hand = np.concatenate([self._hand, self._places[order]])
            self._passes += 1
        dealt, self._hand = self._hand[:count], self._hand[count:]
        return dealt
