"""The institution's signature over a release: every file of it, as model-signing (OpenSSF) signs a folder.

The signature is a Sigstore bundle that holds an in-toto statement with the SHA-256 of each file. It is made with the
institution's own key (ECDSA on a NIST curve) and checked without any network or service, here or by the program
`model_signing`. A key is made with `openssl genpkey`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from model_signing import hashing, signing, verifying

from scansynth.errors import ReleaseError
from scansynth.files import write_bytes
from scansynth.release.manifest import PUBLIC_KEY, SIGNATURE

PASSPHRASE = "SCANSYNTH_SIGNING_PASSPHRASE"
"""Environment variable with the passphrase of an encrypted key."""

CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""Curves of the keys that model-signing takes."""

_HOW = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out KEY.pem"


@dataclass(frozen=True)
class SigningKey:
    """The institution's key.

    Attributes:
        path: PEM file.
        passphrase: Of an encrypted key; none: it is not encrypted.
        public: What others check with.
    """

    path: Path
    passphrase: bytes | None
    public: EllipticCurvePublicKey


def load_private(path: Path) -> SigningKey:
    """The key that signs, from a PEM file (PKCS #8).

    Raises:
        ReleaseError: It is missing, of another kind, encrypted under another passphrase, or open to others.
    """
    try:
        data, mode = path.read_bytes(), path.stat().st_mode
        phrase = os.environ.get(PASSPHRASE, "").encode() if b"ENCRYPTED" in data else None
        key = load_pem_private_key(data, phrase or None)
    except OSError as fault:
        raise ReleaseError(f"the signing key cannot be read: {fault.strerror}; make one with: {_HOW}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ReleaseError(
            f"the signing key is not a PEM private key, or its passphrase is not the one in {PASSPHRASE}; "
            f"make one with: {_HOW}"
        ) from None
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise ReleaseError(f"the signing key is not an EC key on P-256, P-384 or P-521; make one with: {_HOW}")
    if mode & 0o077:
        raise ReleaseError("the signing key can be read by others; run: chmod 600 on it")
    return SigningKey(path, phrase, key.public_key())


def sign(folder: Path, key: SigningKey) -> str:
    """Signs every file of a release, with the public key among them; returns the name of the key."""
    write_bytes(folder / PUBLIC_KEY, _pem(key.public))
    signer = signing.Config().set_hashing_config(_every_file())
    # The library hands the passphrase to `cryptography` as it is, which takes bytes, whatever the annotation says.
    signer.use_elliptic_key_signer(private_key=key.path, password=cast(Any, key.passphrase))
    signer.sign(folder, folder / SIGNATURE)
    return key_name(key.public)


def key_name(key: EllipticCurvePublicKey) -> str:
    """SHA-256 of the public key's PEM file, by which people compare keys."""
    return hashlib.sha256(_pem(key)).hexdigest()


def load_public(path: Path) -> EllipticCurvePublicKey:
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
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise ReleaseError("the public key is not an EC key on P-256, P-384 or P-521")
    return key


def signed_by(folder: Path, expected: Path | None) -> str:
    """Name of the key that signed a release; empty: it is not signed.

    Args:
        folder: The release.
        expected: The institution's public key, from the institution; none: the one that lies in the release.

    Raises:
        ReleaseError: The signature is wrong, of another key, or absent though a key was given.
    """
    key = None if expected is None else load_public(expected)
    if not (folder / SIGNATURE).is_file():
        if key is None:
            return ""
        raise ReleaseError(f"not signed: there is no {SIGNATURE}")
    named = _named_key(folder / SIGNATURE)
    if key is not None and key_name(key) != named:
        raise ReleaseError(f"wrong signature: it was made with another key than yours, {named}")
    if key is None and key_name(load_public(folder / PUBLIC_KEY)) != named:
        raise ReleaseError(f"wrong signature: {PUBLIC_KEY} is not the key that signed")
    checker = verifying.Config().set_hashing_config(_every_file())
    checker.use_elliptic_key_verifier(public_key=expected or folder / PUBLIC_KEY)
    try:
        checker.verify(folder, folder / SIGNATURE)
    except InvalidSignature:
        raise ReleaseError(f"wrong signature: {SIGNATURE} was not made with the key {named}, or was altered") from None
    except (ValueError, TypeError, KeyError, AttributeError, OSError):
        raise ReleaseError("wrong signature: the files are not those that were signed") from None
    return named


def _every_file() -> hashing.Config:
    """SHA-256 of each file but the signature itself; a folder `.git`, too, is no place to hide one."""
    return hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _named_key(path: Path) -> str:
    """Name of the key that a signature says it was made with.

    Raises:
        ReleaseError: It is not a signature as it was written: any other byte in it counts.
    """
    try:
        text = path.read_text(encoding="utf-8")
        bundle = json.loads(text)
        named = bundle["verificationMaterial"]["publicKey"]["hint"]
        [signature] = bundle["dsseEnvelope"]["signatures"]
        payload = base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True)
        whole = _bundle(named, payload, base64.b64decode(signature["sig"], validate=True))
    except (ValueError, TypeError, KeyError, OSError) as fault:
        raise ReleaseError(f"wrong signature: {SIGNATURE} is damaged") from fault
    if bundle != whole or not isinstance(named, str):
        raise ReleaseError(f"wrong signature: {SIGNATURE} is damaged")
    return named


def _bundle(named: str, payload: bytes, signature: bytes) -> dict[str, Any]:
    """The Sigstore bundle, version 0.3, of an in-toto statement that was signed with a key, as it must be written."""
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": named}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }


def _pem(key: EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
