"""What a trial can see before it is run: patients, lesions and generators for a wished-for gain, and the reverse.

The variance is that of `effects.estimate`, from numbers that are assumed beforehand. A gain of a pair varies by

    test       design effect * (discordance - gain^2) / positive images of test
    threshold  slope^2 * design effect * discordance of negatives / negative images of calibrate
    luck       (spread between pairs)^2

of which the first two are in part shared by all pairs, because they have the same patients; the rest is divided by the
number of pairs. The change of false alarms varies likewise, with the negatives of test and a slope of 1. Thresholds
come from few images as a rule, so calibrate often decides what a trial can see.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from scipy import stats

from scansynth.errors import ConfigError
from scansynth.utility.statistics.resampling import least_negatives

LEAST_TEST = 30
"""Patients of test with a lesion, and as many without; with fewer nothing is assessed. See `docs/utility.md`."""

_MOST_TIMES, _MOST_PAIRS = 1000.0, 200


def least_patients(rate: float) -> Mapping[tuple[str, bool], int]:
    """The fewest patients by role and by whether their image shows a lesion; with fewer nothing is assessed.

    A rule on the validity of intervals, not on power: a trial above it may still be too small to show anything, and
    then its positive control says so.

    Args:
        rate: Of false alarms at which thresholds are set.
    """
    return {
        ("test", True): LEAST_TEST,
        ("test", False): LEAST_TEST,
        ("calibrate", True): 1,
        ("calibrate", False): least_negatives(rate),
    }


@dataclass(frozen=True)
class Sample:
    """So many images of so many patients.

    Raises:
        ConfigError: There are more patients than images, or none.
    """

    images: int
    patients: int

    def __post_init__(self) -> None:
        if not 0 < self.patients <= self.images:
            raise ConfigError(
                f"{self.images} images cannot be those of {self.patients} patients; give both numbers again"
            )

    def times(self, factor: float) -> Sample:
        """As many images a patient, of more or fewer patients."""
        patients = max(math.ceil(self.patients * factor - 1e-9), 1)
        return Sample(max(round(self.images * patients / self.patients), patients), patients)


@dataclass(frozen=True)
class Counts:
    """What a cohort has for a trial."""

    test_positive: Sample
    test_negative: Sample
    calibrate_negative: Sample

    def times(self, factor: float) -> Counts:
        """A cohort of the same make and another size."""
        parts = (self.test_positive, self.test_negative, self.calibrate_negative)
        return Counts(*(part.times(factor) for part in parts))


@dataclass(frozen=True)
class Assumed:
    """What has to be assumed of the detectors before there are any; a finished trial tells its own.

    Attributes:
        discordance: Share of the positive images on which the two detectors of a pair differ.
        negative_discordance: The same of negative images.
        shared: Correlation of two pairs' differences on an image.
        pair_spread: Standard deviation of the gain between pairs with endless patients: luck of the generators.
        correlation: Of the differences on two images of a patient.
        slope: Change of the sensitivity for one point of false alarms, at the threshold.
    """

    discordance: float = 0.15
    negative_discordance: float = 0.10
    shared: float = 0.2
    pair_spread: float = 0.02
    correlation: float = 0.2
    slope: float = 1.5


@dataclass(frozen=True)
class Wish:
    """What a trial should show, and the rule it is under.

    Attributes:
        gain: Wished for, as a change of sensitivity 0..1.
        margin: Most that false alarms may rise.
        rate: Of false alarms at which thresholds are set.
        power: Chance of `shown` that is wished for.
        level: Of the intervals.
        comparisons: Claims among which this one must stand.

    Raises:
        ConfigError: A figure is out of its range.
    """

    gain: float = 0.064
    margin: float = 0.05
    rate: float = 0.1
    power: float = 0.8
    level: float = 0.95
    comparisons: int = 1

    def __post_init__(self) -> None:
        for name in ("gain", "margin", "rate", "power", "level"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ConfigError(f"{name} lies between 0 and 1, not at {getattr(self, name)}; 6.4 points are 0.064")
        if self.comparisons < 1:
            raise ConfigError("comparisons must be a whole number of 1 or more")

    @property
    def first_level(self) -> float:
        """Of the interval that the smallest p of all comparisons must satisfy (Holm)."""
        return 1.0 - (1.0 - self.level) / self.comparisons


@dataclass(frozen=True)
class Spread:
    """Error of a change and its degrees of freedom."""

    error: float
    freedom: float


def mcnemar_lesions(gain: float, discordance: float, power: float = 0.8, level: float = 0.95) -> int:
    """Lesions for McNemar's test on one pair of detectors, one lesion a patient (Connor, Biometrics 43, 1987).

    (z_a sqrt(psi) + z_b sqrt(psi - d^2))^2 / d^2, rounded. The least that any trial needs.

    Raises:
        ValueError: The gain is larger than the discordance, or none.
    """
    if not 0 < abs(gain) <= discordance <= 1:
        raise ValueError(f"a gain of {gain} cannot come from a discordance of {discordance}")
    z_a, z_b = stats.norm.ppf(0.5 + level / 2.0), stats.norm.ppf(power)
    return round(float((z_a * math.sqrt(discordance) + z_b * math.sqrt(discordance - gain**2)) ** 2 / gain**2))


def noninferior_negatives(margin: float, discordance: float, power: float = 0.8, level: float = 0.95) -> int:
    """Negatives at which equal rates of false alarms stay below the margin (paired; Liu et al., Stat. Med. 21, 2002).

    (z_a + z_b)^2 psi / margin^2, rounded, with the upper end of a two-sided interval; one image a patient.
    """
    z = float(stats.norm.ppf(0.5 + level / 2.0) + stats.norm.ppf(power))
    return round(z**2 * discordance / margin**2)


def design_effect(sample: Sample, correlation: float) -> float:
    """How many times more the variance is with several images a patient: 1 + (m - 1) rho (Kish 1965)."""
    return 1.0 + (sample.images / sample.patients - 1.0) * correlation


def _spread(of_patients: float, luck: float, patients: int, pairs: int, assumed: Assumed) -> Spread:
    common = of_patients * assumed.shared
    own = (of_patients * (1.0 - assumed.shared) + luck) / pairs
    variance = own + common
    return Spread(math.sqrt(variance), variance**2 / (own**2 / (pairs - 1) + common**2 / max(patients - 1, 1)))


def _of_threshold(counts: Counts, assumed: Assumed) -> float:
    """Variance of the difference of two rates of false alarms that thresholds from calibrate bring about."""
    sample = counts.calibrate_negative
    return design_effect(sample, assumed.correlation) * assumed.negative_discordance / sample.images


def spread_of_gain(gain: float, counts: Counts, pairs: int, assumed: Assumed) -> Spread:
    """Error of the change of sensitivity."""
    test = counts.test_positive
    discordance = max(assumed.discordance, abs(gain))
    of_test = design_effect(test, assumed.correlation) * max(discordance - gain**2, 0.0) / test.images
    total = of_test + assumed.slope**2 * _of_threshold(counts, assumed)
    return _spread(total, assumed.pair_spread**2, test.patients, pairs, assumed)


def spread_of_alarms(counts: Counts, pairs: int, assumed: Assumed) -> Spread:
    """Error of the change of the rate of false alarms."""
    test = counts.test_negative
    of_test = design_effect(test, assumed.correlation) * assumed.negative_discordance / test.images
    return _spread(of_test + _of_threshold(counts, assumed), 0.0, test.patients, pairs, assumed)


def _reach(distance: float, spread: Spread, level: float) -> float:
    """Chance that the end of the interval stays on its side of something so far away (non-central t)."""
    limit = float(stats.t.ppf(0.5 + level / 2.0, spread.freedom))
    return float(stats.nct.sf(limit, spread.freedom, distance / spread.error))


def chance_of_gain(gain: float, counts: Counts, pairs: int, assumed: Assumed, level: float = 0.95) -> float:
    """Chance that the interval of the gain lies above 0."""
    return _reach(gain, spread_of_gain(gain, counts, pairs, assumed), level)


def chance_of_quiet(margin: float, counts: Counts, pairs: int, assumed: Assumed, level: float = 0.95) -> float:
    """Chance that the interval of the false alarms' change lies below the margin, when they do not change."""
    return _reach(margin, spread_of_alarms(counts, pairs, assumed), level)


