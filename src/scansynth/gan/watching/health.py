"""From figures to an alarm: when a training is healthy, when to warn, when it has collapsed.

The rules stand in docs/training.md, with the reason for each number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

CRITICAL: Mapping[str, float] = {"nearest": 0.5, "median_pair": 0.6, "vendi": 0.5}
"""Below one of these a generator has collapsed."""

ARMED_AT = 1.4
"""So many times each limit is clear of a collapse. A generator begins grey and uniform: it is watched from there on."""

WATCHED = ("nearest", "near_pairs", "median_pair", "vendi", "rank")
"""Figures that warn below the 0.5% quantile of real against real. Coverage is left out: unreal images lower it, too."""

WITHIN = "within_"
"""Before a label's name: the figure is `median_pair` of the images of that label alone. It warns below the limit of
`CRITICAL`, for a generator that is varied as a whole can still have one image for a rare label."""

RUNNING = 2
"""Looks one after another that must be low before there is a warning."""

BALANCE_CHANGE = 3.0
"""Times that the ratio of the two losses may grow or shrink against its median over the looks before."""

_BALANCE_LOOKS, _LEAST_BALANCES = 10, 5
_LATE_SHARE, _LATE_IMAGES = 1 / 2, 60_000

GRACE_LOOKS = 3
"""Looks after a roll-back at which a collapse is only warned of."""


class Trouble(StrEnum):
    """What an alarm can be about."""

    COLLAPSE = "collapse"
    VARIETY = "variety"
    LOSSES = "losses"


class Level(StrEnum):
    """How a training stands."""

    WARMING = "warming"
    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Health:
    """What the looks so far have found.

    Attributes:
        level: The worst of all networks and of the losses.
        troubles: What is wrong; empty when healthy. A collapse in the grace after a roll-back is among them.
        reasons: The same in plain words.
        armed: Networks that were varied once, and can collapse.
        settled: Networks that were once as varied as reals, and can be warned of.
        low: Looks running at which a network was below the limits.
        balances: Generator's loss over discriminator's at the last looks.
        unbalanced: Looks running at which that ratio had run away.
        clear: At this look every network stood clear of a collapse, and the losses together: a training may come back.
        grace: Looks left at which a collapse is only warned of: a change in mid-training shakes it at first.
    """

    level: Level = Level.WARMING
    troubles: tuple[Trouble, ...] = ()
    reasons: tuple[str, ...] = ()
    armed: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    low: Mapping[str, int] | None = None
    balances: tuple[float, ...] = ()
    unbalanced: int = 0
    clear: bool = False
    grace: int = 0


def to_plain(health: Health) -> dict[str, Any]:
    """As plain JSON values."""
    return asdict(health)


def from_plain(values: Mapping[str, Any]) -> Health:
    """What `to_plain` gave."""
    lists = {name: tuple(values[name]) for name in ("reasons", "armed", "settled", "balances")}
    troubles = tuple(Trouble(name) for name in values["troubles"])
    return Health(**{**values, **lists, "level": Level(values["level"]), "troubles": troubles})


def judge(
    before: Health,
    looks: Mapping[str, Mapping[str, float]],
    limits: Mapping[str, float],
    balance: float,
    images: int,
    total: int,
) -> Health:
    """How the training stands after a look.

    Args:
        before: After the look before.
        looks: `collapse.STATISTICS` of each network that is watched.
        limits: Their 0.5% quantiles of real against real; empty when not known.
        balance: Generator's loss over discriminator's since the look before.
        images: Real images seen.
        total: Real images until the end.
    """
    late = images >= max(_LATE_IMAGES, _LATE_SHARE * total)  # a generator that never became varied is watched too
    below = {network: _below(figures, limits) for network, figures in looks.items()}
    armed = tuple(name for name in looks if name in before.armed or late or _varied(looks[name]))
    settled = tuple(name for name in armed if name in before.settled or late or not below[name])
    low = {name: (before.low or {}).get(name, 0) + 1 if below[name] else 0 for name in looks}
    unbalanced = before.unbalanced + 1 if settled and _ran_away(balance, before.balances) else 0

    collapsed = [f"{name}: {words}" for name in armed for words in _collapsed(looks[name])]
    varied = [
        f"{name}: {words}, and twice running" for name in settled if low[name] >= RUNNING for words in below[name]
    ]
    apart = [_words_of_balance(balance, before.balances)] if unbalanced >= RUNNING else []
    found = {Trouble.COLLAPSE: collapsed, Trouble.VARIETY: [] if collapsed else varied, Trouble.LOSSES: apart}
    level = Level.HEALTHY if set(settled) == set(looks) else Level.WARMING
    if any(found.values()):
        level = Level.WARNING
    if collapsed and (not before.grace or images >= total):  # at the end there is no time left to settle
        level = Level.CRITICAL
    return Health(
        level=level,
        troubles=tuple(trouble for trouble, words in found.items() if words),
        reasons=tuple(word for words in found.values() for word in words),
        armed=armed,
        settled=settled,
        low=low,
        balances=(*before.balances, balance)[-_BALANCE_LOOKS:],
        unbalanced=unbalanced,
        clear=unbalanced < RUNNING and all(_varied(figures) for figures in looks.values()),
        grace=max(0, before.grace - 1),
    )


def _varied(figures: Mapping[str, float]) -> bool:
    """Whether a network is clear of a collapse."""
    return all(figures[name] >= ARMED_AT * limit for name, limit in CRITICAL.items())


def _collapsed(figures: Mapping[str, float]) -> list[str]:
    return [
        f"{TITLES[name]} {figures[name]:.2f} of that of real images, below {limit:.2f}"
        for name, limit in CRITICAL.items()
        if not figures[name] >= limit  # a figure that is no number has collapsed too
    ]


def _below(figures: Mapping[str, float], limits: Mapping[str, float]) -> list[str]:
    found = [
        f"{TITLES[name]} {figures[name]:.2f} of that of real images, below the {limits[name]:.2f} that chance allows"
        for name in WATCHED
        if name in limits and not figures[name] >= limits[name]
    ]
    least = CRITICAL["median_pair"]
    return found + [
        f"{TITLES['median_pair']} of {name.removeprefix(WITHIN)} {value:.2f} of that of real images, below {least:.2f}"
        for name, value in figures.items()
        if name.startswith(WITHIN) and not value >= least
    ]


TITLES: Mapping[str, str] = {
    "nearest": "distance to the nearest other image",
    "near_pairs": "distance of the nearest 5% of pairs",
    "median_pair": "median distance of two images",
    "vendi": "number of distinct images (Vendi)",
    "rank": "directions of variation (effective rank)",
}
"""The watched figures in plain words."""


def _ran_away(balance: float, before: tuple[float, ...]) -> bool:
    """Whether one loss grew too fast against the other, the classic sign of a training that goes wrong."""
    if len(before) < _LEAST_BALANCES:
        return False
    change = balance / max(float(np.median(before)), 1e-12)
    return not 1.0 / BALANCE_CHANGE <= change <= BALANCE_CHANGE


def _words_of_balance(balance: float, before: tuple[float, ...]) -> str:
    return (
        f"losses: the generator's is {balance:.2f} times the discriminator's, "
        f"after {float(np.median(before)):.2f} times before"
    )
