"""The ledger of roles."""

from __future__ import annotations

import itertools

import pytest

from scansynth.errors import LedgerError
from scansynth.ledger import PERMITTED, Role, Use, check


@pytest.mark.parametrize(("use", "role"), list(itertools.product(Use, Role)))
def test_a_reader_reads_its_roles_and_no_other(use: Use, role: Role) -> None:
    if role in PERMITTED[use]:
        check(use, frozenset({role}))
        return
    with pytest.raises(LedgerError, match=role) as refusal:
        check(use, frozenset({role}) | PERMITTED[use])
    assert "\n" not in str(refusal.value)


def test_the_ledger_of_the_design() -> None:
    assert PERMITTED.keys() == set(Use)
    judging = {Use.REALISM, Use.MEMBERSHIP, Use.SUBGROUPS, Use.UTILITY, Use.READER_STUDY}
    judging.add(Use.EXTERNAL)  # of another cohort
    judging.add(Use.EXAMPLES)  # pictured when all is judged
    assert {use for use, roles in PERMITTED.items() if Role.TEST in roles} == judging
    assert not PERMITTED[Use.MEMBERSHIP] & {Role.TUNE, Role.RESERVE}
    learns = {Use.GENERATOR, Use.ENCODER, Use.COPY_SEARCH, Use.NORMALISATION, Use.DETECTOR}
    assert all(PERMITTED[use] == {Role.TRAIN} for use in learns)
    assert not PERMITTED[Use.COLLAPSE_NULL] & PERMITTED[Use.GENERATOR]
    assert not PERMITTED[Use.COPY_THRESHOLD] & PERMITTED[Use.COPY_SEARCH]


def test_nobody_read_is_nobody_forbidden() -> None:
    for use in Use:
        check(use, frozenset())