def chance_of_claim(wish: Wish, counts: Counts, pairs: int, assumed: Assumed) -> float:
    """Chance of `shown`: the gain above 0 and false alarms below the margin, when false alarms do not change.

    Both hang on the same thresholds: one that is low by chance brings gain and false alarms. The joint chance is that
    of two normal variables with this correlation.

    Args:
        wish: The gain, if it is true, and the rule.
        counts: Of the cohort.
        pairs: Generators, each with a detector an arm.
        assumed: Of the detectors.
    """
    of_gain, of_alarms = spread_of_gain(wish.gain, counts, pairs, assumed), spread_of_alarms(counts, pairs, assumed)
    gains, quiet = (
        _reach(distance, spread, wish.first_level)
        for distance, spread in ((wish.gain, of_gain), (wish.margin, of_alarms))
    )
    both = assumed.slope * _of_threshold(counts, assumed) * (assumed.shared + (1.0 - assumed.shared) / pairs)
    correlation = min(both / (of_gain.error * of_alarms.error), 0.99)
    ends = [float(stats.norm.ppf(min(max(p, 1e-9), 1 - 1e-9))) for p in (gains, quiet)]
    covariance = [[1.0, -correlation], [-correlation, 1.0]]
    return float(stats.multivariate_normal(cov=covariance).cdf(ends))


