"""The page of `utility.py`: every arm and comparison of every part, as the trial judged them.

python benchmarks/utility_page.py docs/results/utility.json docs/results/utility.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scansynth.files import write_text

TITLES = {
    "default": "The default trial: all train patients, one synthetic image for each real lesion",
    "levers": "Every arm: the levers of the literature, and further controls",
    "dose": "Doses: a quarter to five synthetic images for each real lesion",
    "tenth": "A tenth of the train patients",
    "quarter": "A quarter of the train patients",
    "half": "Half of the train patients",
    "rival": "Without a generator: real lesions pasted into clear scans",
}
SHARES = {"tenth": "10%", "quarter": "25%", "half": "50%", "default": "100%"}


def write_page(content: Mapping[str, Any], path: Path) -> None:
    """Writes the page."""
    parts = {name: content[name] for name in TITLES if name in content}
    absent = [TITLES[name] for name in TITLES if name not in content]
    text = f"""# The utility trial on lung CT patches

Does a DCGAN's synthetic set help a detector? `lidc-patches` (LIDC-IDRI; nodules and look-alikes of 724 patients, 64
pixels), the recipe `dcgan` of width 32 for 200 epochs, judged by [the rule](../utility.md) that was fixed before.
Nothing was chosen by looking at these results, and they stand whichever way they fall; of the parts, only the doses 2
and 5 were added when those up to 1 were known. **The default trial is the result.** The other parts are trials of their
own beside it, each with its own adjustment for several comparisons and none across parts: they say where to look next.
A patch is centred on its nodule, so these trials judge whole images: where a lesion lies is given away.

{_summary(parts)}

{_curve(parts)}

{"".join(_part(name, part) for name, part in parts.items())}
## The generators

{_generators(parts)}

{_absent(absent)}Detectors: made by `{content["command"]}` on {content["machine"]}.
"""
    write_text(path, text)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def _points(estimate: Mapping[str, Any] | None) -> str:
    """A change or a rate in points, with its interval."""
    if estimate is None:
        return ""
    low, high = _ends(estimate["interval"])
    return f"{100 * estimate['value']:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _ends(interval: Any) -> tuple[float, float]:
    return (interval["low"], interval["high"]) if isinstance(interval, Mapping) else (interval[0], interval[1])


def _primary(part: Mapping[str, Any]) -> Mapping[str, Any] | None:
    block = part["analysis"]["blocks"][0]
    return next(
        (one for one in block["contrasts"] if one["arm"] == "basic-synthetic" and one["other"] == "basic"), None
    )


def _summary(parts: Mapping[str, Any]) -> str:
    lines = []
    for name, part in parts.items():
        primary = _primary(part)
        if primary is not None:
            lines.append(f"- {TITLES[name].split(':')[0]}: **{primary['verdict']}**. {primary['why']}")
    return "What the primary comparison (`basic-synthetic` less `basic`) came to in each part:\n\n" + "\n".join(lines)


def _curve(parts: Mapping[str, Any]) -> str:
    """The low-data curve: sensitivity of three arms by share of the patients."""
    rows = []
    for name, share in SHARES.items():
        if name not in parts:
            continue
        part = parts[name]
        arms = {row["arm"]: row for row in part["analysis"]["blocks"][0]["arms"]}
        cells = [_points(arms[arm]["sensitivity"]) for arm in ("basic", "basic-synthetic", "duplicates", "reserve")]
        primary = _primary(part)
        rows.append([share, *cells, "" if primary is None else primary["verdict"]])
    head = ("share of the train patients", "`basic`", "`basic-synthetic`", "`duplicates`", "`reserve`", "gain")
    return "## The low-data curve\n\nSensitivity in points, with 95% intervals.\n\n" + _table(head, rows)


def _part(name: str, part: Mapping[str, Any]) -> str:
    facts = (
        f"{part['jobs']} detectors of {part['settings']['pairs']} pairs; {part['jobs_run_now']} were trained for this "
        f"part in {part['seconds_now'] / 60:.0f} minutes with {part['workers']} workers, at a load of the machine of "
        f"{part['load_at_start']} when it began. All its detectors: {part['job_seconds'] / 60:.0f} minutes of job time "
        f"and {part['fit_processor_seconds'] / 60:.0f} minutes of processor time in training. Largest job: "
        f"{part['peak_mib_of_a_job']:.0f} MiB."
    )
    blocks = "\n\n".join(_block(block) for block in part["analysis"]["blocks"])
    return f"## {TITLES[name]}\n\n{facts}\n\n{blocks}\n\n"


def _block(block: Mapping[str, Any]) -> str:
    title = f"### {block['fraction']:.0%} of the patients, {block['ratio']:g} synthetic for each real lesion"
    if not block["arms"]:
        return f"{title}\n\nNothing measured: {block['why']}"
    arms = _table(
        ("arm", "sensitivity", "false alarms", "AUC", "AUC on train less test", "calibration error"),
        (
            [
                f"`{row['arm']}`",
                _points(row["sensitivity"]),
                _points(row["false_alarms"]),
                f"{row['auc']['value']:.3f}",
                "" if row["gap"] is None else f"{row['gap']['value']:+.3f}",
                f"{row['calibration']['ece']['value']:.3f}",
            ]
            for row in block["arms"]
        ),
    )
    contrasts = _table(
        ("comparison", "gain of sensitivity", "change of false alarms", "p (Holm)", "verdict"),
        (
            [
                f"`{one['arm']}` less `{one['other']}`",
                _points(one["gain"]),
                _points(one["false_alarms"]),
                "" if one["p_holm"] is None else f"{one['p_holm']:.3f}",
                one["verdict"],
            ]
            for one in block["contrasts"]
        ),
    )
    return f"{title}\n\n{arms}\n\n{contrasts}"


def _generators(parts: Mapping[str, Any]) -> str:
    """Each generator once: what it saw, where, and how it ended."""
    known = {one["run"]: one for part in parts.values() for one in part["generators"]}
    rows = (
        [f"`{one['run']}`", f"{one['train_images']:,}", f"{one['images_seen']:,}", one["level"], one["device"]]
        for one in known.values()
    )
    table = _table(("run", "images learned from", "images seen in training", "variety at the end", "trained on"), rows)
    return f"""{table}

*Warning*: less varied than real images of other patients at the last look; *warming*: never as varied as these. Their
sets were used anyway (`--even-if-collapsed`): few patients make poor generators, which is part of the answer."""


def _absent(titles: Sequence[str]) -> str:
    return f"Not run: {'; '.join(titles)}.\n\n" if titles else ""


if __name__ == "__main__":
    write_page(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
