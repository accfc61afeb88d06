"""What the server refuses, and the one sentence that says so. Not faults of the program: each becomes an answer."""

from __future__ import annotations


class Refused(Exception):
    """A request that is not granted.

    Args:
        status: HTTP status (RFC 9110, section 15).
        sentence: What the reader is told; the same for whatever must not be told apart.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class OutOfTurn(Refused):
    """A lock or a draft that does not fit the state of the reading; the answer carries the state."""

    def __init__(self, sentence: str, status: int = 409) -> None:
        super().__init__(status, sentence)


def nothing_here() -> Refused:
    """The one answer to what is not there and to what is not this reader's."""
    return Refused(404, "Not found.")


def closed() -> OutOfTurn:
    """The study takes no more readings."""
    return OutOfTurn("This study is closed and accepts no more answers.", 410)
