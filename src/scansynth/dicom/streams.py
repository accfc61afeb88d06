"""Compressed pixel streams: put together from fragments, and asked for their size before they are decoded."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass

from scansynth.errors import DicomError

_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_START_OF_IMAGE = b"\xff\xd8"
_J2K_START = b"\xff\x4f\xff\x51"  # SOC and SIZ, always together: ITU-T T.800 A.4.1
_JP2_SIGNATURE = b"\0\0\0\x0cjP  "
_JPEG_LS_FRAME = 0xF7
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # ITU-T T.81 table B.1: SOF, not DHT, JPG, DAC
_STANDALONE = frozenset({0x01, *range(0xD0, 0xDA)})  # markers without a length


def join_fragments(data: bytes | memoryview, frames: int = 1, frame: int = 0) -> bytes:
    """The compressed stream of one frame, put together from its fragments (PS3.5 A.4).

    Args:
        data: The pixel data element: the offset table, then the fragments.
        frames: Frames in it.
        frame: Which of them, from 0.

    Raises:
        DicomError: An item is cut short, there is none, or it cannot be told which fragments are the frame's.
    """
    table, *fragments = _items(data) or [b""]
    if frames == 1:
        stream = b"".join(fragments)
    elif len(fragments) == frames:
        stream = bytes(fragments[frame])
    elif len(table) == 4 * frames:
        starts = struct.unpack(f"<{frames}I", table)
        ends = (*starts[1:], sum(8 + len(fragment) for fragment in fragments))
        places = list(itertools.accumulate((8 + len(fragment) for fragment in fragments), initial=0))
        mine = [fragments[n] for n, place in enumerate(places[:-1]) if starts[frame] <= place < ends[frame]]
        stream = b"".join(mine)
    elif len(begin := [n for n, each in enumerate(fragments) if _starts(each)]) == frames and begin[0] == 0:
        stream = b"".join(fragments[begin[frame] : (*begin[1:], None)[frame]])
    else:
        raise DicomError("cannot be decoded", "it is not clear which fragments belong to which frame")
    if not stream:
        raise DicomError("truncated", "there is no compressed image")
    return stream


def _starts(fragment: bytes | memoryview) -> bool:
    """Whether a frame begins here, where no table says it: these markers occur nowhere else in a JPEG stream."""
    head = bytes(fragment[:4])
    return head.startswith(_START_OF_IMAGE) or head == _J2K_START


def _items(data: bytes | memoryview) -> list[bytes | memoryview]:
    """The values of the items, the offset table first."""
    items, place = [], 0
    while (tag := data[place : place + 4]) == _ITEM:
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        if place + 8 + length > len(data):
            raise DicomError("truncated", "a compressed fragment ends early")
        items.append(data[place + 8 : place + 8 + length])
        place += 8 + length
    if len(tag) == 4 and tag != _DELIMITER:
        raise DicomError("cannot be decoded", "the fragments are malformed")
    return items


@dataclass(frozen=True)
class StreamFacts:
    """What a compressed stream says of its image: rows, columns, components, and bits of each value."""

    rows: int
    columns: int
    components: int
    bits: int


def stream_facts(frame: bytes) -> StreamFacts:
    """What a JPEG, JPEG-LS or JPEG 2000 stream says of its image.

    Asked before decoding: a stream of a few bytes may claim 65535 x 65535 pixels, and decoders fold a
    stream of another shape into the shape of the header without a word.

    Raises:
        DicomError: It is no such stream.
    """
    try:
        if frame.startswith(_START_OF_IMAGE):
            return _jpeg_facts(frame)
        start = frame.index(_J2K_START) if frame.startswith(_JP2_SIGNATURE) else 0
        if frame[start : start + 4] == _J2K_START:
            return _j2k_facts(frame[start:])
    except (struct.error, ValueError):
        pass
    raise DicomError("cannot be decoded", "it is not the compressed image that the transfer syntax names")


def _jpeg_facts(frame: bytes) -> StreamFacts:
    """From the frame header (ITU-T T.81 B.2.2, T.87 C.2.2), which stands before the first scan."""
    place = 2
    while True:
        prefix, marker = struct.unpack_from(">BB", frame, place)
        if prefix != 0xFF:
            raise ValueError
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker in _STANDALONE:
            place += 2
        elif marker in _FRAMES or marker == _JPEG_LS_FRAME:
            _, bits, rows, columns, components = struct.unpack_from(">HBHHB", frame, place + 2)
            return StreamFacts(rows, columns, components, bits)
        else:
            place += 2 + int(struct.unpack_from(">H", frame, place + 2)[0])


def _j2k_facts(frame: bytes) -> StreamFacts:
    """From the SIZ marker segment (ITU-T T.800 A.5.1): the reference grid less its offset."""
    width, height, left, top = struct.unpack_from(">4I", frame, 8)
    components, depth = struct.unpack_from(">HB", frame, 40)
    return StreamFacts(height - top, width - left, components, (depth & 0x7F) + 1)  # the highest bit is the sign
