"""Length-prefixed frames over a stream: a JSON header and binary blobs. Nothing is ever unpickled.

A frame is ``!II`` (bytes of the header, number of blobs), one ``!Q`` a blob (its length), the header, the blobs. The
header of a *result* that has nothing to tell beside its outputs, as most have, is marked by the highest bit of its
length and written shorter: four numbers, then the JSON of the outputs' names and types, which is the same text for
every call of a function. Owns the bytes on the wire; what a header says is the business of
:mod:`weftwork.node.worker` and of whoever talks to it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from weftwork.errors import Corrupt

_HEAD: Final = struct.Struct("!II")
_LENGTH: Final = struct.Struct("!Q")
_RESULT: Final = struct.Struct("!QQdd")
_SHORT: Final = 1 << 31
_MOST_HEADER: Final = 1 << 28
_MOST_BLOBS: Final = 1 << 22
_MOST_SHAPES: Final = 1000
_dumps = json.JSONEncoder(separators=(",", ":")).encode
_loads = json.JSONDecoder().decode


class Frame(NamedTuple):
    """One message: a JSON object and the blobs that belong to it."""

    header: dict[str, Any]
    blobs: list[bytes]


def pack(header: dict[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """The bytes of one frame."""
    text = _dumps(header).encode("ascii")
    if not blobs:
        return _HEAD.pack(len(text), 0) + text
    return b"".join((_HEAD.pack(len(text), len(blobs)), _lengths(blobs), text, *blobs))


def pack_result(
    number: int, log_end: int, began: float, seconds: float, outputs: bytes, blobs: Sequence[bytes]
) -> bytes:
    """The frame whose header is ``{"n": number, "log_end": …, "at": began, "s": seconds, "out": …}``, the last as JSON."""
    size = _SHORT | (_RESULT.size + len(outputs))
    numbers = _RESULT.pack(number, log_end, began, seconds)
    return b"".join((_HEAD.pack(size, len(blobs)), _lengths(blobs), numbers, outputs, *blobs))


def _lengths(blobs: Sequence[bytes]) -> bytes:
    if len(blobs) == 1:
        return _LENGTH.pack(len(blobs[0]))
    return struct.pack(f"!{len(blobs)}Q", *map(len, blobs))


class Unpacker:
    """Bytes as they arrive → whole frames, in order. What is not a frame raises :class:`~weftwork.errors.Corrupt`."""

    __slots__ = ("_at", "_buffer", "_more", "_outputs", "_size", "_wanted")

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        # What came after, kept in pieces until there is enough for the next frame; joined once.
        self._more: list[bytes] = []
        self._size = 0
        self._wanted = _HEAD.size
        self._outputs: dict[bytes, list[Any]] = {}

    def feed(self, data: bytes) -> None:
        self._more.append(data)
        self._size += len(data)

    def next(self) -> Frame | None:
        """The next whole frame, or ``None`` until more has arrived."""
        if self._size < self._wanted:
            return None
        if self._more:
            self._buffer = b"".join((self._buffer[self._at :], *self._more)) if self._left() else b"".join(self._more)
            self._at = 0
            self._more.clear()
        buffer, at = self._buffer, self._at
        size, count = _HEAD.unpack_from(buffer, at)
        short, size = size & _SHORT, size & ~_SHORT
        if size > _MOST_HEADER or count > _MOST_BLOBS:
            raise Corrupt(f"a frame with a header of {size} bytes and {count} blobs: these bytes are not frames")
        start = _HEAD.size + 8 * count
        if self._lacks(start):
            return None
        lengths = struct.unpack_from(f"!{count}Q", buffer, at + _HEAD.size)
        if self._lacks(start + size + sum(lengths)):
            return None
        at += start
        text = buffer[at : at + size]
        at += size
        blobs = []
        for length in lengths:
            blobs.append(buffer[at : at + length])
            at += length
        self._size -= at - self._at
        self._at, self._wanted = at, _HEAD.size
        return Frame(self._result(text) if short else _header(text), blobs)

    def _left(self) -> bool:
        return self._at < len(self._buffer)

    def _lacks(self, wanted: int) -> bool:
        self._wanted = wanted
        return self._size < wanted

    def _result(self, text: bytes) -> dict[str, Any]:
        if len(text) < _RESULT.size:
            raise Corrupt(f"a result with a header of {len(text)} bytes: these bytes are not frames")
        number, log_end, began, seconds = _RESULT.unpack_from(text)
        told = text[_RESULT.size :]
        outputs = self._outputs.get(told)
        if outputs is None:
            if len(self._outputs) >= _MOST_SHAPES:
                self._outputs.clear()
            outputs = self._outputs[told] = _parsed(told, list)
        return {"n": number, "log_end": log_end, "at": began, "s": seconds, "out": outputs}


def _header(text: bytes) -> dict[str, Any]:
    header: dict[str, Any] = _parsed(text, dict)
    return header


def _parsed(text: bytes, kind: type) -> Any:
    try:
        found = _loads(text.decode("ascii"))
    except ValueError as error:
        raise Corrupt(f"the header of a frame is not JSON: {error}") from None
    if not isinstance(found, kind):
        raise Corrupt(f"the header of a frame is {text[:40]!r}; an object is expected")
    return found
