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

from scansynth.trial.resampling import least_negatives

LEAST_TEST = 30
"""Patients of test with a lesion, and as many without, under which intervals do not hold; see `docs/utility.md`."""

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
        ValueError: There are more patients than images, or none.
    """

    images: int
    patients: int

    def __post_init__(self) -> None:
        if not 0 < self.patients <= self.images:
            raise ValueError(f"{self.images} images cannot be those of {self.patients} patients")

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
    """What has to be assumed of the detectors; `docs/utility.md` says where the defaults come from.

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


def chance_of_claim(
    gain: float, margin: float, counts: Counts, pairs: int, assumed: Assumed, level: float = 0.95, comparisons: int = 1
) -> float:
    """Chance of `shown`: the gain above 0 and false alarms below the margin, when false alarms do not change.

    Both hang on the same thresholds: one that is low by chance brings gain and false alarms. The joint chance is that
    of two normal variables with this correlation.

    Args:
        gain: True change of sensitivity.
        margin: Of false alarms.
        counts: Of the cohort.
        pairs: Generators, each with a detector an arm.
        assumed: Of the detectors.
        level: Of the intervals.
        comparisons: Claims among which the gain must stand; the smallest p of m is multiplied by m (Holm).
    """
    of_gain, of_alarms = spread_of_gain(gain, counts, pairs, assumed), spread_of_alarms(counts, pairs, assumed)
    gains = _reach(gain, of_gain, 1.0 - (1.0 - level) / comparisons)
    quiet = _reach(margin, of_alarms, level)
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
        gain: Wished for.
        margin: Of false alarms.
        power: Wished for.
        pairs: Generators, each with a detector an arm.
        comparisons: Claims among which the gain must stand.
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

    gain: float
    margin: float
    power: float
    pairs: int
    comparisons: int
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

    def as_json(self) -> dict[str, Any]:
        """JSON as it stands."""
        return asdict(self)


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
        power: Wished for.
        level: Of the intervals.
        comparisons: Claims among which the gain must stand.
        assumed: Of the detectors.

    Raises:
        ValueError: The gain is larger than the discordance, or there is one pair only.
    """
    if pairs < 2:
        raise ValueError("a trial needs two pairs at least")
    chosen, first = assumed or Assumed(), 1.0 - (1.0 - level) / comparisons

    def chance(gain: float, counts: Counts, pairs: int) -> float:
        return chance_of_claim(gain, margin, counts, pairs, chosen, level, comparisons)

    factor = _bisect(lambda times: chance(gain, counts.times(times), pairs) >= power, 1e-3, _MOST_TIMES)
    enough = (k for k in range(2, _MOST_PAIRS + 1) if chance(gain, counts, k) >= power)
    have = {
        ("test", True): counts.test_positive,
        ("test", False): counts.test_negative,
        ("calibrate", False): counts.calibrate_negative,
    }
    missing = {
        f"{role} {'with' if positive else 'without'} a lesion": least - have[role, positive].patients
        for (role, positive), least in least_patients(rate).items()
        if (role, positive) in have and have[role, positive].patients < least
    }
    return Plan(
        gain=gain,
        margin=margin,
        power=power,
        pairs=pairs,
        comparisons=comparisons,
        counts=counts,
        assumed=chosen,
        chance=chance(gain, counts, pairs),
        chance_of_gain=chance_of_gain(gain, counts, pairs, chosen, first),
        chance_of_quiet=_reach(margin, spread_of_alarms(counts, pairs, chosen), level),
        detectable=_bisect(lambda wish: chance_of_gain(wish, counts, pairs, chosen, first) >= power, 0.0, 1.0),
        needed=None if factor is None else counts.times(factor),
        pairs_needed=next(enough, None),
        mcnemar=mcnemar_lesions(gain, max(chosen.discordance, gain), power, level),
        negatives=noninferior_negatives(margin, chosen.negative_discordance, power, level),
        missing=missing,
    )
