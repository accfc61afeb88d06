"""Amendments: what was decided about readers after the protocol was fixed, and before anybody knew the truth.

The protocol itself never changes. The study's journal, in which each line holds the hash of the one before, keeps each
amendment; `amendments.json` is a copy beside the protocol for people to read.
"""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass

from scansynth.errors import ReaderError
from scansynth.files import broken_links, read_json, read_json_lines, write_json
from scansynth.reader.server.locked import SetAside
from scansynth.study import AMENDMENTS, Study

STAGE = "reader amend"

ADDED, WITHDRAWN, SET_ASIDE = "added", "withdrawn", "set aside"


@dataclass(frozen=True)
class Amendment:
    """One decision.

    Attributes:
        kind: added, withdrawn, or set aside (readings that did not fit their hash).
        reader: Whom it concerns; empty for readings that were set aside.
        by: The reader who takes the place of one who was withdrawn; may be empty.
        answers: How many answers the reader had locked then, practice left out.
        excluded: Whether those answers are left out of the analysis, however many they are.
        reason: Why.
        effect: What it does to the analysis, as it was said beforehand; a sentence without its full stop.
        at: When, UTC.
    """

    kind: str
    reader: str
    by: str
    answers: int
    excluded: bool
    reason: str
    effect: str
    at: str

    @property
    def told(self) -> str:
        """In words."""
        day, reason = self.at[:10], self.reason.rstrip(".")
        if self.kind == WITHDRAWN:
            by = f" and replaced by {self.by}" if self.by else ""
            return f"{self.reader} was withdrawn{by} on {day}: {reason}. {self.effect}."
        return f"{self.effect} ({day}: {reason})."


def amend(study: Study, protocol_sha256: str, amendment: Amendment) -> None:
    """Adds one, to the journal and to the copy beside the protocol; the caller holds the study's lock."""
    study.log(STAGE, amendment.kind, protocol=protocol_sha256, amendment=asdict(amendment))
    write_json(study.reader / AMENDMENTS, [asdict(one) for one in _logged(study, protocol_sha256)])


def read_amendments(study: Study, protocol_sha256: str) -> tuple[Amendment, ...]:
    """All amendments of a reader study, in order.

    Raises:
        ReaderError: A line of the journal was changed or taken out, or the copy is another.
    """
    broken = broken_links(study.journal)
    if broken:
        raise ReaderError(
            f"line {broken[0]} of journal.jsonl does not follow from the one before, and the journal holds what was "
            "decided about readers; restore the file"
        )
    found = _logged(study, protocol_sha256)
    path = study.reader / AMENDMENTS
    copy = read_json(path) if path.exists() else []
    # a command that was killed between the two leaves the last one in the journal alone
    if copy != [asdict(one) for one in found[: len(copy)]] or len(copy) < len(found) - 1:
        raise ReaderError(f"{AMENDMENTS} and journal.jsonl do not say the same; restore them")
    return found


def _logged(study: Study, protocol_sha256: str) -> tuple[Amendment, ...]:
    """The amendments as the journal has them."""
    lines = [line for line in read_json_lines(study.journal) if line.get("stage") == STAGE]
    return tuple(Amendment(**line["amendment"]) for line in lines if line.get("protocol") == protocol_sha256)


def seated(first: int, amendments: tuple[Amendment, ...]) -> int:
    """How many seats there are by now.

    Args:
        first: At the creation.
        amendments: Since.
    """
    return first + sum(one.kind == ADDED or bool(one.by) for one in amendments)


def excluded(amendments: tuple[Amendment, ...]) -> tuple[str, ...]:
    """Readers whose answers are left out."""
    return tuple(sorted({one.reader for one in amendments if one.excluded}))


def about_readings(lost: tuple[SetAside, ...]) -> str:
    """What it does to the analysis when readings are set aside; a sentence without its full stop."""
    places = ", ".join(f"{one.n} of {one.reader}" for one in lost)
    many = len(lost) > 1
    return (
        f"The {'answers' if many else 'answer'} {places} did not fit {'their' if many else 'its'} hash and "
        f"{'do' if many else 'does'} not count"
    )


def now() -> str:
    """The time, UTC, as amendments hold it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
