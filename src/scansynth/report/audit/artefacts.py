"""The audit's artefacts -> values for the page; damage is refused in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.claims.claim import Claim
from scansynth.claims.judged import Judged, read_judged
from scansynth.errors import EvidenceError
from scansynth.files import read_csv, read_json
from scansynth.report.figures.pictures import MIRRORS
from scansynth.study import BEHIND, CLAIMS_FILE, PAIRS, QUARANTINE


@dataclass(frozen=True)
class PairView:
    """A synthetic image and the training image nearest to it; (size, size) uint16 each, neither mirrored.

    `flip` says how one is mirrored to match the other: empty, `left-right`, `top-bottom` or `both`; `by` which way of
    searching found them, or empty.
    """

    index: int
    case: str
    score: float
    p: float | None
    flip: str
    by: str
    synthetic: NDArray[np.uint16]
    real: NDArray[np.uint16]


@dataclass(frozen=True)
class Behind:
    """Figures behind one claim, as one judge and one attribute gave them; any key may be missing."""

    claim: str
    judge: str
    attribute: str
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class EvidenceView:
    """The audit's findings on one set; `quarantined` counts the rows of quarantine.csv."""

    judged: Judged
    pairs: tuple[PairView, ...]
    pairs_listed: int
    behind: tuple[Behind, ...]
    quarantined: int = 0

    @property
    def claims(self) -> tuple[Claim, ...]:
        """All claims of the audit."""
        return self.judged.claims

    def figures(self, claim: str, judge: str = "", attribute: str = "") -> Mapping[str, Any]:
        """What stands behind one claim; empty when nothing does."""
        wanted = (claim, judge, attribute)
        return next((row.figures for row in self.behind if (row.claim, row.judge, row.attribute) == wanted), {})


def read_evidence(
    folder: Path, made: NDArray[np.uint16] | None, real: NDArray[np.uint16] | None, cases: Sequence[str]
) -> EvidenceView | None:
    """The evidence in `folder`, or none before the audit.

    Args:
        folder: Of the evidence.
        made: Synthetic images (m, size, size), where they are at hand.
        real: Real images that may be pictured (n, size, size).
        cases: Case of each of them; pairs with another case are counted, and never pictured.

    Raises:
        EvidenceError: An artefact is damaged, or of another version of the rules.
    """
    if not (folder / CLAIMS_FILE).is_file():
        return None
    judged = read_judged(folder / CLAIMS_FILE)
    listed = _list(folder / PAIRS)
    place = {case: index for index, case in enumerate(cases)}
    try:
        pairs = [
            _pair(pair, made, real[place[pair["case"]]])
            for pair in listed
            if pair["case"] in place and made is not None and real is not None
        ]
    except (KeyError, TypeError, ValueError, IndexError) as fault:
        raise damaged(PAIRS) from fault
    return EvidenceView(
        judged=judged,
        pairs=tuple(pairs),
        pairs_listed=len(listed),
        behind=tuple(_behind(row) for row in _list(folder / BEHIND)),
        quarantined=len(read_csv(folder / QUARANTINE)) if (folder / QUARANTINE).is_file() else 0,
    )


def damaged(name: str) -> EvidenceError:
    """The refusal of a file that cannot be read, or not as these rules write it."""
    return EvidenceError(f"{name} is damaged or of another version; run audit again")


def _list(path: Path) -> list[Any]:
    """A JSON list; empty when there is no file."""
    if not path.is_file():
        return []
    try:
        value = read_json(path)
    except ValueError as fault:
        raise damaged(path.name) from fault
    if not isinstance(value, list):
        raise damaged(path.name)
    return value


def _behind(row: Any) -> Behind:
    if not isinstance(row, Mapping) or not isinstance(row.get("figures"), Mapping):
        raise damaged(BEHIND)
    claim, judge, attribute = (row.get(key) for key in ("claim", "judge", "attribute"))
    if not (isinstance(claim, str) and isinstance(judge, str) and isinstance(attribute, str)):
        raise damaged(BEHIND)
    return Behind(claim, judge, attribute, row["figures"])


def _pair(pair: Mapping[str, Any], made: NDArray[np.uint16], real: NDArray[np.uint16]) -> PairView:
    index = int(pair["index"])
    flip = pair["flip"]
    if flip not in MIRRORS:
        raise ValueError("no such mirroring")
    return PairView(
        index=index,
        case=str(pair["case"]),
        score=float(pair["score"]),
        p=None if pair.get("p") in (None, "") else float(pair["p"]),
        flip=str(flip),
        by=str(pair.get("by") or ""),
        synthetic=made[index],
        real=real,
    )
