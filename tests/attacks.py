"""Files as an attacker or a dying disk leaves them: mutated ones, and those that are built to blow up."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.encaps import encapsulate
from scans import save_dicom

PACKAGED = Path(pydicom.__file__).parent / "data" / "test_files"
_DEFLATED, _RLE, _JPEG, _JPEG_LS, _J2K = (
    "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
)  # fmt: skip


def packaged_files(largest: int = 300_000) -> list[Path]:
    """pydicom's own test files but for the largest, in a stable order."""
    found = [path for path in sorted(PACKAGED.rglob("*")) if path.suffix in {".dcm", ""} and path.is_file()]
    return [path for path in found if 200 < path.stat().st_size <= largest]


def mutate(data: bytes, draw: np.random.Generator) -> bytes:
    """One of: bytes overwritten, a 4-byte length blown up, a cut, a piece repeated, a bit flipped."""
    changed = bytearray(data)
    kind, place = draw.integers(5), int(draw.integers(len(data)))
    if kind == 0:
        for where in draw.integers(0, len(data), int(draw.integers(1, 40))):
            changed[where] = int(draw.integers(256))
    elif kind == 1:
        early = int(draw.integers(132, max(133, min(len(data) - 4, 3000))))
        changed[early : early + 4] = draw.choice([b"\xff\xff\xff\xff", b"\xfe\xff\xff\x7f", b"\0\0\0\0"])
    elif kind == 2:
        del changed[place:]
    elif kind == 3:
        changed[place:place] = changed[: int(draw.integers(1, 4000))]
    else:
        changed[int(draw.integers(0, min(len(data), 2500)))] ^= 1 << int(draw.integers(8))
    return bytes(changed)


def write_mutated(folder: Path, bases: Sequence[Path], count: int, draw: np.random.Generator) -> None:
    """Writes mutated copies of the bases, by turns, every third one mutated more than once."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        data = bases[number % len(bases)].read_bytes()
        for _ in range(1 + (number % 3 == 0) * int(draw.integers(1, 6))):
            data = mutate(data, draw) or b"\0"
        (folder / f"{number:05d}").write_bytes(data)


def write_bombs(folder: Path) -> None:
    """Small files that become large, deep or endless when they are read, and names that lead elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    image = np.arange(64 * 64).reshape(64, 64) % 4096
    _sizes(folder, image)
    _streams(folder, image)
    _nesting(folder, image)
    _paths(folder, image)
    _no_files(folder)


def _sizes(folder: Path, image: np.ndarray) -> None:
    """Headers that promise more than the file holds."""
    save_dicom(folder / "huge", image, Rows=65535, Columns=65535)
    save_dicom(folder / "frames", image, NumberOfFrames=2**31 - 1)
    save_dicom(folder / "zero", image, Rows=0)
    save_dicom(folder / "thin", image, Rows=1, Columns=4096)
    save_dicom(folder / "many", image, PatientComments="x" * 2_000_000)
    data = (folder / "thin").read_bytes()
    element = struct.pack("<HH2sH", 0x0009, 0x1001, b"LO", 2) + b"x "
    start = data.index(struct.pack("<HH", 0x0010, 0x0010))
    (folder / "million").write_bytes(data[:start] + element * 300_000 + data[start:])


