"""The probe: before reading begins, do processing traces in the buffers reveal the synthetic images?

The same judges, floor, control and rule as the claim `telltales.pixels` of the audit, on the very bytes that readers
get. A probe that finds traces, or cannot run, refuses; overruling it needs a name and a reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.claims.claim import Claim, Finding
from scansynth.claims.traces import PIXELS, Sides, assess, blocks_reader_export
from scansynth.data.tensors import to_signed, to_stored
from scansynth.errors import ReaderError
from scansynth.metrics import planted
from scansynth.metrics.probe import FOLDS
from scansynth.metrics.telltales import LEAST_SIDE, TRACES, as_readers_see, trace_features
from scansynth.statistics import Verdict

Stored = NDArray[np.uint16]
CONTROL = "JPEG at quality 90"


@dataclass(frozen=True)
class Override:
    """Who overrules the probe's refusal, and why; both are printed in the report."""

    name: str
    reason: str

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.reason.strip():
            raise ReaderError("an override needs a name and a reason: --override-name NAME --override-reason TEXT")


@dataclass(frozen=True)
class Probed:
    """What the probe found.

    Attributes:
        finding: As of the audit's claim, on the buffers.
        audit: Why the audit of the set holds it back from readers; empty when it does not.
    """

    finding: Finding
    audit: str

    @property
    def refusal(self) -> str:
        """Why the study must not be created; empty when it may."""
        claim = self.finding.claim
        if claim.verdict is Verdict.REFUTED:
            return claim.why
        if claim.verdict is Verdict.NOT_ASSESSABLE:
            return f"It is not known whether processing traces reveal the synthetic images. {claim.why}"
        return self.audit

    def as_json(self, override: Override | None) -> dict[str, Any]:
        """As `probe.json` holds it: rounded, without a count of either kind, which nobody may know before the end."""
        claim, figures = self.finding.claim, self.finding.figures
        interval, floor = claim.interval, claim.floor
        return {
            "verdict": claim.verdict.value,
            "why": claim.why,
            "auc": _rounded(claim.value),
            "interval": interval and _rounded([interval.low, interval.high]),
            "level": claim.level,
            "floor": floor and _rounded([floor.low, floor.mean, floor.high]),
            "control": {control.name: _rounded([control.found, control.needed]) for control in claim.control},
            "p": _rounded(figures["p"]),
            "by_model": {name: _rounded(auc) for name, auc in figures["by_model"].items()},
            "traces": {name: _rounded(auc) for name, auc in figures["traces"].items()},
            "audit": self.audit,
            "refused": self.refusal,
            "override": None
            if override is None or not self.refusal
            else {"name": override.name, "reason": override.reason, "refused": self.refusal},
        }


def _rounded(value: Any) -> Any:
    """To three digits: a share to all its digits tells how many it was taken from."""
    return np.round(value, 3).tolist()


def probe(shown: tuple[Stored, Stored], originals: Stored, claims: Iterable[Claim], level: float, seed: int) -> Probed:
    """Tests whether processing traces separate the buffers, one of each image; all are of different patients.

    Args:
        shown: Buffers of the real and of the synthetic images, uint16 (n, side, side) and (m, side, side).
        originals: The real images before they became buffers, uint16 (n, side, side): the planted leak goes the same
            way as they did.
        claims: Of the set's audit.
        level: Of the interval.
        seed: Of folds, halves, permutations and the control's noise.

    Raises:
        ReaderError: The images are too small or too few to be probed.
    """
    real, synthetic = shown
    if min(len(real), len(synthetic)) < 2 * FOLDS or real.shape[1] < LEAST_SIDE:
        raise ReaderError(
            f"the probe needs at least {2 * FOLDS} images of either kind, at least {LEAST_SIDE} pixels a side; set "
            f"reader.images higher"
        )
    leaking = as_readers_see(to_stored(planted.jpeg(to_signed(originals))), np.random.default_rng(seed))
    control = (CONTROL, trace_features(leaking))
    sides = Sides(TRACES, trace_features(real), trace_features(synthetic), control)
    finding = assess(PIXELS, sides, level, seed)
    return Probed(finding, blocks_reader_export(claims) or "")


def require(probed: Probed, override: Override | None) -> None:
    """Passes when the study may be created.

    Raises:
        ReaderError: The probe refuses, and nobody answers for going on.
    """
    if probed.refusal and override is None:
        raise ReaderError(
            f"{probed.refusal} No reader study was created; correct the set, or take responsibility in the report "
            f"with --override-name NAME --override-reason TEXT"
        )
