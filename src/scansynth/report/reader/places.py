"""Where readers saw findings: what their marks show, for real and for synthetic images, with the curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from scansynth.report.artefacts import Values, pair_of
from scansynth.report.figures.figures import COLOURS, Chart, axes_for
from scansynth.report.figures.words import clean, number, reason
from scansynth.report.reader.figures import between, two

_COLOURS = ("real", "synthetic", "third")
_DASHES: Mapping[str, Any] = {"real": (0, ()), "synthetic": (0, (5, 1.5)), "third": (0, (1.5, 1.2))}
_DOTS: Mapping[str, str] = {"real": "o", "synthetic": "s", "third": "^"}


def places(where: Values | None) -> dict[str, Any] | None:
    """What the template shows; none where nothing was to be marked.

    Args:
        where: Of analysis.json.

    Raises:
        ValueError, TypeError, KeyError: A figure is missing or no number.
    """
    if where is None:
        return None
    kinds = [(kind, _COLOURS[int(kind["arm"])]) for kind in where["kinds"]]
    everywhere = bool(where["everywhere"])
    return {
        "finding": clean(where["finding"]),
        "outcome": clean(where["difference"]["outcome"]),
        "why": reason(where["difference"]["why"]),
        "everywhere": everywhere,
        "rows": [_row(kind, colour) for kind, colour in kinds],
        "charts": [*_froc(kinds, clean(where["finding"])), *_lroc(kinds)],
    }


def _row(kind: Values, colour: str) -> dict[str, Any]:
    ratio = kind["radius_ratio"]
    return {
        "name": f"{clean(kind['kind'])} images",
        "colour": colour,
        "images": number(int(kind["images"])),
        "with_lesions": number(int(kind["with_lesions"])),
        "lesions": number(int(kind["lesions"])),
        "unknown": number(int(kind["unknown"])) if int(kind["unknown"]) else "",
        "figures": [_figure(kind["figures"][name]) for name in ("free_response", "localised", "found")],
        "false": "—" if kind["false_per_image"] is None else two(float(kind["false_per_image"])),
        "ratio": ("—", "") if ratio is None else (two(float(ratio[0])), between((float(ratio[1]), float(ratio[2])))),
    }


def _figure(row: Values | None) -> tuple[str, str]:
    return ("—", "") if row is None else (two(float(row["value"])), between(pair_of(row["interval"])))


_Kinds = Sequence[tuple[Values, str]]


def _froc(kinds: _Kinds, finding: str) -> list[Chart]:
    title = f"Found against false marks ({finding}, FROC)"
    note = "Means over readers at each confidence, the most confident at the left. Further up and left is better."
    return _curve("reader-froc", title, "froc", kinds, ("false marks per image", "lesions found, %"), note)


def _lroc(kinds: _Kinds) -> list[Chart]:
    title = "Found as the first choice (LROC)"
    note = "The most confident mark of an image with a lesion lies on a lesion. Means over readers."
    return _curve(
        "reader-lroc",
        title,
        "lroc",
        kinds,
        ("share of the images without a lesion that are marked", "located, %"),
        note,
    )


def _curve(name: str, title: str, which: str, kinds: _Kinds, axes_of: tuple[str, str], note: str) -> list[Chart]:
    """A curve for each kind of image that has points."""
    shown = [(kind, colour) for kind, colour in kinds if kind[which]]
    if not shown:
        return []
    out: list[Markup] = []
    told = "; ".join(
        f"{clean(kind['kind'])}: {100.0 * float(kind[which][-1][2]):.0f}% at {two(float(kind[which][-1][1]))}"
        for kind, _ in shown
    )
    with axes_for(name, f"{title}. {told}.", out) as axes:
        for kind, colour in shown:
            points = [(0.0, 0.0), *((float(x), 100.0 * float(y)) for _, x, y in kind[which])]
            across, up = zip(*points, strict=True)
            axes.plot(across, up, color=COLOURS[colour], linestyle=_DASHES[colour])
            axes.plot(across[1:], up[1:], _DOTS[colour], color=COLOURS[colour], markersize=4.5, clip_on=False)
        axes.set_xlim(left=0.0)
        axes.set_ylim(0, 101)
        axes.set_xlabel(axes_of[0])
        axes.set_ylabel(axes_of[1])
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_locator(MaxNLocator(5))
    return [Chart(title, out[0], tuple((f"{clean(kind['kind'])} images", colour) for kind, colour in shown), note)]
