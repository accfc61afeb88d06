"""The confined reading of files on the machines of a Ray cluster: the same children, started where the work is done.

Each worker holds a `DecodePool` of one child. Files go to it a few at a time, by their paths: every machine must see
the same files under the same names.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from scansynth.config import EngineSettings
from scansynth.dicom.header import Header
from scansynth.dicom.read import Limits
from scansynth.dicom.sandbox import Decoded, DecodePool, PictureJob
from scansynth.engine.crew import Crew
from scansynth.errors import DicomError

_FILES, _PIXELS = 16, 1 << 20
"""Files, and pixels of their images, that a worker is given at a time; its answer waits in memory until it is taken."""

T = TypeVar("T")


class Reader:
    """What a worker holds: it reads a few files in its child."""

    def __init__(self, memory_bytes: int, seconds: float) -> None:
        self._pool = DecodePool(1, memory_bytes, seconds)

    def read(self, method: str, jobs: list[Any], options: Mapping[str, Any]) -> list[Any]:
        """The answers of one method of the pool; a refusal as its two texts, since a fault loses one on its way."""
        answers = getattr(self._pool, method)(jobs, **options)
        return [(one.reason, one.detail) if isinstance(one, DicomError) else one for one in answers]


class ClusterPool(DecodePool):
    """Reads scans on the workers of a cluster, and all else here; a context manager.

    Args:
        settings: The cluster, and how many workers.
        memory_bytes: Address space that one file may take.
        seconds: Time that one file may take.
    """

    def __init__(self, settings: EngineSettings, memory_bytes: int, seconds: float) -> None:
        super().__init__(1, memory_bytes, seconds)
        self._crew = Crew(Reader, (memory_bytes, seconds), settings)

    def __enter__(self) -> Self:
        """Starts the workers.

        Raises:
            ConfigError: Ray is not installed, or cannot be reached.
        """
        self._crew.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, fault, trace)
        self._crew.__exit__(kind, fault, trace)

    def scan_all(self, paths: Iterable[Path], limits: Limits) -> Iterator[Header | DicomError]:
        """See `DecodePool.scan_all`."""
        yield from self._all("scan_all", ((path, 0) for path in paths), {"limits": limits})

    def scan_pictures(self, jobs: Iterable[PictureJob], limits: Limits) -> Iterator[Header | DicomError]:
        """See `DecodePool.scan_pictures`."""
        yield from self._all("scan_pictures", ((job, 0) for job in jobs), {"limits": limits})

    def decode_all(self, jobs: Iterable[tuple[Path, Header]], *, text: bool = False) -> Iterator[Decoded | DicomError]:
        """See `DecodePool.decode_all`."""
        sized = ((job, job[1].rows * job[1].columns) for job in jobs)
        for one in self._all("decode_all", sized, {"text": text}):
            # a copy, so that Ray's store holds no image that waits here
            yield _copied(one) if isinstance(one, Decoded) else one

    def _all(self, method: str, jobs: Iterable[tuple[Any, int]], options: Mapping[str, Any]) -> Iterator[Any]:
        """The answers, in the order of the jobs; two batches a worker are under way or wait to be taken."""
        waiting: deque[Any] = deque()
        for batch in _batches(jobs):
            waiting.append(self._crew.ask("read", method, batch, options))
            if len(waiting) > 2 * self._crew.size:
                yield from self._taken(waiting.popleft())
        while waiting:
            yield from self._taken(waiting.popleft())

    def _taken(self, asked: Any) -> Iterator[Any]:
        for one in self._crew.answer(asked):
            yield DicomError(*one) if isinstance(one, tuple) else one


def _copied(one: Decoded) -> Decoded:
    counts = one.counts and replace(one.counts, often=np.array(one.counts.often))
    return replace(one, values=np.array(one.values), counts=counts)


def _batches(jobs: Iterable[tuple[T, int]]) -> Iterator[list[T]]:
    """Jobs a few at a time, by their number and pixels."""
    batch: list[T] = []
    pixels = 0
    for job, size in jobs:
        if batch and (len(batch) == _FILES or pixels + size > _PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append(job)
        pixels += size
    if batch:
        yield batch
