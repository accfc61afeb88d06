"""One person under two numbers: told by what the files say of the person, not by the numbers.

A hospital that takes over another's patients gives them new numbers; so does a second registration. Taking two persons
for one costs a little, and it is said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from scansynth.data.grouping import grouped
from scansynth.data.labels.people import BIRTH_DATE, Person, name_words, same_person
from scansynth.data.labels.read import LabelRow
from scansynth.dicom.header import Header

_MOST = 3  # numbers that one person has; a name and birth date of more stand for nobody


def one_number(
    people: Sequence[Person], rows: Sequence[LabelRow | None], headers: Sequence[Header]
) -> tuple[list[Person], tuple[str, ...]]:
    """The same persons, one for those who are the same, and a note.

    Numbers are of one person when one file names both (Other Patient IDs), or when name, of two words or more, birth
    date and sex are the same. Numbers that come from labels.csv are believed.

    Args:
        people: Whose each image is.
        rows: Row of each image in labels.csv, none where there is none.
        headers: Of the images.
    """
    own = [
        (person, header)
        for person, row, header in zip(people, rows, headers, strict=True)
        if person.patient and not (row and row.patient_id)
    ]
    groups = grouped([*_named_together(own), *_same_facts(own)])
    if not groups:
        return list(people), ()
    members: Mapping[str, set[str]] = defaultdict(set)
    for number, first in groups.items():
        members[first].add(number)
    joined = [_joined(person, groups.get(person.patient, ""), members) for person in people]
    note = (
        f"{len(groups)} Patient IDs belong to {len(members)} persons, by Other Patient IDs, or by name, birth date and "
        "sex; each person was taken for one patient"
    )
    return joined, (note,)


def _joined(person: Person, first: str, members: Mapping[str, set[str]]) -> Person:
    if not first:
        return person
    others = sorted(members[first] - {first})
    return replace(person, patient=first, also=tuple(dict.fromkeys((*person.also, *others))))


def _named_together(own: Iterable[tuple[Person, Header]]) -> list[tuple[str, str]]:
    """Pairs of numbers of which a file names both."""
    own = list(own)
    known = {person.patient for person, _ in own}
    said = ((person.patient, same_person(other)) for person, header in own for other in header.other_ids)
    pairs = {(patient, other) for patient, other in said if other in known and other != patient}
    others: Mapping[str, set[str]] = defaultdict(set)
    for patient, other in pairs:
        others[other].add(patient)
    return sorted((patient, other) for patient, other in pairs if len(others[other]) < _MOST)


def _same_facts(own: Iterable[tuple[Person, Header]]) -> list[tuple[str, str]]:
    """Pairs of numbers with the same name, birth date and sex."""
    numbers: Mapping[tuple[frozenset[str], str], set[str]] = defaultdict(set)
    sexes: Mapping[tuple[frozenset[str], str], set[str]] = defaultdict(set)
    for person, header in own:
        name = name_words(header.name)
        if len(name) > 1 and BIRTH_DATE.fullmatch(header.birth_date):
            numbers[name, header.birth_date].add(person.patient)
            sexes[name, header.birth_date].add(header.sex)
    return [
        (min(found), number)
        for facts, found in numbers.items()
        if 1 < len(found) <= _MOST and not {"M", "F"} <= sexes[facts]
        for number in sorted(found - {min(found)})
    ]
