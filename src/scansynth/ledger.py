"""The ledger: which patients may be used for what, and who may read them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from scansynth.errors import LedgerError


class Role(StrEnum):
    """What a patient's images may be used for; a patient has one role."""

    TRAIN = "train"
    TUNE = "tune"
    CALIBRATE = "calibrate"
    RESERVE = "reserve"
    TEST = "test"


class Reader(StrEnum):
    """A purpose that reads real images."""

    GENERATOR = "generator"
    ENCODER = "encoder"
    COPY_SEARCH = "copy search"
    STOPPING = "stopping"
    COPY_THRESHOLD = "copy threshold"
    COLLAPSE_NULL = "collapse null"
    REALISM = "realism"
    NORMALISATION = "normalisation"
    PICTURES = "pictures"
    MEMBERSHIP = "membership"
    SUBGROUPS = "subgroups"
    DETECTOR = "detector"
    SET_FILTER = "set filter"
    THRESHOLD = "threshold"
    POSITIVE_CONTROL = "positive control"
    UTILITY = "utility"
    EXTERNAL = "external"
    READER_STUDY = "reader study"
    READER_PRACTICE = "reader practice"
    EXAMPLES = "examples"


PERMITTED: Mapping[Reader, frozenset[Role]] = {
    Reader.GENERATOR: frozenset({Role.TRAIN}),
    Reader.ENCODER: frozenset({Role.TRAIN}),
    Reader.COPY_SEARCH: frozenset({Role.TRAIN}),
    Reader.NORMALISATION: frozenset({Role.TRAIN}),
    Reader.STOPPING: frozenset({Role.TUNE}),
    Reader.COPY_THRESHOLD: frozenset({Role.CALIBRATE}),
    Reader.COLLAPSE_NULL: frozenset({Role.CALIBRATE}),
    Reader.REALISM: frozenset({Role.TEST}),
    Reader.PICTURES: frozenset({Role.TRAIN}),
    Reader.MEMBERSHIP: frozenset({Role.TRAIN, Role.CALIBRATE, Role.TEST}),
    Reader.SUBGROUPS: frozenset({Role.TRAIN, Role.TEST}),
    Reader.DETECTOR: frozenset({Role.TRAIN}),
    Reader.SET_FILTER: frozenset({Role.TUNE}),
    Reader.THRESHOLD: frozenset({Role.CALIBRATE}),
    Reader.POSITIVE_CONTROL: frozenset({Role.RESERVE}),
    Reader.UTILITY: frozenset({Role.TEST}),
    Reader.EXTERNAL: frozenset(Role),  # of another cohort, none of whose patients was learned from here
    Reader.READER_STUDY: frozenset({Role.TEST}),
    Reader.READER_PRACTICE: frozenset({Role.TRAIN}),
    Reader.EXAMPLES: frozenset({Role.TEST}),
}
"""One table, obeyed by every stage: a purpose and the roles that it may read."""


def check(reader: Reader, roles: frozenset[Role]) -> None:
    """Passes when `reader` may read all of `roles`.

    Raises:
        LedgerError: A role is forbidden to this reader.
    """
    forbidden = sorted(roles - PERMITTED[reader])
    if forbidden:
        raise LedgerError(
            f"the {reader} may not read patients of the role {', '.join(forbidden)}: "
            f"the ledger permits {', '.join(sorted(PERMITTED[reader]))}"
        )
