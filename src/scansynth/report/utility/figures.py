"""Pictures of the trial: curves of the detectors, their probabilities, doses, and shares of the real patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from scansynth.report.artefacts import Values, optional, pair_of
from scansynth.report.figures.figures import COLOURS, Chart, axes_for
from scansynth.report.figures.words import number
from scansynth.report.utility.contrasts import arm_name
from scansynth.utility.statistics.outcomes import BASIC, COMBINED, POSITIVE_CONTROL

Floats = NDArray[np.float64]

_SERIES = ((BASIC, "real"), (COMBINED, "synthetic"), (POSITIVE_CONTROL, "third"))
"""Arms shown in the charts, and their colours; the others are in the table."""

_DASHES = {"real": (0, ()), "synthetic": (0, (5, 1.5)), "third": (0, (1.5, 1.2))}
_ELSEWHERE = "marks at other patients' lesion locations"
_SPACE = 0.35


def trial_charts(analysis: Values) -> list[Chart]:
    """All pictures for which there are figures.

    Raises:
        ValueError, TypeError, KeyError: A figure is missing or no number.
    """
    block = analysis["blocks"][0]
    rows = {str(row["arm"]): row for row in block["arms"]}
    shown = [(rows[arm], arm, colour) for arm, colour in _SERIES if arm in rows]
    charts = [*_dose(analysis["dose"]), *_low_data(analysis["low_data"])]
    if shown:
        rate = 100.0 * float(analysis["terms"]["false_alarm_rate"])
        charts += [_roc(shown, rate), *_froc(shown, block.get("lesion_floor")), _calibration(shown[:2])]
    return charts


Shown = Sequence[tuple[Values, str, str]]


def _key(shown: Shown) -> tuple[tuple[str, str], ...]:
    return tuple((arm_name(arm), colour) for _, arm, colour in shown)


def _numbers(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)


def _curve(axes: Axes, curve: Mapping[str, Sequence[float]], colour: str, times: float) -> None:
    x, y, low, high = (_numbers(curve[key]) for key in ("x", "y", "low", "high"))
    axes.fill_between(times * x, 100.0 * low, 100.0 * high, color=COLOURS[colour], alpha=0.14, linewidth=0)
    axes.plot(times * x, 100.0 * y, color=COLOURS[colour], linestyle=_DASHES[colour])


def _roc(shown: Shown, rate: float) -> Chart:
    title = "Lesions found at each false-alarm rate (ROC)"
    told = "; ".join(f"{arm_name(arm)}: AUC {float(row['auc']['value']):.2f}" for row, arm, _ in shown)
    out: list[Markup] = []
    with axes_for("trial-roc", f"{title}. {told}.", out) as axes:
        for row, _, colour in shown:
            _curve(axes, row["roc"], colour, 100.0)
        axes.axvline(rate, color=COLOURS["ink"], linewidth=0.9, linestyle=(0, (4, 2)))
        axes.annotate(f" chosen: {number(rate)}%", (rate, 0.02), xycoords=("data", "axes fraction"), va="bottom")
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 101)
        axes.set_xlabel("test images without a lesion called positive, %")
        axes.set_ylabel("lesions found, %")
        axes.yaxis.set_major_locator(MaxNLocator(5))
    note = "Further up and left is better. Tinted: uncertainty over patients and training runs."
    return Chart(title, out[0], _key(shown), note)


def _froc(shown: Shown, floor: Values | None) -> list[Chart]:
    """The curve by lesions, where lesions were looked for."""
    found = [(row, arm, colour) for row, arm, colour in shown if row["froc"] is not None]
    if not found:
        return []
    title = "Lesions found against false positives (FROC)"
    out: list[Markup] = []
    with axes_for("trial-froc", f"{title}.", out) as axes:
        for row, _, colour in found:
            _curve(axes, row["froc"], colour, 1.0)
        if floor is not None:
            curve = floor["froc"]
            axes.plot(_numbers(curve["x"]), 100.0 * _numbers(curve["y"]), color=COLOURS["ink"], linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator([0.125, 0.25, 0.5, 1, 2, 4, 8]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_ylim(0, 101)
        axes.set_xlabel("false positives per image")
        axes.set_ylabel("lesions found, %")
    key = (*_key(found), *([] if floor is None else [(_ELSEWHERE, "ink")]))
    return [Chart(title, out[0], key, "A lesion counts as found when a mark lies within its radius.")]


def _calibration(shown: Shown) -> Chart:
    title = "Calibration of the probabilities"
    told = "; ".join(
        f"{arm_name(arm)}: off by {100.0 * float(row['calibration']['ece']['value']):.1f} points on average"
        for row, arm, _ in shown
    )
    out: list[Markup] = []
    with axes_for("trial-calibration", f"{title} {told}.", out) as axes:
        axes.plot([0, 100], [0, 100], color=COLOURS["muted"], linewidth=0.9)
        for row, _, colour in shown:
            curve = row["calibration"]["curve"]
            said, true, weight = (_numbers(curve[key]) for key in ("said", "true", "weight"))
            full = np.isfinite(said) & np.isfinite(true)
            axes.plot(
                100.0 * said[full], 100.0 * true[full], color=COLOURS[colour], linewidth=0.9, linestyle=_DASHES[colour]
            )
            axes.scatter(100.0 * said[full], 100.0 * true[full], s=8 + 160 * weight[full], color=COLOURS[colour])
        axes.set_xlim(-2, 102)
        axes.set_ylim(-2, 102)
        axes.set_xlabel("predicted probability, %")
        axes.set_ylabel("observed with a lesion, %")
    note = "The grey line is perfect calibration. Larger dots are more images. Both classes have equal weight."
    return Chart(title, out[0], _key(shown), note)


def _dose(points: Sequence[Values]) -> list[Chart]:
    """The gain by how many synthetic images there were for each real one."""
    found = [(float(one["ratio"]), one["gain"]) for one in points if one["gain"] is not None]
    if len(found) < 2:
        return []
    title = "Gain by the number of synthetic images"
    told = "; ".join(f"{number(ratio)} per real image: {100.0 * float(gain['value']):+.1f}" for ratio, gain in found)
    told = f"0 per real image: 0, by definition; {told}"
    out: list[Markup] = []
    with axes_for("trial-dose", f"{title}, in points. {told}.", out) as axes:
        axes.axhline(0.0, color=COLOURS["muted"], linewidth=1.0)
        axes.plot([0.0], [0.0], "o", markersize=5, color=COLOURS["synthetic"], markerfacecolor="none")
        _bars(axes, [gain for _, gain in found], "synthetic", 1.0)
        _places(axes, ["0", *(number(ratio) for ratio, _ in found)])
        axes.set_xlabel("synthetic images per real image")
        axes.set_ylabel("gain of sensitivity, points")
        axes.yaxis.set_major_locator(MaxNLocator(5))
    note = (
        "Above 0, the detector with synthetic images finds more than the one without (the ring at 0). Bars: "
        "intervals. Only the first declared ratio decides."
    )
    return [Chart(title, out[0], ((arm_name(COMBINED), "synthetic"),), note)]


def _low_data(points: Sequence[Values]) -> list[Chart]:
    """Sensitivity with and without synthetic images by the share of the real patients."""
    found = [one for one in points if {BASIC, COMBINED} <= set(one["sensitivity"])]
    if len(found) < 2:
        return []
    title = "With fewer real patients"
    shares = [f"{100.0 * float(one['fraction']):g}%" for one in found]
    gains = [optional((one["gain"] or {}).get("value")) for one in found]
    told = "; ".join(
        f"{share}: gain {100.0 * gain:+.1f} points"
        for share, gain in zip(shares, gains, strict=True)
        if gain is not None
    )
    out: list[Markup] = []
    with axes_for("trial-low-data", f"{title}. {told}.", out) as axes:
        for arm, colour, aside in ((BASIC, "real", -0.08), (COMBINED, "synthetic", 0.08)):
            _bars(axes, [one["sensitivity"][arm] for one in found], colour, aside)
        _places(axes, shares)
        axes.set_xlabel("share of the training patients")
        axes.set_ylabel("lesions found, %")
        axes.yaxis.set_major_locator(MaxNLocator(5))
    key = ((arm_name(BASIC), "real"), (arm_name(COMBINED), "synthetic"))
    return [Chart(title, out[0], key, "Each share has its own generators, trained on these patients only.")]


def _bars(axes: Axes, estimates: Sequence[Values], colour: str, aside: float) -> None:
    """Figures in percent, each with its interval."""
    places = np.arange(len(estimates)) + aside
    values = np.array([100.0 * float(one["value"]) for one in estimates])
    ends = np.array([pair_of(one["interval"]) for one in estimates]) * 100.0
    axes.vlines(places, ends[:, 0], ends[:, 1], color=COLOURS[colour], linewidth=1.8)
    axes.plot(places, values, "o", markersize=5, color=COLOURS[colour])
    axes.plot(places, values, color=COLOURS[colour], linewidth=0.9, linestyle=_DASHES[colour])


def _places(axes: Axes, names: Sequence[str]) -> None:
    axes.set_xticks(range(len(names)), list(names))
    axes.set_xlim(-_SPACE, len(names) - 1 + _SPACE)
