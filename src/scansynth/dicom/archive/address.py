"""Where an archive is, and how one logs in to it. Passwords and tokens come from the environment or a file alone."""

from __future__ import annotations

import ipaddress
import re
import ssl
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from scansynth.errors import ArchiveError

TOKEN, USER, PASSWORD = "SCANSYNTH_ARCHIVE_TOKEN", "SCANSYNTH_ARCHIVE_USER", "SCANSYNTH_ARCHIVE_PASSWORD"
"""Environment variables of a login: a token, or a user and a password."""

_PEER = re.compile(r"(?P<title>[^@\\\s]{1,16})@(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^@:\s/]+)):(?P<port>\d{1,5})")
_TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e]{1,16}")  # PS3.5 6.2, AE; blanks are allowed there and asked for by nobody
_VISIBLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Node:
    """A DICOM application entity.

    Attributes:
        title: AE title.
        host: Name or address.
        port: 0 to 65535; 0 for a service of our own: any free one.
    """

    title: str
    host: str
    port: int

    def __post_init__(self) -> None:
        if not _TITLE.fullmatch(self.title):
            raise ArchiveError(f"an AE title has 1 to 16 visible characters and no backslash, not {self.title!r}")
        if not 0 <= self.port <= 65535:
            raise ArchiveError(f"there is no port {self.port}; give 1 to 65535")

    @classmethod
    def parse(cls, text: str) -> Node:
        """A node from `TITLE@HOST:PORT`.

        Raises:
            ArchiveError: It has another form.
        """
        found = _PEER.fullmatch(text)
        if found is None:
            raise ArchiveError(
                f"{text} is not the address of an archive; give TITLE@HOST:PORT, such as PACS@10.0.0.5:104"
            )
        return cls(found["title"], found["six"] or found["host"], int(found["port"]))


@dataclass(frozen=True)
class Login:
    """How one logs in: a token, a user with a password, or neither; never shown."""

    token: str = field(default="", repr=False)
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.token and (self.user or self.password):
            raise ArchiveError("the archive's login names both a token and a user; give one of them")
        if bool(self.user) != bool(self.password):
            raise ArchiveError("the archive's login needs both a user and a password")
        if self.token and not _VISIBLE.fullmatch(self.token):
            raise ArchiveError("the archive's token has blanks or characters that no token may have")
        if ":" in self.user or not (self.user + self.password).isprintable():
            raise ArchiveError(
                "the archive's user name has a colon, or user name or password has an unprintable character"
            )

    def __bool__(self) -> bool:
        return bool(self.token or self.user)


def load_login(file: Path | None, environment: Mapping[str, str]) -> Login:
    """The login from a file, else from the environment; none where neither names one.

    Args:
        file: TOML with `token`, or `user` and `password`; readable by its owner alone.
        environment: As `os.environ`.

    Raises:
        ArchiveError: The file is missing, open to others or of another form, or the login is incomplete.
    """
    if file is None:
        return Login(*(environment.get(name, "").strip() for name in (TOKEN, USER, PASSWORD)))
    try:
        if file.stat().st_mode & 0o077:
            raise ArchiveError(f"{file} can be read by others; run: chmod 600 {file}")
        told = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as fault:
        raise ArchiveError(f"cannot read the login in {file}: {fault.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):  # their texts quote the file
        told = {}
    known = {"token", "user", "password"}
    if not told or not told.keys() <= known or not all(isinstance(value, str) for value in told.values()):
        raise ArchiveError(
            f'{file} holds no login; give a line token = "...", or two: user = "..." and password = "..."'
        )
    return Login(**told)


def check_url(url: str, login: Login) -> str:
    """The address of a DICOMweb service, without a slash at its end.

    Raises:
        ArchiveError: It is no http or https address, names a password, or would send a login in the clear.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.username is not None or parts.password is not None:
        raise ArchiveError(f"do not put a user or password in an address; set {USER} and {PASSWORD}, or use --login")
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
        raise ArchiveError("give the address of a DICOMweb service, such as https://archive.example/dicom-web")
    if login and parts.scheme == "http" and not is_loopback(host):
        raise ArchiveError("a login is not sent over http, where anybody on the way can read it; give an https address")
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def tls_context(authority: Path | None) -> ssl.SSLContext:
    """TLS that checks certificate and host name; `authority`: certificates (PEM) to trust beside the system's.

    Raises:
        ArchiveError: The file holds no certificates.
    """
    context = ssl.create_default_context()
    if authority is not None:
        try:
            context.load_verify_locations(authority)
        except (OSError, ssl.SSLError):
            raise ArchiveError(f"{authority} holds no certificates that can be read; give a PEM file") from None
    return context
