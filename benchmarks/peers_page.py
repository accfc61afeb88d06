"""The page of `peers.py`: what was run and what not, a table for each time, and a grid of each peer's images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scansynth.gan.grid import grid

ENCODERS = ("fixed filters", "learned encoder")
WANTED_MINUTES, WANTED_SEEDS = (5, 15, 30, 60), 3
PANEL, HEAD, EDGE, TILES, COLUMNS = 256, 26, 10, 4, 3
Row = dict[str, Any]


def write_page(result: dict[str, Any], folders: dict[tuple[str, int], Path], out: Path, pictures: Path | None) -> None:
    """Writes the page beside the JSON file, and the picture where a folder is named.

    Args:
        result: What stands in the JSON file.
        folders: Of the trainings with seed 0.
        out: The JSON file.
        pictures: Folder of the documentation's pictures. They hold synthetic images alone.
    """
    parts = [_opening(result), _left_out(result)]
    for minutes in result["minutes"]:
        rows = [row for row in result["runs"] if row["minutes"] == minutes]
        if rows:
            parts.append(f"## After {minutes:g} minutes\n\n{_judged(rows, result['verdicts'])}")
    parts.append(f"## Speed, memory and lines\n\n{_speed(result)}")
    parts.append(f"## Settings\n\n{_settings(result)}")
    if pictures and folders:
        name = f"peers-{out.stem}.png" if out.stem != "peers" else "peers.png"
        draw_grids(folders, max(result["minutes"]), pictures / name)
        alt = "Sixteen synthetic images of each peer, in the order in which they were drawn"
        parts.append(f"## Images\n\nSynthetic, of the last checkpoint, unselected.\n\n![{alt}](../images/{name})")
    out.with_suffix(".md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _opening(result: dict[str, Any]) -> str:
    images, patients = result["images"], result["patients"]
    last = result["verdicts"].get(f"{max(result['minutes']):g} minutes", {})
    counts = {word: sum(found == word for found in last.values()) for word in ("ahead", "level", "behind")}
    said = f"ahead of {counts['ahead']}, level with {counts['level']} and behind {counts['behind']} of its peers"
    return (
        "# Peers, side by side\n\n"
        "What a user would pick in place of scansynth, on the same images, for the same processor time of one thread, "
        f"before the same judge: `{result['cohort']}` at {result['side']} pixels, label `{result['label']}`, "
        f"{images['train']} train images of {patients['train']} patients, judged on {images['test']} test images of "
        f"{patients['test']} patients, {result['draw']} images drawn of each. "
        f"After {max(result['minutes']):g} minutes `compact` is, by the rule in `benchmarks/peers.py`, {said}. "
        f"**Target: {result['target']}.** Time is the processor's, so that it holds on a machine that others used too."
    )


def _left_out(result: dict[str, Any]) -> str:
    lines = []
    missing = [f"{minutes}" for minutes in WANTED_MINUTES if minutes not in result["minutes"]]
    if missing:
        lines.append(
            f"No checkpoints at {', '.join(missing)} minutes: the longest training is {max(result['minutes']):g}."
        )
    if result["seeds"] < WANTED_SEEDS:
        lines.append(f"{result['seeds']} seed in place of {WANTED_SEEDS}.")
    if result["size"] == "narrow":
        lines.append("The UNets are a quarter as wide as their authors', with smaller batches and shorter samplers.")
    lines += [f"`{name}` did not run: {reason}" for name, reason in result["not_run"].items()]
    done = {row["peer"] for row in result["runs"]} | set(result["not_run"])
    waiting = [f"`{name}`" for name in result["peers"] if name not in done]
    if waiting:
        lines.append(f"Not reached when this was written: {', '.join(waiting)}. The same command goes on with them.")
    lines.append("256 pixels, a GPU, and the sets of the best peers in the utility trial.")
    return "## Not run\n\n" + "\n".join(f"- {line}" for line in lines)


def _judged(rows: list[Row], verdicts: dict[str, dict[str, str]]) -> str:
    head = (
        "| | KID, fixed filters | KID, learned encoder | AUC of the pixel judge | coverage | recall | near copies "
        "| checkpoint chosen | `compact` is |"
    )
    lines = [head, "|" + " --- |" * 9]
    for row in sorted(rows, key=lambda row: row["judged"][f"fidelity.kid, {ENCODERS[0]}"]["value"]):
        found = row["judged"]
        kids = [_value(found[f"fidelity.kid, {encoder}"]) for encoder in ENCODERS]
        reach = [_value(found[f"diversity.{name}, {ENCODERS[0]}"]) for name in ("coverage", "recall")]
        copies = found["copies.flag_rate"]
        word = verdicts.get(f"{row['minutes']:g} minutes", {}).get(row["peer"], "")
        cells = [
            f"`{row['peer']}`" + (f", seed {row['seed']}" if row["seed"] else ""),
            *kids,
            _value(found["c2st_pixels"]),
            *reach,
            f"{copies['value']:.1%} ({copies['verdict']})",
            f"{row['chosen_minutes']:g} min",
            word,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    margins = [rows[0]["judged"][f"fidelity.kid, {encoder}"]["margin"] for encoder in ENCODERS]
    lines.append(
        f"\n95% intervals in brackets. By chance two groups of real patients differ in KID by up to {margins[0]:.3f} "
        f"(fixed filters) and {margins[1]:.3f} (learned encoder); coverage and recall are times those of new patients."
    )
    return "\n".join(lines)


def _value(found: dict[str, Any]) -> str:
    low, high = found["interval"]
    digits = 2 if abs(found["value"]) >= 0.1 else 3
    return f"{found['value']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _speed(result: dict[str, Any]) -> str:
    lines = [
        "| | images/s trained | images/s drawn | images in the longest training | memory, MiB | before training, MiB "
        "| lines a user writes |",
        "|" + " --- |" * 7,
    ]
    for row in (row for row in result["runs"] if row["minutes"] == max(result["minutes"]) and row["seed"] == 0):
        of = row["training"]
        lines.append(
            f"| `{row['peer']}` | {of['images_per_second_trained']:.1f} | {of['images_per_second_drawn']:.1f} "
            f"| {of['images']:,} | {of['memory_training_mib']:,} | {of['memory_before_mib']:,} "
            f"| {result['peers'][row['peer']]['lines']} |"
        )
    return "\n".join(
        [
            *lines,
            "\nOne thread. Lines: of the peer's file in `benchmarks/contestants` without imports, comments and "
            "adapters; of scansynth the four commands `init`, `ingest`, `train`, `generate`.",
        ]
    )


def _settings(result: dict[str, Any]) -> str:
    lines = []
    for name, about in result["peers"].items():
        said = next((row["training"]["settings"] for row in result["runs"] if row["peer"] == name), "not run")
        package = ", ".join(about["packages"][-2:]) or "scansynth"
        note = f" {about['note'][0].upper()}{about['note'][1:]}." if about["note"] else ""
        lines.append(f"- `{name}` ({package}): {said}.{note}")
    return "\n".join(lines)


def draw_grids(folders: dict[tuple[str, int], Path], minutes: float, target: Path) -> None:
    """One grid of each peer's first images."""
    named = [(name, folder / f"{60 * minutes:g}.npy") for (name, _), folder in folders.items()]
    rows = -(-len(named) // COLUMNS)
    canvas = Image.new("L", (COLUMNS * (PANEL + EDGE) + EDGE, rows * (PANEL + HEAD + EDGE)), 24)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=15)
    for place, (name, path) in enumerate(named):
        images = np.load(path)[: TILES**2].astype(np.float32) / 32767.5 - 1
        left, top = EDGE + place % COLUMNS * (PANEL + EDGE), place // COLUMNS * (PANEL + HEAD + EDGE)
        pen.text((left, top + HEAD / 2), name, font=font, fill=225, anchor="lm")
        canvas.paste(Image.fromarray(grid(images, TILES)).resize((PANEL, PANEL)), (left, top + HEAD))
    target.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(target, optimize=True)
