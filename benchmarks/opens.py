"""How often is a DICOM file opened in a whole run: each source file, and each synthetic one?

    python benchmarks/opens.py --out docs/results/opens.json

Makes a phantom study of 60 patients at 32 pixels with a short training, and traces `scansynth run` and all its children
with strace. Needs strace, and nothing else that the tests do not need.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from scansynth.files import write_json

SHORT = "\n[generator.overrides.network]\nwidth = 4\n[generator.overrides.schedule]\nepochs = 4\n"
MAIN = [sys.executable, "-c", "import sys; sys.argv[0] = 'scansynth'; from scansynth.cli import main; sys.exit(main())"]


def scansynth(*arguments: object, before: tuple[object, ...] = ()) -> None:
    """Runs a command, behind another one where `before` names it."""
    subprocess.run([str(part) for part in (*before, *MAIN, *arguments)], check=True, capture_output=True)


def opened(folder: Path) -> dict[str, Any]:
    """Opens of each source file and of each synthetic file, and how many of either there are."""
    scans, study, trace = folder / "scans", folder / "study", folder / "trace"
    os.environ["SCANSYNTH_INSTITUTION_KEY"] = str(folder / "institution.key")
    scansynth("phantom", scans, "--patients", 60, "--size", 32, "--seed", 5)
    labels = scans / "labels.csv"
    options = ("--view", "chest", "--size", 32, "--recipe", "dcgan")
    scansynth("init", study, "--dicom", scans, "--labels", labels, *options)
    settings = study / "study.toml"
    settings.write_text(settings.read_text() + SHORT)
    scansynth("run", study, before=("strace", "-f", "-q", "-e", "trace=open,openat", "-o", trace))
    names = re.compile(r'open(?:at)?\((?:AT_FDCWD, )?"([^"]+)"')
    paths = [Path(found[1]) for line in trace.read_text().splitlines() if (found := names.search(line))]
    sources = Counter(path for path in paths if path.is_relative_to(scans / "dicom") and path.is_file())
    # a file under a temporary name is the one that it becomes
    made = Counter(re.sub(r"^\.?(\d+\.dcm).*", r"\1", path.name) for path in paths if ".dcm" in path.name)
    synthetic = Counter({path.name: made[path.name] for path in study.glob("synthetic/*/dicom/*.dcm")})
    return {
        kind: {"files": len(counts), "median": statistics.median(counts.values()), "most": max(counts.values())}
        for kind, counts in (("source", sources), ("synthetic", synthetic))
    }


def main() -> None:
    """Counts, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = opened(Path(folder))
    found["command"] = f"python benchmarks/opens.py --out {options.out}"
    found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(found)
    if options.out:
        write_json(options.out, found)


if __name__ == "__main__":
    main()
