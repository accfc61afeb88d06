"""The ledger: which role of patients each use may read."""

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


class Use(StrEnum):
    """The uses of real images."""

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


PERMITTED: Mapping[Use, frozenset[Role]] = {
    Use.GENERATOR: frozenset({Role.TRAIN}),
    Use.ENCODER: frozenset({Role.TRAIN}),
    Use.COPY_SEARCH: frozenset({Role.TRAIN}),
    Use.NORMALISATION: frozenset({Role.TRAIN}),
    Use.STOPPING: frozenset({Role.TUNE}),
    Use.COPY_THRESHOLD: frozenset({Role.CALIBRATE}),
    Use.COLLAPSE_NULL: frozenset({Role.CALIBRATE}),
    Use.REALISM: frozenset({Role.TEST}),
    Use.PICTURES: frozenset({Role.TRAIN}),
    Use.MEMBERSHIP: frozenset({Role.TRAIN, Role.CALIBRATE, Role.TEST}),
    Use.SUBGROUPS: frozenset({Role.TRAIN, Role.TEST}),
    Use.DETECTOR: frozenset({Role.TRAIN}),
    Use.SET_FILTER: frozenset({Role.TUNE}),
    Use.THRESHOLD: frozenset({Role.CALIBRATE}),
    Use.POSITIVE_CONTROL: frozenset({Role.RESERVE}),
    Use.UTILITY: frozenset({Role.TEST}),
    Use.EXTERNAL: frozenset(Role),  # of another cohort, none of whose patients was learned from here
    Use.READER_STUDY: frozenset({Role.TEST}),
    Use.READER_PRACTICE: frozenset({Role.TRAIN}),
    Use.EXAMPLES: frozenset({Role.TEST}),
}
"""One table, obeyed by every stage: a use and the roles that it may read."""


def check(use: Use, roles: frozenset[Role]) -> None:
    """Passes when `use` may read all of `roles`.

    Raises:
        LedgerError: A role is forbidden to this use.
    """
    forbidden = sorted(roles - PERMITTED[use])
    if forbidden:
        raise LedgerError(
            f"the {use} may not read patients of the role {', '.join(forbidden)}: "
            f"the ledger permits {', '.join(sorted(PERMITTED[use]))}"
        )
