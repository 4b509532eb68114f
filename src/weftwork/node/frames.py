"""Length-prefixed frames over a stream: a JSON header and binary blobs. Nothing is ever unpickled.

A frame is ``!II`` (bytes of the header, number of blobs), one ``!Q`` a blob (its length), the header, the blobs. Owns
the bytes on the wire; what a header says is the business of :mod:`weftwork.node.worker` and of whoever talks to it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from weftwork.errors import Corrupt

_HEAD: Final = struct.Struct("!II")
_MOST_HEADER: Final = 1 << 28
_MOST_BLOBS: Final = 1 << 22
_dumps = json.JSONEncoder(separators=(",", ":")).encode


class Frame(NamedTuple):
    """One message: a JSON object and the blobs that belong to it."""

    header: dict[str, Any]
    blobs: list[bytes]


def pack(header: dict[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """The bytes of one frame."""
    text = _dumps(header).encode("ascii")
    if not blobs:
        return _HEAD.pack(len(text), 0) + text
    lengths = struct.pack(f"!{len(blobs)}Q", *map(len, blobs))
    return b"".join((_HEAD.pack(len(text), len(blobs)), lengths, text, *blobs))


class Unpacker:
    """Bytes as they arrive → whole frames, in order. What is not a frame raises :class:`~weftwork.errors.Corrupt`."""

    __slots__ = ("_at", "_buffer")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> None:
        if self._at == len(self._buffer):
            self._buffer.clear()
            self._at = 0
        elif self._at > 1 << 20:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data

    def next(self) -> Frame | None:
        """The next whole frame, or ``None`` until more has arrived."""
        buffer, at = self._buffer, self._at
        have = len(buffer) - at
        if have < _HEAD.size:
            return None
        size, count = _HEAD.unpack_from(buffer, at)
        if size > _MOST_HEADER or count > _MOST_BLOBS:
            raise Corrupt(f"a frame with a header of {size} bytes and {count} blobs: these bytes are not frames")
        start = _HEAD.size + 8 * count
        if have < start + size:
            return None
        lengths = struct.unpack_from(f"!{count}Q", buffer, at + _HEAD.size)
        if have < start + size + sum(lengths):
            return None
        view = memoryview(buffer)
        try:
            at += start
            header = _header(bytes(view[at : at + size]))
            at += size
            blobs = []
            for length in lengths:
                blobs.append(bytes(view[at : at + length]))
                at += length
        finally:
            view.release()
        self._at = at
        return Frame(header, blobs)


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except ValueError as error:
        raise Corrupt(f"the header of a frame is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise Corrupt(f"the header of a frame is {text[:40]!r}; an object is expected")
    return header
