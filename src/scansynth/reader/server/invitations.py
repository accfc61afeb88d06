"""Invitations: tokens that are shown once, and kept nowhere but as hashes."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import secrets

_TOKEN_BYTES = 32
"""256 bits: no salt and no slow hash is needed, since nobody can try them all (OWASP ASVS 4.0, 2.9.2 asks 112)."""


def new_token() -> str:
    """A token for a link, of letters, digits, - and _."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def token_sha256(token: str) -> str:
    """What is kept of a token, 64 hexadecimal digits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def opens(token: str, kept: str) -> bool:
    """Whether this is the token whose hash was kept; takes the same time for every wrong one."""
    return hmac.compare_digest(token_sha256(token), kept)


def expiry(now: datetime.datetime, days: float) -> str:
    """ISO time, in UTC, at which an invitation of this moment ends."""
    end = now.astimezone(datetime.UTC) + datetime.timedelta(days=days)
    return end.isoformat(timespec="seconds")


def expired(expires: str, now: datetime.datetime) -> bool:
    """Whether the time is over."""
    return now >= datetime.datetime.fromisoformat(expires)
