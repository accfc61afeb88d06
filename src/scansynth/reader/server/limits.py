"""Rate limits: a token bucket for each visitor, filled at a steady rate.

The buckets are in the memory of the process; a restart fills them. They keep one visitor from blocking the others
and from guessing; they do not protect against many machines at once.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

_MOST_BUCKETS = 10_000  # the longest unused are forgotten: memory stays bounded, whoever comes


@dataclass
class Bucket:
    """What is left of one visitor's tokens, and when that was so."""

    left: float
    since: float


@dataclass(frozen=True)
class Limit:
    """One limit for many visitors.

    Attributes:
        rate: Tokens a second that come back.
        burst: Tokens that a bucket holds.
        counter: Seconds that only go up.
    """

    rate: float
    burst: float
    counter: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, Bucket] = field(default_factory=OrderedDict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def take(self, visitor: str) -> bool:
        """Takes a token, when one is left."""
        with self._guard:
            bucket = self._bucket(visitor)
            if bucket.left < 1.0:
                return False
            bucket.left -= 1.0
            return True

    def _bucket(self, visitor: str) -> Bucket:
        now = self.counter()
        bucket = self._buckets.setdefault(visitor, Bucket(self.burst, now))
        bucket.left = min(self.burst, bucket.left + (now - bucket.since) * self.rate)
        bucket.since = now
        self._buckets.move_to_end(visitor)
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)
        return bucket