def _streams(folder: Path, image: np.ndarray) -> None:
    """Compressed pixels that are far larger than the header says, or that inflate."""
    base = save_dicom(folder / "deflated", image)
    raw = (folder / "deflated").read_bytes()
    syntax = base.file_meta.TransferSyntaxUID.encode() + b"\0"
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packed.compress(bytes(1 << 28)) + packed.flush()
    head = raw[: raw.index(struct.pack("<HH", 0x0008, 0x0008))]
    group = head.replace(syntax, _DEFLATED.encode(), 1)
    (folder / "deflated").write_bytes(group + bomb)

    def encapsulated(name: str, uid: str, stream: bytes, **attributes: object) -> None:
        dataset = save_dicom(folder / name, image, **attributes)
        dataset.file_meta.TransferSyntaxUID = uid
        dataset.PixelData = encapsulate([stream + b"\0" * (len(stream) % 2)])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.save_as(folder / name, enforce_file_format=True)

    segments = struct.pack("<16L", 2, 64, 64 + (1 << 20), *([0] * 13))
    encapsulated("rle", _RLE, segments + b"\x81\0" * (1 << 20))
    encapsulated("rle-header", _RLE, struct.pack("<16L", 15, *([0xFFFFFFF0] * 15)))
    for name, uid, marker in (("jpeg", _JPEG, 0xC3), ("jpeg-ls", _JPEG_LS, 0xF7)):
        frame = struct.pack(">HHBHHB3B", 0xFF00 | marker, 11, 12, 65500, 65500, 1, 1, 0x11, 0)
        scan = struct.pack(">HHB2B3B", 0xFFDA, 8, 1, 1, 0, 0, 0, 0)
        encapsulated(name, uid, b"\xff\xd8" + frame + scan + bytes(400) + b"\xff\xd9")
    size = struct.pack(">HHHIIIIIIIIH3B", 0xFF51, 41, 0, 2**31, 2**31, 0, 0, 2**30, 2**30, 0, 0, 1, 11, 1, 1)
    encapsulated("j2k", _J2K, b"\xff\x4f" + size + bytes(300) + b"\xff\xd9")
    encapsulated("nothing", _J2K, b"\0\0")


def _nesting(folder: Path, image: np.ndarray) -> None:
    """Sequences 20,000 deep, in an attribute that is read and in one that is skipped."""
    save_dicom(folder / "base", image)
    data = (folder / "base").read_bytes()
    kinds = (("deep", 0x0028, 0x3000), ("deep-skipped", 0x0008, 0x1111), ("deep-groups", 0x5200, 0x9229))
    for name, group, number in kinds:
        opened = struct.pack("<HH2sHI", group, number, b"SQ", 0, 0xFFFFFFFF)
        opened += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        closed = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        place = data.index(struct.pack("<HH2sH", 0x7FE0, 0x0010, b"OW", 0))
        if group == 0x0008:
            place = data.index(struct.pack("<HH", 0x0010, 0x0010))
        (folder / name).write_bytes(data[:place] + opened * 20_000 + closed * 20_000 + data[place:])
        (folder / f"{name}-open").write_bytes(data[:place] + opened * 20_000)


def _paths(folder: Path, image: np.ndarray) -> None:
    """UIDs and numbers that are paths, and a table of contents that leads outside."""
    for name, keyword in (("uid", "SOPInstanceUID"), ("series", "SeriesInstanceUID"), ("patient", "PatientID")):
        save_dicom(folder / f"traversal-{name}", image, **{keyword: "1.2.3"})
        data = (folder / f"traversal-{name}").read_bytes()
        (folder / f"traversal-{name}").write_bytes(data.replace(b"1.2.3\0", b"../../"))
    data = (PACKAGED / "DICOMDIR").read_bytes() if (PACKAGED / "DICOMDIR").exists() else (folder / "base").read_bytes()
    (folder / "DICOMDIR").write_bytes(data.replace(b"98892003", b"../../.."))
    (folder / "contents").write_bytes(data.replace(b"98892003", b"../../.."))


def _no_files(folder: Path) -> None:
    """Links that lead in circles, nowhere, or to what never ends; pipes and sockets."""
    (folder / "self").symlink_to(folder / "self")
    (folder / "one").symlink_to(folder / "two")
    (folder / "two").symlink_to(folder / "one")
    (folder / "nowhere").symlink_to(folder / "not there")
    (folder / "up").symlink_to(folder.parent)
    (folder / "endless").symlink_to("/dev/zero")
    (folder / "passwords").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    (folder / "piped").symlink_to(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as plug:
        here = Path.cwd()
        os.chdir(folder)  # a socket's path may be 100 bytes long
        try:
            plug.bind("socket")
        finally:
            os.chdir(here)
    (folder / "closed").mkdir(mode=0o000)
    (folder / "-rf").write_bytes(b"no DICOM")
    (folder / "a\nb\x1b[2J\x07").write_bytes(b"no DICOM")
