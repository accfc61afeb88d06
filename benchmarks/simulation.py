"""How simulations write down what they found."""

from __future__ import annotations

import json
import platform
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def write_simulation(out: Path | None, started: float, **figures: Any) -> None:
    """Writes figures as JSON, with the command, the machine and the processor time since `started`."""
    if out is None:
        return
    summary = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": f"{platform.machine()}, 1 process, Python {platform.python_version()}, numpy {np.__version__}",
        "processor_seconds": round(time.process_time() - started, 1),
        **figures,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
