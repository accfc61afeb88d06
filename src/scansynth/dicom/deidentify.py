"""What may leave a header: keyed hashes in the place of identifiers, and a few coarse facts.

A whitelist: nothing passes because nobody thought of it. Hashes are HMAC-SHA-256 with the institution's
secret, one domain for each kind of identifier, so that nobody without the secret can hash a list of
patient numbers and compare.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import stat
import uuid
from pathlib import Path

from scansynth.dicom.header import Header
from scansynth.errors import ConfigError, DicomError
from scansynth.files import storage_faults

KEY_VARIABLE = "SCANSYNTH_INSTITUTION_KEY"
_KEY_BYTES = 32

# Manufacturer is free text: only a name from this table leaves, so that no other text can
_MANUFACTURERS = {
    "siemens": "siemens", "ge": "ge", "gehc": "ge", "general": "ge", "philips": "philips", "picker": "philips",
    "toshiba": "canon", "canon": "canon", "hitachi": "fujifilm", "fuji": "fujifilm", "fujifilm": "fujifilm",
    "hologic": "hologic", "lorad": "hologic", "agfa": "agfa", "carestream": "carestream", "kodak": "carestream",
    "konica": "konica", "samsung": "samsung", "shimadzu": "shimadzu", "esaote": "esaote", "uih": "united imaging",
    "united": "united imaging", "neusoft": "neusoft", "bruker": "bruker", "mindray": "mindray", "swissray": "swissray",
    "planmed": "planmed", "ims": "ims", "fonar": "fonar", "paramed": "paramed", "hyperfine": "hyperfine",
    "scansynth": "scansynth",
}  # fmt: skip


class InstitutionKey:
    """The institution's secret. It never shows in a message: it has no text form and does not pickle.

    Args:
        secret: At least 32 bytes.

    Raises:
        ConfigError: The secret is too short.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _KEY_BYTES:
            raise ConfigError(f"the institution key has fewer than {_KEY_BYTES} bytes; remove it to get a new one")
        self._secret = bytes(secret)

    def __repr__(self) -> str:
        return f"InstitutionKey({self.fingerprint})"

    def __reduce__(self) -> str:
        raise TypeError("an institution key must not be pickled")

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell keys apart and give nothing away."""
        return self._digest("fingerprint", "scansynth").hex()[:16]

    def patient_hash(self, patient_id: str) -> str:
        """16 hexadecimal digits for a patient, the same in every study of the institution.

        Raises:
            DicomError: The patient ID is empty: hashing it would make all such files one patient.
        """
        known = patient_id.strip(" \0")
        if not known:
            raise DicomError("no patient ID", "give patient_id in labels.csv")
        return self._digest("patient", known).hex()[:16]

    def keyed_uid(self, uid: str) -> str:
        """A UID in the place of `uid`, derived from a UUID (PS3.5 annex B.2), 44 characters at most."""
        value = uuid.UUID(bytes=self._digest("uid", uid)[:16], version=5)
        return f"2.25.{value.int}"

    def case_id(self, sop_uid: str) -> str:
        """12 hexadecimal digits for an image."""
        return self._digest("case", sop_uid).hex()[:12]

    def file_key(self, relative_path: str) -> str:
        """12 hexadecimal digits for a source file, whose name may hold anything."""
        return self._digest("file", relative_path).hex()[:12]

    def pixel_key(self, digest: str) -> str:
        """32 hexadecimal digits for an image's pixels, the same in every study of the institution."""
        return self._digest("pixels", digest).hex()[:32]

    def _digest(self, domain: str, value: str) -> bytes:
        """HMAC-SHA-256 (RFC 2104); the zero byte parts the domain from the value."""
        message = domain.encode() + b"\0" + value.encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, message, hashlib.sha256).digest()


def default_key_path() -> Path:
    """Where the institution key stands: named by the environment, or in the user's configuration."""
    if named := os.environ.get(KEY_VARIABLE):
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "scansynth" / "institution.key"


def load_key(path: Path | None = None, create: bool = True) -> InstitutionKey:
    """The institution's key; made, for its owner's eyes only, when there is none.

    Args:
        path: The key's file; none: `default_key_path`.
        create: Write a new key where there is none; else one is made that is forgotten with this process.

    Raises:
        ConfigError: Others may read the file, or it is too short.
        StorageError: The folder cannot be written.
    """
    path = default_key_path() if path is None else path
    try:
        if not path.exists():
            if not create:
                return InstitutionKey(secrets.token_bytes(_KEY_BYTES))
            _create_key(path)
        with path.open("rb") as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ConfigError(f"the institution key {path} is not a file")
            if found.st_mode & 0o077:
                raise ConfigError(f"others may read the institution key {path}; run: chmod 600 {path}")
            secret = stream.read(1 << 16)
    except OSError as fault:
        raise ConfigError(f"the institution key {path} cannot be read or made: {fault.strerror}") from None
    return InstitutionKey(secret)


def _create_key(path: Path) -> None:
    """Writes a new key whole or not at all; when another process was faster, its key stays."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with storage_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(secrets.token_bytes(_KEY_BYTES))
                stream.flush()
                os.fsync(stream.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            temporary.unlink()


def facts(header: Header) -> dict[str, str]:
    """The attributes that may leave a header: coarse, and from closed lists.

    Returns:
        Any of `sex` (M, F, O), `age_band` (ten years; "90+" from 90 on, as 45 CFR 164.514(b)(2)(i)(C)
        asks), `manufacturer` (a known maker, or "other") and `field_strength` (tesla, one decimal).
    """
    found = {
        "sex": header.sex if header.sex in {"M", "F", "O"} else "",
        "age_band": _age_band(header.age_years),
        "manufacturer": _manufacturer(header.manufacturer),
        "field_strength": _field_strength(header.magnetic_field_strength),
    }
    return {name: value for name, value in found.items() if value}


def _age_band(years: int | None) -> str:
    if years is None or not 0 <= years < 150:
        return ""
    low = years // 10 * 10
    return "90+" if low >= 90 else f"{low}-{low + 9}"


def _manufacturer(written: str) -> str:
    words = re.findall(r"[a-z]+", written.lower())
    if not words:
        return ""
    return next((_MANUFACTURERS[word] for word in words if word in _MANUFACTURERS), "other")


def _field_strength(tesla: float | None) -> str:
    if tesla is None:
        return ""
    tesla = tesla / 10_000 if tesla > 100 else tesla  # some scanners write gauss
    return f"{tesla:.1f}" if 0.05 <= tesla <= 12 else ""
