"""The long load test: many readers at once for minutes, on SQLite and on a PostgreSQL of our own; `make drill`.

python tests/reader/load_drill.py --seconds 600 --out docs/results/reader_load.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from postgres import new_database, running_postgres
from reader_load import failed, measure, said, starved

DATABASES = ("sqlite", "postgresql")
READERS, LEAVE, HALF_OPEN, THINK = 30, 3, 100, 2.0
"""Readers, how many of them are withdrawn on the way, and connections that send half a head."""
BAR_MS = 150.0
"""The slowest that the 95th percentile of a lock and of an image may be."""


def run(seconds: float, database_url: str | None) -> dict[str, Any]:
    """One database; prints what it found."""
    found = measure(READERS, seconds, THINK, database_url=database_url, leave=LEAVE, half_open=HALF_OPEN)
    print(said(found), flush=True)
    return found


def main() -> None:
    """Both databases, one after the other.

    Ends with 1 when anything was lost or doubled, or when it was too slow though the machine was free for it.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="on each database")
    parser.add_argument("--out", type=Path, help="JSON file; a drill is added to those that stand there")
    parser.add_argument("--only", choices=DATABASES, help="one database instead of both")
    asked = parser.parse_args()
    first = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out and asked.out.exists() else None
    runs: list[dict[str, Any]] = []
    if asked.only != "postgresql":
        runs.append(run(asked.seconds, None))
        _write(asked.out, first, runs)  # as it goes: what follows may end otherwise
    try:
        if asked.only != "sqlite":
            with running_postgres() as server:
                runs.append(run(asked.seconds, new_database(server)))
            _write(asked.out, first, runs)
    except pytest.skip.Exception as reason:
        print(f"not on PostgreSQL: {reason}", flush=True)
    slow = any(found[kind]["p95_ms"] > BAR_MS and not starved(found) for found in runs for kind in ("lock", "buffer"))
    sys.exit(slow or any(failed(found) for found in runs))


def _write(out: Path | None, first: dict[str, Any] | None, runs: list[dict[str, Any]]) -> None:
    """Writes a drill, or adds it to the first: how it went on a busy machine says something else than on a free one."""
    if out is None:
        return
    drill = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": f"{platform.machine()}, {runs[0]['cores']} cores shared with other work, "
        f"Python {platform.python_version()}",
        "niceness": os.nice(0),
        "bar_p95_ms": BAR_MS,
        "runs": runs,
    }
    if first is not None:
        drill = first | {"later": [*first.get("later", []), drill]}
    out.write_text(json.dumps(drill, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
