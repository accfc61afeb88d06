"""An ingest among mutated files, bombs, links and pipes; and one that is killed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attacked import MOST_KIB, attack, kill_and_repeat
from attacks import mutate, packaged_files

from scansynth.phantom.cohort import write_phantom_cohort


def test_good_files_come_through_attacks_and_the_others_cost_a_line_each(tmp_path: Path) -> None:
    """2,000 files: `make drill`."""
    found = attack(tmp_path, 150)
    assert found["code"] == 0, found["said"][-3000:]
    assert "Traceback" not in found["said"]
    assert found["good"] == 24
    assert found["outside"] == []
    assert found["excluded"] > 100
    assert found["printable"]
    assert found["longest"] < 200
    assert {"deflated transfer syntax", "too large", "bad UID", "DICOMDIR", "not DICOM"} <= set(found["reasons"])
    harmless = {"base", "many", "million", "deep-skipped", "traversal-patient"}  # large headers, and a number alone
    assert not {name.partition("/")[2] for name in found["bombs_kept"]} - harmless, "a bomb was taken for an image"
    assert 0 < found["peak_kib"] < MOST_KIB


def test_an_ingest_killed_at_any_moment_and_repeated_gives_the_same(tmp_path: Path) -> None:
    """At three of its moments; at thirty: `make drill`."""
    write_phantom_cohort(tmp_path / "scans", patients=6, size=32, seed=1)
    found = kill_and_repeat(tmp_path, tmp_path / "scans", 3)
    assert found["moments"] > 20
    assert found["killed"] == 3
    assert found["different"] == []


@pytest.mark.parametrize("seed", range(3))
def test_mutations_are_given_by_the_seed_and_change_something(seed: int) -> None:
    data = packaged_files()[seed].read_bytes()
    once, again = (mutate(data, np.random.default_rng(seed)) for _ in range(2))
    assert once == again
    changed = [mutate(data, np.random.default_rng(number)) != data for number in range(20)]
    assert sum(changed) > 15
