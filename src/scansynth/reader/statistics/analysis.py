"""The analysis of a closed reader study: one primary result, and secondary figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scansynth.claims.claim import Claim, Control, Floor, Measurement, not_assessable, stated
from scansynth.errors import ReaderError
from scansynth.reader.statistics import agreement, controls, strata
from scansynth.reader.statistics.absent import about_absent
from scansynth.reader.statistics.alone import reader_rows
from scansynth.reader.statistics.arrival import impossible, longest
from scansynth.reader.statistics.counting import LEAST_IMAGES, counting, finished
from scansynth.reader.statistics.course import course
from scansynth.reader.statistics.crossed import crossed_logit
from scansynth.reader.statistics.mrmc import Average, average
from scansynth.reader.statistics.readings import Reading, Table, counted, repeats, table
from scansynth.reader.statistics.sets import compare_sets, of_own_set
from scansynth.reader.statistics.strata import Attributes
from scansynth.reader.statistics.verdict import (
    CLAIMED,
    LEAST_READERS,
    Decision,
    Outcome,
    decide,
    equivalence_level,
    missing,
    percent,
)
from scansynth.seeds import generator
from scansynth.statistics import Interval

CLAIM = "reader.indistinguishable"


@dataclass(frozen=True)
class Protocol:
    """What was fixed before reading began, as far as the analysis asks.

    Attributes:
        margin: Of equivalence.
        level: Of the intervals.
        readers: Planned.
        images: Planned for each reader, both classes, without repeats.
        break_every: Images after which a break was proposed.
        override: Who overruled the probe's refusal, and why; empty where it did not refuse.
        refused: What the refusal said.
        excluded: Readers whose answers were set aside when they left, before the seal was opened.
        seats: Readers who were invited in all, those who were added later among them; 0: as many as planned.
        sets: The study's own set, and the one that it is compared with; empty where none is.
    """

    margin: float
    level: float
    readers: int
    images: int
    break_every: int = 0
    override: str = ""
    refused: str = ""
    excluded: tuple[str, ...] = ()
    seats: int = 0
    sets: tuple[str, str] = ("", "")


def read_protocol_values(values: Mapping[str, Any]) -> Protocol:
    """The analysis's part of a protocol.json.

    Raises:
        ReaderError: A value is missing or impossible.
    """
    try:
        override = values.get("override") or {}
        found = Protocol(
            float(values["margin"]),
            float(values["level"]),
            int(values["readers"]),
            int(values["images"]),
            int(values.get("break_every", 0)),
            "; ".join(str(override[key]) for key in ("name", "reason") if override.get(key)),
            str(override.get("refused", "")),
            sets=(str(values.get("synthetic_set", "")), str(values.get("against") or "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise ReaderError(f"the protocol lacks {fault} or it is not valid; restore protocol.json") from None
    if not (0 < found.margin < 0.5 and 0.5 < found.level < 1 and found.readers > 0 and found.images > 0):
        raise ReaderError("the protocol's margin, level or numbers are out of range; restore protocol.json")
    return found


@dataclass(frozen=True)
class Analysis:
    """Everything that the report shows.

    Attributes:
        decision: The verdict on readers in general.
        claim: The same as a line of evidence.
        protocol: What it was judged by.
        primary: Readers' mean AUC and its parts; none where there is none.
        readers: One row for each reader, also of those who did not finish.
        beside: Agreement, course, groups, images, crossed logit: nothing that decides.
        machine: What a machine made of the same images; never among the readers.
        n: Numbers of readers and images.
        notes: Sentences that must stand beside the verdict.
    """

    decision: Decision
    claim: Claim
    protocol: Protocol
    primary: Mapping[str, Any] | None
    readers: tuple[Mapping[str, Any], ...]
    beside: Mapping[str, Any]
    machine: Mapping[str, Any] | None
    n: Mapping[str, int]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """As analysis.json holds it."""
        return {
            "verdict": self.decision.as_row(),
            "margin": self.protocol.margin,
            "level": self.protocol.level,
            "planned": {"readers": self.protocol.readers, "images": self.protocol.images},
            "primary": None if self.primary is None else dict(self.primary),
            "readers": [dict(row) for row in self.readers],
            **self.beside,
            "machine": None if self.machine is None else dict(self.machine),
            "n": dict(self.n),
            "notes": list(self.notes),
        }


def analyse(
    readings: Sequence[Reading],
    protocol: Protocol,
    machine: Mapping[str, Any] | None = None,
    attributes: Attributes | None = None,
    seed: int = 0,
    inputs: Mapping[str, str] | None = None,
    remarks: Sequence[str] = (),
) -> Analysis:
    """Analyses a closed study by the rule of `docs/reader_statistics.md`.

    Args:
        readings: All locked answers of the reading, repeats included, practice left out; in any order.
        protocol: What was fixed.
        machine: What machine.json holds.
        attributes: Of the real cases, for figures by group of patients.
        seed: Of bootstrap, shuffles and planted differences.
        inputs: Digests for the claim.
        remarks: On readers who came and went; they stand with the notes.

    Raises:
        ReaderError: There is no reading.
    """
    ordered = sorted(readings, key=lambda reading: (reading.reader, reading.position))
    if not ordered:
        raise ReaderError("there are no readings yet")
    kept = counting(ordered, protocol.images, protocol.excluded)
    sets = compare_sets(ordered, kept, protocol.sets, protocol.margin, protocol.level)
    ordered, others = of_own_set(ordered)
    protocol = replace(protocol, images=protocol.images - others)
    whole = table(one for one in ordered if one.reader in kept)
    n = _numbers(ordered, whole, protocol)
    found = average(whole.scores, whole.synthetic) if _two_by_two(whole) else None
    checks = _controls(whole, ordered, protocol, seed) if found is not None else ()
    decision = _decision(whole, found, checks, protocol)
    notes = (*remarks, *_notes(whole, ordered, protocol, checks))
    floor = controls.floor(whole, generator(seed, "reader floor")) if found is not None else None
    return Analysis(
        decision=decision,
        claim=_claim(decision, found, floor, checks, protocol, n, notes, inputs or {}),
        protocol=protocol,
        primary=None if found is None else _primary(found, floor, checks, protocol),
        readers=reader_rows(ordered, whole, protocol.images, protocol.margin, protocol.level),
        beside={**_beside(ordered, whole, protocol, attributes or {}, seed), "sets": sets},
        machine=machine,
        n=n,
        notes=notes,
    )


def _two_by_two(whole: Table) -> bool:
    """Whether there is something to average: two readers, and for each two images of each class."""
    seen = whole.answers > 0
    made, real = seen[:, whole.synthetic].sum(axis=1), seen[:, ~whole.synthetic].sum(axis=1)
    return len(whole.readers) >= 2 and int(min(made.min(), real.min())) >= 2


def _numbers(readings: Sequence[Reading], whole: Table, protocol: Protocol) -> dict[str, int]:
    first = counted(readings)
    return {
        "readers": len(whole.readers),
        "readers who read all": len(finished(whole, protocol.images)),
        "readers who began": len({reading.reader for reading in readings}),
        "readers planned": protocol.readers,
        "synthetic images": int(whole.synthetic.sum()),
        "real images": int((~whole.synthetic).sum()),
        "real patients": len({reading.patient for reading in first if not reading.synthetic}),
        "answers": len(first),
        "repeated answers": len(readings) - len(first),
    }


def _controls(whole: Table, readings: Sequence[Reading], protocol: Protocol, seed: int) -> tuple[Control, ...]:
    rng = generator(seed, "reader planted")
    planted = controls.found_when_planted(whole, protocol.margin, protocol.level, rng)
    return (planted, *controls.asked_of_readers(whole, tuple(counted(readings)), longest(readings)))


def _decision(whole: Table, found: Average | None, checks: tuple[Control, ...], protocol: Protocol) -> Decision:
    """The verdict on readers in general, or what is missing for one."""
    made, real = int(whole.synthetic.sum()), int((~whole.synthetic).sum())
    if whole.readers and not real:
        return missing(
            "F is missing: no real image was read, so it is not known how often real images are called synthetic."
        )
    if min(made, real) < LEAST_IMAGES:
        return missing(f"too few images: {made} synthetic and {real} real ones, and {LEAST_IMAGES} of each are needed.")
    if len(whole.readers) < LEAST_READERS or found is None:
        return missing(
            f"{len(whole.readers)} of at least {LEAST_READERS} readers: their figures are reported singly and do not "
            f"support a conclusion about readers in general."
        )
    reached = decide(found.general, protocol.margin, protocol.level)
    failed = [check for check in checks if not check.passed]
    # a difference that was found needs no proof that it would have been
    if failed and reached.outcome in {Outcome.EQUIVALENT, Outcome.WITHIN}:
        return missing(f"the study might not have detected a difference ({_words(failed)}).")
    return reached


def _words(failed: Sequence[Control]) -> str:
    return "; ".join(
        f"{check.name}: {percent(check.found, check.needed)}, needed {check.needed:.0%}" for check in failed
    )


def _notes(whole: Table, readings: Sequence[Reading], protocol: Protocol, checks: Sequence[Control]) -> tuple[str, ...]:
    """What must be read with the verdict."""
    notes = []
    if protocol.override:
        refused = protocol.refused.rstrip(".") or "the reason was not kept"
        notes.append(
            f"Before reading began, the probe refused this study: {refused}. It was run anyway, by decision of: "
            f"{protocol.override}."
        )
    invited = max(protocol.readers, protocol.seats)
    notes += about_absent(readings, whole.readers, invited, protocol.images)
    notes += [
        f"{count} answers of {reader} report more time than passed on the server between two answers."
        if count > 1
        else f"One answer of {reader} reports more time than passed on the server between two answers."
        for reader, count in sorted(impossible(readings).items())
    ]
    failed = [check for check in checks if not check.passed]
    if failed:
        notes.append(f"Some controls failed: {_words(failed)}.")
    if len(whole.readers) == 2:
        notes.append("Two readers do not support a conclusion about readers in general, whatever their figures.")
    return tuple(notes)


def _primary(found: Average, floor: Floor | None, checks: tuple[Control, ...], protocol: Protocol) -> dict[str, Any]:
    level = protocol.level
    general, these = found.general.interval(level), found.these.interval(level)
    narrow = found.general.interval(equivalence_level(level))
    return {
        "auc": found.general.auc,
        "interval": [general.low, general.high],
        "equivalence_interval": [narrow.low, narrow.high],
        "equivalence_p": found.general.equivalence(protocol.margin),
        "standard_error": found.general.error,
        "degrees_of_freedom": min(found.general.freedom, 1e9),
        "interval_for_these_readers": [these.low, these.high],
        "reader_sd": found.spread,
        "variances": {
            "between_readers": found.between,
            "one_reader_over_images": found.own,
            "shared_by_readers": found.shared,
        },
        "floor": None if floor is None else {"low": floor.low, "mean": floor.mean, "high": floor.high},
        "controls": [
            {"name": check.name, "found": check.found, "needed": check.needed, "passed": check.passed}
            for check in checks
        ],
    }


def _beside(
    readings: Sequence[Reading], whole: Table, protocol: Protocol, attributes: Attributes, seed: int
) -> dict[str, Any]:
    """What is told beside the primary result."""
    first, level, done = counted(readings), protocol.level, whole.complete()
    everyone = sorted({reading.reader for reading in readings})
    alike = agreement.between(done.answers, level, generator(seed, "kappa between")) if done.readers else None
    again = repeats(readings, everyone)
    same = agreement.within(again, level, generator(seed, "kappa within"))
    alone = {
        name: agreement.within([rows], level, generator(seed, "kappa within", name))
        for name, rows in zip(everyone, again, strict=True)
    }
    return {
        "agreement": {
            "between": None if alike is None else alike.as_row(),
            "within": None if same is None else same.as_row(),
            "within_readers": {name: None if found is None else found.as_row() for name, found in alone.items()},
        },
        "course": course(first, protocol.break_every, level),
        "labels": strata.by_label(done, level) if done.readers else {},
        "groups": strata.by_group(done, attributes, level) if done.readers else {},
        "images": strata.by_image(done) if done.readers else {},
        "second_question": strata.second_question(first),
        "comments": strata.comments(readings),
        "changed": strata.changed(readings),
        "crossed_logit": crossed_logit(done.answers, done.synthetic).as_row(level) if _two_by_two(done) else None,
    }


def _claim(
    decision: Decision,
    found: Average | None,
    floor: Floor | None,
    checks: tuple[Control, ...],
    protocol: Protocol,
    n: Mapping[str, int],
    notes: tuple[str, ...],
    inputs: Mapping[str, str],
) -> Claim:
    """The verdict as a line of evidence: the figure is the distance of the mean AUC from chance."""
    why = " ".join([decision.why[0].upper() + decision.why[1:], *notes])
    if found is None or floor is None:
        return not_assessable(CLAIM, why, n)
    level = equivalence_level(protocol.level)
    measured = Measurement(
        value=abs(found.general.auc - 0.5),
        interval=distance(found.general.interval(level)),
        level=level,
        floor=floor,
        control=checks,
        margin=protocol.margin,
        n=n,
    )
    return replace(stated(CLAIM, CLAIMED[decision.outcome], why, measured), inputs=inputs)


def distance(interval: Interval) -> Interval:
    """The interval of |AUC - 0.5| that belongs to an interval of the AUC."""
    ends = (abs(interval.low - 0.5), abs(interval.high - 0.5))
    holds = interval.low <= 0.5 <= interval.high
    return Interval(0.0 if holds else min(ends), max(ends))
