"""Wording and number formats of the page: verdicts, roles, modalities, figures, dates."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from typing import Any

from scansynth.ledger import Role
from scansynth.statistics import Verdict

VERDICT_MEANING: Mapping[Verdict, str] = {
    Verdict.SHOWN: "The whole interval lies on the good side of the margin.",
    Verdict.REFUTED: "The whole interval lies on the wrong side of the margin.",
    Verdict.NOT_SHOWN: "The interval spans the margin: the data are inconclusive.",
    Verdict.NOT_ASSESSABLE: "A control failed, or data are missing: no conclusion is possible.",
}

ROLE_USE: Mapping[Role, str] = {
    Role.TRAIN: "train the generator; searched for copies",
    Role.TUNE: "select images for the filtered sets of the trial; nothing else reads them yet",
    Role.CALIBRATE: "set the thresholds, such as what counts as a copy",
    Role.RESERVE: "kept aside for the positive control of the utility trial",
    Role.TEST: "give the final figures; read once per question",
}

CHANGES: Mapping[str, tuple[str, str]] = {
    "replay": ("experience replay was switched on", "the discriminator keeps seeing earlier images of the generator"),
    "spectral_norm": ("spectral normalisation was switched on", "it limits how steep the discriminator can be"),
    "penalty": ("the gradient penalty was raised", "it keeps the discriminator smooth"),
    "rate": ("the learning rate was halved", "both networks learn in smaller steps"),
}
"""What a roll-back changed, and what that does."""

_MODALITIES = {
    "MR": "magnetic resonance",
    "CT": "computed tomography",
    "CR": "radiography",
    "DX": "radiography",
    "MG": "mammography",
    "US": "ultrasound",
    "PT": "positron emission tomography",
}
_UNIX_PATH = re.compile(r"(?<![\w.</])(?:~|file://)?/(?:[^\s/:;,'\"<>|]+/)*[^\s/:;,'\"<>|]+")
_WINDOWS_PATH = re.compile(r"(?<!\w)[A-Za-z]:\\[^\s;,'\"<>|]*|\\\\[^\s;,'\"<>|]+")


def modality(code: str) -> str:
    """A DICOM Modality in words; the code itself when it is not a common one."""
    return _MODALITIES.get(code, code)


def clean(text: Any) -> str:
    """Text fit for the page: one line, and absolute paths left out."""
    line = " ".join(str(text).split())
    return _UNIX_PATH.sub("[path left out]", _WINDOWS_PATH.sub("[path left out]", line))


def reason(text: Any) -> str:
    """A verdict's reason: clean, with true minus signs and one full stop at its end."""
    line = re.sub(r"(?<!\w)-(?=\d)", "−", clean(text)).rstrip(".")
    return f"{line[:1].upper()}{line[1:]}." if line else ""


def number(value: float | None) -> str:
    """A figure with three significant digits and a true minus sign; a dash when there is none.

    Whole numbers stay whole, with a thin space between thousands.
    """
    if value is None or not math.isfinite(value):
        return "—"
    if float(value).is_integer() and abs(value) < 1e15:
        text = f"{int(value):,}".replace(",", "\u202f")
    elif abs(value) >= 1000:
        text = f"{value:,.0f}".replace(",", "\u202f")
    elif abs(value) < 1e-5:
        text = f"{value:.1e}"
    else:
        text = f"{value:.{_decimals(value)}f}".rstrip("0").rstrip(".")
    return text.replace("-", "−")


def _decimals(value: float) -> int:
    """Decimals that give three significant digits, six at most."""
    return min(6, max(0, 2 - math.floor(math.log10(abs(value)))))


def together(values: tuple[float, ...]) -> list[str]:
    """Figures that stand beside each other, all with the decimals that give the largest three significant digits.

    Decimals that are zero in all of them are left out.
    """
    if all(float(value).is_integer() for value in values):
        return [number(value) for value in values]
    largest = max(abs(value) for value in values)
    texts = [f"{value:,.{_decimals(largest)}f}".replace(",", "\u202f").replace("-", "−") for value in values]
    while all(text.endswith("0") and "." in text for text in texts):
        texts = [text[:-1] for text in texts]
    return [text.rstrip(".") for text in texts]


def span(values: tuple[float, ...]) -> str:
    """One figure, or a range of figures."""
    return " to ".join(together(values)) if values else "none"


def duration(seconds: float) -> str:
    """A length of time in the two largest units that fit."""
    if seconds < 1:
        return "under 1 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


SHORT, LONG = "{0:%Y-%m-%d %H:%M}", "{0.day} {0:%B %Y, %H:%M} UTC"
"""Forms of a moment: for a table's column, and for a sentence."""


def moment(stamp: str, form: str = LONG) -> str:
    """A journal time for display, in UTC; the text itself when it is not a time."""
    try:
        time = datetime.datetime.fromisoformat(stamp)
    except ValueError:
        return clean(stamp)
    if time.tzinfo is not None:
        time = time.astimezone(datetime.UTC)
    return form.format(time)


def setting(value: Any) -> str:
    """A setting's value in words."""
    if value is True:
        return "on"
    if value is False:
        return "off"
    if value is None:
        return "not set"
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(setting(item) for item in value) or "none"
    return clean(value)


def times(amount: int) -> str:
    """How often."""
    return {1: "once", 2: "twice"}.get(amount, f"{number(amount)} times")


def count(amount: int, one: str, many: str | None = None) -> str:
    """An amount with its noun: `1 patient`, `12 patients`."""
    return f"{number(amount)} {one if amount == 1 else many or one + 's'}"
