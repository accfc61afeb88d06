"""Twenty readers at once before the real server, on both databases; `make drill` does the same for ten minutes each."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

BAR_MS = 150.0
"""95th percentile of a lock and of an image, as asked of this server; the median over windows of time is held."""


@pytest.fixture(scope="module")
def load() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:  # benchmarks are scripts, not a package
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        import reader_load  # noqa: PLC0415

        return reader_load


def test_twenty_readers_at_once_lose_nothing_and_wait_little(
    load: ModuleType, database_url: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """That nothing is lost is held always; how long it takes, unless other work keeps the cores of the machine."""
    found = load.measure(20, 30.0, 1.5, size=256, database_url=database_url)
    with capsys.disabled():
        print(f"\n{load.said(found)}")
    assert not load.failed(found)
    assert found["told_locked"] == 20 * found["images_each"]
    assert found["resent_locks"] > 0
    slowest = max(found[kind]["median_of_p95_ms"] for kind in ("lock", "buffer"))
    assert slowest < BAR_MS or load.starved(found)


def test_waiting_for_a_core_is_measured(load: ModuleType) -> None:
    ran, waited = load.waiting()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    ran_after, waited_after = load.waiting()
    assert 0.15 < ran_after - ran < 2.0
    assert waited_after >= waited


def test_the_load_test_sees_what_is_lost_doubled_or_changed(load: ModuleType, tmp_path: Path) -> None:
    tokens = load.make_worklist(tmp_path / "worklist", readers=2, images=4, size=8)
    crowd = [load.Reader(token, seed) for seed, token in enumerate(tokens)]
    with load.server(tmp_path / "worklist", None) as (url, _):
        load.asyncio.run(load._all_read(crowd, url, 0.0, [0.0, 0.0], sys.maxsize))
    assert load.check(tmp_path / "worklist", None, crowd) == {"told_locked": 12, "lost": 0, "doubled": 0, "wrong": 0}
    item = next(reversed(crowd[0].told))
    crowd[0].told[item] = crowd[0].told[item] % 6 + 1
    assert load.check(tmp_path / "worklist", None, crowd)["wrong"] == 1
    crowd[0].told["f" * 32] = 1
    assert load.check(tmp_path / "worklist", None, crowd)["lost"] == 1
