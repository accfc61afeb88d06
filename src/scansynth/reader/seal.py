"""The seal: the truth, encrypted until the study closes, and a hash that commits to it.

AES-256 in Galois/Counter Mode (NIST SP 800-38D) with a key that lies outside the study folder. The commitment is the
SHA-256 of the truth, which holds 256 secret bits, so that it gives nothing away and nobody can find another truth
for it.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scansynth.dicom.deidentify import default_key_path
from scansynth.errors import ReaderError
from scansynth.files import sha256_bytes, storage_faults

_KEY_BYTES, _NONCE_BYTES = 32, 12


@dataclass(frozen=True)
class Sealed:
    """A truth under seal.

    Attributes:
        data: Nonce and ciphertext, as the file holds them.
        commitment: SHA-256 of what was sealed.
    """

    data: bytes
    commitment: str


def default_seal_path(study: str) -> Path:
    """Where the key of a reader study stands by default: beside the institution key.

    Args:
        study: The random name of the reader study.
    """
    return default_key_path().parent / f"reader-{study[:12]}.seal"


def new_key(path: Path, study_folder: Path) -> bytes:
    """Makes a key that its owner alone may read, where there is none.

    Args:
        path: The file.
        study_folder: Folder of the study, in which no key may lie.

    Raises:
        ReaderError: The file is there already, or lies within the study.
        StorageError: The folder cannot be written.
    """
    if path.resolve().is_relative_to(study_folder.resolve()):
        raise ReaderError("the seal's key must not be in the study folder; give --seal FILE elsewhere")
    key = secrets.token_bytes(_KEY_BYTES)
    with storage_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise ReaderError(f"{path} already exists; give another file with --seal FILE") from None
        with os.fdopen(handle, "w") as stream:
            stream.write(key.hex() + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    return key


def load_key(path: Path) -> bytes:
    """The key in a file.

    Raises:
        ReaderError: There is none, others may read it, or it is no key.
    """
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ReaderError(f"the seal's key {path} is not a file")
            if mode & 0o077:
                raise ReaderError(f"other users may read the seal's key {path}; run: chmod 600 {path}")
            key = bytes.fromhex(stream.read(1 << 10).decode("ascii").strip())
    except FileNotFoundError:
        raise ReaderError(f"there is no seal key at {path}; give the one from reader create: --seal FILE") from None
    except OSError as fault:
        raise ReaderError(f"the seal's key {path} cannot be read: {fault.strerror}") from None
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ReaderError(f"{path} is not a seal key; give the file from reader create: --seal FILE")
    return key


def seal(truth: Any, key: bytes, study: str) -> Sealed:
    """Encrypts a truth.

    Args:
        truth: JSON values; must hold a secret of its own, since its hash becomes public.
        key: 32 bytes.
        study: The reader study that it belongs to; opening it as another's fails.
    """
    plain = json.dumps(truth, sort_keys=True, separators=(",", ":")).encode()
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return Sealed(nonce + AESGCM(key).encrypt(nonce, plain, study.encode()), sha256_bytes(plain))


def unseal(data: bytes, key: bytes, study: str, commitment: str) -> Any:
    """The truth.

    Raises:
        ReaderError: The key is another, the file was altered, or it is not what the protocol was committed to.
    """
    try:
        plain = AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], study.encode())
    except (InvalidTag, ValueError):
        raise ReaderError(
            "the sealed truth cannot be decrypted: the key belongs to another study, or sealed.bin was altered; give "
            "the key from reader create: --seal FILE"
        ) from None
    if sha256_bytes(plain) != commitment:
        raise ReaderError(
            "the sealed truth does not match the commitment in protocol.json; the study cannot be analysed"
        )
    return json.loads(plain)
