"""Checksums, the canonical encoding of JSON values, and hashing that verifies while it streams.

Owns how bytes are named. What the bytes mean is the business of :mod:`weftwork.core.values`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from json.encoder import encode_basestring
from typing import Any, Self

from weftwork.errors import Corrupt, Invalid

_HEX = re.compile(r"[0-9a-f]{64}\Z")


class Checksum(str):
    """SHA-256 of bytes (FIPS 180-4), as 64 lower-case hexadecimal digits. All that is stored is named by one.

    Raises :class:`~weftwork.errors.Invalid` when the text is not such a name.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if type(text) is cls:
            return text
        if not isinstance(text, str) or not _HEX.match(text):
            raise Invalid(f"{text!r} is not a checksum: 64 lower-case hexadecimal digits are expected")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview) -> Self:
        """The checksum of some bytes."""
        return str.__new__(cls, hashlib.sha256(data).hexdigest())

    @classmethod
    def of_all(cls, buffers: Iterable[bytes]) -> list[Self]:
        """:meth:`of` of each."""
        new, sha256 = str.__new__, hashlib.sha256
        return [new(cls, sha256(data).hexdigest()) for data in buffers]

    @classmethod
    def of_digest(cls, digest: bytes) -> Self:
        """The checksum whose 32 raw bytes are given."""
        if len(digest) != 32:
            raise Invalid(f"a SHA-256 digest has 32 bytes, not {len(digest)}")
        return str.__new__(cls, digest.hex())

    @property
    def digest(self) -> bytes:
        """The 32 raw bytes."""
        return bytes.fromhex(self)

    @property
    def short(self) -> str:
        """The first 12 digits, for people."""
        return self[:12]


class Hasher:
    """SHA-256 of bytes that arrive in pieces; knows how many there were."""

    __slots__ = ("_hash", "size")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self._hash.update(data)
        # A view may count items of more than one byte.
        self.size += data.nbytes if isinstance(data, memoryview) else len(data)

    def checksum(self) -> Checksum:
        return Checksum.of_digest(self._hash.digest())


def verified(chunks: Iterable[bytes], expected: Checksum) -> Iterator[bytes]:
    """Pass the chunks on, and raise :class:`~weftwork.errors.Corrupt` after the last if they are not what was expected."""
    hasher = Hasher()
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk
    found = hasher.checksum()
    if found != expected:
        raise Corrupt(f"the bytes of {expected.short} have the checksum {found.short}", expected=expected, found=found)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical(value: Any) -> bytes:
    """The one encoding of a JSON value: sorted keys, compact, UTF-8.

    Exactly ``None``, ``bool``, ``int``, ``float``, ``str``, ``list`` and ``dict`` with string keys,
    no subclasses of these (a :class:`Checksum` counts as its text). ``1``, ``1.0``, ``-0.0`` and
    ``nan`` stay apart: floats are written as Python's shortest ``repr``, ``NaN``, ``Infinity`` and
    ``-Infinity``. Strings are neither escaped beyond what JSON needs nor normalised.

    Raises :class:`~weftwork.errors.Invalid`, which names the place and type of what cannot be encoded.
    """
    try:
        if type(value) is int:
            return str(value).encode("ascii")
        if not _plain(value, 0):
            _check(value, (), set())
        return _ENCODER.encode(value).encode("utf-8")
    except (ValueError, RecursionError) as error:
        if isinstance(error, Invalid):
            raise
        raise Invalid(f"the value has no canonical encoding: {error}") from None


def canonical_all(values: Sequence[Any]) -> list[bytes]:
    """:func:`canonical` of each. Plain values are encoded together: no text of a number holds a comma."""
    kinds = set(map(type, values))
    try:
        if kinds <= _COMMALESS and values:
            return _ENCODER.encode(list(values))[1:-1].encode("ascii").split(b",")
        if kinds == _TEXT:
            return [encode_basestring(value).encode("utf-8") for value in values]
    except ValueError:
        # Told below, where the one that cannot be encoded is met by itself.
        pass
    return [canonical(value) for value in values]


_decode = json.JSONDecoder().raw_decode


def from_canonical(data: bytes) -> Any:
    """The JSON value of canonical bytes. Raises :class:`~weftwork.errors.Invalid` for anything that is not JSON."""
    try:
        text = data.decode("utf-8")
        value, end = _decode(text)
        return value if end == len(text) else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"not canonical JSON: {error}") from None


def from_canonical_all(buffers: Sequence[bytes]) -> list[Any]:
    """:func:`from_canonical` of each, read together: values that are fresh, also where two buffers are equal."""
    try:
        values: list[Any] = json.loads(b"[" + b",".join(buffers) + b"]")
    except (ValueError, RecursionError):
        values = []
    # Bytes that are no JSON by themselves are found out alone, and told as such.
    return values if len(values) == len(buffers) else [from_canonical(data) for data in buffers]


_COMMALESS = frozenset({type(None), bool, int, float})
_TEXT = frozenset({str})
_SCALARS = frozenset({*_COMMALESS, str, Checksum})


def _plain(value: Any, depth: int) -> bool:
    """Whether there is surely nothing that JSON cannot say. Quick, since it keeps no account of where it is."""
    kind = type(value)
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return False
        value = value.values()
    elif kind is not list:
        return kind in _SCALARS
    for item in value:
        kind = type(item)
        if kind not in _SCALARS and (depth > 400 or not _plain(item, depth + 1)):
            return False
    return True


def _check(value: Any, path: tuple[Any, ...], above: set[int]) -> None:
    kind = type(value)
    if kind in _SCALARS:
        return
    if kind is not dict and kind is not list:
        raise Invalid(
            f"{_at(path)} is a {kind.__module__}.{kind.__qualname__}, which JSON cannot say: {shorten(value)}; "
            "use None, bool, int, float, str, list, or dict with string keys"
        )
    if id(value) in above:
        raise Invalid(f"{_at(path)} contains itself")
    if len(path) > 500:
        raise Invalid(f"{_at(path[:3])} is nested deeper than 500 levels")
    above.add(id(value))
    if kind is dict and not _TEXT.issuperset(map(type, value)):
        key = next(key for key in value if type(key) is not str)
        raise Invalid(f"{_at(path)} has the key {shorten(key)}, a {type(key).__qualname__}; keys must be strings")
    # A level of plain values, as most are, is looked through at once.
    if not _SCALARS.issuperset(map(type, value.values() if kind is dict else value)):
        for key, item in value.items() if kind is dict else enumerate(value):
            if type(item) not in _SCALARS:
                _check(item, (*path, key), above)
    above.discard(id(value))


def _at(path: tuple[Any, ...]) -> str:
    return "the value" if not path else "the value at " + "".join(f"[{part!r}]" for part in path)


def shorten(value: Any, limit: int = 80) -> str:
    """``repr`` of a value, cut to ``limit`` characters: for messages."""
    try:
        text = repr(value)
    except Exception:  # a foreign repr, or an integer of too many digits, must not hide what is wrong
        text = f"<{type(value).__qualname__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."
