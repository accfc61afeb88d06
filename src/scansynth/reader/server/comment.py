"""A comment: what a reader writes to an image in free words, in the one form in which it is hashed and stored."""

from __future__ import annotations

import unicodedata

MOST = 500
"""Characters of a comment."""

_UNSEEN = {"Cc", "Cs"}  # control characters, and half of a pair (no UTF-8; PostgreSQL takes no NUL)
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They turn the direction of what follows: a line of the report could read as another (Unicode TR 36, 2.7)."""


def canonical(text: str) -> str:
    """One line: composed (Unicode NFC), without signs that nobody sees, runs of spaces as one. Applied twice, the same.

    What is hashed must be what every database stores and gives back.
    """
    seen = "".join(" " if sign.isspace() else sign for sign in text if sign.isspace() or _is_seen(sign))
    return " ".join(unicodedata.normalize("NFC", seen).split())


def _is_seen(sign: str) -> bool:
    return unicodedata.category(sign) not in _UNSEEN and sign not in _TURNING
