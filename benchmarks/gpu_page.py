"""The page of `gpu.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ASKED = {
    "published": "the published job, 280,000 images of 256 pixels with `dcgan`, in under 3 minutes",
    "profile": "the profile that says what bounds it",
    "compact": "`compact` at 256 pixels",
    "sampling": "sampling at 256 pixels",
    "copies": "the search for near copies",
    "detectors": "the detector's sizes `medium` and `large`",
    "resume": "the same bytes from a repeated and from a continued training",
}
READY = "python benchmarks/gpu.py --out docs/results/gpu.json"


def write_page(result: dict[str, Any], out: Path) -> None:
    """Writes the page: what was measured, or that nothing was and how to."""
    parts = result["parts"]
    if result["rehearsal"]:
        went = [name for name in ASKED if "failed" not in parts.get(name, {"failed": ""})]
        lines = [
            "# GPU",
            f"**Open: no GPU was at hand.** None of these was measured. `{READY}` measures all of them on one GPU, in "
            "some 12 minutes of a large one, and writes one JSON file and this page; it goes on where it stopped.",
            "| | | rehearsed on a CPU |\n| --- | --- | --- |\n"
            + "\n".join(f"| `{name}` | {what} | {_outcome(parts.get(name))} |" for name, what in ASKED.items()),
            f"The rehearsal (`{result['command']}`) runs the same code on images of 32 pixels for an instant, "
            f"{len(went)} of {len(ASKED)} parts to their end. Its figures say nothing of a GPU and are not shown. What "
            "only a GPU can fail at (CUDA graphs, memory at full size, bfloat16 there, the order of its sums) is not "
            "rehearsed.",
        ]
    else:
        lines = ["# GPU", f"Measured on {result['machine']}, with made-up images."]
        lines += [f"## {what[0].upper()}{what[1:]}\n\n{_figures(parts.get(name))}" for name, what in ASKED.items()]
    out.write_text("\n\n".join(lines) + "\n", encoding="utf-8")


def _outcome(found: dict[str, Any] | None) -> str:
    if found is None:
        return "not reached"
    return f"no: {found['failed']}" if "failed" in found else "ran"


def _figures(found: dict[str, Any] | None) -> str:
    """A part's figures as a list, tables within it on lines of their own."""
    if found is None:
        return "Not reached."
    lines = []
    for name, value in found.items():
        said = value
        if isinstance(value, dict):
            said = ", ".join(f"{key.replace('_', ' ')} {number}" for key, number in value.items())
        elif isinstance(value, list):
            said = ", ".join(f"{row['operator']} {row['share']:.0%}" for row in value)
        lines.append(f"- {name.replace('_', ' ')}: {said}")
    return "\n".join(lines)
