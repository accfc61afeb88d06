"""A pair: two closed studies that the same readers read, as scores in two arms.

The studies may be of two modalities of the same patients. Images of one study are others than those of the other, but
what they show of one patient belongs together: a patient is left out of both at once, so that the comparison knows of
patients who are hard in both. Patients are the same when their keyed hashes are, which one institution's key makes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scansynth.data.sets import LABEL_SEPARATOR
from scansynth.errors import ReaderError
from scansynth.reader.conclude import Closed, read_closed
from scansynth.reader.statistics.counting import counting
from scansynth.reader.statistics.modalities import Scores, compare_modalities
from scansynth.reader.statistics.readings import Reading, counted
from scansynth.reader.statistics.sets import SECOND
from scansynth.study import Study

STAGE = "reader compare"

YES = 2
"""The second answer that says the finding is there; 1 says no."""

_SAME = re.compile(r"(r\d{2,3})=(r\d{2,3})")


@dataclass(frozen=True)
class Pair:
    """Two closed studies.

    Attributes:
        scores: Of the readers who count in both.
        readers: Seats of each reader who counts in both, first and second study.
        shared: Patients of whom both studies show real images.
        finding: Label that was asked for; empty where synthetic images are told from real ones.
        protocols: Of both.
    """

    scores: Scores
    readers: tuple[tuple[str, str], ...]
    shared: int
    finding: str
    protocols: tuple[Mapping[str, Any], Mapping[str, Any]]


@dataclass(frozen=True)
class _Arm:
    """One of the studies: score, truth and patient by reader and image."""

    name: str
    counts: frozenset[str]
    scores: Mapping[str, Mapping[str, float]]
    positive: Mapping[str, bool]
    patients: Mapping[str, str]
    real: frozenset[str]


def pair(first: Study, second: Study, about_finding: bool = False, same: Sequence[str] = ()) -> Pair:
    """Reads two closed studies.

    Args:
        first: One.
        second: The other.
        about_finding: Compare how well the finding is told in real images; else how well synthetic images are told.
        same: Who is who, such as `r01=r03`: the seat in the first study and that in the second; empty: whoever has
            the same seat in both.

    Raises:
        ReaderError: A study is not closed, both are one, readers are named wrongly, fewer than two of them count in
            both, or the finding was not asked for.
    """
    studies = (first, second)
    closed = [_closed(study) for study in studies]
    if closed[0].protocol["study"] == closed[1].protocol["study"]:
        raise ReaderError(f"{first.folder.name} and {second.folder.name} hold the same reader study; give two")
    finding = _finding(closed, studies) if about_finding else ""
    names = _names(first, second)
    arms = [_arm(number, name, found, finding) for number, (name, found) in enumerate(zip(names, closed, strict=True))]
    seats = _seats(same, closed, names)
    kept = tuple(two for two in seats if two[0] in arms[0].counts and two[1] in arms[1].counts)
    if len(kept) < 2:
        raise ReaderError(
            f"{len(kept)} of the readers count in both studies, and two are needed at least; where a reader had "
            "another seat in the second one, name both: --same r01=r03"
        )
    left = tuple(sorted({_named(two) for two in seats} - {_named(two) for two in kept}))
    shared = {arms[0].patients[image] for image in arms[0].real} & {arms[1].patients[image] for image in arms[1].real}
    protocols = (closed[0].protocol, closed[1].protocol)
    return Pair(_scores(arms, kept, left), kept, len(shared), finding, protocols)


def compare_studies(
    first: Study,
    second: Study,
    about_finding: bool = False,
    same: Sequence[str] = (),
    margin: float | None = None,
    level: float | None = None,
) -> dict[str, Any]:
    """The comparison, as JSON holds it; both journals note that it was made. The caller has both locks.

    Args:
        first: One study.
        second: The other; the difference is the first one's figure less this one's.
        about_finding: See `pair`.
        same: See `pair`.
        margin: Largest difference that does not matter; none: that of both protocols.
        level: Of the intervals; none: that of both protocols.

    Raises:
        ReaderError: The studies cannot be compared, or their protocols differ in what was not given.
    """
    found = pair(first, second, about_finding, same)
    told = compare_modalities(found.scores, _fixed(found, "margin", margin), _fixed(found, "level", level))
    told["studies"] = {
        "finding": found.finding,
        "seats": [list(seats) for seats in found.readers],
        "shared_patients": found.shared,
        "protocols": [str(protocol["study"]) for protocol in found.protocols],
    }
    for study, other in ((first, found.protocols[1]), (second, found.protocols[0])):
        about = {"finding": found.finding, "margin": told["margin"], "level": told["level"]}
        study.log(STAGE, "compared", against=str(other["study"]), outcome=told["outcome"], **about)
    return told


def _fixed(found: Pair, name: str, given: float | None) -> float:
    """What was given, or what both protocols say.

    Raises:
        ReaderError: Nothing was given, and they differ.
    """
    first, second = (float(protocol[name]) for protocol in found.protocols)
    if given is None and first != second:
        raise ReaderError(f"the protocols have the {name} {first:g} and {second:g}; say which, or another: --{name}")
    return first if given is None else given


def _closed(study: Study) -> Closed:
    try:
        return read_closed(study)
    except ReaderError as fault:
        raise ReaderError(f"{study.folder.name}: {fault}") from None


def _names(first: Study, second: Study) -> tuple[str, str]:
    """What the studies are called: their folders, with the path where that is the same."""
    names = (first.folder.name, second.folder.name)
    return names if names[0] != names[1] else (str(first.folder), str(second.folder))


def _finding(closed: Sequence[Closed], studies: Sequence[Study]) -> str:
    """The label that both studies ask for.

    Raises:
        ReaderError: One asks for none, or they ask for different ones.
    """
    found = []
    for one, study in zip(closed, studies, strict=True):
        finding = str(one.protocol.get("finding") or "")
        if one.protocol.get("second_question") is None or not finding:
            raise ReaderError(
                f"{study.folder.name} asked no question about a finding, so that there is nothing to compare; studies "
                "with reader.question can be compared so"
            )
        found.append(finding)
    if found[0] != found[1]:
        raise ReaderError(f"the studies ask for different findings, {found[0]} and {found[1]}")
    return found[0]


def _arm(number: int, name: str, closed: Closed, finding: str) -> _Arm:
    """One study's first answers: all but those to a second set, or those about the finding in real images.

    Raises:
        ReaderError: Real images all have the finding, or none has.
    """
    kept = counting(closed.readings, closed.rule.images, closed.rule.excluded)
    own = [one for one in counted(closed.readings) if one.arm != SECOND and not (finding and one.synthetic)]
    image = {id(one): f"{number} {int(one.synthetic)} {one.case}" for one in own}
    scores: dict[str, dict[str, float]] = {}
    for one in own:
        scores.setdefault(one.reader, {})[image[id(one)]] = _score(one, finding)
    positive = {image[id(one)]: _positive(one, finding) for one in own}
    if finding and len(set(positive.values())) < 2:
        which = "all the real images that were read" if any(positive.values()) else "no real image that was read"
        raise ReaderError(
            f"{name}: {which} show{'' if any(positive.values()) else 's'} {finding}, so that there is nothing to "
            "compare; images of more labels are read where the synthetic set has them (generator.classes)"
        )
    return _Arm(
        name,
        kept,
        scores,
        positive,
        {image[id(one)]: one.patient or image[id(one)] for one in own},
        frozenset(image[id(one)] for one in own if not one.synthetic),
    )


def _score(one: Reading, finding: str) -> float:
    """Higher means synthetic, or the finding: yes with much confidence is the highest, no with much the lowest."""
    if not finding:
        return float(one.answer)
    sure = float(one.confidence or 1)
    return sure if one.second == YES else -sure


def _positive(one: Reading, finding: str) -> bool:
    return finding in one.label.split(LABEL_SEPARATOR) if finding else one.synthetic


def _seats(same: Sequence[str], closed: Sequence[Closed], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Who is who.

    Raises:
        ReaderError: A pair has another form, names a seat that read nothing, or one that was named before.
    """
    read = [{one.reader for one in found.readings} for found in closed]
    if not same:
        return tuple((seat, seat) for seat in sorted(read[0] | read[1]))
    pairs: list[tuple[str, str]] = []
    for text in same:
        found = _SAME.fullmatch(text.strip())
        if found is None:
            raise ReaderError(f"--same {text} does not name two seats; give the form r01=r03")
        seats = (found[1], found[2])
        for place, seat in enumerate(seats):
            if seat not in read[place]:
                raise ReaderError(f"--same {text}: {seat} read nothing in {names[place]}")
            if seat in [one[place] for one in pairs]:
                raise ReaderError(f"--same {text}: {seat} of {names[place]} was named before")
        pairs.append(seats)
    return tuple(pairs)


def _named(seats: tuple[str, str]) -> str:
    return seats[0] if seats[0] == seats[1] else "=".join(seats)


def _scores(arms: Sequence[_Arm], kept: Sequence[tuple[str, str]], left: tuple[str, ...]) -> Scores:
    """Readers by the images of both studies, not a number where a reader did not see one."""
    images = [image for arm in arms for image in sorted(arm.positive)]
    scores = np.full((2, len(kept), len(images)), np.nan)
    for number, arm in enumerate(arms):
        for row, seats in enumerate(kept):
            own = arm.scores[seats[number]]
            scores[number, row] = [own.get(image, np.nan) for image in images]
    positive: dict[str, bool] = {**arms[0].positive, **arms[1].positive}
    patients: dict[str, Any] = {**arms[0].patients, **arms[1].patients}
    return Scores(
        (arms[0].name, arms[1].name),
        tuple(_named(seats) for seats in kept),
        left,
        scores[0],
        scores[1],
        np.array([positive[image] for image in images], dtype=np.bool_),
        np.unique([patients[image] for image in images], return_inverse=True)[1].astype(np.int64),
    )
