"""The institution's signature over a release: Ed25519 (RFC 8032) over the manifest, which holds every file's hash.

Made and checked without any network or service. A key is made with `openssl genpkey -algorithm ed25519`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from scansynth.errors import ReleaseError
from scansynth.files import read_json, write_json
from scansynth.release.manifest import MANIFEST, SIGNATURE

PASSPHRASE = "SCANSYNTH_SIGNING_PASSPHRASE"
"""Environment variable with the passphrase of an encrypted key."""

_PURPOSE = b"scansynth release manifest\n"
"""Stands before what is signed, so that a signature for another purpose never fits."""

_HOW = "openssl genpkey -algorithm ed25519 -out KEY.pem"


def load_private(path: Path) -> Ed25519PrivateKey:
    """The key that signs, from a PEM file (PKCS #8).

    Raises:
        ReleaseError: It is missing, of another kind, encrypted under another passphrase, or open to others.
    """
    try:
        data, mode = path.read_bytes(), path.stat().st_mode
        phrase = os.environ.get(PASSPHRASE)
        key = load_pem_private_key(data, phrase.encode() if phrase and b"ENCRYPTED" in data else None)
    except OSError as fault:
        raise ReleaseError(f"the signing key cannot be read: {fault.strerror}; make one with: {_HOW}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ReleaseError(
            f"the signing key is not a PEM private key, or its passphrase is not the one in {PASSPHRASE}; "
            f"make one with: {_HOW}"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ReleaseError(f"the signing key is not an Ed25519 key; make one with: {_HOW}")
    if mode & 0o077:
        raise ReleaseError("the signing key can be read by others; run: chmod 600 on it")
    return key


def sign(folder: Path, key: Ed25519PrivateKey) -> str:
    """Signs the manifest of a release; returns the name of the key."""
    public = key.public_key()
    signature = key.sign(_PURPOSE + (folder / MANIFEST).read_bytes())
    write_json(
        folder / SIGNATURE,
        {
            "algorithm": "Ed25519",
            "of": MANIFEST,
            "public_key": base64.b64encode(public.public_bytes_raw()).decode(),
            "key": key_name(public),
            "signature": base64.b64encode(signature).decode(),
        },
    )
    return key_name(public)


def key_name(key: Ed25519PublicKey) -> str:
    """SHA-256 of the public key's 32 bytes, by which people compare keys."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def load_public(path: Path) -> Ed25519PublicKey:
    """The institution's public key, from a PEM file.

    Raises:
        ReleaseError: It is missing or of another kind.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as fault:
        raise ReleaseError(f"the public key cannot be read: {fault.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ReleaseError("the public key is not a PEM public key; write it with: openssl pkey -pubout") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ReleaseError("the public key is not an Ed25519 key")
    return key


def signed_by(folder: Path, expected: Ed25519PublicKey | None) -> str:
    """Name of the key that signed a release; empty: it is not signed.

    Args:
        folder: The release.
        expected: The institution's key, from the institution; none: the one that the signature names.

    Raises:
        ReleaseError: The signature is wrong, of another key, or absent though a key was given.
    """
    if not (folder / SIGNATURE).is_file():
        if expected is None:
            return ""
        raise ReleaseError(f"not signed: there is no {SIGNATURE}")
    try:
        values = read_json(folder / SIGNATURE)
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(values["public_key"], validate=True))
        signature = base64.b64decode(values["signature"], validate=True)
        named = (values["algorithm"], values["of"], values["key"])
    except (ValueError, TypeError, KeyError, AttributeError, OSError, binascii.Error) as fault:
        raise ReleaseError(f"wrong signature: {SIGNATURE} is damaged") from fault
    if named != ("Ed25519", MANIFEST, key_name(key)):
        raise ReleaseError(f"wrong signature: {SIGNATURE} is damaged")
    if expected is not None and key_name(expected) != key_name(key):
        raise ReleaseError(f"wrong signature: it was made with another key than yours, {key_name(key)}")
    try:
        (expected or key).verify(signature, _PURPOSE + (folder / MANIFEST).read_bytes())
    except (InvalidSignature, OSError):
        raise ReleaseError(f"wrong signature: {MANIFEST} is not what was signed") from None
    return key_name(key)
