"""Files of trial and reader study, read for the page: what is damaged is refused in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scansynth.claims.judged import Judged, read_judged
from scansynth.errors import EvidenceError
from scansynth.files import read_json

FAULTS = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)
"""Faults that reading a damaged tree of values raises."""

Values = Mapping[str, Any]


@contextlib.contextmanager
def refusing(what: str, again: str) -> Iterator[None]:
    """Turns any fault of a damaged file into one line.

    Args:
        what: The file and whose it is, such as "analysis.json of the trial".
        again: The command that writes it.

    Raises:
        EvidenceError: In place of the fault.
    """
    try:
        yield
    except FAULTS as fault:
        raise EvidenceError(f"{what} is damaged or of another version; run: scansynth {again} STUDY") from fault


def read_object(path: Path, what: str, again: str) -> dict[str, Any]:
    """A JSON object.

    Args:
        path: Of the file.
        what: Whose it is.
        again: The command that writes it.

    Raises:
        EvidenceError: It is missing, damaged, or no object.
    """
    with refusing(f"{path.name} of the {what}", again):
        try:
            value = read_json(path)
        except FileNotFoundError as fault:
            raise ValueError("missing") from fault
        if not isinstance(value, dict):
            raise TypeError("no object")
        return value


def own_claims(path: Path, rules: Mapping[str, Any], what: str, again: str) -> Judged:
    """Verdicts and claims of a trial or of a reader study, in the order of their rules.

    Args:
        path: Of claims.json.
        rules: That may stand in it.
        what: Whose claims they are.
        again: The command that writes them.

    Raises:
        EvidenceError: It is missing or damaged, holds other claims, or follows another version of the rules.
    """
    with refusing(f"{path.name} of the {what}", again):
        try:
            found = read_judged(path, what, again)
        except FileNotFoundError as fault:
            raise ValueError("missing") from fault
        if not found.claims or {claim.claim for claim in found.claims} - set(rules):
            raise ValueError("other claims")
    return found


def pair_of(value: Any) -> tuple[float, float]:
    """Two numbers, as intervals are written.

    Raises:
        ValueError: They are not two.
    """
    low, high = value
    return float(low), float(high)


def optional(value: Any) -> float | None:
    """A number, or None where the value is missing."""
    return None if value is None else float(value)


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