def _bisect(enough: Callable[[float], bool], low: float, high: float) -> float | None:
    """The smallest value that is enough, to a thousandth; None where not even the highest is."""
    if not enough(high):
        return None
    while high - low > 1e-3 * max(low, 1e-2):
        middle = (low + high) / 2.0
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class Plan:
    """What a cohort can show.

    Attributes:
        wish: What it should show.
        pairs: Generators, each with a detector an arm.
        counts: Of the cohort.
        assumed: Of the detectors.
        chance: Of `shown`, if the gain is true.
        chance_of_gain: That the gain's interval lies above 0, false alarms aside.
        chance_of_quiet: That false alarms stay below the margin, when they do not change.
        detectable: The smallest gain whose interval lies above 0 with the wished-for power; None where none is.
        needed: A cohort of the same make that shows the gain with this power; None where no size does.
        pairs_needed: Generators at which this cohort does; None where no number does.
        mcnemar: Lesions for one pair of detectors, one lesion a patient; the least that any trial needs.
        negatives: Negatives for false alarms below the margin, likewise.
        missing: Patients under the least numbers by role and class, such as "test with a lesion".
    """

    wish: Wish
    pairs: int
    counts: Counts
    assumed: Assumed
    chance: float
    chance_of_gain: float
    chance_of_quiet: float
    detectable: float | None
    needed: Counts | None
    pairs_needed: int | None
    mcnemar: int
    negatives: int
    missing: Mapping[str, int]

    @property
    def gain(self) -> float:
        """To be reached."""
        return self.wish.gain

    @property
    def power(self) -> float:
        """To be reached."""
        return self.wish.power

    def as_json(self) -> dict[str, Any]:
        """JSON as it stands."""
        return asdict(self)


def missing_patients(counts: Counts, rate: float) -> dict[str, int]:
    """Patients under the least numbers, by role and class; empty where none are missing."""
    have = {
        ("test", True): counts.test_positive,
        ("test", False): counts.test_negative,
        ("calibrate", False): counts.calibrate_negative,
    }
    return {
        f"{role} {'with' if positive else 'without'} a lesion": least - have[role, positive].patients
        for (role, positive), least in least_patients(rate).items()
        if (role, positive) in have and have[role, positive].patients < least
    }


def plan_utility(
    counts: Counts,
    *,
    gain: float = 0.064,
    margin: float = 0.05,
    rate: float = 0.1,
    pairs: int = 5,
    power: float = 0.8,
    level: float = 0.95,
    comparisons: int = 1,
    assumed: Assumed | None = None,
) -> Plan:
    """What this cohort can show, and what it would take.

    Args:
        counts: Images and patients of test and calibrate.
        gain: Wished for, as a change of sensitivity 0..1.
        margin: Most that false alarms may rise.
        rate: Of false alarms at which thresholds are set.
        pairs: Generators, each with a detector an arm; two at least.
        power: Chance of `shown` that is wished for.
        level: Of the intervals.
        comparisons: Claims among which this one must stand.
        assumed: Of the detectors.

    Raises:
        ConfigError: A figure is out of its range, or there is one pair only.
    """
    if pairs < 2:
        raise ConfigError("a trial needs two pairs at least: with one, luck cannot be told from a gain")
    return _plan(Wish(gain, margin, rate, power, level, comparisons), counts, pairs, assumed or Assumed())


def _plan(wish: Wish, counts: Counts, pairs: int, assumed: Assumed) -> Plan:
    def chance(counts: Counts, pairs: int) -> float:
        return chance_of_claim(wish, counts, pairs, assumed)

    def seen(gain: float) -> float:
        return chance_of_gain(gain, counts, pairs, assumed, wish.first_level)

    factor = _bisect(lambda times: chance(counts.times(times), pairs) >= wish.power, 1e-3, _MOST_TIMES)
    return Plan(
        wish=wish,
        pairs=pairs,
        counts=counts,
        assumed=assumed,
        chance=chance(counts, pairs),
        chance_of_gain=seen(wish.gain),
        chance_of_quiet=chance_of_quiet(wish.margin, counts, pairs, assumed, wish.first_level),
        detectable=_bisect(lambda gain: seen(gain) >= wish.power, 0.0, 1.0),
        needed=None if factor is None else counts.times(factor),
        pairs_needed=next((k for k in range(2, _MOST_PAIRS + 1) if chance(counts, k) >= wish.power), None),
        mcnemar=mcnemar_lesions(wish.gain, max(assumed.discordance, wish.gain), wish.power, wish.level),
        negatives=noninferior_negatives(wish.margin, assumed.negative_discordance, wish.power, wish.level),
        missing=missing_patients(counts, wish.rate),
    )
