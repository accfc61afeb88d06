"""The values of a finished analysis, and how they are written down."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np

from scansynth.claims.claim import Claim
from scansynth.statistics import Interval
from scansynth.utility.statistics.calibration import ArmCalibration
from scansynth.utility.statistics.caught import Caught
from scansynth.utility.statistics.curves import Curve
from scansynth.utility.statistics.effects import Estimate
from scansynth.utility.statistics.groups import GroupRow
from scansynth.utility.statistics.outcomes import BASIC
from scansynth.utility.statistics.rulings import PRIMARY, Contrast


@dataclass(frozen=True)
class Terms:
    """What was fixed in advance.

    Attributes:
        false_alarm_rate: Share of the negatives of calibrate that a threshold lets through.
        margin: Most that false alarms may rise.
        draws: Of the patients.
        level: Of the intervals; 1 - level is the error that is allowed.
    """

    false_alarm_rate: float = 0.1
    margin: float = 0.05
    draws: int = 2000
    level: float = 0.95


@dataclass(frozen=True)
class ArmRow:
    """One arm of a block.

    Attributes:
        arm: Its name.
        sensitivity: On test, at the thresholds from calibrate.
        false_alarms: Rate on test that these thresholds in fact came to.
        auc: On test.
        thresholds: One a pair.
        gap: AUC on the images learned from, less that on test; None where those were not scored.
        calibration: Of its probabilities.
        roc: On test.
        cpm: Mean sensitivity for lesions; None without lesions.
        froc: Likewise.
    """

    arm: str
    sensitivity: Estimate
    false_alarms: Estimate
    auc: Estimate
    thresholds: tuple[float, ...]
    gap: Estimate | None
    calibration: ArmCalibration
    roc: Curve
    cpm: Estimate | None
    froc: Curve | None


@dataclass(frozen=True)
class LesionFloor:
    """What CPM comes to without any knowledge of an image's places.

    Attributes:
        dealt: CPM of the marks of the arm basic with places of other images.
        beyond: CPM of the arm basic less that.
        froc: Of the marks at places of other images.
    """

    dealt: Estimate
    beyond: Estimate
    froc: Curve


@dataclass(frozen=True)
class BlockAnalysis:
    """All figures at one share of the real patients and one dose.

    Attributes:
        fraction: Of the train patients.
        ratio: Synthetic images for each real one.
        why: Why nothing could be measured, or what voids the verdicts; empty otherwise.
        arms: In the order of the trial.
        contrasts: The primary first.
        lesion_contrasts: Change of CPM, by "arm - other"; empty without lesions.
        lesion_floor: Of CPM; None without lesions.
        groups: By attribute of the patients.
        external: Other cohorts, a row each.
        caught: Cases of the primary contrast that changed sides.
        kept: Share of the resamples of the patients that held both classes.
    """

    fraction: float
    ratio: float
    why: str
    arms: tuple[ArmRow, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    lesion_contrasts: Mapping[str, Estimate] = field(default_factory=dict)
    lesion_floor: LesionFloor | None = None
    groups: Mapping[str, tuple[GroupRow, ...]] = field(default_factory=dict)
    external: tuple[GroupRow, ...] = ()
    caught: tuple[Caught, ...] = ()
    kept: float = 0.0

    def contrast(self, arm: str, other: str) -> Contrast | None:
        """A contrast by its arms."""
        return next((one for one in self.contrasts if (one.arm, one.other) == (arm, other)), None)


@dataclass(frozen=True)
class Analysis:
    """The result of a trial.

    Attributes:
        terms: Fixed in advance.
        blocks: The first is the one on which claims are made.
        claims: For claims.json.
        dose: Blocks with the fraction of the first one, by ratio: places in `blocks`.
        low_data: Blocks with the ratio of the first one, by fraction.
    """

    terms: Terms
    blocks: tuple[BlockAnalysis, ...]
    claims: tuple[Claim, ...]
    dose: tuple[int, ...]
    low_data: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON as it stands: numbers, strings, lists; what is not a number is null."""
        return {
            "terms": as_plain(self.terms),
            "blocks": [as_plain(block) for block in self.blocks],
            "claims": [claim.as_row() for claim in self.claims],
            "dose": [_point(self.blocks[place], "ratio") for place in self.dose],
            "low_data": [_point(self.blocks[place], "fraction") for place in self.low_data],
        }


def as_plain(value: Any) -> Any:
    """A value as JSON holds it: intervals as two numbers, arrays as lists, and null for what is not a number.

    Raises:
        TypeError: JSON does not know the value.
    """
    if isinstance(value, Interval):
        return [value.low, value.high]
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: as_plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_plain(one) for key, one in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Sequence | np.ndarray):
        return [as_plain(one) for one in value]
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _point(block: BlockAnalysis, by: str) -> dict[str, Any]:
    """One point of a curve over doses or over shares of the real patients."""
    primary = block.contrast(*PRIMARY)
    return {
        by: getattr(block, by),
        "gain": None if primary is None else as_plain(primary.gain),
        "false_alarms": None if primary is None else as_plain(primary.false_alarms),
        "verdict": None if primary is None else primary.verdict.value,
        "sensitivity": {row.arm: as_plain(row.sensitivity) for row in block.arms},
        "auc": {row.arm: as_plain(row.auc) for row in block.arms},
        "baseline": BASIC,
    }
