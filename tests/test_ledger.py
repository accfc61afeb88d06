"""The ledger of roles."""

from __future__ import annotations

import itertools

import pytest

from scansynth.errors import LedgerError
from scansynth.ledger import PERMITTED, Reader, Role, check


@pytest.mark.parametrize(("reader", "role"), list(itertools.product(Reader, Role)))
def test_a_reader_reads_its_roles_and_no_other(reader: Reader, role: Role) -> None:
    if role in PERMITTED[reader]:
        check(reader, frozenset({role}))
        return
    with pytest.raises(LedgerError, match=role) as refusal:
        check(reader, frozenset({role}) | PERMITTED[reader])
    assert "\n" not in str(refusal.value)


def test_the_ledger_of_the_design() -> None:
    assert PERMITTED.keys() == set(Reader)
    judging = {Reader.REALISM, Reader.MEMBERSHIP, Reader.SUBGROUPS, Reader.UTILITY, Reader.READER_STUDY}
    judging.add(Reader.EXTERNAL)  # of another cohort
    judging.add(Reader.EXAMPLES)  # pictured when all is judged
    assert {reader for reader, roles in PERMITTED.items() if Role.TEST in roles} == judging
    assert not PERMITTED[Reader.MEMBERSHIP] & {Role.TUNE, Role.RESERVE}
    learns = {Reader.GENERATOR, Reader.ENCODER, Reader.COPY_SEARCH, Reader.NORMALISATION, Reader.DETECTOR}
    assert all(PERMITTED[reader] == {Role.TRAIN} for reader in learns)
    assert not PERMITTED[Reader.COLLAPSE_NULL] & PERMITTED[Reader.GENERATOR]
    assert not PERMITTED[Reader.COPY_THRESHOLD] & PERMITTED[Reader.COPY_SEARCH]


def test_nobody_read_is_nobody_forbidden() -> None:
    for reader in Reader:
        check(reader, frozenset())
